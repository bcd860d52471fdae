"""Progress where there is no terminal, and Ctrl-C pressed once and twice."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console

from trace_robot.cli.progress import RunProgress
from trace_robot.run.loop import Progressed


def test_where_there_is_no_live_line_a_long_silence_is_broken_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    out = Console(file=io.StringIO(), width=200)
    progress = RunProgress(out)
    progress.seconds = 90
    for second in range(0, 65, 5):
        now[0] = 1000.0 + second
        progress.show(Progressed("training", second, 100, 7, None, float(second)))
    lines = out.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines == ["35 s; training: 35 of 100 episodes; 7 tried  at most 55 s left"]


INTERRUPTED = """
import sys, time
from trace_robot.cli.console import interruptible
with interruptible("stopped; go on"):
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("cleaning up", flush=True)
        time.sleep(60)
"""


def test_the_first_interrupt_is_a_clean_stop_and_the_second_ends_the_process_at_once() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaning up\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "trace-robot: stopped; go on\n")
