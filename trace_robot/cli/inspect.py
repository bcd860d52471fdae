"""One iteration of a run: its ``diff``, ``prompt`` and ``graph``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from trace_robot.cli.arguments import add_json, add_run, non_negative_integer
from trace_robot.cli.console import console, counted, escape, plain, safe, write_json
from trace_robot.cli.parser import Commands, add_command
from trace_robot.cli.runs import find_run, runs_folder, select_iteration
from trace_robot.errors import RunError, UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from trace_robot.store.history import AttemptInfo, IterationInfo, RunInfo

DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}
MOST = 1_000_000  # bytes of a controller that are read


def add_diff(commands: Commands) -> None:
    """Add ``diff``."""
    command = add_command(
        commands,
        "diff",
        "show how a controller changed from one iteration to another",
        "Show how a controller changed from iteration I to J; with I alone, from what was the best before it to I.",
        examples=[
            ("trace-robot diff demo 0 3", "what changed from the start to iteration 3"),
        ],
    )
    command.set_defaults(execute=execute_diff)
    add_run(command)
    command.add_argument(
        "first", type=non_negative_integer, metavar="I", help="an iteration, 0 for the start"
    )
    command.add_argument(
        "second",
        type=non_negative_integer,
        metavar="J",
        nargs="?",
        help="a second one (default: compare I with the best before it)",
    )
    add_json(command)


def execute_diff(options: argparse.Namespace) -> int:
    """Print the unified diff between the controllers of two iterations."""
    from trace_robot.store.folder import difference

    history, run = find_run(options.run, runs_folder(options))
    with history:
        iterations = history.iterations(run)
    first = select_iteration(run, iterations, options.first)
    if options.second is not None:
        second = select_iteration(run, iterations, options.second)
    elif first.parent is not None:
        first, second = iterations[first.parent], first
    else:
        raise UsageError("iteration 0 is what the run began with; name another one to compare it with")
    names = (f"iteration {first.number}", f"iteration {second.number}")
    text = difference(first.controller, second.controller, names)
    if options.json:
        write_json({"first": first.number, "second": second.number, "difference": text})
        return 0
    out = console()
    if not text:
        out.print(f"{names[0]} and {names[1]} are the same")
    out.print(colored_diff(text), end="")
    return 0


def colored_diff(text: str) -> Text:
    """Return a unified diff, made safe, its lines in colors."""
    from rich.text import Text

    colored = Text()
    for number, row in enumerate(safe(text).splitlines()):
        style = "bold" if number < 2 else DIFF_STYLES.get(row[:1], "")
        colored.append(f"{row}\n", style=style)
    return colored


def add_prompt(commands: Commands) -> None:
    """Add ``prompt``."""
    command = add_command(
        commands,
        "prompt",
        "show what a model was asked for an iteration, and its answer",
        examples=[
            ("trace-robot prompt demo 1", "the request that led to iteration 1, and the reply"),
        ],
    )
    command.set_defaults(execute=execute_prompt)
    add_run(command)
    command.add_argument("iteration", type=non_negative_integer, metavar="I", help="the iteration, from 1")
    add_json(command)


def execute_prompt(options: argparse.Namespace) -> int:
    """Print every request to the model for an iteration, with its reply."""
    from dataclasses import asdict

    history, run = find_run(options.run, runs_folder(options))
    with history:
        iteration = select_iteration(run, history.iterations(run), options.iteration)
        attempts = history.attempts(run, iteration.number)
    if options.json:
        write_json([plain(asdict(attempt)) for attempt in attempts])
        return 0
    if not attempts:
        origin = iteration.origin or "elsewhere"
        raise RunError(
            f"no model was asked for iteration {iteration.number} of {run.name!r}: it is from {origin}"
        )
    out = console()
    for number, attempt in enumerate(attempts, 1):
        _print_attempt(out, attempt, f"request {number} of {len(attempts)}")
    return 0


def _print_attempt(out: Console, attempt: AttemptInfo, which: str) -> None:
    for message in attempt.messages:
        _print_title(out, f"{which}: {message.get('role', '')}", "bold cyan")
        out.print(safe(message.get("content", "")), markup=False)
    cost = f"{attempt.prompt_tokens:,} + {attempt.completion_tokens:,} tokens"
    _print_title(out, f"{which}: reply, {attempt.kind}, {cost}", "bold green")
    out.print(safe(attempt.reply), markup=False)
    for problem in attempt.problems:
        out.print(f"could not be used: {safe(problem)}", style="red", markup=False)


def _print_title(out: Console, text: str, style: str) -> None:
    out.print(f"── {safe(text)} ──", style=style, markup=False)


def add_graph(commands: Commands) -> None:
    """Add ``graph``."""
    command = add_command(
        commands,
        "graph",
        "show the graph of an iteration's episode, its steps folded",
        examples=[
            ("trace-robot graph demo 1", "the graph of iteration 1 as text"),
            ("trace-robot graph demo --out graph.dot", "the graph of the best iteration, for graphviz"),
        ],
    )
    command.set_defaults(execute=execute_graph)
    add_run(command)
    command.add_argument(
        "iteration", type=non_negative_integer, metavar="I", nargs="?", help="default: the best"
    )
    command.add_argument("--out", metavar="FILE", help="draw it: an .svg (needs graphviz) or a .dot file")
    add_json(command)


def execute_graph(options: argparse.Namespace) -> int:
    """Print the computation graph of an iteration's episode, or draw it."""
    from trace_robot.optimizers.prompt.graph_text import draw_folded, render_graph
    from trace_robot.run.optimizers import TOKEN_BUDGET

    history, run = find_run(options.run, runs_folder(options))
    with history:
        iteration = select_iteration(run, history.iterations(run), options.iteration)
        records = history.graph(run, iteration.number)
    if not records:
        raise RunError(
            f"iteration {iteration.number} of {run.name!r} has no graph: only OptoPrime's episodes are traced"
        )
    if options.json:
        write_json(list(records))
        return 0
    out = console()
    if options.out is None:
        for name, text in render_graph(records, TOKEN_BUDGET).items():  # in the room that a model has for it
            out.print(f"[bold]{escape(name)}[/bold]")
            out.print(safe(text), markup=False)
            out.print()
        return 0
    path = Path(options.out)
    if path.suffix not in (".svg", ".dot"):
        raise UsageError(f"--out must name an .svg or a .dot file, got {options.out!r}")
    draw_folded(records).save(path)
    out.print(f"{escape(str(path))}: {counted(len(records), 'record')}, folded")
    return 0


def kept_controller(run: RunInfo, best: IterationInfo) -> tuple[str, str]:
    """Return the text of best.py, and where it is from.

    The file has bounds and a docstring that the iteration is without; of a run that was stopped, or edited, it may be
    another controller. Without the file it is the iteration's.

    Args:
        run: whose folder has the file.
        best: its best iteration.
    """
    from trace_robot.safe_files import read_bytes

    iteration = f"iteration {best.number}"
    try:
        text = read_bytes(run.folder.parent, f"{run.folder.name}/best.py", MOST).decode()
    except (OSError, ValueError):
        return best.controller, iteration
    if text == best.controller:
        return text, iteration
    from trace_robot.search.staged.constants import saved_text  # numpy

    try:
        same = text == saved_text(best.controller, run.task)
    except (SyntaxError, ValueError):  # a store may be another person's
        same = False
    return text, f"{iteration}, from best.py" if same else f"from best.py, which is not that of {iteration}"
