"""Optimize pick-and-place by the built-in search: the loop in the open.

Run it with ``python rollouts/pick_place.py [TASK]``. ``trace-robot optimize TASK`` is the same loop with a folder to
look at afterwards: videos, differences, scores.
"""

from __future__ import annotations

import sys

from trace_robot import RolloutEngine, load_policy
from trace_robot.rollout import Evaluator, Task, held_out_seeds, training_seeds
from trace_robot.search import StagedSearch
from trace_robot.search.controller import write_out
from trace_robot.stats import wilson

MOST_STEPS = 2_000_000


def main(env: str = "pick-place-v3") -> None:
    task = Task.load(env, load_policy("do_nothing"), control="raw")
    seeds = training_seeds(seed=0, episodes=5)
    search = StagedSearch(task.spec, seeds)
    with RolloutEngine() as engine:
        evaluator = Evaluator(engine, task, seeds)
        while not search.done and evaluator.environment_steps < MOST_STEPS:
            candidates = search.ask()
            search.tell([trial.outcome for trial in evaluator.evaluate(candidates)])
            print(
                f"{evaluator.candidates} controllers tried, {evaluator.environment_steps:,} simulator steps"
            )
        if search.best is None:
            raise SystemExit("the search found no controller")
        text = task.policy.render(write_out(search.best, task.spec).values)
        episodes = evaluator.score(text, held_out_seeds(seed=0, episodes=50))
    wins = sum(episode.success for episode in episodes)
    low, high = wilson(wins, len(episodes))
    print(text)
    print(f"held out: {wins} of {len(episodes)} (95 % interval {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main(*sys.argv[1:])
