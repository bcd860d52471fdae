"""CMA-ES (Hansen, arXiv:1604.00772) on the numbers of a problem; costs evaluations and no tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from trace_robot.errors import OrderError, ValueMismatchError
from trace_robot.optimizers import code
from trace_robot.optimizers.evolution import load_cma
from trace_robot.optimizers.problem import Candidate, Outcome, ParameterSpec, Problem, plain
from trace_robot.optimizers.prompt.reply import bounds
from trace_robot.optimizers.prompt.values import number
from trace_robot.optimizers.strategies import Trial, best_of, forget_graphs

FLAT = 12


class CMAES:
    """Ask and tell over numeric parameters, and with ``literals`` the floats written in code.

    start: a trial to begin from; without one, the starting values are asked for first. evaluations: how many
    candidates to ask for at most. population: candidates a generation, None for the package's choice.
    precision: stop when steps are this part of the first spread. new_id: gives ids, for use inside another
    optimizer. Candidates rank by success, then score. elitist: the best so far takes part in every
    generation, which pays where evaluations are exact and few.
    """

    uses_graph = False
    log = ()  # it asks no model

    def __init__(
        self,
        problem: Problem,
        *,
        start: Trial | None = None,
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
        self._dimensions = Dimensions(problem, self._start.values, code=literals)
        if not len(self._dimensions):
            raise ValueMismatchError(
                "CMA-ES needs a number to change, got a problem without numeric parameters"
            )
        self._strategy = _strategy(self._dimensions, population, seed, precision)
        self._vectors: dict[int, Any] = {self._start.id: np.zeros(self._strategy.N)}
        self._waiting: list[Candidate] = []
        self._generation: list[tuple[int, Any]] = []
        self.asked = 0
        self.solved = False
        self._heard = False  # an outcome, so that there is something for the elite to be
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
        """Say what the tuning changed in a candidate that it made."""
        return self._dimensions.changes(self._values_of(self._vectors[candidate.id]))

    def ask(self) -> list[Candidate]:
        if not self._waiting and not self.trials:
            self._waiting = [self._start]
        while not self._waiting and not self._done:
            self._next_generation()
        return list(self._waiting)

    def _next_generation(self) -> None:
        best = self.best
        if self.elitist and self._heard and best is not None:
            self._strategy.inject([self._vectors[best.id]])
        vectors = self._strategy.ask()
        for vector in vectors:
            values = self._dimensions.apply(self._values_of(vector))
            if best is not None and plain(values) == plain(best.values):
                self._generation.append((best.id, vector))
                continue
            candidate = Candidate(self._new_id(), self._start.id, values, "numbers varied", self.origin)
            self._generation.append((candidate.id, vector))
            self._waiting.append(candidate)
        self._vectors.update(self._generation)
        self.asked += len(self._waiting)
        if not self._waiting:
            self._finish_generation()

    def _values_of(self, vector: Any) -> list[float]:
        return [d.value + float(x) * d.spread for d, x in zip(self._dimensions.list, vector, strict=False)]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            candidate = next((c for c in self._waiting if c.id == outcome.candidate), None)
            if candidate is None:
                raise OrderError(f"no candidate {outcome.candidate} waits for an outcome")
            self._waiting.remove(candidate)
            self.trials = forget_graphs([*self.trials, Trial.of(candidate, outcome)], keep=1)
            self._heard = True
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
        ordered = sorted({ranks[number] for number, _ in self._generation}, reverse=True)
        losses = [float(ordered.index(ranks[number])) for number, _ in self._generation]
        self._strategy.tell([vector for _, vector in self._generation], losses)
        self._generation = []
        best = best_of(self.trials)
        kept = best.candidate.id if best else -1
        self._vectors = {id_: vector for id_, vector in self._vectors.items() if id_ == kept}
        if self.asked >= FLAT and len(set(ranks.values())) == 1:
            self._done = self._done or f"the numbers made no difference in {self.asked} evaluations"
        elif self.evaluations is not None and self.asked >= self.evaluations:
            self._done = self._done or f"{self.asked} evaluations made"
        elif self._strategy.stop():
            self._done = self._done or f"CMA-ES converged: {', '.join(self._strategy.stop())}"


def _strategy(dimensions: Dimensions, population: int | None, seed: int, precision: float) -> Any:
    generator = np.random.default_rng(seed)
    idle = [0.0] if len(dimensions) == 1 else []  # the package needs two dimensions
    lows = [(d.low - d.value) / d.spread for d in dimensions.list] + [-math.inf for _ in idle]
    highs = [(d.high - d.value) / d.spread for d in dimensions.list] + [math.inf for _ in idle]
    options = {
        "bounds": [lows, highs],
        "seed": float("nan"),
        "randn": lambda *shape: generator.standard_normal(shape),
        "verbose": -9,
        "tolx": precision,
        "tolfun": 0,
        "tolfunhist": 0,
        "tolflatfitness": float("inf"),
        "tolstagnation": float("inf"),
    }
    if population is not None:
        options["popsize"] = population
    return load_cma().CMAEvolutionStrategy([0.0] * len(dimensions) + idle, 1.0, options)


SPREAD = 0.2


@dataclass(frozen=True, slots=True)
class Dimension:
    """One number. place: how it is named to people; spread: by how much to vary it at first."""

    parameter: str
    place: str
    value: float
    spread: float
    low: float = -math.inf
    high: float = math.inf


class Dimensions:
    """The numbers of ``values``; ``apply`` gives the values with others in their place."""

    def __init__(self, problem: Problem, values: Mapping[str, Any], *, code: bool) -> None:
        self.problem = problem
        self.values = dict(values)
        self.code = code
        self.list = [d for spec in problem.parameters for d in self._of(spec, values[spec.name])]

    def __len__(self) -> int:
        return len(self.list)

    def _of(self, spec: ParameterSpec, value: Any) -> list[Dimension]:
        if spec.kind == "code" and self.code:
            return [
                Dimension(
                    spec.name, f"{spec.name} line {literal.line}", literal.value, _spread(literal.value)
                )
                for literal in code.find(str(value))
            ]
        if spec.kind not in ("number", "array"):
            return []
        low, high = bounds(spec)
        edges = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
        numbers = np.asarray(value, dtype=float).ravel()
        single = spec.kind == "number"
        return [
            Dimension(spec.name, spec.name if single else f"{spec.name}[{i}]", x, _spread(x, *edges), *edges)
            for i, x in enumerate(map(float, numbers))
        ]

    def apply(self, vector: Sequence[float]) -> dict[str, Any]:
        """Return all values, with the numbers of ``vector``, clipped to their bounds."""
        given: dict[str, list[float]] = {}
        for dimension, x in zip(self.list, vector, strict=True):
            given.setdefault(dimension.parameter, []).append(
                min(max(float(x), dimension.low), dimension.high)
            )
        values = dict(self.values)
        for name, numbers in given.items():
            values[name] = _rebuilt(self.problem[name], values[name], numbers)
        return values

    def changes(self, vector: Sequence[float], most: int = 6) -> str:
        """Say which numbers ``vector`` changed most, by their spread."""
        moved = [(abs(x - d.value) / d.spread, d, x) for d, x in zip(self.list, vector, strict=True)]
        told = sorted((m for m in moved if m[0] > 0.05), key=lambda m: -m[0])[:most]
        return (
            ", ".join(f"{d.place}: {number(d.value)} to {number(x)}" for _, d, x in told) or "nothing moved"
        )


def _spread(value: float, low: float = -math.inf, high: float = math.inf) -> float:
    """A fifth of the range between bounds, else of the number itself; a tenth for a number that is 0."""
    if math.isfinite(low) and math.isfinite(high) and high > low:
        return SPREAD * (high - low)
    return SPREAD * abs(value) or SPREAD / 2


def _rebuilt(spec: ParameterSpec, value: Any, numbers: list[float]) -> Any:
    if spec.kind == "code":
        return code.replace(str(value), numbers)
    if spec.kind == "number":
        return round(numbers[0]) if isinstance(value, int) else float(f"{numbers[0]:.6g}")
    array = np.asarray([float(f"{x:.6g}") for x in numbers]).reshape(np.shape(value))
    return array if isinstance(value, np.ndarray) else array.tolist()
