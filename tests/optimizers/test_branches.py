"""Replies and code of forms that are met seldom: each is read for what it says, or refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from trace_robot.llm import Reply
from trace_robot.optimizers.code import problems, tidy
from trace_robot.optimizers.problem import ParameterSpec, Problem
from trace_robot.optimizers.prompt.reply import (
    Suggestion,
    UnusableReplyError,
    bounds,
    describe,
    fit,
    parse_reply,
)


def parsed(text: str, **code_names: str) -> Suggestion:
    return parse_reply(Reply(text, "stop"), code_names)


def test_a_block_that_could_be_the_code_of_two_variables_is_given_to_neither() -> None:
    both = "```python\ndef reach(o):\n    return 1\n\n\ndef grasp(o):\n    return 2\n```\n"
    with pytest.raises(UnusableReplyError, match="one code block defines reach and grasp"):
        parsed(both, reach="reach", grasp="grasp")
    alone = "Then only this:\n```python\ndef grasp(o):\n    return 3\n```\n"
    assert parsed(both + alone, reach="reach", grasp="grasp").values == {
        "grasp": "def grasp(o):\n    return 3"
    }


def test_a_block_with_a_helper_that_is_no_variable_is_not_taken_for_one() -> None:
    helper = "A helper:\n```python\ndef clip(x):\n    return min(x, 1)\n```\n"
    act = "```python\ndef act(o):\n    return 1\n```\n"
    assert parsed(helper + act, act="act").values == {"act": "def act(o):\n    return 1"}
    with pytest.raises(UnusableReplyError, match="the code block defines clip, and no variable's function"):
        parsed(helper, act="act")


@pytest.mark.parametrize("constraint", [{"choices": ["open", "close"]}, ["open", "close"]])
def test_choices_that_are_plain_data_hold_a_suggested_text(constraint: Any) -> None:
    grip = ParameterSpec("grip", "text", "open", constraint=constraint)
    problem = Problem((grip,))
    assert fit(problem, {"grip": "close"}) == ({"grip": "close"}, [])
    assert fit(problem, {"grip": "half"}) == ({}, ["grip: must be one of 'open', 'close', got half"])
    assert describe(constraint) == "one of 'open', 'close'"
    assert bounds(grip) == (None, None)


@pytest.mark.parametrize("source", ["x = " + "-" * 50_000 + "1\n", "x = a" + ".b" * 50_000 + "\n"])
def test_code_too_deep_for_the_parser_is_one_problem_of_one_line(source: str) -> None:
    listed = problems(source, "act", "def act(o):\n    return 1\n")
    assert len(listed) == 1
    assert listed[0].startswith("cannot be parsed: ")
    assert "\n" not in listed[0]
    assert tidy(source, "act") == source


@pytest.mark.parametrize(
    ("present", "suggested"),
    [
        ("act(observation, /, gain=...)", "act(observation, gain=...)"),
        ("act(observation, *, gain=...)", "act(observation, gain=...)"),
        ("act(observation, *, gain)", "act(observation, *, gain=...)"),
        ("act(observation, *more, gain)", "act(observation, *, gain)"),
    ],
)
def test_ways_to_pass_an_argument_are_part_of_the_signature(present: str, suggested: str) -> None:
    before, after = (f"def {text.replace('...', '1')}:\n    return 1\n" for text in (present, suggested))
    assert problems(after, "act", before) == [f"must keep the signature {present}, got {suggested}"]
    assert problems(before, "act", before) == []


@pytest.mark.parametrize("present", ["", "def act(:\n", "act = print\n"])
def test_code_in_place_of_one_without_a_signature_may_have_any_but_keeps_to_its_name(present: str) -> None:
    assert problems("def act(a, b):\n    return a\n", "act", present, ["speed"]) == []
    assert problems("speed = 1\ndef act(a):\n    return a\n", "act", present, ["speed"]) == [
        "must not define 'speed', which is another variable; suggest it separately"
    ]
