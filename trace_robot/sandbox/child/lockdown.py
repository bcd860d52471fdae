"""Locking the child down: descriptors, user, Landlock, rlimits, seccomp.

The order lets each later lock still be put on:

1. `keep_descriptors`: three pipes stay open, everything else is closed.
2. `lock_down`: offer itself to the out-of-memory killer, drop root (needs its capabilities), become undumpable and
   die with the zygote (a change of user would clear that signal), no new privileges (Landlock and seccomp ask for
   it), Landlock, resource limits (their system call is not on seccomp's list), and seccomp last.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import sys
from collections.abc import Collection
from typing import Final

from trace_robot.sandbox.child import seccomp
from trace_robot.sandbox.protocol import LANDLOCK_CREATE_RULESET, landlock_version, seccomp_unavailable

REQUEST, REPLY, TRACE = 3, 4, 5  # the child's only descriptors; TRACE takes what faulthandler writes
UNPRIVILEGED_ID: Final = 65534  # the user and group that own nothing
_PARENT_DEATH_SIGNAL, _DUMPABLE, _NO_NEW_PRIVILEGES = 1, 4, 38  # prctl(2)
_LANDLOCK_RESTRICT_SELF: Final = 446


class LockdownError(Exception):
    """A lock without which there is no boundary could not be put on."""


def keep_descriptors(request: int, reply: int, trace: int) -> None:
    """Move three descriptors to REQUEST, REPLY and TRACE and close every other one.

    Args:
        request: the reading end of a pipe.
        reply: the writing end of a pipe.
        trace: the writing end of a pipe.
    """
    # By numbers that are above all three, or one could be overwritten before it is moved.
    high = [fcntl.fcntl(number, fcntl.F_DUPFD, 32) for number in (request, reply, trace)]
    for number, wanted in zip(high, (REQUEST, REPLY, TRACE), strict=True):
        os.dup2(number, wanted, inheritable=False)
    os.closerange(0, REQUEST)
    os.closerange(TRACE + 1, os.sysconf("SC_OPEN_MAX"))


def lock_down(memory_bytes: int, parent: int, *, without: Collection[str] = ()) -> dict[str, str]:
    """Put on every lock that this machine has.

    Only REQUEST, REPLY and TRACE stay usable.

    Args:
        memory_bytes: address space beyond what is mapped now.
        parent: process number of the zygote.
        without: locks that are left open to try the others: "landlock", "seccomp", "root", "rlimits".

    Returns:
        Lock -> how it went, never "".

    Raises:
        LockdownError: there is no seccomp filter, and so no boundary.
    """
    locks = dict.fromkeys(without, "left open")
    if sys.platform != "linux":
        raise LockdownError(seccomp_unavailable())
    mapped = _mapped_bytes()  # before Landlock, which closes /proc too
    _offer_to_kill_first()
    if "root" not in locks:
        locks["root"] = _drop_root()
    try:
        _prctl(_DUMPABLE, 0)
        _die_with(parent)
        _prctl(_NO_NEW_PRIVILEGES, 1)
        locks["no_new_privs"] = "set"
        if "landlock" not in locks:
            locks["landlock"] = _restrict_files()
        if "rlimits" not in locks:
            _limit_resources(mapped + memory_bytes)
            locks["rlimits"] = f"{memory_bytes // 2**20} MB {'beyond the start' if mapped else 'in all'}"
        if "seccomp" not in locks:
            if reason := seccomp_unavailable():
                raise LockdownError(reason)
            seccomp.install([REQUEST], [REPLY, TRACE])
            locks["seccomp"] = "filtering"
    except OSError as error:
        raise LockdownError(str(error.strerror)) from error
    return locks


def _mapped_bytes() -> int:
    """Return how much address space this process maps, 0 where that cannot be read."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _limit_resources(memory_bytes: int) -> None:
    """Limit the address space and forbid files, processes and core dumps (setrlimit)."""
    limits = {
        "RLIMIT_CORE": 0,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_NPROC": 0,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_NOFILE": TRACE + 1,
        "RLIMIT_AS": memory_bytes,
    }
    for name, value in limits.items():
        kind = getattr(resource, name, None)  # not every system has every limit
        if kind is not None:
            hard = resource.getrlimit(kind)[1]
            wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (wanted, wanted))


def _offer_to_kill_first() -> None:
    """Make the kernel choose this process when the machine runs out of memory."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def _drop_root() -> str:
    """Drop privileges to the unprivileged user (uid 65534) and return how it went."""
    if os.geteuid() != 0:
        return "not root"
    try:
        os.setgroups([])
        os.setresgid(UNPRIVILEGED_ID, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
        os.setresuid(UNPRIVILEGED_ID, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
    except OSError as error:
        # A container may forbid it; the filter holds root too, and the report shows this.
        return f"still root: {error.strerror}"
    return "dropped"


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}) failed: {os.strerror(number)}")


def _die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent ends.

    Only after any change of user, which clears the signal.
    """
    _prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the signal was asked for
        os._exit(1)


def _restrict_files() -> str:
    """Drop every right on files, TCP ports and outside signals (Landlock).

    Needs ``no_new_privs``. Returns how it went.
    """
    version = landlock_version()
    if version == 0:
        return "not in this kernel"
    # A ruleset that handles every right of the kernel's version and allows none. A right or a field that the kernel
    # does not know would be refused, so both grow with the version: landlock(7).
    rights = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    attributes = (ctypes.c_uint64 * 3)(rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 8 * (1 + (version >= 4) + (version >= 6))
    library = ctypes.CDLL(None, use_errno=True)
    ruleset = library.syscall(LANDLOCK_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return f"refused: {os.strerror(ctypes.get_errno())}"
    try:
        refused = library.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0) != 0
        return f"refused: {os.strerror(ctypes.get_errno())}" if refused else f"version {version}"
    finally:
        os.close(ruleset)
