"""Code debugging: rewrite buggy functions until their tests pass.

The optimizer sees which tests failed, and how. Suggested code runs in the sandbox, as a controller does. Printed is,
for each function, the fraction of its tests that pass before and after, and the number of proposals.

    python rollouts/debugging.py --replay rollouts/recordings/debugging.jsonl
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from _options import connection, create, options

from trace_robot.optimizers import Candidate, Outcome, ParameterSpec, Problem
from trace_robot.sandbox import Fault, Interface, Sandbox, check

ENTRY = "\n\ndef act(observation):\n    return [float(x) for x in {name}([float(x) for x in observation])]\n"


@dataclass(frozen=True)
class Task:
    """A buggy function and its tests, pairs of input and output.

    It takes ``size`` numbers and returns a list of numbers.
    """

    name: str
    code: str
    size: int
    tests: tuple[tuple[list[float], list[float]], ...]


TASKS = (
    Task(
        "running_maximum",
        'def running_maximum(values):\n    """Return for each place the largest value up to it."""\n'
        "    best, result = 0.0, []\n    for value in values:\n        best = max(best, value)\n"
        "        result.append(best)\n    return result\n",
        4,
        (([1, 3, 2, 4], [1, 3, 3, 4]), ([-3, -5, -1, -2], [-3, -3, -1, -1]), ([2, 2, 1, 0], [2, 2, 2, 2])),
    ),
    Task(
        "median",
        'def median(values):\n    """Return the median in a list of one number."""\n'
        "    values.sort\n    middle = len(values) // 2\n    return [values[middle]]\n",
        4,
        (([4, 1, 3, 2], [2.5]), ([1, 2, 3, 4], [2.5]), ([5, 5, 1, 1], [3]), ([0, 9, 0, 9], [4.5])),
    ),
    Task(
        "longest_rise",
        'def longest_rise(values):\n    """Return the length of the longest stretch of rising values, as [length]."""\n'
        "    longest = current = 0\n    for before, after in zip(values, values[1:]):\n"
        "        if after >= before:\n            current += 1\n            longest = max(longest, current)\n"
        "    return [longest]\n",
        6,
        (
            ([1, 2, 3, 1, 2, 0], [3]),
            ([3, 2, 1, 0, -1, -2], [1]),
            ([1, 1, 2, 3, 4, 0], [4]),
            ([1, 2, 0, 1, 2, 3], [4]),
        ),
    ),
    Task(
        "rotated",
        'def rotated(values):\n    """Turn the point x, y left by angle degrees: [x, y, angle] -> [x, y]."""\n'
        "    import math\n    x, y, angle = values\n    c, s = math.cos(angle), math.sin(angle)\n"
        "    return [c * x + s * y, c * y - s * x]\n",
        3,
        (
            ([1, 0, 90], [0, 1]),
            ([0, 1, 90], [-1, 0]),
            ([1, 1, 180], [-1, -1]),
            ([2, 0, 45], [2**0.5, 2**0.5]),
        ),
    ),
)


def evaluate(candidate: Candidate, task: Task, box: Sandbox) -> Outcome:
    code = str(candidate.values[task.name])
    fault = box.load(code + ENTRY.format(name=task.name)) or box.reset(len(task.tests))
    inputs = np.array([numbers for numbers, _ in task.tests], dtype=float)
    results = [fault] * len(task.tests) if fault else box.call(inputs)
    failures = [
        line for result, test in zip(results, task.tests, strict=True) if (line := failure(result, *test))
    ]
    passed = 1 - len(failures) / len(task.tests)
    count = f"{len(task.tests) - len(failures)} of {len(task.tests)} tests pass."
    return Outcome(candidate.id, passed, "\n".join([count, *dict.fromkeys(failures)]), passed)


def failure(result: object, numbers: list[float], wanted: list[float]) -> str:
    """Describe what is wrong with a result, "" if it is right.

    Args:
        result: a fault, or the numbers that came out.
        numbers: that were put in.
        wanted: the right output.
    """
    if isinstance(result, Fault):
        return f"for {numbers} it failed: {result.message}" + (
            f" (line {result.line})" if result.line else ""
        )
    got = np.round(np.asarray(result, dtype=float), 4).tolist()
    return (
        ""
        if np.allclose(got, wanted, atol=1e-3)
        else f"for {numbers} it returned {got}, wanted {np.round(wanted, 4).tolist()}"
    )


def refused(code: str) -> list[str]:
    return [fault.message for fault in check(code)]


def main() -> None:
    arguments = options(__doc__, iterations=4).parse_args()
    model = connection(arguments)
    for task in TASKS:
        problem = Problem(
            (ParameterSpec(task.name, "code", task.code),),
            context="A function has a bug, or several. It must do what its docstring says, not only pass these tests.",
            objective="the fraction of tests that pass",
        )
        optimizer = create(arguments, problem, model, check_code=refused)
        scores: list[float] = []
        with Sandbox(Interface(task.size, len(task.tests[0][1]))) as box:
            while len(scores) <= arguments.iterations and (candidates := optimizer.ask()):
                outcomes = [evaluate(candidate, task, box) for candidate in candidates]
                optimizer.tell(outcomes)
                scores += [outcome.score for outcome in outcomes]
        print(
            f"{task.name:16s} tests passed {scores[0]:.2f} -> {max(scores):.2f} in {len(scores) - 1} proposals"
        )


if __name__ == "__main__":
    main()
