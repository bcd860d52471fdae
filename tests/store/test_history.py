"""Reading runs: what was written comes back, also while others write."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trace_robot import store
from trace_robot.errors import RunError, UnknownNameError
from trace_robot.stats import Returns
from trace_robot.store.folder import RunLock
from trace_robot.store.history import History, RunInfo

MakeRun = Callable[..., RunInfo]


def test_a_finished_run_comes_back_with_all_that_was_written(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path, "demo", iterations=4, candidates=2)
    assert (run.name, run.status, run.ended) == ("demo", "finished", "4 iterations done")
    assert run.folder == tmp_path / "demo"
    assert (run.task, run.optimizer, run.control) == ("point-mass", "optoprime", "raw")
    assert (run.iterations, run.best_iteration, run.candidates) == (4, 4, 10)
    assert (run.model_calls, run.tokens, run.prompt_tokens) == (5 - 1, 4400, 4000)
    assert run.money == pytest.approx(0.012)
    assert run.start is not None
    assert run.training is not None
    assert run.held_out is not None
    assert (run.start.success, run.start.episodes) == (0.0, 5)
    assert (run.training.success, run.training.episodes) == (1.0, 5)
    assert (run.held_out.success, run.held_out.episodes) == (0.8, 10)
    assert run.held_out.interval == pytest.approx((0.490, 0.943), abs=0.001)
    assert run.settings["held_out"] == 10
    assert run.environment["positions"] == ["hand_position", "goal_position"]
    assert run.versions["mujoco"] == "3.3.0"
    with History(tmp_path) as history:
        assert [e.success for e in history.held_out(run)].count(True) == 8
        assert [c.id for c in history.candidates(run)] == list(range(10))
        assert history.candidates(run)[3].origin == "model"


def test_returns_are_those_of_the_episodes_of_each_stage(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path)
    with History(tmp_path) as history:
        iterations = history.iterations(run)
        stages = [(run.start, iterations[0].episodes), (run.training, iterations[4].episodes)]
        stages.append((run.held_out, history.held_out(run)))
    for score, episodes in stages:
        wanted = Returns.of(episode.reward for episode in episodes)
        assert score is not None
        assert score.returns is not None
        assert wanted is not None
        assert score.measure == "success"
        assert score.returns.episodes == len(episodes)
        assert score.returns.mean == pytest.approx(wanted.mean)
        assert score.returns.deviation == pytest.approx(wanted.deviation)


def test_an_iteration_has_its_parent_its_feedback_and_its_episodes(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path)
    with History(tmp_path) as history:
        first, _, second, third, _ = history.iterations(run)
        assert (first.parent, first.parent_controller, first.better) == (None, "", True)
        assert (second.number, second.parent, second.better) == (2, 1, False)
        assert second.episodes[0].fault == {
            "category": "exception",
            "message": "ZeroDivisionError: division by zero",
            "line": 6,
            "static": False,
        }
        assert "Error (exception): ZeroDivisionError" in second.feedback
        assert third.parent == 1
        assert "return [0.1, 0.1" in third.parent_controller
        assert "return [0.3, 0.3" in third.controller
        assert third.success == sum(e.success for e in third.episodes) / 5
        assert third.reward == pytest.approx(sum(e.reward for e in third.episodes) / 5)
        assert third.video is None
        (tmp_path / "run" / "iterations" / "003").mkdir()
        (tmp_path / "run" / "iterations" / "003" / "episode.mp4").touch()
        assert history.iterations(run)[3].video == tmp_path / "run" / "iterations" / "003" / "episode.mp4"


def test_what_a_model_was_asked_is_with_the_iteration_it_led_to(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path)
    with History(tmp_path) as history:
        refused, taken = history.attempts(run, 1)
        assert (refused.kind, refused.candidate, refused.problems) == ("proposal", None, ("no JSON",))
        assert (taken.kind, taken.candidate, taken.reasoning) == ("repair", 1, "It stood still.")
        assert [message["role"] for message in taken.messages] == ["system", "user"]
        assert len(history.attempts(run)) == 5


def test_the_path_of_the_representative_episode_and_its_graph_come_back(
    tmp_path: Path, make_run: MakeRun
) -> None:
    run = make_run(tmp_path)
    with History(tmp_path) as history:
        recording = history.recording(run, 1)
        assert recording is not None
        assert list(recording.positions) == ["hand_position", "goal_position"]
        hand, goal = recording.positions.values()
        assert hand.shape == goal.shape == (41, 3)
        assert np.abs(hand[0] - [0.0, 0.0, 0.0]).max() < 1e-6
        assert history.recording(run, 99) is None
        assert [record["name"] for record in history.graph(run, 1)][-1] == "outcome"
        assert history.graph(run, 2) == ()


def test_texts_that_no_encoding_holds_and_numbers_that_are_none_come_back_readable(
    tmp_path: Path, make_run: MakeRun
) -> None:
    run = make_run(tmp_path, text="\ud83e half, \x00 zero, \x1b[31m red, </script>", prices=False)
    assert run.money is None
    with History(tmp_path) as history:
        note = history.iterations(run)[1].note
        assert note.endswith("\\ud83e half, \x00 zero, \x1b[31m red, </script>")
        assert "\ud83e half" in history.attempts(run)[0].messages[0]["content"]
    with sqlite3.connect(tmp_path / "runs.sqlite") as connection:
        connection.execute("UPDATE iterations SET score = NULL WHERE number = 1")
    connection.close()
    with History(tmp_path) as history:
        assert math.isnan(history.iterations(run)[1].score)


def test_runs_are_listed_latest_first_and_by_what_they_are(tmp_path: Path, make_run: MakeRun) -> None:
    make_run(tmp_path, "one", iterations=1)
    make_run(tmp_path, "two", iterations=1, optimizer="search", status="failed")
    make_run(tmp_path, "three", iterations=1, status="stopped")
    with History(tmp_path) as history:
        assert [run.name for run in history.runs()] == ["three", "two", "one"]
        assert [run.name for run in history.runs(optimizer="search")] == ["two"]
        assert [run.name for run in history.runs(status="stopped")] == ["three"]
        assert history.runs(task="point")[0].name == "three"
        assert history.runs(task="reach") == []
        with pytest.raises(
            UnknownNameError, match="no status 'done'; known: running, stopped, failed, finished"
        ):
            history.runs(status="done")


def test_a_run_that_a_process_holds_is_running_and_one_that_was_killed_is_stopped(
    tmp_path: Path, make_run: MakeRun
) -> None:
    make_run(tmp_path, status="stopped")
    with History(tmp_path) as history:
        with RunLock(tmp_path / "run"):
            assert history.run("run").status == "running"
        assert history.run("run").status == "stopped"


def test_a_run_is_found_by_the_beginning_of_its_name_and_a_slip_is_guessed(
    tmp_path: Path, make_run: MakeRun
) -> None:
    for name in ("reach-20261124", "reach-20261125", "push"):
        make_run(tmp_path, name, iterations=1)
    with History(tmp_path) as history:
        assert history.run("pu").name == "push"
        assert history.run(history.run("push").id).name == "push"
        with pytest.raises(
            UnknownNameError, match=r"2 runs begin with 'reach': reach-20261125, reach-20261124;"
        ):
            history.run("reach")
        with pytest.raises(
            UnknownNameError, match=r"no run 'psuh' in .*; did you mean 'push'\? known: push, reach"
        ):
            history.run("psuh")


def test_a_reader_sees_what_is_written_meanwhile(tmp_path: Path, make_run: MakeRun) -> None:
    make_run(tmp_path, "one", iterations=1)
    with History(tmp_path) as history:
        before = history.changes()
        assert history.changes() == before
        make_run(tmp_path, "two", iterations=1)
        assert history.changes() != before
        assert [run.name for run in history.runs()] == ["two", "one"]


def test_a_folder_without_a_store_says_where_it_should_be(tmp_path: Path) -> None:
    wanted = r"file not found: '.*runs\.sqlite', the store that lies beside the folders of runs"
    with pytest.raises(RunError, match=wanted):
        History(tmp_path)


def test_every_name_of_the_package_is_there_and_a_misspelt_one_is_an_error() -> None:
    assert {each for each in store.__all__ if getattr(store, each) is None} == set()
    assert set(store.__all__) <= set(dir(store))
    name = "Histroy"
    with pytest.raises(AttributeError, match=r"module 'trace_robot\.store' has no attribute 'Histroy'"):
        getattr(store, name)


def test_reading_runs_loads_no_numpy() -> None:
    code = "import sys; from trace_robot.store import History; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
