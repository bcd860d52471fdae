"""Ctrl-C on the command line: the first stops cleanly, the second at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trace_robot.cli.console import INTERRUPTED, write_at_once


@contextmanager
def interruptible(message: str = "stopped at once") -> Iterator[None]:
    """Let the first Ctrl-C stop cleanly and the second end the process at once.

    The first raises KeyboardInterrupt in the block, which may take its time to clean up. The second writes
    ``message`` and exits with code 130.

    Args:
        message: the line on standard error at the second Ctrl-C.
    """

    def first(*_: Any) -> None:
        signal.signal(signal.SIGINT, second)
        raise KeyboardInterrupt

    def second(*_: Any) -> None:
        write_at_once(f"trace-robot: {message}")
        os._exit(INTERRUPTED)  # child processes end when they find their pipes closed

    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows signal handlers in the main thread only
        return
    before = signal.signal(signal.SIGINT, first)
    try:
        with _no_echo_of_keys():
            yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _no_echo_of_keys() -> Iterator[None]:
    """Keep the terminal from writing ^C (termios, ECHOCTL).

    It would push a live line aside and leave half of it behind.
    """
    import termios

    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        # A process in the background that changes its terminal is stopped by the system.
        if os.tcgetpgrp(descriptor) != os.getpgrp():
            raise OSError
    except (OSError, ValueError, AttributeError, termios.error):  # no terminal
        yield
        return
    flags = list(before)
    flags[3] = before[3] & ~termios.ECHOCTL
    termios.tcsetattr(descriptor, termios.TCSANOW, flags)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
