"""Sets of worlds from the command line: by name, or from a JSON file of the user."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from trace_robot.cli import main
from trace_robot.cli.arguments import read_worlds
from trace_robot.env.world import WorldSet

ZOO = ("evaluate", "reach-v3", "--policy", "zoo/reach_v3", "--episodes", "2", "--workers", "0")


def test_a_set_of_worlds_has_a_name() -> None:
    standard = WorldSet.from_data(read_worlds("standard"))
    assert standard.physical
    assert {world.name for world in standard.worlds} == {"nominal", "off", "late", "all at once"}
    assert not WorldSet.from_data(read_worlds("signals")).physical


def test_a_controller_is_evaluated_in_a_file_of_worlds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "worlds.json").write_text('[{"observation_error": {"positions": 5.0}}]')

    def success(*arguments: str) -> float:
        assert main([*ZOO, *arguments, "--json"]) == 0
        return float(json.loads(capsys.readouterr().out)["success"])

    assert success() == 1.0
    assert success("--worlds", str(tmp_path / "worlds.json")) == 0.0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "must be a JSON file of worlds"),
        ("[" * 100_000, "must be a JSON file of worlds"),
        (" " * 1_000_001, "it has more than 1,000,000 bytes"),
        ('{"mass": NaN}', "mass must be"),
        ('{"observation_error": {"elbow": 0.1}}', "elbow"),
        ("[]", "at least one"),
    ],
)
def test_a_file_that_is_no_json_of_worlds_is_one_line(
    text: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "worlds.json").write_text(text)
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main([*ZOO, "--worlds", str(tmp_path / "worlds.json")]))
    last = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code in (1, 2)
    assert reason in last
    assert last.startswith("trace-robot")
    assert len(last) < 1000


def test_a_name_or_a_file_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for source, reason in (
        ("standart", "no set of worlds 'standart'; did you mean 'standard'?"),
        (str(tmp_path / "none.json"), "cannot be read: No such file"),
        (str(tmp_path / "pipe.json"), "not a regular file"),
    ):
        with pytest.raises(SystemExit):
            main([*ZOO, "--worlds", source])
        assert reason in capsys.readouterr().err.splitlines()[-1]


BLIND = """
import gymnasium
import numpy as np
from gymnasium import spaces
from trace_robot import Environment, part

class Blind(gymnasium.Env):
    {attribute}
    observation_space = spaces.Box(-9, 9, (2,), np.float64)
    action_space = spaces.Box(-1, 1, (2,), np.float32)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = self.np_random.random(2)
        return self.at.copy(), {{}}
    def step(self, action):
        self.at = self.at + 0.1 * np.asarray(action)
        return self.at.copy(), 0.0, False, False, {{"is_success": False}}

ENVIRONMENTS = [Environment("blind", "Go home.", make=Blind, horizon=5, action=[part("drive", 2)])]
"""
SHORT = ("optimize", "blind", "--optimizer", "search", "--steps", "50", "--held-out", "1", "--no-video")


@pytest.mark.parametrize("name", ["standard", "signals"])
@pytest.mark.parametrize("attribute", ["dt = 0.05", "pass"])
def test_a_built_in_set_leaves_out_what_the_environment_cannot_have_and_says_so(
    name: str,
    attribute: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "blind.py").write_text(BLIND.format(attribute=attribute))
    assert main([*SHORT, "--workers", "0", "--worlds", name, "--out", "run"]) == 0
    (note,) = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert "noise and errors of positions" in note
    assert ("physics" in note) == (name == "standard")
    assert ("delays" in note) == (attribute == "pass")
    stored = json.loads((tmp_path / "run" / "settings.json").read_text())["options"]["world"]
    late = ["late"] * (attribute != "pass")
    assert [world["name"] for world in stored] == ["nominal", *late, "all at once"]
    assert not any("observation_error" in world or "mass" in world for world in stored)


@pytest.mark.parametrize("given", ["is_success", "success"])
def test_a_misspelt_entry_of_success_is_named_with_the_near_one_at_the_start_and_at_the_end(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "envs").mkdir()
    text = BLIND.format(attribute="pass").replace(
        '{"is_success": False}', f'{{"{given}": False, "way": 1.0}}'
    )
    wrong = given.replace("ccess", "cess")
    (tmp_path / "envs" / "blind.py").write_text(text.replace("horizon=5", f"horizon=5, success={wrong!r}"))
    assert main([*SHORT, "--workers", "0", "--out", "run"]) == 0
    shown = "\n".join(capsys.readouterr())
    entries = ", ".join(sorted([given, "way"]))
    line = f"had the entry '{wrong}' that the plug-in declares as success (did you mean '{given}'?)"
    assert shown.count(line) == 2
    assert shown.count(f"; what info had: {entries}; if") == 2
    assert shown.index(line) < shown.index("held out  ") < shown.rindex(line)
    assert main(["evaluate", "blind", "--policy", "do_nothing", "--episodes", "1", "--workers", "0"]) == 0
    assert line in capsys.readouterr().err


def test_worlds_of_a_file_that_cannot_be_had_are_refused_before_a_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "blind.py").write_text(BLIND.format(attribute="dt = 0.05"))
    (tmp_path / "worlds.json").write_text('[{"observation_error": {"positions": 0.01}}]')
    assert main([*SHORT, "--workers", "0", "--worlds", "worlds.json", "--out", "run"]) == 1
    assert "blind names no positions" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
