"""Structure by model, numbers by search: CMA-ES between OptoPrime's proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trace_robot.optimizers.cma_es import CMAES, MOST_NUMBERS, SearchSpace
from trace_robot.optimizers.optoprime import OptoPrime
from trace_robot.optimizers.problem import Attempt, Candidate, Outcome, Problem
from trace_robot.optimizers.prompt.trial_text import scored
from trace_robot.optimizers.strategies import Trial, best_of, moving_of, take_waiting

NO_GAIN = "its numbers were varied by CMA-ES in {evaluations} evaluations, without a gain"
PARKED = "with numbers that CMA-ES found it stands still and has {scored}, which is not built on"
# What a model needs to know to write code that can be tuned, and to keep facts as they are.
TUNING = (
    "Between two answers CMA-ES tunes numbers: trainable numbers, and constants, that is, floats that a (code) value"
    " assigns to a name outside of functions, as in GAIN = 4.5 or OFFSET = np.array([0.1, 0.02]). Numbers inside"
    " functions stay. So does what is written as fixed(...), as in LINK = fixed(0.31), with from trace_robot import"
    " fixed: write facts, such as lengths and limits of joints, so."
)


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
        constants: tune the constants of code, too, see ``trace_robot.optimizers.literals.find_constants``.
        literals: tune every float written in code, and say no more of it than a note, as 0.1.0 did.
        seed: of the samples.
    """

    def __init__(
        self,
        inner: OptoPrime,
        *,
        evaluations: int = 48,
        population: int | None = 4,
        constants: bool = True,
        literals: bool = False,
        seed: int = 0,
    ) -> None:
        self.inner = inner
        self.evaluations = evaluations
        self.population = population
        self.constants, self.literals = constants, literals
        self.seed = seed
        self._tuner: CMAES | None = None
        self._from: Trial | None = None
        self._winner: Candidate | None = None
        self._remark = ""  # on the winner, once it is a trial
        self._tuned: tuple[int, float, float] | None = None
        self._was_still = False  # the one that was to be tuned last

    @property
    def problem(self) -> Problem:
        """The problem of ``inner``."""
        return self.inner.problem

    @property
    def best_trial(self) -> Trial | None:
        """The trial that ranks highest, those of a present tuning included."""
        trials = [self.inner.best_trial, self._tuner.best_trial if self._tuner else None]
        return best_of([trial for trial in trials if trial])

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

    def remark(self, candidate: int, text: str) -> None:
        """Add what is known of a trial besides its outcome.

        Args:
            candidate: the id of the trial's.
            text: one line of it is kept.
        """
        self.inner.remark(candidate, text)

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
        best = best_of(moving_of(self.inner.trials))
        if best is None or self.inner.done:
            return
        # Only a new best is tuned: tuning the same one again would sample the same numbers. One that moves is new
        # after one that stood still, whatever either scored.
        after_still, self._was_still = self._was_still and not best.still, best.still
        if self._tuned is not None and best.rank <= self._tuned and not after_still:
            return
        self._tuned = best.rank
        space = SearchSpace(
            self.problem, best.candidate.values, constants=self.constants, literals=self.literals
        )
        # A reply may hold more numbers than CMA-ES takes; then only the model changes them.
        if 0 < len(space.dimensions) <= MOST_NUMBERS:
            self._from = best
            self._tuner = self._start(best)

    def _start(self, trial: Trial) -> CMAES:
        return CMAES(
            self.problem,
            start=trial,
            constants=self.constants,
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
        if best is None or before is None:
            return
        if best.still and not before.still:
            # Costs of motion in a dense reward: numbers of nothing pay most, and would be what the model builds on.
            self.inner.remark(before.candidate.id, PARKED.format(scored=scored(best)))
            return
        if best.candidate.id == before.candidate.id:
            if not self.literals:
                self.inner.remark(best.candidate.id, NO_GAIN.format(evaluations=tuner.asked))
            return
        note = f"numbers tuned in {tuner.asked} evaluations: {tuner.describe(best.candidate)}"
        self._tuned = best.rank
        if not self.literals:
            self._remark = f"{note}; that took it from {scored(before)} (trial {before.candidate.id})"
            self._remark += f" to {scored(best)}"
        if tuner.solved:  # no model is asked any more, so that no graph is needed
            self._learned(replace(best.candidate, note=note, origin="tuned"), best.outcome)
        else:
            self._winner = replace(best.candidate, id=self.inner.new_id(), note=note, origin="tuned")

    def _learn(self, winner: Candidate, outcomes: Sequence[Outcome]) -> None:
        waiting = [winner]
        for outcome in outcomes:
            candidate = take_waiting(waiting, outcome)
            self._winner = None
            self._learned(candidate, outcome)

    def _learned(self, candidate: Candidate, outcome: Outcome) -> None:
        self.inner.learn(candidate, outcome)
        if self._remark:
            self.inner.remark(candidate.id, self._remark)
            self._remark = ""
