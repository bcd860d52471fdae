"""Ask and tell around a generator: what all built-in searches have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

from trace_robot.errors import OrderError
from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.spec import TaskSpec

Result_co = TypeVar("Result_co", covariant=True)
Champion = TypeVar("Champion")

POOL = 256  # training conditions that a race divides by purpose
# A part of a search: yields candidates, is sent one outcome for each in their order, returns a result.
Steps = Generator[list[Candidate], Sequence[Outcome], Result_co]


@dataclass(slots=True)
class Standing:
    """What a candidate did so far in the part of a search that is not finished.

    Attributes:
        candidate: it.
        conditions: how many it was tried on.
        successes: on how many of them it succeeded.
        score: sum over its conditions; -inf where one is not a number.
        reward: sum of the total rewards.
        faulty: an episode ended with an error.
    """

    candidate: Candidate
    conditions: int = 0
    successes: float = 0.0
    score: float = 0.0
    reward: float = 0.0
    faulty: bool = False

    def add(self, outcome: Outcome, conditions: int) -> None:
        """Take another outcome of the candidate in.

        Args:
            outcome: over some of the conditions that it was asked for.
            conditions: how many, where the outcome does not show it.
        """
        count = len(outcome.details.get("success", ())) or len(outcome.scores) or conditions
        wins = outcome.details.get("success")
        self.successes += outcome.success * count if wins is None else sum(map(bool, wins))
        self.score += -math.inf if math.isnan(outcome.score) else outcome.score * count
        self.reward += sum(outcome.details.get("reward", ()))
        self.faulty = self.faulty or bool(outcome.faults) or not math.isfinite(self.reward)
        self.conditions += count


class GeneratorSearch(ABC, Generic[Champion]):
    """An optimizer whose whole course is one generator, ``_search``.

    A search of many phases reads as one text that way: no phase has to be saved in fields between an ``ask``
    and the next ``tell``. A search is deterministic for its seed and the outcomes, whatever their order in
    ``tell``, so a run resumes by replaying its journal and a search needs no saved state.

    phase: what it is doing, for people. done: "" while it goes on, else the reason why it stopped. compares: finalists
    are compared by their return on more conditions than a run trains on: a lower score there is chance.
    """

    uses_graph = False
    compares: ClassVar[bool] = False
    log = ()  # it asks no model

    def __init__(self) -> None:
        """Run the generator to its first candidates, once a subclass has its fields."""
        self.done = ""
        self.phase = "explore"
        self._standings: dict[int, Standing] = {}
        self._leader: Standing | None = None
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
        self.consider(outcomes)
        try:
            self._waiting = self._steps.send([by_id[candidate.id] for candidate in self._waiting])
        except StopIteration:
            self._waiting = []

    def consider(self, outcomes: Sequence[Outcome]) -> None:
        """Take outcomes of some candidates of the last ``ask`` into the best so far.

        For a budget that ends within a batch: what was seen until then counts, and the search goes no further.

        Args:
            outcomes: each over some conditions of its candidate at least.
        """
        by_id = {outcome.candidate: outcome for outcome in outcomes}
        for candidate in self._waiting:
            if candidate.id in by_id:
                self._consider(candidate, by_id[candidate.id])

    @property
    def best(self) -> Candidate | None:
        """The best candidate so far, never None once there was an outcome.

        It is the champion, with ``seeds`` None. Until there is one it is provisional: the candidate with the
        most successes, then the highest score, on the few conditions that stand in its ``seeds``. Whatever ends a run
        early, the best that was seen comes out.
        """
        champion = self.champion
        if champion is not None:
            return self._candidate(champion)
        return None if self._leader is None else self._provisional(self._leader)

    @property
    def contender(self) -> Candidate | None:
        """The leader of the unfinished part, where it does better than the champion."""
        champion, leader = self.champion, self._leader
        if champion is None or leader is None or not self._outdoes(leader, champion):
            return None
        return self._provisional(leader)

    @property
    def finalists_to_score(self) -> list[Candidate]:
        """What to score when a run ends now, in order: the best, then a contender."""
        return [candidate for candidate in (self.best, self.contender) if candidate is not None]

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
        nominal: Callable[[int], bool] | None = None,
    ) -> GeneratorSearch[Any]:
        """Return a new search, which may ignore what it does not need.

        Args:
            spec: the environment.
            conditions: gives the first training conditions of a run, as many as it is asked for.
            episodes: conditions that every controller is compared on.
            confirm: further conditions to choose on.
            seed: of all random choices.
            budget: simulator steps that will be granted; None for no limit.
            nominal: whether nothing differs in the world of a condition; None where worlds do not differ.
        """

    @property
    @abstractmethod
    def champion(self) -> Champion | None:
        """The best controller so far, None until the search can compare some."""

    def _consider(self, candidate: Candidate, outcome: Outcome) -> None:
        """Add an outcome to a candidate's standing, and let the best one lead."""
        standing = self._standings.setdefault(candidate.id, Standing(candidate))
        standing.add(outcome, len(candidate.seeds or (0,)))
        leader = self._leader
        if leader is None or (leader is not standing and self._rank(standing) > self._rank(leader)):
            self._leader = standing

    def _part_is_over(self) -> None:
        """Forget standings: what they showed is in the champion."""
        self._standings.clear()
        self._leader = None

    def _rank(self, standing: Standing) -> tuple[float, float]:
        """Return what standings are compared by, larger is better.

        Successes are counted, not their share: a second success on another condition is worth more than the first.
        """
        return standing.successes, standing.score / standing.conditions

    def _outdoes(self, standing: Standing, champion: Champion) -> bool:
        """Return whether a candidate of the unfinished part did better than the champion.

        Args:
            standing: of the candidate.
            champion: the best of the finished parts.
        """
        return False

    def _provisional(self, standing: Standing) -> Candidate:
        """Return a candidate that says on how many conditions alone it was tried."""
        count, lasting = standing.conditions, self._lasting(standing.candidate)
        kind = f"{lasting.note}: " if lasting.note else ""
        note = f"{kind}best so far, on {count} condition{'s' if count > 1 else ''} alone"
        return replace(lasting, note=note)

    def _lasting(self, candidate: Candidate) -> Candidate:
        """Return a candidate as it runs when it is no longer a trial."""
        return candidate

    @abstractmethod
    def _candidate(self, champion: Champion) -> Candidate:
        """Return a champion as a candidate that runs as data."""

    @abstractmethod
    def _search(self) -> Steps[None]:
        """Yield candidates until ``done`` says why there are no more."""


class RacingSearch(GeneratorSearch[Champion]):
    """A search that races restarts on rungs, each on conditions of one pool.

    Args:
        spec: the environment.
        seeds: POOL training conditions.
        seed: of all random choices.
    """

    def __init__(self, spec: TaskSpec, seeds: Sequence[int], *, seed: int = 0) -> None:
        self.spec = spec
        self.seeds = tuple(seeds)
        super().__init__()

    @classmethod
    def begin(
        cls, spec: TaskSpec, conditions: Callable[[int], Sequence[int]], *, seed: int, **_: Any
    ) -> RacingSearch[Champion]:
        """Return a new search.

        What else a run says is not used: rungs have their own numbers of conditions, and a race goes on until the task
        is solved.

        Args:
            spec: the environment.
            conditions: gives the first training conditions of a run, as many as it is asked for.
            seed: of all random choices.
        """
        return cls(spec, conditions(POOL), seed=seed)
