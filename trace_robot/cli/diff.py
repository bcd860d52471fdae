"""``trace-robot diff``."""

from __future__ import annotations

import argparse

from rich.text import Text

from trace_robot.cli.console import console, write_json
from trace_robot.cli.find import find, iteration_of, runs_folder
from trace_robot.cli.text import safe
from trace_robot.errors import RunError
from trace_robot.store.folder import difference

STYLES = {"+": "green", "-": "red", "@": "cyan"}


def run(options: argparse.Namespace) -> int:
    history, info = find(options.run, runs_folder(options))
    with history:
        iterations = history.iterations(info)
    first = iteration_of(info, iterations, options.first)
    if options.second is not None:
        second = iteration_of(info, iterations, options.second)
    elif first.parent is not None:
        first, second = iterations[first.parent], first
    else:
        raise RunError("iteration 0 is what the run began with; name another one to compare it with")
    names = (f"iteration {first.number}", f"iteration {second.number}")
    text = difference(first.controller, second.controller, names)
    if options.json:
        write_json({"first": first.number, "second": second.number, "difference": text})
        return 0
    out = console()
    if not text:
        out.print(f"{names[0]} and {names[1]} are the same")
    out.print(colored(text), end="")
    return 0


def colored(text: str) -> Text:
    """Return a unified difference with its lines in colours."""
    shown = Text()
    for number, each in enumerate(safe(text).splitlines()):
        style = "bold" if number < 2 else STYLES.get(each[:1], "")
        shown.append(f"{each}\n", style=style)
    return shown
