"""Runs made up for tests: every table of the store filled as the loop fills it, without a rollout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trace_robot.fault import Fault
from trace_robot.llm.model import Reply
from trace_robot.optimizers.problem import Attempt, Candidate
from trace_robot.rollout.episode import Episode
from trace_robot.rollout.evaluation import Evaluation, outcome_of
from trace_robot.settings import Result, Settings
from trace_robot.spec import Field, TaskSpec
from trace_robot.store.folder import RunFolder
from trace_robot.store.history import History, RunInfo
from trace_robot.store.writer import Cost, RunHeader, Store

SPEC = TaskSpec(
    name="point-mass",
    instruction="Bring the point to the goal.",
    observation=(
        Field("hand_position", 0, 3, "metres", "where the point is"),
        Field("goal_position", 3, 6, "metres", "where it must go"),
    ),
    action=(Field("motion", 0, 3, "a tenth of a metre"), Field("gripper", 3, 4)),
    observation_size=6,
    low=(-1.0,) * 4,
    high=(1.0,) * 4,
    horizon=40,
    success="the point is within 5 cm of the goal",
    positions=("hand_position", "goal_position"),
)
START = """from trace_robot import bundle


@bundle(trainable=True)
def act(observation):
    return [0.0, 0.0, 0.0, 0.0]
"""


def make_run(
    folder: Path,
    name: str = "run",
    *,
    iterations: int = 4,
    candidates: int = 1,
    episodes: int = 5,
    optimizer: str = "optoprime",
    task: str = "point-mass",
    prices: bool = True,
    text: str = "",
    status: str = "finished",
    spec: TaskSpec = SPEC,
    given: Mapping[str, Any] | None = None,
) -> RunInfo:
    """Make a run in ``folder`` and return it; ``text`` gets into everything that a stranger could have written.

    iterations: after the start; candidates: of each. status: "finished", "failed", or "stopped" as by kill -9.
    given: further settings.
    """
    run = RunFolder.create(folder / name)
    settings = Settings(
        task, optimizer=optimizer, episodes=episodes, iterations=iterations, held_out=10, **(given or {})
    )
    store = Store(folder)
    ledger = store.begin(name, RunHeader(settings, spec, START, f"as asked {text}".strip()))
    run.write_json("settings.json", {"task": task})
    spent = Cost(money=0.0 if prices else None)
    best: Evaluation | None = None
    for number in range(iterations + 1):
        trials = [
            _trial(number, number * candidates + each, iterations, episodes, text)
            for each in range(candidates)
        ]
        attempts = _attempts(trials[0], text) if number and optimizer == "optoprime" else []
        spent = Cost(
            seconds=10.0 * number,
            candidates=spent.candidates + candidates,
            environment_steps=spent.environment_steps + 40 * episodes * candidates,
            model_calls=spent.model_calls + len(attempts),
            prompt_tokens=spent.prompt_tokens + 1000 * len(attempts),
            completion_tokens=spent.completion_tokens + 100 * len(attempts),
            money=None if spent.money is None else spent.money + 0.003 * len(attempts),
        )
        ledger.log(trials, spent)
        trial = max(trials, key=lambda each: each.outcome.score)
        better = best is None or trial.outcome.score > best.outcome.score
        ledger.iteration(number, trial, attempts, spent, better=better)
        best = trial if better else best
    assert best is not None
    if status == "finished":
        run.write("best.py", best.text)
        held_out = [_episode(seed, reached=seed % 10 < 8) for seed in range(50_000, 50_010)]
        ledger.finish(_result(settings, spent, best, iterations), held_out, [], spent)
    elif status == "failed":
        ledger.enter("failed", f"the model is not there {text}".strip())
    store.close()
    with History(folder) as history:
        return history.run(name)


def _trial(number: int, id_: int, last: int, episodes: int, text: str) -> Evaluation:
    """The later the iteration, the more episodes reach the goal; iteration 2 has an error and is worse again."""
    reaching = 0 if number == 2 else round(episodes * number / max(1, last))
    made = [
        _episode(seed, reached=seed < reaching, fault=number == 2 and seed == 0) for seed in range(episodes)
    ]
    body = START if not number else START.replace("[0.0, 0.0", f"[{number / 10}, {id_ / 10}")
    code = f"{body}# {text}\n" if text else body
    note = f"push {number / 10} forward {text}".strip() if number else "the starting values"
    candidate = Candidate(
        id_, max(0, id_ - 1) if id_ else None, {"act": code}, note, "model" if number else "start"
    )
    graph = tuple(_graph(number, text)) if number != 2 else ()
    outcome = outcome_of(candidate, made, code, graph)
    return Evaluation(candidate, code, tuple(made), outcome)


def _episode(seed: int, *, reached: bool, fault: bool = False) -> Episode:
    decisions = 0 if fault else 10 if reached else 40
    goal = np.array([0.4, 0.3, 0.2]) + 0.01 * (seed % 10)
    share = np.linspace(0.0, 1.0 if reached else 0.5, decisions + 1)[:, None]
    hand = goal * share + 0.05 * np.sin(4 * share) * np.array([1.0, -1.0, 1.0]) * (1 - share)
    observations = np.hstack([hand, np.tile(goal, (decisions + 1, 1))])
    return Episode(
        seed=seed,
        ended="error" if fault else "success" if reached else "time",
        steps=decisions,
        rewards=-np.linalg.norm(hand - goal, axis=1)[1:],
        actions=np.zeros((decisions, 4), np.float32),
        observations=observations,
        fault=Fault("exception", "ZeroDivisionError: division by zero", 6) if fault else None,
    )


def _graph(number: int, text: str) -> list[dict[str, object]]:
    """A reset, a controller's call and a step, as the rollout's records have them."""
    seen = "{hand_position: [0, 0, 0], goal_position: [0.4, 0.3, 0.2]}"
    rows = [
        ("act", "constant", "", "the controller", {}, START, None),
        ("observation0", "operation", "reset", "[reset] the first observation.", {}, seen, 0),
        ("act0", "operation", "act", f"[act] {text}", {"act": 0, "observation": 1}, f"[{number / 10}, 0, 0, 0]", 0),
        ("observation1", "operation", "step", "[step] the next.", {"observation": 1, "action": 2}, seen, 1),
        ("outcome", "operation", "outcome", "[outcome] the end.", {"observation": 3}, "time", None),
    ]  # fmt: skip
    names = ("name", "kind", "op", "doc", "inputs", "value", "step")
    return [{"id": id_, **dict(zip(names, row, strict=True))} for id_, row in enumerate(rows)]


def _attempts(trial: Evaluation, text: str) -> list[Attempt]:
    messages = (
        {"role": "system", "content": f"You improve controllers. {text}"},
        {"role": "user", "content": f"#Variables\n{START}\n#Feedback\nSuccess in 0 of 5 episodes. {text}"},
    )
    refused = Attempt(
        "proposal", messages, Reply(f"I would rather not. {text}", "stop", 1000, 100), ("no JSON",)
    )
    answer = f'{{"reasoning": "push harder", "values": {{}}}} {text}'
    taken = Attempt(
        "repair",
        messages,
        Reply(answer, "stop", 1000, 100),
        (),
        trial.candidate.id,
        f"It stood still. {text}".strip(),
    )
    return [refused, taken] if trial.candidate.id == 1 else [taken]


def _result(settings: Settings, spent: Cost, best: Evaluation, iterations: int) -> Result:
    return Result(
        task=settings.task, optimizer=settings.optimizer, feedback_level="outcome", control="raw", seed=0,
        policy="do_nothing", start_success=0.0, training_success=best.outcome.success,
        training_episodes=len(best.episodes), held_out_success=0.8, held_out_episodes=10,
        held_out_interval=(0.49, 0.94), held_out_return=12.5, iterations=iterations, best_iteration=iterations,
        candidates=spent.candidates, environment_steps=spent.environment_steps, model_calls=spent.model_calls,
        tokens=spent.prompt_tokens + spent.completion_tokens, seconds=spent.seconds,
        ended=f"{iterations} iterations done", versions={"trace-robot": "0.1.0"},
    )  # fmt: skip
