"""The built-in search for an environment: which kind of controller to look for, and how.

Apart from ``controller``, which every worker imports: a worker runs controllers and needs no search, nor CMA-ES.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trace_robot.search.base import GeneratorSearch
from trace_robot.search.controller import kind_for
from trace_robot.search.feedback_law.controller import LawController
from trace_robot.search.feedback_law.evaluation import POOL
from trace_robot.search.feedback_law.search import FeedbackLawSearch
from trace_robot.search.staged.controller import StagedController
from trace_robot.search.staged.search import StagedSearch
from trace_robot.spec import TaskSpec

Conditions = Callable[[int], Sequence[int]]


def create_search(
    spec: TaskSpec,
    conditions: Conditions,
    *,
    episodes: int,
    confirm: int,
    seed: int,
    budget: int | None,
) -> GeneratorSearch[Any]:
    """Return the search for the kind of controller that suits an environment.

    Args:
        spec: the environment.
        conditions: gives the first training conditions of a run, as many as it is asked for.
        episodes: how many of them every staged program is compared on; rungs of laws have their own numbers.
        confirm: how many further ones to choose staged programs on.
        seed: of all random choices.
        budget: simulator steps that will be granted, None for no limit; a race of laws ends when one solves the task.
    """
    return SEARCHES[kind_for(spec).kind](spec, conditions, episodes, confirm, seed, budget)


def _staged(
    spec: TaskSpec, conditions: Conditions, episodes: int, confirm: int, seed: int, budget: int | None
) -> StagedSearch:
    seeds = conditions(episodes + confirm)
    return StagedSearch(spec, seeds[:episodes], confirm=seeds[episodes:], seed=seed, budget=budget)


def _law(
    spec: TaskSpec, conditions: Conditions, episodes: int, confirm: int, seed: int, budget: int | None
) -> FeedbackLawSearch:
    return FeedbackLawSearch(spec, conditions(POOL), seed=seed)


# A new kind of controller registers here and in ``controller.KINDS``.
SEARCHES: Mapping[str, Callable[[TaskSpec, Conditions, int, int, int, int | None], GeneratorSearch[Any]]] = {
    StagedController.kind: _staged,
    LawController.kind: _law,
}
