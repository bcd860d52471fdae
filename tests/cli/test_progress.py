"""Progress where there is no terminal, and Ctrl-C pressed once and twice."""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from helpers.synthetic import SPEC
from trace_robot.cli.console import create_table
from trace_robot.cli.progress import (
    ClockColumn,
    CountColumn,
    RunProgress,
    create_counter,
    print_summary,
    time_left,
)
from trace_robot.cli.running import show_run
from trace_robot.errors import (
    AgentLeftError,
    BudgetExceededError,
    EnvironmentFault,
    ModelAuthError,
    ModelError,
    RunError,
    TraceRobotError,
)
from trace_robot.policy import Policy
from trace_robot.run.loop import OnEvent, Progressed, Started
from trace_robot.settings import Result, Settings

FIXED = "def act(observation):\n    return [1.0] * 4\n"


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


def test_videos_that_are_drawn_are_counted_and_the_clock_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    out = Console(file=io.StringIO(), width=200)
    progress = RunProgress(out)
    for second in range(0, 65, 5):
        now[0] = 1000.0 + second
        progress.show(Progressed("drawing videos", int(second > 40), 2, 7, None, float(second)))
    lines = out.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines == ["35 s; drawing videos: 0 of 2 videos; outside the budget; --no-video draws none"]


def test_the_clock_of_a_counter_goes_on_where_the_total_is_reached() -> None:
    now = [10.0]
    progress = create_counter(Console(file=io.StringIO()))
    progress.get_time = lambda: now[0]
    bar = progress.add_task("held out", total=50, note="")
    for now[0], completed in ((20.0, 50), (85.0, 50), (90.0, 0)):
        progress.update(bar, completed=completed)
    assert ClockColumn().render(progress.tasks[0]).plain == "0:01:20"


INTERRUPTED = """
import sys, time
from trace_robot.cli.running import interruptible
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


def test_a_counter_of_an_unknown_total_shows_what_is_done_alone() -> None:
    progress = create_counter(Console(file=io.StringIO()), "runs")
    column = CountColumn("runs")
    bar = progress.add_task("", total=None, note="")
    assert column.render(progress.tasks[0]).plain == ""
    progress.update(bar, completed=3)
    assert column.render(progress.tasks[0]).plain == "3 runs"
    progress.update(bar, total=10)
    assert column.render(progress.tasks[0]).plain == "3/10 runs"


@pytest.mark.parametrize(
    ("limit", "spent", "text"),
    [
        (None, 5.0, ""),
        (90.0, 35.0, "at most 55 s left"),
        (90.0, 89.7, "at most 1 s left"),
        (90.0, 90.0, "time is up, the last episodes end"),
        (90.0, 95.0, "time is up, the last episodes end"),
    ],
)
def test_no_seconds_left_are_never_shown_while_it_goes_on(
    limit: float | None, spent: float, text: str
) -> None:
    assert time_left(limit, spent) == text


LIVE = """
import sys, time
from trace_robot.cli.console import console, write_error
from trace_robot.cli.running import interruptible
from trace_robot.cli.progress import create_counter
try:
    with interruptible(), create_counter(console()) as progress:
        bar = progress.add_task("training", total=9, note="n" * 25)
        progress.update(bar, completed=3)
        print("ready", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    write_error("stopped")
"""


def read(leader: int) -> bytes:
    """Return what a terminal got, failing rather than waiting for ever."""
    assert select.select([leader], [], [], 30)[0], "nothing more is drawn"
    return os.read(leader, 65536)


def test_one_bar_is_drawn_and_after_the_interrupt_none_is_left() -> None:
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(follower)
    process = subprocess.Popen(
        [sys.executable, "-c", LIVE],
        stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
        env={**os.environ, "TERM": "xterm"}, preexec_fn=lambda: fcntl.ioctl(follower, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    drawn = b""
    while b"ready" not in drawn or b"3/9" not in drawn.rpartition(b"ready")[2]:
        drawn += read(leader)
    os.write(leader, b"\x03")
    while b"stopped" not in drawn:
        drawn += read(leader)
    assert process.wait(30) == 0
    assert termios.tcgetattr(follower) == before
    os.close(follower)
    os.close(leader)
    assert b"^C" not in drawn
    frames = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.decode()).replace("\n", "\r").split("\r")
    assert max(map(len, frames)) < 80
    # The last bar is taken away: the line above is erased before the message.
    assert drawn.rpartition(b"\x1b[2K")[2].replace(b"\r", b"").strip() == b"trace-robot: stopped"


def summary(**changes: Any) -> str:
    """Return the end of a run of a search as it is shown."""
    settings = Settings("reach-v3", optimizer="search", episodes=10, cut=True)
    settings = replace(
        settings,
        **{name: changes.pop(name) for name in ("options", "cut", "usual_control") if name in changes},
    )
    result = Result(
        task="reach-v3",
        optimizer="search",
        feedback_level="outcome",
        control="raw",
        seed=0,
        policy="do_nothing",
        start_success=0.0,
        training_success=1.0,
        training_episodes=20,
        held_out_success=0.9,
        held_out_return=1.0,
        held_out_episodes=50,
        held_out_interval=(0.8, 1.0),
        iterations=1,
        best_iteration=1,
        candidates=30,
        environment_steps=689_841,
        model_calls=0,
        tokens=0,
        seconds=9.0,
        ended="solved",
        versions={},
    )
    out = Console(file=io.StringIO(), width=300)
    print_summary(out, replace(result, **changes), Path("rollouts/runs/demo"), settings)
    return out.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_end_of_a_run_names_only_videos_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (0, 1):
        folder = tmp_path / f"rollouts/runs/demo/iterations/00{number}"
        folder.mkdir(parents=True)
        (folder / "episode.mp4").touch()
    assert "iterations/001/episode.mp4 (after)\n" in summary()
    (folder / "episode.mp4").unlink()
    shown = summary()
    assert "iterations/000/episode.mp4\n" in shown
    assert "iterations/001" not in shown
    assert "(before)" not in shown


def test_the_end_of_a_run_says_where_its_further_conditions_come_from() -> None:
    assert (
        "success 1.00 (start 0.00) of 20 conditions: 10, and 10 further ones as all were solved\n"
        in summary()
    )
    assert "success 1.00 (start 0.00) of 10 conditions\n" in summary(training_episodes=10)


def test_the_end_of_a_run_says_which_of_success_and_return_improved() -> None:
    known = {"start_return": 12.0, "training_return": 12.0, "held_out_return_interval": (0.5, 1.5)}
    assert "success 1.00 (start 0.00), return 12 (start 12) of 20 conditions" in summary(**known)
    better = {**known, "training_return": 40.0, "training_success": 0.0, "measure": "both"}
    assert "return 40 (start 12), success 0.00 (start 0.00) of 20 conditions" in summary(**better)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (AgentLeftError("the agent closed the connection"), "connection; go on with:"),
        (
            RunError("cannot write 'best.py': No space left on device; free some space"),
            "space; then go on with:",
        ),
        (
            ModelError("http://localhost:1/v1 cannot be reached"),
            "reached; once it answers again, go on with:",
        ),
        (ModelAuthError("it refused the key; check OPENAI_API_KEY"), "OPENAI_API_KEY; then go on with:"),
        (BudgetExceededError("5 of 5 calls used"), "used; allow more, then go on with:"),
        (EnvironmentFault("its step raised ValueError"), "ValueError; mend it, then go on with:"),
    ],
)
def test_what_comes_before_going_on_fits_the_error_that_ended_the_run(
    error: TraceRobotError, advice: str, tmp_path: Path
) -> None:
    started = Started(Settings("point-mass", optimizer="search"), SPEC, Policy.from_text(FIXED), tmp_path)

    def fail(on_event: OnEvent, *_: Any) -> Result:
        on_event(started)
        raise error

    with pytest.raises(RunError, match=re.escape(advice)) as raised:
        show_run(fail, argparse.Namespace(json=False, quiet=True), tmp_path)
    assert str(raised.value).endswith(f"trace-robot resume {tmp_path}")


def test_the_end_of_a_run_says_whether_held_out_episodes_are_among_the_steps() -> None:
    assert "30 controllers tried, 689,841 simulator steps without the held-out episodes, 9 s\n" in summary()
    assert "689,841 simulator steps with the held-out episodes" in summary(cut=False), "as 0.1.0 counted"


@pytest.mark.parametrize(
    ("changes", "hinted"),
    [
        ({}, True),
        ({"options": {"hold": 0.5}}, False),
        ({"options": {"hold": "end"}}, False),
        ({"held_out_success": 0.0}, False),
        ({"measure": "both"}, False),
    ],
)
def test_success_that_was_only_touched_is_not_called_lasting(changes: dict[str, Any], hinted: bool) -> None:
    hint = "success was not shown to last, as an episode ends at its first step of success"
    assert (f"{hint}; try: trace-robot stress demo, and --hold end\n" in summary(**changes)) is hinted


def test_the_end_of_a_run_says_where_the_default_made_it_ask_for_places_of_a_hand() -> None:
    hint = "best.py asks for places of a hand"
    assert hint in summary(control="pose", usual_control="raw")
    assert "--control raw" in summary(control="pose", usual_control="raw")
    assert hint not in summary(control="raw", usual_control="raw")
    assert hint not in summary(control="pose")


def test_no_row_of_a_table_ends_with_blanks() -> None:
    out = Console(file=io.StringIO(), width=60)
    table = create_table("name", "what it does and why")
    table.add_row("short", "x " * 40)
    table.add_row("", "")
    table.add_row("[bold]bold[/bold]", "")
    out.print(table)
    rows = out.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert rows == [row.rstrip() for row in rows]
    assert rows[-1] == "bold"
    assert len(rows) == 5, "the long cell is broken"
