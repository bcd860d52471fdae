"""Which run a person means: its name, the beginning of its name, or its folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from trace_robot.errors import RunError, UnknownNameError
from trace_robot.store.database import FILE
from trace_robot.store.history import History, IterationInfo, RunInfo

RUNS = Path("rollouts") / "runs"


def runs_folder(options: argparse.Namespace) -> Path:
    return Path(options.runs) if options.runs else RUNS


def find(text: str, folder: Path = RUNS) -> tuple[History, RunInfo]:
    """Return the run that ``text`` names and the open history it is in.

    A name, or the beginning of one, is looked up in ``folder``; a path leads to the store beside it.
    """
    path, text = Path(text), text.rstrip(os.sep) or text
    if os.sep in text or (path.is_dir() and not (folder / text).is_dir()):
        place = path.resolve()
        folder, text = place.parent, place.name
        if not (folder / FILE).is_file():
            raise RunError(_no_store(path, folder))
    if not (folder / FILE).is_file():
        raise UnknownNameError(
            f"no run {text!r}: there are no runs in {str(folder)!r} yet; give a run's folder, or --runs DIR"
        )
    history = History(folder)
    try:
        return history, history.run(text)
    except BaseException:
        history.close()
        raise


def name_of(folder: Path) -> str:
    """Return what to type for the run in ``folder``: its name where that is enough."""
    return folder.name if folder.parent.resolve() == RUNS.resolve() else str(folder)


def _no_store(path: Path, folder: Path) -> str:
    if not path.is_dir():
        return f"no run {str(path)!r}: there is no such folder, and no {FILE} in {str(folder)!r}"
    if not (path / "settings.json").is_file():
        return f"{str(path)!r} is not a run's folder"
    return (
        f"the run {str(path)!r} has lost its store: {FILE} must lie beside it; if the folder was moved, move it back or"
        " move that file too"
    )


def iteration_of(run: RunInfo, iterations: Sequence[IterationInfo], number: int | None) -> IterationInfo:
    """Return an iteration by its number, None for the best; raise UnknownNameError if it is not there."""
    if not iterations:
        raise RunError(f"the run {run.name!r} has no iterations yet")
    if number is None:
        return next(each for each in reversed(iterations) if each.better)
    if number >= len(iterations):
        raise UnknownNameError(
            f"the run {run.name!r} has no iteration {number}; it has 0 to {len(iterations) - 1}"
        )
    return iterations[number]
