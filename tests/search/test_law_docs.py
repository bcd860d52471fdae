"""What docs/laws.md shows is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from trace_robot.cli.main import create_parser
from trace_robot.policy import Policy
from trace_robot.rollout import Job, RolloutEngine
from trace_robot.settings import held_out_seeds

TEXT = (Path(__file__).parents[2] / "docs" / "laws.md").read_text(encoding="utf-8")


def test_the_commands_of_the_page_can_be_typed() -> None:
    commands = re.findall(r"^ {4}(trace-robot .*)$", TEXT, re.MULTILINE)
    assert len(commands) >= 2
    for command in commands:
        create_parser().parse_args(shlex.split(command)[1:])


def test_the_controller_of_the_page_keeps_the_pole_up() -> None:
    (text,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert all(place.constraint for place in Policy.from_text(text).places if place.kind == "number")
    with RolloutEngine(0) as engine:
        jobs = [
            Job("CartPole-v1", seed, {"control": "raw"}, controller=text) for seed in held_out_seeds(0, 8)
        ]
        episodes = engine.run(jobs)
    assert [episode.total_reward for episode in episodes] == [500.0] * 8
