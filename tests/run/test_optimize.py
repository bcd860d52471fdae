"""One call for a run: settings, refusals, folders and the rule of acceptance."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import trace_robot
from trace_robot.errors import PolicyError, RunError, TraceRobotError, UnknownNameError, ValueMismatchError
from trace_robot.llm import Budget, ModelConfig, Prices, ScriptedModel
from trace_robot.optimizers import Candidate, Outcome
from trace_robot.policy import Policy, load_policy
from trace_robot.rollout import Rollouts, Task
from trace_robot.rollout.evaluation import Evaluation
from trace_robot.run.acceptance import is_better, is_new
from trace_robot.run.loop import Ended, Event, Iterated, Progressed, Started
from trace_robot.run.optimize import first_prompt, new_folder, optimize
from trace_robot.run.optimizers import OptimizerConfig, create_optimizer
from trace_robot.settings import SeedSplit, Settings

pytestmark = pytest.mark.usefixtures("point_mass")
NUMBERS = """from trace_robot import node

gain = node(1.0, trainable=True)


def act(observation):
    return [gain.data] * 4
"""
FIXED = "def act(observation):\n    return [1.0] * 4\n"
SILENT = ScriptedModel([])
LITTLE: dict[str, Any] = {"steps": 300, "episodes": 2, "held_out": 2, "workers": 0, "video": False}


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("search", (10, None, 240.0, "raw")),
        ("cma", (5, None, 240.0, "pose")),
        ("optoprime", (5, 10, None, "pose")),
        ("opro", (5, 10, None, "pose")),
        ("HillClimbing", (5, None, None, "pose")),
    ],
)
def test_a_setting_that_is_left_out_is_the_optimizers_default(
    optimizer: str, expected: tuple[Any, ...]
) -> None:
    settings = Settings.resolve("reach-v3", optimizer, seconds=None, episodes=None)
    assert (settings.episodes, settings.iterations, settings.seconds, settings.usual_control) == expected


def test_a_setting_that_is_given_is_kept_and_steps_take_the_place_of_the_clock() -> None:
    settings = Settings.resolve("reach-v3", "search", episodes=3, steps=100, control="pose")
    assert (settings.episodes, settings.steps, settings.seconds, settings.control) == (3, 100, None, "pose")
    assert Settings.resolve("reach-v3", "search", steps=100, seconds=5.0).seconds == 5.0
    assert Settings.resolve("reach-v3", "search", tune=False, confirm=0).confirm == 0


def test_a_misspelt_setting_is_named_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no setting 'stepz'; did you mean 'steps'"):
        optimize("point-mass", optimizer="search", out=tmp_path / "run", stepz=300)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"optimizer": "serch"}, UnknownNameError, "did you mean 'search'"),
        ({"optimizer": "search", "policy": "missing.py"}, PolicyError, "cannot be read"),
        ({"optimizer": "cma"}, ValueMismatchError, "CMA-ES needs a number to change"),
        ({"optimizer": "cma", "policy": "fixed.py"}, ValueMismatchError, "CMA-ES needs a number to change"),
        (
            {"optimizer": "opro", "policy": "fixed.py", "model": SILENT},
            PolicyError,
            "has no trainable parameter",
        ),
        ({"optimizer": "search", "seed": -1}, TraceRobotError, "seed must be 0 or more"),
        ({"optimizer": "search", "held_out": 30_000}, TraceRobotError, "episodes must be from 1 to"),
        ({"optimizer": "search", "episodes": 0}, TraceRobotError, "episodes"),
    ],
)
def test_what_cannot_be_run_is_refused_before_a_folder_is_made(
    wrong: dict[str, Any],
    error: type[Exception],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "numbers.py").write_text(NUMBERS)
    (tmp_path / "fixed.py").write_text(FIXED)
    with pytest.raises(error, match=message):
        optimize("point-mass", out="run", **{**LITTLE, **wrong})
    assert {path.name for path in tmp_path.iterdir()} == {"fixed.py", "numbers.py"}


@pytest.mark.parametrize("optimizer", ["search", "auto"])
def test_a_search_begins_with_a_policy_that_has_nothing_trainable(optimizer: str, tmp_path: Path) -> None:
    fixed = Policy.from_text(FIXED, "fixed")
    result = optimize("point-mass", policy=fixed, optimizer=optimizer, out=tmp_path / "run", **LITTLE)
    assert (result.optimizer, result.candidates > 1) == ("search", True)
    found = (tmp_path / "run" / "iterations" / "001" / "controller.py").read_text()
    assert "Found by search" in found
    assert "return [1.0] * 4" not in found


def test_constants_of_a_fixed_act_are_tuned_where_no_optimizer_is_named(tmp_path: Path) -> None:
    tuned = Policy.from_text("GAIN = 0.5\n\n\ndef act(observation):\n    return [GAIN] * 4\n", "tuned")
    assert optimize("point-mass", policy=tuned, out=tmp_path / "run", **LITTLE).optimizer == "cma"


def test_a_run_of_which_only_the_environment_is_named_is_in_rollouts_and_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    events: list[Event] = []
    results = [trace_robot.optimize("point-mass", on_event=events.append, **LITTLE) for _ in range(2)]
    assert [type(result) for result in results] == [trace_robot.Result] * 2
    assert capfd.readouterr() == ("", "")
    folders = sorted((tmp_path / "rollouts" / "runs").glob("point-mass-*"))
    assert len(folders) == 2  # also within one second
    assert {type(event) for event in events} == {Started, Progressed, Iterated, Ended}
    started = next(event for event in events if isinstance(event, Started))
    assert started.why.startswith("no model is configured")
    assert started.settings.optimizer == "search"
    with trace_robot.History(tmp_path / "rollouts" / "runs") as history:
        assert {run.status for run in history.runs()} == {"finished"}


def test_a_name_that_is_no_folder_name_becomes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert new_folder("envs/my env.py").parent == Path("rollouts/runs")
    assert new_folder("envs/my env.py").name.startswith("envs_my_env.py-")


def test_a_policy_may_be_an_object_and_a_model_a_name_or_an_object(tmp_path: Path) -> None:
    policy = Policy.from_text(load_policy("do_nothing").text, "mine")
    result = optimize("point-mass", policy=policy, optimizer="search", out=tmp_path / "run", **LITTLE)
    assert result.policy == "mine"
    scripted = OptimizerConfig.select("auto", ScriptedModel(), policy)
    assert (scripted.name, scripted.stored) == ("optoprime", None)
    assert scripted.why == "a model is given; a ScriptedModel that a program made"
    named = OptimizerConfig.select(
        "opro", ModelConfig("small", "http://127.0.0.1:9/v1", budget=Budget(3)), policy
    )
    assert named.why == "as asked; small at http://127.0.0.1:9/v1"
    assert named.stored is not None
    restored = ModelConfig.from_data(named.stored)
    assert (restored.model, restored.base_url, restored.budget) == (
        "small",
        "http://127.0.0.1:9/v1",
        Budget(3),
    )


def test_money_counts_only_where_prices_are_known(tmp_path: Path) -> None:
    policy, model = load_policy("do_nothing"), ModelConfig("small", "http://127.0.0.1:9/v1")
    assert not OptimizerConfig.select("optoprime", model, policy).priced
    assert OptimizerConfig.select("optoprime", dataclasses.replace(model, prices=Prices(1, 2)), policy).priced


def test_a_stored_replay_needs_no_consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = {**dataclasses.asdict(ModelConfig("", "", replay="record.jsonl")), "budget": {}, "prices": None}
    assert ModelConfig.from_data(data).replay == "record.jsonl"


@pytest.mark.parametrize("name", ["search", "cma", "optoprime", "opro"])
def test_every_optimizer_of_the_registry_has_the_whole_protocol(name: str) -> None:
    policy = Policy.from_text(
        "from trace_robot import bundle, node\n\ngain = node(1.0, trainable=True)\n\n\n"
        "@bundle(trainable=True)\ndef act(observation):\n    return [gain.data] * 4\n"
    )
    settings = Settings.resolve("point-mass", name)
    task = Task.to_optimize(settings, policy)
    optimizer = create_optimizer(OptimizerConfig(name, ""), settings, task, None)
    assert (optimizer.best, optimizer.done, tuple(optimizer.log)) == (None, "", ())
    assert optimizer.uses_graph is (name == "optoprime")
    assert optimizer.ask()


def test_the_first_prompt_is_that_of_optoprime_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prompt = first_prompt("point-mass", episodes=2, workers=0, control="raw")
    assert "#Variables" in prompt
    assert "Trial 0: score" in prompt
    assert "success 0/2" in prompt
    old = first_prompt("point-mass", episodes=2, workers=0, control="raw", prompt=1)
    assert "Success in 0 of 2 episodes." in old
    assert not list(tmp_path.iterdir())


def test_a_level_that_needs_an_expert_is_refused_in_a_loop_of_ones_own_too() -> None:
    with pytest.raises(UnknownNameError, match="point-mass has no scripted expert"):
        Rollouts("point-mass", "do_nothing", feedback="expert")


def test_the_splits_of_a_run_are_disjoint_and_as_long_as_asked() -> None:
    split = SeedSplit.of(Settings("reach-v3", episodes=3, confirm=2, held_out=4))
    parts = (split.training, split.confirmation, split.held_out)
    assert [len(part) for part in parts] == [3, 2, 4]
    assert len({seed for part in parts for seed in part}) == 9


def scored(score: float, number: int = 1) -> Evaluation:
    return Evaluation(Candidate(number, None, {}), "", (), Outcome(number, score))


@pytest.mark.parametrize(
    ("score", "search_ranks", "compared", "better"),
    [
        (0.6, False, False, True),
        (0.5, False, False, False),
        (0.4, False, True, False),
        (0.5, True, False, True),
        (0.4, True, False, False),
        (0.4, True, True, True),
    ],
)
def test_a_higher_score_is_better_and_among_equals_the_search_decides(
    score: float, search_ranks: bool, compared: bool, better: bool
) -> None:
    assert is_better(scored(score), scored(0.5), search_ranks=search_ranks, compared=compared) is better
    assert is_better(scored(score), None, search_ranks=search_ranks, compared=compared)


def test_a_champion_is_new_unless_it_is_the_best_already() -> None:
    assert is_new(Candidate(2, None, {}), None)
    assert is_new(Candidate(2, None, {}), scored(0.5, 1))
    assert not is_new(Candidate(2, None, {}), scored(0.5, 2))


def test_a_run_may_not_take_the_place_of_another_unless_it_is_to(tmp_path: Path) -> None:
    optimize("point-mass", optimizer="search", out=tmp_path / "run", **LITTLE)
    with pytest.raises(RunError, match="exists and is not empty; give another --out, or --overwrite"):
        optimize("point-mass", optimizer="search", out=tmp_path / "run", **LITTLE)
    again = optimize("point-mass", optimizer="search", out=tmp_path / "run", overwrite=True, **LITTLE)
    assert again.ended
