"""``trace-robot policies``."""

from __future__ import annotations

import argparse
import ast

from rich.markup import escape
from rich.table import Table

from trace_robot.cli.screen import console, write_json
from trace_robot.policy import load_policy
from trace_robot.workspace import policies


def run(options: argparse.Namespace) -> int:
    rows = []
    for name in policies():
        policy = load_policy(name)
        summary = (ast.get_docstring(ast.parse(policy.text)) or "").split("\n")[0]
        rows.append({"name": name, "about": summary, "trainable": [place.name for place in policy.places]})
    if options.json:
        write_json(rows)
        return 0
    table = Table("policy", "what it does", "trainable", box=None, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(str(row["name"]), escape(str(row["about"])), ", ".join(row["trainable"]))
    console().print(table)
    return 0
