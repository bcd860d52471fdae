"""Stores and folders of runs where something is odd: full, elsewhere, in use, damaged, or of a later version."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers import synthetic
from trace_robot.errors import RunError, UnknownNameError
from trace_robot.settings import Settings
from trace_robot.spec import Scene, States
from trace_robot.store import database
from trace_robot.store.codec import (
    Recording,
    decode_episodes,
    decode_recording,
    encode_episodes,
    encode_recording,
)
from trace_robot.store.database import FILE, open_to_read, open_to_write, transaction
from trace_robot.store.folder import LOG, RunFolder, RunLock, is_locked
from trace_robot.store.history import History, RunInfo
from trace_robot.store.writer import Cost, RunHeader, Store

MakeRun = Callable[..., RunInfo]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB, too small for the empty tables."""
    if os.getuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    small = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(small, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_store_that_has_no_room_is_one_line_and_is_made_once_there_is_room(small_disk: Path) -> None:
    with pytest.raises(RunError, match=r"runs\.sqlite' cannot grow, the disk is full; free some space$"):
        open_to_write(small_disk)
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    with Store(small_disk) as store:
        store.begin("run", RunHeader(Settings("point-mass"), synthetic.SPEC, ""))
    with History(small_disk) as history:
        assert [run.name for run in history.runs()] == ["run"]


def test_a_block_that_is_interrupted_leaves_no_part_and_no_lock(tmp_path: Path, make_run: MakeRun) -> None:
    make_run(tmp_path, iterations=1)
    with closing(open_to_write(tmp_path)) as store, closing(open_to_write(tmp_path)) as other:

        def interrupted() -> None:
            with transaction(store, tmp_path / FILE) as connection:
                connection.execute("DELETE FROM runs")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        with transaction(other, tmp_path / FILE) as connection:
            assert connection.execute("SELECT count(*) FROM runs").fetchone()[0] == 1


def test_a_reader_waits_for_a_program_that_holds_the_whole_file_and_then_says_so(
    tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path)
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as holder:
        holder.execute("PRAGMA journal_mode = DELETE")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RunError, match=r"has been held by another process for 0\.1 seconds; wait for it"):
            open_to_read(tmp_path)
        holder.execute("ROLLBACK")
    with History(tmp_path) as history:
        assert history.run("run").iterations == 4


def test_a_folder_that_cannot_be_made_is_one_line_and_nothing_is_changed(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("ten years of work")
    with pytest.raises(RunError, match=r"notes\.txt' is a file, not a folder; give another --out$"):
        RunFolder.create(file, overwrite=True)
    with pytest.raises(
        RunError, match=r"cannot make the run's folder '.*run': Not a directory; give another"
    ):
        RunFolder.create(file / "run")
    with pytest.raises(
        RunError, match=r"cannot make the folder '.*runs': Not a directory; give another --out$"
    ):
        Store(file / "runs")
    with pytest.raises(RunError, match=r"cannot write '.*\.lock': .* give another --out$"):
        RunLock(file / "run")
    assert file.read_text() == "ten years of work"


def test_a_run_without_candidates_ends_without_a_log(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.finish()
    assert not (folder.path / LOG).exists()


def test_what_an_environment_puts_into_a_log_is_json_whatever_it_is(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    odd = {"array": np.eye(2), "number": np.float32(0.5), "names": {"a"}, "pair": (1, 2), "path": Path("a/b")}
    folder.log([odd])
    folder.finish()
    assert json.loads((folder.path / LOG).read_text()) == {
        "array": [[1.0, 0.0], [0.0, 1.0]],
        "number": 0.5,
        "names": ["a"],
        "pair": [1, 2],
        "path": "a/b",
    }


def test_a_lock_that_is_released_twice_does_not_close_the_file_of_another(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    lock.release()
    with RunLock(tmp_path):  # it gets the number that the first had
        lock.release()
        assert is_locked(tmp_path)
        with pytest.raises(RunError, match="another process is at work on the run"):
            RunLock(tmp_path)
    assert not is_locked(tmp_path)


WITHOUT_FCNTL = """
import sys
sys.modules["fcntl"] = None  # as on Windows
from pathlib import Path
from trace_robot.store import History, RunLock
with RunLock(Path(sys.argv[1]) / "run"), History(Path(sys.argv[1])) as history:
    print(*(f"{run.name} {run.status} {run.iterations}" for run in history.runs()))
"""


def test_runs_can_be_read_where_files_have_no_locks(tmp_path: Path, make_run: MakeRun) -> None:
    make_run(tmp_path)
    command = [sys.executable, "-c", WITHOUT_FCNTL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("run finished 4\n", "")


def test_a_number_that_no_run_has_is_an_error_that_names_the_store(tmp_path: Path, make_run: MakeRun) -> None:
    make_run(tmp_path, iterations=1)
    with (
        History(tmp_path) as history,
        pytest.raises(UnknownNameError, match=r"no run 99 in '.*runs\.sqlite'"),
    ):
        history.run(99)


def test_a_status_of_a_later_version_is_an_error_that_names_run_and_status(
    tmp_path: Path, make_run: MakeRun
) -> None:
    make_run(tmp_path, iterations=1)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as store:
        store.execute("PRAGMA ignore_check_constraints = ON")
        store.execute("UPDATE runs SET status = 'paused'")
    with (
        History(tmp_path) as history,
        pytest.raises(RunError, match="the run 'run' has status 'paused', which this version does not know"),
    ):
        history.run("run")


def test_a_journal_with_a_gap_is_damage_and_not_the_end_of_the_replay(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        writer = store.begin("run", RunHeader(Settings("point-mass"), synthetic.SPEC, ""))
        for number in range(3):
            writer.journal.put("replies", str(number), b"answer")
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as connection:
        connection.execute("UPDATE journal SET number = 7 WHERE number = 1")
    with Store(tmp_path) as store:
        journal = store.reopen("run")[0].journal
        assert journal.take(("replies",), "0") is not None
        with pytest.raises(RunError, match="the journal of the run lacks entry 2; the store is damaged"):
            journal.take(("replies",), "1")


@pytest.mark.parametrize(
    ("column", "name", "data"),
    [("settings", "mood", "good"), ("environment", "mood", "good"), ("environment", "observation", 3)],
)
def test_a_run_with_settings_of_a_later_version_is_not_resumed_with_others(
    tmp_path: Path, make_run: MakeRun, column: str, name: str, data: object
) -> None:
    make_run(tmp_path, status="stopped", iterations=1)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as connection:
        known = json.loads(connection.execute(f"SELECT {column} FROM runs").fetchone()[0])
        connection.execute(f"UPDATE runs SET {column} = ?", (json.dumps({**known, name: data}),))
    with (
        Store(tmp_path) as store,
        pytest.raises(
            RunError, match="the run 'run' has settings that this version of trace-robot does not know"
        ),
    ):
        store.reopen("run")


def test_seeds_beyond_64_bits_come_back_as_they_were(tmp_path: Path) -> None:
    seed = 2**80 + 1
    trial = synthetic._trial(0, 0, 1, 2, "")
    episodes = tuple(replace(episode, seed=seed + episode.seed) for episode in trial.episodes)
    with Store(tmp_path) as store:
        writer = store.begin("run", RunHeader(Settings("point-mass", seed=seed), synthetic.SPEC, ""))
        writer.iteration(0, replace(trial, episodes=episodes), [], Cost(), better=True)
    with History(tmp_path) as history:
        run = history.run("run")
        assert run.seed == seed
        assert [episode.seed for episode in history.iterations(run)[0].episodes] == [seed, seed + 1]
    with Store(tmp_path) as store:
        assert store.reopen("run")[1].settings.seed == seed


def test_episodes_that_kept_nothing_to_draw_have_no_recording(tmp_path: Path) -> None:
    trial = synthetic._trial(0, 0, 1, 2, "")
    empty = tuple(replace(episode, observations=np.zeros((0, 0))) for episode in trial.episodes)
    with Store(tmp_path) as store:
        writer = store.begin("run", RunHeader(Settings("point-mass"), synthetic.SPEC, ""))
        writer.iteration(0, replace(trial, episodes=empty), [], Cost(), better=True)
    with History(tmp_path) as history:
        assert history.recording(history.run("run"), 0) is None
        assert len(history.iterations(history.run("run"))[0].episodes) == 2


def test_a_run_can_go_on_until_it_is_finished_and_is_gone_once_it_is_forgotten(
    tmp_path: Path, make_run: MakeRun
) -> None:
    make_run(tmp_path, "done", iterations=1)
    kept = make_run(tmp_path, "killed", iterations=1, status="stopped").folder
    with Store(tmp_path) as store:
        assert [store.can_go_on(name) for name in ("done", "killed", "never")] == [False, True, False]
        with pytest.raises(
            RunError, match=r"the run 'done' is finished: 1 iterations? done; nothing is left"
        ):
            store.reopen("done")
        with pytest.raises(RunError, match=r"has no run 'never'; see: trace-robot runs$"):
            store.reopen("never")
        store.forget("killed")
        assert not store.can_go_on("killed")
    assert kept.is_dir()
    with History(tmp_path) as history:
        assert [run.name for run in history.runs()] == ["done"]
        tables = [row[0] for row in history._rows("SELECT DISTINCT run FROM episodes")]
        assert tables == [history.run("done").id]


def test_what_it_takes_to_draw_an_episode_comes_back_with_its_times_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    states = States(
        rng.normal(size=(5, 9)), rng.normal(size=(5, 1, 3)), rng.normal(size=(5, 1, 4)), rng.random(5)
    )
    scene = Scene("arm.xml", {"body_pos": rng.normal(size=(3, 3))}, "corner", True, {"azimuth": 90.0})
    path = rng.normal(size=(6, 3))

    recording = decode_recording(encode_recording(Recording(7, {"hand": path}, scene, states)))
    episode = replace(synthetic._episode(3, reached=True, fault=False), scene=scene, states=states)
    (again,) = decode_episodes(encode_episodes([episode]))

    assert recording.seed == 7
    assert np.array_equal(recording.positions["hand"], path.astype(np.float32))
    for found_scene, found in ((recording.scene, recording.states), (again.scene, again.states)):
        assert found_scene is not None
        assert found is not None
        assert replace(found_scene, model_arrays={}) == replace(scene, model_arrays={})
        assert np.array_equal(found_scene.model_arrays["body_pos"], scene.model_arrays["body_pos"])
        assert found.seconds.tobytes() == states.seconds.tobytes()
        for name in ("qpos", "mocap_pos", "mocap_quat"):
            assert np.array_equal(getattr(found, name), getattr(states, name).astype(np.float32))
