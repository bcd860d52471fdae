"""Names of nodes: a base and a number, unique within the process; nothing here holds a node."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import count

_NOT_IDENTIFIER = re.compile(r"\W")


class Names:
    """The numbers given out for one base; ``take()`` returns the next."""

    __slots__ = ("identifier", "take")

    def __init__(self, identifier: str) -> None:
        self.identifier = identifier
        self.take: Callable[[], int] = count().__next__


_names: dict[str, Names] = {}
_by_base: dict[str, Names] = {}


@lru_cache(maxsize=1024)
def identifier(base: str) -> str:
    """Return ``base`` as a Python identifier; a digit at its end is closed off, so that x1 + 0 is not x + 10."""
    text = as_identifier(base)
    return text + "_" if text[-1].isdigit() else text


def as_identifier(text: str) -> str:
    text = _NOT_IDENTIFIER.sub("_", text) or "_"
    return "_" + text if text[0].isdigit() else text


def names(base: str) -> Names:
    """Return the counter of ``base``; bases that give one identifier share it."""
    found = _by_base.get(base)
    if found is None:
        key = identifier(base)
        found = _by_base[base] = _names.setdefault(key, Names(key))
    return found


def restart() -> None:
    """Count from 0 again: nodes made from here on may carry names that older ones have."""
    for each in _names.values():
        each.take = count().__next__
