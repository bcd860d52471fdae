"""The binary frames between a sandbox and its jail: a header of fixed size, then a bounded payload.

Everything that comes out of a jail may be forged, so a reply is read with `Reply.parse`, which takes nothing on
trust: sizes are checked before anything is decoded, numbers must be finite, text is cut and cleaned.
"""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from trace_robot.fault import Category, Fault

HEADER: Final = struct.Struct("<4sBxHII")  # magic, kind, count, sequence number, payload bytes
ENTRY: Final = struct.Struct(
    "<BxHIII"
)  # category (0: none), message bytes, line (0: none), printed, records bytes
REQUEST_MAGIC: Final = b"TRq1"
REPLY_MAGIC: Final = b"TRa1"

LOAD, RESET, CALL = 1, 2, 3  # requests
READY, ACTIONS, ENTRIES, RECORDED = 11, 12, 13, 14  # replies; RECORDED: one action, then its records

CATEGORIES: Final[tuple[Category, ...]] = tuple(each for each in get_args(Category) if each != "environment")
MESSAGE_CHARS: Final = 400
MESSAGE_BYTES: Final = 4 * MESSAGE_CHARS
MAX_EPISODES: Final = 4096


def all_finite(numbers: Iterable[float]) -> bool:
    """Return whether all of an action's float32 numbers are; their sum cannot be otherwise, being made in float64."""
    return math.isfinite(sum(numbers))


class FrameError(Exception):
    """A reply is not what a jail would have written."""


@dataclass(frozen=True, slots=True)
class WireRecord:
    """What one episode has to say besides its action: a fault, what was printed and recorded since the last reply."""

    fault: Fault | None = None
    printed: str = ""
    records: bytes = b""


def clean(text: str, limit: int = MESSAGE_CHARS) -> str:
    """Return ``text`` on one line, without control characters, at most ``limit`` characters."""
    text = " ".join(text[: 4 * limit].split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def encode_entries(entries: Sequence[WireRecord], actions: bytes = b"") -> bytes:
    """Return the payload of an ENTRIES reply: all entry headers, the actions, then the texts."""
    heads, texts = [], []
    for entry in entries:
        printed = entry.printed.encode("utf-8", "replace")
        if (fault := entry.fault) is None:
            heads.append(ENTRY.pack(0, 0, 0, len(printed), len(entry.records)))
            texts += [printed, entry.records]
            continue
        message = fault.message.encode("utf-8", "replace")[:MESSAGE_BYTES]
        category = CATEGORIES.index(fault.category) + 1
        heads.append(ENTRY.pack(category, len(message), fault.line or 0, len(printed), len(entry.records)))
        texts += [message, printed, entry.records]
    return b"".join([*heads, actions, *texts])


def decode_entries(
    payload: bytes, count: int, action_bytes: int, sizes: Sizes
) -> tuple[list[WireRecord], bytes]:
    """Return the entries and the actions (``count * action_bytes`` bytes) of an ENTRIES reply.

    Raises:
        FrameError: the sizes do not add up or a category is not known.
    """
    start = count * ENTRY.size
    place = start + count * action_bytes
    if len(payload) < place:
        raise FrameError("a reply ends before its last action")
    entries = []
    for index in range(count):
        category, message_size, line, *rest = ENTRY.unpack_from(payload, index * ENTRY.size)
        largest = (4 * sizes.printed_chars, sizes.records_bytes)
        if category > len(CATEGORIES) or message_size > MESSAGE_BYTES or any(map(operator.gt, rest, largest)):
            raise FrameError("a reply holds an entry that no jail writes")
        parts = []
        for size in (message_size, *rest):
            parts.append(payload[place : place + size])
            place += size
        words, printed = (part.decode("utf-8", "replace") for part in parts[:2])
        fault = Fault(CATEGORIES[category - 1], clean(words), line or None) if category else None
        entries.append(WireRecord(fault, printed, parts[2]))
    if place != len(payload):
        raise FrameError("the sizes in a reply do not add up")
    return entries, payload[start : start + count * action_bytes]


@dataclass(frozen=True, slots=True)
class Sizes:
    """The most that an honest reply holds for one episode."""

    printed_chars: int
    records_bytes: int

    def of_reply(self, count: int, action_bytes: int) -> int:
        """Return the most bytes that may follow a reply's header."""
        return count * (
            ENTRY.size + action_bytes + MESSAGE_BYTES + 4 * self.printed_chars + self.records_bytes
        )
