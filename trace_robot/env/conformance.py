"""Conformance checks: whether an environment is as its ``TaskSpec`` describes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np

from trace_robot.errors import WorkspaceError, unknown
from trace_robot.spec import DIFFERENCE, Array, Field, TaskSpec

Env = gymnasium.Env[Array, Array]


def require(file: str, spec: TaskSpec, env: Env) -> None:
    """Compare an environment with its description, without an episode.

    Args:
        file: of the plug-in, for the message.
        spec: the description.
        env: the environment.

    Raises:
        WorkspaceError: the first thing that does not fit.
    """
    for problem in (*spec_problems(spec), *space_problems(spec, env)):
        raise WorkspaceError(f"{file}: {spec.name}: {problem}")


ATTRIBUTES = ("reset", "step", "close", "unwrapped", "observation_space", "action_space")
ELSEWHERE = (
    "a class without gymnasium, and spaces as pairs of bounds, need python=... (docs/other-interpreter.md)"
)


def environment_problem(env: Any) -> str:
    """Return what an object lacks to be an environment of gymnasium, or ""."""
    if not hasattr(env, "reset") or not hasattr(env, "step"):
        return f"make must return a gymnasium environment, got {env!r}"
    name = type(env).__name__
    missing = [each for each in ATTRIBUTES if not hasattr(env, each)]
    if missing and not isinstance(env, gymnasium.Env):
        lacks = ", ".join(missing)
        return (
            f"{name} is no gymnasium.Env and has no {lacks}: write class {name}(gymnasium.Env); {ELSEWHERE}"
        )
    for each in ATTRIBUTES[-2:]:
        space = getattr(env, each, None)
        if isinstance(space, tuple | list | dict | int):
            return f"{each} of {name} must be a space such as gymnasium.spaces.Box, got {space!r:.80}; {ELSEWHERE}"
    return ""


def spec_problems(spec: TaskSpec) -> Iterator[str]:
    """Yield what is wrong with a description, each as one line with its remedy."""
    # Half a surrogate pair is no character: a file of JSON or UTF-8 gives another text back, or none.
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in _texts(spec)):
        yield "its texts must be Unicode, and one has half of a surrogate pair; write the character itself"
    if not spec.instruction.strip():
        yield "the instruction is empty; write what the task is"
    # Equal bounds are of a number that cannot move: a joint that is locked, or a space with room for more.
    if len(spec.low) != len(spec.high) or not np.all(np.less_equal(spec.low, spec.high)):
        yield f"each bound of the action must be low <= high, got {spec.low} and {spec.high}"
    if spec.horizon < 1:
        yield f"the horizon must be at least 1, got {spec.horizon}"
    yield from _field_problems("observation", spec.observation, spec.observation_size)
    yield from _field_problems("action", spec.action, spec.action_size)
    if sum(field.size for field in spec.action) != spec.action_size:
        yield f"the action's fields must use up its {spec.action_size} numbers"
    sizes = {field.name: field.size for field in spec.observation}
    # Searches and pictures compute distances between positions, so they must be points.
    for name in spec.positions:
        if name not in sizes:
            yield f"positions: {unknown('part of the observation', name, sizes)}"
        elif sizes[name] != 3:
            planar = f"; of a planar point give its height: part({name!r}, 2, 'm', height=0.0)"
            planar *= sizes[name] == 2 and not DIFFERENCE.search(name)
            planar += (
                f"; {name!r} is a difference: leave it out of positions, feedback laws use it as an error"
                * bool(DIFFERENCE.search(name))
            )
            yield f"position {name!r} must be an observation field of 3 numbers, not {sizes[name]}{planar}"


def _texts(spec: TaskSpec) -> str:
    """Return all texts of a description, one after the other."""
    fields = (
        text
        for field in (*spec.observation, *spec.action)
        for text in (field.name, field.unit, field.meaning)
    )
    return "".join((spec.name, spec.instruction, spec.success, spec.failure, *spec.terms, *fields))


def unused(spec: TaskSpec) -> list[int]:
    """Return the indices of the observation that no field shows."""
    shown = {index for field in spec.observation for index in range(field.start, field.stop)}
    return [index for index in range(spec.observation_size) if index not in shown]


def space_problems(spec: TaskSpec, env: Env) -> Iterator[str]:
    """Yield where the environment's spaces are not those of its description.

    Args:
        spec: the description.
        env: must have Box spaces, float64 for the observation and float32 for the action.
    """
    expected = (("observation", spec.observation_size, np.float64), ("action", spec.action_size, np.float32))
    for what, size, dtype in expected:
        space = getattr(env, f"{what}_space")
        if not isinstance(space, gymnasium.spaces.Box) or space.shape != (size,) or space.dtype != dtype:
            yield f"the {what} space must be a Box of shape ({size},) and {np.dtype(dtype)}, got {space}"


def run_problems(spec: TaskSpec, fresh: Callable[[], Env], *, steps: int = 20) -> Iterator[str]:
    """Run short episodes from one seed with random actions, and yield what differs.

    Args:
        spec: the description.
        fresh: makes a new environment object.
        steps: of an episode at most.

    Yields:
        Wrong types and shapes, values that are not finite, and episodes that differ: in two objects, which
        shows a generator that is not seeded, and in the second episode of one, which shows state that a reset
        leaves.
    """
    first, second = fresh(), fresh()
    try:
        episodes = [_episode(env, spec, steps) for env in (first, second, first)]
    finally:
        first.close()
        second.close()
    observations, rewards = episodes[0]
    for observation in observations:
        yield from _observation_problems(spec, observation)
    for (others, other_rewards), what in zip(
        episodes[1:], ("two objects", "two episodes of one object"), strict=True
    ):
        # Bytes, not values: episodes must be equal bit for bit, and NaN equal to itself.
        if [one.tobytes() for one in observations] != [other.tobytes() for other in others]:
            yield f"the same seed and actions gave different observations in {what}"
        if rewards != other_rewards:
            yield f"the same seed and actions gave different rewards in {what}"
    if not all(np.isfinite(rewards)):
        yield "a reward is not finite"


def _episode(env: Env, spec: TaskSpec, steps: int) -> tuple[list[Array], list[float]]:
    """Return observations and rewards of an episode with random actions from seed 0."""
    generator = np.random.default_rng(0)
    observation, _ = env.reset(seed=0)
    observations, rewards = [observation], []
    for _ in range(min(steps, spec.horizon)):
        action = generator.uniform(spec.low, spec.high).astype(np.float32)
        observation, reward, terminated, truncated, _ = env.step(action)
        observations.append(observation)
        rewards.append(float(reward))
        if terminated or truncated:
            break
    return observations, rewards


def _observation_problems(spec: TaskSpec, observation: Any) -> Iterator[str]:
    if not isinstance(observation, np.ndarray) or observation.shape != (spec.observation_size,):
        yield f"an observation must have shape ({spec.observation_size},), got {np.shape(observation)}"
    elif observation.dtype != np.float64:
        yield f"an observation must be float64, got {observation.dtype}"
    elif not np.isfinite(observation).all():
        yield f"an observation has a number that is not finite at {np.flatnonzero(~np.isfinite(observation))}"


def _field_problems(what: str, fields: Sequence[Field], size: int) -> Iterator[str]:
    taken: dict[int, str] = {}
    names = [field.name for field in fields]
    for name in {name for name in names if names.count(name) > 1}:
        yield f"{what} field {name!r} exists twice"
    for field in fields:
        if not field.name.isidentifier():
            yield f"{what} field {field.name!r} must be a Python name"
        if not 0 <= field.start < field.stop <= size:
            yield f"{what} field {field.name!r} at {field.start}:{field.stop} does not lie in 0:{size}"
        for index in range(field.start, field.stop):
            if taken.setdefault(index, field.name) != field.name:
                yield f"{what} fields {taken[index]!r} and {field.name!r} overlap at {index}"
                break


def rewards_differ(env: Any, actions: Sequence[Any], seed: int) -> bool:
    """Return whether an episode has more than one reward, to rank returns by.

    Args:
        env: with the five-tuple of ``step``.
        actions: of the episode, which may end before.
        seed: of its initial condition.
    """
    env.reset(seed=seed)
    rewards: set[float] = set()
    for action in actions:
        _, reward, terminated, truncated, _ = env.step(action)
        rewards.add(float(reward))
        if terminated or truncated:
            break
    return len(rewards) > 1
