"""Every example in the README runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import trace_robot
import trace_robot.llm
from trace_robot.cli.main import create_parser
from trace_robot.llm import ScriptedModel
from trace_robot.policy import Policy
from trace_robot.rollout import Job, RolloutEngine

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.S)
SHELL = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S)
    for line in block.splitlines()
]
COMMANDS = [part.strip() for line in SHELL for part in line.split(";") if part.strip()]
REPLY = """<reasoning>Go there.</reasoning>
<change>go to the goal</change>
<variable name="act">
```python
def act(observation, memory):
    return [*(observation["goal_position"] - observation["hand_position"]), 0.0]
```
</variable>
<stop>no</stop>
"""


def test_the_loop_of_the_readme_turns_nothing_into_a_controller_that_reaches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = next(code for code in PYTHON if "OptoPrime" in code)
    model = ScriptedModel([REPLY])
    monkeypatch.setattr(trace_robot.llm, "connect", lambda **_: model)
    names: dict[str, object] = {}
    exec(compile(loop, "README.md", "exec"), names)
    assert names["rollout"].success == 1.0  # type: ignore[attr-defined]
    assert len(model.history) == 1
    lines = [line for line in loop.splitlines() if line.strip()]
    assert len(lines) <= 8
    assert sum(line.startswith(("from ", "import ")) for line in lines) <= 2


def test_the_run_of_the_readme_reaches_and_leaves_a_folder_and_no_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    run = next(code for code in PYTHON if "trace_robot.optimize" in code)
    exec(compile(run, "README.md", "exec"), names)
    result = names["result"]
    assert isinstance(result, trace_robot.Result)
    assert result.held_out_success == 1.0
    assert len(capfd.readouterr().out.splitlines()) == 1
    (folder,) = (tmp_path / "rollouts" / "runs").glob("reach-v3-*")
    assert (folder / "best.py").is_file()


def test_the_controller_of_the_readme_is_a_policy_that_reaches() -> None:
    text = next(code for code in PYTHON if "@bundle" in code)
    policy = Policy.from_text(text, "readme")
    assert [place.name for place in policy.places] == ["gain", "act"]
    with RolloutEngine(0) as engine:
        (episode,) = engine.run([Job("reach-v3", 0, {"control": "raw"}, controller=text)])
    assert episode.fault is None
    assert episode.success


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_can_be_typed(command: str) -> None:
    program, *arguments = shlex.split(command)
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
        assert set(arguments) <= set(targets)
    elif program == "pip":
        assert arguments[0] in ("install", "wheel")
    else:
        assert program == "trace-robot"
        create_parser().parse_args(arguments)


def test_every_file_that_the_readme_links_to_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if not link.startswith("http")]
    missing = [link for link in links if not (ROOT / link).is_file()]
    assert links
    assert not missing
