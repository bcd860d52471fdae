"""Numerical optimization (arXiv:2406.16218, section 5.1): find the input of a random chain of operators.

Each instance is a chain of operators on one number; the output it should have is known, the input that gives it
is not. The optimizer sees the chain as a graph and is told which output is wanted. Shown is the mean distance of
the best output from the wanted one, over all instances, after each proposal. On chains of its own the paper
reports about 0.7 after 10 proposals for Trace and 0.4 for Adam.

    python rollouts/chains.py --replay rollouts/recordings/chains.jsonl --instances 5
    python rollouts/chains.py --optimizer cma
    python rollouts/chains.py --optimizer adam
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from _options import connection, optimizer, options

from trace_robot import backward, node
from trace_robot.optimizers import Candidate, Outcome, ParameterSpec, Problem

LENGTH = 8
STEPS: list[Callable[[Any, Any], Any]] = [
    lambda x, c: x + c,
    lambda x, c: x * c,
    lambda x, c: c - x,
    lambda x, c: x / c,
    lambda x, c: x * x / 5.0 + c,
]


class Instance:
    """A chain of LENGTH operators, drawn by ``seed``, and the output it should have, which some input gives."""

    steps: Sequence[tuple[Callable[[Any, Any], Any], float]] = ()

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        self.start = self.wanted = 0.0
        while not 0.5 <= self.error(self.start) <= 20:
            self.steps = [
                (draw.choice(STEPS), draw.choice([-1, 1]) * draw.randint(5, 20) / 10) for _ in range(LENGTH)
            ]
            self.start, hidden = (round(draw.uniform(-5, 5), 1) for _ in range(2))
            self.wanted = round(self.output(hidden), 3)

    def output(self, x: Any) -> Any:
        for step, constant in self.steps:
            x = step(x, constant)
        return x

    def error(self, x: float) -> float:
        return abs(float(self.output(x)) - self.wanted)

    def evaluate(self, candidate: Candidate) -> Outcome:
        x = node(float(candidate.values["x"]), name="x", trainable=True)
        output = self.output(x)
        told = f"The last output is {output.data:.4g}; it should be {self.wanted:g}."
        return Outcome(candidate.id, -abs(output.data - self.wanted), told, subgraph=backward(output, told))


def proposed(instance: Instance, iterations: int, make: Callable[[Problem], Any]) -> list[float]:
    """Return the smallest error so far after the start and after each proposal; below 0.001 is right."""
    spec = ParameterSpec("x", "number", instance.start, "the input of the chain", (-5, 5))
    chosen = make(Problem((spec,), objective="minus the distance of the last output from the wanted one"))
    errors: list[float] = []
    while len(errors) <= iterations and (asked := chosen.ask()):
        outcomes = [instance.evaluate(candidate) for candidate in asked]
        chosen.tell(outcomes)
        for outcome in outcomes:
            errors.append(min([-outcome.score, *errors[-1:]]))
        if errors[-1] < 1e-3:
            break
    return (errors + errors[-1:] * (iterations + 1))[: iterations + 1]


def adam(instance: Instance, iterations: int, rate: float = 1.0) -> list[float]:
    """The same with Adam on a numerical gradient; of the rates 0.02, 0.05, ... 2 the one that ends lowest."""
    x, mean, square, errors = instance.start, 0.0, 0.0, [instance.error(instance.start)]
    for step in range(1, iterations + 1):
        slope = (instance.error(x + 1e-5) - instance.error(x - 1e-5)) / 2e-5
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope * slope
        x -= rate * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)) ** 0.5 + 1e-8)
        errors.append(min(errors[-1], instance.error(x)))
    return errors


def main() -> None:
    parser = options(__doc__, more=["adam"])
    parser.add_argument("--instances", type=int, default=30, help="chains")
    given = parser.parse_args()
    instances = [Instance(given.seed + number) for number in range(given.instances)]
    if given.optimizer == "adam":
        courses = [adam(instance, given.iterations) for instance in instances]
    else:
        make = partial(optimizer, given, model=connection(given))
        courses = [proposed(instance, given.iterations, make) for instance in instances]
    for step in range(given.iterations + 1):
        print(f"proposal {step:2d}  mean error {sum(course[step] for course in courses) / len(courses):.4f}")


if __name__ == "__main__":
    main()
