"""Values in few characters, the same in every process."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

_FLOATS = frozenset((float, np.float64))
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def shorten(value: Any, max_chars: int = 200, digits: int | None = 4) -> str:
    """Return ``value`` as text of at most ``max_chars`` characters.

    Floating-point numbers keep ``digits`` significant digits, with None all of them.
    """
    if digits is not None and (text := _quick(value, max_chars, f".{digits}g")) and len(text) <= max_chars:
        return text
    text = _text(value, max_chars, digits)
    return text if len(text) <= max_chars else text[: max(0, max_chars - 3)] + "..."


def _quick(value: Any, max_chars: int, style: str) -> str:
    """Return what `_text` returns for what there is most of, short arrays and lists of floats; "" for the rest."""
    kind = type(value)
    if kind is np.ndarray and value.ndim == 1 and value.dtype == np.float64 and len(value) < max_chars:
        value = value.tolist()
    elif kind is not list or not all(type(each) in _FLOATS for each in value):
        return ""
    return "[" + ", ".join([format(each, style) for each in value]) + "]"


def _text(value: Any, budget: int, digits: int | None) -> str:
    if type(value) is float:
        return repr(value) if digits is None else f"{value:.{digits}g}"
    if value is None or isinstance(value, (bool, int)):
        return repr(value)
    if isinstance(value, (float, np.floating)):
        return repr(float(value)) if digits is None else f"{float(value):.{digits}g}"
    if isinstance(value, str):
        return value if len(value) <= budget else value[:budget] + "..."
    if isinstance(value, np.ndarray):
        return _text(value[:budget].tolist() if value.ndim else value.item(), budget, digits)
    if isinstance(value, dict):
        return _joined((f"{_quoted(k)}: {_item(v, budget, digits)}" for k, v in value.items()), "{}", budget)
    if isinstance(value, list):
        return _joined((_item(each, budget, digits) for each in value), "[]", budget)
    if isinstance(value, tuple):
        return _joined((_item(each, budget, digits) for each in value), "()", budget)
    try:
        return _ADDRESS.sub("", repr(value))
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"


def _item(value: Any, budget: int, digits: int | None) -> str:
    return _quoted(value) if isinstance(value, str) else _text(value, budget, digits)


def _quoted(value: Any) -> str:
    return repr(value[:200]) if isinstance(value, str) else shorten(value)


def _joined(parts: Iterable[str], brackets: str, budget: int) -> str:
    """Join until ``budget`` is used up; what is left out shows as three dots."""
    kept: list[str] = []
    for each in parts:
        if budget < 0:
            kept.append("...")
            break
        kept.append(each)
        budget -= len(each) + 2
    return brackets[0] + ", ".join(kept) + brackets[1]
