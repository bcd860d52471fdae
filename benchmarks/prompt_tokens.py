"""What OptoPrime's prompts hold, their size and the time of making them: ``python benchmarks/prompt_tokens.py``.

The controller is policies/pick_place.py on pick-place-v3, with three other trials behind it. The first table has
episodes of 10 to 500 steps under raw control: "bound" is the upper bound that the optimizer keeps to its budget, "as
0.1" the same for prompts of that version, and the times are of the processor, the least of seven. The second table has
the lines that survive in budgets from 2,000 to 12,000 tokens, for an episode under pose control, by worth.
"""

from __future__ import annotations

import time
from collections import Counter

from trace_robot.llm import message_tokens
from trace_robot.optimizers import OptoPrime
from trace_robot.optimizers.problem import Candidate
from trace_robot.optimizers.prompt.worth import WORTH
from trace_robot.policy import load_policy
from trace_robot.rollout import RolloutEngine, training_seeds
from trace_robot.rollout.evaluation import Evaluator
from trace_robot.rollout.task import Task

TASK = "pick-place-v3"
CHANGES = ({"grasp_height": 0.07}, {"close_enough": 0.02}, {"hover_height": 0.1})
BUDGETS = (2000, 4000, 6000, 12000)


def main() -> None:
    with RolloutEngine() as engine:
        print("| steps | bound | characters | ms | bound as 0.1 | ms as 0.1 |\n|---|---|---|---|---|---|")
        for steps in (10, 50, 150, 500):
            new, old = tried(engine, "raw", steps)
            cells = []
            for optimizer in (new, old):
                bound, characters = message_tokens(optimizer.messages()), len(optimizer.prompt())
                cells.append((f"{bound:,}", f"{characters:,}", f"{1000 * least_time(optimizer):.0f}"))
            print(f"| {steps} | {' | '.join(cells[0])} | {cells[1][0]} | {cells[1][2]} |")
        new, _ = tried(engine, "pose", 500)
        print(f"\n| worth | lines | {' | '.join(f'{budget:,}' for budget in BUDGETS)} |")
        print("|---" * (2 + len(BUDGETS)) + "|")
        lines = [block for budget in BUDGETS for block in [survivors(new, budget)]]
        for worth in WORTH:
            if lines[0][1][worth]:
                kept = " | ".join(str(taken[worth]) for taken, _ in lines)
                print(f"| {worth} | {lines[0][1][worth]} | {kept} |")


def tried(engine: RolloutEngine, control: str, steps: int) -> tuple[OptoPrime, OptoPrime]:
    """Return an optimizer after four trials, and one that writes the prompts of 0.1 of the same."""
    plain = Task.load(TASK, load_policy("pick_place"), control=control, options={"horizon": steps})
    task = plain.with_facts()
    evaluator = Evaluator(engine, task, training_seeds(0, 5), keep_observations=True)
    new, old = OptoPrime(task.problem, by_worth=True), OptoPrime(plain.problem)
    candidates = [new.problem.start()]
    candidates += [
        Candidate(number, 0, {**task.policy.values, **change}, "one constant changed", "model")
        for number, change in enumerate(CHANGES, 1)
    ]
    for candidate in candidates:
        (trial,) = evaluator.evaluate([candidate], graph=True)
        new.learn(candidate, trial.outcome)
        old.learn(candidate, trial.outcome)
    return new, old


def least_time(optimizer: OptoPrime) -> float:
    """Return the least seconds, of seven, of the prompt after a new trial: its parent is known."""
    times = []
    for _ in range(7):
        if optimizer.traces is not None:
            optimizer.traces.pop(len(CHANGES), None)
        begun = time.process_time()
        optimizer.messages()
        times.append(time.process_time() - begun)
    return min(times)


def survivors(optimizer: OptoPrime, budget: int) -> tuple[Counter[str], Counter[str]]:
    """Return how many lines of each worth are in a prompt of a budget, and how many there are."""
    from trace_robot.optimizers.prompt.worth import prompt_lines

    shown = optimizer.messages(budget)[1]["content"].split("\n")
    left = Counter(shown)
    taken: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for block in prompt_lines(optimizer._instance()):
        lines = block.text.split("\n")
        every[block.worth] += len(lines)
        if all(left[line] > 0 for line in lines):
            left.subtract(lines)
            taken[block.worth] += len(lines)
    return taken, every


if __name__ == "__main__":
    main()
