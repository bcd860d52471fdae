"""The built-in search for controllers, which needs no language model.

Names are imported when they are first used (PEP 562): a worker that only runs controllers as data imports
``trace_robot.search.controller`` and must not load the searches and CMA-ES with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trace_robot.lazy_names import lazy_names

if TYPE_CHECKING:
    from trace_robot.search.base import GeneratorSearch
    from trace_robot.search.controller import DataController, load_controller, write_out
    from trace_robot.search.feedback_law.search import FeedbackLawSearch
    from trace_robot.search.gait.search import GaitSearch
    from trace_robot.search.staged.search import StagedSearch
    from trace_robot.spec import TaskSpec

__all__ = [
    "DataController",
    "FeedbackLawSearch",
    "GaitSearch",
    "StagedSearch",
    "load_controller",
    "search_for",
    "write_out",
]

_HOMES = {
    "search.controller": ("DataController", "load_controller", "write_out"),
    "search.feedback_law.search": ("FeedbackLawSearch",),
    "search.gait.search": ("GaitSearch",),
    "search.staged.search": ("StagedSearch",),
}

if not TYPE_CHECKING:  # a type checker that saw it would take any name for one of the package
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)


def search_for(spec: TaskSpec) -> type[GeneratorSearch[Any]]:
    """Return the class of the built-in search for an environment."""
    from trace_robot.search.feedback_law.search import FeedbackLawSearch
    from trace_robot.search.gait.search import GaitSearch
    from trace_robot.search.staged.search import StagedSearch

    # The more special kind is asked first; laws suit every environment.
    searches: tuple[type[GeneratorSearch[Any]], ...] = (StagedSearch, GaitSearch, FeedbackLawSearch)
    return next(search for search in searches if search.suits(spec))
