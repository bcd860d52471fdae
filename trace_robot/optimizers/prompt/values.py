"""Parse the text of a record's value: numbers, texts, lists and dicts, also where its end is cut off.

A record crosses the boundary of the sandbox as short text. This is the one place where that text becomes numbers again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

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


def parse_value(text: str) -> Any:
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
