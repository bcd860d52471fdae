"""A controller's process that forges, blocks its pipes or does not start, and a fork server that is gone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.answers import action, fault
from trace_robot.errors import SandboxError
from trace_robot.sandbox import Interface, Limits, Sandbox, host_process, lockstep, spawn
from trace_robot.sandbox.host_process import ControllerProcess
from trace_robot.sandbox.spawn import SpawnedForkServer

PLAIN = "def act(o):\n    return [1.0]\n"
ROW = np.zeros((1, 1))
# Leaves the number of the request that is being answered in `number`.
FORGES = (
    "import ctypes, os, struct, sys, time\ndef act(o):\n    depth = 1\n"
    "    while 'sequence' not in sys._getframe(depth).f_locals: depth += 1\n"
    "    number = sys._getframe(depth).f_locals['sequence']\n"
    "    def forge(later, count, body):\n"
    "        os.write(4, struct.pack('<4sBxHII', b'TRa1', 12, count, number + later, len(body)) + body)\n"
)


def serve_by(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Let every child, from the fork on, run other code than `child.main.serve`.

    Args:
        monkeypatch: that takes it back.
        body: one line, which may use ``reply(kind, number, payload)``.
    """
    code = (
        "import os, time\nfrom trace_robot.sandbox.child import main as child\n"
        "def reply(kind, number, payload):\n"
        "    os.write(4, child.HEADER.pack(b'TRa1', kind, 0, number, len(payload)) + payload)\n"
        f"def serve(config, progress, zygote):\n    {body}\nchild.serve = serve\n"
    )
    monkeypatch.setattr(spawn, "_BOOT", spawn._BOOT.replace("main(int", f"{code}main(int"))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("os._exit(7)", "the controller ended its own process with exit code 7"),
        ("os.kill(os.getpid(), 9)", "the system killed the controller's process, most likely for its memory"),
        ("os.write(4, b'TRa1'); os._exit(7)", "the controller ended its own process with exit code 7"),
        ("os.close(4); time.sleep(99)", "the controller closed the pipe to the sandbox"),
        ("time.sleep(99)", "it took more than 0.1 s"),
        ("reply(13, 0, b'{}'); time.sleep(99)", "it did not report that it was ready"),
        ("reply(11, 1, b'{}'); time.sleep(99)", "the controller's process wrote something that is no reply"),
        (
            "reply(11, 0, b'{}' * 99999); time.sleep(99)",
            "the controller's process wrote something that is no reply",
        ),
        ("raise OSError", "the controller ended its own process with exit code 3"),
    ],
)
def test_a_process_that_does_not_get_ready_is_an_error_and_no_fault_of_the_text(
    body: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "more than" in why:
        monkeypatch.setattr(host_process, "START_SECONDS", 0.1)
    serve_by(monkeypatch, body)
    with Sandbox(Interface(1, 1)) as sandbox:
        for _ in range(2):  # the text is tried again, since it was not the reason
            with pytest.raises(SandboxError) as caught:
                sandbox.load(PLAIN)
            assert str(caught.value) == f"the sandbox's process cannot start: {why}"
            assert sandbox.pid == 0


def test_a_broken_installation_is_an_error_with_its_reason_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawned: list[Any] = []
    end = spawn._end_fork_server

    def ending(process: Any, *others: Any) -> None:
        end(process, *others)
        spawned.append(process)

    monkeypatch.setattr(spawn, "_end_fork_server", ending)
    (tmp_path / "ipaddress.py").write_text("raise RuntimeError('half installed')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SandboxError) as caught:
        SpawnedForkServer()
    assert str(caught.value) == "the sandbox's process cannot start: RuntimeError: half installed"
    assert [process.returncode is None for process in spawned] == [False]


def test_requests_that_a_process_leaves_unread_until_its_pipe_is_full_are_late() -> None:
    # A request of 4018 bytes is taken whole or not at all; replies of 4096, of which a read takes exactly one.
    source = f"{FORGES}    for k in range(30):\n        forge(k, 1, bytes(4080))\n    time.sleep(99)\n"
    with Sandbox(Interface(500, 1020), Limits(call_seconds=0.05), static_check=False) as sandbox:
        assert (sandbox.load(source) or sandbox.reset()) is None
        answers = [sandbox.call(np.zeros((1, 500)))[0] for _ in range(31)]
        actions = [answer for answer in answers if isinstance(answer, np.ndarray)]
        assert 1 < len(actions) < 31
        reason = fault(answers[len(actions)])
        assert (reason.category, reason.message) == ("timeout", "one call took more than 0.05 s")
        assert reason.line == source.count("\n")
        assert answers[len(actions) :] == [reason] * (31 - len(actions))
        assert sandbox.pid == 0


@pytest.mark.parametrize(
    ("end", "category", "message", "line"),
    [
        ("os._exit(5)", "crash", "the controller ended its own process with exit code 5", False),
        ("ctypes.string_at(0)", "crash", "the controller's process was killed by SIGSEGV", True),
        ("os.close(3); time.sleep(99)", "protocol", "the controller closed the pipe to the sandbox", False),
    ],
)
def test_a_process_that_ends_while_a_request_is_half_sent_is_no_timeout(
    end: str, category: str, message: str, line: bool
) -> None:
    source = f"{FORGES}    forge(0, 1, bytes(4))\n    os.read(3, 1)\n    {end}\n"
    rows = np.zeros((1, 9000))  # 72 kB, where a pipe holds 64
    with Sandbox(Interface(9000, 1), static_check=False) as sandbox:
        assert (sandbox.load(source) or sandbox.reset()) is None
        assert action(sandbox.call(rows)[0]).tolist() == [0.0]
        reason = fault(sandbox.call(rows)[0])
        assert (reason.category, reason.message) == (category, message)
        assert reason.line == (source.count("\n") if line else None)


def test_a_forged_action_that_is_not_finite_is_refused_in_lock_step_too() -> None:
    forged_pair = "forge(0, 2, struct.pack('<2f', 1.0, float('nan')))"
    source = f"{FORGES}    if o[0]:\n        {forged_pair}\n        time.sleep(99)\n    return [2.0]\n"
    with Sandbox(Interface(1, 1), static_check=False) as sandbox:
        assert (sandbox.load(source) or sandbox.reset(2)) is None
        forged, fine = sandbox.call(np.array([[1.0], [0.0]]))
        assert fault(forged).category == "protocol"
        assert fault(forged).message == "the controller's process wrote an action that is not finite"
        assert action(fine).tolist() == [2.0]


def end_the_fork_server(process: ControllerProcess) -> None:
    """Kill it as a system that is out of memory does, and wait until its child is gone too."""
    server = process._fork_server
    assert server is not None
    child = Path(f"/proc/{process.pid}")
    server.process.kill()
    server.process.wait()
    deadline = time.monotonic() + 30.0
    while child.exists():  # the zygote sees the end of its channel, kills its child and reaps it
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("source", "before"),
    [
        ("import os, time\ndef act(o):\n    os.write(4, b'TRa1')\n    time.sleep(99)\n", "_read_more"),
        ("import time\ndef act(o):\n    time.sleep(99)\n", "_sleeps"),
        (PLAIN, "settle"),
    ],
    ids=["after half a frame", "while it sleeps", "after the reply"],
)
def test_a_fork_server_that_is_killed_in_a_call_is_a_fault_of_memory_and_no_timeout(
    source: str, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(ControllerProcess, before)
    killed = False

    def kill_first(process: ControllerProcess, *arguments: Any) -> Any:
        nonlocal killed
        if not killed:
            killed = True
            end_the_fork_server(process)
        return real(process, *arguments)

    with Sandbox(Interface(1, 1), Limits(call_seconds=0.5), static_check=False) as sandbox:
        assert (sandbox.load(source) or sandbox.reset()) is None
        monkeypatch.setattr(ControllerProcess, before, kill_first)
        answers = [sandbox.call(ROW)[0] for _ in range(2)]
        assert killed
        if before == "settle":  # the reply was there already
            assert action(answers.pop(0)).tolist() == [1.0]
        assert [(fault(answer).category, fault(answer).message) for answer in answers] == [
            ("memory", "the system killed the controller's process, most likely for its memory")
        ] * len(answers)
        assert sandbox.pid == 0
        # What is not known any more counts as nothing, not as time given back.
        assert sandbox._client.spent >= 0.0
        assert (sandbox.load(PLAIN) or sandbox.reset()) is None
        assert action(sandbox.call(ROW)[0]).tolist() == [1.0]


def test_a_step_that_only_dead_episodes_took_is_not_replayed() -> None:
    source = (
        "import os\nn = 0\ndef act(o):\n    global n\n    n += 1\n    if o[0]: os._exit(1)\n    return [n]\n"
    )
    with Sandbox(Interface(1, 1), static_check=False) as sandbox:
        assert (sandbox.load(source) or sandbox.reset(2)) is None
        assert action(sandbox.call(ROW, [0])[0]).tolist() == [1.0]
        assert fault(sandbox.call(ROW + 1, [0])[0]).category == "crash"
        assert sandbox.pid == 0
        assert [action(sandbox.call(ROW, [1])[0]).tolist() for _ in range(2)] == [[1.0], [2.0]]


def test_records_beyond_the_most_are_dropped_and_the_episode_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from trace_robot import node\nk = node(2.0)\ndef act(o):\n    return [k * o[0]]\n"
    outcomes = []
    with Sandbox(Interface(1, 1)) as sandbox:
        for most in (lockstep.MAX_RECORD_BYTES, 1):
            monkeypatch.setattr(lockstep, "MAX_RECORD_BYTES", most)
            assert (sandbox.load(source, trace=True) or sandbox.reset()) is None
            actions = [action(sandbox.call(ROW + step)[0]).tolist() for step in range(3)]
            assert actions == [[0.0], [2.0], [4.0]]
            outcomes.append((sandbox.written(), sandbox.graph()))
    (whole, graph), (cut, begun) = outcomes
    assert len(whole) == 3
    assert cut == whole[:1]
    assert begun == graph[: len(begun)] != ()


@pytest.mark.parametrize(
    ("changed", "category", "message"),
    [
        ("raise KeyError('k')", "exception", "ModuleNotFoundError: No module named 'spare_part'"),
        ("SLOW = True", "timeout", "loading took more than 0.3 s"),
    ],
    ids=["the process is there", "the process is gone"],
)
def test_a_text_that_does_not_load_again_is_the_fault_of_every_episode_left_and_of_the_next_reset(
    changed: str, category: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = tmp_path / "spare_part.py"
    part.write_text("SLOW = False\n")
    monkeypatch.syspath_prepend(tmp_path)
    source = (
        "import os\nimport spare_part\nwhile spare_part.SLOW: pass\n"
        "def act(o):\n    if o[0]: os._exit(1)\n    return [1.0]\n"
    )
    limits = Limits(load_seconds=0.3)
    with Sandbox(Interface(1, 1), limits, static_check=False, preload=["spare_part"]) as sandbox:
        assert (sandbox.load(source) or sandbox.reset(3)) is None
        part.write_text(f"{changed}\n")
        server = sandbox._client.process._fork_server
        assert server is not None
        server.close()  # the next one imports the part from its file
        ended, *others = sandbox.call(np.array([[1.0], [0.0], [0.0]]))
        assert [(fault(other).category, fault(other).message) for other in others] == [
            (category, message)
        ] * 2
        assert fault(ended).category == "memory"
        assert sandbox.call(np.zeros((3, 1))) == [ended, *others]
        for _ in range(2):
            again = sandbox.reset()
            assert again is not None
            assert (again.category, again.message) == (category, message)
        part.write_text("SLOW = False\nALSO = None\n")
        sandbox.close()
        assert (sandbox.load(source) or sandbox.reset()) is None
        assert action(sandbox.call(ROW)[0]).tolist() == [1.0]
