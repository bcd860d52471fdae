"""``trace-robot init``."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.markup import escape

import trace_robot
from trace_robot.cli.screen import console
from trace_robot.errors import WorkspaceError

TEMPLATE = Path(trace_robot.__file__).parent / "_template"
RENAMED = {"gitignore": ".gitignore"}  # a name with a dot would be left out of the wheel


def run(options: argparse.Namespace) -> int:
    folder = Path(options.folder)
    written = copy_template(folder)
    out = console()
    for path in written:
        out.print(f"written  {escape(str(path))}")
    if folder.resolve() != Path.cwd():
        out.print(f"\ncd {escape(str(folder))}")
    out.print("trace-robot check-env slider")
    out.print("trace-robot optimize slider --policy slider --seconds 20 --out rollouts/runs/first")
    return 0


def copy_template(folder: Path) -> list[Path]:
    """Copy the template into ``folder``, which may exist; nothing that is there is replaced."""
    sources = sorted(
        path for path in TEMPLATE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    targets = {}
    for source in sources:
        inside = source.relative_to(TEMPLATE)
        targets[folder / inside.with_name(RENAMED.get(inside.name, inside.name))] = source
    there = next((target for target in targets if target.exists()), None)
    if there is not None:
        raise WorkspaceError(f"{str(there)!r} exists, and nothing is replaced; give an empty or a new folder")
    try:
        for target, source in targets.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    except OSError as error:
        raise WorkspaceError(
            f"cannot make a workspace in {str(folder)!r}: {error.strerror or error}; give another folder"
        ) from error
    return list(targets)
