"""A run as one page: what was asked, where it ended, and everything in between, as data that the templates show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trace_robot.run.history import AttemptInfo, History, IterationInfo, RunInfo
from trace_robot.run.report import facts
from trace_robot.run.report.curves import Plot, chosen, courses, curves
from trace_robot.run.report.facts import Rows, Stage
from trace_robot.run.report.figures import AXES, Figure
from trace_robot.run.report.iterations import Film, Group, Source, groups, number, row


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
        when=facts.when(run), parts=tuple(parts), way=facts.way(run), facts=facts.facts(run), plots=plots,
        axes=tuple(AXES.items()), figures=figures, films=films, paths=paths_, path_figures=path_figures,
        groups=groups(rows), graph=graph, costs=facts.costs(run), command=facts.command(run),
        repeatable=facts.repeatable(run),
        settings=facts.table(run.settings), versions=facts.table(run.versions), notes=facts.notes(run),
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


def _graph(history: History, run: RunInfo, iterations: Sequence[IterationInfo]) -> Graph | None:
    from trace_robot.run.report.graph import show

    for each in reversed(iterations):
        records = history.graph(run, each.number)
        if records:
            picture, text = show(records)
            return Graph(
                f"Of the most telling episode of iteration {each.number}, as the optimizer saw it.",
                picture,
                text,
            )
    return None
