"""The sandbox at its edges: too long a text, a dead fork server, messages in pieces, other systems."""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import struct
import sys
import threading

import pytest

from trace_robot import sandbox
from trace_robot.errors import SandboxError
from trace_robot.sandbox import Interface, Sandbox, protocol, spawn
from trace_robot.sandbox.sandbox import MAX_SOURCE_CHARS
from trace_robot.sandbox.source import SOURCE_NAME, line_in_source
from trace_robot.sandbox.spawn import SpawnedForkServer


def test_a_misspelt_name_of_the_package_is_an_error_and_dir_lists_the_others() -> None:
    assert {"Sandbox", "check"} <= set(dir(sandbox))
    with pytest.raises(AttributeError, match=r"module 'trace_robot\.sandbox' has no attribute 'Sandbx'"):
        sandbox.Sandbx  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("platform", "darwin", "seccomp is a Linux facility and this is darwin"),
        ("maxsize", 2**31 - 1, "there is no system call table for"),
        ("byteorder", "big", "there is no system call table for"),
    ],
)
def test_a_system_that_cannot_filter_calls_says_so(
    name: str, value: object, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert protocol.seccomp_unavailable() == ""
    monkeypatch.setattr(sys, name, value)
    assert protocol.seccomp_unavailable().startswith(why)


def test_another_machine_has_no_table_and_another_system_no_landlock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert protocol.seccomp_unavailable() == (
        "there is no system call table for 'riscv64', only for ['aarch64', 'x86_64']"
    )
    monkeypatch.setattr(sys, "platform", "darwin")
    assert protocol.landlock_version() == 0


@pytest.mark.parametrize("whole", [True, False])
def test_a_message_that_comes_in_pieces_is_read_whole_and_half_of_one_is_an_end(whole: bool) -> None:
    message = {"text": "x" * 300_000}
    body = json.dumps(message).encode()
    data = struct.pack("<I", len(body)) + body
    ours, theirs = socket.socketpair()

    def dribble() -> None:
        with theirs:
            for start in range(0, len(data) if whole else len(data) // 2, 50_000):
                theirs.sendall(data[start : start + 50_000])

    writer = threading.Thread(target=dribble)
    with ours:
        writer.start()
        if whole:
            assert protocol.receive_message(ours) == (message, [])
        else:
            with pytest.raises(EOFError):
                protocol.receive_message(ours)
    writer.join()


def test_a_text_that_is_too_long_is_refused_before_it_is_read() -> None:
    with Sandbox(Interface(1, 1)) as box:
        fault = box.load("#" * (MAX_SOURCE_CHARS + 1))
        assert fault is not None
        assert fault.message.endswith(f"{MAX_SOURCE_CHARS + 1} characters, more than {MAX_SOURCE_CHARS}")
        assert box.load("def act(o):\n    return [1.0]\n") is None


def test_a_fork_server_that_ended_is_an_error_that_asks_for_memory_and_is_not_alive() -> None:
    server = SpawnedForkServer()
    assert server.alive
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    assert not server.alive
    with pytest.raises(SandboxError, match="the sandbox's process ended; is the machine out of memory"):
        server.ask({})
    server.close()  # once more does nothing


def test_a_fork_server_that_does_not_end_when_asked_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawn, "_CLOSE_SECONDS", 0.1)
    server = SpawnedForkServer()
    os.kill(server.process.pid, signal.SIGSTOP)
    server.close()
    assert server.process.returncode == -signal.SIGKILL


def test_a_fork_of_the_host_leaves_the_fork_server_to_its_owner() -> None:
    server = SpawnedForkServer()
    pid = os.fork()
    if pid == 0:
        server.close()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert server.alive
    server.close()
    assert server.process.returncode is not None


TEXT = "x = 1\n\n@bundle(trainable=True)\ndef act(o):\n    return helper(o)\n\n\n@cache\ndef helper(o):\n    return o\n"


@pytest.mark.parametrize(
    ("file", "source", "line", "expected"),
    [
        (SOURCE_NAME, TEXT, 5, 5),
        ("<code of act>", TEXT, 2, 5),
        ("<code of helper>", TEXT, 2, 10),
        ("<code of plain>", "\ndef plain(o):\n    return o\n", 2, 3),
        ("<code of missing>", TEXT, 2, None),
        ("<code of act>", "def act(:\n", 2, None),
        ("/usr/lib/python3/random.py", TEXT, 2, None),
    ],
)
def test_a_line_of_a_traceback_is_found_in_the_controllers_text(
    file: str, source: str, line: int, expected: int | None
) -> None:
    assert line_in_source(file, line, source) == expected
