"""Numerical optimization: find the input of a random chain of operators.

After arXiv:2406.16218, section 5.1. Each instance is a chain of operators on one number; the output it should have is
known, the input that gives it is not. The optimizer sees the chain as a graph, and the wanted output in the feedback.
Printed is the mean distance of the best output from the wanted one, over all instances, after each proposal. On other
chains the paper reports about 0.7 after 10 proposals for Trace and 0.4 for Adam.

    python rollouts/chains.py --replay rollouts/recordings/chains.jsonl --instances 5
    python rollouts/chains.py --optimizer cma
    python rollouts/chains.py --optimizer adam
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from _options import connection, create, options

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
    """A random chain of LENGTH operators, and an output that some input gives."""

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
        feedback = f"The last output is {output.data:.4g}; it should be {self.wanted:g}."
        subgraph = backward(output, feedback)
        return Outcome(candidate.id, -abs(output.data - self.wanted), feedback, subgraph=subgraph)


def proposed(instance: Instance, iterations: int, make: Callable[[Problem], Any]) -> list[float]:
    """Return the smallest error so far, after the start and after each proposal.

    An error below 0.001 ends it: the input is found.
    """
    spec = ParameterSpec("x", "number", instance.start, "the input of the chain", (-5, 5))
    optimizer = make(Problem((spec,), objective="minus the distance of the last output from the wanted one"))
    errors: list[float] = []
    while len(errors) <= iterations and (candidates := optimizer.ask()):
        outcomes = [instance.evaluate(candidate) for candidate in candidates]
        optimizer.tell(outcomes)
        for outcome in outcomes:
            errors.append(min([-outcome.score, *errors[-1:]]))
        if errors[-1] < 1e-3:
            break
    return (errors + errors[-1:] * (iterations + 1))[: iterations + 1]


def adam(instance: Instance, iterations: int, rate: float = 1.0) -> list[float]:
    """Return the same errors for Adam on a numerical gradient.

    The rate is the one of 0.02, 0.05, ... 2 that ends lowest.
    """
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
    arguments = parser.parse_args()
    instances = [Instance(arguments.seed + number) for number in range(arguments.instances)]
    if arguments.optimizer == "adam":
        courses = [adam(instance, arguments.iterations) for instance in instances]
    else:
        make = partial(create, arguments, model=connection(arguments))
        courses = [proposed(instance, arguments.iterations, make) for instance in instances]
    for step in range(arguments.iterations + 1):
        print(f"proposal {step:2d}  mean error {sum(course[step] for course in courses) / len(courses):.4f}")


if __name__ == "__main__":
    main()
