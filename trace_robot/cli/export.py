"""``trace-robot export``."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from rich.markup import escape

from trace_robot.cli.find import find, runs_folder
from trace_robot.cli.screen import console, write_json
from trace_robot.export.content import content

NEXT = {
    "tensorboard": "look with: tensorboard --logdir {}",
    "mlflow": "look with: MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri {}",
    "wandb": "upload with: wandb sync {}",
}


def run(options: argparse.Namespace) -> int:
    history, found = find(options.run, runs_folder(options))
    with history:
        told = content(history, found)
    out = Path(options.out) if options.out else found.folder / options.to
    where = str(import_module(f"trace_robot.export.{options.to}").write(told, out))
    if options.json:
        write_json({"to": options.to, "where": where, "iterations": len(told.steps)})
    elif options.quiet:
        console().print(where, markup=False)
    else:
        count = f"{len(told.steps)} iterations"
        console().print(f"{escape(where)}: {count}; {escape(NEXT[options.to].format(where))}")
    return 0
