"""The first episodes of a search: pushes all ways, to see what the observation is made of."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from trace_robot.law import Feedback, Law, Quantity, Sum
from trace_robot.optimize.laws.look import NOTES, Features
from trace_robot.optimize.laws.structures import rounded
from trace_robot.optimize.laws.trials import Trials
from trace_robot.optimize.problem import Candidate, Outcome
from trace_robot.spec import EnvSpec

CONSTANT = 6  # laws that push one way all the time
RANDOM = 18  # laws with numbers of all sizes


def explore(
    spec: EnvSpec, trials: Trials, conditions: Sequence[int], random: np.random.Generator
) -> Generator[list[Candidate], Sequence[Outcome], Features]:
    shown = [i for field in spec.observation for i in range(field.start, field.stop)]
    quantities = tuple(Quantity("number", i) for i in shown)
    products = tuple((k,) for k in range(len(shown)))
    signs = list(product((-1.0, 1.0), repeat=min(spec.action_size, 3)))[:CONSTANT]
    laws = [
        Law((), Feedback(tuple(Sum(((),), (row[j % len(row)],)) for j in range(spec.action_size))))
        for row in signs
    ]
    for _ in range(RANDOM):
        sizes = 10.0 ** random.uniform(-1, 1, len(shown))
        weights = random.standard_normal((spec.action_size, len(shown))) * sizes
        laws.append(
            Law(quantities, Feedback(tuple(Sum(products, tuple(map(rounded, row))) for row in weights)))
        )
    scores = yield from trials.run(laws, conditions, "to see what the observation is made of", look=True)
    return Features.of(spec, [notes for score in scores for notes in _notes(score.details)])


def measured(
    spec: EnvSpec, trials: Trials, conditions: Sequence[int], features: Features, laws: Sequence[Law]
) -> Generator[list[Candidate], Sequence[Outcome], Features]:
    """Return the features with the sizes that numbers have under ``laws``, which do better than pushes at random."""
    scores = yield from trials.run(laws, conditions, "to see how large the numbers are", look=True)
    notes = [notes for score in scores for notes in _notes(score.details)]
    return replace(features, sizes=Features.of(spec, notes).sizes)


def _notes(details: dict[str, list[float]]) -> list[dict[str, float]]:
    """Return what was noted in each episode; what an episode did not note is not a number in the list."""
    names = [name for name in details if name.startswith(NOTES)]
    episodes = len(details["reward"])
    return [{name: x for name in names if (x := details[name][k]) == x} for k in range(episodes)]
