from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from trace_robot.llm.metering import shorten, token_bound

# Counted once with the larger of the cl100k and o200k tokenizers.
COUNTED = {
    "def act(observation, memory):\n    return [0.0, 0.0, 0.0, 0.0]\n": 29,
    "The gripper closed 12 mm beside the puck; lower the hand before closing.": 17,
    "-0.123 | 0.4567 | observation.hand_position": 14,
    "                if np.linalg.norm(delta) > 1e-3:": 14,
}


def test_the_bound_is_not_below_what_tokenizers_count() -> None:
    for text, count in COUNTED.items():
        assert token_bound(text) >= count, text


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_longer_text_never_counts_less(one: str, two: str) -> None:
    assert token_bound(one + "\n" + two) >= max(token_bound(one), token_bound(two))


@given(st.text(max_size=2000), st.integers(0, 200))
def test_a_shortened_text_fits(text: str, tokens: int) -> None:
    assert token_bound(shorten(text, tokens)) <= tokens


def test_shortening_keeps_head_and_tail() -> None:
    text = "first line\n" + "middle " * 2000 + "\nlast line"
    short = shorten(text, 100)
    assert short.startswith("first line")
    assert short.endswith("last line")
    assert "characters, shortened" in short


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Zl", "Zp", "Cs"]), min_size=1), min_size=1))
def test_the_bound_of_a_text_without_empty_lines_is_the_sum_over_its_lines(lines: list[str]) -> None:
    assert token_bound("\n".join(lines)) == sum(token_bound(line) + 1 for line in lines) - 1


def test_what_is_left_of_a_shortened_text_begins_no_section_of_a_prompt() -> None:
    text = "a #Feedback" * 2000
    for tokens in range(60, 160):
        assert not re.search("^#", shorten(text, tokens), re.MULTILINE)
        assert token_bound(shorten(text, tokens)) <= tokens
