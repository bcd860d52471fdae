"""Numbers and steps as text: the last thing that is done with a value before a model reads it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

MOST_RANGES = 6


def number(value: float, digits: int = 3) -> str:
    """Return a number with few significant digits.

    Args:
        value: any float; a bool, an infinity or nan is written as Python does.
        digits: significant digits. Whole numbers below a million stay whole, however many digits they have.

    Returns:
        The text, in exponent form where that is shorter.
    """
    if isinstance(value, bool) or not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.{digits}g}"


def at_scale(value: float, scale: float) -> str:
    """Return a number rounded to a thousandth of a scale.

    Args:
        value: any float.
        scale: the size of the differences that matter, in the unit of ``value``; 0 or less for unknown, which gives
            four significant digits.

    Returns:
        The text without trailing zeros and never in exponent form.
    """
    if not math.isfinite(value):
        return str(value)
    if scale <= 0:
        return number(value, 4)
    decimals = min(max(0, 3 - math.ceil(math.log10(scale))), 9)
    text = f"{value:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def one_line(text: str, length: int = 200) -> str:
    """Return a text on one line, cut off with "..." after ``length`` characters.

    Args:
        text: any text; every run of white space becomes one space.
        length: most characters of the line, the dots included.
    """
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."


def indented(text: str, by: str = "  ") -> str:
    """Return a text with ``by`` before each line that is not empty."""
    return "\n".join(by + line if line else line for line in text.split("\n"))


def fence(source: str, language: str = "python") -> str:
    """Return a Markdown code block, its fence longer than any run of backticks inside.

    Args:
        source: the text of the block; empty lines at both ends are dropped.
        language: the info string behind the opening fence.
    """
    longest = max((len(run) for run in re.findall(r"`{3,}", source)), default=2)
    mark = "`" * (longest + 1)
    return f"{mark}{language}\n{source.strip(chr(10))}\n{mark}"


def step_span(first: int, last: int) -> str:
    """Return the steps from ``first`` to ``last``, both included, as "step 3" or "3-7"."""
    return f"step {first}" if first == last else f"{first}-{last}"


def step_ranges(steps: Sequence[int]) -> str:
    """Return ascending steps as ranges such as "0-4, 7"; after MOST_RANGES of them come dots."""
    spans: list[tuple[int, int]] = []
    for step in steps:
        if spans and spans[-1][1] == step - 1:
            spans[-1] = (spans[-1][0], step)
        else:
            spans.append((step, step))
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in spans]
    return ", ".join(texts[:MOST_RANGES]) + (", ..." if len(texts) > MOST_RANGES else "")
