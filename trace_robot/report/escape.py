"""Escape untrusted text: stored XSS, hidden characters, oversized lines.

Controllers, prompts, replies and notes come from a language model or a stranger. HTML escaping is the templates'
(``html.environment``); here is what HTML escaping does not cover: invisible characters, JSON inside a script
element, plotly's pseudo-HTML, and links that lead out of a run.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any, BinaryIO

from trace_robot import safe_files
from trace_robot.errors import spelled

LONGEST_TEXT = 100_000  # characters of one text; prompts have some 20,000
LONGEST_LINE = 2_000  # characters of one line, against one that a browser takes long to lay out
_JOINERS = "\u200c\u200d"  # zero-width; emoji and the scripts of Persian and India need them
_LONG = re.compile(f"([^\n]{{{LONGEST_LINE}}})([^\n]+)")
# Against "</script>" and "<!--" in a string, which end or confuse a script element whatever JSON says; U+2028 and
# U+2029 end a line in older JavaScript.
_IN_SCRIPT = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def visible(text: str, longest: int = LONGEST_TEXT) -> str:
    r"""Return ``text`` with invisible characters spelled out and oversized parts cut.

    Args:
        text: any string, lone surrogates included.
        longest: characters kept of the whole; a line keeps at most ``LONGEST_LINE``.

    Returns:
        Text with ``\x1b`` or ``\u202e`` for what cannot be seen, and a count where something was cut. It can be
        encoded as UTF-8; it is not escaped for HTML.
    """
    if len(text) > longest:
        text = f"{text[:longest]}\n[{len(text) - longest:,} more characters are not shown]"
    text = spelled(text.replace("\r\n", "\n"), kept=_JOINERS)
    return _LONG.sub(lambda cut: f"{cut[1]} [{len(cut[2]):,} more characters are not shown]", text)


def script_json(data: Any) -> str:
    """Return ``data`` as JSON that is safe inside a script element.

    No string in it can end the element. NaN and infinities, which JSON lacks, become null.
    """
    return json.dumps(_finite(data), separators=(",", ":"), ensure_ascii=False, allow_nan=False).translate(
        _IN_SCRIPT
    )


def plot_text(text: str, longest: int = 120) -> str:
    """Return a one-line plot label, escaped for plotly's pseudo-HTML.

    Args:
        text: untrusted; line breaks become spaces.
        longest: characters kept, before escaping.
    """
    # Against plotly's own markup: it draws <a href> and <b> of a label as elements, wherever the label comes from.
    line = " ".join(visible(text).split())
    line = line if len(line) <= longest else f"{line[: longest - 1]}…"
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markup(text: str) -> str:
    """Mark trusted text, made by the report itself, so that it is not escaped."""
    from markupsafe import Markup

    return Markup(text)


def data_address(kind: str, content: bytes) -> str:
    """Return a data: URL of ``content`` (RFC 2397), base64-encoded.

    Args:
        kind: media type, e.g. "video/mp4".
        content: the file's bytes.
    """
    # Trusted: base64 has no character that HTML gives a meaning, and a video must not be cut.
    return markup(f"data:{kind};base64,{base64.b64encode(content).decode()}")


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if -float("inf") < data < float("inf") else None
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return data


def inside(video: Path, folder: Path) -> bool:
    """Return whether a video really lies in a run's folder, against symlink traversal.

    Args:
        video: a path below ``folder`` by name; it may be a symbolic link, or missing.
        folder: the run's folder.

    Returns:
        True for a regular file to which no part of the path, the run's folder included, is a link.
    """
    return video.is_relative_to(folder) and safe_files.is_file(folder.parent, _below(video, folder))


def open_video(video: Path, folder: Path) -> BinaryIO:
    """Open a video of a run, following no link.

    Args:
        video: a path below ``folder`` by name.
        folder: the run's folder.

    Raises:
        OSError: it is not ``inside``.
    """
    return safe_files.open_read(folder.parent, _below(video, folder))


def _below(video: Path, folder: Path) -> str:
    """Return the path from the folder of runs: the run's own may be no link either."""
    return video.relative_to(folder.parent).as_posix()
