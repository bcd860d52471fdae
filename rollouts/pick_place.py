"""From a controller that does nothing to one that picks and places, by the built-in search: the loop in the open.

Run it with ``python rollouts/pick_place.py [TASK]``. ``trace-robot optimize TASK`` is the same loop with a folder to
look at afterwards: videos, differences, scores.
"""

from __future__ import annotations

import sys

from trace_robot.policy import load_policy
from trace_robot.rollout import RolloutEngine, held_out_seeds, training_seeds
from trace_robot.rollout.evaluation import Evaluator, wilson
from trace_robot.rollout.task import resolve
from trace_robot.search import StagedSearch
from trace_robot.search.controller import write_out

MOST_STEPS = 2_000_000


def main(task: str = "pick-place-v3") -> None:
    policy, spec, options = resolve(task, load_policy("do_nothing"), control="raw")
    seeds = training_seeds(seed=0, episodes=5)
    search = StagedSearch(spec, seeds)
    with RolloutEngine() as engine:
        trials = Evaluator(engine, policy, task, options, seeds)
        while not search.done and trials.environment_steps < MOST_STEPS:
            candidates = search.ask()
            search.tell([trial.outcome for trial in trials.run(candidates)])
            print(f"{trials.candidates} controllers tried, {trials.environment_steps:,} simulator steps")
        if search.best is None:
            raise SystemExit("nothing was found")
        text = policy.render(write_out(search.best, spec).values)
        episodes = trials.score(text, held_out_seeds(seed=0, episodes=50))
    wins = sum(episode.success for episode in episodes)
    low, high = wilson(wins, len(episodes))
    print(text)
    print(f"held out: {wins} of {len(episodes)} (95 % interval {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main(*sys.argv[1:])
