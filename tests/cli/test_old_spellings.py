"""Commands as 0.1.0 spelled them still do what they did."""

from __future__ import annotations

import pytest

from trace_robot.cli.main import create_parser, translate_old_spelling


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("evaluate zoo", "zoo"),
        ("evaluate zoo --tasks reach-v3 --json", "zoo --tasks reach-v3 --json"),
        ("evaluate --seed 1 zoo", "zoo --seed 1"),
        ("evaluate --env zoo --seed 1", "zoo --seed 1"),
        ("render demo", "video demo"),
        ("render --out demo.mp4 demo --first-and-best", "video --out demo.mp4 demo --first-and-best"),
        ("render demo --runs elsewhere --iteration 0", "video demo --runs elsewhere --iteration 0"),
    ],
)
def test_an_old_spelling_is_translated_to_a_command_line_that_can_be_typed(old: str, new: str) -> None:
    translated = translate_old_spelling(old.split())
    assert translated == new.split()
    assert create_parser().parse_args(translated).command == new.split()[0]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--help",
        "runs",
        "render",
        "render --help",
        "render reach-v3 --policy do_nothing",
        "render reach-v3 --policy=zoo",
        "render reach-v3 --episodes 3",
        "evaluate reach-v3 --policy zoo",
        "evaluate zoo --policy do_nothing",
        "evaluate reach-v3",
        "show zoo",
    ],
)
def test_any_other_line_is_left_as_it_was_typed(line: str) -> None:
    assert translate_old_spelling(line.split()) == line.split()
