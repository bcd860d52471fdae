"""Meta-World's scripted policies, asked what they would do; nothing else in this project imports them."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from trace_robot.spec import Array, TaskSpec


def scripted(name: str, spec: TaskSpec) -> Callable[[Array], Array]:
    """Return a function from a flat observation to the expert's action, (4,), clipped to ``spec``'s bounds.

    A scripted policy finds a target for the hand and calls ``move``, which makes a raw action of it. In pose
    control it is given another ``move``, which returns the target or the displacement to it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from metaworld.policies import ENV_POLICY_MAP

    kind: Any = ENV_POLICY_MAP[name]
    names = {**vars(sys.modules[kind.__module__]), "move": _move(spec)}
    policy, get_action = kind(), types.FunctionType(kind.get_action.__code__, names)

    def act(observation: Array) -> Array:
        action = get_action(policy, np.array(observation, dtype=np.float64))
        return np.clip(np.asarray(action, np.float64)[:4], spec.low, spec.high).astype(np.float32)

    return act


def _move(spec: TaskSpec) -> Callable[..., Array]:
    def raw(from_xyz: Array, to_xyz: Array, p: float) -> Array:
        return p * (to_xyz - from_xyz)

    def displacement(from_xyz: Array, to_xyz: Array, p: float) -> Array:
        return to_xyz - from_xyz

    def target(from_xyz: Array, to_xyz: Array, p: float) -> Array:
        return to_xyz

    if spec.control == "raw":
        return raw
    return displacement if spec.options["relative"] else target
