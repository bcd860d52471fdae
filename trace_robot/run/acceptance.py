"""When an evaluated candidate becomes the best of its run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trace_robot.optimizers.problem import Candidate
    from trace_robot.rollout.evaluation import Evaluation

# Simulator steps between two improvements of a search that become iterations. A search improves up to hundreds of
# times, mostly by little; each iteration costs an evaluation of the written controller, a difference and a video.
STEPS_BETWEEN_ITERATIONS = 50_000


def is_better(
    evaluation: Evaluation, best: Evaluation | None, *, search_ranks: bool, by_return: bool
) -> bool:
    """Return whether a candidate replaces the best so far.

    Args:
        evaluation: the candidate's, on the run's training conditions.
        best: None at the start of a run.
        search_ranks: the candidate is the one that the built-in search ranks first.
        by_return: success is a total reward of at least ``TaskSpec.return_threshold``.
    """
    if best is None:
        return True
    ahead = evaluation.outcome.score - best.outcome.score
    if ahead > 0:
        return True
    # Among programs of one score the search prefers the one whose constants bear the most noise, which it has measured
    # and this score does not show: the later one is the more robust.
    # Where the return decides, the search has compared finalists on more conditions than these, and a lower score here
    # is chance.
    return search_ranks and (ahead == 0 or by_return)


def is_new(champion: Candidate, best: Evaluation | None) -> bool:
    """Return whether the search's best candidate is another than the run's.

    Args:
        champion: what the search ranks first.
        best: the run's, None at its start.
    """
    return best is None or champion.id != best.candidate.id
