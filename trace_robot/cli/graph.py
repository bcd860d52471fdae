"""``trace-robot graph``."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.markup import escape

from trace_robot.cli.console import console, write_json
from trace_robot.cli.find import find, iteration_of, runs_folder
from trace_robot.cli.text import safe
from trace_robot.errors import RunError

TOKENS = 6000


def run(options: argparse.Namespace) -> int:
    from trace_robot.optimizers.prompt.drawing import draw_folded
    from trace_robot.optimizers.prompt.graph_text import render_graph

    history, info = find(options.run, runs_folder(options))
    with history:
        iteration = iteration_of(info, history.iterations(info), options.iteration)
        records = history.graph(info, iteration.number)
    if not records:
        raise RunError(
            f"iteration {iteration.number} of {info.name!r} has no graph: only OptoPrime's episodes are traced"
        )
    if options.json:
        write_json(list(records))
        return 0
    out = console()
    if options.out is None:
        for name, text in render_graph(records, TOKENS).items():
            out.print(f"[bold]{escape(name)}[/bold]")
            out.print(safe(text), markup=False)
            out.print()
        return 0
    path = Path(options.out)
    if path.suffix not in (".svg", ".dot"):
        raise RunError(f"--out must name an .svg or a .dot file, got {options.out!r}")
    draw_folded(records).save(path)
    out.print(f"{escape(str(path))}: {len(records)} records, folded")
    return 0
