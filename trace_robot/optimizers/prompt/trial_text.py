"""Write trials as text: feedback, history, and replies that became no trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trace_robot.line_diff import unified_diff
from trace_robot.llm.metering import token_bound
from trace_robot.optimizers.problem import Problem, plain
from trace_robot.optimizers.prompt.values import indented, number, one_line, program_text
from trace_robot.optimizers.strategies import Trial


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
    lines = [_line(trial, known) for trial in trials]
    return [
        (line, line + _differences(problem, values, trial)) for line, trial in zip(lines, trials, strict=True)
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


def _line(trial: Trial, known: Mapping[int, Trial]) -> str:
    candidate = trial.candidate
    line = f"Trial {candidate.id}"
    if candidate.parent is not None:
        line += f", from trial {candidate.parent}"
    line += f": {scored(trial)}"
    parent = known.get(candidate.parent) if candidate.parent is not None else None
    if parent is not None and not math.isnan(parent.outcome.score):
        word = "better" if trial.rank > parent.rank else "no better"
        line += f" ({word} than {number(parent.outcome.score, 4)})"
    line += f"; {one_line(candidate.note)}" if candidate.note else ""
    if trial.outcome.faults:
        fault = trial.outcome.faults[0]
        line += f"; {fault.category}: {program_text(fault.message, 160)}"
    return line


def _differences(problem: Problem, values: Mapping[str, Any], trial: Trial) -> str:
    """Return the values of a trial that differ from ``values``, those in #Variables."""
    lines = []
    for spec in problem.parameters:
        here, there = values[spec.name], trial.candidate.values[spec.name]
        if spec.kind in ("code", "text"):
            lines += [] if here == there else [_shorter(spec.name, str(here), str(there))]
        elif (value := plain(there)) != plain(here):
            lines.append(f"{spec.name} = {value!r}")
    return "\n" + indented("\n".join(lines)) if lines else ""


def _shorter(name: str, here: str, there: str) -> str:
    """Return the changes from ``here`` to ``there``, or ``there`` where it is shorter."""
    changes, whole = _diff(here, there), there.strip("\n")
    if token_bound(whole) <= token_bound(changes):
        return f"{name} =\n{whole}"
    return f"{name}, lines that were - gone, + there instead:\n{changes}"


def _diff(here: str, there: str) -> str:
    changes = unified_diff(here.splitlines(), there.splitlines(), context=0)
    return "\n".join(line for line in changes if not line.startswith(("---", "+++", "@@")))
