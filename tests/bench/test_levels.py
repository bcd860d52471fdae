"""Feedback levels: what each says, and that experts reach one level only."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trace_robot
from trace_robot.bench import select
from trace_robot.env.registry import expert, make
from trace_robot.env.traced import load_env
from trace_robot.errors import TraceRobotError, UnknownNameError, ValueMismatchError
from trace_robot.rollout.engine import RolloutEngine
from trace_robot.rollout.episode import Episode, Job
from trace_robot.rollout.feedback import FeedbackRecorder, feedback, words
from trace_robot.run.optimize import optimize
from trace_robot.settings import LEVELS

ROOT = Path(trace_robot.__file__).parents[1]
TOWARDS = """
def act(observation):
    return [*(observation["puck_position"] - observation["hand_position"]), 0.0]
"""
STILL = "def act(observation):\n    return [0.0] * 4\n"


def test_each_level_begins_with_what_outcome_says_and_adds_its_own() -> None:
    texts = {}
    with RolloutEngine(0) as engine:
        for level in LEVELS:
            options = {"control": "pose", "decisions": 6}
            jobs = [Job("push-v3", seed, options, controller=TOWARDS, level=level) for seed in (0, 1)]
            texts[level] = feedback(engine.run(jobs), TOWARDS, level)
    outcome = texts["outcome"]
    assert all(text.startswith(outcome) for text in texts.values())
    assert len(set(texts.values())) == len(LEVELS)
    assert "- obj_to_target: " in texts["terms"]
    assert "unscaled_reward" not in texts["terms"]
    assert re.search(
        r"- hand to puck: 0\.\d+ m at the start, .* closer than at the start; closer in", texts["hindsight"]
    )
    assert "- decision 1: the action was [" in texts["expert"]
    for word in ("obj_to_target", "closer", "expert"):
        assert word not in outcome


@pytest.mark.parametrize("name", select(["mt50"]))
def test_every_level_has_something_to_say_of_every_task(name: str) -> None:
    env = make(name, control="raw")
    watches = {
        level: FeedbackRecorder(Job(name, 0, {"control": "raw"}, level=level), env.task_spec, expert)
        for level in LEVELS
    }
    observation, _ = env.reset(seed=0)
    for watch in watches.values():
        watch.observed(observation)
    actions = np.zeros((3, 4), np.float32)
    for action in actions:
        before = observation
        observation, _, _, _, info = env.step(action)
        for watch in watches.values():
            watch.acted(before, info)
            watch.observed(observation)
    env.close()
    lines = {level: words(level, _episode(watch.series(), actions)) for level, watch in watches.items()}
    assert lines["outcome"] == []
    assert len(lines["terms"]) >= 3
    assert any(line.startswith("- hand to ") for line in lines["hindsight"])
    assert lines["expert"][0].startswith("- decision 1: the action was [0, 0, 0, 0], the expert's would be [")


def test_hindsight_tells_when_a_distance_shrank_and_grew() -> None:
    values = np.array([0.3, 0.2, 0.1, 0.1, 0.1, 0.25])
    (line,) = words("hindsight", _episode({"hand to puck": values}))
    assert line == (
        "- hand to puck: 0.300 m at the start, 0.100 m at the closest (after decision 2), 0.250 m at the end, closer"
        " than at the start; closer in decisions 1-2, farther in decision 5"
    )


def test_terms_tell_first_lowest_highest_and_last() -> None:
    lines = words("terms", _episode({"grasp": np.array([0.0, 1.0, 0.5]), "near": np.array([1.0, 1.0, 1.0])}))
    assert lines == [
        "- grasp: 0 at first, lowest 0 (decision 1), highest 1 (decision 2), 0.5 at the end",
        "- near: 1 all the time",
    ]


def test_the_feedback_of_a_long_episode_is_short() -> None:
    with RolloutEngine(0) as engine:
        jobs = [Job("push-v3", 0, {"control": "raw"}, controller=TOWARDS, level=level) for level in LEVELS]
        episodes = engine.run(jobs)
    for level, episode in zip(LEVELS, episodes, strict=True):
        assert len("\n".join(words(level, episode))) < 2000


@pytest.mark.parametrize("control", ["raw", "pose"])
def test_the_expert_succeeds_in_the_control_mode_that_it_speaks(control: str) -> None:
    env, act = make("door-open-v3", control=control), expert("door-open-v3", control=control)
    observation, _ = env.reset(seed=0)
    over = success = False
    while not over:
        observation, _, success, truncated, _ = env.step(act(observation))
        over = success or truncated
    env.close()
    assert success


def never(*_: Any, **__: Any) -> Any:
    pytest.fail("no optimizer is to be made")


def test_an_environment_without_an_expert_is_refused_before_anything_runs(
    point_mass: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnknownNameError, match="point-mass has no scripted expert"):
        optimize("point-mass", optimizer=never, feedback="expert", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_optimizer_that_reads_no_words_takes_no_level_but_outcome(tmp_path: Path) -> None:
    with pytest.raises(ValueMismatchError, match="the optimizer search reads none; leave --feedback out"):
        optimize("reach-v3", optimizer="search", feedback="terms", out=tmp_path / "run")


def test_a_misspelt_level_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no feedback level 'term'; known: outcome, terms"):
        optimize("reach-v3", optimizer=never, feedback="term", out=tmp_path / "run")


class Poison:
    """Stands in for the scripted experts: any use is noted and fails."""

    def __init__(self) -> None:
        self.uses = 0

    def __call__(self, name: str, /, **_: Any) -> Callable[[Any], Any]:
        self.uses += 1
        raise TraceRobotError("the expert was asked")


def run_of(level: str, endpoint: Any, out: Path) -> dict[str, Any]:
    """Do a small run with a model, rollouts in this process, and return all that came of it."""
    endpoint.prompts.clear()
    result = optimize(
        "reach-v3", optimizer="optoprime", iterations=1, episodes=2, held_out=3, workers=0, control="pose",
        options={"decisions": 4}, feedback=level, tune=False, video=False, out=out,
    )  # fmt: skip
    return {
        "prompts": list(endpoint.prompts),
        "controller": (out / "best.py").read_text(),
        "log": [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()],
        "success": (result.training_success, result.held_out_success, result.environment_steps),
        "level": result.feedback_level,
    }


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Poison]:
    def pour() -> Poison:
        poison = Poison()
        monkeypatch.setattr("trace_robot.env.registry.expert", poison)
        for name in [name for name in sys.modules if name.startswith("metaworld.policies")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "metaworld.policies", None)  # importing it now fails
        return poison

    return pour


@pytest.mark.parametrize("level", ["outcome", "terms", "hindsight"])
def test_poisoning_the_experts_changes_no_prompt_controller_or_result_of_a_level_below(
    level: str, endpoint: Any, poison: Callable[[], Poison], tmp_path: Path
) -> None:
    before = run_of(level, endpoint, tmp_path / "before")
    poisoned = poison()
    after = run_of(level, endpoint, tmp_path / "after")
    assert after == before
    assert before["level"] == level
    assert before["prompts"]
    assert poisoned.uses == 0


def test_poisoning_the_experts_is_felt_at_the_level_that_asks_them(
    endpoint: Any, poison: Callable[[], Poison], tmp_path: Path
) -> None:
    before = run_of("expert", endpoint, tmp_path / "before")
    assert "the expert's would be" in before["prompts"][0]
    poisoned = poison()
    with pytest.raises(TraceRobotError, match="the expert was asked"):
        run_of("expert", endpoint, tmp_path / "after")
    assert poisoned.uses


def test_poisoning_the_experts_changes_nothing_of_the_search(
    poison: Callable[[], Poison], tmp_path: Path
) -> None:
    def search(out: Path) -> tuple[str, str, float]:
        result = optimize(
            "reach-v3",
            optimizer="search",
            episodes=2,
            held_out=3,
            workers=0,
            steps=1000,
            video=False,
            options={"horizon": 20},
            out=out,
        )
        return (out / "best.py").read_text(), (out / "log.jsonl").read_text(), result.held_out_success

    before = search(tmp_path / "before")
    poisoned = poison()
    assert search(tmp_path / "after") == before
    assert poisoned.uses == 0


def test_a_controller_cannot_import_the_experts() -> None:
    text = "from metaworld.policies import ENV_POLICY_MAP\n" + STILL
    with RolloutEngine(0) as engine:
        (episode,) = engine.run([Job("reach-v3", 0, controller=text)])
    assert episode.ended == "error"
    assert episode.fault is not None
    assert "metaworld" in episode.fault.message


def test_only_one_file_imports_the_experts() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("trace_robot", "envs", "policies", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"(from|import) metaworld\S*policies|ENV_POLICY_MAP", path.read_text())
    }
    assert found <= {"envs/metaworld_parts/expert.py", "benchmarks/metaworld_speed.py"}
    assert "envs/metaworld_parts/expert.py" in found


def _episode(series: dict[str, Any], actions: Any = ()) -> Episode:
    nothing = np.zeros((0,))
    taken = np.array(actions, np.float32).reshape(-1, 4)
    return Episode(0, "time", 0, nothing, taken, np.zeros((0, 0)), series=series)


def test_terms_of_an_environment_whose_names_begin_like_ours_are_kept() -> None:
    spec = load_env("reach-v3").task_spec
    recorder = FeedbackRecorder(Job("reach-v3", 0, {}, level="terms"), spec)
    own = {"world_progress": 0.5, "quality_of_grasp": 0.25, "mass": 2.0}
    ours = {"world_mass": 1.5, "world_error_of_hand_position": 0.01, "quality_path_length": 0.3}
    recorder.acted(np.zeros(spec.observation_size), own | ours)
    assert sorted(recorder.series()) == ["mass", "quality_of_grasp", "world_progress"]
