"""What the kernel says of a jail, and what is left when things go wrong."""

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
def box() -> Iterator[Sandbox]:
    with Sandbox(Interface(3, 2)) as made:
        assert made.load(PLAIN) is None
        yield made


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def is_running(pid: int) -> bool:
    try:
        return status(pid)["State"][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(*pids: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not any(map(is_running, pids)):
            return True
        time.sleep(0.02)
    return False


def test_the_kernel_confirms_the_locks(box: Sandbox) -> None:
    told = status(box.pid)
    assert told["Seccomp"] == "2"
    assert told["NoNewPrivs"] == "1"
    assert told["Threads"] == "1"
    assert int(told["CapEff"], 16) == 0
    assert set(told["Uid"].split()) != {"0"}
    limits = Path(f"/proc/{box.pid}/limits").read_text()
    assert all(word in limits for word in ("Max processes             0", "Max file size             0"))


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root may look at the descriptors of another user's process"
)
def test_a_jail_holds_three_pipes_and_nothing_else(box: Sandbox) -> None:
    folder = Path(f"/proc/{box.pid}/fd")
    assert {path.name: os.readlink(path).partition(":")[0] for path in folder.iterdir()} == {
        "3": "pipe",
        "4": "pipe",
        "5": "pipe",
    }


def test_a_jail_knows_nothing_of_the_environment(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hush")
    source = "import os, json\ndef act(o):\n    print(json.dumps(dict(os.environ)))\n    return [0, 0]\n"
    with Sandbox(Interface(3, 2), static_check=False) as other:
        assert other.load(source) is None
        assert other.reset() is None
        other.call(np.zeros((1, 3)))
        assert other.printed() == "{}\n"
        warden = int(status(other.pid)["PPid"])
        assert b"hush" not in Path(f"/proc/{warden}/environ").read_bytes()


def test_a_killed_parent_leaves_no_process_behind() -> None:
    code = """
        import numpy as np
        from trace_robot.sandbox import Interface, Limits, Sandbox
        box = Sandbox(Interface(3, 2), Limits(call_seconds=100))
        box.load("def act(o):\\n    while True: pass\\n")
        box.reset()
        print(box.pid, flush=True)
        box.call(np.zeros((1, 3)))
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        jail = int(parent.stdout.readline())
        warden = int(status(jail)["PPid"])
        parent.kill()
    assert wait_until_gone(jail, warden)


def test_a_killed_warden_takes_its_jail_along_and_is_replaced() -> None:
    with Sandbox(Interface(3, 2)) as box:
        box.load(PLAIN)
        jail = box.pid
        warden = int(status(jail)["PPid"])
        os.kill(warden, signal.SIGKILL)
        assert wait_until_gone(jail)
        box.reset()
        assert box.load("# again\n" + PLAIN) is None
        assert box.reset() is None
        assert not action(box.call(np.zeros((1, 3)))[0]).any()


def test_a_jail_outlives_the_thread_that_made_it() -> None:
    boxes: list[Sandbox] = []

    def make() -> None:
        box = Sandbox(Interface(3, 2))
        box.load(PLAIN)
        boxes.append(box)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    with boxes[0] as box:
        time.sleep(0.05)
        assert box.reset() is None
        assert action(box.call(np.ones((1, 3)))[0]).tolist() == [1, 1]


def test_a_forgotten_sandbox_ends_its_processes() -> None:
    box = Sandbox(Interface(3, 2))
    box.load(PLAIN)
    pids = box.pid, int(status(box.pid)["PPid"])
    del box
    gc.collect()
    assert wait_until_gone(*pids)


def test_a_stopped_jail_is_a_timeout_and_not_a_hang() -> None:
    with Sandbox(Interface(3, 2), Limits(call_seconds=0.05)) as box:
        box.load(PLAIN)
        box.reset()
        jail = box.pid
        os.kill(jail, signal.SIGSTOP)
        assert fault(box.call(np.zeros((1, 3)))[0]).category == "timeout"
        assert wait_until_gone(jail)


def test_many_sources_leave_no_descriptor_and_no_process() -> None:
    sources = [
        "def act(o):\n    return [{}, 0]\n",
        "def act(o):\n    return 1 / 0 # {}\n",
        "import os\ndef act(o):\n    os._exit({})\n",
        "raise ValueError({})\n",
    ]
    with Sandbox(Interface(3, 2), Limits(call_seconds=0.05), static_check=False) as box:
        box.load(PLAIN)
        warden = int(status(box.pid)["PPid"])
        counts = []
        for turn in range(60):
            if box.load(sources[turn % 4].format(turn)) is None:
                box.reset()
                box.call(np.zeros((1, 3)))
            mine = len(os.listdir("/proc/self/fd"))
            children = Path(f"/proc/{warden}/task/{warden}/children").read_text().split()
            counts.append((mine, len(os.listdir(f"/proc/{warden}/fd")), len(children)))
        assert counts[4:8] == counts[-4:]
        last = box.pid
    assert wait_until_gone(warden, *([last] if last else []))


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


def test_the_report_has_knocked_at_every_wall() -> None:
    made = report()
    assert made.boundary
    assert all(made.attempts.values())
    assert "boundary: yes" in str(made)
    assert made.locks["seccomp"] == "filtering"
    assert made.to_data()["locks"] == made.locks
