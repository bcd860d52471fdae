"""One process a run: a lock on a file in its folder, which the system lets go of however the process ends."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType

from trace_robot.errors import RunError

try:
    import fcntl
except ImportError:  # Windows, where controllers cannot be locked in either
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"
TRIES, PAUSE = 5, 0.05


class RunLock:
    """Holds a run's folder; raises RunError if another process does."""

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise RunError(
                f"cannot write {str(path)!r}: {error.strerror}; check its permissions, or give another --out"
            ) from error
        if not _take_soon(self._descriptor):
            os.close(self._descriptor)
            raise RunError(f"another process is at work on the run {str(folder)!r}; wait for it, or end it")

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def held(folder: Path) -> bool:
    """Return whether a process has the run in ``folder``; also this one."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDONLY)
    except OSError:
        return False
    try:
        return fcntl is not None and not _take(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _take_soon(descriptor: int) -> bool:
    """Take the lock, past somebody who only looks whether it is held."""
    for _ in range(TRIES):
        if _take(descriptor):
            return True
        time.sleep(PAUSE)
    return False


def _take(descriptor: int, *, shared: bool = False) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
