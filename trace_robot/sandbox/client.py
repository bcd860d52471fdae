"""The host's requests to a controller's process, with numbered, checked replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic

from trace_robot.errors import SandboxError
from trace_robot.fault import Fault, Limits
from trace_robot.sandbox.host_process import BACKSTOP, ChildDiedError, ControllerProcess, Reply
from trace_robot.sandbox.protocol import (
    ENTRIES,
    HEADER,
    LOAD,
    REQUEST_MAGIC,
    RESET,
    FrameError,
    Interface,
    Sizes,
    WireRecord,
    decode_entries,
)
from trace_robot.sandbox.source import line_in_source


@dataclass(frozen=True, slots=True)
class ControllerText:
    """A controller's text as a process gets it.

    trace: whether its graphs are recorded. modules: to import before the fork.
    """

    source: str
    trace: bool
    modules: tuple[str, ...] = ()

    def is_same(self, source: str, trace: bool) -> bool:
        """Return whether this is the text ``source``, and traced if ``trace`` says so.

        Args:
            source: a controller's text.
            trace: whether its graphs are to be recorded.
        """
        return self.trace == trace and self.source == source

    def checked(self, fault: Fault) -> Fault:
        """Drop the line of a fault if the text does not have it: the child may forge one."""
        if fault.line is None:
            return fault
        lines = self.source.count("\n") + self.source.count("\r") + 1
        return fault if 1 <= fault.line <= lines else replace(fault, line=None)

    def fault_of(self, died: ChildDiedError) -> Fault:
        """Return why the process died, with the line of the text where it was."""
        if died.location is None:
            return died.fault
        return self.checked(replace(died.fault, line=line_in_source(*died.location, self.source)))


class ControllerClient:
    """Starts a controller's process and sends it requests.

    limits, interface: of the controller. locks: lock -> how it went, of the last process. spent, waited: seconds of CPU
    time and of the wall clock that the requests took since they were last set to 0. tainted: whether the text did not
    load in the process, or the process ran out of memory, which may have left modules half changed. interrupted:
    whether a request was cut off by a signal, so that its process had to be killed.

    Args:
        interface: sizes of a call.
        limits: what the controller may use.
        trusted: run it even where this machine gives no boundary.
        without: locks that are left open to try the others.
    """

    def __init__(
        self, interface: Interface, limits: Limits, *, trusted: bool = False, without: Sequence[str] = ()
    ) -> None:
        self.interface = interface
        self.limits = limits
        self.locks: dict[str, str] = {}
        self.spent = self.waited = 0.0
        self.tainted = False
        self.interrupted = False
        self.process = ControllerProcess()
        self._trusted = trusted
        self._without = tuple(without)
        self._sequence = 0

    @property
    def usable(self) -> bool:
        """Whether there is a process in which other episodes of the same text may run."""
        return self.process.alive and not self.tainted

    def start(self, text: ControllerText) -> Fault | None:
        """Load a text in a fresh process and return the fault, if that failed.

        Raises:
            SandboxError: no process can be started, or it has no boundary and is not trusted.
        """
        try:
            self.locks = self.process.start(self._config(), text.modules)
        except ChildDiedError as died:  # no controller's code ran there yet: it is no fault of the text
            raise SandboxError(f"the sandbox's process cannot start: {died}") from died
        self.tainted = self.interrupted = False
        if "failed" in self.locks and not self._trusted:
            self.process.close()
            raise SandboxError(
                f"this machine gives no boundary for untrusted code: {self.locks['failed']}; "
                "pass trusted=True (on the command line: --trust) to run it all the same"
            )
        source = text.source.encode("utf-8", "surrogatepass")
        try:
            (entry,) = self._entries(LOAD, int(text.trace), source, "loading", 1)
        except ChildDiedError as died:
            return text.fault_of(died)
        if entry.fault is None:
            return None
        self.tainted = True  # the process is there, but nothing is loaded in it
        return text.checked(entry.fault)

    def reset(self, episodes: int) -> list[WireRecord]:
        """Start episodes of the loaded text and return an entry for each.

        Raises:
            ChildDiedError: there is no process any more.
        """
        return self._entries(RESET, episodes, b"", "starting the episodes", episodes)

    def exchange(
        self, kind: int, count: int, payload: bytes, seconds: float, late: str, largest: int
    ) -> Reply:
        """Send a request and return the reply's kind, count and payload.

        Args:
            kind: LOAD, RESET or CALL.
            count: episodes; for LOAD, whether to trace.
            payload: as `child.runner` reads it.
            seconds: of CPU time for the answer.
            late: the fault's message when they are over.
            largest: bytes that the payload of the reply may have.

        Raises:
            ChildDiedError: there is no process any more.
        """
        started = monotonic()
        self._sequence = sequence = (self._sequence + 1) & 0xFFFFFFFF
        request = HEADER.pack(REQUEST_MAGIC, kind, count, sequence, len(payload)) + payload
        try:
            reply = self.process.exchange(request, sequence, seconds, late, largest)
        except ChildDiedError:
            raise
        except BaseException:  # Ctrl-C, say: what was asked and what comes would no longer match
            self.interrupted = True
            self.process.stop()
            raise
        self.spent += self.process.settle()
        self.waited += monotonic() - started
        return reply

    def decode(
        self, reply: Reply, episodes: int, action_bytes: int, sizes: Sizes
    ) -> tuple[list[WireRecord], bytes]:
        """Return the entries and the actions of a reply of kind ENTRIES.

        Args:
            reply: as `exchange` returned it.
            episodes: that were asked.
            action_bytes: bytes of one action, 0 where the reply has none.
            sizes: the most that one entry may hold.

        Raises:
            ChildDiedError: it is another reply, or no child of ours wrote it; the process was killed for it.
        """
        kind, count, payload = reply
        if kind != ENTRIES or count != episodes:
            raise self.process.refuse("the controller's process answered something else than it was asked")
        try:
            return decode_entries(payload, episodes, action_bytes, sizes)
        except FrameError as error:
            raise self.process.refuse(str(error)) from error

    def close(self) -> None:
        """End the processes."""
        self.process.close()

    def _entries(self, kind: int, count: int, payload: bytes, doing: str, episodes: int) -> list[WireRecord]:
        seconds = self.limits.load_seconds * episodes
        late = f"{doing} took more than {seconds:g} s"
        sizes = Sizes(self.limits.printed_chars, 0)
        reply = self.exchange(kind, count, payload, seconds, late, sizes.of_reply(episodes, 0))
        return self.decode(reply, episodes, 0, sizes)[0]

    def _config(self) -> dict[str, object]:
        """Return what `child.main.serve` is given, as JSON data."""
        fields = self.interface.fields
        return {
            "memory_bytes": self.limits.memory_mb * 2**20,
            "without": self._without,
            "printed_chars": self.limits.printed_chars,
            "call_seconds": self.limits.call_seconds,
            "episode_seconds": self.limits.episode_seconds,
            "episode_wall_seconds": BACKSTOP * self.limits.episode_seconds,
            "interface": {
                "input_size": self.interface.input_size,
                "output_size": self.interface.output_size,
                "fields": None if fields is None else dict(fields),
            },
        }
