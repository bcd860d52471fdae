"""A run as one page: what was asked, where it ended, and everything in between, as data that the templates show."""

from __future__ import annotations

import datetime
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trace_robot.run.history import AttemptInfo, History, IterationInfo, RunInfo, Score
from trace_robot.run.report.figures import AXES, Figure, Point, curve, mean_interval, paths, spent
from trace_robot.run.report.iterations import Film, Group, Row, Source, body, groups, number, row, title
from trace_robot.run.report.text import plot_text

MOST_PATHS = 24  # iterations whose paths can be chosen
MOST_CANDIDATES = 5_000  # dots of one plot
Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """A success rate on the way. at, low, width: per cent of the bar below it."""

    title: str
    value: str
    note: str
    interval: str = ""
    at: float | None = None
    low: float | None = None
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class Plot:
    """A place for a figure; summary: for those who do not see it."""

    figure: str
    size: str
    summary: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    note: str
    picture: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that the page shows; figures and path_figures go into its data."""

    name: str
    task: str
    instruction: str
    state: str
    when: str
    parts: Rows
    way: tuple[Stage, ...]
    facts: Rows
    plots: tuple[Plot, ...]
    axes: Rows
    figures: Mapping[str, Figure]
    films: tuple[Film, ...]
    paths: tuple[tuple[str, str], ...]
    path_figures: Mapping[str, Mapping[str, Figure]]
    groups: tuple[Group, ...]
    graph: Graph | None
    costs: Rows
    command: str
    repeatable: str
    settings: Rows
    versions: Rows
    notes: str = field(default="")


def page_of(
    history: History,
    run: RunInfo,
    *,
    source: Source,
    html: Callable[[IterationInfo, Sequence[AttemptInfo]], str | None],
) -> Page:
    """Return the page of a run.

    source: the address that a video has on the page, None to leave it out. html: what an iteration's row opens, or
    None if the page gets it later.
    """
    iterations = history.iterations(run)
    attempts = by_iteration(history.attempts(run))
    rows = [row(each, html(each, attempts.get(each.number, ()))) for each in iterations]
    figures, plots = _curves(history, run, iterations)
    paths_, path_figures = _paths(history, run, iterations)
    films = _films(iterations, source)
    graph = _graph(history, run, iterations)
    parts = [("result", "Result"), ("learning", "Learning"), ("iterations", "Iterations"), ("costs", "Costs"),
             ("settings", "Settings")]  # fmt: skip
    if films or paths_:
        parts.insert(2, ("episodes", "How it moves"))
    if graph:
        parts.insert(-2, ("graph", "Graph"))
    return Page(
        name=run.name, task=run.task, instruction=str(run.environment.get("instruction", "")), state=run.status,
        when=_when(run), parts=tuple(parts), way=_way(run), facts=_facts(run), plots=plots,
        axes=tuple(AXES.items()), figures=figures, films=films, paths=paths_, path_figures=path_figures,
        groups=groups(rows), graph=graph, costs=_costs(run), command=command(run), repeatable=_repeatable(run),
        settings=_table(run.settings), versions=_table(run.versions), notes=_notes(run),
    )  # fmt: skip


def by_iteration(attempts: Sequence[AttemptInfo]) -> dict[int | None, list[AttemptInfo]]:
    found: dict[int | None, list[AttemptInfo]] = {}
    for attempt in attempts:
        found.setdefault(attempt.iteration, []).append(attempt)
    return found


def command(run: RunInfo) -> str:
    """Return the command line that does the same again, as far as settings decide it."""
    settings = run.settings
    words = ["trace-robot", "optimize", run.task, "--policy", run.policy, "--optimizer", run.optimizer]
    words += ["--seed", str(run.seed), "--control", run.control, "--feedback", run.feedback]
    for name in ("episodes", "iterations", "seconds", "steps", "held_out"):
        if settings.get(name) is not None:
            value = settings[name]
            words += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    if settings.get("tune") is False:
        words.append("--no-tune")
    return " ".join(shlex.quote(word) for word in words)


def _repeatable(run: RunInfo) -> str:
    if run.model_calls:
        return (
            "A language model's answers differ from one time to the next; with --record FILE they are kept, and"
            " --replay FILE answers from there."
        )
    if run.settings.get("steps") is None and run.settings.get("seconds") is not None:
        return "The clock ends this run: another machine may stop at another candidate. --steps stops at the same one."
    return "With the versions below it ends with the same controllers and scores."


def _way(run: RunInfo) -> tuple[Stage, ...]:
    held = run.held_out
    return (
        _stage("Start", run.start, "in training, {} episodes"),
        _stage("Best in training", run.training, "iteration " + str(run.best_iteration) + ", {} episodes"),
        _stage("Held out", held, "{} conditions never trained on, 95 % interval", interval=True),
    )


def _stage(name: str, score: Score | None, note: str, *, interval: bool = False) -> Stage:
    if score is None:
        return Stage(name, "–", "not known yet")
    low, high = score.interval
    return Stage(
        name, f"{score.success:.2f}", note.format(score.episodes), f"{low:.2f} to {high:.2f}" if interval else "",
        at=round(100 * score.success, 2), low=round(100 * low, 2) if interval else None,
        width=round(100 * (high - low), 2),
    )  # fmt: skip


def _facts(run: RunInfo) -> Rows:
    facts = [
        ("Optimizer", run.optimizer), ("Told of an episode", f"feedback level {run.feedback}"),
        ("Control", run.control), ("Started from", run.policy), ("Controllers tried", f"{run.candidates:,}"),
        ("Simulator steps", f"{run.environment_steps:,}"), ("Time", duration(run.seconds)),
    ]  # fmt: skip
    if run.model_calls:
        facts.append(("Model", f"{run.model_calls:,} calls, {run.tokens:,} tokens"))
    if run.money is not None:
        facts.append(("Money", f"${run.money:.2f}"))
    if run.ended:
        facts.append(("Ended", run.ended))
    return tuple(facts)


def _costs(run: RunInfo) -> Rows:
    rows = [
        ("Time optimizing", duration(run.seconds)), ("Controllers tried", f"{run.candidates:,}"),
        ("Iterations written down", f"{run.iterations:,}"), ("Simulator steps", f"{run.environment_steps:,}"),
        ("Calls of a model", f"{run.model_calls:,}"),
    ]  # fmt: skip
    if run.model_calls:
        rows.append(("Tokens", f"{run.prompt_tokens:,} in prompts, {run.completion_tokens:,} in replies"))
        rows.append(("Money", "no prices were given" if run.money is None else f"${run.money:.4f}"))
    return tuple(rows)


def _curves(history: History, run: RunInfo, iterations: Sequence[IterationInfo]) -> tuple[dict[str, Figure], tuple[Plot, ...]]:
    if not iterations:
        return {}, ()
    first, best = iterations[0].success, max(each.success for each in iterations)
    tried = _tried(history, run, iterations)
    figures = {
        "success": curve(
            [_point(each, each.success, *Score(each.success, len(each.episodes)).interval) for each in iterations],
            tried=tried, title="Success in training", range_=(-0.04, 1.04),
        ),
        "return": curve([_point(each, *_return(each)) for each in iterations], title="Return of an episode"),
    }  # fmt: skip
    plots = [
        Plot("success", "main", f"success by iteration, from {number(first)} at the start to {number(best)}",
             "Dots: iterations with their 95 % intervals. Line and band: the best so far."
             + (" Faint: every candidate, some on fewer episodes." if tried else "")),
        Plot("return", "half", "mean return of an episode by iteration"),
    ]  # fmt: skip
    if run.model_calls:
        kinds = {"prompts": "prompt_tokens", "replies": "completion_tokens"}
        series = {kind: [_spent(each, getattr(each, name)) for each in iterations] for kind, name in kinds.items()}
        figures["tokens"] = spent(series, title="Tokens so far")
        plots.append(Plot("tokens", "half", f"tokens spent so far by iteration, {run.tokens:,} in all"))
    if run.money is not None:
        figures["money"] = spent({"money": [_spent(each, each.money or 0.0) for each in iterations]},
                                 title="Money so far", unit="$")  # fmt: skip
        plots.append(Plot("money", "half", f"money spent so far by iteration, {run.money:.2f} dollars in all"))
    figures["work"] = spent({"candidates": [_spent(each, each.candidates) for each in iterations]},
                            title="Controllers tried so far")  # fmt: skip
    plots.append(Plot("work", "half", f"controllers tried so far by iteration, {run.candidates:,} in all"))
    if len(plots) % 2 == 0:  # the last of an odd number of small plots takes the whole width
        plots[-1] = Plot(plots[-1].figure, "main", plots[-1].summary)
    return figures, tuple(plots)


def _at(iteration: IterationInfo) -> dict[str, float]:
    return {
        "iteration": iteration.number,
        "steps": iteration.environment_steps,
        "minutes": round(iteration.seconds / 60, 3),
    }


def _point(iteration: IterationInfo, value: float, low: float, high: float) -> Point:
    return Point(_at(iteration), value, low, high, iteration.better, f"{iteration.number}: {title(iteration)}")


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
            Point(where, candidate.success, 0, 0, label=f"candidate {candidate.id}: {candidate.note or candidate.origin}")
        )
    return points


def _chosen(iterations: Sequence[IterationInfo], most: int) -> list[IterationInfo]:
    """Return the start and what was kept, the latest if there are too many."""
    kept = [each for each in iterations if each.better or each.number == 0]
    return kept if len(kept) <= most else [kept[0], *kept[len(kept) - most + 1 :]]


def _paths(
    history: History, run: RunInfo, iterations: Sequence[IterationInfo]
) -> tuple[tuple[tuple[str, str], ...], dict[str, dict[str, Figure]]]:
    shown, figures = [], {}
    for each in _chosen(iterations, MOST_PATHS):
        recording = history.recording(run, each.number)
        if recording is None or not recording.positions:
            continue
        key = str(each.number)
        figures[key] = paths({name: array.tolist() for name, array in recording.positions.items()})
        shown.append((key, plot_text(f"iteration {key}, condition {recording.seed}: {title(each)}", 90)))
    return tuple(shown), figures


def _films(iterations: Sequence[IterationInfo], source: Source) -> tuple[Film, ...]:
    """Return the start's video beside the best one's."""
    kept = _chosen(iterations, 2)
    films = []
    for each, what in zip(kept[:1] + kept[1:][-1:], ("Before", "After"), strict=False):
        address = None if each.video is None else source(each.video)
        if address is not None:
            films.append(Film(address, f"{what}: iteration {each.number}, success {number(each.success)} in training"))
    return tuple(films)


def _graph(history: History, run: RunInfo, iterations: Sequence[IterationInfo]) -> Graph | None:
    from trace_robot.run.report.graph import show

    for each in reversed(iterations):
        records = history.graph(run, each.number)
        if records:
            picture, text = show(records)
            return Graph(f"Of the most telling episode of iteration {each.number}, as the optimizer saw it.", picture, text)
    return None


def _table(data: Mapping[str, Any], prefix: str = "") -> Rows:
    rows: list[tuple[str, str]] = []
    for name, value in data.items():
        if isinstance(value, Mapping) and value:
            rows += _table(value, f"{prefix}{name}.")
        elif name != "versions" and value not in (None, {}, ()):
            rows.append((f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, default=str)))
    return tuple(rows)


def _notes(run: RunInfo) -> str:
    try:
        return (run.folder / "notes.txt").read_text(encoding="utf-8", errors="backslashreplace").strip()
    except OSError:
        return ""


def _when(run: RunInfo) -> str:
    started = datetime.datetime.fromtimestamp(run.started).astimezone()
    return f"started {started:%Y-%m-%d %H:%M %Z}"


def duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
