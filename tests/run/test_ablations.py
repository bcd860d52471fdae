"""Prompts without memory or without the graph: asked for in a run or a benchmark, and kept with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trace_robot import optimize
from trace_robot.bench import Plan, ResultRow, Results
from trace_robot.bench.report import markdown
from trace_robot.cli import main
from trace_robot.errors import RunError, ValueMismatchError
from trace_robot.llm import ScriptedModel
from trace_robot.run.optimize import first_prompt, resume
from trace_robot.settings import Settings

pytestmark = pytest.mark.usefixtures("point_mass")
LITTLE: dict[str, Any] = {
    "episodes": 1, "held_out": 1, "confirm": 0, "grow": 0, "iterations": 2, "workers": 0, "video": False, "tune": False,
}  # fmt: skip
ANSWERS = [
    f'<variable name="act">\ndef act(observation, memory):\n    return [0.{k}, 0.0, 0.0, 0.0]\n</variable>'
    for k in (1, 2)
]


class Stopped(ScriptedModel):
    """A model whose process ends at the second prompt."""

    def chat(self, messages: Any, n: int = 1) -> Any:
        if len(self.history) == 1:
            raise KeyboardInterrupt
        return super().chat(messages, n)


def test_a_resumed_run_leaves_the_same_out_of_its_prompts(tmp_path: Path) -> None:
    ablated: dict[str, Any] = {"memory": 0, "graph": False, "optimizer": "optoprime"}
    whole = ScriptedModel(ANSWERS)
    optimize("point-mass", model=whole, out=tmp_path / "whole", **LITTLE, **ablated)
    first, second = (messages[1]["content"] for messages in whole.history)
    for text in (first, second):
        assert "#Feedback\n" in text
        assert not any(
            f"\n{part}\n" in text for part in ("#Code", "#Inputs", "#Others", "#Outputs", "#Newest")
        )
    with pytest.raises(KeyboardInterrupt):
        optimize("point-mass", model=Stopped(ANSWERS), out=tmp_path / "run", **LITTLE, **ablated)
    stored = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert (stored["memory"], stored["graph"]) == (0, False)
    rest = ScriptedModel(ANSWERS[1:])
    resume(tmp_path / "run", model=rest)
    assert rest.history == whole.history[1:]


def test_settings_of_whole_prompts_are_stored_as_before() -> None:
    plain = Settings.resolve("reach-v3", "optoprime")
    assert not {"memory", "graph"} & set(plain.to_data())
    assert Settings.from_data(plain.to_data()) == plain
    ablated = Settings.resolve("reach-v3", "optoprime", memory=0, graph=False)
    assert Settings.from_data(ablated.to_data()) == ablated


def test_a_dry_run_shows_what_is_left() -> None:
    asked: dict[str, Any] = {"episodes": 1, "workers": 0, "tune": False}
    whole, bare = first_prompt("point-mass", **asked), first_prompt("point-mass", graph=False, **asked)
    assert "\n#Others\n" in whole
    assert "\n#Others\n" not in bare
    assert whole.partition("\n#Feedback\n")[2] == bare.partition("\n#Feedback\n")[2] != ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "search", "memory": 2}, "memory is a number of trials .* optimizer search; leave --memory out"),
        ({"optimizer": "optoprime", "memory": -1}, "from 0 on that a model sees, got -1"),
        ({"optimizer": "opro", "graph": False}, "the optimizer opro shows no graph; leave --no-graph out"),
        ({"optimizer": "search", "graph": False}, "the optimizer search shows no graph"),
    ],
)  # fmt: skip
def test_an_optimizer_that_has_neither_is_refused(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    model = None if settings["optimizer"] == "search" else ScriptedModel()
    with pytest.raises(ValueMismatchError, match=message):
        optimize("point-mass", model=model, out=tmp_path / "run", **{**LITTLE, **settings})
    assert not (tmp_path / "run").exists()


def test_memory_of_opro_is_the_number_of_older_solutions(tmp_path: Path) -> None:
    model = ScriptedModel(ANSWERS)
    optimize("point-mass", optimizer="opro", model=model, out=tmp_path / "run", memory=0, **LITTLE)
    assert [messages[1]["content"].count("\nSolution ") for messages in model.history] == [1, 1]


def test_rows_of_ablated_prompts_are_kept_apart(tmp_path: Path) -> None:
    whole, bare = Plan(("reach-v3",), "optoprime"), Plan(("reach-v3",), "optoprime", memory=0, graph=False)
    assert not {"memory", "graph"} & set(whole.fixed)
    key = ("reach-v3", 0)
    assert (bare.settings(key).memory, bare.settings(key).graph) == (0, False)
    assert whole.settings(key) == Settings.resolve("reach-v3", "optoprime", **whole.keywords(key))
    values: dict[str, Any] = {
        "task": "reach-v3", "optimizer": "optoprime", "protocol": "standard", "seed": 0, "feedback": "outcome",
        "control": "pose", "success": 1.0, "episodes": 50, "interval": (0.9, 1.0), "crashes": 0,
        "training_success": 1.0, "training_episodes": 30, "candidates": 2, "iterations": 1, "environment_steps": 9,
        "model_calls": 1, "tokens": 9, "seconds": 1.0, "wall_seconds": 1.0, "workers": 1, "ended": "solved",
        "model": "m", "controller": "", "versions": {},
    }  # fmt: skip
    for plan, other, message in (
        (whole, bare, "was made with memory None, not 0"),
        (bare, whole, "was made with memory 0, not None"),
    ):
        folder = tmp_path / str(plan.graph)
        row = ResultRow(**values, fixed=plan.fixed)
        with Results(folder, plan.fixed) as results:
            results.add(row)
        with pytest.raises(RunError, match=message):
            Results(folder, other.fixed)
        assert (", memory 0, graph False\n" in markdown([row])) == (plan is bare)


def test_the_folder_of_a_benchmark_names_what_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["bench", "--optimizer", "optoprime", "--tasks", "point-mass", "--memory", "0", "--no-graph"]
    assert main([*arguments, "--replay", "missing.gz"]) == 1  # after the line that names the folder
    assert "bench-standard-optoprime-memory0-no-graph-replay" in "".join(capsys.readouterr().out.split())
