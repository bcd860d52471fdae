"""The benchmark: what a row says, resuming after a kill, sharing a folder."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from trace_robot.bench import (
    PAPER,
    PROTOCOLS,
    Finished,
    Plan,
    ResultRow,
    Results,
    Running,
    bench,
    read_rows,
    select,
)
from trace_robot.cli import main
from trace_robot.env.registry import describe, environments
from trace_robot.errors import RunError, UnknownNameError
from trace_robot.rollout.engine import RolloutEngine
from trace_robot.rollout.episode import Job
from trace_robot.run.loop import Progressed, Started
from trace_robot.settings import held_out_seeds, training_seeds, validation_seeds
from trace_robot.store.history import History


def test_a_row_says_what_was_reached_and_what_it_cost(finished: Path) -> None:
    (row,) = read_rows(finished / "results.jsonl")
    assert (row.task, row.optimizer, row.protocol, row.feedback, row.control) == (
        "point-mass", "search", "standard", "outcome", "raw",
    )  # fmt: skip
    assert row.success == 1.0
    assert (row.episodes, row.training_episodes, row.crashes) == (50, 5 + 25, 0)
    assert 0.9 < row.interval[0] < row.interval[1] == pytest.approx(1.0)
    assert row.candidates > 10
    assert 3000 <= row.environment_steps <= 4000 + 60  # a fourth is kept for the last score; 60 is an episode
    assert row.seconds <= row.wall_seconds
    assert row.model_calls == row.tokens == 0
    assert "mujoco" in row.versions
    assert "def act" in (finished / row.controller).read_text()


def test_the_kept_controller_scores_on_the_held_out_conditions_what_its_row_says(
    point_mass: Path, finished: Path
) -> None:
    (row,) = read_rows(finished / "results.jsonl")
    text = (finished / row.controller).read_text()
    with RolloutEngine(1) as engine:
        jobs = [
            Job("point-mass", seed, {"control": row.control}, controller=text)
            for seed in held_out_seeds(row.seed, row.episodes)
        ]
        wins = sum(episode.success for episode in engine.run(jobs))
    assert wins / row.episodes == row.success


def test_episodes_that_crash_are_failures_and_are_counted(plan: Callable[..., Plan], tmp_path: Path) -> None:
    (row,) = bench(plan("point-mass-that-raises", steps=500), tmp_path)
    assert (row.success, row.crashes, row.episodes) == (0.0, 50, 50)


def test_the_same_plan_finds_the_same_controller_with_any_number_of_workers(
    plan: Callable[..., Plan], finished: Path, tmp_path: Path
) -> None:
    (before,) = read_rows(finished / "results.jsonl")
    (row,) = bench(plan(workers=2), tmp_path / "again")
    assert (tmp_path / "again" / row.controller).read_text() == (finished / row.controller).read_text()
    assert (row.candidates, row.environment_steps) == (before.candidates, before.environment_steps)


def test_conditions_of_training_choice_and_score_never_meet_for_any_two_seeds() -> None:
    kinds = [training_seeds, validation_seeds, held_out_seeds]
    drawn = [set(kind(seed, 25_000)) for seed in range(4) for kind in kinds]
    assert sum(map(len, drawn)) == len(set().union(*drawn))


def test_a_finished_row_is_not_run_again_and_a_new_seed_is_added(
    plan: Callable[..., Plan], finished: Path
) -> None:
    before = (finished / "results.jsonl").read_bytes()
    seen: list[ResultRow] = []
    rows = bench(
        plan(seeds=(0, 1)),
        finished,
        observe=lambda event: seen.append(event.row) if isinstance(event, Finished) else None,
    )
    assert [row.seed for row in rows] == [0, 1]
    assert seen == rows[1:]
    assert (finished / "results.jsonl").read_bytes().startswith(before)


def test_a_benchmark_that_was_killed_goes_on_with_the_rows_it_had(point_mass: Path, tmp_path: Path) -> None:
    arguments = ["bench", "--tasks", "point-mass", "--seeds", "0-3", "--steps", "500", "--workers", "1"]
    command = [sys.executable, "-m", "trace_robot", *arguments, "--out", str(tmp_path / "out"), "--quiet"]
    results = tmp_path / "out" / "results.jsonl"
    process = subprocess.Popen(command, env=os.environ | {"TRACE_ROBOT_WORKSPACE": str(point_mass)})
    _wait_for_a_row(process, results)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    before = results.read_bytes()
    assert 1 <= before.count(b"\n") < 4
    with open(results, "ab") as file:
        file.write(b'{"task": "point-mass", "seed": 2, "opt')  # a kill in the middle of a write
    assert main([*arguments, "--out", str(tmp_path / "out"), "--quiet"]) == 0
    assert results.read_bytes().startswith(before)
    assert [row.seed for row in read_rows(results)] == [0, 1, 2, 3]


def test_a_benchmark_that_is_stopped_says_how_it_goes_on(point_mass: Path, tmp_path: Path) -> None:
    arguments = [
        "--tasks",
        "point-mass",
        "--seeds",
        "0-99",
        "--steps",
        "500",
        "--workers",
        "1",
        "--out",
        "out",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "trace_robot", "bench", *arguments], cwd=tmp_path, text=True,
        env=os.environ | {"TRACE_ROBOT_WORKSPACE": str(point_mass)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # A shell starts background jobs with Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    _wait_for_a_row(process, tmp_path / "out" / "results.jsonl")
    process.send_signal(signal.SIGINT)
    shown, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "stopped; the same command goes on after the runs in out" in " ".join(shown.split())


def _wait_for_a_row(process: subprocess.Popen[Any], results: Path) -> None:
    limit = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < limit:
        if results.is_file() and results.read_bytes().count(b"\n") >= 1:
            break
        time.sleep(0.01)


def test_a_run_that_was_stopped_in_the_middle_goes_on_there_and_leaves_the_same_row(
    plan: Callable[..., Plan], finished: Path, tmp_path: Path
) -> None:
    class Stop(BaseException):
        """As abrupt as Ctrl-C."""

    known: list[int] = []
    progressed = 0

    def watch(event: Running | Finished) -> None:
        nonlocal progressed
        if isinstance(event, Running) and isinstance(event.event, Started):
            known.append(event.event.known)
        if isinstance(event, Running) and isinstance(event.event, Progressed):
            progressed += 1
            if progressed == 200:
                raise Stop

    with pytest.raises(Stop):
        bench(plan(), tmp_path, observe=watch)
    (row,) = bench(plan(), tmp_path, observe=watch)
    (whole,) = read_rows(finished / "results.jsonl")
    assert known[0] == 0
    assert known[1] > 1
    assert (row.candidates, row.environment_steps, row.success) == (
        whole.candidates, whole.environment_steps, whole.success,
    )  # fmt: skip
    assert (tmp_path / row.controller).read_text() == (finished / whole.controller).read_text()
    assert row.seconds <= row.wall_seconds
    with History(tmp_path / "runs") as history:
        assert history.runs() == []  # a search is not kept beyond its row


def test_answers_that_were_paid_for_before_a_kill_are_not_asked_again(
    plan: Callable[..., Plan], endpoint: Any, tmp_path: Path
) -> None:
    settings = plan(optimizer="optoprime", iterations=2, steps=None)
    (row,) = bench(settings, tmp_path)
    assert row.success == 1.0
    assert (row.model_calls, row.tokens) == (len(endpoint.prompts), 110 * len(endpoint.prompts))
    assert row.model_calls >= 1
    assert "127.0.0.1" in row.model
    asked = len(endpoint.prompts)
    (tmp_path / "results.jsonl").unlink()  # as if it had been killed before the row was written
    (again,) = bench(settings, tmp_path)
    assert len(endpoint.prompts) == asked
    assert (again.model_calls, again.tokens) == (row.model_calls, row.tokens)


def test_a_folder_made_with_other_settings_is_refused(plan: Callable[..., Plan], finished: Path) -> None:
    with pytest.raises(RunError, match=r"was made with steps 4000, not 4001; give another --out$"):
        bench(plan(steps=4001), finished)


def test_a_folder_made_with_other_worlds_is_refused(
    row: Callable[..., ResultRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    robust = Plan(("reach-v3",), protocol="robust")
    with Results(tmp_path, robust.fixed) as results:
        results.add(row(protocol="robust", fixed=robust.fixed))
    with Results(tmp_path, Plan(("push-v3",), protocol="robust").fixed) as results:
        assert len(results.rows) == 1
    for change in ({"world": [{"name": "late", "action_delay": 0.2}], "hold": 1.5}, {"hold": 1.0}):
        rules = PROTOCOLS["robust"]
        with monkeypatch.context() as patch:
            patch.setitem(PROTOCOLS, "robust", replace(rules, options={**rules.options, **change}))
            with pytest.raises(RunError, match=r"was made with worlds '\w{16}', not '\w{16}'; give another"):
                Results(tmp_path, robust.fixed)


@pytest.mark.parametrize("protocol", ["standard", "paper"])
def test_results_of_a_protocol_without_worlds_keep_their_form(protocol: str, tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "results" / f"{protocol}-search.jsonl"
    rows = read_rows(path)
    assert rows[0].fixed.keys() == Plan(("reach-v3",), protocol=protocol).fixed.keys()


def test_two_benchmarks_cannot_write_to_one_folder(plan: Callable[..., Plan], tmp_path: Path) -> None:
    with Results(tmp_path, {}), pytest.raises(RunError, match="another benchmark is writing"):
        bench(plan(), tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("success", None, "TypeError: success cannot be 'None'"),
        ("success", 1.5, "ValueError: success must be from 0 to 1, got 1.5"),
        ("seconds", float("nan"), "ValueError: seconds must be finite and at most 1e+15, got nan"),
        ("episodes", 0, "ValueError: episodes must be at least 1, got 0"),
        ("episodes", True, "TypeError: episodes cannot be 'True'"),
        ("control", [], "TypeError: control cannot be '[]'"),
        ("interval", [0.5, "x"], "TypeError: interval cannot be 'x'"),
        ("versions", 3, "TypeError: versions cannot be '3'"),
        ("fixed", {"steps": "many"}, "TypeError: steps cannot be 'many'"),
    ],
)
def test_a_row_with_a_value_of_another_kind_is_refused(
    name: str, value: Any, why: str, row: Callable[..., ResultRow], tmp_path: Path
) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps({**asdict(row()), name: value}) + "\n")
    with pytest.raises(RunError, match="line 1 is no result") as error:
        read_rows(path)
    assert f"is no result: {why}; delete the line" in str(error.value)


def test_a_broken_line_of_results_is_named(row: Callable[..., ResultRow], tmp_path: Path) -> None:
    with Results(tmp_path, {}) as results:
        results.add(row())
    path = tmp_path / "results.jsonl"
    path.write_text("nonsense\n" + path.read_text())
    with pytest.raises(RunError, match="line 1 is no result"):
        read_rows(path)


def test_a_link_or_a_pipe_in_place_of_the_results_is_neither_read_nor_written(
    plan: Callable[..., Plan], tmp_path: Path
) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine, without a line end")
    for kind in ("link", "pipe"):
        folder = tmp_path / kind
        folder.mkdir()
        if kind == "link":
            (folder / "results.jsonl").symlink_to(precious)
        else:
            os.mkfifo(folder / "results.jsonl")
        with pytest.raises(RunError, match=r"results\.jsonl"):
            bench(plan(), folder)
        with pytest.raises(RunError, match=r"results\.jsonl"):
            read_rows(folder / "results.jsonl")
    assert precious.read_text() == "mine, without a line end"


def test_sets_of_tasks_are_meta_worlds_own() -> None:
    assert select(["paper"]) == ("reach-v3", "push-v3", "pick-place-v3")
    assert len(select(["mt10"])) == 10
    assert set(select(["mt50"])) == {name for name in environments() if re.match(r"[a-z-]+-v3$", name)}
    assert len(select(["mt50"])) == 50
    assert select(["push-v3", "paper"]) == ("push-v3", "reach-v3", "pick-place-v3")
    with pytest.raises(UnknownNameError, match="did you mean 'reach-v3'"):
        select(["reach-v2"])


def test_the_papers_protocol_is_the_papers() -> None:
    plan = Plan(select(["paper"]), protocol="paper", optimizer="optoprime")
    keys = list(plan.keys())
    assert len(keys) == 30
    settings = {key: plan.settings(key) for key in keys}
    assert {s.iterations for k, s in settings.items() if k[0] == "reach-v3"} == {10}
    assert {s.iterations for k, s in settings.items() if k[0] != "reach-v3"} == {30}
    assert {(s.episodes, s.held_out, s.control) for s in settings.values()} == {(1, 10, "pose")}
    spec = describe("push-v3", control="pose", **PROTOCOLS["paper"].options)
    assert spec.horizon == 10
    assert spec.action[0].name == "displacement"
    assert PAPER["optoprime"] == {"reach-v3": 1.0, "push-v3": 0.3, "pick-place-v3": 0.4}


def test_an_episode_of_the_papers_protocol_ends_after_ten_decisions() -> None:
    text = "def act(observation):\n    return [0.0] * 4\n"
    options = {"control": "pose", **PROTOCOLS["paper"].options}
    with RolloutEngine(1) as engine:
        (episode,) = engine.run([Job("push-v3", 0, options, controller=text)])
    assert (episode.decisions, episode.ended) == (10, "time")


def test_the_command_prints_the_rows_as_json_and_writes_table_and_plot(
    point_mass: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--tasks",
        "point-mass",
        "--steps",
        "4000",
        "--workers",
        "1",
        "--out",
        str(finished),
        "--json",
    ]
    assert main(["bench", *arguments]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["task"] == "point-mass"
    assert "| point-mass | 1.00 |" in (finished / "table.md").read_text()
    assert (finished / "plot.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "reach-v2"], "no task or set of tasks 'reach-v2'; did you mean 'reach-v3'"),
        (["--feedback", "terms"], "feedback level 'terms' is words for a model, and the optimizer search reads none"),
    ],
)  # fmt: skip
def test_a_plan_that_makes_no_sense_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
