"""Values as short text for graphs, prompts and messages: the same in every process, and bounded."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

_FLOATS = frozenset((float, np.float64))
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # in the repr of objects; other in every process


def shorten(value: Any, max_chars: int = 200, digits: int | None = 4) -> str:
    """Return a value as short text, the same in every process.

    Args:
        value: any value.
        max_chars: how long the text may be; three dots stand for what is left out.
        digits: significant digits of floating-point numbers, None for all.
    """
    if (
        digits is not None
        and (text := _numbers_text(value, max_chars, f".{digits}g"))
        and len(text) <= max_chars
    ):
        return text
    try:
        text = _text(value, max_chars, digits)
    except RecursionError:  # a suggestion may be lists in lists, a thousand deep
        text = f"<{type(value).__name__}, nested too deeply to show>"
    return text if len(text) <= max_chars else text[: max(0, max_chars - 3)] + "..."


def _numbers_text(value: Any, max_chars: int, style: str) -> str:
    """Return the text of a short array or list of floats, "" for other values."""
    # A fast lane: observations and actions are of this kind, and the child that traces a controller shortens
    # every value of every step. A test holds that the two agree.
    kind = type(value)
    if kind is np.ndarray and value.ndim == 1 and value.dtype == np.float64 and len(value) < max_chars:
        value = value.tolist()
    elif kind is not list or not all(type(item) in _FLOATS for item in value):
        return ""
    return "[" + ", ".join([format(item, style) for item in value]) + "]"


def _text(value: Any, budget: int, digits: int | None) -> str:
    """Return ``value`` as text of about ``budget`` characters at most."""
    # Lists, dicts and arrays are cut before they are formatted: a million items cost no more than a hundred.
    if type(value) is float:
        return repr(value) if digits is None else f"{value:.{digits}g}"
    if value is None or isinstance(value, (bool, int)):
        try:
            return repr(value)
        except ValueError:  # Python writes no whole number of more than 4,300 digits in decimal
            return f"<whole number of {int(value or 0).bit_length():,} bits>"
    if isinstance(value, (float, np.floating)):
        return repr(float(value)) if digits is None else f"{float(value):.{digits}g}"
    if isinstance(value, str):
        return value if len(value) <= budget else value[:budget] + "..."
    if isinstance(value, np.ndarray):
        return _text(value[:budget].tolist() if value.ndim else value.item(), budget, digits)
    if isinstance(value, dict):
        return _joined((f"{_quoted(k)}: {_item(v, budget, digits)}" for k, v in value.items()), "{}", budget)
    if isinstance(value, list):
        return _joined((_item(item, budget, digits) for item in value), "[]", budget)
    if isinstance(value, tuple):
        return _joined((_item(item, budget, digits) for item in value), "()", budget)
    try:
        return _ADDRESS.sub("", repr(value))
    except Exception as error:  # a user's ``__repr__``; what is shown must not stop what is traced
        return f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"


def _item(value: Any, budget: int, digits: int | None) -> str:
    return _quoted(value) if isinstance(value, str) else _text(value, budget, digits)


def _quoted(value: Any) -> str:
    return repr(value[:200]) if isinstance(value, str) else shorten(value)


def _joined(parts: Iterable[str], brackets: str, budget: int) -> str:
    """Join until ``budget`` is used up. Three dots stand for what is left out."""
    kept: list[str] = []
    for part in parts:  # a generator: parts beyond the budget are never made
        if budget < 0:
            kept.append("...")
            break
        kept.append(part)
        budget -= len(part) + 2
    return brackets[0] + ", ".join(kept) + brackets[1]
