"""Structure by model, numbers by search: CMA-ES between OptoPrime's proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trace_robot.optimizers.cma_es import CMAES, MOST_NUMBERS, SearchSpace
from trace_robot.optimizers.optoprime import Attempt, OptoPrime
from trace_robot.optimizers.problem import Candidate, Outcome, Problem
from trace_robot.optimizers.strategies import Trial, take_waiting


class Tuned:
    """Ask and tell as ``inner``, and tune the numbers of each new best candidate.

    A candidate with more than 20,000 numbers is not tuned. The best tuned candidate is evaluated once more, for its
    graph, and becomes a trial of ``inner`` with a note on what was changed. The origin of candidates is "tuning", that
    of the best "tuned".

    Args:
        inner: the optimizer that proposes.
        evaluations: most candidates that a tuning asks for.
        population: candidates in a generation; None for the package's choice. Four, and the best so far in each
            generation, did best in 48 evaluations (measured in docs/problems.md).
        literals: tune the floats written in code, not only numeric parameters.
        seed: of the samples.
    """

    def __init__(
        self,
        inner: OptoPrime,
        *,
        evaluations: int = 48,
        population: int | None = 4,
        literals: bool = True,
        seed: int = 0,
    ) -> None:
        self.inner = inner
        self.evaluations = evaluations
        self.population = population
        self.literals = literals
        self.seed = seed
        self._tuner: CMAES | None = None
        self._from: Trial | None = None
        self._winner: Candidate | None = None
        self._tuned: tuple[float, float] | None = None

    @property
    def problem(self) -> Problem:
        """The problem of ``inner``."""
        return self.inner.problem

    @property
    def best_trial(self) -> Trial | None:
        """The trial that ranks highest, those of a present tuning included."""
        trials = [self.inner.best_trial, self._tuner.best_trial if self._tuner else None]
        return max((trial for trial in trials if trial), key=lambda trial: trial.rank, default=None)

    @property
    def best(self) -> Candidate | None:
        """The candidate of ``best_trial``."""
        trial = self.best_trial
        return trial.candidate if trial else None

    @property
    def uses_graph(self) -> bool:
        """Whether the next outcomes should carry a graph, which tuning does not need."""
        return self._tuner is None and self.inner.uses_graph

    @property
    def log(self) -> list[Attempt]:
        """Every reply of the model so far."""
        return self.inner.log

    @property
    def notes(self) -> list[str]:
        """What a user should know of how the model is asked."""
        return self.inner.notes

    @property
    def done(self) -> str:
        """Why there is nothing more to ask for, "" while there is."""
        return "" if self._tuner or self._winner else self.inner.done

    def ask(self) -> list[Candidate]:
        """Return the candidates of ``inner`` or of a tuning. Raises as ``inner.ask``."""
        if self._winner is not None:
            return [self._winner]
        if self._tuner is not None:
            return self._tuner.ask()
        return self.inner.ask()

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Take the outcomes of candidates that were asked for.

        A tuning begins where they give ``inner`` a new best, and ends with its last generation.

        Raises:
            OrderError: an outcome is of no candidate that waits for one.
        """
        if self._winner is not None:
            self._learn(self._winner, outcomes)
            return
        if self._tuner is None:
            self.inner.tell(outcomes)
            if not self.inner.waiting:
                self._begin()
            return
        self._tuner.tell(outcomes)
        if self._tuner.done:
            self._finish(self._tuner)

    def _begin(self) -> None:
        best = self.inner.best_trial
        # Only a new best is tuned: tuning the same one again would sample the same numbers.
        if best is None or self.inner.done or (self._tuned is not None and best.rank <= self._tuned):
            return
        self._tuned = best.rank
        space = SearchSpace(self.problem, best.candidate.values, literals=self.literals)
        # A reply may hold more numbers than CMA-ES takes; then only the model changes them.
        if 0 < len(space.dimensions) <= MOST_NUMBERS:
            self._from = best
            self._tuner = self._start(best)

    def _start(self, trial: Trial) -> CMAES:
        return CMAES(
            self.problem,
            start=trial,
            literals=self.literals,
            evaluations=self.evaluations,
            population=self.population,
            seed=self.seed,
            new_id=self.inner.new_id,
            origin="tuning",
        )

    def _finish(self, tuner: CMAES) -> None:
        best, before = tuner.best_trial, self._from
        self._tuner = self._from = None
        if best is None or before is None or best.candidate.id == before.candidate.id:
            return
        note = f"numbers tuned in {tuner.asked} evaluations: {tuner.describe(best.candidate)}"
        self._tuned = best.rank
        if tuner.solved:  # no model is asked any more, so that no graph is needed
            self.inner.learn(replace(best.candidate, note=note, origin="tuned"), best.outcome)
        else:
            self._winner = replace(best.candidate, id=self.inner.new_id(), note=note, origin="tuned")

    def _learn(self, winner: Candidate, outcomes: Sequence[Outcome]) -> None:
        waiting = [winner]
        for outcome in outcomes:
            candidate = take_waiting(waiting, outcome)
            self._winner = None
            self.inner.learn(candidate, outcome)
