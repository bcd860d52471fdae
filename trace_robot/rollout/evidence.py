"""Evidence of episodes for prompts by worth: a line each, prints, starts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trace_robot.env.declaration import SUCCESS_MISSING
from trace_robot.optimizers.problem import Evidence, Outcome
from trace_robot.rollout.episode import MOVED, Episode, episode_line, number_text, point_text, stood_still
from trace_robot.rollout.feedback import describe, details, representative
from trace_robot.spec import TaskSpec

MOST_STARTS = 9  # numbers of a part whose first values are written; a line is to stay a line
PRINTING = 2  # further failed episodes of which it is kept what they printed
WHY = "the first with an error", "of the failed ones the middle one by reward", "the slowest success"


def evidence_of(
    episodes: Sequence[Episode],
    spec: TaskSpec,
    seeds: Sequence[int],
    outcome: Outcome,
    controller: str = "",
    level: str = "outcome",
) -> Evidence:
    """Return what each episode of a candidate showed.

    Args:
        episodes: at least one.
        spec: of the environment, which names the points of an observation.
        seeds: of all conditions of a run; an episode has the number of its place, the same for all candidates.
        outcome: of the episodes; its graph, if it has one, is of the representative episode.
        controller: the text that ran, to mark failing lines in.
        level: of the feedback.
    """
    numbers = {seed: number for number, seed in enumerate(seeds, 1)}
    known = [numbers.get(episode.seed, episode.seed) for episode in episodes]
    shown = representative(episodes)
    faults = {(f.category, f.message, f.line): f for f in (e.fault for e in episodes) if f is not None}
    chosen = episodes[shown]
    return Evidence(
        conditions=tuple(known),
        lines=tuple(
            f"Episode {number}: {episode.line or episode_line(episode, spec)}"
            for number, episode in zip(known, episodes, strict=True)
        ),
        successes=tuple(episode.success for episode in episodes),
        traced=shown if outcome.graph else -1,
        why=WHY[0] if chosen.ended == "error" else WHY[2] if chosen.success else WHY[1],
        faults=tuple(describe(fault, controller) for fault in list(faults.values())[:3]),
        starts=tuple(_starts(episodes, spec)),
        printed=chosen.printed,
        also_printed=_also_printed(episodes, known, shown),
        still=all(stood_still(episode, spec) for episode in episodes),
        details=tuple(line for line in details(episodes, level) if line),
    )


def _also_printed(
    episodes: Sequence[Episode], numbers: Sequence[int], shown: int
) -> tuple[tuple[int, str], ...]:
    """Return what other failed episodes printed, equal texts once."""
    found: dict[str, int] = {}
    for place, (number, episode) in enumerate(zip(numbers, episodes, strict=True)):
        if place != shown and not episode.success and episode.printed.strip():
            found.setdefault(episode.printed, number)
    found.pop(episodes[shown].printed, None)
    return tuple((number, text) for text, number in list(found.items())[:PRINTING])


def _starts(episodes: Sequence[Episode], spec: TaskSpec) -> list[str]:
    """Return the ranges of first observed values, where they differ, as a line."""
    rows = [episode.start or episode.observations[:1].ravel().tolist() for episode in episodes]
    first = np.array([row for row in rows if row])
    if not len(first):
        return []
    texts = []
    for part in spec.observation:
        low, high = (bound[part.start : part.stop] for bound in (first.min(0), first.max(0)))
        widest = float((high - low).max(initial=0.0))
        if part.size > 3 and widest > MOVED:  # such as the angles of an arm: how far, and around what
            middle = point_text((low + high) / 2) if part.size <= MOST_STARTS else f"{part.size} numbers"
            texts.append(f"{part.name} {middle}, each within {number_text(widest / 2)}")
        elif part.name in spec.positions or (len(first) > 1 and widest > MOVED):
            same = widest < MOVED / 4
            texts.append(f"{part.name} {point_text(low)}" + ("" if same else f" to {point_text(high)}"))
    count = "its episode" if len(first) == 1 else f"its {len(first)} episodes"
    return [f"At the start of {count}, as observed: {'; '.join(texts)}."] if texts else []


def success_missing(episodes: Sequence[Episode]) -> bool:
    """Return whether no episode had the entry of info declared as success.

    Those with a fault do not count.
    """
    ended = [episode for episode in episodes if episode.fault is None]
    return bool(ended) and all(SUCCESS_MISSING in episode.infos for episode in ended)
