"""Stores and run folders from strangers: nothing in them is run, followed or written through; odd rows are one line."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trace_robot.env.world import STANDARD
from trace_robot.errors import RunError, TraceRobotError, WorkspaceError
from trace_robot.llm import ModelConfig
from trace_robot.render.job import require_own_scene
from trace_robot.report.write import write_report
from trace_robot.run.person import plan_to_resume, strangers_header
from trace_robot.safe_files import inflate, is_file, load_json, open_append, read_bytes, write
from trace_robot.spec import Scene
from trace_robot.store import codec
from trace_robot.store.codec import Recording, decode_recording, encode_recording
from trace_robot.store.folder import RunFolder, RunLock, is_locked
from trace_robot.store.history import History, RunInfo
from trace_robot.store.records import require_tables
from trace_robot.store.writer import Store
from trace_robot.workspace import require_named, require_own_file, require_plain_options

MakeRun = Callable[..., RunInfo]
DEEP = "[" * 50_000 + "]" * 50_000


def bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes)) + packer.flush()


ODD_RUNS = {
    "settings nested": ("settings", '{"a":' + DEEP + "}"),
    "settings a list": ("settings", "[1]"),
    "started huge": ("started", 1e300),
    "started text": ("started", "now"),
    "seed text": ("seed", "x"),
    "seed of 5,000 digits": ("seed", "1" * 5000),
    "task bytes": ("task", b"\x00\xff"),
    "name that leads out": ("name", "../demo"),
    "name of bytes": ("name", b"\x00\xff"),
    "result of another kind": ("result", '{"held_out_success": "x", "held_out_episodes": -5}'),
    "counts that are text": ("candidates", "many"),
    "seconds without an end": ("seconds", 9e999),
}


def test_a_table_whose_statement_is_no_text_is_one_of_another_form() -> None:
    """As a damaged page may leave it."""
    row: Any = {"type": "table", "name": "runs", "tbl_name": "runs", "sql": b"CREATE TABLE runs (id)"}
    with pytest.raises(ValueError, match="of another form"):
        require_tables([row], ("CREATE TABLE runs (id)",))


@pytest.mark.parametrize("case", ODD_RUNS)
def test_a_run_of_odd_values_is_one_line_and_the_others_are_listed(
    case: str, tmp_path: Path, make_run: MakeRun
) -> None:
    make_run(tmp_path, "good")
    make_run(tmp_path, "odd")
    column, value = ODD_RUNS[case]
    with closing(sqlite3.connect(tmp_path / "runs.sqlite")) as store:
        store.execute(f"UPDATE runs SET {column} = ? WHERE name = 'odd'", (value,))
        store.commit()
    with History(tmp_path) as history:
        assert [run.name for run in history.runs()] == ["good"]
        assert len(history.unreadable) == 1
        assert len(history.unreadable[0].splitlines()) == 1
        assert "cannot be read" in history.unreadable[0]


ODD_ROWS: dict[str, dict[str, Any]] = {
    "iterations": {"controller": b"\xff", "number": 10**10, "success": 7.0, "candidates": -1},
    "episodes": {"fault": "[1]", "seed": "x", "steps": "many"},
    "attempts": {"messages": '[{"role": {"a": 1}, "content": []}]', "problems": "[1]"},
    "candidates": {"success": "x", "note": b"\xff"},
    "graphs": {"data": b"no zlib"},
    "recordings": {"data": zlib.compress(b"no npz")},
}


def read_all(history: History, run: RunInfo) -> None:
    for read in (history.iterations, history.candidates, history.attempts):
        read(run)
    for read_one in (history.graph, history.recording):
        read_one(run, 1)


@pytest.mark.parametrize(("table", "column"), [(t, c) for t, columns in ODD_ROWS.items() for c in columns])
def test_an_odd_row_of_any_table_is_one_error_that_names_the_run(
    table: str, column: str, tmp_path: Path, make_run: MakeRun
) -> None:
    run = make_run(tmp_path, "odd")
    with closing(sqlite3.connect(tmp_path / "runs.sqlite")) as store:
        where = " WHERE number = 1" if column == "number" else ""
        store.execute(f"UPDATE {table} SET {column} = ?{where}", (ODD_ROWS[table][column],))
        store.commit()
    with History(tmp_path) as history, pytest.raises(RunError, match="'odd'"):
        read_all(history, run)


@pytest.mark.parametrize("table", ["graphs", "recordings"])
def test_what_unpacks_to_gigabytes_is_refused_unpacked(table: str, tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path, "odd")
    with closing(sqlite3.connect(tmp_path / "runs.sqlite")) as store:
        store.execute(f"UPDATE {table} SET data = ?", (bomb(300),))
        store.commit()
    with History(tmp_path) as history, pytest.raises(RunError, match="must unpack to at most"):
        read_all(history, run)


HOSTILE_SCHEMAS = {
    "view": "ALTER TABLE runs RENAME TO old; CREATE VIEW runs AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL"
    " SELECT x + 1 FROM c) SELECT old.* FROM old, c WHERE c.x < 0",
    "trigger": "CREATE TRIGGER t AFTER UPDATE ON runs BEGIN DELETE FROM runs; END",
    "view beside": "CREATE VIEW more AS SELECT 1",
    "generated column": "ALTER TABLE runs ADD COLUMN x GENERATED ALWAYS AS (zeroblob(1000000000)) VIRTUAL",
    "index of an expression": "CREATE INDEX i ON runs (abs(seed))",
}


@pytest.mark.parametrize("case", HOSTILE_SCHEMAS)
@pytest.mark.parametrize("opened", [History, Store])
def test_only_the_tables_of_the_schema_are_opened(
    opened: Any, case: str, tmp_path: Path, make_run: MakeRun
) -> None:
    make_run(tmp_path)
    with closing(sqlite3.connect(tmp_path / "runs.sqlite")) as store:
        store.executescript(HOSTILE_SCHEMAS[case])
    started = time.process_time()
    with pytest.raises(RunError, match="trace-robot"):
        opened(tmp_path)
    assert time.process_time() - started < 5


def test_a_pipe_in_the_place_of_a_file_stalls_nothing(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path, "demo", status="stopped")
    (run.folder / ".lock").unlink(missing_ok=True)
    os.mkfifo(run.folder / ".lock")
    (run.folder / "notes.txt").unlink(missing_ok=True)
    os.mkfifo(run.folder / "notes.txt")
    assert not is_locked(run.folder)
    with pytest.raises(RunError, match="not a regular file"):
        RunLock(run.folder)
    with History(tmp_path) as history:
        assert history.run("demo").status == "stopped"
        assert write_report(history, history.run("demo")).size


@pytest.mark.parametrize(
    "link",
    ["report/index.html", "report/.index.html.part", "report/plotly.min.js", "report/videos", "report"],
)
def test_a_report_writes_through_no_link(link: str, tmp_path: Path, make_run: MakeRun) -> None:
    precious = tmp_path / "precious"
    run = make_run(tmp_path / "runs", "demo")
    film = run.folder / "iterations" / "000" / "episode.mp4"
    film.parent.mkdir(parents=True, exist_ok=True)
    film.write_bytes(b"film")
    place = run.folder / link
    folder = "." not in place.name
    if folder:
        precious.mkdir()
        (precious / "000.mp4").write_text("precious")
    else:
        precious.write_text("precious")
    if link.startswith("report/"):
        place.parent.mkdir()
        (place.parent / "index.html").touch()
    place.unlink(missing_ok=True)
    place.symlink_to(precious)
    with History(tmp_path / "runs") as history:
        try:
            write_report(history, history.run("demo"))
        except RunError as error:
            assert "link" in str(error) or "not a report's folder" in str(error)  # noqa: PT017
    kept = precious / "000.mp4" if folder else precious
    assert kept.read_text() == "precious"
    assert not folder or [path.name for path in precious.iterdir()] == ["000.mp4"]


def test_no_file_that_a_link_leads_to_gets_into_a_page(tmp_path: Path, make_run: MakeRun) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a private key")
    run = make_run(tmp_path / "runs", "demo")
    (run.folder / "notes.txt").symlink_to(secret)
    with History(tmp_path / "runs") as history:
        assert "a private key" not in write_report(history, history.run("demo")).path.read_text()


@pytest.mark.parametrize("name", ["settings.json", "log.jsonl", "iterations/000/controller.py", "best.py"])
@pytest.mark.parametrize("hard", [False, True])
def test_a_run_writes_through_no_link(name: str, hard: bool, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    place = tmp_path / "run" / name
    place.parent.mkdir(parents=True)
    (os.link if hard else os.symlink)(precious, place)
    folder = RunFolder(tmp_path / "run")
    try:
        folder.write(name, "other")
        folder.log([{"id": 1}])
    except RunError as error:
        assert "link" in str(error)  # noqa: PT017
    assert precious.read_text() == "precious"


def test_a_folder_that_is_a_link_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "iterations").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        write(tmp_path / "run", "iterations/000/episode.mp4", b"film")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    for name in ("../x", "/etc/passwd", "a//b", "."):
        assert not is_file(tmp_path, name)
        with pytest.raises(OSError, match="not a path below"):
            read_bytes(tmp_path, name)
    (tmp_path / "large").write_bytes(bytes(11))
    with pytest.raises(OSError, match="more than 10 bytes"):
        read_bytes(tmp_path, "large", 10)
    open_append(tmp_path, "large").close()


def test_packed_and_nested_data_are_bounded() -> None:
    assert inflate(zlib.compress(bytes(10)), 10) == bytes(10)
    with pytest.raises(ValueError, match="at most 9 bytes"):
        inflate(zlib.compress(bytes(10)), 9)
    with pytest.raises(ValueError, match="end is missing"):
        inflate(zlib.compress(os.urandom(100))[:-20])
    assert load_json('{"a": [1, {"b": []}]}') == {"a": [1, {"b": []}]}
    for text in (DEEP, "[" * 200 + "]" * 200):
        with pytest.raises(ValueError, match=r"nested|levels"):
            load_json(text)


def test_what_describes_a_recording_is_bounded_and_not_nested_deeply(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    np.savez(file, about=np.frombuffer(("[" * 200 + "]" * 200).encode(), np.uint8))
    with pytest.raises(ValueError, match="levels"):
        decode_recording(zlib.compress(file.getvalue()))
    data = encode_recording(Recording(0, {"x" * 100: np.zeros((2, 3))}))
    assert decode_recording(data).seed == 0
    monkeypatch.setattr(codec, "MOST_ABOUT", 100)
    with pytest.raises(ValueError, match="at most 100 characters"):
        decode_recording(data)


@pytest.mark.parametrize(
    "name",
    ["runs/demo/evil.py", "/tmp/evil.py", "../evil", "a/../b", "rollouts.runs.demo.evil:X-v0", "antigravity:X-v0", 7],
)  # fmt: skip
def test_an_environment_is_named_by_a_name_only(name: Any, point_mass: None) -> None:
    with pytest.raises(WorkspaceError):
        require_named(name)
    require_named("point-mass")
    require_named("Meta-World/MT1")
    require_named("gymnasium:Pendulum-v1")


def test_nothing_is_looked_up_in_a_folder_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(tmp_path / "demo"))
    require_named("reach-v3")
    (tmp_path / "runs.sqlite").touch()
    with pytest.raises(WorkspaceError, match="in a folder of runs"):
        require_named("reach-v3")


@pytest.mark.parametrize("value", ["/tmp/a.xml", "../a.xml", "<mujoco/>", "~/a", ["a/b"], {"k": "./x"}, ".x"])
def test_options_of_a_store_are_no_paths_and_no_documents(value: Any) -> None:
    with pytest.raises(WorkspaceError, match="may be a path"):
        require_plain_options({"xml_file": value})
    require_plain_options({"control": "raw", "horizon": 5, "task": "reach the cup and/or the plate"})


def test_a_model_file_is_installed_or_of_the_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gymnasium

    own = tmp_path / "own"
    (own / "envs").mkdir(parents=True)
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(own))
    for place in (own / "envs" / "arm.xml", own / "rollouts" / "runs" / "a.xml", tmp_path / "a.xml"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("<mujoco/>")
    require_own_file(str(own / "envs" / "arm.xml"))
    require_own_file(gymnasium.__file__)
    (own / "envs" / "link.xml").symlink_to(tmp_path / "a.xml")
    for wrong in (
        tmp_path / "a.xml",
        own / "rollouts" / "runs" / "a.xml",
        own / "envs" / "link.xml",
        "/etc/passwd",
    ):
        with pytest.raises(WorkspaceError):
            require_own_scene(Scene(str(wrong)))
    with pytest.raises(WorkspaceError):
        require_own_scene(Scene("", replay={"env": "runs/x.py", "options": {}, "seed": 0}))


def test_a_run_that_this_user_did_not_begin_is_asked_about(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path, "demo", status="stopped")
    assert plan_to_resume(run.folder) == []
    with closing(sqlite3.connect(tmp_path / "runs.sqlite")) as store:
        settings = {**run.settings, "trusted": True, "backend": "ray", "address": "evil:1", "workers": 10**6}
        settings["limits"] = {name: value * 1000 for name, value in settings["limits"].items() if value}
        store.execute("UPDATE runs SET settings = ?", (json.dumps(settings),))
        store.commit()
    assert "optoprime for point-mass" in plan_to_resume(run.folder)[0]
    with Store(tmp_path) as opened:
        mine = strangers_header(opened.header("demo")).settings
    assert (mine.trusted, mine.backend, mine.address, mine.workers) == (False, "local", None, None)
    assert mine.limits == type(mine.limits)()


def test_a_strangers_store_names_neither_files_nor_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    config = ModelConfig("m", "http://127.0.0.1:1/v1")
    data = {**config.to_data(config.connect()), "record": "/home/me/.bashrc"}
    assert ModelConfig.from_data(data, own=False).base_url is None
    assert ModelConfig.from_data(data, own=False).record is None
    own = ModelConfig.from_data(data)
    assert (own.base_url, own.send_key) == ("http://127.0.0.1:1/v1", False)
    assert ModelConfig.from_data(data, base_url="http://127.0.0.1:1/v1").send_key
    for address in (
        "http://api.openai.com:8080/v1",
        "http://api.openai.com/v1",
        "https://api.openai.com:8443/v1",
    ):
        with pytest.raises(RunError, match="say so with --base-url"):
            ModelConfig.from_data({**data, "base_url": address})
    with pytest.raises(TraceRobotError):
        ModelConfig.from_data({**data, "proposals": 10**9}, own=False)
    assert np.isfinite(own.retries)


def test_worlds_of_another_persons_run_are_plain_options() -> None:
    require_plain_options({"world": list(STANDARD), "hold": 1.5})
    with pytest.raises(WorkspaceError, match="may be a path"):
        require_plain_options({"world": [{"observation_error": {"/etc/passwd": [0.0, 1.0]}}]})
    deep: Any = 1.0
    for _ in range(50):
        deep = [deep]
    with pytest.raises(WorkspaceError):
        require_plain_options({"world": deep})
