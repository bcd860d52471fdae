"""What this machine's kernel offers for a boundary: seccomp and Landlock.

Runs in both processes: the host reports it, the child locks itself down by it.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from typing import Final

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
