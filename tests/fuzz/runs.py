"""Run folders as a stranger may send them: real ones with edits, and the commands that read them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sqlite3
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from hypothesis import strategies as st

from fuzz.guard import SECRET
from fuzz.inputs import odd_json, odd_words
from fuzz.loop import ROOT, Case, WrongError
from helpers.synthetic import make_run
from trace_robot.cli.main import main
from trace_robot.errors import UNSEEN
from trace_robot.report.server import Site
from trace_robot.run.optimizers import create_optimizer
from trace_robot.run.run import Run
from trace_robot.store.codec import Recording, decode_episodes, encode_recording
from trace_robot.store.database import FILE, faults, open_to_read
from trace_robot.store.records import decoding

RUNS = Path("rollouts") / "runs"
MOST_BYTES = 50_000_000
EDIT_SECONDS = 2.0
FIXTURE = ROOT / "tests" / "fixtures" / "store_0_1" / "runs"
JSON_COLUMNS = (
    ("runs", "settings"), ("runs", "choice"), ("runs", "environment"), ("runs", "versions"),
    ("runs", "result"),
    ("attempts", "messages"), ("attempts", "problems"), ("episodes", "fault"), ("graphs", "data"),
)  # fmt: skip
PRIMARY = {
    "runs": "id", "candidates": "run, position", "iterations": "run, number",
    "episodes": "run, owner, number, position",
    "attempts": "run, position", "recordings": "run, iteration", "graphs": "run, iteration",
    "journal": "run, number",
}  # fmt: skip
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT"
STATEMENTS = (
    "DROP TABLE candidates",
    "DROP TABLE graphs",
    "ALTER TABLE runs RENAME COLUMN name TO title",
    "ALTER TABLE iterations RENAME COLUMN better TO worse",
    "PRAGMA user_version = 99",
    "PRAGMA user_version = -1",
    "PRAGMA user_version = 0",
    "PRAGMA application_id = 7",
    "DELETE FROM iterations",
    "DELETE FROM iterations WHERE number = 0",
    "UPDATE iterations SET number = number * 1000000",
    "UPDATE iterations SET better = 0",
    "UPDATE runs SET name = name || '/../x'",
    "UPDATE runs SET name = '../../canary' WHERE id = 1",
    "UPDATE episodes SET position = -position",
    f"DROP TABLE iterations; CREATE VIEW iterations AS {ENDLESS} x AS run, x AS number FROM n",
    f"DROP TABLE episodes; CREATE VIEW episodes AS {ENDLESS} 1 AS run, 'iteration' AS owner, x AS number FROM n",
    "INSERT INTO journal SELECT run, number + 1000, kind, request, seconds, data FROM journal",
    "CREATE TRIGGER t AFTER UPDATE ON runs BEGIN DELETE FROM iterations; END",
)


@dataclass(frozen=True)
class Command:
    """A command of the command line, or a part of the library that reads a run; RUN is replaced by a run's name."""

    name: str
    arguments: tuple[str, ...] = ()
    call: Callable[[str], Any] | None = None


def _resume(name: str) -> None:
    """Do all that ``resume`` does before the first rollout."""
    with Run.open(RUNS / name) as run:
        create_optimizer(run.config, run.settings, run.task, run.model)


def _journal(name: str) -> None:
    """Read what a resumed run replays."""
    path = RUNS / FILE
    connection = open_to_read(RUNS)
    with contextlib.closing(connection), faults(path):
        rows = connection.execute("SELECT data FROM journal WHERE kind = 'episodes' LIMIT 3").fetchall()
    with decoding("the run's journal"):
        for row in rows:
            decode_episodes(row["data"])


def watched(name: str) -> dict[str, int]:
    """Ask for every kind of page that ``watch`` serves, and return the HTTP status of each address.

    Args:
        name: of a run in the working directory's folder of runs.
    """
    site, run = Site(RUNS), f"/run/{quote(name, safe='', errors='surrogatepass')}/"
    pages = ("/", "/state", run, f"{run}state", f"{run}iteration/0", f"{run}video/0.mp4", f"{run}video/1.mp4")
    statuses = {}
    for path in (*pages, "/run/../../canary/secret.txt", "/run/%2e%2e%2f%2e%2e%2fcanary/"):
        answer = site.answer(path)
        if answer.file is not None:
            answer.file.close()
        statuses[path] = int(answer.status)
    return statuses


COMMANDS = (
    Command("runs", ("runs",)),
    Command("runs json", ("runs", "--json")),
    Command("show", ("show", "RUN")),
    Command("show json", ("show", "RUN", "--json")),
    Command("diff", ("diff", "RUN", "0", "1")),
    Command("prompt", ("prompt", "RUN", "1")),
    Command("graph", ("graph", "RUN")),
    Command("graph json", ("graph", "RUN", "--json")),
    Command("compare", ("compare", "RUN", "other", "--diff")),
    Command("report", ("report", "RUN")),
    Command("single report", ("report", "RUN", "--single-file")),
    Command("export", ("export", "RUN", "--to", "tensorboard")),
    Command("resume", call=_resume),
    Command("journal", call=_journal),
    Command("watch", call=watched),
)


def execute_command(number: int, run: str) -> Callable[[], None]:
    """Return a call of a command in the working directory, which checks what it prints and writes.

    Args:
        number: in COMMANDS, counted round.
        run: the name of the run.
    """
    command = COMMANDS[number % len(COMMANDS)]

    def call() -> None:
        if command.call is not None:
            command.call(run)
            return
        out, error = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            code = main([run if word == "RUN" else word for word in command.arguments])
        for stream in (out, error):
            stream.flush()
            text = stream.buffer.getvalue().decode("utf-8", "backslashreplace")
            if found := UNSEEN.search(text):
                raise WrongError(f"{command.name} printed {found.group()!r}")
            if SECRET in text or "Traceback" in text:
                raise WrongError(f"{command.name} printed a secret or a traceback")
        if code not in (0, 1):
            raise WrongError(f"{command.name} ended with {code!r}")

    return call


def require_no_secret(folder: Path) -> None:
    """Raise where a file that was written below a folder holds the canary's secret."""
    for path in folder.rglob("*"):
        # A sparse file of gigabytes is one of the edits; what was written from a secret is small.
        if path.is_file() and not path.is_symlink() and path.stat().st_size < MOST_BYTES:
            with suppress(PermissionError):
                if SECRET.encode() in path.read_bytes():
                    raise WrongError(f"{path.name} holds a secret of another folder")


@dataclass
class Templates:
    """Folders to edit copies of.

    Attributes:
        folder: holds one folder of runs for each.
    """

    folder: Path
    names: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        made = self.folder / "made"
        made.mkdir()
        make_run(made, "demo", iterations=3, task="mass")
        make_run(made, "other", iterations=1, status="stopped", task="mass")
        make_run(made, "third", iterations=1, optimizer="search", status="failed", task="mass", prices=False)
        for video in ("demo/iterations/000", "demo/iterations/001"):
            (made / video).mkdir(parents=True, exist_ok=True)
            (made / video / "episode.mp4").write_bytes(b"a video")
        with contextlib.closing(sqlite3.connect(made / FILE)) as connection:
            positions = {"hand_position": np.zeros((3, 3))}
            data = (1, 1, encode_recording(Recording(0, positions)))
            connection.execute("INSERT OR REPLACE INTO recordings VALUES (?, ?, ?)", data)
            connection.commit()
        stored = self.folder / "stored"
        shutil.copytree(FIXTURE, stored)
        for template in (made, stored):
            with contextlib.closing(sqlite3.connect(template / FILE)) as connection:
                connection.execute("PRAGMA journal_mode = DELETE")  # one file to copy and to damage
                self.names[template.name] = [row[0] for row in connection.execute("SELECT name FROM runs")]

    def copy(self, number: int, folder: Path) -> tuple[Path, list[str]]:
        """Copy a template and return the copy with the names of its runs.

        Args:
            number: of the template, counted round.
            folder: the working directory of the command.
        """
        name = sorted(self.names)[number % len(self.names)]
        place = folder / RUNS
        shutil.copytree(self.folder / name, place)
        return place, self.names[name]


def edit_store(store: Path, edits: Sequence[Case]) -> None:
    """Change a store as its edits say; an edit that SQLite refuses changes nothing."""
    for edit in edits:
        with contextlib.suppress(sqlite3.Error, ValueError, ArithmeticError, RecursionError, LookupError):
            if edit[0] in ("flip", "cut"):
                _damage(store, *edit)
                continue
            with contextlib.closing(sqlite3.connect(store)) as connection:
                # An edit before this one may have made an endless view.
                connection.set_progress_handler(partial(_over, time.monotonic() + EDIT_SECONDS), 10_000)
                connection.execute("PRAGMA ignore_check_constraints = ON")
                _change(connection, edit)
                connection.commit()


def _over(end: float) -> bool:
    return time.monotonic() > end


def _damage(store: Path, how: str, at: int, value: int) -> None:
    data = bytearray(store.read_bytes())
    place = at * (len(data) - 1) // 1_000_000
    if how == "cut":
        del data[place:]
    else:
        data[place] ^= value
    store.write_bytes(data)


def _change(connection: sqlite3.Connection, edit: Case) -> None:
    how, *rest = edit
    if how == "sql":
        connection.executescript(STATEMENTS[rest[0]])
        return
    table, column_number, row, value = rest
    columns = [info[1] for info in connection.execute(f"PRAGMA table_info({table})")]
    column = columns[column_number % len(columns)] if isinstance(column_number, int) else column_number
    keys = PRIMARY[table]
    count = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    at = f"({keys}) = (SELECT {keys} FROM {table} LIMIT 1 OFFSET {row % max(count, 1)})"
    if how == "leaf":
        old = connection.execute(f"SELECT {column} FROM {table} WHERE {at}").fetchone()
        packed = isinstance(old[0], bytes)
        data = json.loads(zlib.decompress(old[0]) if packed else old[0] or "null")
        text = _with_leaf(data, *value)
        new: Any = zlib.compress(text.encode("utf-8", "surrogatepass")) if packed else text
    elif how == "bomb":
        new = _bomb(value)
    else:
        new = float(value[1]) if isinstance(value, tuple) else value
    connection.execute(f"UPDATE {table} SET {column} = ? WHERE {at}", (new,))


def _with_leaf(data: Any, number: int, text: str) -> str:
    """Return JSON with one of its values, containers included, replaced by another JSON text."""
    places: list[tuple[Any, Any]] = []

    def visit(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            places.append((value, key))
            visit(value[key])

    visit(data)
    mark = "\u0001here\u0001"
    if not places:
        return text
    container, key = places[number % len(places)]
    container[key] = mark
    return json.dumps(data).replace(json.dumps(mark), text)


@cache
def _bomb(megabytes: int) -> bytes:
    return zlib.compress(b"[" + b" " * (megabytes << 20) + b"]", 1)


values = st.one_of(
    odd_json,
    st.binary(max_size=40),
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from((0, 1, -1, 2**31, 10**9, 10**15, 10**18)),
    st.tuples(st.just("float"), st.sampled_from(("inf", "-inf", "1e308", "-1e308", "0.5", "1e18", "-1.5"))),
    odd_words(3000),
    st.sampled_from(
        ("running", "stopped", "failed", "finished", "../../canary/controller.py", "episodes", "held out")
    ),
)
tables = st.sampled_from(sorted(PRIMARY))
rows = st.integers(0, 30)
edits = st.one_of(
    st.tuples(st.just("set"), tables, st.integers(0, 30), rows, values),
    st.tuples(st.just("set"), st.just("runs"), st.integers(0, 30), rows, values),
    st.sampled_from(JSON_COLUMNS).flatmap(
        lambda place: st.tuples(
            st.just("leaf"),
            st.just(place[0]),
            st.just(place[1]),
            rows,
            st.tuples(st.integers(0, 300), st.one_of(odd_json, odd_words(500).map(json.dumps))),
        )
    ),
    st.tuples(st.just("sql"), st.integers(0, len(STATEMENTS) - 1)),
    st.tuples(
        st.just("bomb"),
        st.sampled_from(("graphs", "recordings", "journal")),
        st.just("data"),
        rows,
        st.just(200),
    ),
    st.tuples(st.sampled_from(("flip", "flip", "cut")), st.integers(0, 1_000_000), st.integers(1, 255)),
)
commands = st.integers(0, len(COMMANDS) - 1)


def environment(monkeypatch: Any) -> None:
    """Prepare this process for commands: no model, the tests' workspace, no colors, no terminal."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "TRACE_ROBOT_MODEL", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(ROOT / "tests" / "workspace"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "argv", ["trace-robot"])
    # At the end of a process it points descriptor 1 at the null device; here that is the tests' own.
    monkeypatch.setattr(sys.modules["trace_robot.cli.main"], "discard_output", lambda: None)


def warm(templates: Templates, folder: Path) -> None:
    """Run every command once on a sound folder, so that no import counts as its time."""
    place = os.getcwd()
    for number in range(2):
        work = folder / f"warm-{number}"
        _, names = templates.copy(number, work)
        os.chdir(work)
        try:
            for index in range(len(COMMANDS)):
                with contextlib.suppress(Exception):
                    execute_command(index, names[-1])()
        finally:
            os.chdir(place)
