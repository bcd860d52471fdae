"""Views of one run: learning curves, costs, recorded paths, success rates in bars, other worlds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

from trace_robot import safe_files
from trace_robot.errors import RunError
from trace_robot.report.escape import inside
from trace_robot.report.iterations import STRESS, Film, Source, number, title
from trace_robot.report.plots import Figure, Point, curve, mean_interval, paths, spent
from trace_robot.spec import MEASURES
from trace_robot.stats import three_digits
from trace_robot.store.history import History, IterationInfo, RunInfo, Score
from trace_robot.store.records import CheckedRow, decoding

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
    by_return = run.start is not None and run.start.shows_return
    figures, plots = _learning(iterations, _tried(history, run, iterations), by_return)
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
    iterations: Sequence[IterationInfo], tried: Sequence[Point], by_return: bool
) -> tuple[dict[str, Figure], list[Plot]]:
    """Return the curves of success (Wilson) and return (Student's t)."""
    first, best = iterations[0].success, max(item.success for item in iterations)
    success = [
        _point(item, item.success, *Score(item.success, len(item.episodes)).interval) for item in iterations
    ]
    figures = {
        "success": curve(success, tried=tried, range_=(-0.04, 1.04)),  # dots at 0 and 1 are whole
        "return": curve([_point(item, *_return(item)) for item in iterations]),
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


# The stress battery, of a file that may be a stranger's.

MOST_STRESS = 8_000_000  # bytes; 18 worlds with 1,000 failures each have about 3 million
MOST_WORLDS, MOST_FAILURES = 100, 20  # rows of the table; failures of a world that are listed
MOST_EPISODES = 1_000_000  # of a world
MOST_CHARACTERS = 400  # of a text; of all that a world draws there are about 200
HAPPENED = {"time": "time ran out", "terminated": "ended by the environment", "error": "error"}


@dataclass(frozen=True, slots=True)
class WorldView:
    """A world of the battery.

    Attributes:
        bar: its name, the success rate, and as note the interval, or why the environment cannot have it.
        measures: medians by name, as text with three digits.
        typical: how the typical failure came about, "" where nothing failed.
        failed: failed episodes.
        failures: condition, what happened, and what the world drew, of the first of them.
        film: video of the typical failure.
    """

    bar: PageStage
    measures: Mapping[str, str] = field(default_factory=dict)
    typical: str = ""
    failed: int = 0
    failures: tuple[tuple[str, str, str], ...] = ()
    film: Film | None = None


@dataclass(frozen=True, slots=True)
class WorldsView:
    """The section on other worlds, or ``problem`` in its place.

    Attributes:
        worst: a sentence on the worst world.
        note: what was measured, and of which controller.
        measures: name and heading of the medians that there are.
        worlds: in the order of the battery.
        problem: why stress.json cannot be read, "" where it can.
    """

    worst: str = ""
    note: str = ""
    measures: tuple[tuple[str, str], ...] = ()
    worlds: tuple[WorldView, ...] = ()
    problem: str = ""

    @property
    def failing(self) -> list[WorldView]:
        """The worlds with failures, the worst first."""
        failed = [each for each in self.worlds if each.failed and each.bar.at is not None]
        return sorted(failed, key=lambda each: each.bar.at or 0.0)


def other_worlds(run: RunInfo, iterations: Sequence[IterationInfo], source: Source) -> WorldsView | None:
    """Return the view of a run's stress.json, None without that file.

    Args:
        run: whose folder it is in.
        iterations: of the run, of which the best is compared with the controller that was stressed.
        source: the address of a video in the page, None to leave it out.
    """
    name = f"{STRESS}.json"
    try:
        text = safe_files.read_bytes(run.folder.parent, f"{run.name}/{name}", MOST_STRESS)
    except FileNotFoundError:
        return None
    except OSError as error:
        return WorldsView(problem=f"{name} of this run cannot be read: {error.strerror}")
    try:
        with decoding(f"{name} of this run"):
            return _worlds(safe_files.load_json(text, MOST_STRESS), run, iterations, source)
    except RunError as error:
        return WorldsView(problem=str(error))


def _worlds(data: Any, run: RunInfo, iterations: Sequence[IterationInfo], source: Source) -> WorldsView:
    rows, checked = _listed(data, "rows"), CheckedRow(data)
    if len(rows) > MOST_WORLDS:
        raise ValueError(f"rows must be at most {MOST_WORLDS} worlds, got {len(rows):,}")
    worlds = tuple(_world(place, row, run, source) for place, row in enumerate(rows))
    rates = [(each.bar.at, each.bar) for each in worlds if each.bar.at is not None]
    if not rates:
        raise ValueError("rows must have episodes in one world or more")
    rate, bar = min(rates, key=lambda pair: pair[0])
    mean = statistics.fmean(rate for rate, _ in rates) / 100
    count = f"{len(rates)} world{'' if len(rates) == 1 else 's'}"
    worst = f"Worst of {count}: “{bar.title}” with success {bar.value}; the mean is {mean:.2f}."
    if rate == 100:
        worst = f"It succeeded in every episode of {count}."
    note = (
        f"Battery {_brief(checked.text('battery'))} on held-out conditions, seed {checked.seed('seed')}, control"
        f" {_brief(checked.text('control'))}. The marks are the rate with its 95 % interval; measures are medians."
    )
    known = {name for each in worlds for name in each.measures}
    titles = tuple((name, f"{what} ({unit})") for name, (what, unit) in MEASURES.items() if name in known)
    return WorldsView(worst, note + _of(data, checked, iterations), titles, worlds)


def _of(data: Any, checked: CheckedRow, iterations: Sequence[IterationInfo]) -> str:
    """Return of which controller the report is, "" where the file does not say it."""
    if "controller_sha256" not in data:  # of stress --json with another controller
        return ""
    best = [item for item in iterations if item.better][-1:]
    of = f" Measured with the controller of iteration {checked.integer('iteration')}"
    if not best or checked.text("controller_sha256") == best[0].digest:
        return f"{of}."
    return f"{of}; the best is another one now, that of iteration {best[0].number}."


def _world(place: int, data: Any, run: RunInfo, source: Source) -> WorldView:
    row = CheckedRow(data)
    name = _brief(row.text("name"))
    if "left_out" in data:
        return WorldView(PageStage(name, "–", _brief(row.text("left_out"))))
    episodes = row.integer("episodes")
    if not 1 <= episodes <= MOST_EPISODES:
        raise ValueError(f"episodes must be from 1 to {MOST_EPISODES:,}, got {episodes:,}")
    # The interval is computed again rather than believed.
    success = row.amount("success", 1)
    bar = stage(name, Score(success, episodes), "of {}, ", interval=True)
    found = {key: value for key, value in dict(data["measures"]).items() if value is not None}
    medians = {key: CheckedRow(found).amount(key) for key in MEASURES if key in found}
    measures = {key: three_digits(each) for key, each in medians.items()}
    failures, failed = _listed(data, "failures", least=0), round((1 - success) * episodes)
    if len(failures) != failed:
        raise ValueError(
            f"failures must be {failed:,} for success {success:.2f} of {episodes:,}, got {len(failures):,}"
        )
    typical = _brief(row.text("typical_failure"))
    # Only the name that ``trace-robot stress`` gives it, and only a file: no path of a stranger is looked at.
    video, address = run.folder / STRESS / f"{place:02d}.mp4", None
    if failures and data.get("video") == f"{STRESS}/{video.name}" and inside(video, run.folder):
        address = source(video)
    film = None if address is None else Film(address, f"{name}: {typical}")
    listed = tuple(map(_failure, failures[:MOST_FAILURES]))
    return WorldView(bar, measures, typical, len(failures), listed, film)


def _failure(data: Any) -> tuple[str, str, str]:
    row = CheckedRow(data)
    happened, fault = HAPPENED[row.text("ended")], _brief(row.text("fault"))
    happened += f": {fault}" if fault else ""
    return (
        _brief(str(row.seed("seed"))),
        f"{happened} after {row.integer('steps'):,} simulator steps",
        _brief(row.text("world")),
    )


def _listed(data: Any, name: str, least: int = 1) -> list[Any]:
    if not isinstance(data, dict):
        raise ValueError(f"must be a JSON object, got {type(data).__name__}")
    value = data[name]
    if not isinstance(value, list) or len(value) < least:
        raise ValueError(f"{name} must be a list, got {value!r:.80}")
    return value


def _brief(text: str) -> str:
    """Return a text as one line, cut."""
    line = " ".join(text[: 10 * MOST_CHARACTERS].split())
    return line if len(line) <= MOST_CHARACTERS else f"{line[: MOST_CHARACTERS - 1]}…"
