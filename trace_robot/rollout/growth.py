"""Curriculum of conditions: more while all are solved, overfitting stated.

A candidate that solves all training conditions is tried on as many again, up to a limit, and on the confirming ones
last. The training conditions of later candidates are those on which one was tried so: sequential testing keeps most
candidates cheap, and what is compared was tried on equal conditions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trace_robot.optimizers.problem import CONDITIONS, Outcome
from trace_robot.stats import wilson

if TYPE_CHECKING:
    from trace_robot.rollout.episode import Episode

TRAINING = (
    "training"  # of ``Outcome.details``: the first conditions, on which earlier candidates were tried, too
)


def further(
    tried: int, training: Sequence[int], reserve: Sequence[int], confirmation: Sequence[int]
) -> tuple[int, ...]:
    """Return the conditions on which a candidate is tried next that solved all so far.

    Args:
        tried: how many it solved, the first of all of them in this order.
        training: those of every candidate.
        reserve: by which they may grow; they double.
        confirmation: the last.
    """
    every = (*training, *reserve)
    if tried < len(every):
        return every[tried : 2 * tried]
    return tuple(confirmation) if tried == len(every) else ()


def with_notes(outcome: Outcome, episodes: Sequence[Episode], training: int) -> Outcome:
    """Return an outcome with the number of its conditions, and whether it overfits.

    Args:
        outcome: of one candidate.
        episodes: its own, those on training conditions first.
        training: how many of these there were.
    """
    overfits = overfit([episode.success for episode in episodes], training)
    details = {**outcome.details, CONDITIONS: len(episodes), TRAINING: training}
    if not overfits:
        return replace(outcome, details=details)
    evidence = None if outcome.evidence is None else replace(outcome.evidence, notes=(overfits,))
    feedback = f"{outcome.feedback}\n{overfits}"
    return replace(outcome, details=details, feedback=feedback, evidence=evidence)


def overfit(successes: Sequence[bool], training: int) -> str:
    """Return as text that a candidate solves its training conditions and not others.

    Args:
        successes: one an episode, those on training conditions first.
        training: how many of these there are.
    """
    others = successes[training:]
    if not all(successes[:training]) or all(others):
        return ""
    return (
        f"It overfits: it solved all {training} training conditions (the first episodes), and {sum(others)} of"
        f" {len(others)} that were new to it. Look for what holds on all of them."
    )


def overfit_at_end(details: Mapping[str, Any], held_out: Sequence[bool]) -> str:
    """Return as text that a run's best controller does worse than its training showed.

    Args:
        details: of its outcome.
        held_out: success of each held-out episode.

    Returns:
        "" where the outcome does not say how many conditions it is over, or where the held-out success lies within
        the 95 % Wilson interval of that in training, or above.
    """
    if CONDITIONS not in details:
        return ""
    successes, training = list(details["success"]), int(details[TRAINING])
    trained, found = sum(successes) / len(successes), sum(held_out) / len(held_out)
    if overfit(successes, training):
        others = successes[training:]
        return (
            f"the best controller overfits: success 1.00 in training, {sum(others) / len(others):.2f} on"
            f" {len(others)} other conditions, {found:.2f} held out"
        )
    if found < wilson(sum(successes), len(successes))[0]:
        return f"the best controller overfits: success {trained:.2f} in training, {found:.2f} held out"
    return ""
