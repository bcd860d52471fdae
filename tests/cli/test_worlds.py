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
