"""``trace-robot replay``: a recorded run again, with real rollouts and no model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from trace_robot.cli.optimize import conduct
from trace_robot.errors import WorkspaceError, unknown
from trace_robot.run.optimizers import choose
from trace_robot.settings import Settings
from trace_robot.workspace import workspaces

FIELDS = (
    "task", "policy", "optimizer", "iterations", "episodes", "confirm", "seed", "control", "held_out", "tune",
    "feedback",
)  # fmt: skip


def run(options: argparse.Namespace) -> int:
    path = recordings().get(options.recording)
    if path is None:
        raise unknown("recording", options.recording, recordings())
    try:
        asked = json.loads(path.read_text(encoding="utf-8"))["settings"]
        settings = Settings(
            **{field: asked[field] for field in FIELDS if field in asked},
            workers=options.workers,
            video=not options.no_video,
            trusted=options.trust,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkspaceError(f"recording {str(path)!r} must be JSON with settings, got {error!r}") from error
    chosen = choose(settings, replay=str(path.with_suffix(".jsonl")))
    return conduct(chosen, options, name=f"replay-{options.recording}")


def recordings() -> dict[str, Path]:
    """Return the recordings in the workspaces' rollouts/recordings by name: NAME.json beside NAME.jsonl."""
    found: dict[str, Path] = {}
    for workspace in workspaces():
        for path in sorted((workspace.root / "rollouts" / "recordings").glob("*.json")):
            found.setdefault(path.stem, path)
    return found
