"""Ask and tell around a generator: what all built-in searches have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import Generic, TypeVar

from trace_robot.errors import OrderError
from trace_robot.optimizers.problem import Candidate, Outcome

Result_co = TypeVar("Result_co", covariant=True)
Champion = TypeVar("Champion")

# A part of a search: yields candidates, is sent one outcome for each in their order, returns a result.
Steps = Generator[list[Candidate], Sequence[Outcome], Result_co]


class GeneratorSearch(ABC, Generic[Champion]):
    """An optimizer whose whole course is one generator, ``_search``.

    A search of many phases reads as one text that way: no phase has to be saved in fields between an ``ask``
    and the next ``tell``. A search is deterministic for its seed and the outcomes, whatever their order in
    ``tell``, so a run resumes by replaying its journal and a search needs no saved state.

    phase: what it is doing, for people. done: "" while it goes on, else the reason why it stopped.
    """

    uses_graph = False
    log = ()  # it asks no model

    def __init__(self) -> None:
        """Run the generator to its first candidates, once a subclass has its fields."""
        self.done = ""
        self.phase = "explore"
        self._steps = self._search()
        self._waiting: list[Candidate] = next(self._steps)

    def ask(self) -> list[Candidate]:
        """Return the candidates that wait for an outcome, the same ones until ``tell``."""
        return list(self._waiting)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Take the outcomes of all candidates of the last ``ask``, in any order.

        Raises:
            OrderError: if an outcome is missing, or the search is done.
        """
        by_id = {outcome.candidate: outcome for outcome in outcomes}
        missing = [candidate.id for candidate in self._waiting if candidate.id not in by_id]
        if missing:
            raise OrderError(
                f"tell wants an outcome for each candidate of the last ask, got none for {missing[:5]!r}"
            )
        if not self._waiting:
            raise OrderError(
                f"tell wants candidates that were asked for, but the search is done: {self.done}"
            )
        try:
            self._waiting = self._steps.send([by_id[candidate.id] for candidate in self._waiting])
        except StopIteration:
            self._waiting = []

    @property
    def best(self) -> Candidate | None:
        """The champion as a candidate, None until there is one."""
        champion = self.champion
        return None if champion is None else self._candidate(champion)

    @property
    @abstractmethod
    def champion(self) -> Champion | None:
        """The best controller so far, None until the search can compare some."""

    @abstractmethod
    def _candidate(self, champion: Champion) -> Candidate:
        """Return a champion as a candidate that runs as data."""

    @abstractmethod
    def _search(self) -> Steps[None]:
        """Yield candidates until ``done`` says why there are no more."""
