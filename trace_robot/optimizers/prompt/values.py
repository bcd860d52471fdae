"""Between values and text: parse what a record holds, format what a model reads.

Values leave the sandbox as short text: their ``repr``, cut off after some characters. Only ``parse_value`` makes
numbers of it again. The passes over a graph work with numbers; ``number`` and the functions below it make text of them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from trace_robot.optimizers.prompt import PARTS

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|inf|nan)(?![\w.])")
NAME = re.compile(r"[A-Za-z_][\w.]*")
STRING = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
OTHER = re.compile(r"[^,\]\[(){}:]+")
WORDS = {"True": True, "False": False, "None": None}
DEEPEST = 12  # the text may come from a controller: no nesting exhausts the stack
VECTOR = 8  # longer lists of numbers, such as images and rays, come apart
MOST_LEAVES = 64
MOST_RANGES = 6

# What in a text of the program's might be taken for the prompt's own: its sections, the tags of an answer, a fence.
FORGED_MARKUP = re.compile(r"</?\s*(?i:reasoning|change|variable|stop)\b|```|Your answer:")
FORGED = re.compile(rf"(?i:{'|'.join(map(re.escape, PARTS))})\b|{FORGED_MARKUP.pattern}")
MARK = "(text of the program) "

Leaf = float | bool | str | None | tuple[float, ...]


class _TextEndsError(Exception):
    """The text ends before the value does, or nests too deep."""


def parse_value(text: str) -> Any:
    """Parse a ``repr`` whose end may be cut off, by recursive descent.

    ``ast.literal_eval`` would refuse the cut-off texts, arrays and nan.

    Returns:
        Numbers as floats, texts, truth values, None, and lists and dicts of them without what was cut off;
        ``array(...)`` and ``np.float64(...)`` as what is inside. Text that cannot be parsed is returned as it is.
    """
    parser = _Parser(text)
    try:
        value = parser.value(0)
    except _TextEndsError:
        return text
    rest = text[parser.at :].strip()
    return text if rest and not isinstance(value, dict | list) else value


class _Parser:
    """A position in a text: each method parses what begins there and moves behind it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def value(self, depth: int) -> Any:
        """Return the next value.

        Raises:
            _TextEndsError: there is none.
        """
        self._space()
        if self.at >= len(self.text) or depth > DEEPEST:
            raise _TextEndsError
        if self.text[self.at] in "[(":
            return self._items(depth)
        if self.text[self.at] == "{":
            return self._pairs(depth)
        for pattern in (NUMBER, STRING, NAME, OTHER):
            match = pattern.match(self.text, self.at)
            if match:
                return self._atom(pattern, match, depth)
        raise _TextEndsError

    def _atom(self, pattern: re.Pattern[str], match: re.Match[str], depth: int) -> Any:
        self.at = match.end()
        word = match.group()
        if pattern is NUMBER:
            return float(word)
        if pattern is STRING:
            return word[1:-1]
        if pattern is NAME and self.text[self.at : self.at + 1] == "(":
            inside = self._items(depth)
            return inside[0] if inside else word
        return WORDS.get(word, word)

    def _items(self, depth: int) -> list[Any]:
        self.at += 1
        items: list[Any] = []
        while not self._closed("])"):
            try:
                item = self.value(depth + 1)
            except _TextEndsError:
                return items
            self._space()
            if (
                self.text[self.at : self.at + 1] == "="
            ):  # that was a keyword, as in array([1.0], dtype=float32)
                self.at += 1
                continue
            items.append(item)
        return items

    def _pairs(self, depth: int) -> dict[str, Any]:
        self.at += 1
        pairs: dict[str, Any] = {}
        while not self._closed("}"):
            try:
                key = self.value(depth + 1)
                self._space()
                if self.text[self.at : self.at + 1] != ":":
                    raise _TextEndsError
                self.at += 1
                pairs[str(key)] = self.value(depth + 1)
            except _TextEndsError:
                self.at = len(self.text)
                return pairs
        return pairs

    def _closed(self, ends: str) -> bool:
        """Skip commas and a closing bracket, and return whether the bracket or text ends."""
        while True:
            self._space()
            if self.at >= len(self.text):
                return True
            here = self.text[self.at]
            if here in ends:
                self.at += 1
                return True
            if here != ",":
                return False
            self.at += 1

    def _space(self) -> None:
        # Called some hundred thousand times for an episode of 500 steps: as a loop faster than by a pattern.
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1


def leaves(value: Any) -> dict[str, Leaf]:
    """Flatten a parsed value.

    Returns:
        Its first MOST_LEAVES parts by path, such as ``.speed[0]``, or "" for the value itself. Lists of up to VECTOR
        numbers stay together as tuples.
    """
    parts: dict[str, Leaf] = {}
    for path, leaf in _walk("", value, 0):
        parts[path] = leaf
        if len(parts) >= MOST_LEAVES:
            break
    return parts


def _walk(path: str, value: Any, depth: int) -> Iterator[tuple[str, Leaf]]:
    if isinstance(value, dict) and depth < DEEPEST:
        for key, item in value.items():
            yield from _walk(f"{path}.{key}", item, depth + 1)
    elif isinstance(value, list) and depth < DEEPEST:
        numeric = all(isinstance(item, float) for item in value)
        if value and numeric and len(value) <= VECTOR:
            yield path, tuple(value)
        else:
            for index, item in enumerate(value):
                yield from _walk(f"{path}[{index}]", item, depth + 1)
    elif not isinstance(value, dict | list):  # below DEEPEST, nothing is in them
        yield path, value


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


def program_text(text: str, length: int = 200) -> str:
    """Return what a program wrote on one line, and marked where it might mislead.

    What could pass for a part of the prompt is quoted.

    Args:
        text: any text.
        length: most characters of the line, but for the mark.
    """
    line = one_line(text, length)
    if not line.isprintable():
        line = "".join(character if character.isprintable() else "?" for character in line)
    return f"{MARK}{json.dumps(line, ensure_ascii=False)}" if FORGED.search(line) else line


def indented(text: str) -> str:
    """Return a text with two spaces before each line that is not empty."""
    return "\n".join("  " + line if line else line for line in text.split("\n"))


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
    """Return a stretch of steps as "step 3" or "3-7".

    Args:
        first: its first step.
        last: its last step, which belongs to it.
    """
    return f"step {first}" if first == last else f"{first}-{last}"


def step_ranges(steps: Sequence[int]) -> str:
    """Return ascending steps as ranges such as "0-4, 7", at most MOST_RANGES of them."""
    spans: list[tuple[int, int]] = []
    for step in steps:
        if spans and spans[-1][1] == step - 1:
            spans[-1] = (spans[-1][0], step)
        else:
            spans.append((step, step))
    texts = [str(first) if first == last else f"{first}-{last}" for first, last in spans]
    return ", ".join(texts[:MOST_RANGES]) + (", ..." if len(texts) > MOST_RANGES else "")
