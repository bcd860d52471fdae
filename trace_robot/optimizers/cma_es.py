"""Tune the numbers of a problem with CMA-ES (Hansen, arXiv:1604.00772).

It costs evaluations and no tokens. The ``cma`` package has the algorithm; here are the search space, the ranking of
candidates and the reasons to stop.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np

from trace_robot.errors import MissingExtraError, ValueMismatchError
from trace_robot.optimizers.literals import (
    Literal,
    find_constants,
    find_literals,
    is_sentinel,
    replace_literals,
)
from trace_robot.optimizers.problem import Candidate, Outcome, ParameterSpec, Problem, plain
from trace_robot.optimizers.prompt.reply import bounds
from trace_robot.optimizers.prompt.values import number
from trace_robot.optimizers.strategies import Trial, best_of, forget_graphs, take_waiting

# Numbers up to which covariances are learned: n by n of them, 0.1 GB and a second at 2,000.
MOST_DENSE = 2_000
NO_NUMBERS = (
    "CMA-ES needs a number to change, got a problem without numeric parameters; write the numbers to tune as NAME = 0.5"
    " at the top level, or as node(0.5, trainable=True)"
)
MOST_NUMBERS = 20_000  # that are tuned; as text, they fill the longest controller that may run
FLAT = 12  # evaluations, all with one result, after which the numbers are held to have no effect


def load_cma() -> Any:
    """Return the module ``cma``, imported late: an extra that only tuning needs.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            # It warns where matplotlib is missing, which is used by none of its functions that are called here.
            warnings.simplefilter("ignore")
            import cma
    except ImportError as error:
        raise MissingExtraError("tuning numbers needs the cma package: pip install cma") from error
    return cma


class CMAES:
    """Ask and tell over numeric parameters, by CMA-ES.

    Candidates rank by success, then score; CMA-ES uses nothing but their order. Of more than 2,000 numbers only the
    variances are learned (separable CMA-ES, Ros and Hansen 2008): memory then grows with their number, not its square.

    Args:
        problem: what is optimized; parameters that are no numbers stay as they are.
        start: a trial to begin from; without one, the starting values are asked for first.
        constants: tune the constants of code, too, see ``trace_robot.optimizers.literals.find_constants``.
        literals: tune every float written in code, sentinels and those inside functions too, as 0.1.0 did.
        evaluations: most candidates to ask for; None for no limit.
        population: candidates in a generation; None for the package's choice, 4 + 3 log(n).
        seed: of the generator of all samples; numpy's global one is left alone.
        precision: stop when steps are this part of the first ones.
        elitist: let the best so far take part in every generation, which pays where evaluations are exact and few
            (measured in docs/problems.md).
        origin: of the candidates.
        new_id: gives ids, for use inside another optimizer; counts from 1 if None.

    Raises:
        ValueMismatchError: the problem has no number to tune, or more than 20,000.
        MissingExtraError: the package ``cma`` is not installed.
    """

    uses_graph = False
    log = ()  # it asks no model

    def __init__(
        self,
        problem: Problem,
        *,
        start: Trial | None = None,
        constants: bool = True,
        literals: bool = False,
        evaluations: int | None = None,
        population: int | None = None,
        seed: int = 0,
        precision: float = 1e-3,
        elitist: bool = True,
        origin: str = "cma",
        new_id: Callable[[], int] | None = None,
    ) -> None:
        self.problem = problem
        self.trials: list[Trial] = [start] if start else []
        self.evaluations = evaluations
        self.elitist = elitist
        self.origin = origin
        self._start = start.candidate if start else problem.start()
        self._new_id = new_id or count(1).__next__
        self._space = SearchSpace(problem, self._start.values, constants=constants, literals=literals)
        if not self._space.dimensions:
            raise ValueMismatchError(NO_NUMBERS)
        if len(self._space.dimensions) > MOST_NUMBERS:
            raise ValueMismatchError(
                f"CMA-ES tunes at most {MOST_NUMBERS:,} numbers, got {len(self._space.dimensions):,}; make fewer"
                " of them trainable"
            )
        self._strategy = _strategy(self._space.dimensions, population, seed, precision)
        self._vectors: dict[int, Any] = {self._start.id: np.zeros(self._strategy.N)}
        self._waiting: list[Candidate] = []
        self._generation: list[tuple[int, Any]] = []
        self.asked = 0
        self.solved = False
        self._has_outcome = False  # an elite needs one
        self._done = ""

    @property
    def best_trial(self) -> Trial | None:
        return best_of(self.trials)

    @property
    def best(self) -> Candidate | None:
        trial = self.best_trial
        return trial.candidate if trial else None

    @property
    def done(self) -> str:
        return "" if self._waiting else self._done

    def describe(self, candidate: Candidate) -> str:
        """Return as text what changed in a candidate of the generation, or in the best."""
        return self._space.describe(self._numbers(self._vectors[candidate.id]))

    def ask(self) -> list[Candidate]:
        """Return the candidates that wait for their outcomes, none once ``done``."""
        if not self._waiting and not self.trials:
            self._waiting = [self._start]
        while not self._waiting and not self._done:
            self._next_generation()
        return list(self._waiting)

    def _next_generation(self) -> None:
        best = self.best
        if self.elitist and self._has_outcome and best is not None:
            self._strategy.inject([self._vectors[best.id]])
        vectors = self._strategy.ask()
        for vector in vectors:
            values = self._space.apply(self._numbers(vector))
            if best is not None and plain(values) == plain(best.values):
                self._generation.append((best.id, vector))  # the elite: its outcome is known
                continue
            candidate = Candidate(self._new_id(), self._start.id, values, "numbers varied", self.origin)
            self._generation.append((candidate.id, vector))
            self._waiting.append(candidate)
        self._vectors.update(self._generation)
        self.asked += len(self._waiting)
        if not self._waiting:
            self._finish_generation()

    def _numbers(self, vector: Any) -> list[float]:
        # Not strict: a problem with one number has a second, idle coordinate.
        return [d.value + float(x) * d.spread for d, x in zip(self._space.dimensions, vector, strict=False)]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Take the outcomes of candidates that were asked for, in any order or number.

        Raises:
            OrderError: an outcome is of no candidate that waits for one.
        """
        for outcome in outcomes:
            candidate = take_waiting(self._waiting, outcome)
            self.trials = forget_graphs([*self.trials, Trial.of(candidate, outcome)], keep=1)
            if len(self._space.dimensions) > MOST_DENSE:
                self.trials = _lean(self.trials)
            self._has_outcome = True
            self._check_solved(outcome)
        if self._generation and not self._waiting:
            self._finish_generation()

    def _check_solved(self, outcome: Outcome) -> None:
        enough = self.problem.enough
        if enough is not None and outcome.success >= enough and not self._done:
            self.solved = True
            self._done = f"solved: candidate {outcome.candidate} has success {outcome.success:g}"

    def _finish_generation(self) -> None:
        ranks = {trial.candidate.id: trial.rank for trial in self.trials}
        # Losses are ranks, as success comes before any score.
        ordered = sorted({ranks[number] for number, _ in self._generation}, reverse=True)
        losses = [float(ordered.index(ranks[number])) for number, _ in self._generation]
        self._strategy.tell([vector for _, vector in self._generation], losses)
        self._generation = []
        best = best_of(self.trials)
        kept = best.candidate.id if best else -1
        # Only the elite is needed from now on.
        self._vectors = {id_: vector for id_, vector in self._vectors.items() if id_ == kept}
        if self.asked >= FLAT and len(set(ranks.values())) == 1:
            self._done = self._done or f"the numbers made no difference in {self.asked} evaluations"
        elif self.evaluations is not None and self.asked >= self.evaluations:
            self._done = self._done or f"{self.asked} evaluations made"
        elif self._strategy.stop():
            self._done = self._done or f"CMA-ES converged: {', '.join(self._strategy.stop())}"


def _lean(trials: list[Trial]) -> list[Trial]:
    """Return trials of which only the best keeps its values.

    Each has up to a megabyte of them, and nothing asks for those of the others.
    """
    best = best_of(trials)
    return [t if t is best else replace(t, candidate=replace(t.candidate, values={})) for t in trials]


def _strategy(dimensions: Sequence[Dimension], population: int | None, seed: int, precision: float) -> Any:
    """Return the package's strategy, in units of the spread around each value."""
    generator = np.random.default_rng(seed)
    idle = [0.0] if len(dimensions) == 1 else []  # the package needs two dimensions
    lows = [(d.low - d.value) / d.spread for d in dimensions] + [-math.inf for _ in idle]
    highs = [(d.high - d.value) / d.spread for d in dimensions] + [math.inf for _ in idle]
    options = {
        "bounds": [lows, highs],
        "seed": float("nan"),  # leaves numpy's global generator alone; samples come from ``randn``
        "randn": lambda *shape: generator.standard_normal(shape),
        "verbose": -9,
        "tolx": precision,
        # Losses are ranks, so that none of the tests on their size or their course means anything.
        "tolfun": 0,
        "tolfunhist": 0,
        "tolflatfitness": float("inf"),
        "tolstagnation": float("inf"),
    }
    if len(dimensions) > MOST_DENSE:
        options["CMA_diagonal"] = True
    if population is not None:
        options["popsize"] = population
    return load_cma().CMAEvolutionStrategy([0.0] * len(dimensions) + idle, 1.0, options)


SPREAD = 0.2
NOTABLE = 0.05  # of a spread; a smaller change is not described
MOST_CHANGES = 6


@dataclass(frozen=True, slots=True)
class Dimension:
    """One number of a search space.

    Args:
        parameter: the name of the parameter that holds it.
        label: its name for people, such as ``GAIN`` or ``act line 3``.
        value: the number at the start.
        spread: the standard deviation of the first samples.
        low: lower bound.
        high: upper bound.
        index: of an array, which of its numbers it is.
    """

    parameter: str
    label: str
    value: float
    spread: float
    low: float = -math.inf
    high: float = math.inf
    index: int = 0


class SearchSpace:
    """The numbers in the values of a problem's parameters, as dimensions.

    They are numeric parameters without sentinels, and of code what ``constants`` and ``literals`` say.

    Args:
        problem: the parameters.
        values: the value of each, around which is searched.
        constants: whether the constants of code belong to it.
        literals: whether all floats written in code do, and sentinels, as in 0.1.0.
    """

    def __init__(
        self, problem: Problem, values: Mapping[str, Any], *, constants: bool = True, literals: bool = False
    ) -> None:
        self.problem = problem
        self.values = dict(values)
        self.constants, self.literals = constants, literals
        self._specs = {spec.name: spec for spec in problem.parameters}
        self.dimensions = [d for spec in problem.parameters for d in self._of(spec, values[spec.name])]

    def _of(self, spec: ParameterSpec, value: Any) -> list[Dimension]:
        if spec.kind == "code":
            return [
                Dimension(
                    spec.name,
                    x.name or f"{spec.name} line {x.line}",
                    x.value,
                    _spread(x.value),
                    x.low,
                    x.high,
                )
                for x in self._written(str(value))
            ]
        if spec.kind not in ("number", "array"):
            return []
        low, high = bounds(spec)
        edges = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
        numbers = np.asarray(value, dtype=float).ravel()
        single = spec.kind == "number"
        return [
            Dimension(
                spec.name,
                spec.name if single else f"{spec.name}[{i}]",
                x,
                _spread(x) if spec.near else _spread(x, *edges),
                *edges,
                i,
            )
            for i, x in enumerate(map(float, numbers))
            # Between bounds a large number is a quantity.
            if self.literals or all(map(math.isfinite, edges)) or not is_sentinel(x)
        ]

    def _written(self, source: str) -> list[Literal]:
        if self.literals:
            return find_literals(source)
        return find_constants(source) if self.constants else []

    def apply(self, vector: Sequence[float]) -> dict[str, Any]:
        """Return all values with the numbers of ``vector``, clipped to their bounds."""
        clipped: dict[str, list[tuple[int, float]]] = {}
        for dimension, x in zip(self.dimensions, vector, strict=True):
            number = min(max(float(x), dimension.low), dimension.high)
            clipped.setdefault(dimension.parameter, []).append((dimension.index, number))
        values = dict(self.values)
        for name, numbers in clipped.items():
            values[name] = self._rebuilt(self._specs[name], values[name], numbers)
        return values

    def _rebuilt(self, spec: ParameterSpec, value: Any, numbers: list[tuple[int, float]]) -> Any:
        if spec.kind == "code":
            source = str(value)
            return replace_literals(source, [x for _, x in numbers], self._written(source))
        if spec.kind == "number":
            # Six significant digits, so that what a model reads is short.
            return round(numbers[0][1]) if isinstance(value, int) else float(f"{numbers[0][1]:.6g}")
        flat = np.array(value, dtype=float).ravel()
        for index, x in numbers:
            flat[index] = float(f"{x:.6g}")
        array = flat.reshape(np.shape(value))
        return array if isinstance(value, np.ndarray) else array.tolist()

    def describe(self, vector: Sequence[float]) -> str:
        """Return as text which numbers ``vector`` changes most, measured by their spread."""
        changes = [(abs(x - d.value) / d.spread, d, x) for d, x in zip(self.dimensions, vector, strict=True)]
        largest = sorted((c for c in changes if c[0] > NOTABLE), key=lambda c: -c[0])[:MOST_CHANGES]
        texts = [f"{d.label}: {number(d.value)} to {number(x)}" for _, d, x in largest]
        return ", ".join(texts) or "nothing moved"


def _spread(value: float, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a fifth of the range between bounds, else of the number itself."""
    if math.isfinite(low) and math.isfinite(high) and high > low:
        return SPREAD * (high - low)
    return SPREAD * abs(value) or SPREAD / 2
