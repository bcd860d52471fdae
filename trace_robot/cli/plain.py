"""What is told of runs as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trace_robot.store.history import IterationInfo, RunInfo, Score


def run_data(run: RunInfo) -> dict[str, Any]:
    scores = {name: _score(getattr(run, name)) for name in ("start", "training", "held_out")}
    data: dict[str, Any] = plain({**asdict(run), **scores, "tokens": run.tokens})
    return data


def iteration_data(iteration: IterationInfo) -> dict[str, Any]:
    data = {**asdict(iteration), "tokens": iteration.tokens}
    del data["parent_controller"]
    told: dict[str, Any] = plain(data)
    return told


def plain(value: Any) -> Any:
    """Return what JSON can hold: a path as text, a number that is none as null."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _score(score: Score | None) -> dict[str, Any] | None:
    return None if score is None else {**asdict(score), "interval": list(score.interval)}
