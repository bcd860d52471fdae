"""Names of nodes: a base and a number, unique within the process.

Only counters are kept here, never nodes: the published package registers every node in a global graph by its
name, and so frees none of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import count

TITLE = re.compile(r"^\[([^\[\]]+)\]")  # of a description: [title] text
_NOT_IDENTIFIER = re.compile(r"\W")


class Names:
    """The counter of one base.

    identifier: the base as a Python identifier.
    take: returns the next number. It is a C function held in a slot, so a call costs no Python frame and two
    threads
        never get the same number.
    """

    __slots__ = ("identifier", "take")

    def __init__(self, identifier: str) -> None:
        self.identifier = identifier
        self.take: Callable[[], int] = count().__next__


# Two dicts: several bases ("a b", "a-b") may give one identifier and must then share a counter, or two nodes
# would have the same ``py_name``. ``_counters`` is keyed by identifier, ``_by_base`` spares the regular
# expression the second time.
_counters: dict[str, Names] = {}
_by_base: dict[str, Names] = {}


@lru_cache(maxsize=1024)
def identifier(base: str) -> str:
    """Return ``base`` as a Python identifier that a number may follow.

    An underscore closes off a digit at its end: number 0 of ``x1`` is ``x1_0``, since ``x10`` is number 10 of
    ``x``.
    """
    text = as_identifier(base)
    return text + "_" if text[-1].isdigit() else text


def as_identifier(text: str) -> str:
    """Return ``text`` as a Python identifier, with underscores for other characters."""
    text = _NOT_IDENTIFIER.sub("_", text) or "_"
    return "_" + text if text[0].isdigit() else text


def names(base: str) -> Names:
    """Return the counter of ``base``."""
    counter = _by_base.get(base)
    if counter is None:
        key = identifier(base)
        # setdefault is atomic: two threads that meet a base for the first time get one counter
        counter = _by_base[base] = _counters.setdefault(key, Names(key))
    return counter


def restart() -> None:
    """Count from 0 again: nodes made from here on may bear names that older ones bear."""
    for counter in _counters.values():
        counter.take = count().__next__
