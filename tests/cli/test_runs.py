"""Looking at runs from the command line."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.synthetic import SPEC
from trace_robot.cli import main
from trace_robot.cli.main import create_parser
from trace_robot.store.history import RunInfo

MakeRun = Callable[..., RunInfo]
HOSTILE = "</pre><script>alert(1)</script> [bold]no[/bold] \x1b[31m \x07 \u202e \r back"


@pytest.fixture
def runs(tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a finished, a stopped and a failed run."""
    monkeypatch.chdir(tmp_path)
    folder = Path("rollouts") / "runs"
    make_run(folder, "reach-1", iterations=4)
    make_run(folder, "push-1", iterations=2, text=HOSTILE, status="stopped")
    make_run(folder, "push-2", iterations=1, optimizer="search", task="other", status="failed", prices=False)
    return folder


def test_runs_are_listed_and_filtered(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:6] == ["run", "task", "optimizer", "status", "held", "out"]
    assert [row.split()[0] for row in rows] == ["push-2", "push-1", "reach-1"]
    assert rows[2].split()[3:6] == ["finished", "0.80", "1.00"]
    assert rows[0].split()[3:6] == ["failed", "-", "1.00"]
    for arguments, names in (
        (["--status", "stopped"], ["push-1"]),
        (["--task", "poi"], ["push-1", "reach-1"]),
        (["--optimizer", "search"], ["push-2"]),
        (["--task", "nothing"], []),
    ):
        assert main(["runs", *arguments, "--json"]) == 0
        assert [run["name"] for run in json.loads(capsys.readouterr().out)] == names


def test_where_there_are_no_runs_yet_a_line_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 0
    assert "no runs in rollouts/runs; start one with: trace-robot optimize TASK" in capsys.readouterr().out
    assert main(["runs", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"
    assert main(["show", "demo"]) == 1
    assert "no run 'demo': there are no runs in 'rollouts/runs' yet" in capsys.readouterr().err


def test_show_prints_how_a_run_went_and_why_it_ended(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "reach"]) == 0
    shown = capsys.readouterr().out
    assert "finished: 4 iterations done" in shown
    assert "held out 0.80 of 10 (0.49 to 0.94); training 1.00 of 5" in shown
    assert (
        "4 iterations, 5 controllers tried, 1,000 simulator steps with the held-out episodes, 40 s, 5 model calls,"
        " 5,000 + 500 tokens" in shown
    )
    assert "the best controller, iteration 4:" in shown
    assert "return [0.4, 0.4, 0.0, 0.0]" in shown
    assert "success, the best so far" in shown
    assert "1.00 │" in shown
    assert "push 0.3 forward" in shown
    assert main(["show", "reach-1", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["status"], data["held_out"]["success"], len(data["iterations"])) == ("finished", 0.8, 5)
    assert data["iterations"][2]["episodes"][0]["fault"]["category"] == "exception"


def test_show_prints_the_controller_that_the_run_kept(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = runs / "reach-1" / "best.py"
    best.write_text("# edited by hand\n")
    assert main(["show", "reach"]) == 0
    shown = capsys.readouterr().out
    assert (
        "the best controller, from best.py, which is not that of iteration 4:\n\n# edited by hand\n" in shown
    )
    best.unlink()
    assert main(["show", "reach"]) == 0
    assert "the best controller, iteration 4:" in capsys.readouterr().out


def test_a_run_that_was_killed_says_how_to_go_on(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "push-1"]) == 0
    assert "stopped: it was killed; go on with: trace-robot resume push-1" in capsys.readouterr().out
    assert main(["show", str(runs.absolute() / "push-2")]) == 0
    assert "failed: the model is not there; go on with: trace-robot resume push-2" in capsys.readouterr().out


def test_a_long_run_is_shown_by_what_was_better_and_its_end(
    runs: Path, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(runs, "long", iterations=200)
    assert main(["show", "long"]) == 0
    shown = capsys.readouterr().out
    assert "others were no better; --all shows them" in shown
    assert len(shown.splitlines()) < 70
    assert main(["show", "long", "--all"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 200


def test_diff_shows_how_a_controller_changed(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "reach", "0", "3"]) == 0
    shown = capsys.readouterr().out
    assert "--- iteration 0\n+++ iteration 3\n" in shown
    assert "-    return [0.0, 0.0, 0.0, 0.0]\n+    return [0.3, 0.3, 0.0, 0.0]\n" in shown
    assert main(["diff", "reach", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["first"] == 1
    assert main(["diff", "reach", "3", "3"]) == 0
    assert capsys.readouterr().out == "iteration 3 and iteration 3 are the same\n"


def test_prompt_shows_what_was_asked_and_answered(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prompt", "reach", "1"]) == 0
    shown = capsys.readouterr().out
    assert "── request 1 of 2: user ──" in shown
    assert "could not be used: no JSON" in shown
    assert "── request 2 of 2: reply, repair, 1,000 + 100 tokens ──" in shown
    assert main(["prompt", "reach", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[1]["reasoning"] == "It stood still."


def test_graph_is_text_or_a_picture_of_folded_steps(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "reach", "1"]) == 0
    assert "observation = step(observation=observation of a step before" in capsys.readouterr().out
    assert main(["graph", "reach", "1", "--out", "graph.dot"]) == 0
    assert capsys.readouterr().out == "graph.dot: 5 records, folded\n"
    assert Path("graph.dot").read_text().startswith("digraph {")


def test_compare_says_whether_the_difference_may_be_chance(
    runs: Path, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(runs, "reach-2", iterations=2)
    assert main(["compare", "reach-1", "reach-2", "--diff"]) == 0
    shown = capsys.readouterr().out
    assert (
        "held-out success, reach-2 less reach-1: +0.00 (95 % interval -0.34 to +0.34), may be chance" in shown
    )
    assert "+++ reach-2" in shown
    assert main(["compare", "reach-1", "push-2", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["settings"]["task"] == ["point-mass", "other"]
    assert data["difference"] is None


def test_a_run_without_a_success_shows_its_return_everywhere(
    runs: Path, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    bare, threshold = replace(SPEC, success=""), replace(SPEC, success="enough", return_threshold=3.0)
    make_run(runs, "bare-1", iterations=3, spec=bare)
    make_run(runs, "bare-2", iterations=3, spec=bare)
    make_run(runs, "long-1", iterations=3, spec=replace(bare, horizon=7))
    make_run(runs, "enough-1", iterations=3, spec=threshold)
    assert main(["runs", "--task", "point", "--json"]) == 0
    held_out = {run["name"]: run["held_out"] for run in json.loads(capsys.readouterr().out)}
    assert held_out["bare-1"]["measure"] == "return"
    assert held_out["enough-1"]["measure"] == "both"
    low, high = held_out["bare-1"]["return_interval"]
    assert low < held_out["bare-1"]["return"] < high
    assert main(["show", "enough-1"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"return +held out -?[\d.]+ \(.* to .*\), success 0.80 of 10", shown)
    assert "return, the best so far" in shown
    assert main(["compare", "bare-1", "bare-2"]) == 0
    shown = capsys.readouterr().out
    assert "held-out return, bare-2 less bare-1: +0 (95 % interval " in shown
    assert "held-out success, bare-2 less bare-1: +0.00 (95 % interval " in shown, "each for itself"
    assert main(["compare", "bare-1", "bare-2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (
        [each["measure"] for each in found["measures"]]
        == [found["measure"], "success"]
        == ["return", "success"]
    )
    assert main(["compare", "bare-1", "long-1"]) == 0
    shown = capsys.readouterr().out
    assert "cannot be compared, they were scored in different ways: horizon 40 and 7 steps" in shown
    assert "may be chance" not in shown


def test_runs_of_other_worlds_cannot_be_compared_and_of_another_control_can(
    runs: Path, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(runs, "posed", spec=replace(SPEC, options={"control": "pose"}))
    make_run(runs, "worlds", spec=replace(SPEC, options={"world": ["delay"]}))
    assert main(["compare", "reach-1", "posed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["incomparable"] == []
    assert main(["compare", "reach-1", "worlds", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["incomparable"] == ["world None and ['delay']"]
    assert data["difference"] is None


def test_compare_shows_the_control_mode_that_was_used(
    runs: Path, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both settings leave it to the environment."""
    make_run(runs, "posed", spec=replace(SPEC, options={"control": "pose"}, control="pose"))
    assert main(["compare", "reach-1", "posed"]) == 0
    row = next(row for row in capsys.readouterr().out.splitlines() if row.startswith("control "))
    assert row.split() == ["control", "raw", "pose"]


@pytest.mark.parametrize(
    "command", ["show push-1", "diff push-1 1", "prompt push-1 1", "graph push-1 1", "runs"]
)
def test_text_of_a_run_is_shown_but_cannot_control_the_terminal(
    command: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == 0
    shown = capsys.readouterr().out
    for letter in "\x1b\x07\r\u202e":
        assert letter not in shown
    if command.startswith(("show", "diff", "prompt")):
        assert "[bold]no[/bold] \\x1b[31m \\x07 \\u202e" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("show rech-1", "no run 'rech-1' in 'rollouts/runs/runs.sqlite'; did you mean 'reach-1'?"),
        ("show push", "2 runs begin with 'push': push-2, push-1; write more of the name"),
        ("show {tmp}", "is not a run's folder"),
        ("show nowhere/run", "no run 'nowhere/run': there is no such folder"),
        ("show moved/reach-1", "has lost its store: runs.sqlite must lie beside it; if the folder was moved"),
        ("diff reach-1 9", "has no iteration 9; it has 0 to 4"),
        ("diff reach-1 0", "iteration 0 is what the run began with; name another one"),
        ("prompt reach-1 0", "no model was asked for iteration 0 of 'reach-1': it is from start"),
        ("graph reach-1 2", "iteration 2 of 'reach-1' has no graph: only OptoPrime's episodes are traced"),
        ("graph reach-1 1 --out g.png", "--out must name an .svg or a .dot file, got 'g.png'"),
        ("video reach-1", "has no recorded states to draw"),
        ("video reach-1 --contact-sheet --out sheet.mp4", "--out must name a .png file"),
        ("runs --status done", "no status 'done'; known: running, stopped, failed, finished"),
        ("runs --runs nowhere", "file not found: 'nowhere/runs.sqlite', the store"),
        ("resume push-1", "has an optimizer or a model that a program made"),
        ("resume nothing", "no run 'nothing' in"),
        ("optimize reach-v3 --money 3", "--money needs --prices"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(
    arguments: str, message: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "moved" / "reach-1"
    moved.mkdir(parents=True)
    (moved / "settings.json").write_text("{}")
    assert main(arguments.format(tmp=tmp_path).split()) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


def test_a_finished_run_is_nothing_to_resume_and_no_fault(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", "reach-1", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["held_out_success"] == 0.8
    assert "reach-1 is finished: 4 iterations done; see: trace-robot show reach-1" in shown.err
    own = "to go on from its best controller: trace-robot optimize point-mass --policy rollouts/runs/reach-1/best.py"
    assert own in shown.err


def test_tables_and_help_import_nothing_heavy(runs: Path) -> None:
    heavy = "{'numpy', 'mujoco', 'metaworld', 'gymnasium', 'openai', 'imageio', 'scipy', 'cma'}"
    for command in (["runs"], ["show", "reach-1"], ["diff", "reach-1", "1"], ["prompt", "reach-1", "1"]):
        code = (
            f"import sys, trace_robot.cli as cli\ncli.main({command})\n"
            f"heavy = {heavy} & set(sys.modules)\nassert not heavy, heavy\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_colors_are_for_terminals_that_do_not_set_no_color(runs: Path) -> None:
    command = [str(Path(sys.executable).with_name("trace-robot")), "diff", "reach-1", "1"]
    plain = subprocess.run(command, capture_output=True, check=True).stdout
    assert b"\x1b[" not in plain
    quoted = " ".join(command)
    for setting, colored in (("TERM=xterm-256color", True), ("TERM=xterm-256color NO_COLOR=1", False)):
        shown = subprocess.run(
            ["script", "-qec", f"env -u NO_COLOR {setting} {quoted}", "/dev/null"],
            capture_output=True,
            check=True,
        ).stdout
        assert (b"\x1b[32m" in shown) == colored


PAGE = (Path(__file__).parents[2] / "docs" / "runs.md").read_text()
TYPED = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S)
    for line in block.splitlines()
]


@pytest.mark.parametrize("command", TYPED)
def test_every_command_of_the_page_on_runs_can_be_typed(command: str) -> None:
    program, *arguments = shlex.split(command)
    assert program == "trace-robot"
    create_parser().parse_args(arguments)


def test_the_program_of_the_page_on_runs_runs(
    runs: Path, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(runs, "demo", iterations=2)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(compile(code, "runs.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[1] == "1 0.4 push 0.1 forward"


@pytest.mark.parametrize(("width", "apart"), [(80, False), (120, False), (50, True)])
def test_runs_in_a_terminal_shows_whole_words_in_whole_lines(
    runs: Path, make_run: MakeRun, width: int, apart: bool
) -> None:
    long = "reach-wall-20261127-151327-b"
    make_run(Path("rollouts") / "runs", long, task="peg-unplug-side-v3")
    command = (
        f"env COLUMNS={width} TERM=xterm NO_COLOR=1 {Path(sys.executable).with_name('trace-robot')} runs"
    )
    done = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, check=True)
    rows = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout.decode()).replace("\r", "").splitlines()
    assert max(map(len, rows)) <= width
    place = next(number for number, row in enumerate(rows) if row.startswith(long))
    shown = " ".join(rows[place : place + 1 + apart])
    for word in (long, "peg-unplug-side-v3", "finished", "0.80"):
        assert word in shown.split()
    assert ("money" in rows[0]) == (width > 160)
    assert any(row.startswith("not shown, for want of room: ") for row in rows)
