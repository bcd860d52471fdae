"""Reading values back from their shortened text: whatever can be read of it, numbers above all."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from trace_robot.optimizers.problem import ParameterSpec, plain

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|inf|nan)(?![\w.])")
NAME = re.compile(r"[A-Za-z_][\w.]*")
STRING = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
OTHER = re.compile(r"[^,\]\[(){}:]+")
WORDS = {"True": True, "False": False, "None": None}
DEEPEST = 12
VECTOR = 8
MOST_LEAVES = 64

Leaf = float | bool | str | None | tuple[float, ...]


class _End(Exception):
    """The text ends before the value does."""


def read_value(text: str) -> Any:
    """Return numbers, texts, lists and dicts as written in a ``repr``; the cut-off end of it is left out.

    ``array(...)`` and ``np.float64(...)`` are read as what is inside; what cannot be read stays text.
    """
    reader = _Reader(text)
    try:
        value = reader.value(0)
    except _End:
        return text
    rest = text[reader.at :].strip()
    return text if rest and not isinstance(value, dict | list) else value


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def value(self, depth: int) -> Any:
        self._space()
        if self.at >= len(self.text) or depth > DEEPEST:
            raise _End
        if self.text[self.at] in "[(":
            return self._items(depth)
        if self.text[self.at] == "{":
            return self._pairs(depth)
        for pattern in (NUMBER, STRING, NAME, OTHER):
            match = pattern.match(self.text, self.at)
            if match:
                return self._atom(pattern, match, depth)
        raise _End

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
            except _End:
                return items
            self._space()
            if self.text[self.at : self.at + 1] == "=":
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
                    raise _End
                self.at += 1
                pairs[str(key)] = self.value(depth + 1)
            except _End:
                self.at = len(self.text)
                return pairs
        return pairs

    def _closed(self, ends: str) -> bool:
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
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1


def leaves(value: Any) -> dict[str, Leaf]:
    """Return the parts of ``value`` by path ("" for itself); short lists of numbers stay together."""
    found: dict[str, Leaf] = {}
    for path, leaf in _walk("", value, 0):
        found[path] = leaf
        if len(found) >= MOST_LEAVES:
            break
    return found


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
    """Return ``value`` with ``digits`` significant digits; whole numbers up to six digits stay whole."""
    if isinstance(value, bool) or not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.{digits}g}"


def at_scale(value: float, scale: float) -> str:
    """Return ``value`` rounded to a thousandth of ``scale``, the size of what it is compared with."""
    if not math.isfinite(value):
        return str(value)
    if scale <= 0:
        return number(value, 4)
    decimals = min(max(0, 3 - math.ceil(math.log10(scale))), 9)
    text = f"{value:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def fence(source: str, language: str = "python") -> str:
    """Return ``source`` between fences with more backticks than any run inside it."""
    longest = max((len(run) for run in re.findall(r"`{3,}", source)), default=2)
    mark = "`" * (longest + 1)
    return f"{mark}{language}\n{source.strip(chr(10))}\n{mark}"


def variable(spec: ParameterSpec, value: Any) -> str:
    """One entry of #Variables; exact, so that what is repeated unchanged stays unchanged."""
    if spec.kind == "code":
        return f"(code) {spec.name} =\n{fence(str(value))}"
    if spec.kind == "text":
        return f"(text) {spec.name} =\n{fence(str(value), '')}"
    return f"({spec.kind}) {spec.name} = {plain(value)!r}"


def one_line(text: str, length: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."


def indented(text: str, by: str = "  ") -> str:
    return "\n".join(by + line if line else line for line in text.split("\n"))
