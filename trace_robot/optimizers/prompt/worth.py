"""Build a prompt by worth: whole lines, of which the least telling go first.

Greedy knapsack by rank: every line has a place in the prompt and a worth, and lines are taken by worth while the budget
lasts. None is ever cut. Beside the trial that is worked on stands the newest other one, which is the evidence of what
the last answer did.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trace_robot.llm.metering import message_tokens, shorten, token_bound
from trace_robot.llm.model import Message, system, user
from trace_robot.optimizers.prompt import FORMAT, GRAPHLESS, MEANINGS, MODULE, NEW_PARTS, PARTS
from trace_robot.optimizers.prompt.build import ProblemInstance, beside_variables, hides_graph, whole_sections
from trace_robot.optimizers.prompt.trace_lines import EpisodeTrace
from trace_robot.optimizers.prompt.trial_text import (
    compared,
    differences,
    history_line,
    remarks,
    scored,
    shared_places,
    shared_scores,
)
from trace_robot.optimizers.prompt.values import program_text
from trace_robot.optimizers.strategies import newest_after

if TYPE_CHECKING:
    from trace_robot.optimizers.strategies import Trial

# What stays longest comes first; docs/optoprime.md has the same list.
WORTH = (
    "score",  # scores, and what became better or worse under the same conditions
    "task",  # what is asked, what goes in and out
    "error",  # an exception with its lines of source
    "module",  # what trainable code uses beside it, a definition at a time
    "episode",  # a line for each of the first failed episodes
    "row",  # the steps at which most happens
    "contact",  # what touched in that episode, also between two decisions
    "log",  # what the program wrote for itself
    "trial",  # a line for each older trial
    "stage",  # values that hold for a while, and what came out
    "rejected",  # replies that could not be used
    "change",  # what the newest trial changed
    "fact",  # of the machine
    "more rows",
    "more episodes",
    "distance",  # how near points came, values that hardly change, parts of vectors that hold for a while
    "more log",
    "idle rows",  # steps between, evenly spread
    "code",  # the calls, and what they do
    "older change",  # what older trials changed
    "constant",  # what never changes
)
RANK = {name: rank for rank, name in enumerate(WORTH)}
ORDER = (
    "#Instruction", "#Context", "#Facts", "#Code", "#Documentation", "#Module", "#Variables", "#Constraints",
    "#Inputs", "#Others", "#Outputs", "#Feedback", "#Newest", "#History", "#Rejected",
)  # fmt: skip
Traces = dict[int, EpisodeTrace]  # by the id of a trial's candidate
FIRST = 2  # episodes of a trial in the tier "episode", those that the comparison names first
FIRST_ROWS, MORE_ROWS = 6, 34  # of a trial, where the budget has room
LAST_LOG, FIRST_LOG = 10, 2
LAST_OF_OTHERS, LAST_OF_OLDER = 4, 3  # lines that another failed episode or an older trial printed
CONTACTS = "What touched, by decision, with places at the first and the last moment, m:"
PRINTING = 2  # older trials of which it is shown
MARGIN = 20  # tokens that stay free
NOTE_TOKENS = 10  # of the note on lines that were left out
LONGEST = 2000  # characters of a line that another program wrote
LONGEST_HELPER = (
    4000  # characters of a definition that goes before the episodes: a longer one is a table of data
)


@dataclass(frozen=True, slots=True)
class WorthLine:
    """A line of a prompt, or a few that make sense together only.

    Args:
        part: the name of its section.
        text: without a line end at its end and without an empty line.
        worth: one of WORTH.
        head: a line that must stand above the first line of its group, "" for none.
        order: among lines of the same worth, the smaller the earlier it is taken.
    """

    part: str
    text: str
    worth: str
    head: str = ""
    order: int = 0


@dataclass(slots=True)
class _Lines:
    """The lines of a prompt in their order."""

    lines: list[WorthLine] = field(default_factory=list)

    def add(self, part: str, worth: str, texts: Sequence[str] | str, head: str = "") -> None:
        rows = (
            texts.split("\n")
            if isinstance(texts, str)
            else [row for text in texts for row in text.split("\n")]
        )
        self.lines += [WorthLine(part, row, worth, head) for row in rows if row.strip()]

    def block(self, part: str, worth: str, text: str) -> None:
        lines = [line for line in text.split("\n") if line.strip()]
        self.lines += [WorthLine(part, "\n".join(lines), worth)] if lines else []


def part_names(mask: Collection[str] = ()) -> dict[str, str]:
    """Return the parts of a prompt with their meanings, without ``mask``."""
    meanings = {**PARTS, **NEW_PARTS, **MEANINGS, **MODULE, **(GRAPHLESS if hides_graph(mask) else {})}
    return {name: meanings[name] for name in ORDER if name not in mask}


def system_prompt_by_worth(mask: Collection[str] = ()) -> str:
    """Return the system message: the parts of a problem, and the form of an answer."""
    parts = "\n".join(f"{name}: {meaning}" for name, meaning in part_names(mask).items())
    head = "You improve a program by choosing new values for its variables. A problem has these parts:"
    return f"{head}\n\n{parts}\n\nValues are written as (type) name = value.\n\n{FORMAT.strip()}"


def build_by_worth(instance: ProblemInstance, budget: int) -> list[Message]:
    """Return the messages that ask a model for new values, made of whole lines.

    Args:
        instance: what is shown.
        budget: most tokens of all messages together, by the upper bound.

    Returns:
        The system message and the user's message.
    """
    lines = [line for line in prompt_lines(instance) if line.part not in instance.mask]
    # Most policies have nothing beside their variables; the part is not mentioned there.
    absent = set(MODULE) - {line.part for line in lines}
    head = system(system_prompt_by_worth({*instance.mask, *absent}))
    fixed = {name: text for name, text in whole_sections(instance).items() if name not in instance.mask}
    room = budget - message_tokens([head, _assembled(fixed, [], ())]) - MARGIN
    taken = take(lines, room)
    return [head, _assembled(fixed, lines, taken)]


def take(lines: Sequence[WorthLine], room: int) -> set[int]:
    """Return the places of the lines that fit, by worth and then by place.

    Args:
        lines: of a prompt, in its order.
        room: tokens for all of them with the names of their parts.
    """
    taken: set[int] = set()
    parts: set[str] = set()
    heads: set[tuple[str, str]] = set()
    for place in sorted(
        range(len(lines)), key=lambda place: (RANK[lines[place].worth], lines[place].order, place)
    ):
        line = lines[place]
        cost = token_bound(line.text) + 1
        if line.part not in parts:
            cost += token_bound(line.part) + 3 + NOTE_TOKENS
        if line.head and (line.part, line.head) not in heads:
            cost += token_bound(line.head) + 1
        if cost <= room:
            room -= cost
            taken.add(place)
            parts.add(line.part)
            heads.add((line.part, line.head))
    return taken


def _assembled(fixed: Mapping[str, str], lines: Sequence[WorthLine], taken: Collection[int]) -> Message:
    sections = dict(fixed)
    for name in {line.part for line in lines} - set(fixed):
        if text := _section(
            [(place in taken, line) for place, line in enumerate(lines) if line.part == name]
        ):
            sections[name] = text
    return user(
        "\n\n".join([*(f"{name}\n{sections[name]}" for name in ORDER if name in sections), "Your answer:"])
    )


def _section(lines: Sequence[tuple[bool, WorthLine]]) -> str:
    texts, head = [], ""
    for _, line in (pair for pair in lines if pair[0]):
        if line.head and line.head != head:
            texts.append(line.head)
        head = line.head
        texts.append(line.text)
    missing = sum(line.text.count("\n") + 1 for is_taken, line in lines if not is_taken)
    if texts and missing:
        texts.append(f"({missing} more line{'s' * (missing > 1)} left out)")
    return "\n".join(texts)


def prompt_lines(instance: ProblemInstance) -> list[WorthLine]:
    """Return all lines that a prompt may have, but for its whole parts."""
    found = _Lines()
    problem, parent = instance.problem, instance.parent
    newest = newest_after(instance.others, parent)
    if instance.traces is not None:
        kept = {trial.candidate.id for trial in (parent, newest) if trial is not None}
        for number in set(instance.traces) - kept:
            del instance.traces[number]
    found.add("#Context", "task", problem.context)
    found.add("#Facts", "fact", problem.facts)
    for place, text in enumerate(beside_variables(problem, instance.values)):
        worth = "task" if place == 0 else "module" if len(text) <= LONGEST_HELPER else "code"
        found.block("#Module", worth, text)
    if parent is None:
        found.add("#Feedback", "score", "The variables have not been tried yet.")
        return found.lines
    variables = {spec.name for spec in problem.parameters}
    _add_trace(found, instance, parent, variables)
    known = {trial.candidate.id: trial for trial in (*instance.history, *instance.others, parent)}
    before = known.get(parent.candidate.parent) if parent.candidate.parent is not None else None
    _add_trial(found, "#Feedback", parent, before)
    if newest is not None:
        _add_newest(found, instance, newest, parent, variables)
    older = [t for t in instance.history if newest is None or t.candidate.id != newest.candidate.id]
    latest = sorted(trial.candidate.id for trial in older)[-PRINTING:]
    for trial in older:
        found.add("#History", "trial", history_line(trial, known, LONGEST, shared_scores))
        found.add("#History", "trial", remarks(trial, ()))  # what a person saw stays
        if trial.candidate.id in latest and not hides_graph(instance.mask):
            _add_older_prints(found, trial)
        found.add("#History", "older change", differences(problem, instance.values, trial), "")
    for text in instance.rejected:
        found.add("#Rejected", "rejected", f"- {' '.join(text.split())}")
    return found.lines


def _add_newest(
    found: _Lines, instance: ProblemInstance, newest: Trial, parent: Trial, variables: Collection[str]
) -> None:
    note = f"; {' '.join(newest.candidate.note.split())}" if newest.candidate.note else ""
    _add_trial(found, "#Newest", newest, parent, note)
    found.add(
        "#Newest",
        "change",
        differences(instance.problem, instance.values, newest),
        "It has, beside #Variables:",
    )
    if hides_graph(instance.mask):  # nor of this one what happened by step
        return
    trace = _trace_of(instance, newest, variables)
    _add_rows(found, "#Newest", trace, newest)
    found.add("#Newest", "stage", [*trace.stages, *trace.outputs])
    found.add("#Newest", "distance", trace.distances)


def _add_trial(found: _Lines, part: str, trial: Trial, other: Trial | None, note: str = "") -> None:
    """Add a trial's score, its comparison with another and its episodes."""
    found.add(part, "score", f"Trial {trial.candidate.id}: {scored(trial)}{note}")
    found.add(part, "score", remarks(trial, ()))
    evidence = trial.outcome.evidence
    if evidence is None:
        found.add(part, "episode", trial.outcome.feedback)
        return
    found.add(part, "score", evidence.notes)
    first: list[int] = []
    if other is not None:
        text, first = compared(trial, other)
        found.add(part, "score", text)
    if part == "#Feedback" or other is None or len(evidence.lines) > len(shared_places(trial, other)):
        found.add(part, "score", evidence.starts)
    for fault in evidence.faults:
        found.block(part, "error", fault)
    failed = [place for place, won in enumerate(evidence.successes) if not won]
    failed.sort(key=lambda place: (place not in first, place != evidence.traced))
    shown = set(failed[:FIRST])
    for place in sorted(failed):
        found.add(part, "episode" if place in shown else "more episodes", evidence.lines[place])
    won = len(evidence.successes) - len(failed)
    if won:
        slowest = evidence.lines[evidence.traced] if not failed and evidence.traced >= 0 else ""
        found.add(
            part, "score", f"{won} other episode{'s' * (won > 1)} succeeded." if failed else "All succeeded."
        )
        found.add(part, "episode", slowest)
    found.add(part, "episode", evidence.details)


def _trace_of(instance: ProblemInstance, trial: Trial, variables: Collection[str]) -> EpisodeTrace:
    """Return the lines of a trial's graph, kept from the last prompt."""
    traces = instance.traces if instance.traces is not None else {}
    if trial.candidate.id not in traces:
        traces[trial.candidate.id] = EpisodeTrace.of(trial.graph, variables, instance.mask)
    return traces[trial.candidate.id]


def _add_trace(found: _Lines, instance: ProblemInstance, trial: Trial, variables: Collection[str]) -> None:
    trace = _trace_of(instance, trial, variables)
    for block in trace.code:
        found.block("#Code", "code", block)
    found.add("#Documentation", "code", trace.documentation)
    found.add("#Inputs", "constant", trace.inputs)
    found.add("#Others", "stage", trace.stages)
    found.add("#Others", "distance", trace.distances)
    found.add("#Others", "constant", trace.constants)
    _add_rows(found, "#Others", trace, trial)
    found.add("#Outputs", "stage", trace.outputs)


def _add_rows(found: _Lines, part: str, trace: EpisodeTrace, trial: Trial) -> None:
    """Add the rows of an episode, then what the program wrote."""
    evidence = trial.outcome.evidence
    which = ""
    if evidence is not None and evidence.traced >= 0:
        which = f"Episode {evidence.conditions[evidence.traced]} ({evidence.why}), "
    ranked = sorted(trace.rows, key=lambda row: (-row.weight, row.step))[:MORE_ROWS]
    order = {row.step: place for place, row in enumerate(ranked)}
    title = f"{which}{trace.title}\n{trace.header}"
    for row in (row for row in trace.rows if row.step in order):
        place = order[row.step]
        worth = "idle rows" if row.weight <= 0 else "row" if place < FIRST_ROWS else "more rows"
        found.lines.append(WorthLine(part, row.text, worth, title, place))
    for text in evidence.contacts if evidence is not None else ():
        found.add(part, "contact", program_text(text, LONGEST), CONTACTS)
    log = [f"step {step}: {program_text(text, LONGEST)}" for step, text in trace.log]
    _add_log(found, part, log, "The program wrote into its memory:")
    if evidence is None:
        return
    _add_log(found, part, _printed(evidence.printed), "The program printed:")
    for number, text in evidence.also_printed:
        lines, head = _printed(text), f"In episode {number} it printed:"
        for place, line in enumerate(lines):
            found.add(part, "log" if place >= len(lines) - LAST_OF_OTHERS else "more log", line, head)


def _printed(text: str) -> list[str]:
    return [program_text(line, LONGEST) for line in text.split("\n") if line.strip()]


def _add_older_prints(found: _Lines, trial: Trial) -> None:
    """Add the last lines that an older trial printed: why it failed, in its own words.

    They come after what the two trials that are shown whole wrote.
    """
    evidence = trial.outcome.evidence
    if evidence is None:
        return
    texts = [("", evidence.printed), *((f" in episode {n}", text) for n, text in evidence.also_printed)]
    where, text = next((pair for pair in texts if pair[1].strip()), ("", ""))
    lines = _printed(text)[-LAST_OF_OLDER:]
    head = f"  Trial {trial.candidate.id} printed{where}, the last lines:"
    found.lines += [WorthLine("#History", f"  {line}", "log", head, order=1) for line in lines]


def _add_log(found: _Lines, part: str, log: Sequence[str], head: str) -> None:
    for place, text in enumerate(log):
        ends = place < FIRST_LOG or place >= len(log) - LAST_LOG
        found.add(part, "log" if ends else "more log", text, head)


def whole_lines(text: str, tokens: int) -> str:
    """Return a text within some tokens, whole lines of its beginning and its end.

    Args:
        text: any text.
        tokens: most tokens of the result, by the upper bound.

    Returns:
        The text itself if it fits; else lines from both ends, in turn, and a note between them.
    """
    if token_bound(text) <= tokens:
        return text
    lines = re.sub(r"\n\s*\n+", "\n", text).split("\n")
    room = tokens - 2 * NOTE_TOKENS
    first, last = 0, len(lines)
    while first < last:
        from_head = (first + len(lines) - last) % 2 == 0
        cost = token_bound(lines[first if from_head else last - 1]) + 1
        if cost > room:
            break
        room -= cost
        first, last = (first + 1, last) if from_head else (first, last - 1)
    note = f"({last - first} lines left out here)"
    return "\n".join([*lines[:first], note, *lines[last:]]) if tokens > 2 * NOTE_TOKENS else ""


def quoted_reply(text: str, free: int, budget: int, by_worth: bool) -> str:
    """Return a reply as a request for its repair quotes it, or "(empty)".

    Args:
        text: of the reply.
        free: tokens that the rest of the prompt leaves.
        budget: of a prompt, in tokens.
        by_worth: whether whole lines are kept, of up to half of the budget.
    """
    if by_worth:
        return whole_lines(text, min(free, budget // 2)) or "(empty)"
    return shorten(text, min(free, budget // 4)) or "(empty)"
