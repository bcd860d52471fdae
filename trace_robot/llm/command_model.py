"""Chat model that is a command: a prompt on standard input, an answer on standard output.

Any program is then an optimizer's model: a command-line agent, a script around another interface, a person's own. It is
started without a shell, with the environment variables that children of this library get (``child_process``), and ends
with all its processes when its time is over.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from trace_robot.child_process import OutputLog, clean_environment
from trace_robot.errors import ModelError, UnknownModelError, UsageError
from trace_robot.llm.model import Message, Reply

SECONDS = 1800.0  # for one answer; a coding agent takes minutes
MOST_BYTES = 4 * 2**20  # of an answer: a controller has 200,000 characters at most
BLOCK = 64 * 1024


class CommandModel:
    """A chat model whose answers a command prints.

    Args:
        command: program and arguments, as text that is split as a shell would, or already split.
        seconds: time limit of one answer, wall clock.

    Raises:
        UsageError: the text is empty, or a quote in it is not closed.
        UnknownModelError: there is no such program.
    """

    def __init__(self, command: str | Sequence[str], *, seconds: float = SECONDS) -> None:
        self.command = split_command(command)
        self.seconds = seconds
        if shutil.which(self.command[0]) is None:
            raise UnknownModelError(
                f"the proposer's program {self.command[0]!r} is not there, or cannot be executed; give a command that"
                " reads a prompt and prints an answer"
            )

    @property
    def described(self) -> str:
        """The command as text, as it would be typed."""
        return f"the command {shlex.join(self.command)}"

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        """Run the command once a reply.

        Args:
            messages: the prompt, which the command reads as text, each message below its role in brackets.
            n: how many replies to ask for.

        Raises:
            ModelError: it cannot be started, fails, or takes too long.
        """
        prompt = "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in messages)
        return [Reply(self._answer(prompt.encode("utf-8", "replace"))) for _ in range(n)]

    def _answer(self, prompt: bytes) -> str:
        try:
            child = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=clean_environment(),
                start_new_session=True,  # a group of processes, so that what it starts ends with it
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ModelError(f"the proposer cannot be started: {reason}") from error
        return _Conversation(child).answer(prompt, self.seconds)


class _Conversation:
    """One run of a command, its three pipes served at once.

    Neither side then waits for the other, whichever is full first.
    """

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.child = child
        self.output, self.errors = bytearray(), OutputLog()
        self.too_long = False

    def answer(self, prompt: bytes, seconds: float) -> str:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        assert self.child.stderr is not None
        threads = [
            threading.Thread(target=self._write, args=(self.child.stdin, prompt), daemon=True),
            threading.Thread(target=self._read, args=(self.child.stdout,), daemon=True),
            threading.Thread(target=self.errors.read, args=(self.child.stderr,), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"the proposer gave no answer in {seconds:g} seconds; it was ended") from error
        finally:  # also at Ctrl-C: what it started may go on writing
            self._end()
            for thread in threads:
                thread.join(5)
        if self.too_long:
            raise ModelError(f"the proposer printed more than {MOST_BYTES:,} bytes; it was ended")
        if self.child.returncode:
            last = f": {self.errors.last}" if self.errors.last else ""
            raise ModelError(f"the proposer ended with exit code {self.child.returncode}{last}")
        return self.output.decode("utf-8", "replace")

    def _write(self, stream: IO[bytes], prompt: bytes) -> None:
        with suppress(OSError), stream:  # it may answer without reading
            stream.write(prompt)

    def _read(self, stream: IO[bytes]) -> None:
        with suppress(OSError, ValueError), stream:
            while block := stream.read(BLOCK):
                self.output += block
                if len(self.output) > MOST_BYTES:
                    self.too_long = True
                    self._end()
                    return

    def _end(self) -> None:
        with suppress(OSError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()


def split_command(command: str | Sequence[str], what: str = "the proposer") -> tuple[str, ...]:
    """Return program and arguments of a command.

    Args:
        command: one text, or its words.
        what: it is, for messages.

    Raises:
        UsageError: the text is empty, or a quote in it is not closed.
    """
    try:
        parts = tuple(shlex.split(command) if isinstance(command, str) else command)
    except ValueError as error:
        raise UsageError(f"{what} must be a command, got {command!r:.200}: {error}") from error
    if not parts or not parts[0] or any("\0" in part for part in parts):
        raise UsageError(f"{what} must be a command, got {command!r:.200}")
    return parts
