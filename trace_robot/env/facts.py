"""Facts of the body from a MuJoCo model: joints, sizes, rules of a decision.

They are text, a line each. A prompt shows them, since a good controller depends on lengths, limits and rates that
nothing else says. They are no hint of how a task is solved. ``Environment.facts`` adds lines, withholds those that
begin as an entry with a colon at its end does, or withholds all.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trace_robot.env.contact_facts import ContactFacts
from trace_robot.env.equipment import Equipment
from trace_robot.env.guard import closed, time_limit
from trace_robot.env.joint_facts import JointFacts
from trace_robot.env.kinematics import NEAR_TURN, ArmTracking
from trace_robot.env.kinematics import STILL as FINGERS_STILL
from trace_robot.env.motion_model import NEAR
from trace_robot.env.registry import foreign, make
from trace_robot.env.shape_facts import EpisodeStart, numbers, sides_named
from trace_robot.env.simulation import physics_of, step_seconds
from trace_robot.env.tracking import HandTracking, JointTracking
from trace_robot.errors import TraceRobotError
from trace_robot.fault import HANG_SECONDS, MAKE_SECONDS, Limits
from trace_robot.spec import Array, TaskSpec, hands_of

log = logging.getLogger("trace_robot.env")
MOST_LINES = 48  # of a body: a hand of thirty joints takes these
PROBED = 5  # steps that a full action is given to see how far it moves a hand
CLOSED = 60  # steps, or decisions, in which a gripper is waited for
STILL = 0.01  # of all that an opening changed; within it of where it ends, it stands still
DELAY = 20  # simulator steps in which a gripper that moves has begun to
REST = 4  # simulator steps that it must: one that bounces turns around within two
OPENING = re.compile(r"finger|grip|opening|jaw|aperture")
RATE = re.compile(r"veloc|speed|rate|force|tactile")  # of a gripper, but not how far it is open
LEAST_CHANGE = 3e-3  # of an opening, in its own unit; blocked fingers of Fetch settle by 0.0012 m
REWARD_ENDS = (
    "_weight",
    "_reward",
    "_cost_range",
)  # of attributes, as gymnasium's own environments call them


@dataclass(frozen=True, slots=True)
class EnvFacts:
    """What is known of an environment beside its spec.

    Attributes:
        decision: the exact rule by which a decision ends; "" where each is one step.
        body: a line each.
    """

    decision: str = ""
    body: tuple[str, ...] = ()


def facts_of(name: str, options: Mapping[str, Any], spec: TaskSpec) -> EnvFacts:
    """Return the facts of an environment, which is made and reset for them.

    Args:
        name: of the environment.
        options: of it, control mode included.
        spec: its description.

    Returns:
        No facts where it fails: an episode then says why.
    """
    _, nominal = Equipment.split(options)  # a world's noise is no fact of the body
    try:
        with foreign(f"{name} cannot be looked at"):
            with time_limit(MAKE_SECONDS, "make()"):
                env = make(name, **nominal)
            with closed(env):
                return _facts(env, spec)
    except TraceRobotError as error:  # the first episode names it with its line
        log.info("no facts of %s: %s", name, error)
        return EnvFacts()


def _facts(env: Any, spec: TaskSpec) -> EnvFacts:
    with time_limit(HANG_SECONDS, "reset()"):
        seen, _ = env.reset(seed=1)  # what the condition moves has another place then
        other = _start(env, spec, seen)
        first, _ = env.reset(seed=0)
    declared = getattr(env.unwrapped, "facts", None)
    decision = decision_rule(getattr(env.unwrapped, "tracking", None), spec)
    if declared is not None and not declared:
        return EnvFacts(decision)
    hidden = tuple(entry[:-1] for entry in declared or () if entry.endswith(":"))
    body = [line for line in body_facts(env, spec, first, other) if not line.startswith(hidden)]
    return EnvFacts(decision, (*body, *(entry for entry in declared or () if not entry.endswith(":"))))


def decision_rule(tracking: Any, spec: TaskSpec) -> str:
    """Return when a decision of control mode "pose" ends, "" where unknown.

    Args:
        tracking: what follows a target.
        spec: of the environment.
    """
    if isinstance(tracking, HandTracking):
        still = (
            f" and {tracking.still} changed by less than {tracking.change:g} in the last step"
            if tracking.still
            else ""
        )
        rule = (
            f"each axis is driven by itself at {tracking.gain:g} times its error, at most at full action; it ends as"
            f" soon as every axis is within {tracking.near:g} m of the target{still}"
        )
    elif isinstance(tracking, JointTracking):
        rule = (
            f"each joint gets {tracking.stiffness:g} times its error less {tracking.damping:g} times its velocity; it"
            f" ends as soon as every joint is within {tracking.near:g} rad of the target"
        )
    elif isinstance(tracking, ArmTracking):
        fingers = f", and no finger moved by more than {FINGERS_STILL:g}" if tracking.least > 1 else ""
        rule = (
            f"inverse kinematics drives all axes at once; it ends as soon as every axis is within {NEAR:g} m of the"
            f" target, and {NEAR_TURN:g} rad where there is a turn{fingers}"
        )
    else:
        return ""
    most, least = tracking.steps, max(1, tracking.least)
    return (
        f"A decision is followed for {least} to {most} simulator steps: {rule}; what is not reached after {most} steps"
        f" is dropped. The reward of a decision is the sum of its steps. {_episode_rule(spec, least, most)}"
    )


def _episode_rule(spec: TaskSpec, least: int, most: int) -> str:
    """Return the limit of simulator steps or of decisions that ends an episode."""
    steps, decisions = spec.simulator_steps or spec.horizon, spec.horizon
    fewest = -(-steps // most)
    if decisions >= steps // least:
        return f"An episode has {steps} simulator steps, so {fewest} to {steps // least} decisions."
    if decisions <= fewest:
        return f"An episode has at most {decisions} decisions, so at most {decisions * most} simulator steps."
    return (
        f"An episode has at most {steps} simulator steps and at most {decisions} decisions, so {fewest} to {decisions}"
        " decisions."
    )


def rules_of(spec: TaskSpec, decision: str = "", limits: Limits | None = None) -> tuple[str, ...]:
    """Return the rules of a decision, of success and of computing, a line each.

    Args:
        spec: of the environment.
        decision: when a decision ends; "" where each is one step.
        limits: time and memory of a controller.
    """
    limits = limits or Limits()
    if spec.return_threshold is None and spec.success and spec.options.get("hold") is None:
        success = "Success is checked after every simulator step, so that passing through it counts."
    elif spec.return_threshold is not None:
        success = "Success is decided when the episode is over, by the sum of its rewards."
    else:
        success = ""
    computing = (
        f"A call may compute for {limits.call_seconds:g} s, all calls of an episode for {limits.episode_seconds:g} s,"
        f" in {limits.memory_mb} MB. What it prints, up to {limits.printed_chars:,} characters, and what it appends to"
        " a list in memory is shown in the next prompt."
    )
    rules = (
        "The controller is Python code that is called once a decision.",
        decision or f"An episode has at most {spec.horizon} decisions.",
        success,
        computing,
    )
    return tuple(rule for rule in rules if rule)


def body_facts(
    env: Any, spec: TaskSpec, first: Array | None = None, other: EpisodeStart | None = None
) -> list[str]:
    """Return the facts of a body, a line each, few without a MuJoCo model.

    Args:
        env: just reset; it is stepped.
        spec: of it.
        first: (obs_dim,) what it returned, which places shapes from observed positions; None for none.
        other: the start of another episode, which shows what differs between them; None where not known.

    Returns:
        The lines by their worth: a prompt that lacks room leaves out the last.
    """
    layers = _layers(env)
    found = _physics(layers)
    lines = [f"The environment's step is {seconds:g} s ({1 / seconds:g} Hz)." for seconds in _seconds(layers)]
    last = []
    if found is not None:
        model, data = found
        contact = ContactFacts(model, data, *_seen(first, spec), other)
        joints = JointFacts(model, data, contact, contact.other)
        lines += [*contact.lines(), *joints.things(), *joints.lines()]
        last = [*contact.softness(), *contact.further()]
    lines = [*lines[:MOST_LINES], *_reward_weights(layers), *_speeds(env, spec), *_closings(env, spec)]
    return sides_named([*lines, *last[: max(0, MOST_LINES - len(lines))]])


def _physics(layers: Sequence[Any]) -> tuple[Any, Any] | None:
    return next((found for layer in layers if (found := physics_of(layer)) is not None), None)


def _start(env: Any, spec: TaskSpec, seen: Array) -> EpisodeStart | None:
    """Return where an episode that was just reset begins."""
    found = _physics(_layers(env))
    return None if found is None else EpisodeStart.of(found[1], _seen(seen, spec)[0])


def _seen(first: Array | None, spec: TaskSpec) -> tuple[dict[str, Array], list[str]]:
    """Return the first observed positions, and which are of hands."""
    if first is None:
        return {}, []
    flat = np.asarray(first, dtype=float).ravel()
    parts = {part.name: flat[part.start : part.stop] for part in spec.observation if part.stop <= flat.size}
    hands = [hand.position for hand in hands_of(spec) if hand.position in parts]
    names = [name for name in (*hands, *spec.positions) if name in parts and parts[name].size == 3]
    return {name: parts[name] for name in names}, [name for name in hands if name in names]


def _layers(env: Any) -> list[Any]:
    """Return the objects that may hold a model, also in an adapter."""
    outer = env.unwrapped
    inner = getattr(outer, "inner", outer)
    inner = getattr(inner, "unwrapped", inner)
    layers = [outer, inner, *(getattr(inner, name, None) for name in ("simulation", "_env", "task"))]
    return [layer for layer in layers if layer is not None]


def _seconds(layers: Sequence[Any]) -> list[float]:
    found = (step_seconds(layer) for layer in layers)
    return [seconds for seconds in found if seconds][:1]


def _reward_weights(layers: Sequence[Any]) -> list[str]:
    """Return the weights of a reward's terms, by the names of attributes."""
    found: dict[str, float] = {}
    for layer in layers:
        for name, value in vars(layer).items() if hasattr(layer, "__dict__") else ():
            if name.endswith(REWARD_ENDS) and isinstance(value, int | float) and not isinstance(value, bool):
                found[name.strip("_").removesuffix("_weight").replace("_", " ")] = float(value)
    texts = [f"{name} {value:g}" for name, value in sorted(found.items())]
    return [f"Weights in the reward: {', '.join(texts)}."] if texts else []


def _speeds(env: Any, spec: TaskSpec) -> Iterator[str]:
    """Yield how far a full action moved each hand, as measured."""
    parts = {part.name: part for part in spec.observation}
    low, high = np.array(spec.low), np.array(spec.high)
    for hand in hands_of(spec):
        if hand.position not in parts or not np.isfinite(high[hand.motion : hand.motion + 3]).all():
            continue
        part, moved = parts[hand.position], []
        steps = 1 if spec.control == "pose" else PROBED
        for axis in range(3):
            with time_limit(HANG_SECONDS, "reset()"):
                first = np.asarray(env.reset(seed=0)[0], float)[part.start : part.stop]
            action = np.clip(np.zeros(spec.action_size), low, high)
            action[hand.motion + axis] = high[hand.motion + axis]
            seen, info = first, {}
            for _ in range(steps):
                with time_limit(HANG_SECONDS, "step()"):
                    observation, _, terminated, truncated, info = env.step(action.astype(np.float32))
                seen = np.asarray(observation, float)[part.start : part.stop]
                if terminated or truncated:
                    break
            moved.append(
                f"{'xyz'[axis]} {float(seen[axis] - first[axis]):.3f} m in {int(info.get('steps', steps))} steps"
            )
            asked = f" (asked for {high[hand.motion]:g} m)" if spec.control == "pose" else ""
        yield f"a full action{asked} moved {hand.position} from the start of one episode along {', '.join(moved)}"


def _closings(env: Any, spec: TaskSpec) -> Iterator[str]:
    """Yield how long each gripper took to close on nothing, or to open, as measured."""
    for hand in hands_of(spec):
        if hand.gripper < 0 or not np.isfinite([spec.low[hand.gripper], spec.high[hand.gripper]]).all():
            continue
        for verb, sign in (("closing on nothing", -hand.opens), ("opening", hand.opens)):
            if text := _gripped(env, spec, hand.gripper, sign):
                yield f"{verb} from the start of one episode took {text}"
                break


def _gripped(env: Any, spec: TaskSpec, gripper: int, sign: float) -> str:
    """Return how long a gripper moved and how far, "" where it did not."""
    parts = [
        part
        for part in spec.observation
        if part.size <= 2 and OPENING.search(part.name) and not RATE.search(part.name)
    ]
    if not parts:
        return ""
    action = np.clip(np.zeros(spec.action_size), spec.low, spec.high)
    action[gripper] = spec.high[gripper] if sign > 0 else spec.low[gripper]
    with time_limit(HANG_SECONDS, "reset()"):
        rows, steps = [np.asarray(env.reset(seed=0)[0], float)], [0]
    while len(rows) <= CLOSED:
        with time_limit(HANG_SECONDS, "step()"):
            observation, _, terminated, truncated, info = env.step(action.astype(np.float32))
        rows.append(np.asarray(observation, float))
        steps.append(int(info.get("steps", len(steps))))
        for part in parts:
            values = np.stack([row[part.start : part.stop] for row in rows])
            if began := _stands_from(values, steps):
                return f"{began} steps, {part.name} {numbers(values[0])} to {numbers(values[-1])}"
        moved = any(
            np.ptp([row[part.start : part.stop] for row in rows], 0).max() > LEAST_CHANGE for part in parts
        )
        if terminated or truncated or (steps[-1] >= DELAY and not moved):
            break
    return ""


def _stands_from(values: Array, steps: Sequence[int]) -> int:
    """Return the simulator step from which changed values stand still, 0 for none."""
    whole = float(np.abs(values - values[0]).max())
    off = np.flatnonzero(np.abs(values - values[-1]).max(1) > STILL * whole)
    if whole < LEAST_CHANGE or off[-1] + 1 >= len(values) or steps[-1] - steps[off[-1] + 1] < REST:
        return 0
    return int(steps[off[-1] + 1])
