"""Texts that anybody may have written, made fit for a terminal: what they hold is shown, and none of it acts."""

from __future__ import annotations

import re

# Control characters but tab and newline, and what turns the direction of writing.
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def safe(text: str) -> str:
    """Return the text with every acting character written out, such as \\x1b."""
    return ACTING.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


def line(text: str, length: int = 70) -> str:
    """Return the beginning of the text on one line."""
    words = " ".join(safe(text).split())
    return words if len(words) <= length else f"{words[: length - 1]}…"


def duration(seconds: float) -> str:
    """Return a time as a person would say it: "9 s", "12 min", "3 h 05 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
