"""What can be typed after the commands that look at runs."""

from __future__ import annotations

import argparse

from trace_robot.cli.options.shared import Commands, add_command, natural, run, runs


def list_runs(commands: Commands) -> None:
    command = add_command(commands, "runs", "list runs, the latest first")
    command.add_argument("--task", metavar="NAME", help="of this task, or of those that begin so")
    command.add_argument("--optimizer", metavar="NAME", help="by this optimizer")
    command.add_argument("--status", metavar="S", help="running, stopped, failed or finished")
    runs(command)
    _json(command)


def show(commands: Commands) -> None:
    command = add_command(commands, "show", "show a run: how it went, what it cost, its best controller")
    run(command)
    command.add_argument("--all", action="store_true", help="every iteration, however many there are")
    _json(command)


def diff(commands: Commands) -> None:
    command = add_command(
        commands, "diff", "show how a controller changed from one iteration to another",
        "Show how a controller changed from iteration I to J; with I alone, from what was the best before it to I.",
    )  # fmt: skip
    run(command)
    command.add_argument("first", type=natural, metavar="I")
    command.add_argument("second", type=natural, metavar="J", nargs="?")
    _json(command)


def prompt(commands: Commands) -> None:
    command = add_command(commands, "prompt", "show what a model was asked for an iteration, and its answer")
    run(command)
    command.add_argument("iteration", type=natural, metavar="I")
    _json(command)


def graph(commands: Commands) -> None:
    command = add_command(commands, "graph", "show the graph of an iteration's episode, its steps folded")
    run(command)
    command.add_argument("iteration", type=natural, metavar="I", nargs="?", help="default: the best")
    command.add_argument("--out", metavar="FILE", help="draw it: an .svg (needs graphviz) or a .dot file")
    _json(command)


def compare(commands: Commands) -> None:
    command = add_command(commands, "compare", "set two runs side by side")
    command.add_argument("first", metavar="RUN")
    command.add_argument("second", metavar="RUN")
    runs(command)
    command.add_argument("--diff", action="store_true", help="also how their best controllers differ")
    _json(command)


def _json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON")
