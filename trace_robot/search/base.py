"""Ask and tell around a generator: what all built-in searches have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar

from trace_robot.errors import OrderError
from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.spec import TaskSpec

Result_co = TypeVar("Result_co", covariant=True)
Champion = TypeVar("Champion")

# A part of a search: yields candidates, is sent one outcome for each in their order, returns a result.
Steps = Generator[list[Candidate], Sequence[Outcome], Result_co]


class GeneratorSearch(ABC, Generic[Champion]):
    """An optimizer whose whole course is one generator, ``_search``.

    A search of many phases reads as one text that way: no phase has to be saved in fields between an ``ask``
    and the next ``tell``. A search is deterministic for its seed and the outcomes, whatever their order in
    ``tell``, so a run resumes by replaying its journal and a search needs no saved state.

    phase: what it is doing, for people. done: "" while it goes on, else the reason why it stopped. writes: the
    parameter of a policy that the best controller becomes the value of, "" where it is a policy by itself.
    """

    uses_graph = False
    writes: ClassVar[str] = ""
    log = ()  # it asks no model

    def __init__(self) -> None:
        """Run the generator to its first candidates, once a subclass has its fields."""
        self.done = ""
        self.phase = "explore"
        self._provisional: tuple[tuple[float, float], Candidate] | None = None
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
        if self.champion is None:
            for candidate in self._waiting:
                self._consider(candidate, by_id[candidate.id])
        try:
            self._waiting = self._steps.send([by_id[candidate.id] for candidate in self._waiting])
        except StopIteration:
            self._waiting = []

    @property
    def best(self) -> Candidate | None:
        """The best candidate so far, never None once there was an outcome.

        It is the champion, with ``seeds`` None. Until there is one it is provisional: the candidate with the
        highest success, then score, on the few conditions that stand in its ``seeds``. Whatever ends a run
        early, the best that was seen comes out.
        """
        champion = self.champion
        if champion is not None:
            return self._candidate(champion)
        return None if self._provisional is None else self._provisional[1]

    @classmethod
    @abstractmethod
    def suits(cls, spec: TaskSpec) -> bool:
        """Return whether its kind of controller makes sense in an environment."""

    @classmethod
    @abstractmethod
    def begin(
        cls,
        spec: TaskSpec,
        conditions: Callable[[int], Sequence[int]],
        *,
        episodes: int,
        confirm: int,
        seed: int,
        budget: int | None,
    ) -> GeneratorSearch[Any]:
        """Return a new search, which may ignore what it does not need.

        Args:
            spec: the environment.
            conditions: gives the first training conditions of a run, as many as it is asked for.
            episodes: conditions that every controller is compared on.
            confirm: further conditions to choose on.
            seed: of all random choices.
            budget: simulator steps that will be granted; None for no limit.
        """

    @property
    @abstractmethod
    def champion(self) -> Champion | None:
        """The best controller so far, None until the search can compare some."""

    def _consider(self, candidate: Candidate, outcome: Outcome) -> None:
        """Make a candidate the provisional best if it did better than the one before."""
        rank = (outcome.success, -math.inf if math.isnan(outcome.score) else outcome.score)
        if self._provisional is None or rank > self._provisional[0]:
            conditions = len(candidate.seeds or ())
            note = f"{candidate.note}: best so far, on {conditions} condition{'s' if conditions > 1 else ''} alone"
            self._provisional = rank, replace(self._lasting(candidate), note=note)

    def _lasting(self, candidate: Candidate) -> Candidate:
        """Return a candidate as it runs when it is no longer a trial."""
        return candidate

    @abstractmethod
    def _candidate(self, champion: Champion) -> Candidate:
        """Return a champion as a candidate that runs as data."""

    @abstractmethod
    def _search(self) -> Steps[None]:
        """Yield candidates until ``done`` says why there are no more."""
