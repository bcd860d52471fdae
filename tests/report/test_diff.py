"""Diffs of controllers: lines, numbers, changed words, checked against the texts."""

from __future__ import annotations

import random

import pytest

from trace_robot.report.diff import DiffGap, DiffLine, compare, count, listing

BEFORE = '''"""Reach."""

from trace_robot import bundle

gain = 4.0


@bundle(trainable=True)
def act(observation, memory):
    """Return the action."""
    error = observation["goal_position"] - observation["hand_position"]
    return [*(gain * error), 0.0]
'''
AFTER = BEFORE.replace("gain = 4.0", "gain = 9.5").replace(
    "    return", "    error = error / 2  # half\n    return"
)


def text_of(line: DiffLine) -> str:
    return "".join(part.text for part in line.parts)


def side(rows: tuple[DiffLine | DiffGap, ...], mark: str) -> list[str]:
    return [text_of(row) for row in rows if isinstance(row, DiffLine) and row.mark in (" ", mark)]


def test_a_change_shows_the_lines_with_their_numbers_and_marks_the_words() -> None:
    rows = compare(BEFORE, AFTER)
    assert count(rows) == (2, 1)
    (minus,) = [row for row in rows if isinstance(row, DiffLine) and row.mark == "-"]
    plus, more = [row for row in rows if isinstance(row, DiffLine) and row.mark == "+"]
    assert (minus.before, minus.after, text_of(minus)) == (5, None, "gain = 4.0")
    assert (plus.before, plus.after, text_of(plus)) == (None, 5, "gain = 9.5")
    assert [part.text for part in plus.parts if part.changed] == ["9.5"]
    assert (more.after, text_of(more)) == (12, "    error = error / 2  # half")
    assert [(part.kind, part.text) for part in more.parts if part.kind == "c"] == [("c", "# half")]


def test_equal_texts_have_no_difference_and_far_lines_are_counted() -> None:
    assert compare(BEFORE, BEFORE) == ()
    long = "\n".join(f"x{number} = {number}" for number in range(100))
    rows = compare(long, long.replace("x50 = 50", "x50 = 51"))
    assert [row.count for row in rows if isinstance(row, DiffGap)] == [47, 46]


def test_a_listing_is_the_text_line_by_line_with_its_keywords() -> None:
    lines = listing(BEFORE)
    assert [text_of(line) for line in lines] == BEFORE.splitlines()
    kinds = {part.text: part.kind for line in lines for part in line.parts}
    assert (kinds["def"], kinds["act"], kinds["@bundle"], kinds["4.0"]) == ("k", "f", "d", "m")
    assert kinds['"""Reach."""'] == "s"


@pytest.mark.parametrize("seed", range(20))
def test_both_sides_of_a_difference_can_be_read_back_from_it(seed: int) -> None:
    chance = random.Random(seed)
    lines = BEFORE.splitlines()
    after = [line for line in lines if chance.random() > 0.2]
    after.insert(chance.randrange(len(after) + 1), "print('<&>\\x00')  # new")
    if chance.random() < 0.5:
        after[0] = after[0].replace("e", "E")
    rows = compare(BEFORE, "\n".join(after), context=1000)
    assert side(rows, "-") == lines
    assert side(rows, "+") == after


@pytest.mark.parametrize(
    "text", ["", "\n", "def (", "'''never ends", "\x00\x01", "a" * 5000, "\t\n \n", "é = '漢'"]
)
def test_any_text_has_a_listing_and_a_difference(text: str) -> None:
    assert all(isinstance(line, DiffLine) for line in listing(text))
    if text.strip("\n"):
        assert count(compare("", text))[0] >= 1
