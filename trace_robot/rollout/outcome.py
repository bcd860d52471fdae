"""From a candidate's episodes to its outcome: one score, the feedback in words, the graph to read it with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from trace_robot.interval import wilson as wilson
from trace_robot.optimize.problem import Candidate, Outcome
from trace_robot.rollout.episode import Episode
from trace_robot.rollout.feedback import feedback


def episode_score(episode: Episode) -> float:
    """Return 1 for a success; below 0.5 for a failure, growing with the reward a step; below 0.25 for an error.

    A failure is ranked by its mean reward a simulator step, squashed to (0, 0.5), so that no amount of reward
    is worth a success; where a total reward counts as success, by how far it is from that.
    """
    if episode.success:
        return 1.0
    threshold = episode.return_threshold
    if threshold is None:
        mean = episode.total_reward / max(1, episode.steps)
        squashed = 0.25 + math.atan(mean) / (2 * math.pi)
    else:
        squashed = 0.5 / (1.0 + max(0.0, threshold - episode.total_reward) / max(1.0, abs(threshold)))
    return squashed / 2 if episode.ended == "error" else squashed


def outcome_of(
    candidate: Candidate,
    episodes: Sequence[Episode],
    controller: str,
    graph: tuple[Mapping[str, Any], ...] = (),
    *,
    level: str = "outcome",
) -> Outcome:
    """Return the outcome of ``candidate`` over ``episodes``, which ran ``controller``; graph: of a telling one."""
    scores = tuple(episode_score(episode) for episode in episodes)
    return Outcome(
        candidate=candidate.id,
        score=sum(scores) / len(scores),
        feedback=feedback(episodes, controller, level) if candidate.program is None else "",
        success=sum(episode.success for episode in episodes) / len(episodes),
        scores=scores,
        graph=graph,
        faults=tuple(episode.fault for episode in episodes if episode.fault is not None),
        details=_details(episodes),
    )


def _details(episodes: Sequence[Episode]) -> Mapping[str, Any]:
    details: dict[str, Any] = {
        "success": [episode.success for episode in episodes],
        "reward": [episode.total_reward for episode in episodes],
        "steps": [episode.decisions for episode in episodes],
        "simulator_steps": [episode.steps for episode in episodes],
    }
    for name in episodes[0].measures:
        details[name] = [episode.measures.get(name, math.nan) for episode in episodes]
    return details
