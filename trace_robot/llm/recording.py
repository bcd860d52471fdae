"""Record exchanges with a model in a file of JSON lines, and replay them.

A record may come from another person and may be compressed (gzip): what it unpacks to, its lines and their depth are
bounded.
"""

from __future__ import annotations

import gzip
import json
import os
import threading
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trace_robot.errors import ContextLengthError, ReplayMismatchError, RunError
from trace_robot.line_diff import unified_diff
from trace_robot.llm.model import IMAGES, ChatModel, Message, Reply, images_of
from trace_robot.safe_files import MOST_JSON, load_json

Key = tuple[tuple[str, str], ...]
GZIP = b"\x1f\x8b"  # the first two bytes (RFC 1952)
MOST_BYTES = (
    256 * 2**20
)  # of a record, unpacked, in memory: an exchange is 20 kB, and a run has a few hundred


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its replies.

    Args:
        number: in the order of the record, from 1.
        messages: the prompt.
        replies: all of them; none where the prompt was too long.
        refused: what the endpoint answered to a prompt that was too long, "" otherwise.
        limit: tokens of its context, where it named them.
        run: the name of the run that asked, in a file of the answers of several; "" in others.
    """

    number: int
    messages: tuple[Message, ...]
    replies: tuple[Reply, ...]
    refused: str = ""
    limit: int | None = None
    run: str = ""

    @property
    def key(self) -> Key:
        """What finds the exchange: its prompt, hashable."""
        return _key(self.messages)

    def line(self) -> str:
        """Return one line of JSON.

        Long texts are lists of lines, so that people and version control can read them.
        """
        data: dict[str, Any] = {"run": self.run} if self.run else {}
        data |= {
            "number": self.number,
            "messages": [_message_data(m) for m in self.messages],
            "replies": [{**reply.to_data(), "text": _split(reply.text)} for reply in self.replies],
        }
        if self.refused:
            data |= {"refused": self.refused, "limit": self.limit}
        return json.dumps(data, ensure_ascii=False)

    def answers(self, n: int) -> bool:
        """Return whether it is what came of asking for ``n`` replies."""
        return bool(self.refused) or len(self.replies) == n

    def result(self) -> list[Reply]:
        """Return the replies.

        Raises:
            ContextLengthError: the prompt was too long, as it was when it was recorded.
        """
        if self.refused:
            raise ContextLengthError(self.refused, self.limit)
        return list(self.replies)


def _message_data(message: Message) -> dict[str, Any]:
    data = {"role": message["role"], "content": _split(message["content"])}
    pictures = images_of(message)
    return {**data, IMAGES: pictures} if pictures else data


def _message(data: Any) -> Message:
    message = {"role": data["role"], "content": _join(data["content"])}
    return {**message, IMAGES: json.dumps(data[IMAGES])} if IMAGES in data else message


# By the text alone: another machine draws the same pictures with other bits.
def _key(messages: Sequence[Message]) -> Key:
    return tuple((message["role"], message["content"]) for message in messages)


def read_record(path: Path | str) -> list[Exchange]:
    """Return the exchanges of a record, without a last line that was written in part.

    Raises:
        RunError: the file cannot be read, is too large or is no record.
    """
    return list(iter_record(path))


def iter_record(path: Path | str, most: int = MOST_BYTES) -> Iterator[Exchange]:
    """Yield the exchanges of a record, one line in memory at a time.

    Args:
        path: JSON lines, plain or compressed by gzip, which its first bytes say.
        most: bytes that it may have unpacked.

    Raises:
        RunError: as of ``read_record``.
    """
    return _exchanges(Path(path), _lines_of(Path(path), most))


def is_packed(path: Path) -> bool:
    """Return whether a file is compressed by gzip."""
    with path.open("rb") as file:
        return file.read(len(GZIP)) == GZIP


def _lines_of(path: Path, most: int) -> Iterator[str]:
    left = most
    try:
        with gzip.open(path) if is_packed(path) else path.open("rb") as file:
            # Only at line feeds: str.splitlines also cuts at U+2028 and U+0085, and these stand in JSON as they are.
            while line := file.readline(min(MOST_JSON, left) + 1):
                left -= len(line)
                if left < 0 or len(line) > MOST_JSON:
                    size = most if left < 0 else MOST_JSON
                    what = "file" if left < 0 else "line"
                    raise RunError(f"cannot read the record {path}: a {what} has at most {size:,} bytes")
                yield line.decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeError) as error:
        raise RunError(f"cannot read the record {path}: {error}") from error


def _exchanges(path: Path, lines: Iterable[str]) -> Iterator[Exchange]:
    position, cut = 0, None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if cut is not None:  # it was not the last line
            raise cut
        position += 1
        try:
            data = load_json(line)
            messages = tuple(_message(m) for m in data["messages"])
            replies = tuple(Reply(**{**reply, "text": _join(reply["text"])}) for reply in data["replies"])
            refused, limit = str(data.get("refused", "")), data.get("limit")
            run = str(data.get("run", ""))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            fault = RunError(f"line {number} of the record {path} is not an exchange: {error!r:.300}")
            if isinstance(error, json.JSONDecodeError):
                cut = fault  # by an interruption, if nothing follows
                continue
            raise fault from error
        yield Exchange(position, messages, replies, refused, limit if isinstance(limit, int) else None, run)


class RecordingModel:
    """A chat model whose exchanges are written to a file before they are used.

    A write-ahead log: requests that the file already holds are answered from it, each recorded answer once, so that an
    interrupted run pays for none twice.

    Args:
        model: answers what the file does not hold.
        path: the file; made if there is none, else exchanges are appended.

    Raises:
        RunError: the file is no record.
    """

    def __init__(self, model: ChatModel, path: Path | str) -> None:
        self.model = model
        self.path = Path(path)
        known = read_record(self.path) if self.path.exists() else []
        if known and is_packed(self.path):
            raise RunError(
                f"the record {self.path} is compressed, and nothing is appended to it; unpack it first"
            )
        self._waiting = _by_key(known)
        self._number = len(known)
        self._lock = threading.Lock()
        self._drop_half_line()

    @property
    def waiting(self) -> bool:
        """Whether the file holds answers that were not asked for yet."""
        return any(self._waiting.values())

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        """Return recorded replies, else those of ``model`` once they are on disk.

        Args:
            messages: the prompt.
            n: how many replies to ask for; an exchange with another number does not count as the same.

        Raises:
            RunError: the file cannot be written.
        """
        with self._lock:
            waiting = self._waiting.get(_key(messages))
            if waiting and waiting[0].answers(n):
                return waiting.popleft().result()
        try:
            replies = self.model.chat(messages, n)  # without the lock: requests may run at the same time
        except ContextLengthError as error:  # decides over the next prompt, so a replay has to meet it, too
            self._enter(messages, (), str(error), error.limit)
            raise
        self._enter(messages, replies)
        return replies

    def skip(self, messages: Sequence[Message], n: int = 1) -> None:
        """Mark a recorded answer as used, because a run's journal has given the same one.

        Args:
            messages: the prompt.
            n: how many replies it had.
        """
        with self._lock:
            waiting = self._waiting.get(_key(messages))
            if waiting and waiting[0].answers(n):
                waiting.popleft()

    def _enter(
        self,
        messages: Sequence[Message],
        replies: Sequence[Reply],
        refused: str = "",
        limit: int | None = None,
    ) -> None:
        with self._lock:
            self._number += 1
            self._append(Exchange(self._number, tuple(messages), tuple(replies), refused, limit))

    def _append(self, exchange: Exchange) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8", errors="replace") as file:
                file.write(exchange.line() + "\n")
                file.flush()
                os.fsync(file.fileno())  # what was paid for survives a crash of the machine
        except OSError as error:
            raise RunError(f"cannot write the record {self.path}: {error}") from error

    def _drop_half_line(self) -> None:
        """Cut a last line that an interruption left without its end."""
        if not self.path.exists():
            return
        data = self.path.read_bytes()
        if data and not data.endswith(b"\n"):
            self.path.write_bytes(data[: data.rfind(b"\n") + 1])


class PromptDiffersError(ReplayMismatchError):
    """A prompt is not in the record.

    Args:
        message: where it differs from the next recorded prompt.
        difference: the unified diff from that one.
    """

    def __init__(self, message: str, difference: str) -> None:
        super().__init__(message)
        self.difference = difference


class ReplayModel:
    """A chat model that answers from a record, each exchange once.

    Args:
        path: the record, of one run.
        in_order: whether a prompt that the record does not hold gets the next answer that is left, so that what a
            model wrote can be tried again although the text of prompts has changed since.

    Raises:
        RunError: the file cannot be read, is no record, or has the answers of several runs.
    """

    def __init__(self, path: Path | str, *, in_order: bool = False) -> None:
        self.path, self.in_order = Path(path), in_order
        self._left = read_record(self.path)
        if len(runs := sorted({exchange.run for exchange in self._left})) > 1:
            raise RunError(
                f"the record {self.path} has the answers of {len(runs)} runs, such as {runs[-1]!r:.100}; replay them"
                " with: trace-robot bench --replay FILE"
            )
        self.total = len(self._left)
        self._lock = threading.Lock()

    @property
    def remaining(self) -> int:
        """How many exchanges are not used yet."""
        return len(self._left)

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        """Return the replies that were recorded for a prompt.

        Args:
            messages: the prompt, equal to the recorded one in every character unless ``in_order``.
            n: how many replies were asked for.

        Raises:
            PromptDiffersError: the record does not hold the prompt.
            ReplayMismatchError: all exchanges of the record are used.
        """
        wanted = _key(messages)
        with self._lock:
            for position, exchange in enumerate(self._left):
                if exchange.key == wanted and exchange.answers(n):
                    del self._left[position]
                    return exchange.result()
            if self.in_order and self._left and self._left[0].answers(n):
                return self._left.pop(0).result()
            raise self._mismatch(messages)

    def _mismatch(self, messages: Sequence[Message]) -> ReplayMismatchError:
        if not self._left:
            return ReplayMismatchError(
                f"the record {self.path.name} has no answer left: all {self.total} are used"
            )
        expected = self._left[0]
        before, after = _lines(expected.messages), _lines(messages)
        pairs = enumerate(zip(before, after, strict=False))
        number = next((i for i, (old, new) in pairs if old != new), min(len(before), len(after)))
        recorded, asked = (lines[number] if number < len(lines) else "nothing" for lines in (before, after))
        difference = unified_diff(before, after, "recorded", "asked", context=2)
        return PromptDiffersError(
            f"prompt {expected.number} differs from the recorded one at line {number + 1}: "
            f"recorded {recorded[:120]!r}, asked {asked[:120]!r}",
            "\n".join(difference),
        )


def _by_key(exchanges: Sequence[Exchange]) -> dict[Key, deque[Exchange]]:
    grouped: dict[Key, deque[Exchange]] = {}
    for exchange in exchanges:
        grouped.setdefault(exchange.key, deque()).append(exchange)
    return grouped


def _lines(messages: Sequence[Message]) -> list[str]:
    return [line for m in messages for line in (f"[{m['role']}]", *m["content"].split("\n"))]


def _split(text: str) -> Any:
    return text.split("\n") if "\n" in text else text


def _join(text: Any) -> str:
    return "\n".join(text) if isinstance(text, list) else str(text)
