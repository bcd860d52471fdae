"""``show`` how a run went, or ``compare`` two, with learning curves as text."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, cycle, islice, pairwise
from typing import TYPE_CHECKING, Any

from trace_robot.cli.arguments import add_json, add_run, add_runs_folder
from trace_robot.cli.console import (
    console,
    counted,
    create_table,
    duration,
    escape,
    line,
    safe,
    setting_text,
    write_json,
)
from trace_robot.cli.inspect import colored_diff, kept_controller
from trace_robot.cli.parser import Commands, add_command
from trace_robot.cli.runs import find_run, iteration_data, name_of, run_data, runs_folder, select_iteration
from trace_robot.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.syntax import Syntax
    from rich.table import Table
    from rich.text import Text

    from trace_robot.store.history import IterationInfo, RunInfo

MAX_ROWS = 30  # of a run's table without --all, so that all fits a few screens
CURVE_HEIGHT, CURVE_WIDTH, CURVE_MARGIN = 10, 80, 8  # in characters; the margin holds the axis
CURVE_COLORS = ("green", "magenta", "cyan", "yellow", "blue", "red")
NAMES_WIDTH, RUN_WIDTH = 20, 30  # columns of the terminal for the names of rows, and for each run compared
SCORES = ("status", "held out", "training")  # shown of every run, also where they are the same
NAMES = {"rules": "rules of acceptance"}  # optimizers with but one kind store none
OF_CONTROLLER = ("control", "decision_steps", "task", "python")  # options that leave the task as it is


def add_show(commands: Commands) -> None:
    """Add ``show``."""
    command = add_command(
        commands,
        "show",
        "show a run: how it went, what it cost, its best controller",
        examples=[
            ("trace-robot show demo", "the run whose name is demo, or begins so"),
        ],
    )
    command.set_defaults(execute=execute_show)
    add_run(command)
    command.add_argument("--all", action="store_true", help="every iteration, however many there are")
    add_json(command)


def execute_show(options: argparse.Namespace) -> int:
    """Print a run's facts, learning curve, iterations and best controller."""
    history, run = find_run(options.run, runs_folder(options))
    with history:
        iterations = history.iterations(run)
    if options.json:
        write_json({**run_data(run), "iterations": [iteration_data(each) for each in iterations]})
        return 0
    out = console()
    _print_facts(out, run)
    if iterations:
        rows = iterations if options.all else _select_rows(iterations)
        out.print()
        if len(iterations) > 1:
            out.print(_learning_curve([(run.name, iterations)], out, _curve_of(run)), markup=False)
            out.print()
        out.print(_iteration_table(rows))
        if len(rows) < len(iterations):
            out.print(f"{len(iterations) - len(rows)} others were no better; --all shows them", style="dim")
        text, where = kept_controller(run, select_iteration(run, iterations, None))
        out.print(f"\n[bold]the best controller[/bold], {escape(where)}:\n")
        # Code is not filled: a terminal breaks a line that is too long, and copying it gives the line.
        shown = _highlighted(safe(text)) if out.is_terminal else safe(text)
        out.print(shown, markup=False, soft_wrap=True)
    return 0


def _highlighted(controller: str) -> Syntax:
    from rich.syntax import Syntax

    return Syntax(controller, "python", theme="ansi_dark", background_color="default")


def _select_rows(iterations: Sequence[IterationInfo]) -> list[IterationInfo]:
    """Return all iterations if they are few, else the first, better and last ones."""
    if len(iterations) <= MAX_ROWS:
        return list(iterations)
    better = [iteration for iteration in iterations if iteration.better][-MAX_ROWS // 2 :]
    numbers = {iteration.number for iteration in (iterations[0], *better, *iterations[-MAX_ROWS // 4 :])}
    return [iteration for iteration in iterations if iteration.number in numbers]


def _print_facts(out: Console, run: RunInfo) -> None:
    out.print(
        f"[bold]{escape(line(run.name, 100))}[/bold]  {escape(line(run.task, 60))}, {escape(run.optimizer)}"
    )
    table = create_table(header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("status", escape(_status(run)))
    table.add_row("optimizer", escape(line(run.why, 200)))
    table.add_row("from", f"{escape(line(run.policy, 100))}, control {escape(run.control)}, seed {run.seed}")
    shown = next((each for each in (run.held_out, run.training) if each is not None), None)
    table.add_row("return" if shown is not None and shown.shows_return else "success", _scores(run))
    for note in _notes(run):
        table.add_row("note", escape(line(note, 600)))
    table.add_row("cost", escape(_cost(run)))
    table.add_row("started", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started)))
    table.add_row("folder", escape(line(f"{run.folder}{'' if run.folder.is_dir() else ' (gone)'}", 300)))
    out.print(table)


def _status(run: RunInfo) -> str:
    """Return where the run is and why it ended there, or how to go on."""
    if run.status in ("running", "finished"):
        return f"{run.status}: {line(run.ended, 300)}" if run.ended else run.status
    why = line(run.ended, 300) or ("it was killed" if run.status == "stopped" else "an error")
    return f"{run.status}: {why}; go on with: trace-robot resume {name_of(run.folder)}"


def _notes(run: RunInfo) -> list[str]:
    """Return the notes of a result, which may be a stranger's."""
    notes = (run.result or {}).get("notes")
    return [note for note in notes[:5] if isinstance(note, str)] if isinstance(notes, list) else []


def _scores(run: RunInfo) -> str:
    scores = (("held out", run.held_out), ("training", run.training), ("at the start", run.start))
    parts = [f"{name} {score.text.removeprefix('return ')}" for name, score in scores if score is not None]
    return "; ".join(parts) or "nothing was tried yet"


def _cost(run: RunInfo) -> str:
    parts = [
        counted(run.iterations, "iteration"),
        f"{counted(run.candidates, 'controller')} tried",
        run.simulator_steps,
        duration(run.seconds),
    ]
    if run.model_calls:
        tokens = f"{run.prompt_tokens:,} + {run.completion_tokens:,} tokens"
        parts.append(f"{counted(run.model_calls, 'model call')}, {tokens}")
    if run.money is not None:
        parts.append(f"{run.money:.4g} in money")
    return ", ".join(parts)


def _curve_of(*runs: RunInfo) -> str:
    """Return which value of iterations a learning curve of the runs shows."""
    return "reward" if all(run.start is not None and run.start.shows_return for run in runs) else "success"


def _iteration_table(iterations: Sequence[IterationInfo]) -> Table:
    from trace_robot.stats import note_of

    table = create_table()
    counts_tokens = any(iteration.tokens for iteration in iterations)
    for name in ("iteration", "success", "reward", "tried", "time", *["tokens"] * counts_tokens):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what changed")  # the only one that goes on in a second line, so that no number is cut
    for iteration in iterations:
        tokens = [f"{iteration.tokens:,}" if iteration.tokens else "-"] * counts_tokens
        note = note_of(iteration.note, better=iteration.better)
        table.add_row(
            str(iteration.number),
            f"{iteration.success:.2f}",
            f"{iteration.reward:.4g}",
            f"{iteration.candidates:,}",
            duration(iteration.seconds),
            *tokens,
            escape(line(note) if iteration.number else "the starting controller"),
            style="green" if iteration.better and iteration.number else "",
        )
    return table


def _learning_curve(runs: Sequence[tuple[str, Sequence[IterationInfo]]], out: Console, what: str) -> Text:
    """Return a plot of the best in training so far, one line a run.

    Of a single run every iteration's own value is also drawn, as a dot.

    Args:
        runs: names and iterations.
        out: where it is printed.
        what: "success", from 0 to 1, or "reward", the mean return.
    """
    from plotille import Canvas
    from rich.text import Text

    from trace_robot.stats import three_digits

    width = max(20, min(CURVE_WIDTH, out.width - CURVE_MARGIN))
    last = max(1, max(iterations[-1].number for _, iterations in runs))
    values = (getattr(each, what) for _, iterations in runs for each in iterations)
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = (0.0, 1.0) if what == "success" else (min(finite), max(finite))
    room = (high - low or 1.0) / 50  # on each side, so that lines at the ends are off the edge of the canvas
    # plotille decides by standard output, not by the console that the plot is for, so the decision is made here.
    plain = out.no_color or not out.is_terminal
    colors = [None if plain else color for color in islice(cycle(CURVE_COLORS), len(runs))]
    canvas = Canvas(width, CURVE_HEIGHT, 0, low - room, last * 1.02, high + room)
    for place, ((_, iterations), color) in enumerate(zip(runs, colors, strict=True), start=1):
        highs = accumulate((getattr(each, what) if each.better else -math.inf for each in iterations), max)
        best = zip(iterations, highs, strict=True)
        points = [(each.number, high) for each, high in best if math.isfinite(high)]
        if len(runs) > 1 and color is None and points:
            canvas.text(*points[-1], str(place))  # else nothing tells one curve from another
        for (x_0, y_0), (x_1, y_1) in pairwise(points):  # steps: a best holds until it is improved on
            canvas.line(x_0, y_0, x_1, y_0, color=color)
            canvas.line(x_1, y_0, x_1, y_1, color=color)
        if len(runs) == 1:
            for iteration in iterations:
                if math.isfinite(value := getattr(iteration, what)):
                    canvas.point(iteration.number, value, color=color)
    middle, decimals = (low + high) / 2, what == "success"
    marks = {0: high, CURVE_HEIGHT // 2: middle, CURVE_HEIGHT - 1: low}
    labels = {row: f"{value:.2f}" if decimals else three_digits(value) for row, value in marks.items()}
    edge = max(5, *map(len, labels.values()))
    lines = [
        f"{labels.get(number, ''):>{edge}} │{row}" for number, row in enumerate(canvas.plot().split("\n"))
    ]
    lines.append(f"{'':{edge}} └{'─' * width}")
    lines.append(f"{'':{edge + 2}}0{f'iteration {last}':>{width - 1}}")
    plot = Text().append(f"{'success' if decimals else 'return'}, the best so far", "bold")
    if len(runs) > 1:
        for number, (name, _) in enumerate(runs):
            color = CURVE_COLORS[number % len(CURVE_COLORS)]
            key = "" if colors[number] else f"{number + 1} "
            plot.append(", " if number else ": ").append(f"{key}{line(name, 40)}", color)
    return plot.append("\n").append_text(Text.from_ansi("\n".join(lines)))


def add_compare(commands: Commands) -> None:
    """Add ``compare``."""
    command = add_command(
        commands,
        "compare",
        "set runs side by side",
        examples=[
            ("trace-robot compare demo other", "two runs, and whether they differ by more than chance"),
            ("trace-robot compare demo other third", "each is compared with the first"),
        ],
    )
    command.set_defaults(execute=execute_compare)
    command.add_argument(
        "names", nargs="+", metavar="RUN", help="two runs or more; the first is the reference"
    )
    add_runs_folder(command)
    command.add_argument("--diff", action="store_true", help="also how their best controllers differ")
    add_json(command)


def execute_compare(options: argparse.Namespace) -> int:
    """Print runs side by side, and whether they differ by more than chance."""
    from trace_robot.store.folder import difference

    if len(options.names) < 2:
        raise UsageError(f"compare needs two runs or more, got {options.names[0]!r} alone")
    runs: list[RunInfo] = []
    iterations: list[list[IterationInfo]] = []
    for name in options.names:
        history, run = find_run(name, runs_folder(options))
        with history:
            runs.append(run)
            iterations.append(history.iterations(run))
    first, *others = runs
    verdicts = [_verdict(first, other) for other in others]
    settings = _differing_settings(*runs)
    if options.json:
        if len(runs) == 2:  # as it was when there were two at most
            write_json(
                {"first": run_data(first), "second": run_data(runs[1]), "settings": settings, **verdicts[0]}
            )
        else:
            data = [{"run": each.name, **verdict} for each, verdict in zip(others, verdicts, strict=True)]
            write_json({"runs": [run_data(run) for run in runs], "settings": settings, "differences": data})
        return 0
    out = console()
    out.print(_comparison_table(runs, settings, out.width))
    out.print()
    for other, verdict in zip(others, verdicts, strict=True):
        out.print(_format_difference(verdict, first, other))
    names = [run.name for run in runs]
    if all(len(each) > 1 for each in iterations) and not any(each["incomparable"] for each in verdicts):
        out.print()
        out.print(_learning_curve(list(zip(names, iterations, strict=True)), out, _curve_of(*runs)))
    if options.diff and all(iterations):
        best = [select_iteration(run, each, None) for run, each in zip(runs, iterations, strict=True)]
        for number, later in enumerate(best[1:], 1):
            text = difference(best[0].controller, later.controller, (names[0], names[number]))
            out.print()
            out.print(colored_diff(text), end="")
    return 0


def _comparison_table(runs: Sequence[RunInfo], settings: Mapping[str, Sequence[Any]], width: int) -> Table:
    """Return a column for each run, or a block where columns would be too narrow."""
    rows: list[tuple[str, Any]] = [
        ("status", lambda run: run.status),
        ("held out", lambda run: "-" if run.held_out is None else run.held_out.text),
        ("training", lambda run: "-" if run.training is None else run.training.text),
        ("iterations", lambda run: f"{run.iterations:,}"),
        ("controllers tried", lambda run: f"{run.candidates:,}"),
        ("simulator steps", lambda run: run.simulator_steps.replace(" simulator steps", "")),
        ("time", lambda run: duration(run.seconds)),
        ("model calls", lambda run: f"{run.model_calls:,}"),
        ("tokens", lambda run: f"{run.tokens:,}"),
        ("money", lambda run: "-" if run.money is None else f"{run.money:.4g}"),
    ]
    known = {name: each for name, each in settings.items() if name != "rules" or None not in each}
    facts = {NAMES.get(name, name): [setting_text(value) for value in each] for name, each in known.items()}
    facts |= {name: [value(run) for run in runs] for name, value in rows}
    names = [line(run.name, 48) for run in runs]
    if width >= NAMES_WIDTH + len(runs) * RUN_WIDTH:  # below that, columns would break scores and names
        table = create_table("")
        for name in names:
            table.add_column(escape(name), overflow="fold")
        for name, values in facts.items():
            table.add_row(escape(name), *map(escape, values))
        return table
    table = create_table(header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for number, name in enumerate(names):
        table.add_row("run", f"[bold]{escape(name)}[/bold]")
        for fact, values in facts.items():
            if number == 0 or fact in SCORES or values[number] != values[0]:
                table.add_row(escape(fact), escape(values[number]))
        table.add_row()
    return table


def _differing_settings(*runs: RunInfo) -> dict[str, list[Any]]:
    """Return task, optimizer, policy, and the settings and versions that differ."""
    each = [
        # The control mode that was used: as a setting it is None where it was left out.
        {**run.settings, "control": run.control, **{f"version of {n}": v for n, v in run.versions.items()}}
        for run in runs
    ]
    names = dict.fromkeys(name for settings in each for name in settings if name != "usual_control")
    values = {name: [settings.get(name) for settings in each] for name in names}
    always = ("task", "optimizer", "policy")
    return {name: mine for name, mine in values.items() if name in always or any(v != mine[0] for v in mine)}


def _verdict(first: RunInfo, second: RunInfo) -> dict[str, Any]:
    """Return the difference of the held-out scores, or why there is none."""
    verdict: dict[str, Any] = {"difference": None, "interval": None, "measure": None, "measures": []}
    verdict["incomparable"] = list(_incomparable(first, second))
    if verdict["incomparable"] or first.held_out is None or second.held_out is None:
        return verdict
    from trace_robot.stats import Difference

    each = [found.to_data() for found in Difference.each_of(first.held_out, second.held_out)]
    return {**verdict, **each[0], "measures": each}


def _incomparable(first: RunInfo, second: RunInfo) -> Iterator[str]:
    """Yield what the two runs were scored by that is not the same."""
    mine, theirs = first.environment, second.environment
    if first.task != second.task:
        yield f"task {first.task} and {second.task}"
        return  # all else differs with it
    steps = [each.get("simulator_steps") or each.get("horizon") for each in (mine, theirs)]
    if steps[0] != steps[1]:
        yield f"horizon {steps[0]} and {steps[1]} steps"
    # How an action is meant is the controller's matter; all other options change the task.
    options = [
        {name: value for name, value in (each.get("options") or {}).items() if name not in OF_CONTROLLER}
        for each in (mine, theirs)
    ]
    for name in dict.fromkeys([*options[0], *options[1]]):
        values = [each.get(name) for each in options]
        if values[0] != values[1]:
            yield f"{name} {values[0]} and {values[1]}"


def _format_difference(verdict: dict[str, Any], first: RunInfo, second: RunInfo) -> str:
    names = [escape(line(run.name, 48)) for run in (first, second)]
    if verdict["incomparable"]:
        why = "; ".join(escape(line(each, 200)) for each in verdict["incomparable"])
        return f"{' and '.join(names)} cannot be compared, they were scored in different ways: {why}"
    if first.held_out is None or second.held_out is None:
        return f"{names[first.held_out is not None]} has no held-out score to compare, as it is not finished"
    from trace_robot.stats import Difference

    pair = f"{names[1]} less {names[0]}"
    found = Difference.each_of(first.held_out, second.held_out)
    return "\n".join(f"held-out {each.measure}, {pair}: {each.text}, {each.chance}" for each in found)
