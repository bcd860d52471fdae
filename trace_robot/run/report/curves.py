"""A run's learning curves and paths, from what the store has of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten

from trace_robot.run.history import History, IterationInfo, RunInfo, Score
from trace_robot.run.report.figures import Figure, Point, curve, mean_interval, paths, spent
from trace_robot.run.report.iterations import number, title

MOST_PATHS = 24  # iterations whose paths can be chosen
MOST_CANDIDATES = 5_000  # dots of one plot


@dataclass(frozen=True, slots=True)
class Plot:
    """A place for a figure; summary: for those who do not see it."""

    figure: str
    size: str
    title: str
    summary: str
    note: str = ""


def curves(
    history: History, run: RunInfo, iterations: Sequence[IterationInfo]
) -> tuple[dict[str, Figure], tuple[Plot, ...]]:
    if not iterations:
        return {}, ()
    first, best = iterations[0].success, max(each.success for each in iterations)
    tried = _tried(history, run, iterations)
    figures = {
        "success": curve(
            [_point(each, each.success, *Score(each.success, len(each.episodes)).interval) for each in iterations],
            tried=tried, range_=(-0.04, 1.04),
        ),
        "return": curve([_point(each, *_return(each)) for each in iterations]),
    }  # fmt: skip
    plots = [
        Plot("success", "main", "Success in training",
             f"success by iteration, from {number(first)} at the start to {number(best)}",
             "Dots: iterations with their 95 % intervals. Line and band: the best so far."
             + (" Faint: every candidate, some on fewer episodes." if tried else "")),
        Plot("return", "half", "Return of an episode", "mean return of an episode by iteration"),
    ]  # fmt: skip
    if run.model_calls:
        kinds = {"prompts": "prompt_tokens", "replies": "completion_tokens"}
        series = {
            kind: [_spent(each, getattr(each, name)) for each in iterations] for kind, name in kinds.items()
        }
        figures["tokens"] = spent(series)
        plots.append(
            Plot(
                "tokens", "half", "Tokens so far", f"tokens spent so far by iteration, {run.tokens:,} in all"
            )
        )
    if run.money is not None:
        figures["money"] = spent(
            {"money": [_spent(each, each.money or 0.0) for each in iterations]}, unit="$"
        )
        plots.append(
            Plot(
                "money",
                "half",
                "Money so far",
                f"money spent so far by iteration, {run.money:.2f} dollars in all",
            )
        )
    if len(plots) % 2 == 0:  # small plots stand in pairs
        figures["work"] = spent({"candidates": [_spent(each, each.candidates) for each in iterations]})
        summary = f"controllers tried so far by iteration, {run.candidates:,} in all"
        plots.append(Plot("work", "half", "Controllers tried so far", summary))
    return figures, tuple(plots)


def _at(iteration: IterationInfo) -> dict[str, float]:
    return {
        "iteration": iteration.number,
        "steps": iteration.environment_steps,
        "minutes": round(iteration.seconds / 60, 3),
    }


def _point(iteration: IterationInfo, value: float, low: float, high: float) -> Point:
    return Point(
        _at(iteration), value, low, high, iteration.better, f"{iteration.number}: {title(iteration)}"
    )


def _spent(iteration: IterationInfo, value: float) -> Point:
    return Point(_at(iteration), value, value, value)


def _return(iteration: IterationInfo) -> tuple[float, float, float]:
    rewards = [each.reward for each in iteration.episodes if each.reward == each.reward]
    return mean_interval(rewards) if rewards else (iteration.reward,) * 3


def _tried(history: History, run: RunInfo, iterations: Sequence[IterationInfo]) -> list[Point]:
    """Return every candidate, put between the iterations before and after it; none where each is an iteration."""
    candidates = history.candidates(run)
    if len(candidates) <= len(iterations):
        return []
    knots = [(each.candidates, _at(each)) for each in iterations]
    points = []
    at = 0
    for position, candidate in enumerate(candidates[:MOST_CANDIDATES], 1):
        while at < len(knots) - 1 and knots[at][0] < position:
            at += 1
        (before, low), (after, high) = knots[max(0, at - 1)], knots[at]
        part = min(1.0, max(0.0, (position - before) / (after - before))) if after > before else 1.0
        where = {axis: round(low[axis] + part * (high[axis] - low[axis]), 3) for axis in low}
        points.append(
            Point(
                where,
                candidate.success,
                0,
                0,
                label=f"candidate {candidate.id}: {candidate.note or candidate.origin}",
            )
        )
    return points


def chosen(iterations: Sequence[IterationInfo], most: int) -> list[IterationInfo]:
    """Return the start and what was kept, the latest if there are too many."""
    kept = [each for each in iterations if each.better or each.number == 0]
    return kept if len(kept) <= most else [kept[0], *kept[len(kept) - most + 1 :]]


def courses(
    history: History, run: RunInfo, iterations: Sequence[IterationInfo]
) -> tuple[tuple[tuple[str, str], ...], dict[str, dict[str, Figure]]]:
    shown, figures = [], {}
    for each in chosen(iterations, MOST_PATHS):
        recording = history.recording(run, each.number)
        if recording is None or not recording.positions:
            continue
        key = str(each.number)
        figures[key] = paths({name: array.tolist() for name, array in recording.positions.items()})
        shown.append(
            (key, f"iteration {key}, condition {recording.seed}: {shorten(title(each), 60, placeholder='…')}")
        )
    return tuple(shown), figures
