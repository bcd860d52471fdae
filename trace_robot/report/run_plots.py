"""Views of one run: learning curves, costs, recorded paths, success rates in bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten

from trace_robot.report.iterations import number, title
from trace_robot.report.plots import Figure, Point, best_line, curve, mean_interval, paths, spent
from trace_robot.stats import three_digits
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


@dataclass(frozen=True, slots=True)
class Learning:
    """Points of a run's two learning curves, one an iteration.

    Attributes:
        success: with Wilson's interval.
        returns: with Student's.
        by_return: whether the return is what decides.
    """

    success: tuple[Point, ...]
    returns: tuple[Point, ...]
    by_return: bool

    @classmethod
    def of(cls, run: RunInfo, iterations: Sequence[IterationInfo]) -> Learning:
        """Return those of a run.

        Args:
            run: whose environment says what decides.
            iterations: of the run, in order.
        """
        rates = [
            _point(item, item.success, *Score(item.success, len(item.episodes)).interval)
            for item in iterations
        ]
        returns = [_point(item, *_return(item)) for item in iterations]
        return cls(tuple(rates), tuple(returns), run.start is not None and run.start.shows_return)


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
    figures, plots = _learning(iterations, Learning.of(run, iterations), _tried(history, run, iterations))
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


def overlay(run: RunInfo, iterations: Sequence[IterationInfo]) -> dict[str, Figure]:
    """Return a run's curves for a plot of several: the line of each, and the layout.

    Args:
        run: whose name is in the legend.
        iterations: of the run, in order.

    Returns:
        Traces named "success" and "return", none without iterations, and the "layout".
    """
    points = Learning.of(run, iterations)
    lines: dict[str, Figure] = {"layout": curve(())["layout"]}
    if iterations:
        for name, each, decides in (
            ("success", points.success, not points.by_return),
            ("return", points.returns, points.by_return),
        ):
            lines[name] = best_line(each, run.name, decides=decides)
    return lines


def _learning(
    iterations: Sequence[IterationInfo], points: Learning, tried: Sequence[Point]
) -> tuple[dict[str, Figure], list[Plot]]:
    """Return the curves of success (Wilson) and return (Student's t)."""
    by_return = points.by_return
    first, best = iterations[0].success, max(item.success for item in iterations)
    figures = {
        # The range keeps dots at 0 and 1 whole.
        "success": curve(points.success, tried=tried, range_=(-0.04, 1.04), decides=not by_return),
        "return": curve(points.returns, decides=by_return),
    }
    note = "Dots: iterations with their 95 % intervals. Line and band: the best so far."
    faint = " Faint: every candidate, some on fewer episodes." * bool(tried)
    summary = f"success by iteration, from {number(first)} at the start to {number(best)}"
    sizes = ("half", "main") if by_return else ("main", "half")
    plots = [
        Plot("success", sizes[0], "Success in training", summary, "" if by_return else note + faint),
        Plot(
            "return",
            sizes[1],
            "Return of an episode",
            "mean return of an episode by iteration",
            note * by_return,
        ),
    ]
    return figures, plots[::-1] if by_return else plots


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
    rewards = [
        episode.reward for episode in iteration.episodes if episode.reward == episode.reward
    ]  # not NaN
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
    points, at = list[Point](), 0
    for position, candidate in enumerate(candidates[:MOST_CANDIDATES], 1):
        while at < len(knots) - 1 and knots[at][0] < position:
            at += 1
        (before, low), (after, high) = knots[max(0, at - 1)], knots[at]
        part = min(1.0, max(0.0, (position - before) / (after - before))) if after > before else 1.0
        where = {axis: round(low[axis] + part * (high[axis] - low[axis]), 3) for axis in low}
        label = f"candidate {candidate.id}: {candidate.note or candidate.origin}"
        # Without a bar: low and high are not read.
        points.append(Point(where, candidate.success, 0, 0, label=label))
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


@dataclass(frozen=True, slots=True)
class PageStage:
    """A success rate at one stage of the run, with the marks of its bar.

    Attributes:
        title: of the stage.
        value: success rate, 0 to 1, as text.
        note: episodes, interval.
        at: position of the rate on the bar, in percent.
        low: where the 95 % interval begins, in percent; None without one.
        width: of the interval, in percent.
    """

    title: str
    value: str
    note: str
    at: float | None = None
    low: float | None = None
    width: float = 0.0


def stage(name: str, score: Score | None, note: str, *, interval: bool = False) -> PageStage:
    if score is None:
        return PageStage(name, "–", "not known yet")
    (low, high), note = score.interval, note.format(score.episodes)
    if score.returns is not None and score.shows_return:  # a return has no scale for a bar
        below, above = map(three_digits, score.returns.interval)
        text = f"mean return, {note}{f'{below} to {above}' if interval else ''}".rstrip(", ")
        rate = f"; success {score.success:.2f}" if score.shows_success else ""
        return PageStage(name, three_digits(score.returns.mean), text + rate)
    return PageStage(
        name,
        f"{score.success:.2f}",
        f"{note}{low:.2f} to {high:.2f}" if interval else note,
        at=round(100 * score.success, 2),
        # Only the held-out rate has an interval: the best in training was selected, so that its interval would lie.
        low=round(100 * low, 2) if interval else None,
        width=round(100 * (high - low), 2),
    )
