"""The SQLite file of runs: creation, migration, many processes, short errors."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from trace_robot.errors import RunError
from trace_robot.store import database
from trace_robot.store.database import FILE, open_to_read, open_to_write, transaction
from trace_robot.store.history import History, RunInfo
from trace_robot.store.writer import Store

MakeRun = Callable[..., RunInfo]


def pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_a_new_store_has_a_log_that_is_synced_and_keys_that_hold(tmp_path: Path) -> None:
    with closing(open_to_write(tmp_path)) as store:
        assert pragma(store, "journal_mode") == "wal"
        assert pragma(store, "synchronous") == 2
        assert pragma(store, "foreign_keys") == 1
        assert pragma(store, "user_version") == len(database.MIGRATIONS)
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            store.execute("INSERT INTO graphs VALUES (17, 0, x'00')")


@pytest.mark.parametrize("opened", [open_to_write, open_to_read])
def test_an_older_store_is_brought_up_to_date_with_its_rows(
    opened: Callable[[Path], sqlite3.Connection],
    tmp_path: Path,
    make_run: MakeRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_run(tmp_path)
    longer = (
        *database.MIGRATIONS,
        "ALTER TABLE runs ADD COLUMN mood TEXT;\nUPDATE runs SET mood = 'good; very';\n",
    )
    monkeypatch.setattr(database, "MIGRATIONS", longer)
    with closing(opened(tmp_path)) as store:
        assert store.execute("SELECT name, mood FROM runs").fetchone()[:] == ("run", "good; very")
        assert pragma(store, "user_version") == len(longer)


def test_a_migration_that_fails_leaves_the_store_as_it_was(
    tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path)
    monkeypatch.setattr(
        database, "MIGRATIONS", (*database.MIGRATIONS, "ALTER TABLE runs ADD COLUMN mood TEXT;\nNONSENSE;\n")
    )
    with pytest.raises(RunError, match="syntax error"):
        open_to_write(tmp_path)
    monkeypatch.undo()
    with closing(open_to_write(tmp_path)) as store:
        assert "mood" not in store.execute("SELECT * FROM runs").fetchone().keys()  # noqa: SIM118  # a Row


def test_two_processes_that_make_the_same_store_at_once_both_can(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def make() -> None:
        try:
            open_to_write(tmp_path).close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_a_store_that_was_only_just_made_is_empty(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    with History(tmp_path) as history:
        assert history.runs() == []


def test_a_store_from_a_later_version_is_not_touched(tmp_path: Path, make_run: MakeRun) -> None:
    make_run(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE)) as store:
        store.execute("PRAGMA user_version = 99")
    for opened in (open_to_read, open_to_write):
        with pytest.raises(
            RunError, match=r"was written by a later trace-robot \(format 99, this one knows 1\); upg"
        ):
            opened(tmp_path)


def test_a_database_of_something_else_is_not_touched(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as other:
        other.execute("CREATE TABLE recipes (name)")
    before = (tmp_path / FILE).read_bytes()
    for opened in (open_to_read, open_to_write):
        with pytest.raises(RunError, match="is a database of something else; move it away"):
            opened(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


@pytest.mark.parametrize("damage", ["no database", "torn"])
def test_a_damaged_store_is_one_line_and_the_folders_stay(
    tmp_path: Path, make_run: MakeRun, damage: str
) -> None:
    run = make_run(tmp_path, iterations=30)
    data = (tmp_path / FILE).read_bytes()
    torn = data[: len(data) // 3] + os.urandom(len(data) // 2)
    (tmp_path / FILE).write_bytes(b"ten years of work " * 500 if damage == "no database" else torn)
    for name in (f"{FILE}-wal", f"{FILE}-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    message = r"is damaged \(.*\); the runs' folders are untouched; move it away"
    with pytest.raises(RunError, match=message), History(tmp_path) as history:  # noqa: PT012  # where it is met depends
        history.iterations(history.run("run"))
        history.attempts(run)
        list(history._rows("SELECT * FROM episodes"))
    assert (run.folder / "best.py").is_file()


def test_a_locked_store_is_waited_for_and_then_an_error_of_one_line(
    tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path)
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    with closing(open_to_write(tmp_path)) as holder, closing(open_to_write(tmp_path)) as other:
        holder.execute("BEGIN IMMEDIATE")
        with (
            pytest.raises(
                RunError, match=r"held by another process for 0\.2 seconds; wait for it, or end it"
            ),
            transaction(other, tmp_path / FILE),
        ):
            pass
        with History(tmp_path) as history:  # readers are not in the way of a writer, nor it in theirs
            assert history.run("run").iterations == 4
        holder.execute("ROLLBACK")


def test_many_writers_and_a_reader_at_once_lose_nothing(tmp_path: Path, make_run: MakeRun) -> None:
    names = [f"run{number}" for number in range(4)]
    threads = [
        threading.Thread(target=make_run, args=(tmp_path, name), kwargs={"iterations": 6}) for name in names
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if (tmp_path / FILE).is_file():
            with History(tmp_path) as history:
                for run in history.runs():
                    assert (
                        len(history.iterations(run)) == len(history.candidates(run))
                        or run.status != "finished"
                    )
    for thread in threads:
        thread.join()
    with History(tmp_path) as history:
        assert sorted(run.name for run in history.runs(status="finished")) == names
        assert all(run.iterations == 6 for run in history.runs())
        assert next(history._rows("PRAGMA integrity_check"))[0] == "ok"


@contextmanager
def another_user() -> Iterator[None]:
    """Act as the user that owns nothing, for files alone: the real user stays root, and may come back."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(
    not hasattr(os, "setuid") or os.getuid() != 0, reason="needs root, to become another user"
)
def test_a_store_where_nothing_may_be_written_can_be_read_and_says_so_to_who_would_write(
    tmp_path: Path, make_run: MakeRun
) -> None:
    place = Path("/var/tmp") / f"trace-robot-test-{os.getpid()}"
    place.mkdir(mode=0o755)
    try:
        make_run(place)
        for name in (f"{FILE}-wal", f"{FILE}-shm"):
            (place / name).unlink(missing_ok=True)

        with another_user(), History(place) as history:
            assert history.run("run").iterations == 4
        with another_user(), pytest.raises(RunError, match="check its permissions and those of its folder"):
            Store(place)
    finally:
        shutil.rmtree(place)
