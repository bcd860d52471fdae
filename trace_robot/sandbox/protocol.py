"""The wire formats: frames for the child, messages for the fork server.

A frame is a header of fixed size and a payload of bounded size, over pipes between the host and the child. Whatever
the child writes may be forged, so a reply takes nothing on trust: `host_process` checks its header and size,
`decode_entries` the sizes inside before anything is decoded, and the text is cut and cleaned.

A message is JSON with its size before it and perhaps file descriptors, over a socket between the host and the fork
server. Both ends of that socket are trusted: no controller runs in the fork server.

The graph of a controller comes as records, one ``[step, template, texts]`` a call. The template is a list with one
entry for each new record of the call, or, if an earlier call had the same one, that one's number; the texts are the
values. An entry is

    {"name": str, "numbered": bool, "kind": str, "op": str, "doc": str, "inputs": {argument: reference},
     "timeless": bool}

A reference is the id of a record or, below 0, counted back from the record that it stands in. What is read are the
records of `trace_robot.trace.serialization`, with ids that count from 0; numbered names get a number of their own.
Names are identifiers, whatever the child wrote, and everything has a bound: a template may be used again ten thousand
times.

What the kernel offers for a boundary is here too: the host reports it, and the child locks itself down by it.
"""

from __future__ import annotations

import ctypes
import json
import math
import operator
import platform
import re
import socket
import struct
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from trace_robot.fault import MOST_CHARACTERS, Category, Fault

MACHINES: Final = ("aarch64", "x86_64")  # those with a table of system calls in `child.seccomp`
LANDLOCK_CREATE_RULESET: Final = 444  # the system call's number, the same on both machines
_CREATE_RULESET_VERSION: Final = 1  # landlock_create_ruleset(2): answer the ABI's version and create nothing


def seccomp_unavailable() -> str:
    """Return why this machine cannot have a seccomp filter, "" if it can be tried."""
    if sys.platform != "linux":
        return f"seccomp is a Linux facility and this is {sys.platform}"
    if platform.machine() not in MACHINES or sys.byteorder != "little" or sys.maxsize < 2**32:
        return f"there is no system call table for {platform.machine()!r}, only for {sorted(MACHINES)}"
    return ""


def landlock_version() -> int:
    """Return the version of the kernel's Landlock ABI, 0 if there is none."""
    if sys.platform != "linux":
        return 0
    version: int = ctypes.CDLL(None, use_errno=True).syscall(
        LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION
    )
    return max(version, 0)


# The host must not import what runs in the child, and the child imports the tracing engine only for a controller that
# uses it, so these modules are named and not imported. A test holds that each of them exists.
PACKAGE: Final = "trace_robot"
TRACE: Final = "trace_robot.trace"
FORK_SERVER: Final = "trace_robot.sandbox.child.forkserver"
CHILD_TRACING: Final = "trace_robot.sandbox.child.tracing"


@dataclass(frozen=True, slots=True)
class Interface:
    """The shape of a call.

    input_size: float64 numbers that the controller gets. output_size: float32 numbers that it returns. fields: name ->
    (start, stop) of the input; the controller then gets a dict of arrays (a float where the size is 1). None: it gets
    the flat array.
    """

    input_size: int
    output_size: int
    fields: Mapping[str, tuple[int, int]] | None = field(default=None)


_MAX_KEY: Final = 200  # characters of an argument's name
_KINDS: Final = frozenset({"parameter", "constant", "input", "operation", "exception"})
_TEXTS: Final = ("name", "kind", "op", "doc")
_FLAGS: Final = ("numbered", "timeless")
_FIELDS: Final = frozenset({"inputs", *_TEXTS, *_FLAGS})
_LATEST: Final = 2**31  # steps
_NOT_IDENTIFIER: Final = re.compile(r"\W")
NAME_CHARS: Final = 100
REPLACED_CHARS: Final = 30  # of a name that is no identifier
DOC_CHARS: Final = 4000
MAX_INPUTS: Final = 1000  # of one record
GRAPH_BYTES: Final = 1 << 25  # about what the records of one episode take in memory


def read_records(parts: Sequence[bytes]) -> tuple[dict[str, Any], ...]:
    """Return the records of an episode, up to the first that no honest child writes.

    Args:
        parts: what its calls sent, in order, any bytes.
    """
    reader = _Reader()
    for part in parts:
        try:
            if not reader.read(json.loads(part)):
                break
        except (ValueError, RecursionError):  # not JSON, or nested so deeply that it is no record
            break
    return tuple(reader.records)


class _Reader:
    """Records read so far, and the templates they came in."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self._templates: list[list[dict[str, Any] | None]] = []
        self._room = GRAPH_BYTES
        self._counts: dict[str, int] = {}

    def read(self, call: Any) -> bool:
        """Read one call and return whether all of it was as an honest child writes it."""
        if type(call) is not list or len(call) != 3:
            return False
        step, template, texts = call
        # `type` and not `isinstance`, here and below: True is an int, and JSON has no other subclasses.
        if type(step) is not int or not 0 <= step < _LATEST or type(texts) is not list:
            return False
        if type(template) is list:
            template = [_entry(item) for item in template]
            self._templates.append(template)
        elif type(template) is int and 0 <= template < len(self._templates):
            template = self._templates[template]
        else:
            return False
        for entry, text in zip(template, texts, strict=False):
            if entry is None or not self._add(entry, text, step):
                return False
        return len(template) == len(texts)

    def _add(self, entry: dict[str, Any], text: Any, step: int) -> bool:
        number = len(self.records)
        # A parameter's value is code, which may be as long as a controller.
        if number >= MAX_NODES or type(text) is not str or len(text) > MOST_CHARACTERS:
            return False
        self._room -= entry["size"] + len(text)
        if self._room < 0:
            return False
        inputs = {}
        for name, reference in entry["inputs"].items():
            inputs[name] = parent = reference if reference >= 0 else number + reference
            if not 0 <= parent < number:
                return False
        name = entry["name"]
        if entry["numbered"]:
            count = self._counts[name] = self._counts.get(name, -1) + 1
            name = f"{name}:{count}"
        record = {
            "id": number,
            "name": name,
            "kind": entry["kind"],
            "op": entry["op"],
            "doc": entry["doc"],
            "inputs": inputs,
            "value": text,
            "step": None if entry["timeless"] else step,
        }
        self.records.append(record)
        return True


def _entry(entry: Any) -> dict[str, Any] | None:
    """Return an entry with identifiers for names and its size, None if it is forged.

    The size is what its record takes in memory, about: 500 bytes, 100 for an input, and its texts.
    """
    if not _is_entry(entry):
        return None
    inputs: dict[str, int] = {}
    for key, reference in entry["inputs"].items():
        name = identifier(key)
        inputs[f"{name}_{len(inputs)}" if name in inputs else name] = reference
    operation, doc = identifier(entry["op"]) if entry["op"] else "", entry["doc"]
    # The child cuts a name, but not the same name in brackets before its documentation.
    if entry["op"] and doc.startswith(f"[{entry['op']}" + ("]" if len(entry["op"]) < NAME_CHARS else "")):
        doc = f"[{operation}]{doc[len(entry['op']) :].partition(']')[2]}"
    doc = doc[:DOC_CHARS]
    size = 500 + len(doc) + sum(100 + len(name) for name in inputs)
    return {
        **entry,
        "name": identifier(entry["name"]),
        "op": operation,
        "doc": doc,
        "inputs": inputs,
        "size": size,
    }


def identifier(name: str) -> str:
    """Return a name, or an identifier in its place: in a prompt it might be a section."""
    if name.isidentifier() and len(name) <= NAME_CHARS:
        return name
    name = _NOT_IDENTIFIER.sub("_", name[:REPLACED_CHARS])
    return name if name.isidentifier() else f"_{name}"


def _is_entry(entry: Any) -> bool:
    if type(entry) is not dict or set(entry) != _FIELDS or type(entry["inputs"]) is not dict:
        return False
    if any(type(entry[name]) is not str or len(entry[name]) > MOST_CHARACTERS for name in _TEXTS):
        return False
    return (
        entry["kind"] in _KINDS
        and all(type(entry[name]) is bool for name in _FLAGS)
        and len(entry["inputs"]) <= MAX_INPUTS
        and all(type(parent) is int and len(name) <= _MAX_KEY for name, parent in entry["inputs"].items())
    )


HEADER: Final = struct.Struct("<4sBxHII")  # magic, kind, count, sequence number, payload bytes
# Category (0: no fault), message bytes, line (0: none), bytes printed, bytes of records.
ENTRY: Final = struct.Struct("<BxHIII")
REQUEST_MAGIC: Final = b"TRq1"
REPLY_MAGIC: Final = b"TRa1"

LOAD, RESET, CALL = 1, 2, 3  # requests
READY, ACTIONS, ENTRIES, RECORDED = 11, 12, 13, 14  # replies; RECORDED: one action, then its records

CATEGORIES: Final[tuple[Category, ...]] = tuple(name for name in get_args(Category) if name != "environment")
MESSAGE_CHARS: Final = 400
MESSAGE_BYTES: Final = 4 * MESSAGE_CHARS
MAX_EPISODES: Final = 4096

MAX_NODES: Final = 20_000  # records of one episode
VALUE_CHARS: Final = 400  # of the text of a record's value, unless it is a parameter's
CALL_BYTES: Final = 1 << 20  # of the records of one call

DESCRIPTORS: Final = 3  # sent along with a message at most
_ADDRESS: Final = re.compile(" at 0x[0-9a-fA-F]+")
_SIZE: Final = struct.Struct("<I")
_READ_BYTES: Final = 1 << 16


class FrameError(Exception):
    """A reply is not what the child's code would have written."""


@dataclass(frozen=True, slots=True)
class WireRecord:
    """An episode's share of a reply besides its action.

    fault: why the episode ended, None if it did not. printed, records: since the last reply.
    """

    fault: Fault | None = None
    printed: str = ""
    records: bytes = b""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The most that an honest reply holds for one episode."""

    printed_chars: int
    records_bytes: int

    def of_reply(self, count: int, action_bytes: int) -> int:
        """Return the most bytes that may follow a reply's header.

        Args:
            count: episodes in the reply.
            action_bytes: bytes of one action, 0 where the reply has none.
        """
        entry_bytes = ENTRY.size + MESSAGE_BYTES + 4 * self.printed_chars + self.records_bytes
        return count * (entry_bytes + action_bytes)


def all_finite(numbers: Iterable[float]) -> bool:
    """Return whether all float32 numbers are finite.

    One sum is cheaper than a test of each. It is made in float64, where finite float32 numbers cannot overflow and an
    infinity or a NaN cannot vanish.
    """
    return math.isfinite(sum(numbers))


def without_addresses(text: str) -> str:
    """Return a text without the addresses of objects, which differ in every process."""
    return _ADDRESS.sub("", text) if " at 0x" in text else text


def clean(text: str, limit: int = MESSAGE_CHARS) -> str:
    """Return a text on one line, without control characters.

    Args:
        text: what the controller wrote, of any length.
        limit: characters that are kept; a text that is cut ends with "...".
    """
    text = without_addresses(" ".join(text[: 4 * limit].split()))
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def encode_entries(entries: Sequence[WireRecord], actions: bytes = b"") -> bytes:
    """Return the payload of an ENTRIES reply: entry headers, actions, then texts.

    Args:
        entries: one an episode, in the request's order.
        actions: float32 numbers of all episodes, one after the other; zeros where there was a fault.
    """
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
    """Read the payload of an ENTRIES reply without trust.

    Args:
        payload: what followed the reply's header.
        count: episodes that the request was for.
        action_bytes: bytes of one action, 0 where the reply has none.
        sizes: the most that one entry may hold.

    Returns:
        ``count`` entries, and ``count * action_bytes`` bytes of actions, whose numbers are not checked here.

    Raises:
        FrameError: the sizes do not add up, one is too large, or a category is not known.
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
            raise FrameError("a reply holds an entry that no honest child writes")
        parts = []
        for size in (message_size, *rest):
            parts.append(payload[place : place + size])
            place += size
        message, printed = (part.decode("utf-8", "replace") for part in parts[:2])
        fault = Fault(CATEGORIES[category - 1], clean(message), line or None) if category else None
        entries.append(WireRecord(fault, printed, parts[2]))
    if place != len(payload):
        raise FrameError("the sizes in a reply do not add up")
    return entries, payload[start : start + count * action_bytes]


def send_message(channel: socket.socket, message: Any, descriptors: Sequence[int] = ()) -> None:
    """Send one message between the host and the fork server.

    Args:
        channel: a connected Unix socket.
        message: JSON data.
        descriptors: at most DESCRIPTORS open files, which the receiver gets copies of.
    """
    body = json.dumps(message).encode()
    data = _SIZE.pack(len(body)) + body
    sent = socket.send_fds(channel, [data], descriptors) if descriptors else channel.send(data)
    channel.sendall(data[sent:])


def receive_message(channel: socket.socket) -> tuple[Any, list[int]]:
    """Return one message and its descriptors.

    Raises:
        EOFError: the other side has closed.
    """
    data, descriptors, _, _ = socket.recv_fds(channel, _READ_BYTES, DESCRIPTORS)
    part = data
    while part and (len(data) < _SIZE.size or len(data) < _SIZE.size + _SIZE.unpack_from(data)[0]):
        part = channel.recv(_READ_BYTES)
        data += part
    if not part:
        raise EOFError
    return json.loads(data[_SIZE.size :]), list(descriptors)
