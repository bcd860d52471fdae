"""Evidence of episodes: what a prompt says of each of them is what happened."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from trace_robot.env.registry import describe
from trace_robot.errors import UsageError
from trace_robot.fault import Fault
from trace_robot.llm.metering import message_tokens
from trace_robot.llm.model import ScriptedModel
from trace_robot.optimizers import Candidate, OptoPrime
from trace_robot.optimizers.problem import Outcome
from trace_robot.policy import Policy
from trace_robot.rollout import RolloutEngine, training_seeds
from trace_robot.rollout.episode import Episode, episode_line
from trace_robot.rollout.evaluation import Evaluator
from trace_robot.rollout.evidence import evidence_of
from trace_robot.rollout.task import Task
from trace_robot.run.optimize import optimize
from trace_robot.settings import Settings
from trace_robot.spec import Field, TaskSpec
from trace_robot.store.codec import decode_episodes, encode_episodes

SPEC = describe("push-v3", control="pose")
STAYS = """<reasoning>Keep still, with the fingers open.</reasoning>
<change>open the fingers</change>
<variable name="act">
```python
def act(observation, memory):
    return [0.0, 0.0, 0.0, -1.0]
```
</variable>
<stop>no</stop>"""


def episode(seed: int, *, moved: float = 0.1, ended: str = "time", steps: int = 5) -> Episode:
    """Return an episode of push-v3 whose hand comes 0.02 m near the puck at step 2, which then moves."""
    fields = {part.name: part for part in SPEC.observation}
    seen = np.zeros((steps + 1, SPEC.observation_size))
    puck = np.full(steps + 1, 0.65)
    puck[3:] += moved
    hand = np.array([0.5, 0.6, 0.63, 0.7, 0.7, 0.7])[: steps + 1]
    for name, column in (
        ("hand_position", hand),
        ("puck_position", puck),
        ("goal_position", np.full(steps + 1, 0.9)),
    ):
        seen[:, fields[name].start + 1] = column
    rewards = np.linspace(0.1, 0.2, steps)
    return Episode(seed, ended, 20 * steps, rewards, np.zeros((steps, 4), np.float32), seen)  # type: ignore[arg-type]


def test_an_episodes_line_has_start_end_and_the_closest_approach() -> None:
    line = episode_line(episode(3), SPEC)
    assert line.startswith(
        "failed, time ran out, 5 decisions, 100 simulator steps; hand 0 0.5 0 to 0 0.7 0; "
    )
    assert "puck 0 0.65 0 to 0 0.75 0" in line
    assert "goal stays at 0 0.9 0" in line
    assert "hand to puck 0.15, least 0.02 at 2, last 0.05" in line
    assert "puck to goal 0.25, least 0.15 at 3, last 0.15" in line
    assert "hand to goal" not in line
    assert "of a decision 0.1 first, 0.2 best at 4, 0.2 last" in line


def test_the_hand_is_compared_with_the_goal_where_nothing_else_moved() -> None:
    line = episode_line(episode(3, moved=0.0), SPEC)
    assert "hand to goal 0.4, least 0.2 at 3, last 0.2" in line


def test_half_a_millimeter_is_shown_where_two_points_are_close() -> None:
    close = episode(3)
    close.observations[2, :3] = close.observations[2, 4:7] + [0.0, 0.0005, 0.0]
    assert "least 0.0005 at 2" in episode_line(close, SPEC)


def test_episodes_have_the_number_of_their_condition_and_the_traced_one_is_named() -> None:
    episodes = [episode(70), episode(80, ended="success"), episode(90)]
    shown = evidence_of(episodes, SPEC, (90, 80, 70), Outcome(0, 0.5, graph=({},)))
    assert shown.conditions == (3, 2, 1)
    assert shown.successes == (False, True, False)
    assert shown.lines[0].startswith("Episode 3: failed")
    assert shown.traced in (0, 2)
    assert shown.why == "of the failed ones the middle one by reward"
    assert "puck_position 0 0.65 0" in shown.starts[0]
    fault = dataclasses.replace(episode(70, ended="error"), fault=Fault("exception", "KeyError: 'tip'", 2))
    broken = evidence_of([fault], SPEC, (70,), Outcome(0, 0.1), "a = 1\nb = tip\n")
    assert broken.traced == -1
    assert broken.why == "the first with an error"
    assert ">>>    2 | b = tip" in broken.faults[0]


def test_what_other_failed_episodes_printed_is_kept_once_and_not_that_of_successes() -> None:
    texts = ("far", "near", "won", "near", "far", "slid", "fell")
    episodes = [
        dataclasses.replace(episode(seed, ended="success" if text == "won" else "time"), printed=text)
        for seed, text in enumerate(texts)
    ]
    shown = evidence_of(episodes, SPEC, tuple(range(7)), Outcome(0, 0.5, graph=({},)))
    assert shown.printed == "near"
    assert shown.also_printed == ((1, "far"), (6, "slid"))


def test_a_hand_that_stayed_stood_still_and_errors_and_successes_do_not_count() -> None:
    def still(*episodes: Episode, spec: TaskSpec = SPEC) -> bool:
        return evidence_of(episodes, spec, range(9), Outcome(0, 0.5)).still

    parked = episode(1)
    parked.observations[:, SPEC.observation[0].start : SPEC.observation[0].stop] = 0.3
    assert SPEC.observation[0].name == "hand_position"
    assert still(parked, parked)
    assert not still(parked, episode(2))
    assert not still(dataclasses.replace(parked, ended="success"))
    assert not still(dataclasses.replace(parked, ended="error"))
    blind = dataclasses.replace(SPEC, positions=(), hands=())
    assert still(episode(1), spec=blind)  # its actions are all zero
    assert not still(dataclasses.replace(episode(1), actions=np.full((5, 4), 0.1, np.float32)), spec=blind)


def test_the_starts_of_all_training_episodes_have_also_the_ranges_of_long_parts() -> None:
    parts = (Field("angles", 0, 5), Field("tilt", 5, 6), Field("still", 6, 10), Field("ball", 10, 13))
    spec = dataclasses.replace(SPEC, observation=parts, positions=("ball",), hands=())
    starts = np.zeros((3, 13))
    starts[:, 1], starts[:, 5] = (0.5, 0.7, 0.6), (-0.1, 0.0, 0.3)
    starts[:, 10:13] = 0.25
    episodes = [
        dataclasses.replace(episode(k), observations=np.array([row, row])) for k, row in enumerate(starts)
    ]
    shown = evidence_of(episodes, spec, (0, 1, 2), Outcome(0, 0.5))
    assert shown.starts == (
        "At the start of its 3 episodes, as observed: angles 0 0.6 0 0 0, each within 0.1; tilt -0.1 to 0.3; ball"
        " 0.25 0.25 0.25.",
    )


LOGGING = '''import numpy as np
from trace_robot import bundle


@bundle(trainable=True)
def act(observation, memory):
    """Keep the pole upright and write about it."""
    log = memory.setdefault("log", [])
    log.append(f"call {len(log)}: the pole leans {observation['pole_angle']:.4f} rad")
    memory["notes"] = memory.get("notes", "") + f"note {len(log)} "
    if len(log) == 30:
        print("thirty calls")
    return [1.0 if observation["pole_angle"] + observation["pole_velocity"] > 0 else 0.0]
'''


@pytest.fixture(scope="module")
def written() -> OptoPrime:
    task = Task.load(
        "CartPole-v1", Policy.from_text(LOGGING), control="raw", options={"horizon": 60}
    ).with_facts()
    with RolloutEngine(0) as engine:
        evaluator = Evaluator(engine, task, training_seeds(0, 2), keep_observations=True)
        optimizer = OptoPrime(task.problem, by_worth=True)
        for number in (0, 1):
            values = {**task.policy.values}
            values["act"] = values["act"].replace("> 0", "> 0.1" if number else "> 0")
            candidate = Candidate(number, None if number == 0 else 0, values, "another threshold", "model")
            (trial,) = evaluator.evaluate([candidate], graph=True)
            optimizer.learn(candidate, trial.outcome)
    return optimizer


def test_the_last_lines_of_a_long_log_are_in_the_prompt_of_a_real_rollout(written: OptoPrime) -> None:
    prompt = written.messages()
    text = prompt[1]["content"]
    assert message_tokens(prompt) <= 6000
    assert "step 0: log: call 0: the pole leans" in text
    assert "step 58: log: call 58: the pole leans" in text
    assert "thirty calls" in text
    assert "step 57: notes: note 58 " in text or "notes: note 59" in text


def test_the_newest_of_real_rollouts_is_compared_with_the_one_it_came_from(written: OptoPrime) -> None:
    newest = written.messages()[1]["content"].split("\n#Newest\n")
    assert len(newest) == 2 or "Against trial 0 on the 2 conditions of both" in newest[0]


def test_runs_that_ask_a_model_have_the_new_prompts_and_others_are_written_as_ever() -> None:
    asking = Settings.resolve("push-v3", "optoprime")
    assert asking.to_data()["prompt"] == 2
    assert Settings.from_data(json.loads(json.dumps(asking.to_data()))).prompt == 2
    for optimizer in ("search", "cma"):
        assert "prompt" not in Settings.resolve("push-v3", optimizer).to_data()
    old = {name: value for name, value in asking.to_data().items() if name != "prompt"}
    assert Settings.from_data(old).prompt == 1
    assert "prompt" not in Settings.from_data(old).to_data()


def test_another_form_of_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="prompt must be 1 or 2, got 3; leave it out for 2"):
        optimize("CartPole-v1", prompt=3, optimizer="search", out=tmp_path / "run")


def test_each_episode_of_a_run_has_its_points_in_the_prompt_although_one_keeps_its_observations(
    tmp_path: Path,
) -> None:
    model = ScriptedModel([STAYS, "<stop>yes</stop>"])
    optimize(
        "push-v3",
        optimizer="optoprime",
        model=model,
        episodes=3,
        confirm=0,
        iterations=2,
        held_out=1,
        workers=0,
        video=False,
        tune=False,
        out=tmp_path / "run",
    )
    for messages in model.history[:2]:
        asked = messages[-1]["content"]
        for number in (1, 2, 3):
            (line,) = re.findall(rf"^Episode {number}: failed.*$", asked.split("#Newest")[0], re.M)
            assert re.search(r"hand .*; puck stays at .*; goal stays at ", line), line
        assert re.search(r"At the start of its 3 episodes, as observed: .*puck_position .* to ", asked)


def test_what_rejected_candidates_printed_before_they_failed_reaches_the_next_prompts(tmp_path: Path) -> None:
    def answer(lines: str) -> str:
        code = f"def act(observation, memory):\n{lines}\n    return [0.0]"
        return f'<change>look</change><variable name="act">\n```python\n{code}\n```\n</variable>'

    print_first = "    print('leans', round(float(observation['pole_angle']), 1), 'in my test')"
    model = ScriptedModel(
        [answer(print_first), answer("    print('before the fall')\n    1 / 0"), "<stop>yes</stop>"]
    )
    optimize(
        "CartPole-v1",
        policy="do_nothing",
        control="raw",
        optimizer="optoprime",
        model=model,
        episodes=2,
        confirm=0,
        iterations=3,
        held_out=1,
        workers=0,
        video=False,
        tune=False,
        out=tmp_path / "run",
    )
    first, second = (messages[-1]["content"] for messages in model.history[1:3])
    assert "in my test" in first.split("#Newest")[1]
    newest, history = second.split("#Newest")[1].split("#History")
    assert "before the fall" in newest
    assert "Error (exception): ZeroDivisionError" in newest
    assert "in my test" in history


PUSHES = '''from trace_robot import bundle


@bundle(trainable=True)
def act(observation, memory):
    """Go down to the puck, then shove it."""
    step = memory["step"] = memory.get("step", -1) + 1
    away = observation["puck_position"] - observation["hand_position"]
    if step < 2:
        away = away + [0.0, -0.08, 0.0]
    return [away[0], away[1] + (0.2 if step > 2 else 0.0), away[2], 1.0]
'''


def test_what_touched_inside_a_decision_is_in_the_prompt_and_stays_in_the_store() -> None:
    policy = Policy.from_text(PUSHES)
    task = Task.load("push-v3", policy, control="pose", options={"horizon": 200}).with_facts()
    with RolloutEngine(0) as engine:
        evaluator = Evaluator(engine, task, training_seeds(0, 1), keep_observations=True)
        optimizer = OptoPrime(task.problem, by_worth=True)
        (trial,) = evaluator.evaluate([optimizer.problem.start()], graph=True)
        job = dataclasses.replace(evaluator.job(trial.text, evaluator.seeds[0]), trace=True)
        (traced,) = engine.run([job])
    assert trial.outcome.evidence is not None
    touches = trial.outcome.evidence.contacts
    assert touches
    assert traced.contacts == touches
    assert any(
        re.search(r"decision \d.*simulator step \d+.*(pad|claw)", line) and "obj" in line for line in touches
    )
    optimizer.learn(Candidate(0, None, policy.values), trial.outcome)
    prompt = optimizer.prompt()
    assert (
        f"What touched, by decision, with places at the first and the last moment, m:\n{touches[0]}" in prompt
    )
    (again,) = decode_episodes(encode_episodes([traced]))
    assert again.contacts == touches
    (without,) = decode_episodes(encode_episodes([dataclasses.replace(traced, contacts=())]))
    assert without.contacts == ()
