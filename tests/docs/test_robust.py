"""The page on worlds: its settings are those of the code, its example is one."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

from trace_robot.bench.stress import BATTERY, settings_of
from trace_robot.env.world import World

PAGE = (Path(__file__).parents[2] / "docs" / "robust.md").read_text(encoding="utf-8")


def test_the_page_lists_every_setting_of_a_world() -> None:
    rows = "".join(re.findall(r"^\| (`[a-z_`, ]+) \|", PAGE, re.MULTILINE))
    assert sorted(re.findall(r"`(\w+)`", rows)) == sorted(
        field.name for field in fields(World) if field.name != "name"
    )


def test_the_example_is_a_file_of_worlds() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert [setting.name for setting in settings_of(json.loads(example))] == ["my camera", "my arm", "both"]


def test_the_page_names_the_battery() -> None:
    assert f"`{BATTERY}`" in PAGE
