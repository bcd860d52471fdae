"""The contract of a deployed controller: what its numbers mean, how it was found, and how good it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trace_robot.deploy.ir import StraightCode
from trace_robot.deploy.translate import translate
from trace_robot.env.envelope import LAW, LOGGED, Envelope, wrapped_text
from trace_robot.env.equipment import Equipment
from trace_robot.env.inspection import Inspection
from trace_robot.env.tracking import HandTracking, JointTracking
from trace_robot.errors import PolicyError, ValueMismatchError
from trace_robot.policy import Policy
from trace_robot.rollout.task import Task
from trace_robot.settings import versions
from trace_robot.spec import Field, TaskSpec

FORMAT = "trace-robot contract 1"
MOST_MISSED = 10  # observations in a row, without a watchdog
KINDS = {"f": "float64", "i": "int64", "b": "bool"}
# A controller in mode "pose" gives targets. What tracks them is deployed with it, written as a controller in the same
# subset: the arithmetic of ``EnvAdapter._track`` and of ``HandTracking`` and ``JointTracking``.
LIMITED = '''\
import math

import numpy as np


def limited(number, low, high):
    """Within the bounds, in single precision as the simulator takes it."""
    assert math.isfinite(number)
    return np.float32(min(max(number, low), high))


'''
BY_HAND = (
    LIMITED
    + '''\
def act(observation, memory):
    """Proportional tracking of the hand's target, which a decision sets; the next decision once it is there."""
    hand, still = observation[{hand!r}], {still}
    if not memory:
        memory.update(steps=0, still=still, target=hand, rest=[0.0] * {rest}, own={{}})
        due = True
    else:
        memory["steps"] += 1
        rests = np.all(np.abs(still - memory["still"]) < {change!r})
        near = np.max(np.abs(memory["target"] - hand)) < {near!r}
        due = memory["steps"] >= {steps} or (memory["steps"] >= {least} and near and rests)
        memory["still"] = still
    if due:
        decision = expected(decide({arguments}), {size})
        wanted = [limited(n, low, high) for n, low, high in zip(decision, {low!r}, {high!r}, strict=True)]
        memory.update(steps=0, target=hand + wanted[:3], rest=wanted[3:])
    return [*({gain!r} * (memory["target"] - hand)), *memory["rest"]]
'''
)
BY_JOINT = (
    LIMITED
    + '''\
def act(observation, memory):
    """Proportional-derivative tracking of the joints' targets, which a decision sets."""
    angles, velocities = np.atleast_1d(observation[{angles!r}]), np.atleast_1d(observation[{velocities!r}])
    if not memory:
        memory.update(steps=0, target=angles, own={{}})
        due = True
    else:
        memory["steps"] += 1
        near = np.max(np.abs(memory["target"] - angles)) < {near!r}
        due = memory["steps"] >= {steps} or (memory["steps"] >= {least} and near)
    if due:
        decision = expected(decide({arguments}), {size})
        wanted = [limited(n, low, high) for n, low, high in zip(decision, {low!r}, {high!r}, strict=True)]
        memory.update(steps=0, target=np.array(wanted))
    return [*({stiffness!r} * (memory["target"] - angles) - {damping!r} * velocities)]
'''
)


@dataclass(frozen=True, slots=True)
class DeployPlan:
    """A controller that is translated, with all that a back end and a contract need.

    Attributes:
        code: of the controller, with its tracking where that is known.
        spec: of the task in the controller's control mode.
        sent: of the task in the mode of the numbers that the deployed controller returns.
        tracking: numbers of the tracking controller that is part of the code, empty without one.
        rate: steps a second of the deployed controller, None where the environment does not say.
        text: of the policy.
        origin: where it comes from: "policy", and of a run what is known of it.
        envelope: around the controller, part of the code; None for none.
        followed: how the environment follows targets where that is no part of the code; empty where it is.
        elsewhere: versions in the environment's interpreter, where that is another one.
        places: of fields in the environment's own observation, as of ``EnvDetails``.
    """

    code: StraightCode
    spec: TaskSpec
    sent: TaskSpec
    tracking: Mapping[str, Any]
    rate: float | None
    text: str
    origin: Mapping[str, Any] = field(default_factory=dict)
    envelope: Envelope | None = None
    followed: Mapping[str, Any] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, Any] = field(default_factory=dict)

    @property
    def read(self) -> list[Field]:
        """The fields of the observation that the controller reads."""
        return [part for part in self.spec.observation if part.name in self.code.inputs]


def plan(
    policy: Policy,
    env: str,
    *,
    control: str | None = None,
    options: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> DeployPlan:
    """Translate a controller for an environment, without executing it.

    Args:
        policy: the controller.
        env: its environment, which is made in a child process, to see its rate and how it tracks targets.
        control: the control mode; None for what the policy says.
        options: of the environment.
        origin: where the policy comes from, for the contract.

    Raises:
        PolicyError: the controller cannot be translated; the message has the line and the reason.
        TraceRobotError: there is no such environment, it cannot be made, or it cannot have the envelope.
    """
    task = Task.load(env, policy, control=control, options=options)
    spec, text = task.spec, task.policy.text
    found = Inspection(env, task.options, tracking=True).answer()
    tracking, seconds = found.tracking, found.seconds
    texts, sent, numbers = [text], spec, dict[str, Any]()
    if tracking is not None and found.raw is not None:
        numbers = _numbers(tracking)
        sent = found.raw
        texts.append(_tracker(tracking, numbers, spec, policy))
    equipment, _ = Equipment.split(task.options)
    envelope = None if equipment is None else equipment.envelope
    if envelope is not None:
        if spec.control == "pose" and not numbers:
            raise ValueMismatchError(
                f"an envelope limits what is sent in each step, and a controller of {env} in mode pose returns targets"
                " that the robot tracks; leave the envelope out, and set the limits in that tracking"
            )
        texts.append(_enveloped(envelope, sent, seconds, _arguments(policy) if not numbers else 2))
    inputs = {part.name: part.size for part in spec.observation}
    try:
        code = translate(texts, inputs, sent.action_size, [f"{LOGGED}{name}" for name in LAW])
    except PolicyError as error:
        raise PolicyError(f"policy {policy.name} cannot be deployed: {error}") from error
    rate = None if seconds is None else round(1.0 / seconds, 9)
    if spec.control == "pose" and not numbers:
        rate = None  # a decision takes as long as the robot's own tracking needs
    came = {"policy": policy.name, **(origin or {})}
    return DeployPlan(
        code, spec, sent, numbers, rate, text, came, envelope, found.followed, task.versions, found.places
    )


def _numbers(tracking: HandTracking | JointTracking) -> dict[str, Any]:
    names = ("hand", "gain", "steps", "least", "near", "still", "change")
    if isinstance(tracking, JointTracking):
        names = ("angles", "velocities", "stiffness", "damping", "steps", "least", "near")
    return {name: getattr(tracking, name) for name in names}


def _tracker(
    tracking: HandTracking | JointTracking, numbers: Mapping[str, Any], spec: TaskSpec, policy: Policy
) -> str:
    """Return the text of what tracks the decisions of a controller."""
    low, high = _single(spec)
    wanted = "observation, memory['own']" if _arguments(policy) > 1 else "observation"
    rest = {"low": low, "high": high, "arguments": wanted, "size": spec.action_size}
    if isinstance(tracking, JointTracking):
        return BY_JOINT.format(**numbers, **rest)
    still = f"observation[{tracking.still!r}]" if tracking.still else "0.0"
    return BY_HAND.format(**{**numbers, **rest, "still": still, "rest": spec.action_size - 3})


def _single(spec: TaskSpec) -> tuple[list[float], list[float]]:
    """Return the bounds of an action in single precision."""
    low, high = (np.array(bounds, np.float32).astype(float).tolist() for bounds in (spec.low, spec.high))
    return low, high


def _arguments(policy: Policy) -> int:
    """Return how many arguments ``act`` takes."""
    import ast

    functions = [node for node in ast.parse(policy.text).body if isinstance(node, ast.FunctionDef)]
    return len(next(node for node in functions if node.name == "act").args.args)


def _enveloped(envelope: Envelope, sent: TaskSpec, seconds: float | None, arguments: int) -> str:
    """Return the text of the envelope around a controller of one argument or two."""
    limits = envelope.limits(sent, sent.low, sent.high, seconds)
    wanted = "observation, memory['own']" if arguments > 1 else "observation"
    return wrapped_text(limits, wanted, sent.action_size, list(zip(*_single(sent), strict=True)))


def contract(planned: DeployPlan) -> dict[str, Any]:
    """Return the contract as plain data, with the digest of what must be agreed to."""
    spec, code, sent = planned.spec, planned.code, planned.sent
    agreed = {
        "task": spec.name,
        "rate_hz": planned.rate,
        "fields": [_field(part, spec) for part in planned.read],
        "action": _actions(sent),
        "control": _control(planned),
    }
    if planned.envelope is not None:
        agreed["envelope"] = _envelope(planned.envelope)
    stop = [float(min(max(0.0, low), high)) for low, high in zip(sent.low, sent.high, strict=True)]
    return {
        "format": FORMAT,
        "digest": digest(agreed),
        **agreed,
        "instruction": spec.instruction,
        "success": spec.success,
        "places": {part.name: _place(part, planned) for part in planned.read},
        "not_read": [part.name for part in spec.observation if part.name not in code.inputs],
        "action_after_a_fault": stop,
        "memory": [{"name": name, "type": KINDS[kind]} for name, kind in code.slots.items()],
        "memory_at_first": "zeros",
        "worst_case": {"operations": sum(code.counts.values()), **code.counts},
        "controller": {"sha256": hashlib.sha256(planned.text.encode()).hexdigest(), **planned.origin},
        "written_with": versions(planned.elsewhere, model=False),
    }


def digest(data: Any) -> str:
    """Return the SHA-256 of plain data as JSON."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _field(part: Field, spec: TaskSpec) -> dict[str, Any]:
    frame = {"frame": "world"} if part.name in spec.positions else {}
    return {"name": part.name, "size": part.size, "unit": part.unit, **frame, "meaning": part.meaning}


def _place(part: Field, planned: DeployPlan) -> list[dict[str, Any]]:
    """Return where a field lies in the observation, a vector if nothing else is known."""
    place: list[dict[str, Any]] = planned.places.get(
        part.name, [{"key": [], "slice": [part.start, part.stop]}]
    )
    return place


def _actions(sent: TaskSpec) -> list[dict[str, Any]]:
    return [
        {
            "name": part.name,
            "size": part.size,
            "unit": part.unit,
            "meaning": part.meaning,
            # Infinite bounds have no literal in JSON.
            "low": [_finite(bound) for bound in sent.low[part.start : part.stop]],
            "high": [_finite(bound) for bound in sent.high[part.start : part.stop]],
            "whole": part.whole,
        }
        for part in sent.action
    ]


def _envelope(envelope: Envelope) -> dict[str, Any]:
    """Return the limits, and which of them a driver must hold."""
    limits = envelope.to_data()
    return {
        "limits": limits,
        "held_by_driver": [name for name in ("force", "watchdog") if name in limits],
        "log": {name: f"steps in which {name} acted, in memory as envelope_{name}" for name in LAW},
    }


def _finite(bound: float) -> float | None:
    return float(bound) if abs(bound) < float("inf") else None


def _control(planned: DeployPlan) -> dict[str, Any]:
    if planned.tracking:
        what = "the environment's own action: tracking of the controller's targets is part of it"
    elif planned.spec.control == "pose":
        what = "targets in the terms of 'action': what drives the robot must track them, and ask again when there"
    else:
        what = "the environment's own action"
    return {
        "mode": planned.spec.control,
        "returns": what,
        "tracking": dict(planned.tracking or planned.followed),
    }


def _asked(planned: DeployPlan) -> str:
    """Return when the next action must be asked for, as text."""
    if planned.rate:
        return f"{planned.rate:g} times a second"
    if planned.spec.control == "pose" and not planned.tracking:
        most = planned.followed.get("most_steps")
        return "for each target: again once there" + (f", or after {most} steps of the task" if most else "")
    return "once a step of the task"


def _missed(planned: DeployPlan) -> int:
    """Return how many observations in a row may be missing."""
    watchdog = None if planned.envelope is None else planned.envelope.watchdog
    return MOST_MISSED if watchdog is None or planned.rate is None else int(watchdog * planned.rate)


def about(planned: DeployPlan, agreed: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what the back ends print beside the code.

    Args:
        planned: the controller.
        agreed: its contract.
        name: of the C files and functions.
    """
    wholes = [part.whole for part in planned.sent.action for _ in range(part.size)]
    lines, printed = [], ""  # a meaning of several numbers stands at the first
    for part in planned.sent.action:
        for i in range(part.size):
            axis = f"[{i}]" if part.size > 1 else ""
            low, high = planned.sent.low[part.start + i], planned.sent.high[part.start + i]
            unit = f" {part.unit}" if part.unit else ""
            meaning, printed = "" if part.meaning == printed else part.meaning, part.meaning
            lines.append(
                f"[{part.start + i}] {part.name}{axis}{unit}, {low:g} to {high:g}. {meaning}".rstrip()
            )
    return {
        "title": f"{planned.origin.get('policy', 'a controller')}: a controller for {planned.spec.name}",
        "version": agreed["written_with"].get("trace-robot", ""),
        "task": planned.spec.name,
        "contract": agreed["digest"],
        "rate": planned.rate,
        "asked": _asked(planned),
        "missed": _missed(planned),
        "log": [f"{LOGGED}{name}" for name in LAW],
        "fields": {part.name: (part.size, part.unit) for part in planned.read},
        "unused": agreed["not_read"],
        "low": planned.sent.low,
        "high": planned.sent.high,
        "whole": wholes,
        "name": name,
        "action": lines,
    }
