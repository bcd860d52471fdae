"""A watch over one call: no file touched outside a folder, no process, no connection, bounded CPU time and memory.

The audit hook of the interpreter (PEP 578) refuses what is forbidden before it happens, so that a defect that is found
does no harm to the machine that looks for it. A hook cannot be removed, so there is one, which acts in a watch only.
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECRET = "the-secret-of-another-folder"
WALL_SECONDS = 60.0  # of one call; waiting for a pipe that has no writer takes no CPU time
MEMORY = 1 << 30  # bytes that one call may take beyond what the process has
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Event -> which of its arguments are paths, each with the one that is the descriptor of the folder it is relative to.
CHANGES: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.chmod": ((0, 2),), "os.chown": ((0, 3),), "os.link": ((0, 2), (1, 3)), "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),), "os.rename": ((0, 2), (1, 3)), "os.rmdir": ((0, 1),), "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),), "os.utime": ((0, 3),), "shutil.rmtree": ((0, 1),),
}  # fmt: skip
LISTINGS = ("os.listdir", "os.scandir")
PROCESSES = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.forkpty",
    "os.spawn",
)
DRAWS = "dot"  # graphviz draws the graphs of a report, where it is installed
READS = (
    "ffmpeg"  # makes pictures of a video for a tracker; it opens the file by its path and would follow a link
)
CONNECTIONS = ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")
CONNECT = sqlite3.connect
OPEN = os.open
DEVICES = ("/dev/null", "/dev/urandom", "/dev/random")


class Touched(BaseException):  # not an Exception: no handler of the library may hide it
    """Something was tried that a file or a text must not bring about."""


class Overtime(BaseException):
    """A call took more than its limit."""


class _Watch:
    """The folder in which everything is allowed, and the one that must not even be read; None between calls."""

    inside: str | None = None
    canary = ""
    folder: int | None = None  # the descriptor that the path of the running ``os.open`` is relative to
    until = 0.0  # of the CPU clock
    interrupted = False


def _resolve(path: Any, folder: int | None = None, *, follow: bool = True) -> str | None:
    """Return the real path, None for a descriptor.

    Args:
        path: of an event.
        folder: the descriptor that it is relative to; None or -1 for the working directory.
        follow: whether the last part may be a link.
    """
    if isinstance(path, int) or path is None:
        return None
    above = os.getcwd() if folder is None or folder < 0 else os.readlink(f"/proc/self/fd/{folder}")
    text = os.path.abspath(os.path.join(above, os.fsdecode(path)))
    if follow:
        return os.path.realpath(text)
    return os.path.join(os.path.realpath(os.path.dirname(text)), os.path.basename(text))


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + os.sep)


def _refuse(what: str) -> None:
    raise Touched(what)


def _is_expected(program: str, words: Sequence[Any], inside: str) -> bool:
    """Return whether a program is one that the library starts, on files in the folder."""
    name = os.path.basename(program)
    files = [str(word).removeprefix("file:") for word in words if str(word).startswith("file:")]
    return name == DRAWS or (
        name.startswith(READS) and all(_within(os.path.realpath(file), inside) for file in files)
    )


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    inside = _Watch.inside
    if inside is None:
        return
    if event == "open":
        path, _, flags = arguments
        # With O_NOFOLLOW the kernel refuses a link that the path ends in, whatever it leads to.
        place = _resolve(path, _Watch.folder, follow=not flags & getattr(os, "O_NOFOLLOW", 0))
        if place is None or place in DEVICES:
            return
        if flags & WRITING and not _within(place, inside):
            _refuse(f"opened {place!r} for writing")
        if _within(place, _Watch.canary):
            _refuse(f"read {place!r}")
    elif event in CHANGES:
        for index, at in CHANGES[event]:
            folder = arguments[at] if at is not None and at < len(arguments) else None
            place = _resolve(
                arguments[index], folder, follow=event in ("os.chmod", "os.truncate", "os.utime")
            )
            if place is not None and not _within(place, inside):
                _refuse(f"{event} of {place!r}")
    elif event in LISTINGS:
        path = arguments[0]
        place = _resolve(f"/proc/self/fd/{path}" if isinstance(path, int) else path or ".")
        if place is not None and _within(place, _Watch.canary):
            _refuse(f"listed {place!r}")
    elif event == "sqlite3.connect":
        name = os.fsdecode(arguments[0]) if not isinstance(arguments[0], str) else arguments[0]
        place = os.path.realpath(name.removeprefix("file://").partition("?")[0])
        if "memory" not in name and not _within(place, inside):
            _refuse(f"opened the database {name!r}")
    elif event == "subprocess.Popen" and _is_expected(os.fsdecode(arguments[0]), arguments[1], inside):
        return
    elif event in PROCESSES or event in CONNECTIONS:
        _refuse(f"{event} {arguments[:2]!r}")
    elif event == "exec":
        file = getattr(arguments[0], "co_filename", "")
        if file.startswith("/") and _within(os.path.realpath(file), inside):
            _refuse(f"executed {file!r}")


sys.addaudithook(_hook)


def _open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    """Open a file as ``os.open`` does, whose event lacks the folder's descriptor."""
    _Watch.folder = dir_fd
    try:
        return OPEN(path, flags, mode, dir_fd=dir_fd)
    finally:
        _Watch.folder = None


os.supports_dir_fd.add(_open)


def _connect(*arguments: Any, **keywords: Any) -> sqlite3.Connection:
    """Open a database whose queries end when the time is over."""
    connection: sqlite3.Connection = CONNECT(*arguments, **keywords)
    # A query without an end never looks for signals; this looks at the clock every 100,000 instructions.
    connection.set_progress_handler(lambda: cpu_clock() > _Watch.until, 100_000)
    return connection


class Canary:
    """A folder beside the one in use, which must stay as it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "inner").mkdir(parents=True)
        for name in ("secret.txt", "id_ed25519", "controller.py", "inner/episode.mp4", "inner/best.py"):
            (folder / name).write_text(f"# {SECRET} {name}\n", encoding="utf-8")
        self._before = self._state()

    def _state(self) -> list[tuple[str, int, int, int, int]]:
        states = [(path, path.lstat()) for path in [self.folder, *sorted(self.folder.rglob("*"))]]
        return [(str(path), s.st_mode, s.st_size, s.st_mtime_ns, s.st_nlink) for path, s in states]

    def check(self) -> None:
        """Raise Touched where anything in the folder has changed."""
        if (now := self._state()) != self._before:
            changed = sorted({entry[0] for entry in set(now) ^ set(self._before)})
            self._before = now
            raise Touched(f"changed {', '.join(changed)}")


@contextmanager
def watch(folder: Path, canary: Canary, cpu_seconds: float) -> Iterator[None]:
    """Run the block with everything forbidden outside of a folder.

    Args:
        folder: where files may be written; the working directory during the block.
        canary: whose files may not even be read.
        cpu_seconds: of this process, after which the block is interrupted.

    Raises:
        Touched: the block tried what it must not, or the canary has changed.
        Overtime: the block took more than ``cpu_seconds``, or than WALL_SECONDS by the clock.
    """
    armed = True

    def stop(number: int, _: Any) -> None:
        if armed:
            _Watch.interrupted = True
            raise Overtime("CPU time" if number == signal.SIGPROF else f"{WALL_SECONDS:g} s by the clock")

    before = {number: signal.signal(number, stop) for number in (signal.SIGPROF, signal.SIGALRM)}
    limits, temporary, place = resource.getrlimit(resource.RLIMIT_AS), tempfile.tempdir, os.getcwd()
    os.chdir(folder)
    tempfile.tempdir = str(folder)
    sqlite3.connect = _connect  # type: ignore[assignment]
    os.open = _open
    resource.setrlimit(resource.RLIMIT_AS, (_mapped() + MEMORY, limits[1]))
    _Watch.interrupted = False
    _Watch.until = cpu_clock() + cpu_seconds
    _Watch.inside, _Watch.canary = os.path.realpath(folder), os.path.realpath(canary.folder)
    try:
        # Again and again: a destructor or a callback in C may swallow the first.
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds, 0.2)
        signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS, 1.0)
        yield
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _Watch.inside = None
        for number, handler in before.items():
            signal.signal(number, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        sqlite3.connect = CONNECT
        os.open = OPEN
        tempfile.tempdir = temporary
        os.chdir(place)
    canary.check()


def was_interrupted() -> bool:
    """Return whether the last watch ended a call, whatever the call made of it."""
    return _Watch.interrupted or cpu_clock() > _Watch.until


def _mapped() -> int:
    """Return the bytes of this process's address space."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


@contextmanager
def ignored() -> Iterator[list[str]]:
    """Collect what destructors and callbacks raise, which the command line would print as a traceback.

    Interruptions are left out: a call that was interrupted is judged by that alone.
    """
    texts: list[str] = []

    def collect(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, Overtime):
            texts.append(f"{type(unraisable.exc_value).__name__} in {unraisable.object!r}"[:200])

    before, sys.unraisablehook = sys.unraisablehook, collect
    try:
        yield texts
    finally:
        sys.unraisablehook = before


@contextmanager
def no_bytecode() -> Iterator[None]:
    """Keep Python from writing ``__pycache__`` for what a call imports."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def cpu_clock() -> float:
    """Return the CPU seconds of this process, which a busy machine does not stretch."""
    return time.process_time()
