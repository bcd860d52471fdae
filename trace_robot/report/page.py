"""View model of a run's page: a ``Page`` of strings and figures from the store.

Nothing here is HTML; the templates escape and lay out. The folder, the single file and the server show the same page.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trace_robot import safe_files
from trace_robot.fault import Limits
from trace_robot.report.escape import inside
from trace_robot.report.iterations import Film, Group, Source, groups, row, score_in_training, show
from trace_robot.report.plots import AXES, Figure
from trace_robot.report.run_plots import PageStage, Plot, chosen, courses, curves, stage
from trace_robot.report.worlds import WorldsView, other_worlds
from trace_robot.settings import AGENT
from trace_robot.store.command_line import files_to_save, repeating_command
from trace_robot.store.folder import BEFORE_VIDEO
from trace_robot.store.history import AttemptInfo, History, IterationInfo, RunInfo

Rows = tuple[tuple[str, str], ...]  # of a table of two columns: name, value
UNTYPED: Mapping[str, Any] = {"confirm": 10, "limits": asdict(Limits())}
MOST_NOTES = 1_000_000  # bytes of a run's notes.txt


@dataclass(frozen=True, slots=True)
class GraphView:
    """The trace graph of one episode, as text and as the data: URL of a picture."""

    note: str
    picture: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that the page shows, in the templates' names.

    Attributes:
        parts: anchor and heading of each section, for the navigation.
        way: success rates at the start, of the best, held out.
        figures: plotly figures by name, drawn from the page's data.
        path_figures: figures of the paths, by iteration, then by view ("space", "above", "side").
        worlds: of the run's stress.json, None without one.
        groups: rows of the iterations, folded.
        counts: what the rows' first number is, as text.
        command: command line that repeats the run.
        repeatable: how far it repeats it.
    """

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
    worlds: WorldsView | None
    groups: tuple[Group, ...]
    counts: str
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
    """Return the page of a run, as far as it has gone.

    Args:
        history: the open store.
        run: one of its runs.
        source: the address that a video has on the page, None to leave it out.
        html: the body of an iteration's row, None if the page gets it later.
    """
    iterations = history.iterations(run)
    attempts = _by_iteration(history.attempts(run))
    # Before the rows: a single file holds MOST_FILMS videos, first come, and these must be among them.
    films = _films(history, run, iterations, source)
    worlds = other_worlds(run, iterations, source)
    measure = run.start.measure if run.start is not None else "success"
    rows = [row(item, html(item, attempts.get(item.number, ())), measure) for item in iterations]
    figures, plots = curves(history, run, iterations)
    paths_, path_figures = courses(history, run, iterations)
    graph = _graph(history, run, iterations)
    return Page(
        name=run.name,
        task=run.task,
        instruction=str(run.environment.get("instruction", "")),
        state=run.status,
        when=_when(run),
        parts=_parts(moves=bool(films or paths_), worlds=worlds is not None, graph=graph is not None),
        way=_way(run),
        facts=_facts(run),
        plots=plots,
        axes=tuple(AXES.items()),
        figures=figures,
        films=films,
        paths=paths_,
        path_figures=path_figures,
        worlds=worlds,
        groups=groups(rows),
        counts="mean return" if any(each.measure == "return" for each in rows) else "success rate",
        graph=graph,
        costs=_costs(run),
        command=repeating_command(run),
        repeatable=_repeatable(run),
        settings=_table({**run.settings, "control": run.control}),  # what was used: left out it is None
        versions=_table(run.versions),
        notes=_notes(run),
    )


def _parts(*, moves: bool, worlds: bool, graph: bool) -> Rows:
    """Return the sections that this page has, in their order."""
    parts = [("result", "Result"), ("learning", "Learning")]
    if moves:
        parts.append(("episodes", "How it moves"))
    if worlds:
        parts.append(("worlds", "In other worlds"))
    parts.append(("iterations", "Iterations"))
    if graph:
        parts.append(("graph", "Graph"))
    return (*parts, ("costs", "Costs"), ("settings", "Settings"))


def _by_iteration(attempts: Sequence[AttemptInfo]) -> dict[int | None, list[AttemptInfo]]:
    calls: dict[int | None, list[AttemptInfo]] = {}
    for attempt in attempts:
        calls.setdefault(attempt.iteration, []).append(attempt)
    return calls


def _films(
    history: History, run: RunInfo, iterations: Sequence[IterationInfo], source: Source
) -> tuple[Film, ...]:
    """Return the start's video beside the best one's, if possible on one condition."""
    kept = chosen(iterations, 2)
    films = []
    before, same = history.before(run), inside(run.folder / BEFORE_VIDEO, run.folder)
    for iteration, what in zip(kept[:1] + kept[1:][-1:], ("Before", "After"), strict=False):
        video, recording = iteration.video, history.recording(run, iteration.number)
        seed = None if recording is None else recording.seed
        if before and same and iteration.number == 0:
            video, seed = run.folder / BEFORE_VIDEO, before[0].seed
        address = None if video is None else source(video)
        if address is not None:
            score = score_in_training(iteration, run.start.measure if run.start else "success").brief
            score = score if score.startswith("return") else f"success {score}"
            on = "" if seed is None else f" on condition {seed}"
            films.append(Film(address, f"{what}: iteration {iteration.number}{on}; {score} in training"))
    return tuple(films)


def _graph(history: History, run: RunInfo, iterations: Sequence[IterationInfo]) -> GraphView | None:
    """Return the graph of the latest iteration that recorded one, None without any."""
    for iteration in reversed(iterations):
        records = history.graph(run, iteration.number)
        if records:
            note = f"Of the most telling episode of iteration {iteration.number}, as the optimizer saw it."
            return GraphView(note, *show(records))
    return None


def _left_out(run: RunInfo) -> str:
    """Return what the command line cannot say, "" where it says all."""
    settings = run.settings
    parts = [
        f"Save options.{name} of the run's settings.json as {file}."
        for name, file in files_to_save(settings).items()
    ]
    others = [
        f"{name}={settings[name]!r}"
        for name, usual in UNTYPED.items()
        if settings.get(name, usual) != usual and not (name == "confirm" and run.optimizer == AGENT)
    ]
    if others:
        parts.append(f"No option sets {', '.join(others)}: trace_robot.optimize in Python does.")
    return " ".join(parts)


def _repeatable(run: RunInfo) -> str:
    """Return what the command line lacks, and how far it gives the same result again."""
    return f"{_left_out(run)} {_how_far(run)}".strip()


def _how_far(run: RunInfo) -> str:
    if run.optimizer == AGENT:
        return "The conditions are the same; an agent submits other controllers from one time to the next."
    if run.model_calls:
        return (
            "A language model's answers differ from one time to the next; with --record FILE they are kept, and"
            " --replay FILE answers from there."
        )
    if run.settings.get("steps") is None and run.settings.get("seconds") is not None:
        return "The clock ends this run: another machine may stop at another candidate. --steps stops at the same one."
    return "With the versions below it ends with the same controllers and scores."


def _way(run: RunInfo) -> tuple[PageStage, ...]:
    held, planned = run.held_out, run.settings.get("episodes")
    cut = run.training is not None and isinstance(planned, int) and run.training.episodes < planned
    tried = f"only {{}} of {planned} conditions tried" if cut and run.settings.get("cut") else "{} episodes"
    return (
        stage("Start", run.start, "in training, {} episodes"),
        stage("Best in training", run.training, f"iteration {run.best_iteration}, {tried}"),
        stage("Held out", held, "{} conditions never trained on; 95 % interval ", interval=True),
    )


def _facts(run: RunInfo) -> Rows:
    shown = [
        ("Optimizer", run.optimizer),
        ("Feedback on an episode", f"level {run.feedback}"),
        ("Control", run.control),
        ("Started from", run.policy),
        ("Controllers tried", f"{run.candidates:,}"),
        ("Simulator steps", run.simulator_steps.replace(" simulator steps", "")),
        ("Time", duration(run.seconds)),
    ]
    if run.model_calls:
        shown.append(("Model", f"{run.model_calls:,} calls, {run.tokens:,} tokens"))
    if run.money is not None:
        shown.append(("Money", f"${run.money:.2f}"))
    if run.ended:
        shown.append(("Ended", run.ended))
    return tuple(shown)


def _costs(run: RunInfo) -> Rows:
    rows = [
        ("Time optimizing", duration(run.seconds)),
        ("Controllers tried", f"{run.candidates:,}"),
        ("Iterations written down", f"{run.iterations:,}"),
        ("Simulator steps", run.simulator_steps.replace(" simulator steps", "")),
        ("Calls of a model", f"{run.model_calls:,}"),
    ]
    if run.model_calls:
        rows.append(("Tokens", f"{run.prompt_tokens:,} in prompts, {run.completion_tokens:,} in replies"))
        rows.append(("Money", "no prices were given" if run.money is None else f"${run.money:.4f}"))
    return tuple(rows)


def _table(data: Mapping[str, Any], prefix: str = "") -> Rows:
    """Return nested settings as rows with dotted names, unset ones left out."""
    rows: list[tuple[str, str]] = []
    for name, value in data.items():
        if isinstance(value, Mapping) and value:
            rows += _table(value, f"{prefix}{name}.")
        # Versions have a table apart. default=str: a store of another version may hold other types.
        elif name != "versions" and value not in (None, {}, ()):
            rows.append(
                (f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, default=str))
            )
    return tuple(rows)


def _notes(run: RunInfo) -> str:
    """Return the user's notes.txt, "" without one."""
    try:
        # backslashreplace: an editor may have written another encoding, and a report must not fail for it.
        notes = safe_files.read_bytes(run.folder.parent, f"{run.folder.name}/notes.txt", MOST_NOTES)
        return notes.decode("utf-8", "backslashreplace").strip()
    except OSError:
        return ""


def _when(run: RunInfo) -> str:
    started = datetime.datetime.fromtimestamp(run.started).astimezone()
    return f"started {started:%Y-%m-%d %H:%M %Z}"


def duration(seconds: float) -> str:
    """Return seconds as text in the two largest units, e.g. "3 min 20 s"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
