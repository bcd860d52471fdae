"""The locks a jail puts on itself, in an order that lets each one still be closed."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import sys
from collections.abc import Collection

from trace_robot.sandbox.child import seccomp

REQUEST, REPLY, TRACE = 3, 4, 5  # a jail's only descriptors; TRACE takes what faulthandler writes
NOBODY = 65534
_PARENT_DEATH_SIGNAL, _DUMPABLE, _NO_NEW_PRIVILEGES = 1, 4, 38  # prctl(2)
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446


class LockError(Exception):
    """A lock without which there is no boundary could not be closed."""


def keep_descriptors(request: int, reply: int, trace: int) -> None:
    """Move three descriptors to REQUEST, REPLY and TRACE and close every other one."""
    high = [fcntl.fcntl(number, fcntl.F_DUPFD, 32) for number in (request, reply, trace)]
    for number, wanted in zip(high, (REQUEST, REPLY, TRACE), strict=True):
        os.dup2(number, wanted, inheritable=False)
    os.closerange(0, REQUEST)
    os.closerange(TRACE + 1, os.sysconf("SC_OPEN_MAX"))


def mapped_bytes() -> int:
    """Return how much address space this process maps; 0 where that cannot be read."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def limit_resources(memory_bytes: int) -> None:
    """Limit the address space to ``memory_bytes`` and forbid files, processes and core dumps."""
    for name, value in (
        ("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_NPROC", 0), ("RLIMIT_MEMLOCK", 0),
        ("RLIMIT_MSGQUEUE", 0), ("RLIMIT_NOFILE", TRACE + 1), ("RLIMIT_AS", memory_bytes),
    ):  # fmt: skip
        kind = getattr(resource, name, None)
        if kind is not None:
            hard = resource.getrlimit(kind)[1]
            wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (wanted, wanted))


def offer_to_kill_first() -> None:
    """Make the kernel choose this process when the machine runs out of memory."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def drop_root() -> str:
    """Become nobody if this is root; return a word on how that went."""
    if os.geteuid() != 0:
        return "not root"
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError as error:
        return f"still root: {error.strerror}"
    return "dropped"


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}) failed: {os.strerror(number)}")


def die_with(parent: int) -> None:
    """Be killed when ``parent`` ends; after any credential change, which clears the signal."""
    _prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def landlock_version() -> int:
    """Return the kernel's Landlock ABI, 0 if there is none."""
    if sys.platform != "linux":
        return 0
    version: int = ctypes.CDLL(None, use_errno=True).syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    return max(version, 0)


def restrict_files() -> str:
    """Take every right on files, TCP ports and outside signals away by Landlock; return a word on it.

    Needs ``no_new_privs``.
    """
    version = landlock_version()
    if version == 0:
        return "not in this kernel"
    rights = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    attributes = (ctypes.c_uint64 * 3)(rights, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 8 * (1 + (version >= 4) + (version >= 6))
    library = ctypes.CDLL(None, use_errno=True)
    rules = library.syscall(_LANDLOCK_CREATE, ctypes.byref(attributes), ctypes.c_size_t(size), 0)
    if rules < 0:
        return f"refused: {os.strerror(ctypes.get_errno())}"
    try:
        refused = library.syscall(_LANDLOCK_RESTRICT, rules, 0) != 0
        return f"refused: {os.strerror(ctypes.get_errno())}" if refused else f"version {version}"
    finally:
        os.close(rules)


def lock(memory_bytes: int, parent: int, *, without: Collection[str] = ()) -> dict[str, str]:
    """Close every lock this machine has; only REQUEST, REPLY and TRACE stay usable.

    memory_bytes: address space beyond what is mapped now. without: locks left open on purpose ("landlock",
    "seccomp", "root", "rlimits"), for trials of the others.

    Returns:
        Lock -> a word on how it went; "" is never a value.

    Raises:
        LockError: no seccomp filter, so that there is no boundary.
    """
    told = dict.fromkeys(without, "left open")
    if sys.platform != "linux":
        raise LockError(seccomp.unavailable())
    offer_to_kill_first()
    if "root" not in told:
        told["root"] = drop_root()
    try:
        _prctl(_DUMPABLE, 0)
        die_with(parent)
        _prctl(_NO_NEW_PRIVILEGES, 1)
        told["no_new_privs"] = "set"
        if "landlock" not in told:
            told["landlock"] = restrict_files()
        if "rlimits" not in told:
            limit_resources(mapped_bytes() + memory_bytes)
            told["rlimits"] = f"{memory_bytes // 2**20} MB beyond the start"
        if "seccomp" not in told:
            if reason := seccomp.unavailable():
                raise LockError(reason)
            seccomp.install([REQUEST], [REPLY, TRACE])
            told["seccomp"] = "filtering"
    except OSError as error:
        raise LockError(str(error.strerror)) from error
    return told
