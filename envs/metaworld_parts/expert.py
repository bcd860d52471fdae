"""Meta-World's scripted policies as experts.

No other module of the project imports them.
"""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from trace_robot.spec import Array, TaskSpec


def scripted(name: str, spec: TaskSpec) -> Callable[[Array], Array]:
    """Return a function from a flat observation to the expert's action.

    A scripted policy finds a target for the hand and calls ``move``, which makes a raw action of it. In pose
    control it gets another ``move``, which returns the target or the displacement to it.

    Args:
        name: of the task.
        spec: its description; the control mode decides on ``move``.

    Returns:
        A function of an observation, (39,), whose result, (4,), is clipped to ``spec``'s bounds.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from metaworld.policies import ENV_POLICY_MAP

    kind: Any = ENV_POLICY_MAP[name]
    names = {**vars(sys.modules[kind.__module__]), "move": _move(spec)}
    policy, get_action = kind(), types.FunctionType(kind.get_action.__code__, names)

    def act(observation: Array) -> Array:
        """Return the expert's action, (4,) float32."""
        action = get_action(policy, np.array(observation, dtype=np.float64))
        return np.clip(np.asarray(action, np.float64)[:4], spec.low, spec.high).astype(np.float32)

    return act


def _move(spec: TaskSpec) -> Callable[..., Array]:
    """Return what takes the place of upstream's ``move``, with its three arguments."""

    def _raw(from_xyz: Array, to_xyz: Array, p: float) -> Array:
        return p * (to_xyz - from_xyz)

    def _displacement(from_xyz: Array, to_xyz: Array, p: float) -> Array:
        return to_xyz - from_xyz

    def _target(from_xyz: Array, to_xyz: Array, p: float) -> Array:
        return to_xyz

    if spec.control == "raw":
        return _raw
    return _displacement if spec.options["relative"] else _target
