"""rename, tag and rm: runs kept in order, and one that goes on left alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from trace_robot.cli import main
from trace_robot.store.folder import RunLock, read_tags
from trace_robot.store.history import History, RunInfo

RUNS = Path("rollouts") / "runs"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, make_run: Callable[..., RunInfo], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a finished and a stopped run."""
    monkeypatch.chdir(tmp_path)
    make_run(RUNS, "demo", iterations=2)
    make_run(RUNS, "other", iterations=1, status="stopped")
    return tmp_path


def names() -> set[str]:
    with History(RUNS) as history:
        return {run.name for run in history.runs()}


def test_a_renamed_run_is_whole_under_its_new_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tag", "demo", "baseline"]) == 0
    assert main(["rename", "demo", "first"]) == 0
    assert "demo is now first" in capsys.readouterr().out
    assert names() == {"first", "other"}
    assert not (RUNS / "demo").exists()
    assert (RUNS / "first" / "best.py").is_file()
    assert main(["diff", "first", "0", "1"]) == 0
    capsys.readouterr()
    assert main(["runs", "--tag", "baseline", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["first"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rename demo other", "there is a 'other' in 'rollouts/runs' already; give another name"),
        (
            "rename demo ../elsewhere",
            "a run's name must be that of a folder, such as reach-2, got '../elsewhere'",
        ),
        ("rename demo .hidden", "must be that of a folder"),
        ("rename nothing new", "no run 'nothing'"),
        ("tag demo a/b", "a tag has letters, digits and _.:+-, at most 40 characters, got 'a/b'"),
        ("tag demo old --remove", "the run 'demo' has no label 'old'; it has none"),
        ("tag demo --remove", "--remove needs the labels to take away"),
        ("rm demo", "nothing is deleted; answer y, or add --yes"),
        ("rm de --yes", "--yes needs the whole name of a run, such as 'demo'"),
        ("rm demo nothing --yes", "no run 'nothing'"),
        ("compare demo", "compare needs two runs or more, got 'demo' alone"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert names() == {"demo", "other"}
    assert (RUNS / "demo" / "best.py").is_file()
    assert read_tags(RUNS / "demo") == ()


@pytest.mark.parametrize("line", ["rename other new", "rm other --yes", "rm demo other --yes"])
def test_a_run_that_goes_on_is_refused(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with RunLock(RUNS / "other"):
        assert main(line.split()) == 1
    assert "another process is at work on the run 'rollouts/runs/other'" in capsys.readouterr().err
    assert names() == {"demo", "other"}
    assert (RUNS / "other").is_dir()
    assert (RUNS / "demo").is_dir()


def test_a_run_that_goes_on_can_be_labelled() -> None:
    with RunLock(RUNS / "other"):
        assert main(["tag", "other", "tonight"]) == 0
    assert read_tags(RUNS / "other") == ("tonight",)


def test_labels_are_added_shown_and_taken_away(capsys: pytest.CaptureFixture[str]) -> None:
    for line, shown in (
        ("tag demo", "demo: no labels"),
        ("tag demo b a b", "demo: b, a"),
        ("tag demo c", "demo: b, a, c"),
        ("tag demo a --remove", "demo: b, c"),
    ):
        assert main(line.split()) == 0
        assert capsys.readouterr().out.strip() == shown


def test_a_deleted_run_is_gone_and_the_others_stay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def answer(title: str, plan: list[str]) -> bool:
        asked.extend([title, *plan])
        return True

    monkeypatch.setattr("trace_robot.cli.manage.confirm", answer)
    assert main(["rm", "de"]) == 0
    assert asked == ["delete 1 run for ever", "delete demo: finished, 2 iterations, rollouts/runs/demo"]
    assert names() == {"other"}
    assert sorted(path.name for path in RUNS.iterdir() if path.is_dir()) == ["other"]


def test_a_link_in_the_place_of_a_run_is_not_followed(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    precious = place / "precious"
    (RUNS / "demo").rename(precious)
    (RUNS / "demo").symlink_to(precious)
    assert main(["rm", "demo", "--yes"]) == 1
    assert "is a link" in capsys.readouterr().err
    assert (precious / "best.py").is_file()


def test_a_run_whose_folder_is_gone_can_still_be_deleted() -> None:
    (RUNS / "demo").rename("elsewhere")
    assert main(["rm", "demo", "--yes"]) == 0
    assert names() == {"other"}


def test_three_runs_are_compared_with_the_first(
    make_run: Callable[..., RunInfo], capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(RUNS, "third", iterations=3)
    assert main(["compare", "demo", "other", "third"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^ +demo +other +third", shown, re.M)
    assert "other has no held-out score to compare, as it is not finished" in shown
    assert "held-out success, third less " in shown
    assert main(["compare", "demo", "other", "third", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in data["runs"]] == ["demo", "other", "third"]
    assert [row["run"] for row in data["differences"]] == ["other", "third"]


def test_runs_of_a_benchmark_are_found(
    make_run: Callable[..., RunInfo], capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(RUNS / "bench-standard-opro" / "runs", "reach-v3-s0", task="reach-v3")
    rows = [{"task": task, "optimizer": "search", "success": rate} for task, rate in (("a", 1.0), ("b", 0.5))]
    (RUNS / "bench-standard-search").mkdir()
    (RUNS / "bench-standard-search" / "results.jsonl").write_text(
        "".join(f"{json.dumps(row)}\n" for row in rows)
    )
    assert main(["runs"]) == 0
    shown = capsys.readouterr().out
    assert "bench-standard-opro/reach-v3-s0" in shown
    assert "bench-standard-search: 2 runs of bench by search, mean success 0.75; see: " in shown
    assert main(["show", "bench-standard-opro/reach-v3-s0"]) == 0
    assert "reach-v3" in capsys.readouterr().out
    assert main(["runs", "--task", "b"]) == 0
    assert "1 run of bench by search, mean success 0.50" in capsys.readouterr().out
    (RUNS / "bench-standard-search" / "results.jsonl").write_text("[1]\n")
    assert main(["runs"]) == 0
    assert "results.jsonl' cannot be read" in capsys.readouterr().err


def test_a_tag_that_no_run_has_names_the_near_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--tag", "good"]) == 0
    assert (
        "no such runs in rollouts/runs; no run has a tag, see: trace-robot help tag"
        in capsys.readouterr().out
    )
    assert main(["tag", "demo", "good"]) == 0
    assert main(["runs", "--tag", "goood"]) == 1
    assert "no tag 'goood'; did you mean 'good'?" in capsys.readouterr().err
    assert main(["runs", "--tag", "goood", "--json"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "[]"
