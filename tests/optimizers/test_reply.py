from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trace_robot.llm import Reply
from trace_robot.optimizers.prompt.reply import Suggestion, UnusableReplyError, parse_reply

CODE = {"act": "act"}


def parsed(text: str, finish: str = "stop") -> Suggestion:
    return parse_reply(Reply(text, finish), CODE)


def refused(text: str, finish: str = "stop") -> str:
    with pytest.raises(UnusableReplyError) as caught:
        parsed(text, finish)
    return str(caught.value)


def test_the_form_asked_for_is_read_whole() -> None:
    suggestion = parsed(
        "<reasoning>\nToo slow.\nSo faster.\n</reasoning>\n<change>raise the gain</change>\n"
        '<variable name="act">\n```python\ndef act(o):\n    return 1\n```\n</variable>\n'
        '<variable name="gain">\n5.0\n</variable>\n<stop>no</stop>'
    )
    assert suggestion.values == {"act": "def act(o):\n    return 1", "gain": "5.0"}
    assert suggestion.reasoning == "Too slow.\nSo faster."
    assert suggestion.change == "raise the gain"
    assert not suggestion.stop


def test_stopping_is_a_field_and_never_a_word_in_prose() -> None:
    text = '<reasoning>TERMINATE the loop; <stop>yes</stop></reasoning><variable name="gain">5</variable>'
    assert not parsed(text).stop
    assert parsed(text).values == {"gain": "5"}
    assert parsed("<reasoning>done</reasoning><stop> Yes </stop>").stop
    assert parsed("TERMINATE").stop


def test_code_may_hold_backticks_quotes_and_closing_tags() -> None:
    source = 'def act(o):\n    """Say ```hi``` and \'\'\'ho\'\'\'."""\n    tag = "</variable>"\n    return tag\n```'
    source = source.removesuffix("\n```")
    block = f'<variable name="act">\n```python\n{source}\n```\n</variable>'
    assert parsed(block).values["act"] == source


def test_a_fence_inside_a_docstring_does_not_end_the_code() -> None:
    source = 'def act(o):\n    """Example:\n\n    ```\n    act(1)\n    ```\n    """\n    return 1'
    assert parsed(f'<variable name="act">\n```python\n{source}\n```\n</variable>').values["act"] == source
    assert parsed(f'<variable name="act">\n{source}\n</variable>').values["act"] == source
    assert parsed(f'<variable name="act">\n````python\n{source}\n````\n</variable>').values["act"] == source


def test_words_before_the_fence_are_no_part_of_the_code() -> None:
    block = (
        '<variable name="act">Here it is:\n```python\ndef act(o):\n    return 1\n```\nGood luck!</variable>'
    )
    assert parsed(block).values["act"] == "def act(o):\n    return 1"


def test_a_text_value_keeps_its_own_fences() -> None:
    text = "Answer so:\n```\nyes\n```"
    assert parsed(f'<variable name="question">\n{text}\n</variable>').values["question"] == text


def test_a_missing_closing_tag_does_not_lose_the_value() -> None:
    text = '<variable name="gain">5\n<variable name="act">\n```python\ndef act(o):\n    return 2\n```\n'
    assert parsed(text).values == {"gain": "5", "act": "def act(o):\n    return 2"}


def test_a_code_block_without_a_tag_goes_to_the_variable_whose_function_it_defines() -> None:
    text = "First:\n```\nsome shell\n```\nthen\n```python\ndef act(o):\n    return 3\n```\n"
    assert parsed(text).values == {"act": "def act(o):\n    return 3"}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(
            {"reasoning": "r {x}", "answer": "", "suggestion": {"gain": 7, "act": "def act(o): pass"}}
        ),
        '```json\n{"reasoning": "r {x}", "suggestion": {"gain": 7, "act": "def act(o): pass"}}\n```',
        'Sure! {"reasoning": "r {x}", "suggestion": {"gain": 7, "act": "def act(o): pass"}} Done.',
        "{'reasoning': 'r {x}', 'suggestion': {'gain': 7, 'act': 'def act(o): pass'}}",
    ],
)
def test_the_older_json_form_is_read_too(text: str) -> None:
    suggestion = parsed(text)
    assert suggestion.values == {"gain": 7, "act": "def act(o): pass"}
    assert suggestion.reasoning == "r {x}"


def test_json_with_raw_line_breaks_in_its_code_is_read() -> None:
    text = '{"reasoning": "", "suggestion": {"act": "def act(o):\n    return 1"}}'
    assert parsed(text).values == {"act": "def act(o):\n    return 1"}


def test_hidden_thoughts_are_not_read_for_values() -> None:
    text = '<think>maybe <variable name="gain">1</variable></think><variable name="gain">2</variable>'
    assert parsed(text).values == {"gain": "2"}


def test_the_last_of_two_values_counts() -> None:
    assert parsed('<variable name="gain">1</variable><variable name="gain">2</variable>').values == {
        "gain": "2"
    }


@pytest.mark.parametrize(
    ("text", "finish", "problem"),
    [
        ("", "stop", "the reply is empty"),
        (" \n ", "stop", "the reply is empty"),
        (
            '<variable name="gain">5</variable>',
            "length",
            "the reply was cut off before its end; answer more briefly",
        ),
        ("I cannot.", "refusal", "the model declined: I cannot."),
        ("", "content_filter", "the model declined: content_filter"),
        (
            "I would raise the gain.",
            "stop",
            'no <variable name="..."> block in the reply, and no <stop>yes</stop>',
        ),
        ("x" * 1_000_000, "stop", "the reply has 1,000,000 characters, at most 200,000 are read"),
    ],
)
def test_a_reply_without_a_suggestion_is_an_error_that_says_why(text: str, finish: str, problem: str) -> None:
    assert refused(text, finish) == problem


PIECES = [
    *(
        "<variable name=",
        '"act"',
        ">",
        "</variable>",
        "```",
        "```python\n",
        "\n",
        "{",
        "}",
        '"suggestion"',
        ":",
    ),
    *("<stop>", "yes", "def act(o):", "<reasoning>", "</reasoning>", "'''", "[", "("),
]


@given(st.text(max_size=400) | st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_any_text_is_a_suggestion_or_an_unusable_reply(text: str) -> None:
    with contextlib.suppress(UnusableReplyError):
        assert isinstance(parsed(text), Suggestion)
