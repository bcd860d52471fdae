"""Derivation of a ``TaskSpec`` from a declaration and the environment's spaces."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trace_robot.env.declaration import SUCCESS_FLAGS, Environment
from trace_robot.env.flatten import ActionLayout, ObservationLayout, action_layout, observation_layout
from trace_robot.env.guard import reset_values, step_values, time_limit
from trace_robot.env.tracking import Tracking
from trace_robot.errors import EnvironmentFault, TraceRobotError, WorkspaceError
from trace_robot.fault import HANG_SECONDS
from trace_robot.spec import TaskSpec

HORIZON = 1000  # steps of an episode where neither the declaration nor gymnasium limits it
LOOKED_AT = 1000  # steps of the episode in which an entry of info for success is looked for
LOOK_SECONDS = 10.0  # for these; an engine and check-env take what is made for much longer to hang


@dataclass(frozen=True, slots=True)
class EnvDescription:
    """What ``EnvAdapter`` needs to know about an environment.

    Attributes:
        declaration: with ``success``, ``return_threshold`` and ``success_when`` filled in.
        spec: what controllers, prompts and optimizers see of it.
        observation: how its observations become vectors.
        action: how vectors become its actions, in control mode "raw" whatever the mode of ``spec`` is.
    """

    declaration: Environment
    spec: TaskSpec
    observation: ObservationLayout
    action: ActionLayout


def describe_env(
    declaration: Environment, env: Any, control: str, options: Mapping[str, Any], registered: Any = None
) -> EnvDescription:
    """Derive the description of an environment from its declaration and spaces.

    Where the declaration does not define success, an episode is stepped to look for a flag in ``info``.

    Args:
        declaration: with the user's options in it.
        env: the gymnasium environment.
        control: "raw" or "pose".
        options: what the user asked for; kept in the spec, so that the environment can be made again.
        registered: gymnasium's ``EnvSpec``, which may limit an episode's steps and say what return is a success.

    Raises:
        WorkspaceError: the declaration does not fit the spaces; the message does not name the file.
        EnvironmentFault: the environment raises in its first step.
    """
    for attribute in ("observation_space", "action_space"):
        if getattr(env, attribute, None) is None:
            raise WorkspaceError(f"the environment has no {attribute}; set it in its __init__")
    observation = observation_layout(env.observation_space, declaration.observation)
    action = action_layout(env.action_space, declaration.action)
    horizon = declaration.horizon or getattr(registered, "max_episode_steps", None) or HORIZON
    declaration = _with_success(
        declaration, env, getattr(registered, "reward_threshold", None), action, horizon
    )
    spec = TaskSpec(
        name=declaration.env_name,
        instruction=declaration.task,
        observation=observation.fields,
        action=action.fields,
        observation_size=observation.size,
        low=action.low,
        high=action.high,
        horizon=horizon,
        success=declaration.success_when,
        control=control,
        positions=tuple(declaration.positions),
        options={**options, "control": control},
        failure=declaration.failure_when,
        return_threshold=declaration.return_threshold,
        terms=tuple(declaration.terms),
        simulator_steps=horizon,
    )
    if control == "pose" and declaration.pose is not None:
        spec = _tracked(spec, declaration.pose)
    return EnvDescription(declaration, spec, observation, action)


def _tracked(spec: TaskSpec, pose: Tracking) -> TaskSpec:
    """Replace the environment's own action by a tracking controller's target."""
    fields, low, high = pose.action(spec)
    # A prompt says how long a decision may be followed; ``EnvAdapter.scene`` takes the entry out again, because it is
    # no option of ``make``.
    options = {**spec.options, "decision_steps": pose.steps}
    return replace(spec, action=fields, low=low, high=high, options=options)


def threshold_text(threshold: float) -> str:
    """Return what success by ``return_threshold`` is, as text for people and models."""
    return f"the sum of the rewards of the episode is at least {threshold:g} when it is over"


def _with_success(
    declaration: Environment, env: Any, threshold: float | None, action: ActionLayout, horizon: int
) -> Environment:
    """Fill in what success is: a flag of info, or the reward threshold of the id."""
    if declaration.success is None and declaration.return_threshold is None:
        # A flag comes before gymnasium's threshold: the flag is about the task, the threshold about training.
        flag = _success_flag(env, action, min(horizon, LOOKED_AT))
        if flag is not None:
            declaration = replace(declaration, success=flag)
        else:
            declaration = replace(declaration, return_threshold=threshold)
    if declaration.success_when:
        return declaration
    return replace(declaration, success_when=_success_text(declaration))


def _success_text(declaration: Environment) -> str:
    if declaration.return_threshold is not None:
        return threshold_text(declaration.return_threshold)
    if isinstance(declaration.success, str):
        return f"the environment says so (its info has {declaration.success!r})"
    return "" if declaration.success is None else "the plug-in's function success says so"


def _success_flag(env: Any, action: ActionLayout, steps: int) -> str | None:
    """Return the entry of info that says success, None where an episode shows none.

    Most environments have it in every step, some in the last one only, which a slow one does not reach within
    LOOK_SECONDS. Gymnasium's own have none, and one step confirms that.
    """
    inner = env.unwrapped
    # The middle is a legal action of every space; zero is not where a bound is above it.
    middle = (np.array(action.low) + np.array(action.high)) / 2
    module, name = getattr(inner, "simulator", None) or (type(inner).__module__, type(inner).__name__)
    own = module.startswith("gymnasium.envs.")
    begun, deadline = False, time.monotonic() + LOOK_SECONDS
    try:
        with time_limit(HANG_SECONDS, "reset()"):
            reset_values(env.reset(seed=0))
        for _ in range(1 if own else steps):
            with time_limit(HANG_SECONDS, "step()"):
                result = env.step(action.action(middle))
            _, _, terminated, truncated, info = step_values(result)
            begun = True
            flag = next((name for name in SUCCESS_FLAGS if name in info), None)
            if flag is not None or terminated or truncated or time.monotonic() > deadline:
                return flag
    except (Exception, SystemExit) as error:  # a user's or a package's environment may raise anything
        if not begun:
            kind = "" if isinstance(error, TraceRobotError) else f"{type(error).__name__}: "
            raise EnvironmentFault(f"{name} fails in its first step: {kind}{error}") from error
    return None  # a later failure is one of an episode, and is reported as that
