"""Ctrl-C: the first stops cleanly, the second at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

INTERRUPTED = 130


@contextmanager
def interruptible(word: str = "stopped at once") -> Iterator[None]:
    """While this lasts, the first Ctrl-C raises KeyboardInterrupt and a second ends this process, saying ``word``."""

    def first(*_: Any) -> None:
        signal.signal(signal.SIGINT, second)
        raise KeyboardInterrupt

    def second(*_: Any) -> None:
        os.write(2, f"trace-robot: {word}\n".encode(errors="backslashreplace"))
        os._exit(INTERRUPTED)  # what it started ends when nobody is at the other end of its pipes

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
