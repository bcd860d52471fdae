"""Iterations as the report shows them: a row each, what the row opens, and the rows that are folded away."""

from __future__ import annotations

import hashlib
import itertools
import math
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trace_robot.errors import TraceRobotError
from trace_robot.optimizers.prompt.graph_text import render_graph
from trace_robot.report.diff import DiffGap, DiffLine, compare, count, listing
from trace_robot.report.escape import data_address, visible
from trace_robot.store.history import AttemptInfo, EpisodeInfo, IterationInfo

FEW = 4  # so many tries in a row that were not kept are shown one by one
MOST_CELLS = 30
LONGEST_TITLE = 200
Source = Callable[[Path], str | None]


@dataclass(frozen=True, slots=True)
class Film:
    """A video; source: what the page's video element loads."""

    source: str
    caption: str


@dataclass(frozen=True, slots=True)
class TableRow:
    """One iteration in the list. cells: how each episode ended; html: what it opens, None where that comes later.

    digest: differs when anything that the row opens does.
    """

    number: int
    rate: str
    wins: int
    cells: tuple[str, ...]
    title: str
    kept: bool
    digest: str
    html: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring rows; folded: tries that were not kept, behind one line."""

    items: tuple[TableRow, ...]
    folded: bool

    @property
    def first(self) -> int:
        return self.items[0].number

    @property
    def last(self) -> int:
        return self.items[-1].number

    @property
    def best(self) -> str:
        return max(row.rate for row in self.items)


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    seed: int
    ended: str
    steps: str
    reward: str
    fault: str


@dataclass(frozen=True, slots=True)
class AttemptRow:
    title: str
    messages: tuple[dict[str, str], ...]
    reply: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Body:
    """What a row opens. rows: the difference from the controller it is compared with; listing: the whole of it."""

    number: int
    compared: str
    rows: tuple[DiffLine | DiffGap, ...]
    listing: tuple[DiffLine, ...]
    added: int
    removed: int
    note: str
    reasoning: str
    feedback: str
    episodes: tuple[EpisodeRow, ...]
    attempts: tuple[AttemptRow, ...]
    film: Film | None
    no_film: str


def row(iteration: IterationInfo, html: str | None = None) -> TableRow:
    wins = sum(episode.success for episode in iteration.episodes)
    told = (iteration.controller, iteration.feedback, iteration.better, iteration.video, iteration.note)
    return TableRow(
        number=iteration.number, rate=number(iteration.success), wins=wins,
        cells=tuple(episode.ended if episode.ended in ("success", "error") else "time"
                    for episode in iteration.episodes[:MOST_CELLS]),
        title=title(iteration), kept=iteration.better,
        digest=hashlib.sha256(repr(told).encode("utf-8", "backslashreplace")).hexdigest()[:16], html=html,
    )  # fmt: skip


def title(iteration: IterationInfo) -> str:
    if iteration.number == 0:
        return "the starting controller"
    note = " ".join(iteration.note.split()) or iteration.origin
    return note if len(note) <= LONGEST_TITLE else f"{note[: LONGEST_TITLE - 1]}…"


def groups(rows: Sequence[TableRow]) -> tuple[Group, ...]:
    """Fold what was not kept where it is much, so that a thousand tries are no longer than what came of them."""
    found = []
    for kept, several in itertools.groupby(rows, key=lambda each: each.kept):
        items = tuple(several)
        found.append(Group(items, folded=not kept and len(items) > FEW))
    return tuple(found)


def body(iteration: IterationInfo, attempts: Sequence[AttemptInfo], source: Source) -> Body:
    """Return what the row of an iteration opens; source: the address of a video, None where it is left out."""
    rows = () if iteration.parent is None else compare(iteration.parent_controller, iteration.controller)
    added, removed = count(rows)
    address = None if iteration.video is None else source(iteration.video)
    used = next((each for each in attempts if each.candidate == iteration.candidate), None)
    return Body(
        number=iteration.number, compared=_compared(iteration, bool(rows)), rows=rows,
        listing=listing(iteration.controller), added=added, removed=removed,
        note=iteration.note if iteration.number else "", reasoning=used.reasoning.strip() if used else "",
        feedback=iteration.feedback.strip(), episodes=tuple(map(_episode, iteration.episodes)),
        attempts=tuple(_attempt(each, iteration.candidate) for each in attempts),
        film=None if address is None else Film(address, f"The most telling episode of iteration {iteration.number}"),
        no_film="Its video is in the run's folder." if iteration.video is not None and address is None else "",
    )  # fmt: skip


def number(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def _compared(iteration: IterationInfo, changed: bool) -> str:
    if iteration.parent is None:
        return "The controller"
    if not changed:
        return f"The controller, the same as in iteration {iteration.parent}"
    return f"Against iteration {iteration.parent}, the best until then"


def _episode(episode: EpisodeInfo) -> EpisodeRow:
    fault = ""
    if episode.fault is not None:
        line = episode.fault.get("line")
        where = "" if line is None else f", line {line}"
        fault = f"{episode.fault.get('category', '')}{where}: {episode.fault.get('message', '')}"
    return EpisodeRow(episode.seed, episode.ended, f"{episode.steps:,}", number(episode.reward, 1), fault)


def _attempt(attempt: AttemptInfo, candidate: int) -> AttemptRow:
    became = (
        "became this controller" if attempt.candidate == candidate
        else f"became candidate {attempt.candidate}" if attempt.candidate is not None
        else "came to nothing"
    )  # fmt: skip
    tokens = f"{attempt.prompt_tokens:,} + {attempt.completion_tokens:,} tokens"
    messages = tuple({"role": m.get("role", ""), "content": m.get("content", "")} for m in attempt.messages)
    kind = attempt.kind.capitalize()
    return AttemptRow(
        f"{kind}: prompt and reply ({tokens}), {became}", messages, attempt.reply, attempt.problems
    )


TOKENS = 3_000
Records = Sequence[Mapping[str, Any]]


def show(records: Records) -> tuple[str, str]:
    """Return the picture as a data address, "" where there is none, and the text."""
    parts = render_graph(records, TOKENS)
    return _picture(records), "\n\n".join(f"{name}\n{text}" for name, text in parts.items())


def _picture(records: Records) -> str:
    from trace_robot.optimizers.prompt.drawing import draw_folded

    try:
        svg = draw_folded(records).svg()
    except (TraceRobotError, subprocess.SubprocessError, OSError):
        return ""  # no graphviz, or nothing that it can draw: the text says the same
    return data_address("image/svg+xml", visible(svg, len(svg)).encode())
