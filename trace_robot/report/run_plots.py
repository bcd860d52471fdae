"""The plots of one run: learning curves, cumulative costs, recorded paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten

from trace_robot.report.iterations import number, title
from trace_robot.report.plots import Figure, Point, curve, mean_interval, paths, spent
from trace_robot.store.history import History, IterationInfo, RunInfo, Score

MOST_PATHS = 24  # iterations whose paths the page offers: each has up to 150 points a name
MOST_CANDIDATES = 5_000  # dots of one plot; a search may try far more


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure's place in the page.

    Attributes:
        figure: its name in the page's data.
        size: "main" for the whole width, "half" for one of a pair.
        title: heading.
        summary: text alternative (aria-label) for screen readers.
        note: how to read it.
    """

    figure: str
    size: str
    title: str
    summary: str
    note: str = ""


def curves(
    history: History, run: RunInfo, iterations: Sequence[IterationInfo]
) -> tuple[dict[str, Figure], tuple[Plot, ...]]:
    """Return the learning curves and costs of a run.

    Args:
        history: the open store.
        run: one of its runs.
        iterations: of the run, in order; none before the first was scored.

    Returns:
        Figures by name, and their places in the page.
    """
    if not iterations:
        return {}, ()
    figures, plots = _learning(iterations, _tried(history, run, iterations))
    if run.model_calls:
        kinds = {"prompts": "prompt_tokens", "replies": "completion_tokens"}
        series = {
            kind: [_spent(item, getattr(item, name)) for item in iterations] for kind, name in kinds.items()
        }
        figures["tokens"] = spent(series)
        summary = f"tokens spent so far by iteration, {run.tokens:,} in all"
        plots.append(Plot("tokens", "half", "Tokens so far", summary))
    if run.money is not None:
        money = [_spent(item, item.money or 0.0) for item in iterations]
        figures["money"] = spent({"money": money}, unit="$")
        summary = f"money spent so far by iteration, {run.money:.2f} dollars in all"
        plots.append(Plot("money", "half", "Money so far", summary))
    if len(plots) % 2 == 0:  # small plots stand in pairs below the one of full width
        figures["work"] = spent({"candidates": [_spent(item, item.candidates) for item in iterations]})
        summary = f"controllers tried so far by iteration, {run.candidates:,} in all"
        plots.append(Plot("work", "half", "Controllers tried so far", summary))
    return figures, tuple(plots)


def _learning(
    iterations: Sequence[IterationInfo], tried: Sequence[Point]
) -> tuple[dict[str, Figure], list[Plot]]:
    """Return the curves of success (Wilson intervals) and return (Student's t)."""
    first, best = iterations[0].success, max(item.success for item in iterations)
    success = [
        _point(item, item.success, *Score(item.success, len(item.episodes)).interval) for item in iterations
    ]
    figures = {
        # A little more than 0 to 1, so that dots at the ends are whole.
        "success": curve(success, tried=tried, range_=(-0.04, 1.04)),
        "return": curve([_point(item, *_return(item)) for item in iterations]),
    }
    note = "Dots: iterations with their 95 % intervals. Line and band: the best so far."
    if tried:
        note += " Faint: every candidate, some on fewer episodes."
    summary = f"success by iteration, from {number(first)} at the start to {number(best)}"
    plots = [
        Plot("success", "main", "Success in training", summary, note),
        Plot("return", "half", "Return of an episode", "mean return of an episode by iteration"),
    ]
    return figures, plots


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
    """Return a point without an interval: costs are counted, not estimated."""
    return Point(_at(iteration), value, value, value)


def _return(iteration: IterationInfo) -> tuple[float, float, float]:
    """Return the mean return with its interval over the finite episodes."""
    # Unequal to itself: NaN, the return of an episode that failed.
    rewards = [episode.reward for episode in iteration.episodes if episode.reward == episode.reward]
    return mean_interval(rewards) if rewards else (iteration.reward,) * 3


def _tried(history: History, run: RunInfo, iterations: Sequence[IterationInfo]) -> list[Point]:
    """Return all candidates as points, none if each is an iteration already.

    A candidate stores its score but not its time or steps: its abscissas are interpolated linearly between the
    iterations before and after it, by its position among the candidates.
    """
    candidates = history.candidates(run)
    if len(candidates) <= len(iterations):
        return []
    knots = [(item.candidates, _at(item)) for item in iterations]
    points = []
    at = 0
    for position, candidate in enumerate(candidates[:MOST_CANDIDATES], 1):
        while at < len(knots) - 1 and knots[at][0] < position:
            at += 1
        (before, low), (after, high) = knots[max(0, at - 1)], knots[at]
        part = min(1.0, max(0.0, (position - before) / (after - before))) if after > before else 1.0
        where = {axis: round(low[axis] + part * (high[axis] - low[axis]), 3) for axis in low}
        label = f"candidate {candidate.id}: {candidate.note or candidate.origin}"
        points.append(
            Point(where, candidate.success, 0, 0, label=label)
        )  # without a bar: low and high are not read
    return points


def chosen(iterations: Sequence[IterationInfo], most: int) -> list[IterationInfo]:
    """Return the starting iteration and those that became the best.

    Args:
        iterations: of a run, in order.
        most: length of the result; of more, the start and the latest stay.
    """
    kept = [item for item in iterations if item.better or item.number == 0]
    return kept if len(kept) <= most else [kept[0], *kept[len(kept) - most + 1 :]]


def courses(
    history: History, run: RunInfo, iterations: Sequence[IterationInfo]
) -> tuple[tuple[tuple[str, str], ...], dict[str, dict[str, Figure]]]:
    """Return the recorded paths of the iterations that became the best.

    Args:
        history: the open store.
        run: one of its runs.
        iterations: of the run, in order.

    Returns:
        Key and label of each choice, and by key the figures of ``plots.paths``.
    """
    choices, figures = [], {}
    for item in chosen(iterations, MOST_PATHS):
        recording = history.recording(run, item.number)
        if recording is None or not recording.positions:
            continue
        key = str(item.number)
        figures[key] = paths({name: array.tolist() for name, array in recording.positions.items()})
        label = shorten(title(item), 60, placeholder="…")
        choices.append((key, f"iteration {key}, condition {recording.seed}: {label}"))
    return tuple(choices), figures
