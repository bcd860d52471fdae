"""Captions: a band of text above a picture, and a colored frame around its ending.

Texts may come from a model. There are four places that make untrusted text safe, each for its medium. Here it becomes
one short line of ASCII: a picture has no room to spell characters out, and the font no letters for them. Pages
(``trace_robot.report.escape``) and terminals (``trace_robot.cli``) spell out what cannot be seen, so that a reader sees
all of it and none acts. The message of a controller's fault (``trace_robot.sandbox.protocol``) becomes one bounded
line of printable characters of any script, since prompts and logs quote it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trace_robot.render.job import Clip
from trace_robot.spec import Array

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

BACKGROUND = (24, 26, 30)
TEXT = (235, 235, 235)
GOOD = (70, 200, 95)
BAD = (240, 85, 75)
# ASCII, which every font has, and the dot that joins lines.
DRAWABLE = frozenset(map(chr, range(32, 127))) | {"·"}
DASHES_AND_QUOTES = str.maketrans(
    {"–": "-", "—": "-", "−": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "ß": "ss", "…": "..."}
)
MAX_CHARACTERS = 200  # more than the widest picture has room for
MAX_CAPTION_LINES = 3


def plain(text: str) -> str:
    """Return a text as one line of at most 200 letters that the font has.

    Control and format characters and line ends become spaces, letters lose their accents (Unicode's NFKD), and what
    has no letter in the font becomes a question mark.
    """
    # Cut first, so that a text of megabytes costs no more than a line; longer than what is kept, since spaces and
    # accents go.
    start = unicodedata.normalize("NFKD", text[: 4 * MAX_CHARACTERS].translate(DASHES_AND_QUOTES))
    return " ".join("".join(map(_letter, start)).split())[:MAX_CHARACTERS]


def _letter(char: str) -> str:
    if char in DRAWABLE:
        return char
    return {"C": " ", "Z": " ", "M": ""}.get(unicodedata.category(char)[0], "?")


def color_of(success: bool | None) -> tuple[int, int, int]:
    """Return the color of an outcome as red, green and blue, from 0 to 255."""
    return TEXT if success is None else GOOD if success else BAD


def font_size(height: int) -> int:
    """Return the height of letters for a picture of that height, both in pixels."""
    return max(9, round(height / 19))


def lines_of(clip: Clip, width: int, size: int) -> list[str]:
    """Return the lines of a caption without its outcome, short ones joined.

    Args:
        clip: whose caption it is.
        width: of the band, in pixels.
        size: height of letters, in pixels.
    """
    font, lines = ImageFont.load_default(size), list[str]()
    for text in filter(None, map(plain, clip.caption[:MAX_CAPTION_LINES])):
        joined = f"{lines[-1]} · {text}" if lines else text
        if lines and font.getlength(joined) <= width - 2 * _margin(size):
            lines[-1] = joined
        else:
            lines.append(text)
    return lines


def band_height(clips: Sequence[Clip], size: tuple[int, int]) -> int:
    """Return the height of a caption that has room for the lines of each clip.

    Args:
        clips: all clips of a video, which share one height.
        size: of the pictures: width and height in pixels.

    Returns:
        Pixels, an even number, at most half of the picture's height.
    """
    letters = font_size(size[1])
    counts = [len(lines_of(clip, size[0], letters)) + bool(plain(clip.outcome)) for clip in clips]
    wanted = max(counts) * (letters + 3) + 5 if any(counts) else 0
    # At most half: a long caption must not push the scene out of the picture.
    return min(wanted + wanted % 2, size[1] // 4 * 2)


def band(clip: Clip, width: int, rows: int, size: int) -> Array:
    """Return the drawn caption of a clip.

    Args:
        clip: whose caption it is.
        width: in pixels.
        rows: the height in pixels; 0 gives an empty array.
        size: height of letters, in pixels.

    Returns:
        (rows, width, 3), 8 bits.
    """
    image = Image.new("RGB", (width, rows), BACKGROUND)
    if not rows:
        return np.asarray(image)
    draw, font, margin = ImageDraw.Draw(image), ImageFont.load_default(size), _margin(size)
    lines = lines_of(clip, width, size)
    for number, line in enumerate(lines):
        line = _fitting(line, font, width - 2 * margin)
        draw.text((margin, 2 + number * (size + 3)), line, TEXT, font=font)
    left, top = margin, 2 + len(lines) * (size + 3)
    if clip.success is not None:
        side = size * 2 // 3
        draw.rectangle((left, top + size // 3, left + side, top + size // 3 + side), color_of(clip.success))
        left += side + margin
    outcome = _fitting(plain(clip.outcome), font, width - left - margin)
    draw.text((left, top), outcome, color_of(clip.success), font=font)
    return np.asarray(image)


def _margin(size: int) -> int:
    return max(3, size // 2)


def _fitting(line: str, font: Font, width: int) -> str:
    if font.getlength(line) <= width:
        return line
    # Letter by letter is quick enough: ``plain`` left at most MAX_CHARACTERS.
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line.rstrip() + "…"


def with_band(picture: Array, above: Array, progress: float) -> Array:
    """Return a picture with its caption above it, and a progress bar between them.

    Above, since players lay their controls over the lower edge.

    Args:
        picture: (height, width, 3).
        above: (rows, width, 3), the caption; without rows the picture is returned as it is.
        progress: the share of the clip that has passed, from 0 to 1.
    """
    if not len(above):
        return picture
    frame = np.concatenate([above, picture])
    reached = round(frame.shape[1] * min(max(progress, 0.0), 1.0))
    frame[len(above) - 1, :reached] = (150, 155, 165)
    return frame


def ending(picture: Array, success: bool | None) -> Array:
    """Return a copy of a picture with a frame in the color of the outcome.

    Args:
        picture: (height, width, 3).
        success: the outcome; for None the picture is returned as it is.
    """
    if success is None:
        return picture
    framed = picture.copy()
    edge = max(2, picture.shape[0] // 60)
    for part in (framed[:edge], framed[-edge:], framed[:, :edge], framed[:, -edge:]):
        part[:] = color_of(success)
    return framed
