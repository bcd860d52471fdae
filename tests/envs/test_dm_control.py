"""dm_control's suite: what its plug-ins declare, and that they fit where shimmy is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trace_robot.cli import main
from trace_robot.env.registry import catalogue, describe
from trace_robot.env_checker import Finding
from trace_robot.env_checker.child import examination

NAMES = [entry.name for entry in catalogue() if Path(entry.file).name == "dm_control.py"]


def test_the_tasks_that_the_guide_names_are_declared_with_a_threshold_of_900() -> None:
    assert len(NAMES) == 15
    assert {"dm_control/cartpole-swingup-v0", "dm_control/manipulator-bring_ball-v0"} <= set(NAMES)
    entries = {entry.name: entry for entry in catalogue()}
    assert all("900" in entries[name].success for name in NAMES)


def test_a_list_of_environments_imports_neither_shimmy_nor_dm_control() -> None:
    code = (
        "import sys; from trace_robot.env.registry import catalogue; catalogue();"
        "sys.exit(bool({'shimmy', 'dm_control'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_shimmy_is_named_with_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shimmy", None)
    command = ["evaluate", "dm_control/reacher-hard-v0", "--policy", "do_nothing", "--episodes", "1"]
    assert main(command) == 1
    assert "pip install 'trace-robot[dm-control]'" in " ".join(capsys.readouterr().err.split())


def test_an_id_of_a_namespace_that_no_package_registered_asks_for_the_package(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check-env", "--env", "elsewhere/arm-v0", "--task", "Reach."]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "a package registers the ids of 'elsewhere' when it is imported" in shown
    assert "PACKAGE:elsewhere/arm-v0" in shown


@pytest.mark.parametrize("name", NAMES)
def test_each_task_has_no_problem(name: str) -> None:
    pytest.importorskip("shimmy", reason="needs trace-robot[dm-control]")
    pytest.importorskip("dm_control", reason="needs trace-robot[dm-control]")
    spec = describe(name)
    assert (spec.horizon, spec.return_threshold) == (1000, 900.0)
    messages = list(examination(name, {}))
    found = [Finding(**message["finding"]) for message in messages if "finding" in message]
    assert [each.text for each in found if each.verdict == "problem"] == []
    assert {each.check for each in found} >= {"spec", "success", "seeds", "state"}
