"""Escaping: hidden characters spelled out, oversized text cut, JSON kept as data."""

from __future__ import annotations

import json

import pytest

from trace_robot.report.escape import LONGEST_LINE, LONGEST_TEXT, plot_text, script_json, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x00", r"\x1b[31mred\x00"),
        ("abc\u202edcba\u2066", r"abc\u202edcba\u2066"),
        ("half \ud800 a pair", r"half \ud800 a pair"),
        ("line\u2028break", r"line\u2028break"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("a\r\nb\tc\n", "a\nb\tc\n"),
        ("a\rb", r"a\rb"),
        (
            "tag \U000e0041, shorthand \U0001bca0, vowel \u180e",
            r"tag \U000e0041, shorthand \U0001bca0, vowel \u180e",
        ),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("é 漢字 👩‍🔧", "é 漢字 👩‍🔧"),
    ],
)
def test_what_cannot_be_seen_is_spelled_out_and_the_rest_is_left(text: str, shown: str) -> None:
    assert visible(text) == shown
    visible(text).encode()


def test_an_endless_line_and_an_endless_text_are_cut_with_a_count() -> None:
    line = visible("x" * (LONGEST_LINE + 1234) + "\nnext")
    assert line == "x" * LONGEST_LINE + " [1,234 more characters are not shown]\nnext"
    text = visible("y\n" * LONGEST_TEXT)
    assert text.endswith(f"[{LONGEST_TEXT:,} more characters are not shown]")
    assert len(text) < LONGEST_TEXT + 100


def test_json_in_a_script_element_cannot_end_it_and_is_read_back_the_same() -> None:
    data = {"</script><!--": ["&\u2028\u2029", float("nan"), float("inf"), 1.5, ("a", None)]}
    text = script_json(data)
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == {"</script><!--": ["&\u2028\u2029", None, None, 1.5, ["a", None]]}


def test_a_plots_label_is_one_line_without_tags() -> None:
    assert plot_text("a <b>\nc</b> &amp; d") == "a &lt;b&gt; c&lt;/b&gt; &amp;amp; d"
    assert plot_text("x" * 500, 10) == "x" * 9 + "…"
