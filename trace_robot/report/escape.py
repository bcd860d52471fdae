"""Untrusted text made fit to be looked at: what cannot be seen is spelled out, what is endless is cut."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

LONGEST_TEXT = 100_000
LONGEST_LINE = 2_000
# Control characters, what reverses the direction of text or hides in it, and halves of surrogate pairs.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_LONG = re.compile(f"([^\n]{{{LONGEST_LINE}}})([^\n]+)")
_IN_SCRIPT = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def visible(text: str, longest: int = LONGEST_TEXT) -> str:
    r"""Return ``text`` with unseen characters as ``\x1b`` or ``\u202e``, and endless lines and texts cut.

    What was cut is counted where it stood. The result can be encoded as UTF-8; it is not escaped for HTML.
    """
    if len(text) > longest:
        text = f"{text[:longest]}\n[{len(text) - longest:,} more characters are not shown]"
    text = _UNSEEN.sub(_spelled, text.replace("\r\n", "\n"))
    return _LONG.sub(lambda cut: f"{cut[1]} [{len(cut[2]):,} more characters are not shown]", text)


def script_json(data: Any) -> str:
    """Return ``data`` as JSON that may stand inside a script element, whatever strings are in it.

    Numbers that JSON has no word for become null.
    """
    return json.dumps(_finite(data), separators=(",", ":"), ensure_ascii=False, allow_nan=False).translate(
        _IN_SCRIPT
    )


def plot_text(text: str, longest: int = 120) -> str:
    """Return one line for a label of a plot, where plotly would read tags and entities as its own."""
    line = " ".join(visible(text).split())
    line = line if len(line) <= longest else f"{line[: longest - 1]}…"
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markup(text: str) -> str:
    """Mark text that was made here, and is safe in a page as it is: neither escaped nor cut."""
    from markupsafe import Markup

    return Markup(text)


def data_address(kind: str, content: bytes) -> str:
    """Return the address that holds ``content`` itself."""
    return markup(f"data:{kind};base64,{base64.b64encode(content).decode()}")


def _spelled(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if -float("inf") < data < float("inf") else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data


def inside(video: Path, folder: Path) -> bool:
    """Return whether ``video`` is a file in ``folder``, links followed."""
    try:
        return video.resolve(strict=True).is_relative_to(folder.resolve(strict=True)) and video.is_file()
    except (OSError, RuntimeError):  # RuntimeError: links that go round in circles
        return False
