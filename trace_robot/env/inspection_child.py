"""The process in which a run's environment is made and played to describe it.

``python -m trace_robot.env.inspection_child`` reads a request from standard input, a line of JSON, and writes one
before each call that may hang and one for each answer. It ends when standard input is closed.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from trace_robot.child_process import passed_output, private_stdout
from trace_robot.env import registry
from trace_robot.env.declared import DeclaredPlugin
from trace_robot.env.equipment import Equipment, equip
from trace_robot.env.guard import closed, time_limit, watched
from trace_robot.env.inspection import FACTS, MOST_TEXT, REFUSALS, SPEC, TRACKING, TRACKINGS, Inspection
from trace_robot.env.kinematics import NEAR_TURN, ArmTracking
from trace_robot.env.kinematics import RATE as ARM_GAIN
from trace_robot.env.motion_model import GAIN as MOTION_GAIN
from trace_robot.env.motion_model import NEAR, MotionModel, MotionTracking
from trace_robot.env.simulation import physics_of, step_seconds, unwrapped
from trace_robot.env.tracking import ArmModel, HandTracking, JointTracking
from trace_robot.errors import TraceRobotError, ValueMismatchError
from trace_robot.fault import MAKE_SECONDS
from trace_robot.spec import TaskSpec

# What moves a hand, as contracts and the screen of a run name it.
MOVED_BY: Mapping[type, str] = {ArmModel: "inverse kinematics", MotionModel: "a measured Jacobian"}
REPORT_EVERY = 0.25  # seconds between two messages of the same kind of call: a step takes microseconds


def answers(ask: Inspection) -> Iterator[tuple[str, Any]]:
    """Make an environment as often as needed, and yield what was asked for.

    ask: what is asked for.
    """
    name, control = ask.env, ask.options.get("control") or ask.control
    control = control or registry.usual_control(name, ask.default, ask.options)
    options = {"control": control, **ask.options}
    spec = registry.describe(name, **options)
    plugin = registry.plugin(name, options)
    _, rest = Equipment.split(options)
    found = plugin.description(spec.name, rest) if isinstance(plugin, DeclaredPlugin) else None
    yield (
        SPEC,
        {
            "control": control,
            "spec": spec,
            "versions": found.versions if found else {},
            "places": found.observation.places() if found else {},
            "moved_by": MOVED_BY.get(type(found.arm), "") if found else "",
            "no_hand": plugin.no_hand(spec.name, rest) if isinstance(plugin, DeclaredPlugin) else "",
        },
    )
    if ask.tracking:
        yield TRACKING, _tracked(name, options, spec)
    if ask.equipment:
        yield REFUSALS, _refusals(name, options, spec, ask.equipment)
    if ask.facts:
        from trace_robot.env.facts import facts_of  # a description need not load it

        yield FACTS, facts_of(name, options, spec)


@contextmanager
def _made(name: str, options: Mapping[str, Any]) -> Iterator[Any]:
    """Make an environment for the block, within time limits."""
    with registry.foreign(f"{name} cannot be looked at"):
        with time_limit(MAKE_SECONDS, "make()"):
            env = registry.make(name, **options)
        with closed(env):
            yield env


def _tracked(
    name: str, options: Mapping[str, Any], spec: TaskSpec
) -> tuple[HandTracking | JointTracking | None, float | None, TaskSpec | None, dict[str, Any]]:
    """Return a tracking, the seconds of a step, its raw spec, or how others track."""
    with _made(name, options) as env:
        found = getattr(env.unwrapped, "tracking", None) if spec.control == "pose" else None
        inner = unwrapped(getattr(env.unwrapped, "inner", env))
        seconds = step_seconds(inner)
        if not isinstance(found, HandTracking | JointTracking):
            return None, seconds, None, {} if found is None else _followed(found, inner, seconds)
    return found, seconds, registry.describe(name, **{**options, "control": "raw"}), {}


def _followed(tracking: Any, env: Any, seconds: float | None) -> dict[str, Any]:
    """Return how a tracking controller that cannot be written out follows a target.

    Args:
        tracking: of mode "pose".
        env: unwrapped.
        seconds: of a simulator step, None where it does not say.
    """
    kinds = {ArmTracking: MOVED_BY[ArmModel], MotionTracking: MOVED_BY[MotionModel]}
    rule = f"after {tracking.steps} simulator steps"
    data: dict[str, Any] = {
        "by": kinds.get(type(tracking), type(tracking).__name__),
        "step_seconds": seconds,
        "most_steps": tracking.steps,
        "least_steps": tracking.least,
    }
    if type(tracking) not in kinds:  # a plug-in's own, which alone knows when it is there
        return {**data, "ends": f"{rule}, or earlier by its there()"}
    hands = [hand.spec for hand in tracking.arm.hands]
    turns = any(hand.turn >= 0 for hand in hands)
    # Part of the error that a simulator step is to remove.
    data |= {"gain": ARM_GAIN if isinstance(tracking, ArmTracking) else MOTION_GAIN, "near": NEAR}
    data |= {"near_turn": NEAR_TURN} if turns else {}
    near = f"each hand is within {NEAR:g} m of its target on each axis"
    near += f" and {NEAR_TURN:g} rad of its turn" if turns and isinstance(tracking, ArmTracking) else ""
    if isinstance(tracking, ArmTracking):
        near += ", its fingers at rest" if any(hand.fingers.size for hand in tracking.arm.hands) else ""
        model: Any = (physics_of(env) or (None, None))[0]
        places = {} if model is None else {int(model.jnt_qposadr[j]): j for j in range(model.njnt)}
        joints = [places[at] for at in tracking.arm.qpos.tolist() if at in places]
        data["joints"] = [model.joint(j).name or f"joint_{j}" for j in joints]
    return {**data, "hands": [hand.position for hand in hands], "ends": f"once {near}, or {rule}"}


def _refusals(
    name: str, options: Mapping[str, Any], spec: TaskSpec, settings: Sequence[Mapping[str, Any]]
) -> tuple[str, ...]:
    """Return for each setting why the environment cannot have it, "" where it can."""
    reasons = []
    with _made(name, options) as env:
        for setting in settings:
            equipment, _ = Equipment.split(setting)
            try:
                equip(env, spec, equipment or Equipment())
                reasons.append("")
            # It lacks physics, positions, the length of a step, or a success that can be held. Any other error, such as
            # a misspelt field, is a mistake in the settings, which a row among many would hide.
            except ValueMismatchError as error:
                reasons.append(str(error))
    return tuple(reasons)


def _written(kind: str, found: Any) -> Any:
    """Return an answer as plain data, for ``_read``."""
    if kind == SPEC:
        return {**found, "spec": found["spec"].to_data()}
    if kind == REFUSALS:
        return list(found)
    if kind == FACTS:
        return asdict(found)
    tracking, seconds, raw, followed = found
    name = next((name for name, each in TRACKINGS.items() if isinstance(tracking, each)), "")
    return {
        "class": name,
        "tracking": asdict(tracking) if name else {},
        "seconds": seconds,
        "raw": None if raw is None else raw.to_data(),
        "followed": followed,
    }


class _Reporter:
    """Writes what the child is at, each kind of call at most every REPORT_EVERY."""

    def __init__(self, send: Callable[[Mapping[str, Any]], None]) -> None:
        self._send, self._doing, self._sent = send, "", 0.0

    def __call__(self, doing: str, seconds: float) -> None:
        now = time.monotonic()
        if doing != self._doing or now - self._sent > REPORT_EVERY:
            self._send({"doing": doing})
            self._doing, self._sent = doing, now


def _plain(value: Any) -> Any:
    """Return numpy's numbers and arrays as Python's, for JSON."""
    return value.tolist()


def main() -> None:
    """Answer the request on standard input."""
    send = private_stdout()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a crash leaves its last line
    requests = os.fdopen(os.dup(0), "rb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)  # a plug-in that asks its user is at the end of its input at once
    ask = Inspection(**json.loads(requests.readline()))
    threading.Thread(target=_end_with, args=(requests,), daemon=True).start()
    with passed_output(), watched(_Reporter(send)):
        try:
            for kind, found in answers(ask):
                send({kind: json.loads(json.dumps(_written(kind, found), default=_plain))})
        except TraceRobotError as error:
            send({"error": type(error).__name__, "text": str(error)[:MOST_TEXT]})


def _end_with(requests: Any) -> None:
    """End this process once the other end of standard input is closed."""
    requests.read()
    os._exit(1)


if __name__ == "__main__":
    main()
