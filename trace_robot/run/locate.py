"""From what somebody typed to the store that has the run."""

from __future__ import annotations

from pathlib import Path

from trace_robot.run.database import FILE

RUNS = Path("rollouts") / "runs"


def locate(run: str, runs: Path = RUNS) -> tuple[Path, str]:
    """Return the folder of the store and the run's name in it: ``run`` is a run's folder, or a name in ``runs``."""
    path = Path(run)
    if path.is_dir():
        path = path.resolve()
    if (path.parent / FILE).is_file() and (path.is_dir() or len(path.parts) > 1):
        return path.parent, path.name
    return (path.parent, path.name) if len(path.parts) > 1 else (runs, run)
