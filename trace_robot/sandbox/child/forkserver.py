"""The fork server: import numpy once, then fork a child for each controller.

It is trusted, runs no controller, and has an empty environment and one thread. It makes a fresh child in milliseconds
instead of the time that importing numpy takes. A child that ends stays a zombie until the host asks for its end, so
that its process number cannot name anything else: the host reads a clock and /proc by that number.

The fork server imports nothing after its start, or a controller would find what the ones before it had imported.
Children are forked by a zygote, a fork of it that has imported the modules which a text names, and no others.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import mmap
import os
import signal
import socket
import sys
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from trace_robot.sandbox.protocol import receive_message, send_message

# Imports, since no module can be imported after the lockdown.

# What numpy, a controller or an error message may import at any time. The last line is imported by nothing else here;
# it is there because the child of every earlier version had it.
_COMMON: Final = """
    _strptime abc array bisect calendar cmath collections collections.abc contextlib copy ctypes dataclasses datetime
    decimal enum errno fractions functools gc heapq itertools json locale math numbers operator pickle queue random re
    signal statistics string struct subprocess textwrap threading time traceback types typing unicodedata warnings
    weakref encodings.ascii encodings.latin_1 encodings.unicode_escape encodings.utf_16
    numpy numpy.char numpy.fft numpy.linalg numpy.ma numpy.polynomial numpy.random numpy.rec numpy.strings numpy.typing
    difflib fnmatch ipaddress ntpath pathlib urllib urllib.parse
"""
# Candidates of a run import few different sets; with all of scipy one zygote takes about 60 MB.
_KEPT_ZYGOTES: Final = 3
# What these modules import no sooner than in a call.
_LATE_IMPORTS: Final = {
    "scipy.optimize": ("scipy._lib.pyprima", "multiprocessing", "multiprocessing.pool"),
}


def warm_up() -> None:
    """Import the common modules and run what imports more on its first use."""
    for name in sorted(_COMMON.split()):
        importlib.import_module(name)
    import numpy as np

    np.linalg.svd(np.eye(3) @ np.eye(3))
    np.array_str(np.linspace(0.0, 1.0, 3))
    np.random.default_rng(0).normal()
    np.fft.rfft(np.ones(4))
    # Not at the top of a module: a broken numpy must be a message of the fork server, not the end of it.
    from trace_robot.sandbox.child import main  # noqa: F401


def import_all(names: Sequence[str]) -> list[str]:
    """Import modules and what they import late and return those that failed."""
    missing = []
    for name in [*names, *(late for early in names for late in _LATE_IMPORTS.get(early, ()))]:
        try:
            importlib.import_module(name)
        except Exception:  # a broken installation may raise anything; the controller's own import reports it
            missing.append(name)
    return missing


class ForkServer:
    """Serves one sandbox over a socket, by the zygote with the right modules."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._loaded = frozenset(sys.modules)
        # Least recently used first.
        self._zygotes: OrderedDict[tuple[str, ...], socket.socket] = OrderedDict()

    def serve(self) -> None:
        """Answer until the host's end of the channel closes, and with it the zygotes'."""
        channel: socket.socket | None = None
        with contextlib.suppress(EOFError, OSError):
            while True:
                message, descriptors = receive_message(self._channel)
                if message["op"] == "start":
                    channel = self._zygote(message["modules"], descriptors)
                answer: dict[str, Any] = {"own": True, "status": 0, "at": 0}
                if channel is not None:
                    send_message(channel, message, descriptors)
                    _close(descriptors)
                    answer = receive_message(channel)[0]
                send_message(self._channel, answer)

    def _zygote(self, modules: Sequence[str], descriptors: Sequence[int]) -> socket.socket:
        """Return the channel of the zygote that has these modules, a new one if need be.

        Args:
            modules: that the child's text names.
            descriptors: the child's ends of its pipes, which a new zygote must not keep.
        """
        wanted = tuple(sorted(set(modules) - self._loaded))
        if wanted not in self._zygotes:
            if len(self._zygotes) >= _KEPT_ZYGOTES:
                self._zygotes.popitem(last=False)[1].close()
            self._zygotes[wanted] = self._fork_zygote(wanted, descriptors)
        self._zygotes.move_to_end(wanted)
        return self._zygotes[wanted]

    def _fork_zygote(self, modules: Sequence[str], descriptors: Sequence[int]) -> socket.socket:
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            # While a copy of the child's ends is open, the host sees no end of file when the child dies: a crash would
            # look like a timeout. The zygote gets its own copies with the start message, and closes them.
            _close(descriptors)
            # A copy of another zygote's channel would hide the fork server's end from that zygote.
            for channel in (self._channel, ours, *self._zygotes.values()):
                channel.close()
            Zygote(theirs, modules).serve()
        theirs.close()
        return ours


class Zygote:
    """A fork of the fork server with some modules more and at most one child.

    Args:
        channel: to the fork server.
        modules: to import first; what they import late comes with them.
    """

    def __init__(self, channel: socket.socket, modules: Sequence[str]) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # it waits for its children
        self._channel = channel
        self._child = 0
        self._missing = import_all(modules)
        self._progress = mmap.mmap(-1, mmap.PAGESIZE)

    def serve(self) -> NoReturn:
        """Answer until the fork server's end of the channel closes, then kill the child."""
        try:
            while True:
                message, descriptors = receive_message(self._channel)
                answer = self._start(message, descriptors) if message["op"] == "start" else self._end(message)
                send_message(self._channel, answer)
        except (EOFError, OSError):
            self._end({"grace": 0.0})
        finally:
            os._exit(0)  # not through the fork server's code, of which this process is a copy

    def _start(self, message: dict[str, Any], descriptors: Sequence[int]) -> dict[str, Any]:
        config = message["config"]
        config["missing"] = self._missing
        # Shared with the child: the number of the episode that is running, two bytes, which outlive a crash. A page
        # for each child, since the next one could read what a controller left there.
        self._progress.close()
        self._progress = mmap.mmap(-1, mmap.PAGESIZE)
        gc.freeze()  # a collection in the child would write to, and so copy, the pages that both share
        zygote = os.getpid()
        self._child = os.fork()
        if self._child == 0:
            self._become_child(config, descriptors, zygote)
        _close(descriptors)
        return {"pid": self._child, "missing": self._missing}

    def _become_child(self, config: dict[str, Any], descriptors: Sequence[int], zygote: int) -> None:
        try:
            from trace_robot.sandbox.child import lockdown, main  # imported by `warm_up`

            self._channel.detach()
            lockdown.keep_descriptors(*descriptors)
            main.serve(config, self._progress, zygote)
        finally:
            os._exit(3)  # whatever was raised, a child must never go on as a second zygote

    def _end(self, message: dict[str, Any]) -> dict[str, Any]:
        """Wait ``grace`` seconds for the child to end by itself, then kill it.

        Returns:
            own: whether it ended by itself. status: its exit code, negative for a signal. at: the episode that was
            running.
        """
        pid, self._child = self._child, 0
        if pid == 0:
            return {"own": True, "status": 0, "at": 0}
        own, status = _wait(pid, message["grace"])
        if not own:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
        at = int.from_bytes(self._progress[:2], "little")
        return {"own": own, "status": os.waitstatus_to_exitcode(status), "at": at}


def _close(descriptors: Sequence[int]) -> None:
    for number in descriptors:
        os.close(number)


def _wait(pid: int, grace: float) -> tuple[bool, int]:
    deadline = time.monotonic() + grace
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended or time.monotonic() >= deadline:
            return bool(ended), status
        time.sleep(0.001)


def main(descriptor: int) -> None:
    """Run a fork server on an inherited socket.

    Its first message has why it cannot start, "" if it can.
    """
    channel = socket.socket(fileno=descriptor)
    try:
        warm_up()
    except Exception as error:  # whatever is broken in this installation, the host must get its text
        send_message(channel, {"failed": f"{type(error).__name__}: {error}"})
        return
    send_message(channel, {"failed": ""})
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # zygotes that were dropped leave no zombies
    ForkServer(channel).serve()
