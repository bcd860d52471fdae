"""Captions: readable, colored, and harmless whatever the text is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from trace_robot.render.caption import BACKGROUND, band, band_height, lines_of, plain
from trace_robot.render.video import Clip

WIDTH, LETTERS = 320, 13


def test_bands_of_different_texts_differ_and_those_of_the_same_text_do_not(clip: Clip) -> None:
    one, same, other = (
        band(replace(clip, caption=(text,)), WIDTH, 40, LETTERS) for text in ("a 1", "a 1", "a 2")
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_the_outcome_is_green_or_red_or_neither(clip: Clip) -> None:
    def color(success: bool | None) -> tuple[bool, bool]:
        pixels = band(replace(clip, success=success), WIDTH, 40, LETTERS).astype(int)
        green = bool((pixels[..., 1] > pixels[..., 0] + 60).any())
        return green, bool((pixels[..., 0] > pixels[..., 1] + 60).any())

    assert color(True) == (True, False)
    assert color(False) == (False, True)
    assert color(None) == (False, False)


def test_the_outcome_is_text_too(clip: Clip) -> None:
    won, lost = (band(replace(clip, outcome=text), WIDTH, 40, LETTERS) for text in ("success", "no success"))
    assert not np.array_equal(won, lost)


def test_short_lines_share_one_and_long_ones_do_not(clip: Clip) -> None:
    assert lines_of(replace(clip, caption=("reach-v3", "iteration 3")), WIDTH, LETTERS) == [
        "reach-v3 · iteration 3"
    ]
    long = "a task with a long name that all but fills the line"
    assert lines_of(replace(clip, caption=(long, "iteration 3")), WIDTH, LETTERS) == [long, "iteration 3"]


def test_a_band_grows_with_its_lines_and_never_takes_more_than_half(clip: Clip) -> None:
    def height(*caption: str, size: tuple[int, int] = (320, 240)) -> int:
        return band_height([replace(clip, caption=caption)], size)

    words = "many words " * 5
    heights = [
        height(),
        height(words),
        height(words, words),
        height(words, words, words),
        height(*[words] * 9),
    ]
    assert heights == sorted(heights)
    assert heights[-1] == heights[-2]
    assert all(each % 2 == 0 for each in heights)
    assert height(words, words, words, size=(64, 64)) <= 32


def test_no_text_means_no_band(clip: Clip) -> None:
    bare = replace(clip, caption=(), outcome="")
    assert band_height([bare], (320, 240)) == 0
    assert band(bare, WIDTH, 0, LETTERS).shape == (0, WIDTH, 3)


def test_a_line_that_is_too_long_ends_inside_the_band(clip: Clip) -> None:
    drawn = band(replace(clip, caption=("W" * 5000,), outcome="W" * 5000), WIDTH, 40, LETTERS)
    assert (drawn[:, -4:] == BACKGROUND).all()
    assert (drawn[:, WIDTH - 40 :] != BACKGROUND).any()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\r\n", "two lines"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("left\u202eright", "left right"),
        ("nul\x00l", "nul l"),
        ("  many   blanks ", "many blanks"),
        ("\ud800", ""),
        ("größe — 手…", "grosse - ?..."),
        ("e\u0301\u0302\u0303", "e"),
    ],
)
def test_control_characters_become_spaces(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(some.text(alphabet=some.characters(), max_size=400))
def test_any_text_becomes_one_drawable_line(text: str) -> None:
    line = plain(text)
    assert len(line) <= 200
    assert line.replace("·", "").isascii()
    assert line.isprintable()
    assert plain(line) == line


@given(
    some.lists(some.text(max_size=60), max_size=4), some.text(max_size=60), some.sampled_from([64, 320, 640])
)
def test_any_texts_can_be_drawn_at_any_size(caption: list[str], outcome: str, width: int) -> None:
    clip = Clip(None, None, tuple(caption), outcome, True)  # type: ignore[arg-type]
    rows = band_height([clip], (width, 240))
    assert band(clip, width, rows, LETTERS).shape == (rows, width, 3)
