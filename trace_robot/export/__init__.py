"""Export of a run's scalars, texts and videos to experiment trackers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trace_robot.report.escape import inside
from trace_robot.store.folder import difference
from trace_robot.store.history import AttemptInfo, History, IterationInfo, RunInfo


@dataclass(frozen=True, slots=True)
class Step:
    """One iteration. time: seconds since 1970. texts: by name, none of them empty."""

    number: int
    time: float
    scalars: Mapping[str, float]
    texts: Mapping[str, str]
    video: Path | None


@dataclass(frozen=True, slots=True)
class Content:
    """A run as a tracker takes it.

    settings: flat, by dotted name. results: the scores at the end, by name.
    """

    name: str
    task: str
    settings: Mapping[str, Any]
    results: Mapping[str, float]
    steps: tuple[Step, ...]
    finished: bool


def content(history: History, run: RunInfo) -> Content:
    """Return what trackers get of a run, which may still be running.

    Args:
        history: open, holding the run.
        run: to export.
    """
    attempts: dict[int | None, list[AttemptInfo]] = {}
    for attempt in history.attempts(run):
        attempts.setdefault(attempt.iteration, []).append(attempt)
    best = -math.inf
    steps = []
    for iteration in history.iterations(run):
        best = iteration.success if iteration.better else best
        steps.append(_step(run, iteration, attempts.get(iteration.number, []), best))
    results = {"start_success": run.start, "training_success": run.training, "held_out_success": run.held_out}
    numbers = {name: score.success for name, score in results.items() if score is not None}
    if run.held_out is not None:
        low, high = run.held_out.interval
        numbers |= {"held_out_low": low, "held_out_high": high}
    settings = {
        **_flat({**run.settings, "control": run.control}),
        **{f"versions.{name}": value for name, value in run.versions.items()},
    }
    return Content(run.name, run.task, settings, numbers, tuple(steps), run.status == "finished")


def _step(run: RunInfo, iteration: IterationInfo, attempts: list[AttemptInfo], best: float) -> Step:
    scalars = {
        "success/training": iteration.success,
        "success/best": best,
        "return": iteration.reward,
        "spent/candidates": iteration.candidates,
        "spent/environment_steps": iteration.environment_steps,
        "spent/seconds": iteration.seconds,
    }
    if iteration.model_calls:
        scalars |= {"spent/model_calls": iteration.model_calls, "spent/tokens": iteration.tokens}
    if iteration.money is not None:
        scalars["spent/money"] = iteration.money
    # Of several replies to one iteration the tracker gets that which became the candidate.
    used = next((each for each in attempts if each.candidate == iteration.candidate), None)
    texts = {
        "controller": iteration.controller,
        "feedback": iteration.feedback,
        "note": iteration.note,
        "difference": difference(iteration.parent_controller, iteration.controller)
        if iteration.number
        else "",
        "reasoning": used.reasoning if used else "",
        "reply": used.reply if used else "",
        "prompt": "\n\n".join(f"{m['role']}:\n{m['content']}" for m in used.messages) if used else "",
    }
    # A link that leads out of the run's folder would send a file of somewhere else to a server.
    video = iteration.video if iteration.video is not None and inside(iteration.video, run.folder) else None
    return Step(
        iteration.number,
        run.started + iteration.seconds,
        # The return of a simulation that diverged can be infinite or NaN, which no chart can show.
        {name: float(value) for name, value in scalars.items() if math.isfinite(value)},
        {
            # A model's reply may hold half a surrogate pair, which cannot be written as UTF-8.
            name: text.encode("utf-8", "backslashreplace").decode()
            for name, text in texts.items()
            if text.strip()
        },
        video,
    )


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is not None:
            flat[f"{prefix}{name}"] = value
    return flat
