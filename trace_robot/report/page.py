"""A run as one page: what was asked, where it ended, and everything in between, as data that the templates show."""

from __future__ import annotations

import datetime
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trace_robot.report import page
from trace_robot.report.iterations import Film, Group, Source, groups, number, row
from trace_robot.report.plots import AXES, Figure, Plot, chosen, courses, curves
from trace_robot.store.history import AttemptInfo, History, IterationInfo, RunInfo, Score


@dataclass(frozen=True, slots=True)
class GraphView:
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
    way: tuple[PageStage, ...]
    facts: Rows
    plots: tuple[Plot, ...]
    axes: Rows
    figures: Mapping[str, Figure]
    films: tuple[Film, ...]
    paths: tuple[tuple[str, str], ...]
    path_figures: Mapping[str, Mapping[str, Figure]]
    groups: tuple[Group, ...]
    graph: GraphView | None
    costs: Rows
    command: str
    repeatable: str
    settings: Rows
    versions: Rows
    notes: str


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
    films = _films(iterations, source)  # asked for first: a single file holds so many and no more
    rows = [row(each, html(each, attempts.get(each.number, ()))) for each in iterations]
    figures, plots = curves(history, run, iterations)
    paths_, path_figures = courses(history, run, iterations)
    graph = _graph(history, run, iterations)
    parts = [("result", "Result"), ("learning", "Learning"), ("iterations", "Iterations"), ("costs", "Costs"),
             ("settings", "Settings")]  # fmt: skip
    if films or paths_:
        parts.insert(2, ("episodes", "How it moves"))
    if graph:
        parts.insert(-2, ("graph", "Graph"))
    return Page(
        name=run.name, task=run.task, instruction=str(run.environment.get("instruction", "")), state=run.status,
        when=page.when(run), parts=tuple(parts), way=page.way(run), facts=page.facts(run), plots=plots,
        axes=tuple(AXES.items()), figures=figures, films=films, paths=paths_, path_figures=path_figures,
        groups=groups(rows), graph=graph, costs=page.costs(run), command=page.command(run),
        repeatable=page.repeatable(run),
        settings=page.table(run.settings), versions=page.table(run.versions), notes=page.notes(run),
    )  # fmt: skip


def by_iteration(attempts: Sequence[AttemptInfo]) -> dict[int | None, list[AttemptInfo]]:
    found: dict[int | None, list[AttemptInfo]] = {}
    for attempt in attempts:
        found.setdefault(attempt.iteration, []).append(attempt)
    return found


def _films(iterations: Sequence[IterationInfo], source: Source) -> tuple[Film, ...]:
    """Return the start's video beside the best one's."""
    kept = chosen(iterations, 2)
    films = []
    for each, what in zip(kept[:1] + kept[1:][-1:], ("Before", "After"), strict=False):
        address = None if each.video is None else source(each.video)
        if address is not None:
            films.append(
                Film(address, f"{what}: iteration {each.number}, success {number(each.success)} in training")
            )
    return tuple(films)


def _graph(history: History, run: RunInfo, iterations: Sequence[IterationInfo]) -> GraphView | None:
    from trace_robot.report.iterations import show

    for each in reversed(iterations):
        records = history.graph(run, each.number)
        if records:
            picture, text = show(records)
            return GraphView(
                f"Of the most telling episode of iteration {each.number}, as the optimizer saw it.",
                picture,
                text,
            )
    return None


Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PageStage:
    """A success rate on the way. at, low, width: per cent of the bar below it."""

    title: str
    value: str
    note: str
    at: float | None = None
    low: float | None = None
    width: float = 0.0


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


def repeatable(run: RunInfo) -> str:
    if run.model_calls:
        return (
            "A language model's answers differ from one time to the next; with --record FILE they are kept, and"
            " --replay FILE answers from there."
        )
    if run.settings.get("steps") is None and run.settings.get("seconds") is not None:
        return "The clock ends this run: another machine may stop at another candidate. --steps stops at the same one."
    return "With the versions below it ends with the same controllers and scores."


def way(run: RunInfo) -> tuple[PageStage, ...]:
    held = run.held_out
    return (
        _stage("Start", run.start, "in training, {} episodes"),
        _stage("Best in training", run.training, "iteration " + str(run.best_iteration) + ", {} episodes"),
        _stage("Held out", held, "{} conditions never trained on; 95 % interval ", interval=True),
    )


def _stage(name: str, score: Score | None, note: str, *, interval: bool = False) -> PageStage:
    if score is None:
        return PageStage(name, "–", "not known yet")
    low, high = score.interval
    note = note.format(score.episodes)
    return PageStage(
        name, f"{score.success:.2f}", f"{note}{low:.2f} to {high:.2f}" if interval else note,
        at=round(100 * score.success, 2), low=round(100 * low, 2) if interval else None,
        width=round(100 * (high - low), 2),
    )  # fmt: skip


def facts(run: RunInfo) -> Rows:
    shown = [
        ("Optimizer", run.optimizer), ("Told of an episode", f"feedback level {run.feedback}"),
        ("Control", run.control), ("Started from", run.policy), ("Controllers tried", f"{run.candidates:,}"),
        ("Simulator steps", f"{run.environment_steps:,}"), ("Time", duration(run.seconds)),
    ]  # fmt: skip
    if run.model_calls:
        shown.append(("Model", f"{run.model_calls:,} calls, {run.tokens:,} tokens"))
    if run.money is not None:
        shown.append(("Money", f"${run.money:.2f}"))
    if run.ended:
        shown.append(("Ended", run.ended))
    return tuple(shown)


def costs(run: RunInfo) -> Rows:
    rows = [
        ("Time optimizing", duration(run.seconds)), ("Controllers tried", f"{run.candidates:,}"),
        ("Iterations written down", f"{run.iterations:,}"), ("Simulator steps", f"{run.environment_steps:,}"),
        ("Calls of a model", f"{run.model_calls:,}"),
    ]  # fmt: skip
    if run.model_calls:
        rows.append(("Tokens", f"{run.prompt_tokens:,} in prompts, {run.completion_tokens:,} in replies"))
        rows.append(("Money", "no prices were given" if run.money is None else f"${run.money:.4f}"))
    return tuple(rows)


def table(data: Mapping[str, Any], prefix: str = "") -> Rows:
    rows: list[tuple[str, str]] = []
    for name, value in data.items():
        if isinstance(value, Mapping) and value:
            rows += table(value, f"{prefix}{name}.")
        elif name != "versions" and value not in (None, {}, ()):
            rows.append(
                (f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, default=str))
            )
    return tuple(rows)


def notes(run: RunInfo) -> str:
    try:
        return (run.folder / "notes.txt").read_text(encoding="utf-8", errors="backslashreplace").strip()
    except OSError:
        return ""


def when(run: RunInfo) -> str:
    started = datetime.datetime.fromtimestamp(run.started).astimezone()
    return f"started {started:%Y-%m-%d %H:%M %Z}"


def duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
