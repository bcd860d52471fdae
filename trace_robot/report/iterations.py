"""View models of the list of iterations: rows, their bodies, folded groups.

Plain strings and numbers, ready for the templates, which escape them.
"""

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
from trace_robot.stats import Measure, Returns, Score, note_of, three_digits
from trace_robot.store.history import AttemptInfo, EpisodeInfo, IterationInfo

FEW = 4  # consecutive candidates, not kept, that are still shown one by one
MOST_CELLS = 30  # squares of a row, one an episode
LONGEST_TITLE = 200  # characters; the whole note is in the row's body
Source = Callable[[Path], str | None]  # from a video's path to its address in the page, None to leave it out
STRESS = "stress"  # of a run's folder: stress.json, and the videos of its failures


@dataclass(frozen=True, slots=True)
class Film:
    """A video and its caption, ``source`` being the address its element loads."""

    source: str
    caption: str


@dataclass(frozen=True, slots=True)
class TableRow:
    """One iteration in the list.

    Attributes:
        number: of the iteration, 0 for the starting controller.
        value: what decides in training, success rate or mean return, as text.
        rank: the same as a number, -inf where it is not known.
        measure: what that is: "success" or "return".
        outcome: how many episodes succeeded, where that is shown, else how many there were.
        cells: "success", "error", "time" or, where the return decides, "plain" for each of the first ``MOST_CELLS``
            episodes.
        title: one line of what was changed.
        kept: whether it became the best.
        digest: hash of what the row opens, by which an open page notices a change.
        html: the row's body, None if the page fetches or unpacks it later.
    """

    number: int
    value: str
    rank: float
    measure: str
    outcome: str
    cells: tuple[str, ...]
    title: str
    kept: bool
    digest: str
    html: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Adjacent rows, ``folded`` behind one line if they were not kept."""

    items: tuple[TableRow, ...]
    folded: bool

    @property
    def first(self) -> int:
        """Number of the first iteration."""
        return self.items[0].number

    @property
    def last(self) -> int:
        """Number of the last iteration."""
        return self.items[-1].number

    @property
    def best(self) -> str:
        """The highest success rate, or return, of the group, as text."""
        best = max(self.items, key=lambda row: row.rank)
        return f"{best.measure} {best.value}"


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """One training episode in the table of a row's body."""

    seed: int
    ended: str
    steps: str
    reward: str
    fault: str


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One call of a model: prompt, reply, and the reasons it was refused."""

    title: str
    messages: tuple[dict[str, str], ...]
    reply: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Body:
    """What the row of an iteration opens.

    Attributes:
        number: of the iteration.
        compared: heading of the diff.
        rows: diff against the parent, the best controller until then; empty without a parent or a change.
        listing: the whole controller.
        added: lines added.
        removed: lines removed.
        note: the optimizer's note on the change.
        reasoning: the model's, of the call that gave this controller.
        feedback: text that the optimizer got about the episode.
        episodes: training episodes.
        attempts: calls of a model.
        film: the episode's video, where the page contains it.
        no_film: where the video is instead.
    """

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


def score_in_training(iteration: IterationInfo, measure: Measure) -> Score:
    """Return the score of an iteration's training episodes.

    Args:
        iteration: an entry of the store.
        measure: what is shown of the environment's results.
    """
    returns = Returns.of(episode.reward for episode in iteration.episodes)
    return Score(iteration.success, len(iteration.episodes), returns, measure)


def row(iteration: IterationInfo, html: str | None = None, measure: Measure = "success") -> TableRow:
    """Return the list's row of an iteration.

    Args:
        iteration: an entry of the store.
        html: the row's body, None if the page gets it later.
        measure: what is shown of the environment's results.
    """
    score, of = score_in_training(iteration, measure), len(iteration.episodes)
    wins = sum(episode.success for episode in iteration.episodes)
    outcome = f"{of} episode{'s' * (of != 1)}"
    if score.shows_success:
        outcome = f"{wins} of {outcome} succeeded"
    rank, value, shown = score.success, number(score.success), "success"
    if score.returns is not None and score.shows_return:
        rank, value, shown = score.returns.mean, three_digits(score.returns.mean), "return"
    missed = "plain" if score.shows_return else "time"
    content = (iteration.controller, iteration.feedback, iteration.better, iteration.video, iteration.note)
    return TableRow(
        number=iteration.number,
        value=value,
        rank=rank if math.isfinite(rank) else -math.inf,
        measure=shown,
        outcome=outcome,
        cells=tuple(
            episode.ended if episode.ended in ("success", "error") else missed
            for episode in iteration.episodes[:MOST_CELLS]
        ),
        title=title(iteration),
        kept=iteration.better,
        # backslashreplace: a model's text may hold lone surrogates, which UTF-8 refuses.
        digest=hashlib.sha256(repr(content).encode("utf-8", "backslashreplace")).hexdigest()[:16],
        html=html,
    )


def title(iteration: IterationInfo) -> str:
    """Return one unescaped line of what was changed, cut at ``LONGEST_TITLE``."""
    if iteration.number == 0:
        return "the starting controller"
    note = " ".join(note_of(iteration.note, better=iteration.better).split()) or iteration.origin
    return note if len(note) <= LONGEST_TITLE else f"{note[: LONGEST_TITLE - 1]}…"


def groups(rows: Sequence[TableRow]) -> tuple[Group, ...]:
    """Fold long sequences of rejected candidates, so that a thousand fit one page."""
    sections = []
    for kept, members in itertools.groupby(rows, key=lambda item: item.kept):
        items = tuple(members)
        sections.append(Group(items, folded=not kept and len(items) > FEW))
    return tuple(sections)


def body(iteration: IterationInfo, attempts: Sequence[AttemptInfo], source: Source) -> Body:
    """Return what the row of an iteration opens.

    Args:
        iteration: an entry of the store.
        attempts: the calls of a model in this iteration; the reasoning shown is that of the accepted one.
        source: the address of a video in the page, None to leave it out.
    """
    rows = () if iteration.parent is None else compare(iteration.parent_controller, iteration.controller)
    added, removed = count(rows)
    address = None if iteration.video is None else source(iteration.video)
    accepted = next((call for call in attempts if call.candidate == iteration.candidate), None)
    return Body(
        number=iteration.number,
        compared=_compared(iteration, bool(rows)),
        rows=rows,
        listing=listing(iteration.controller),
        added=added,
        removed=removed,
        note=note_of(iteration.note, better=iteration.better) if iteration.number else "",
        reasoning=accepted.reasoning.strip() if accepted else "",
        feedback=iteration.feedback.strip(),
        episodes=tuple(map(_episode, iteration.episodes)),
        attempts=tuple(_attempt(call, iteration.candidate) for call in attempts),
        film=None
        if address is None
        else Film(address, f"The most telling episode of iteration {iteration.number}"),
        no_film="Its video is in the run's folder."
        if iteration.video is not None and address is None
        else "",
    )


def number(value: float, digits: int = 2) -> str:
    """Format a number with fixed digits, a dash for NaN and infinities.

    Args:
        value: any float; an episode that failed may have no finite return.
        digits: after the decimal point.
    """
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
    # A reply may have become another iteration's candidate, or none: it did not parse, or the sandbox refused it.
    if attempt.candidate is None:
        became = "came to nothing"
    elif attempt.candidate == candidate:
        became = "became this controller"
    else:
        became = f"became candidate {attempt.candidate}"
    tokens = f"{attempt.prompt_tokens:,} + {attempt.completion_tokens:,} tokens"
    messages = tuple({"role": m.get("role", ""), "content": m.get("content", "")} for m in attempt.messages)
    kind = attempt.kind.capitalize()
    return AttemptRow(
        f"{kind}: prompt and reply ({tokens}), {became}", messages, attempt.reply, attempt.problems
    )


TOKENS = 3_000  # budget of the graph as text, folded as for a prompt
Records = Sequence[Mapping[str, Any]]


def show(records: Records) -> tuple[str, str]:
    """Return a trace graph as a data: URL of an SVG, "" without Graphviz, and as text."""
    parts = render_graph(records, TOKENS)
    return _picture(records), "\n\n".join(f"{name}\n{text}" for name, text in parts.items())


def _picture(records: Records) -> str:
    from trace_robot.optimizers.prompt.graph_text import draw_folded

    try:
        svg = draw_folded(records).svg()
    except (TraceRobotError, subprocess.SubprocessError, OSError):
        return ""  # no graphviz, or nothing that it can draw: the text says the same
    # As an image and not inline: a browser runs no script of an SVG that an <img> loads. Not cut, only spelled out.
    return data_address("image/svg+xml", visible(svg, len(svg)).encode())
