"""The command: what it prints and refuses, and a run that is interrupted and taken up again."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers.agents import KEEPS_STILL, SMALL_RUN, SOLVES
from trace_robot.cli import main

pytestmark = pytest.mark.usefixtures("point_mass")
LITTLE = (*SMALL_RUN, "--budget", "9")
CURL = re.compile(r"serving +curl -H 'Authorization: Bearer ([\w-]+)' http://127\.0\.0\.1:(\d+)/describe")


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """Start the command; yield its process and a function that sends a request."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trace_robot", "serve", *arguments, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        match = None
        for line in process.stdout:
            if match := CURL.match(line):
                break
        assert match is not None
        token, port = match.groups()

        def send(verb: str, **fields: str) -> dict[str, Any]:
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=300)
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            if verb in ("submit", "finish"):
                connection.request("POST", f"/{verb}", json.dumps(fields), headers)
            else:
                connection.request("GET", f"/{verb}", headers=headers)
            data: dict[str, Any] = json.loads(connection.getresponse().read())
            connection.close()
            return data

        yield process, send
    finally:
        process.kill()
        process.communicate()


def test_an_interrupted_run_goes_on_with_its_budget_and_its_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "run")
    with serving("point-mass", "--out", folder, *LITTLE) as (process, send):
        assert send("submit", controller=KEEPS_STILL)["left"] == 7
        outcome = send("submit", controller=SOLVES, note="go there")
        assert outcome["left"] == 4
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=300)
        assert process.returncode == 130
        assert f"go on with: trace-robot serve --resume {folder}" in rest

    assert main(["resume", folder]) == 1
    assert (
        "takes controllers from an agent; go on with: trace-robot serve --resume" in capsys.readouterr().err
    )

    with serving(folder, "--resume") as (process, send):
        again = send("latest")
        assert again == outcome, "it is replayed, not rolled out again"
        assert "which would do the same" in send("submit", controller=SOLVES)["error"]
        assert send("finish")["held_out_success"] == 1.0
        rest, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        assert "the agent finished" in rest

    capsys.readouterr()
    assert main(["show", folder, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["optimizer"] == "agent"
    assert main(["report", folder, "--single-file", "--out", str(tmp_path / "page.html")]) == 0
    page = re.sub("</?span>", "", (tmp_path / "page.html").read_text())
    assert "go there" in page
    assert "trace-robot serve point-mass --policy do_nothing --confirm 1 --seed " in page
    assert main(["serve", "--resume", folder]) == 1
    assert "is finished" in capsys.readouterr().err


def test_a_budget_that_no_submission_fits_into_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "point-mass", "--budget", "14"]) == 1
    assert capsys.readouterr().err == (
        "trace-robot: error: --budget must be at least the 15 episodes that one submission may take, got 14; give more,"
        " or lower --episodes or --confirm\n"
    )


def test_a_port_that_is_taken_is_named_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        arguments = ["serve", "point-mass", "--port", str(port), "--out", str(tmp_path / "run")]
        assert main(arguments) == 1
    assert f"cannot serve on port {port}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_environment_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    assert main(["serve", "point-mas", "--port", "0"]) == 1
    assert "did you mean 'point-mass' or" in capsys.readouterr().err
    assert time.monotonic() - began < 60, "it does not wait for an agent"


def test_the_skill_is_printed_as_an_agent_reads_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["serve", "--skill"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("---\nname: trace-robot\ndescription: ")
    for verb in ("describe", "submit", "latest", "best", "budget", "finish"):
        assert f"| {verb} | " in text


def test_a_run_of_another_optimizer_is_not_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from trace_robot.errors import TraceRobotError
    from trace_robot.llm import ScriptedModel
    from trace_robot.run.optimize import optimize

    with pytest.raises(TraceRobotError):
        optimize(
            "point-mass",
            optimizer="optoprime",
            model=ScriptedModel(),
            out=tmp_path / "run",
            episodes=2,
            workers=0,
            video=False,
        )
    assert main(["serve", str(tmp_path / "run"), "--resume"]) == 1
    assert "is not of serve; go on with: trace-robot resume run" in capsys.readouterr().err
