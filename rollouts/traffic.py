"""Hyper-parameter tuning: the green times of a crossing's two directions.

After arXiv:2406.16218, section 5.2. Cars arrive at random on a main and a side road, wait at red, and leave one every
two seconds at green. The score is minus the mean waiting time, in seconds, over one hour. Compared with equal greens,
and with Webster's rule for fixed-time signals (Webster, 1958), which knows the arrival rates that the optimizers do
not.

    python rollouts/traffic.py --replay rollouts/recordings/traffic.jsonl
    python rollouts/traffic.py --optimizer cma --iterations 60
"""

from __future__ import annotations

import random
from typing import Any

from _options import connection, create, options

from trace_robot import backward, bundle, node
from trace_robot.optimizers import Candidate, Outcome, ParameterSpec, Problem

Arrivals = dict[str, list[int]]  # road -> the seconds at which cars come, ascending
HOUR = 3600
CHANGE = 4  # seconds of red for all at each change
RATES = {"main": 0.22, "side": 0.09}  # cars a second
SERVED = 0.5  # cars a second at green


def arrivals(seed: int) -> Arrivals:
    draw = random.Random(seed)
    return {road: [s for s in range(HOUR) if draw.random() < rate] for road, rate in RATES.items()}


@bundle()
def drive(main_green: float, side_green: float, cars: Arrivals) -> dict[str, Any]:
    """Simulate one hour of fixed-time signals: main green, all red, side green, all red, and so on.

    Return for each road the mean wait in seconds, the longest queue and the cars left at the end.
    """
    cycle = main_green + side_green + 2 * CHANGE
    greens = {"main": (0, main_green), "side": (main_green + CHANGE, main_green + CHANGE + side_green)}
    report = {}
    for road, times in cars.items():
        coming, queue, waits, longest, credit = list(reversed(times)), [], [], 0, 0.0
        for second in range(HOUR):
            while coming and coming[-1] <= second:
                queue.append(coming.pop())
            first, last = greens[road]
            credit = min(1.0, credit + SERVED) if first <= second % cycle < last else 0.0
            if queue and credit >= 1.0:
                waits.append(second - queue.pop(0))
                credit = 0.0
            longest = max(longest, len(queue))
        waits += [HOUR - since for since in queue]
        report[road] = {
            "wait": round(sum(waits) / len(waits), 2),
            "longest queue": longest,
            "left": len(queue),
        }
    return report


@bundle()
def mean_wait(report: dict[str, Any], cars: Arrivals) -> float:
    """Return the mean waiting time of all cars, in seconds."""
    total: float = sum(report[road]["wait"] * len(times) for road, times in cars.items())
    return round(total / sum(len(times) for times in cars.values()), 2)


def evaluate(candidate: Candidate, cars: Arrivals) -> Outcome:
    greens = [
        node(candidate.values[name], name=name, trainable=True) for name in ("main_green", "side_green")
    ]
    traffic = node(cars, name="cars")
    wait = mean_wait(drive(*greens, traffic), traffic)
    feedback = f"Cars waited {wait.data} seconds on average."
    return Outcome(candidate.id, -wait.data, feedback, subgraph=backward(wait, feedback))


def webster() -> tuple[int, int]:
    """Return the green times by Webster's rule (1958).

    The cycle is (1.5 L + 5) / (1 - Y) seconds, with the lost time L and the sum Y of the flow ratios, which share it.
    """
    ratios = {road: rate / SERVED for road, rate in RATES.items()}
    total = sum(ratios.values())
    cycle = (1.5 * 2 * CHANGE + 5) / (1 - total)
    green = cycle - 2 * CHANGE
    return round(green * ratios["main"] / total), round(green * ratios["side"] / total)


def main() -> None:
    arguments = options(__doc__, iterations=8).parse_args()
    cars = arrivals(arguments.seed)
    description = "Seconds of green for one road in every cycle of a crossing's signals."
    problem = Problem(
        tuple(
            ParameterSpec(name, "number", 30, description, (5, 90)) for name in ("main_green", "side_green")
        ),
        context="A crossing of a main and a side road with signals of fixed times.",
        objective="minus the mean waiting time in seconds",
    )
    optimizer = create(arguments, problem, connection(arguments))
    tried = 0
    while tried <= arguments.iterations and (candidates := optimizer.ask()):
        outcomes = [evaluate(candidate, cars) for candidate in candidates]
        optimizer.tell(outcomes)
        for candidate, outcome in zip(candidates, outcomes, strict=True):
            print(f"proposal {tried:2d}  greens {dict(candidate.values)}  mean wait {-outcome.score:.2f} s")
            tried += 1
    best = optimizer.best_trial
    print(f"best       greens {dict(best.candidate.values)}  mean wait {-best.outcome.score:.2f} s")
    main_green, side_green = webster()
    rule = evaluate(Candidate(-1, None, {"main_green": main_green, "side_green": side_green}), cars)
    print(f"Webster    greens {main_green}, {side_green}  mean wait {-rule.score:.2f} s")


if __name__ == "__main__":
    main()
