"""A seccomp-BPF allow-list of system calls, assembled and loaded by ctypes.

For x86-64 and aarch64. Every system call that is not listed answers EPERM, so that an attempt is an ordinary
PermissionError with a line number; a call through a foreign architecture's table (32-bit, x32) kills the process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Sequence
from typing import Final

_INSTRUCTION: Final = struct.Struct("<HBBI")  # struct sock_filter: code, jump if true, jump if false, k
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16  # offsets in struct seccomp_data
_X32_BIT: Final = 0x40000000
_SET_MODE_FILTER, _ALL_THREADS = 1, 1
_PROT_EXEC, _MAP_ANONYMOUS = 4, 0x20
# The machine's clocks and the process's own (2 and 3). A negative number is the CPU clock of any process: it would list
# the others and show how long they have run.
_CLOCKS: Final = (0, 1, 2, 3, 4, 5, 6, 7, 11)
_SLEEPING_CLOCKS: Final = (0, 1, 7)

# Name -> number. Nothing here opens, creates, connects, starts, signals or raises a limit.
_X86_64: Final = {
    "read": 0, "write": 1, "close": 3, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13,
    "rt_sigprocmask": 14, "rt_sigreturn": 15, "select": 23, "sched_yield": 24, "mremap": 25, "madvise": 28,
    "nanosleep": 35, "exit": 60, "gettimeofday": 96, "sigaltstack": 131, "time": 201,
    "futex": 202, "restart_syscall": 219, "clock_gettime": 228, "clock_nanosleep": 230, "exit_group": 231,
    "pselect6": 270,
}  # fmt: skip
_AARCH64: Final = {
    "close": 57, "read": 63, "write": 64, "pselect6": 72, "exit": 93, "exit_group": 94, "futex": 98, "nanosleep": 101,
    "clock_gettime": 113, "clock_nanosleep": 115, "sched_yield": 124, "restart_syscall": 128, "sigaltstack": 132,
    "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "gettimeofday": 169,
    "brk": 214, "munmap": 215, "mremap": 216, "mmap": 222, "mprotect": 226, "madvise": 233,
}  # fmt: skip
# Machine, as in `protocol.MACHINES` -> (AUDIT_ARCH_*, number of seccomp(2), allowed calls).
TABLES: Final = {
    "x86_64": (0xC000003E, 317, _X86_64),
    "aarch64": (0xC00000B7, 277, _AARCH64),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _op(code: int, k: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, jump_true, jump_false, k)


def _argument(index: int) -> bytes:
    """Load the low word of a system call's argument.

    The offset is right for little-endian machines, which both are. The high word need not be looked at: descriptors
    and clocks are 32-bit values, and the bits of protections and flags that are asked for are in the low word.
    """
    return _op(_LOAD, _ARGUMENTS_AT + 8 * index)


def _one_of(index: int, values: Sequence[int]) -> list[bytes]:
    block = [_argument(index)]
    for value in values:
        block += [_op(_JUMP_EQUAL, value, 0, 1), _op(_RETURN, _ALLOW)]
    return [*block, _op(_RETURN, _DENY)]


def _conditions(reads: Sequence[int], writes: Sequence[int]) -> dict[str, list[bytes]]:
    """Return the blocks that decide on arguments, by system call.

    Only the given descriptors are read and written; no new memory is executable or backed by a file; no clock of
    another process is read.
    """
    refuse_exec = [_argument(2), _op(_JUMP_ANY_BIT, _PROT_EXEC, 0, 1), _op(_RETURN, _DENY)]
    anonymous = [_argument(3), _op(_JUMP_ANY_BIT, _MAP_ANONYMOUS, 1, 0), _op(_RETURN, _DENY)]
    return {
        "read": _one_of(0, reads),
        "write": _one_of(0, writes),
        "clock_gettime": _one_of(0, _CLOCKS),
        "clock_nanosleep": _one_of(0, _SLEEPING_CLOCKS),
        "mmap": [*refuse_exec, *anonymous, _op(_RETURN, _ALLOW)],
        "mprotect": [*refuse_exec, _op(_RETURN, _ALLOW)],
    }


def assemble(machine: str, reads: Sequence[int], writes: Sequence[int]) -> bytes:
    """Return the filter's instructions.

    Args:
        machine: a key of TABLES.
        reads: the descriptors that read(2) may use.
        writes: the descriptors that write(2) may use.
    """
    architecture, _, calls = TABLES[machine]
    conditions = _conditions(reads, writes)
    # The architecture first: the same number is another system call in another machine's table.
    program = [_op(_LOAD, _ARCHITECTURE_AT), _op(_JUMP_EQUAL, architecture, 1, 0), _op(_RETURN, _KILL)]
    program.append(_op(_LOAD, _NUMBER_AT))
    if machine == "x86_64":
        program += [_op(_JUMP_AT_LEAST, _X32_BIT, 0, 1), _op(_RETURN, _KILL)]
    for name, number in calls.items():
        block = conditions.get(name, [_op(_RETURN, _ALLOW)])
        program += [_op(_JUMP_EQUAL, number, 0, len(block)), *block]
    return b"".join([*program, _op(_RETURN, _DENY)])


def install(reads: Sequence[int], writes: Sequence[int]) -> None:
    """Load the filter for every thread of this process.

    Args:
        reads: the descriptors that read(2) may use.
        writes: the descriptors that write(2) may use.

    Raises:
        OSError: the kernel refused it, as it does unless ``no_new_privs`` is set.
    """
    machine = platform.machine()
    code = assemble(machine, reads, writes)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // _INSTRUCTION.size, ctypes.addressof(buffer))
    library = ctypes.CDLL(None, use_errno=True)
    if library.syscall(TABLES[machine][1], _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(program)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp refused the filter: {os.strerror(number)}")
