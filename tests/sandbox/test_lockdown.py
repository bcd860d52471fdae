"""What the kernel reports of a child, and what is left when things go wrong."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from helpers.answers import action, fault
from trace_robot.sandbox import Interface, Limits, Sandbox
from trace_robot.sandbox.child.seccomp import TABLES, assemble
from trace_robot.sandbox.selftest import report

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the locks are Linux's")
PLAIN = "def act(observation):\n    return observation[:2]\n"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Interface(3, 2)) as sandbox:
        assert sandbox.load(PLAIN) is None
        yield sandbox


def status(pid: int) -> dict[str, str]:
    """Return the fields of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def is_running(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        return status(pid)["State"][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(*pids: int) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not any(map(is_running, pids)):
            return True
        time.sleep(0.02)
    return False


def test_the_kernel_confirms_the_locks(sandbox: Sandbox) -> None:
    fields = status(sandbox.pid)
    assert fields["Seccomp"] == "2"
    assert fields["NoNewPrivs"] == "1"
    assert fields["Threads"] == "1"
    assert int(fields["CapEff"], 16) == 0
    assert set(fields["Uid"].split()) != {"0"}
    limits = Path(f"/proc/{sandbox.pid}/limits").read_text()
    assert all(word in limits for word in ("Max processes             0", "Max file size             0"))


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root may look at the descriptors of another user's process"
)
def test_a_child_holds_three_pipes_and_nothing_else(sandbox: Sandbox) -> None:
    folder = Path(f"/proc/{sandbox.pid}/fd")
    assert {path.name: os.readlink(path).partition(":")[0] for path in folder.iterdir()} == {
        "3": "pipe",
        "4": "pipe",
        "5": "pipe",
    }


def test_a_child_knows_nothing_of_the_environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hush")
    source = "import os, json\ndef act(o):\n    print(json.dumps(dict(os.environ)))\n    return [0, 0]\n"
    with Sandbox(Interface(3, 2), static_check=False) as other:
        assert other.load(source) is None
        assert other.reset() is None
        other.call(np.zeros((1, 3)))
        assert other.printed() == "{}\n"
        zygote = int(status(other.pid)["PPid"])
        assert b"hush" not in Path(f"/proc/{zygote}/environ").read_bytes()


def test_a_killed_parent_leaves_no_process_behind() -> None:
    code = """
        import numpy as np
        from trace_robot.sandbox import Interface, Limits, Sandbox
        sandbox = Sandbox(Interface(3, 2), Limits(call_seconds=100))
        sandbox.load("def act(o):\\n    while True: pass\\n")
        sandbox.reset()
        print(sandbox.pid, flush=True)
        sandbox.call(np.zeros((1, 3)))
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        zygote = int(status(child)["PPid"])
        parent.kill()
    assert wait_until_gone(child, zygote)


@pytest.mark.parametrize("killed", ["zygote", "fork server"])
def test_a_killed_zygote_or_fork_server_takes_the_child_along_and_is_replaced(killed: str) -> None:
    with Sandbox(Interface(3, 2)) as sandbox:
        sandbox.load(PLAIN)
        child = sandbox.pid
        zygote = int(status(child)["PPid"])
        os.kill(zygote if killed == "zygote" else int(status(zygote)["PPid"]), signal.SIGKILL)
        assert wait_until_gone(child)
        sandbox.reset()
        assert sandbox.load("# again\n" + PLAIN) is None
        assert sandbox.reset() is None
        assert not action(sandbox.call(np.zeros((1, 3)))[0]).any()


def test_a_child_outlives_the_thread_that_made_it() -> None:
    sandboxes: list[Sandbox] = []

    def make() -> None:
        sandbox = Sandbox(Interface(3, 2))
        sandbox.load(PLAIN)
        sandboxes.append(sandbox)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    with sandboxes[0] as sandbox:
        time.sleep(0.05)
        assert sandbox.reset() is None
        assert action(sandbox.call(np.ones((1, 3)))[0]).tolist() == [1, 1]


def test_a_forgotten_sandbox_ends_its_processes() -> None:
    sandbox = Sandbox(Interface(3, 2))
    sandbox.load(PLAIN)
    pids = sandbox.pid, int(status(sandbox.pid)["PPid"])
    del sandbox
    gc.collect()
    assert wait_until_gone(*pids)


def test_a_stopped_child_is_a_timeout_and_not_a_hang() -> None:
    with Sandbox(Interface(3, 2), Limits(call_seconds=0.05)) as sandbox:
        sandbox.load(PLAIN)
        sandbox.reset()
        child = sandbox.pid
        os.kill(child, signal.SIGSTOP)
        assert fault(sandbox.call(np.zeros((1, 3)))[0]).category == "timeout"
        assert wait_until_gone(child)


def test_many_sources_leave_no_descriptor_and_no_process() -> None:
    sources = [
        "def act(o):\n    return [{}, 0]\n",
        "def act(o):\n    return 1 / 0 # {}\n",
        "import os\ndef act(o):\n    os._exit({})\n",
        "raise ValueError({})\n",
    ]
    with Sandbox(Interface(3, 2), Limits(call_seconds=0.05), static_check=False) as sandbox:
        sandbox.load(PLAIN)
        zygote = int(status(sandbox.pid)["PPid"])
        counts = []
        for turn in range(60):
            if sandbox.load(sources[turn % 4].format(turn)) is None:
                sandbox.reset()
                sandbox.call(np.zeros((1, 3)))
            mine = len(os.listdir("/proc/self/fd"))
            children = Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()
            counts.append((mine, len(os.listdir(f"/proc/{zygote}/fd")), len(children)))
        assert counts[4:8] == counts[-4:]
        last = sandbox.pid
    assert wait_until_gone(zygote, *([last] if last else []))


def test_the_filter_allows_nothing_that_opens_starts_or_signals() -> None:
    for architecture, _, calls in TABLES.values():
        assert architecture
        assert len(set(calls.values())) == len(calls)
        assert not {"open", "openat", "socket", "connect", "clone", "fork", "execve", "kill", "ptrace"} & set(
            calls
        )
    assert {machine: len(assemble(machine, [3], [4, 5])) % 8 for machine in TABLES} == dict.fromkeys(
        TABLES, 0
    )


def test_the_report_has_tried_every_way_out() -> None:
    result = report()
    assert result.boundary
    assert all(result.attempts.values())
    assert "boundary: yes" in str(result)
    assert result.locks["seccomp"] == "filtering"
    assert result.to_data()["locks"] == result.locks
