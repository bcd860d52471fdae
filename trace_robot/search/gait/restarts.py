"""Restarts of two searches: CMA-ES for rhythms, random directions for feedback.

A structure maps a vector of numbers near 1 to a gait. Rhythms have few numbers, for which CMA-ES learns how they depend
on each other. Feedback has a number for each pair of a control and a number seen; augmented random search (ARS, Mania
et al., arXiv:1803.07055, version V2-t) moves all of them along random directions, weighted by what those return.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from trace_robot.optimizers.cma_es import load_cma
from trace_robot.search.feedback_law.law import rounded
from trace_robot.search.gait.gait import Balance, Gait, Joint, half_a_stride_later
from trace_robot.search.gait.identify import Morphology
from trace_robot.spec import Array

CLOCK = 4  # numbers before those of the joints: frequency, stance, stiffness, damping
STIFF, DAMPED = 1.0, 0.1  # control for each unit of angle, and of its rate, at first
STANCE = 0.3  # most that the share of stance differs from a half
SHORT = 200  # decisions of an episode at first
FINER = 0.7  # of the length of a step, each time that the search goes back to the best gait
RUNNING = 2.0  # seen at first, in decisions of a probe, so that the first episodes count less


@dataclass(frozen=True, slots=True)
class Course:
    """What restarts begin with.

    step: first step size of CMA-ES. paces: lengths of a step and of a direction of ARS, a restart for each.
    directions: of a generation of ARS, at least; else the root of the number of gains. length: decisions of an episode
    at first. go_on: restarts that go on after each rung; the last number for all further ones.
    """

    step: float
    paces: tuple[tuple[float, float], ...]
    directions: int
    length: int
    go_on: tuple[int, ...]


# A robot that does not fall. As measured on HalfCheetah-v5 in the paper's ranges: 0.96 million steps to 3,500.
PACE = (0.02, 0.03)  # of feedback on top of a rhythm too
STEADY = Course(0.5, (PACE,), 4, length=SHORT, go_on=(3, 3, 3, 3, 2))
# One that falls. A short episode shows how fast it dives, a whole one how long it keeps its way, and falls keep that
# cheap. ARS alone at the first pace reached 2,000 on Hopper-v5 within 250,000 decisions for each of three seeds, and at
# the second 370 for the one tried; at the second LunarLanderContinuous-v3 came to 255 within 170,000.
FALLING = Course(0.3, ((0.01, 0.025), (0.05, 0.1)), 8, length=SHORT, go_on=(4, 2))


@dataclass(frozen=True, slots=True)
class Rhythm:
    """A rhythm without its numbers.

    The vector: logarithms of frequency, stance, stiffness and damping over those at first, then for each joint offset,
    sine and cosine (and those of the second harmonic), in units of ``reach``.

    body: what the joints are. strides: a second, at first. mirrored: whether one joint of each mirrored pair does what
    the other does half a stride later. harmonics: 1 or 2.
    """

    body: Morphology
    strides: float
    mirrored: bool = False
    harmonics: int = 1

    @property
    def name(self) -> str:
        """Of the kind of gait."""
        mirrored = ", mirrored" if self.mirrored else ""
        second = ", two harmonics" if self.harmonics > 1 else ""
        return f"rhythm{mirrored}{second}"

    @property
    def leaders(self) -> tuple[int, ...]:
        """The joints that have numbers."""
        followers = {second for _, second in self.body.mirrors} if self.mirrored else set()
        return tuple(j for j in range(len(self.body.angles)) if j not in followers)

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return CLOCK + len(self.leaders) * (1 + 2 * self.harmonics)

    def build(self, vector: Sequence[float] | Array) -> Gait:
        """Return the gait of ``vector``, (count,)."""
        body = self.body
        rows = np.asarray(vector[CLOCK:], float).reshape(len(self.leaders), -1)
        joints: list[Joint] = [Joint(0.0, 0.0, 0.0)] * len(body.angles)
        for j, row in zip(self.leaders, rows, strict=True):
            angle = body.angles[j]
            rest = body.means.get(angle, 0.0) if angle >= 0 else 0.0
            swings = [_polar(row[1 + 2 * k], row[2 + 2 * k]) for k in range(self.harmonics)] + [(0.0, 0.0)]
            joints[j] = Joint(rounded(rest + row[0]), *swings[0], *swings[1], angle, body.rates[j])
        for first, second in body.mirrors if self.mirrored else ():
            joints[second] = replace(
                joints[first],
                lag=half_a_stride_later(joints[first].lag),  # not rounded: it is written as that
                angle=body.angles[second],
                rate=body.rates[second],
            )
        return Gait(
            rounded(self.strides * math.exp(min(max(vector[0], -3.0), 3.0))),
            body.step_seconds,
            tuple(joints),
            rounded(0.5 + STANCE * math.tanh(vector[1])),
            rounded(STIFF * math.exp(min(vector[2], 6.0))),
            rounded(DAMPED * math.exp(min(vector[3], 6.0))),
        )


def _polar(sine: float, cosine: float) -> tuple[float, float]:
    """Return amplitude and lag in turns of a sum of a sine and a cosine."""
    return rounded(math.hypot(sine, cosine)), rounded(math.atan2(cosine, sine) / math.tau % 1.0)


@dataclass(slots=True)
class Statistics:
    """Running means and squares of the numbers seen, as in version V2."""

    indices: tuple[int, ...]
    weight: float
    sums: Array
    squares: Array

    @classmethod
    def of(cls, body: Morphology) -> Statistics:
        """Return what the probes have shown, which later episodes outweigh."""
        indices = tuple(body.spreads)
        means = np.array([body.means[i] for i in indices])
        spreads = np.array([body.spreads[i] for i in indices])
        return cls(indices, RUNNING, RUNNING * means, RUNNING * (spreads**2 + means**2))

    def add(self, notes: Mapping[str, float], weight: float) -> None:
        """Take an episode in.

        Args:
            notes: mean_I and size_I of each number.
            weight: of it, such as its length.
        """
        if f"mean_{self.indices[0]}" not in notes or not weight > 0.0:
            return
        means = np.array([notes[f"mean_{i}"] for i in self.indices])
        sizes = np.array([notes[f"size_{i}"] for i in self.indices])
        if np.isfinite(means).all() and np.isfinite(sizes).all():
            self.weight += weight
            self.sums += weight * means
            self.squares += weight * sizes**2

    def restore(self, balance: Balance) -> None:
        """Take the means and spreads of a gait, at the weight that was seen."""
        means, spreads = np.array(balance.means), np.array(balance.spreads)
        self.sums, self.squares = self.weight * means, self.weight * (spreads**2 + means**2)

    @property
    def means(self) -> tuple[float, ...]:
        """Mean of each number."""
        return tuple(map(rounded, (self.sums / self.weight).tolist()))

    @property
    def spreads(self) -> tuple[float, ...]:
        """Standard deviation of each number, never 0."""
        variance = np.maximum(self.squares / self.weight - (self.sums / self.weight) ** 2, 0.0)
        return tuple(rounded(max(spread, 1e-4)) for spread in np.sqrt(variance).tolist())


@dataclass(slots=True)
class LinearFeedback:
    """Linear feedback without its gains, on top of a rhythm or of none.

    The matrix has a row for each control, with its gains.

    base: the gait that is balanced.
    """

    name: str
    base: Gait
    statistics: Statistics

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return len(self.base.joints), len(self.statistics.indices)

    def build(self, matrix: Array) -> Gait:
        """Return the gait of a matrix."""
        gains = tuple(tuple(map(rounded, row)) for row in matrix.tolist())
        statistics = self.statistics
        return replace(
            self.base, balance=Balance(statistics.indices, statistics.means, statistics.spreads, gains)
        )


Value = float
Trials = Sequence[tuple[Gait, int]]  # gaits, each with a number: those of one number share a condition


@dataclass(slots=True, eq=False)
class RhythmRestart:
    """Ask and tell of CMA-ES on the numbers of a rhythm.

    All gaits of a generation share a condition: ranks are of gaits, not of conditions.
    """

    structure: Rhythm
    seed: int
    step: float  # first step size
    length: float  # decisions of an episode
    value: Value = -math.inf
    steps: int = 0
    generations: int = 0
    strategy: Any = field(init=False)
    growth: ClassVar[float] = 1.01  # a few strides show what a rhythm is worth
    _vectors: list[Array] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        options = {
            "seed": float("nan"),  # with randn: all numbers come from this generator, none from numpy's
            "randn": lambda *shape: random.standard_normal(shape),
            "verbose": -9,
            "tolfun": 0,
            "tolfunhist": 0,
            "tolstagnation": float("inf"),
        }
        self.strategy = load_cma().CMAEvolutionStrategy(np.zeros(self.structure.count), self.step, options)

    @property
    def name(self) -> str:
        """Of the kind of gait."""
        return self.structure.name

    @property
    def mean(self) -> Gait:
        """The gait at the mean of the distribution."""
        return self.structure.build(self.strategy.mean)

    @property
    def over(self) -> bool:
        """Whether CMA-ES has converged."""
        return bool(self.strategy.stop())

    def ask(self) -> Trials:
        """Return the gaits of the next generation, all on one condition."""
        self._vectors = list(self.strategy.ask())
        return [(self.structure.build(vector), 0) for vector in self._vectors]

    def tell(self, values: Sequence[Value]) -> None:
        """Take the values of the last ``ask``, larger is better."""
        self.generations += 1
        ordered = sorted(set(values), reverse=True)
        self.strategy.tell(self._vectors, [float(ordered.index(value)) for value in values])


@dataclass(slots=True, eq=False)
class FeedbackRestart:
    """Ask and tell of augmented random search on a matrix of gains.

    Each direction is tried both ways on a condition for itself. The half of the highest returns moves the matrix, in
    units of the standard deviation of their returns.

    move, noise: lengths of a step and of a direction. least: directions of a generation, at least. length: decisions of
    an episode.
    """

    structure: LinearFeedback
    seed: int
    move: float
    noise: float
    least: int
    length: float
    value: Value = -math.inf
    steps: int = 0
    generations: int = 0
    best: Gait | None = None
    directions: int = field(init=False)
    matrix: Array = field(init=False)
    random: np.random.Generator = field(init=False)
    _tried: Array = field(init=False)
    over: ClassVar[bool] = False
    growth: ClassVar[float] = 1.03  # of the decisions of an episode, from one generation to the next

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.matrix = np.zeros(self.structure.shape)
        self.directions = max(self.least, round(math.sqrt(self.matrix.size)))
        self._tried = np.zeros((0, *self.structure.shape))

    @property
    def name(self) -> str:
        """Of the kind of gait."""
        return self.structure.name

    @property
    def mean(self) -> Gait:
        """The gait of the matrix itself."""
        return self.structure.build(self.matrix)

    def ask(self) -> Trials:
        """Return the gaits of both ways of each direction, a condition for each direction."""
        self._tried = self.random.standard_normal((self.directions, *self.structure.shape))
        return [
            (self.structure.build(self.matrix + sign * self.noise * tried), k)
            for k, tried in enumerate(self._tried)
            for sign in (1.0, -1.0)
        ]

    def tell(self, values: Sequence[Value]) -> None:
        """Take the values of the last ``ask``, larger is better."""
        self.generations += 1
        pairs = np.maximum(np.asarray(values, float).reshape(-1, 2), -1e6)
        best = np.argsort(-pairs.max(axis=1), kind="stable")[: len(pairs) // 2]
        spread = float(pairs[best].std())
        if spread > 0.0:
            ways = (pairs[best, 0] - pairs[best, 1])[:, None, None] * self._tried[best]
            self.matrix = self.matrix + self.move / (len(best) * spread) * ways.sum(axis=0)

    def refine(self, gait: Gait) -> None:
        """Go on from the best gait so far, with finer steps.

        The returns of a robot that may fall over drop within a few generations (measured: from 3,500 to
        2,300), and a random search does not come back by itself.
        """
        if gait.balance is not None:
            self.matrix = np.array(gait.balance.gains)
            self.structure.statistics.restore(gait.balance)
            self.move *= FINER


AnyRestart = RhythmRestart | FeedbackRestart
