"""The runs of a folder as the list of a served page."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from trace_robot.run.history import RunInfo, Score
from trace_robot.run.report.facts import duration


@dataclass(frozen=True, slots=True)
class RunRow:
    """numbers: success at the start, of the best, held out; candidates, time, money."""

    name: str
    address: str
    task: str
    optimizer: str
    state: str
    numbers: tuple[str, ...]
    started: str


def run_rows(runs: Sequence[RunInfo]) -> tuple[RunRow, ...]:
    return tuple(map(_row, runs))


def _row(run: RunInfo) -> RunRow:
    money = "" if run.money is None else f"${run.money:.2f}"
    numbers = (
        *map(_success, (run.start, run.training, run.held_out)),
        f"{run.candidates:,}",
        duration(run.seconds),
        money,
    )
    started = f"{datetime.datetime.fromtimestamp(run.started).astimezone():%Y-%m-%d %H:%M}"
    address = f"/run/{quote(run.name, safe='')}/"
    return RunRow(run.name, address, run.task, run.optimizer, run.status, numbers, started)


def _success(score: Score | None) -> str:
    return "" if score is None else f"{score.success:.2f}"
