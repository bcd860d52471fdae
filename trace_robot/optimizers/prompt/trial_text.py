"""Write trials as text: feedback, history, and replies that became no trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trace_robot.line_diff import unified_diff
from trace_robot.llm.metering import token_bound
from trace_robot.optimizers.problem import Evidence, Problem, plain
from trace_robot.optimizers.prompt.values import indented, number, one_line, program_text
from trace_robot.optimizers.strategies import Trial

SameScores = Callable[[Trial, Trial], tuple[float, float] | None]


def feedback(trial: Trial | None) -> str:
    """Return #Feedback: the scores of a trial and the text that came with them."""
    if trial is None:
        return "The variables have not been tried yet."
    outcome = trial.outcome
    lines = [f"Trial {trial.candidate.id}: {scored(trial)}"]
    if len(outcome.scores) > 1:
        ordered = sorted(outcome.scores)
        middle = ordered[len(ordered) // 2]
        lines.append(
            f"Scores of {len(ordered)} runs: lowest {number(ordered[0])}, "
            f"median {number(middle)}, highest {number(ordered[-1])}"
        )
    return "\n".join([*lines, outcome.feedback]).strip()


def scored(trial: Trial) -> str:
    """Return a trial's score and how many of its episodes succeeded."""
    outcome = trial.outcome
    text = "no score" if math.isnan(outcome.score) else f"score {number(outcome.score, 4)}"
    runs = len(outcome.scores)
    if runs > 1:
        return f"{text}, success {round(outcome.success * runs)}/{runs}"
    return text + (", success" if outcome.success == 1 else "")


MOST_REMARKS, REMARK_CHARACTERS = 4, 500  # of a trial: the latest of them; of one


def remarks(parent: Trial | None, trials: Sequence[Trial]) -> str:
    """Return the remarks on the trial that is worked on and on the newest.

    Args:
        parent: the trial that is worked on.
        trials: others.

    Returns:
        A line each, "" without any.
    """
    newest = max(trials, key=lambda trial: trial.candidate.id, default=None)
    return "\n".join(
        f"- Trial {trial.candidate.id}: {program_text(text, REMARK_CHARACTERS)}"
        for trial in (parent, newest)
        if trial is not None
        for text in trial.remarks[-MOST_REMARKS:]
    )


def tie_text(trial: Trial, best: Trial) -> str:
    """Return why a trial was taken although it scores no more than the best before it.

    Args:
        trial: of equal rank.
        best: the other.
    """
    cured, broken = trial.outcome.cured(best.outcome), best.outcome.cured(trial.outcome)
    before = f"trial {best.candidate.id}"
    lost = f" (and failed {_episodes(broken)}, which {before} solved)" if broken else ""
    won = f"it solved {_episodes(cured)}, which {before} failed"
    won = f"it solved {_episodes(cured)}, which {before} failed"
    return f"equal in score to {before} and taken in its place: {won}{lost}"


def _episodes(numbers: Sequence[int]) -> str:
    return f"episode{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def rejected(problems: Sequence[str]) -> str:
    """Return #Rejected: a line for each reply that could not be used."""
    return "\n".join(f"- {one_line(text, 400)}" for text in problems)


def history_entries(problem: Problem, parent: Trial | None, trials: Sequence[Trial]) -> list[tuple[str, str]]:
    """Return each trial of the history in two lengths.

    Args:
        problem: whose parameters the trials chose.
        parent: the trial that is worked on, whose values #Variables shows; None for the starting values.
        trials: the history, the most useful first.

    Returns:
        For each of ``trials`` one line, and that line with what its values had other than the present ones below.
    """
    values = problem.values if parent is None else parent.candidate.values  # as #Variables shows them
    known = {trial.candidate.id: trial for trial in (*trials, *([parent] if parent else []))}
    lines = [history_line(trial, known) for trial in trials]
    return [
        (line, line + _below(differences(problem, values, trial)))
        for line, trial in zip(lines, trials, strict=True)
    ]


def fit_history(entries: Sequence[tuple[str, str]], room: int) -> str:
    """Return as many trials as fit: in full, else in one line, else fewer.

    Args:
        entries: as ``history_entries`` returns them.
        room: tokens for all of them.
    """
    costs = [token_bound(short) for short, _ in entries]
    texts = [short for short, _ in entries]
    for index, (_, full) in enumerate(entries):
        cost = token_bound(full)
        if sum(costs) - costs[index] + cost + 4 <= room:
            texts[index], costs[index] = full, cost
    while texts and sum(costs) + 4 > room:
        texts.pop()
        costs.pop()
    return "\n".join(texts)


def history_line(
    trial: Trial, known: Mapping[int, Trial], longest: int = 200, same: SameScores | None = None
) -> str:
    """Return a trial of the history on one line.

    Args:
        trial: to write.
        known: trials by their candidate's id, among which the one that it was made from may be.
        longest: most characters of its note, and of the message of its fault.
        same: gives the scores of two trials over the conditions of both; None to compare their whole scores.
    """
    candidate = trial.candidate
    line = f"Trial {candidate.id}"
    if candidate.parent is not None:
        line += f", from trial {candidate.parent}"
    line += f": {scored(trial)}"
    parent = known.get(candidate.parent) if candidate.parent is not None else None
    if parent is not None and not math.isnan(parent.outcome.score):
        pair = None if same is None else same(trial, parent)
        if pair is None:
            word = "better" if trial.rank > parent.rank else "no better"
            line += f" ({word} than {number(parent.outcome.score, 4)})"
        else:
            beside = f"trial {parent.candidate.id} {number(pair[1], 4)}"
            line += f" (on the conditions of both {number(pair[0], 4)}, {beside})"
    line += f"; {one_line(candidate.note, longest)}" if candidate.note else ""
    if trial.outcome.faults:
        fault = trial.outcome.faults[0]
        line += f"; {fault.category}: {program_text(fault.message, min(longest, 160) if same is None else longest)}"
    return line


def differences(problem: Problem, values: Mapping[str, Any], trial: Trial) -> str:
    """Return the values of a trial that differ from those in #Variables, indented.

    Args:
        problem: whose parameters the trial chose.
        values: those in #Variables.
        trial: whose values are written.
    """
    lines = []
    for spec in problem.parameters:
        here, there = values[spec.name], trial.candidate.values[spec.name]
        if spec.kind in ("code", "text"):
            lines += [] if here == there else [_shorter(spec.name, str(here), str(there))]
        elif (value := plain(there)) != plain(here):
            lines.append(f"{spec.name} = {value!r}")
    return indented("\n".join(lines)) if lines else ""


def _below(text: str) -> str:
    return f"\n{text}" if text else ""


def _shorter(name: str, here: str, there: str) -> str:
    """Return the changes from ``here`` to ``there``, or ``there`` where it is shorter."""
    changes, whole = _diff(here, there), there.strip("\n")
    if token_bound(whole) <= token_bound(changes):
        return f"{name} =\n{whole}"
    return f"{name}, lines that were - gone, + there instead:\n{changes}"


def _diff(here: str, there: str) -> str:
    changes = unified_diff(here.splitlines(), there.splitlines(), context=0)
    return "\n".join(line for line in changes if not line.startswith(("---", "+++", "@@")))


def shared_places(trial: Trial, other: Trial) -> list[tuple[int, int]]:
    """Return the places of the episodes that two trials had under the same conditions.

    Args:
        trial: whose episodes come first in each pair.
        other: whose come second.
    """
    mine, theirs = trial.outcome.evidence, other.outcome.evidence
    if mine is None or theirs is None:
        return []
    known = {condition: place for place, condition in enumerate(theirs.conditions)}
    return [(place, known[c]) for place, c in enumerate(mine.conditions) if c in known]


def shared_scores(trial: Trial, other: Trial) -> tuple[float, float] | None:
    """Return two trials' mean scores over the conditions of both, None for none.

    Args:
        trial: whose score comes first.
        other: whose comes second.
    """
    pairs = shared_places(trial, other)
    if not pairs:
        return None
    sums = [
        math.fsum(of.outcome.scores[pair[side]] for pair in pairs) / len(pairs)
        for side, of in enumerate((trial, other))
    ]
    return sums[0], sums[1]


def compared(trial: Trial, other: Trial) -> tuple[str, list[int]]:
    """Return what a trial cured and broke under the conditions that another had, too.

    Args:
        trial: that is compared.
        other: the one it is compared with.

    Returns:
        A line, "" without a common condition, and the places of the episodes that it names first.
    """
    pairs, scores = shared_places(trial, other), shared_scores(trial, other)
    mine, theirs = trial.outcome.evidence, other.outcome.evidence
    if scores is None or mine is None or theirs is None:
        return "", []
    cured = [a for a, b in pairs if mine.successes[a] and not theirs.successes[b]]
    broke = [a for a, b in pairs if theirs.successes[b] and not mine.successes[a]]
    still = [(a, b) for a, b in pairs if not mine.successes[a] and not theirs.successes[b]]
    changes = (
        f"{mine.conditions[a]} ({_gain(trial.outcome.scores[a], other.outcome.scores[b])})" for a, b in still
    )
    texts = [
        f"cured: {_named(mine, cured)}",
        f"broke: {_named(mine, broke)}",
        *([f"neither solves: {', '.join(changes)}"] if still else []),
    ]
    same = f"the {len(pairs)} conditions of both" if len(pairs) > 1 else "the one condition of both"
    line = (
        f"Against trial {other.candidate.id} on {same}: score {number(scores[0], 4)} and {number(scores[1], 4)};"
        f" {'; '.join(texts)}."
    )
    return line, broke


def _gain(score: float, before: float) -> str:
    return f"score {number(before, 4)} to {number(score, 4)}"


def _named(evidence: Evidence, places: Sequence[int]) -> str:
    return ", ".join(f"episode {evidence.conditions[place]}" for place in places) or "none"
