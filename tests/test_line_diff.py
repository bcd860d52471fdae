"""Differences: those of difflib wherever difflib is quick, and some true difference in bounded time elsewhere."""

from __future__ import annotations

import difflib
import random
import time
from collections.abc import Sequence
from typing import Any

import pytest

from trace_robot.line_diff import LineMatcher, unified_diff
from trace_robot.llm.recording import ReplayModel
from trace_robot.optimizers.prompt.trial_text import _diff
from trace_robot.report.diff import compare
from trace_robot.store.folder import difference

SECONDS_A_10_KB = 0.05
SLACK = 4.0  # of a machine that is busy


def edited(lines: Sequence[str], words: Sequence[str], randomness: random.Random) -> list[str]:
    """Return the lines with up to eight of them removed or put in."""
    result = list(lines)
    for _ in range(randomness.randrange(9)):
        place = randomness.randrange(len(result) + 1)
        if place < len(result) and randomness.random() < 0.5:
            del result[place]
        else:
            result.insert(place, randomness.choice(words))
    return result


def pairs() -> list[tuple[list[str], list[str]]]:
    randomness = random.Random(0)
    found = []
    for _ in range(300):
        words = [str(number) for number in range(randomness.randrange(1, 40))]
        lines = [randomness.choice(words) for _ in range(randomness.randrange(60))]
        found.append((lines, edited(lines, words, randomness)))
    return found


@pytest.mark.parametrize("context", [0, 3])
def test_ordinary_texts_have_the_difference_that_difflib_finds(context: int) -> None:
    for before, after in pairs():
        expected = difflib.unified_diff(before, after, "old", "new", lineterm="", n=context)
        assert list(unified_diff(before, after, "old", "new", context=context)) == list(expected)


@pytest.mark.parametrize("steps", [0, 60])
def test_beyond_the_budget_the_difference_still_leads_from_one_text_to_the_other(steps: int) -> None:
    for before, after in pairs():
        matcher = LineMatcher(before, after, steps=steps)
        rebuilt: list[str] = []
        place = 0
        for tag, i, i_end, j, j_end in matcher.get_opcodes():
            assert i == place
            assert tag != "equal" or before[i:i_end] == after[j:j_end]
            rebuilt += after[j:j_end]
            place = i_end
        assert (rebuilt, place) == (after, len(before))


def test_beyond_the_budget_a_small_change_is_still_a_small_difference() -> None:
    before = [line for number in range(4000) for line in (f"line {number}", "", "")]
    after = [*before[:6000], "something new", *before[6003:]]
    matcher = LineMatcher(before, after, autojunk=False, steps=0)
    changed = [code for code in matcher.get_opcodes() if code[0] != "equal"]
    assert sum(code[2] - code[1] + code[4] - code[3] for code in changed) <= 6


def hostile(kind: str, lines: int, shift: int = 0) -> str:
    """Return a controller of lines that repeat, in which difflib has the most to compare."""
    randomness = random.Random(shift)
    body = {
        "same": lambda number: " 1",
        "cycle": lambda number: f" {(number + shift) % 120}",
        "random": lambda number: f" {randomness.randrange(120)}",
        "words": lambda number: f" {'a ' * 150}{(number + shift) % 120}",
        "pairs": lambda number: f" {(number + shift) // 2 % 9}",
    }[kind]
    return (
        "def act(o):\n" + "\n".join(map(body, range(lines - 7 * (shift and kind == "same")))) + "\n return\n"
    )


@pytest.mark.parametrize("kind", ["same", "cycle", "random", "words", "pairs"])
@pytest.mark.parametrize("where", [difference, _diff, compare])
def test_no_two_controllers_stall_a_difference(where: Any, kind: str) -> None:
    before, after = hostile(kind, 8000), hostile(kind, 8000, 1)
    started = time.process_time()
    assert where(before, after)
    spent = time.process_time() - started
    size = min(len(before) + len(after), 2_000_000) / 10_000
    # A page also colors what it shows, which takes ten times as long as finding the difference, and cuts it before.
    limit = 3.0 if where is compare else SECONDS_A_10_KB * size
    assert spent < SLACK * limit


def test_a_prompt_that_differs_from_a_long_recorded_one_is_refused_at_once(tmp_path: Any) -> None:
    import json

    record = tmp_path / "record.jsonl"
    message = {"role": "user", "content": hostile("cycle", 8000)}
    reply = {"text": "x", "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1}
    record.write_text(json.dumps({"number": 1, "messages": [message], "replies": [reply]}) + "\n")
    started = time.process_time()
    with pytest.raises(Exception, match="differs from the recorded one"):
        ReplayModel(record).chat([{"role": "user", "content": hostile("cycle", 8000, 1)}])
    assert time.process_time() - started < SLACK * 0.5
