"""The process in which an environment is checked.

The environment may raise, hang, print or die here without harm to the command.

``python -m trace_robot.env_checker.child NAME OPTIONS`` writes one JSON line before each stage and one a finding;
``--digest`` writes what an episode comes to instead, to compare with another process; ``--draft`` what a plug-in for a
gymnasium id would say.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from trace_robot.child_process import private_stdout
from trace_robot.env.conformance import rewards_differ, run_problems, space_problems, spec_problems, unused
from trace_robot.env.declaration import SUCCESS_MISSING
from trace_robot.env.remote import RemoteEnv
from trace_robot.env_checker.checker import Finding, error_text, field_of, judged_field, problem
from trace_robot.errors import SimulatorDeathError, TraceRobotError
from trace_robot.fault import UNSTABLE
from trace_robot.spec import Field, TaskSpec

STEPS = 60
DIFFERENTLY = "did not do again"  # what an environment says that is drawn by being stepped again
EPISODE_SECONDS = 10.0
SEEDS = (0, 1, 2)


def main(arguments: list[str]) -> int:
    """Check the environment that the command line names, one JSON line a message."""
    send = private_stdout()
    name, options = arguments[0], json.loads(arguments[1])
    if "--digest" in arguments:
        send({"digest": digest(name, options)})
        return 0
    if "--draft" in arguments:
        from trace_robot.env_checker.draft import draft

        try:
            for message in draft(name, options):
                send(message)
        except Exception as error:  # whatever an environment does is a finding
            send(_found(problem("make", error_text(error))))
        return 0
    for message in examination(name, options):
        send(message)
    send({"stage": "done"})
    return 0


def examination(name: str, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield ``{"stage": ...}`` before each stage, and each finding.

    Args:
        name: of the environment.
        options: of its plug-in.

    Yields:
        JSON-able messages; the last ones where a stage fails that all others need.
    """
    from trace_robot.env.discovery import version_conflicts
    from trace_robot.env.registry import describe, make, plugin, task_spec_of

    yield {"stage": "load"}
    for conflict in version_conflicts():
        yield _found(Finding("versions", "note", conflict))
    try:
        file = plugin(name, options).file
        yield {"file": file, "stage": "make"}
        started = time.perf_counter()
        spec = describe(name, **options)
        env = make(name, **options)
        seconds = time.perf_counter() - started
    except Exception as error:  # whatever a plug-in does is a finding
        yield _found(problem("make", error_text(error), field_of(error)))
        return
    spec = task_spec_of(env) or spec
    faults = [*spec_problems(spec), *space_problems(spec, env)]
    yield from (_found(problem("spec", text, field_of(text))) for text in faults)
    if faults:
        return
    yield _found(Finding("spec", "good", _words(spec)))
    if (remote := _remote(env)) is not None:
        packages = ", ".join(f"{name} {version}" for name, version in remote.versions.items())
        yield _found(Finding("python", "good", f"it runs in {remote.call.python}: {packages}"))
    # With the searches, which the checks above do not need.
    from trace_robot.env_checker.findings import name_findings, saved_state

    yield from map(_found, name_findings(spec, file))
    for stage, trial in (("reset", _reset), ("step", _step)):
        yield {"stage": stage}
        fault = _attempt(lambda trial=trial: trial(env, spec))  # type: ignore[misc]
        if fault is not None:
            yield _fault(stage, fault)
            return
    yield from _success(env, spec)
    yield {"stage": "episodes"}
    yield from _episodes(env, spec)
    yield from _repeats(name, options, spec, make)
    yield {"stage": "hands"}
    yield from (_found(finding) for finding in _hands(name, options, env, spec))
    yield {"stage": "identify"}
    yield from _positions(env, spec, _usual_spec(name, options, spec))
    yield {"stage": "snapshot"}
    yield _found(saved_state(lambda: make(name, **options), _actions(spec)))
    yield {"stage": "cost"}
    yield _found(_cost(env, spec, seconds))
    yield {"stage": "picture"}
    yield _found(_picture(env, spec))
    yield {"stage": "close"}
    fault = _attempt(env.close)
    if fault is not None:
        yield _found(problem("close", fault))


def digest(name: str, options: dict[str, Any]) -> str:
    """Return a fingerprint of the observations and rewards of one episode.

    Args:
        name: of the environment.
        options: of its plug-in.
    """
    from trace_robot.env.registry import describe, make, task_spec_of

    env = make(name, **options)
    spec = task_spec_of(env) or describe(name, **options)
    fingerprint = hashlib.sha256()
    observation, _ = env.reset(seed=SEEDS[1])
    fingerprint.update(observation.tobytes())
    for action in _actions(spec):
        observation, reward, terminated, truncated, _ = env.step(action)
        fingerprint.update(observation.tobytes() + np.float64(reward).tobytes())
        if terminated or truncated:
            break
    return fingerprint.hexdigest()


def _success(env: Any, spec: TaskSpec) -> Iterator[dict[str, Any]]:
    if spec.success:
        yield _found(Finding("success", "good", f"an episode succeeds when {spec.success}"))
    else:
        text = "nothing says what success is: no entry success or is_success of info, no reward threshold"
        differ = rewards_differ(env, _actions(spec), SEEDS[0])
        note = Finding("success", "good", f"{text}; results show the mean return")
        yield _found(note if differ else problem("success", text, "success"))


def _reset(env: Any, spec: TaskSpec) -> None:
    for seed in SEEDS:
        env.reset(seed=seed)


def _step(env: Any, spec: TaskSpec) -> None:
    env.reset(seed=SEEDS[0])
    for action in [*_corners(spec), *_actions(spec)]:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset(seed=SEEDS[0])


def _episodes(env: Any, spec: TaskSpec) -> Iterator[dict[str, Any]]:
    """Play whole episodes, and look for the entries of info that are declared.

    Nothing is found where they take longer than EPISODE_SECONDS: an entry may come in the last step.
    """
    seen: set[str] = set()
    declared = False  # whether an episode had the entry that is declared as success
    generator, deadline = np.random.default_rng(0), time.monotonic() + EPISODE_SECONDS
    try:
        for seed in SEEDS:
            env.reset(seed=seed)
            for _ in range(spec.horizon):
                action = generator.uniform(spec.low, spec.high).astype(np.float32)
                _, _, terminated, truncated, info = env.step(action)
                seen |= info.keys()
                if terminated or truncated:
                    break
                if time.monotonic() > deadline:
                    return
            declared = declared or SUCCESS_MISSING not in info
    except TraceRobotError as error:  # random actions may make a simulation unstable
        if str(error).startswith(UNSTABLE):
            return
        yield _fault("step", error_text(error))
        return
    except Exception as error:
        yield _fault("step", error_text(error))
        return
    others = ", ".join(sorted(seen - {"success", "steps", SUCCESS_MISSING})) or "none"
    never = f"in {len(SEEDS)} whole episodes info never had"
    if not declared:
        text = f"{never} the entry declared as success: {spec.success}; its numbers: {others}"
        yield _found(problem("success", text, "success"))
    for term in spec.terms:
        if term not in seen:
            text = f"{never} the number {term!r} of terms; its numbers: {others}"
            yield _found(problem("success", text, "terms"))


def _repeats(
    name: str, options: dict[str, Any], spec: TaskSpec, make: Callable[..., Any]
) -> Iterator[dict[str, Any]]:
    yield {"stage": "seeds"}
    try:
        texts = list(run_problems(spec, lambda: make(name, **options), steps=STEPS))
        starts = {_start(make(name, **options), seed) for seed in SEEDS}
    except Exception as error:
        yield _fault("step", error_text(error))
        return
    yield from (_found(problem("values" if "finite" in text else "seeds", text)) for text in texts)
    if not texts:
        text = "the same seed and actions give the same episode in this process"
        yield _found(Finding("seeds", "good", text))
    if len(starts) == 1:
        text = "every seed starts alike, so there is only one condition to train and to score on"
        yield _found(Finding("seeds", "note", text))


def _start(env: Any, seed: int) -> bytes:
    observation: bytes = env.reset(seed=seed)[0].tobytes()
    env.close()
    return observation


def _hands(name: str, options: dict[str, Any], env: Any, spec: TaskSpec) -> Iterator[Finding]:
    """Yield a line for each hand, in the usual control mode."""
    from trace_robot.env.registry import make, usual_control

    for hand in spec.hands if not getattr(env.unwrapped, "hands", ()) else ():
        numbers = f"the action's numbers {hand.motion} to {hand.motion + 2} move it"
        gripper = (
            f", number {hand.gripper} is its gripper, opens {hand.opens:+g}" if hand.gripper >= 0 else ""
        )
        yield Finding("hands", "good", f"hand {hand.name!r}: {numbers}{gripper}")
    try:
        # A hand that the action moves by itself is that of the built-in search.
        declared = getattr(env.unwrapped, "declaration", None)
        own = spec.hands and declared is not None and not declared.hands
        usual = options.get("control") or usual_control(name, "raw" if own else "pose", options)
        posed = env if usual == spec.control else make(name, **{**options, "control": usual})
        yield from (Finding("hands", "good", text) for text in getattr(posed.unwrapped, "hands", ()))
        if posed is not env:
            posed.close()
    except Exception as error:
        declared = "" if isinstance(error, SimulatorDeathError) else "hands"
        yield problem("hands", error_text(error), declared)


def _usual_spec(name: str, options: dict[str, Any], spec: TaskSpec) -> TaskSpec:
    """Return the spec in the mode that the built-in search takes, else ``spec``."""
    from trace_robot.env.registry import describe, usual_control
    from trace_robot.settings import DEFAULTS

    try:
        usual = options.get("control") or usual_control(name, DEFAULTS["search"].control, options)
        return spec if usual == spec.control else describe(name, **{**options, "control": usual})
    except Exception:  # the stage of the hands has reported it
        return spec


def _positions(env: Any, spec: TaskSpec, used: TaskSpec) -> Iterator[dict[str, Any]]:
    from trace_robot.env_checker.findings import position_findings

    try:
        yield from map(_found, position_findings(env, spec, used))
    except Exception as error:  # the stages before it have reported what fails in steps
        yield _found(Finding("positions", "note", f"they cannot be measured: {error_text(error)}"))


def _remote(env: Any) -> RemoteEnv | None:
    """Return the proxy of an environment in another interpreter, else None."""
    inner = getattr(env.unwrapped, "inner", None)
    return inner if isinstance(inner, RemoteEnv) else None


def _cost(env: Any, spec: TaskSpec, seconds: float) -> Finding:
    """Measure resets and steps in CPU time, which a busy machine does not change much.

    An environment in another process takes no CPU time of this one, and wall-clock time is measured.
    """
    remote = _remote(env) is not None
    clock = time.perf_counter if remote else time.process_time
    actions, steps, resets, spent = _actions(spec), 0, 0, 0.0
    reset_spent, simulated = 0.0, 0
    while resets < 5 and spent + reset_spent < 2.0:
        begun = clock()
        env.reset(seed=resets)
        reset_spent, resets, begun = reset_spent + clock() - begun, resets + 1, clock()
        info: dict[str, Any] = {}
        for action in actions:
            _, _, terminated, truncated, info = env.step(action)
            steps += 1
            if terminated or truncated:
                break
        simulated += int(info.get("steps", 0)) or 1
        spent += clock() - begun
    a_step, a_reset = spent / steps, reset_spent / resets
    of_what = "" if remote else " of CPU time"
    text = (
        f"made in {seconds:.2f} s; a decision takes {_duration(a_step)} and a reset {_duration(a_reset)}{of_what}:"
        f" about {1 / (a_step + a_reset / spec.horizon):,.0f} decisions a second on one core"
    )
    return Finding("cost", "good", text)


def _picture(env: Any, spec: TaskSpec) -> Finding:
    from trace_robot.render.video import Clip, render_picture

    try:
        env.unwrapped.record_states = True
        env.reset(seed=SEEDS[0])
        for action in _actions(spec)[:5]:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                break
        scene, states = env.unwrapped.scene(), env.unwrapped.recorded()
        if scene is None or states is None:
            return Finding(
                "picture", "note", "it cannot be drawn, so there will be no videos", "", _remedy("picture")
            )
        with tempfile.TemporaryDirectory() as folder:
            render_picture([Clip(scene, states)], Path(folder) / "frame.png")
    except Exception as error:  # no picture is no reason not to optimize
        text = error_text(error)
        remedy = _remedy("seeds" if DIFFERENTLY in text else "picture")
        return Finding("picture", "note", f"it cannot be drawn: {text}", "", remedy)
    how = (
        "from recorded states of its model"
        if scene.model_path
        else "by itself, stepped again with the same actions"
    )
    return Finding("picture", "good", f"it can be drawn, {how}")


def _remedy(check: str) -> str:
    return problem(check, "").remedy


def _actions(spec: TaskSpec) -> list[Any]:
    generator = np.random.default_rng(0)
    count = min(STEPS, spec.horizon)
    return [generator.uniform(spec.low, spec.high).astype(np.float32) for _ in range(count)]


def _corners(spec: TaskSpec) -> list[Any]:
    return [np.array(spec.low, np.float32), np.array(spec.high, np.float32)]


def _attempt(trial: Callable[[], Any]) -> str | None:
    try:
        trial()
    except Exception as error:  # third-party code may raise anything
        return error_text(error)
    return None


def _words(spec: TaskSpec) -> str:
    seen, done = _names(spec.observation), _names(spec.action)
    if hidden := unused(spec):  # on purpose: a declaration must name or skip every number
        seen += f" ({len(hidden)} number{'s' * (len(hidden) > 1)} left out: {_runs(hidden)})"
    return f"observation: {seen}; action: {done}; at most {spec.horizon} decisions"


def _names(fields: Sequence[Field]) -> str:
    named = [part.name if part.size == 1 else f"{part.name} ({part.size})" for part in fields]
    return ", ".join(named if len(named) <= 12 else [*named[:5], f"... {len(named) - 6} more", named[-1]])


def _runs(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return shown + (", ..." if len(numbers) > 8 else "")


def _duration(seconds: float) -> str:
    return f"{1e6 * seconds:.0f} µs" if seconds < 1e-3 else f"{1e3 * seconds:.1f} ms"


def _fault(stage: str, text: str) -> dict[str, Any]:
    """Return the finding of what an environment or a function of its plug-in raised."""
    field = judged_field(text)
    check = "success" if field in ("success", "failure") else "values" if "not finite" in text else stage
    return _found(problem(check, text, field))


def _found(finding: Finding) -> dict[str, Any]:
    return {"finding": asdict(finding)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
