"""Every example in the README runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

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
    monkeypatch.setattr(trace_robot.llm, "connect", lambda: model)
    names: dict[str, object] = {}
    exec(compile(loop, "README.md", "exec"), names)
    assert names["rollout"].success == 1.0  # type: ignore[attr-defined]
    assert names["iteration"] == 1
    assert len(model.history) == 1


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
    else:
        assert program == "trace-robot"
        create_parser().parse_args(arguments)


def test_every_file_that_the_readme_links_to_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if not link.startswith("http")]
    missing = [link for link in links if not (ROOT / link).is_file()]
    assert links
    assert not missing
