"""How large OptoPrime's prompt is for episodes of 10 to 500 steps: ``python benchmarks/prompt_tokens.py``.

The controller is policies/pick_place.py under raw control on pick-place-v3, with three other trials in the prompt's
memory. "bound" is the upper bound that the optimizer keeps to its budget, "characters" the prompt's length.
"""

from __future__ import annotations

from trace_robot.llm import message_tokens
from trace_robot.optimizers import OptoPrime
from trace_robot.optimizers.problem import Candidate
from trace_robot.policy import load_policy
from trace_robot.rollout import RolloutEngine, training_seeds
from trace_robot.rollout.evaluation import Evaluator
from trace_robot.rollout.task import Task

TASK = "pick-place-v3"
CHANGES = ({"grasp_height": 0.07}, {"close_enough": 0.02}, {"hover_height": 0.1})


def main() -> None:
    print("| steps | bound | characters | budget |\n|---|---|---|---|")
    with RolloutEngine() as engine:
        for steps in (10, 50, 150, 500):
            task = Task.load(TASK, load_policy("pick_place"), control="raw", options={"horizon": steps})
            evaluator = Evaluator(engine, task, training_seeds(0, 5))
            optimizer = OptoPrime(task.problem)
            optimizer.tell([trial.outcome for trial in evaluator.evaluate(optimizer.ask(), graph=True)])
            for change in CHANGES:
                candidate = Candidate(
                    optimizer.new_id(), 0, {**task.policy.values, **change}, "one constant changed", "model"
                )
                (trial,) = evaluator.evaluate([candidate], graph=True)
                optimizer.learn(candidate, trial.outcome)
            bound, characters = message_tokens(optimizer.messages()), len(optimizer.prompt())
            print(f"| {steps} | {bound:,} | {characters:,} | {optimizer.token_budget:,} |")


if __name__ == "__main__":
    main()
