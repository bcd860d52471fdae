"""Meta-World's fifty v3 tasks: named fields, numbered conditions, pose control."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from trace_robot.errors import ValueMismatchError
from trace_robot.spec import Field, TaskSpec

from .metaworld_parts.task import OBSERVATION_SIZE, Task, tasks

HORIZON = 500
# The fast engine equals upstream bit for bit with these versions; other ones may compute otherwise.
CHECKED = {"metaworld": "3.1.1", "mujoco": "3.3.0"}
REACH = 0.5
PAPER = ("reach-v3", "push-v3", "pick-place-v3")
MT10 = (
    "reach-v3", "push-v3", "pick-place-v3", "door-open-v3", "drawer-open-v3", "drawer-close-v3",
    "button-press-topdown-v3", "peg-insert-side-v3", "window-open-v3", "window-close-v3",
)  # fmt: skip
GRIPPER = Field("gripper", 3, 4, "", "-1 opens, 1 closes; between them with less force")
RAW = (
    Field("motion", 0, 3, "cm", "how far the hand's target moves in this step"),
    GRIPPER,
)
RELATIVE = (Field("displacement", 0, 3, "m", "where the hand must go, seen from where it is"), GRIPPER)
ABSOLUTE = (Field("target", 0, 3, "m", "where the hand must go, world frame"), GRIPPER)


def names() -> Sequence[str]:
    return tuple(tasks())


def describe(
    name: str,
    *,
    control: str = "pose",
    relative: bool = True,
    horizon: int | None = None,
    decisions: int | None = None,
    engine: str = "fast",
    rewards: bool = True,
) -> TaskSpec:
    """Say what a task is, without starting anything.

    Args:
        name: one of ``names()``.
        control: "pose": an action is a target of the hand, tracked by a proportional controller for at most
            20 simulator steps; "raw": an action is Meta-World's own, one simulator step.
        relative: with "pose", whether the target is a displacement of the hand or a position.
        horizon: simulator steps of an episode, 500 by default.
        decisions: actions of an episode at most; None for no limit but the horizon.
        engine: "fast" gives the same numbers as "reference", which is upstream's own stepping, in less time.
        rewards: without them every reward is 0 and ``info`` has no reward terms, which is faster still.
    """
    if control not in ("pose", "raw"):
        raise ValueMismatchError(f"control must be 'pose' or 'raw', got {control!r}")
    if engine not in ("fast", "reference"):
        raise ValueMismatchError(f"engine must be 'fast' or 'reference', got {engine!r}")
    steps = _positive("horizon", HORIZON if horizon is None else horizon)
    task = tasks()[name]
    action, low, high = _action(task, control, relative)
    return TaskSpec(
        name=name,
        instruction=task.instruction,
        observation=task.observation,
        action=action,
        observation_size=OBSERVATION_SIZE,
        low=(*low, -1.0),
        high=(*high, 1.0),
        horizon=steps if decisions is None else min(steps, _positive("decisions", decisions)),
        success=task.success,
        control=control,
        positions=task.positions,
        options={
            "control": control, "relative": relative, "horizon": steps, "decisions": decisions,
            "engine": engine, "rewards": rewards,
        },
        simulator_steps=steps,
    )  # fmt: skip


def make(name: str, **options: Any) -> Any:
    """Return the gymnasium environment, with the options of ``describe``."""
    from .metaworld_parts.environment import MetaWorldEnv, Tracking
    from .metaworld_parts.simulation import Simulation

    spec = describe(name, **options)
    spec = replace(spec, options={**spec.options, "engine": _engine(spec.options["engine"])})
    chosen = spec.options
    tracking = Tracking(relative=chosen["relative"]) if spec.control == "pose" else None
    upstream, stepper = _upstream(name, chosen["engine"], chosen["rewards"])
    return MetaWorldEnv(tasks()[name], Simulation(upstream, stepper), spec, tracking, chosen["horizon"])


def sets() -> Mapping[str, Sequence[str]]:
    """Return Meta-World's own sets of tasks, and the three of the paper's experiment."""
    return {"paper": PAPER, "mt10": MT10, "mt50": names()}


def expert(name: str, **options: Any) -> Callable[[Any], Any]:
    """Return Meta-World's scripted policy of a task, in the units of the control mode.

    It is written by hand and knows the task: for feedback at level "expert" only, to compare with other levels.

    Args:
        name: one of ``names()``.
        options: as of ``describe``.

    Returns:
        A function from a flat observation, (39,), to the policy's action, (4,).
    """
    from .metaworld_parts.expert import scripted

    spec = describe(name, **options)
    return scripted(name, spec)


def _engine(wanted: str) -> str:
    """Return the engine to use: "reference" for versions not checked."""
    installed = {name: version(name) for name in CHECKED}
    if wanted == "fast" and installed != CHECKED:
        here, there = (" and ".join(f"{k} {v}" for k, v in each.items()) for each in (installed, CHECKED))
        warnings.warn(
            f"the fast engine was checked with {there}, not with {here}; using engine='reference'",
            RuntimeWarning,
            stacklevel=4,
        )
        return "reference"
    return wanted


def _upstream(name: str, engine: str, rewards: bool) -> tuple[Any, Any]:
    """Return upstream's environment object and what makes its stepper.

    Built directly it takes 0.15 s, through gymnasium 0.5 s.
    """
    from .metaworld_parts.fast import FastStep
    from .metaworld_parts.rewards import quick_class
    from .metaworld_parts.simulation import ReferenceStep

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mujoco
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS

        if mujoco.get_mju_user_warning() is None:  # without a listener MuJoCo writes MUJOCO_LOG.TXT
            mujoco.set_mju_user_warning(logging.getLogger("trace_robot.mujoco").info)
        upstream: Any = ALL_V3_ENVIRONMENTS[name]
        if engine == "fast":
            return quick_class(upstream)(), lambda each: FastStep(name, each, rewards)
        return upstream(), lambda each: ReferenceStep(each, rewards)


def _action(
    task: Task, control: str, relative: bool
) -> tuple[tuple[Field, ...], tuple[float, ...], tuple[float, ...]]:
    if control == "raw":
        return RAW, (-1.0,) * 3, (1.0,) * 3
    if relative:
        return RELATIVE, (-REACH,) * 3, (REACH,) * 3
    low, high = task.hand
    return ABSOLUTE, low, high


def _positive(what: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueMismatchError(f"{what} must be a whole number of at least 1, got {value!r}")
    return value
