"""``trace-robot envs``."""

from __future__ import annotations

import argparse

from rich.table import Table

from trace_robot.cli.screen import console, write_json
from trace_robot.workspace import describe, environments


def run(options: argparse.Namespace) -> int:
    specs = [describe(name) for name in environments()]
    if options.json:
        write_json([{"name": s.name, "instruction": s.instruction, "success": s.success} for s in specs])
        return 0
    table = Table("environment", "task", box=None, padding=(0, 2, 0, 0))
    for spec in specs:
        table.add_row(spec.name, spec.instruction)
    console().print(table)
    return 0
