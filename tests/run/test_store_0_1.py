"""Runs of 0.1.0 can be shown, and end as they would have ended then.

tests/fixtures/store_0_1/README.md says how they were made.

Only the command line, SQLite and JSON are used here, so that no move of a module touches this file.
"""

from __future__ import annotations

import html
import importlib.util
import json
import platform
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FIXTURES = Path(__file__).parents[1] / "fixtures"
STORE = FIXTURES / "store_0_1"
EXPECTED = json.loads((STORE / "expected.json").read_text())
KINDS = tuple(EXPECTED["runs"])
KILLED = tuple(kind for kind in KINDS if kind != "finished")
SAME_BITS = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"),
    reason="the last digits of the runs are those of an x86-64 processor",
)
MADE_WITH = json.loads((STORE / "runs" / "finished" / "settings.json").read_text())["versions"]
ASKING = ("optoprime", "tuned", "opro")
OF_RUN = "WHERE run = (SELECT id FROM runs WHERE name = ?)"
REPLIES = json.loads((STORE / "replies.json").read_text())


def load_maker() -> ModuleType:
    found = importlib.util.spec_from_file_location("make_store_0_1", FIXTURES / "make_store_0_1.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


maker = load_maker()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A copy of the store: every run is there."""
    return Path(shutil.copytree(STORE / "runs", tmp_path / "runs"))


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy for all tests that only read. SQLite leaves files beside a store."""
    return Path(shutil.copytree(STORE / "runs", tmp_path_factory.mktemp("store") / "runs"))


@pytest.fixture
def endpoint() -> Iterator[Any]:
    with maker.recorded_endpoint() as running:
        yield running


def trace_robot(folder: Path, *arguments: str, address: str | None = None) -> str:
    """Return what a command prints. It must end with exit code 0 and no traceback."""
    process = maker.start(list(arguments), folder, address)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return str(output)


def rows(runs: Path, sql: str, *values: Any) -> list[Any]:
    with closing(sqlite3.connect((runs / "runs.sqlite").as_uri() + "?mode=ro", uri=True)) as store:
        return store.execute(sql, values).fetchall()


def found_in(runs: Path, kind: str) -> Any:
    return maker.picture(runs / kind, EXPECTED["columns"])


@pytest.mark.parametrize("kind", KILLED)
def test_the_fixture_holds_a_run_that_was_killed_about_half_way(kind: str, looked_at: Path) -> None:
    found, expected = found_in(looked_at, kind), EXPECTED["runs"][kind]
    assert rows(looked_at, "SELECT status FROM runs WHERE name = ?", kind) == [("running",)]
    assert found["tables"]["journal"]["rows"] == expected["entries"] >= 4
    assert found["result"] is None
    assert found["tables"]["candidates"]["rows"] < expected["tables"]["candidates"]["rows"]
    assert expected["tables"]["journal"]["rows"] == 0
    assert expected["prompts"] > 0 if kind in ASKING else expected["prompts"] == 0


@SAME_BITS
@pytest.mark.parametrize("kind", KILLED)
def test_an_interrupted_run_of_0_1_ends_as_it_would_have_ended_with_0_1(
    kind: str, runs: Path, endpoint: Any
) -> None:
    address = endpoint.address if kind in ASKING else None
    result = json.loads(
        trace_robot(runs.parent, "resume", f"runs/{kind}", "--json", "--yes", address=address)
    )
    expected = EXPECTED["runs"][kind]
    wrong = maker.differing(found_in(runs, kind), expected)
    assert not wrong, f"differ: {', '.join(wrong)}; the store was made with {MADE_WITH}"
    assert {name: result[name] for name in expected["result"]} == expected["result"]
    assert len(endpoint.asked) == expected["prompts"], (
        "what the journal holds was asked for again, or less was"
    )
    assert set(endpoint.asked) <= set(REPLIES)


def test_a_finished_run_of_0_1_is_left_as_it_is(runs: Path) -> None:
    assert "is finished: 3 iterations done" in trace_robot(runs.parent, "resume", "runs/finished")
    assert maker.differing(found_in(runs, "finished"), EXPECTED["runs"]["finished"]) == []


def test_runs_lists_the_store_of_0_1(looked_at: Path) -> None:
    listed = json.loads(trace_robot(looked_at.parent, "runs", "--runs", "runs", "--json"))
    status = {run["name"]: run["status"] for run in listed}
    assert status == {**dict.fromkeys(KILLED, "stopped"), "finished": "finished"}
    table = trace_robot(looked_at.parent, "runs", "--runs", "runs")
    assert {line.split()[0] for line in table.splitlines()[1:]} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_show_says_of_a_run_of_0_1_what_is_in_its_rows(kind: str, looked_at: Path) -> None:
    shown = json.loads(trace_robot(looked_at.parent, "show", f"runs/{kind}", "--json"))
    names = ("number", "origin", "note", "success", "score", "better", "controller", "feedback")
    stored = rows(looked_at, f"SELECT {', '.join(names)} FROM iterations {OF_RUN} ORDER BY number", kind)
    assert stored
    assert [tuple(each[name] for name in names) for each in shown["iterations"]] == stored
    [(settings, spent)] = rows(looked_at, "SELECT settings, environment_steps FROM runs WHERE name = ?", kind)
    assert shown["settings"] == json.loads(settings)
    assert shown["environment_steps"] == spent


def test_diff_shows_how_a_controller_of_0_1_changed(looked_at: Path) -> None:
    shown = trace_robot(looked_at.parent, "diff", "runs/finished", "0", "2")
    assert "--- iteration 0\n+++ iteration 2\n" in shown
    assert "-    return [0.0, 0.0, 0.0, 0.0]\n" in shown
    [(controller,)] = rows(
        looked_at, f"SELECT controller FROM iterations {OF_RUN} AND number = 2", "finished"
    )
    assert f"+{controller.splitlines()[-1]}\n" in shown


def test_prompt_shows_what_a_run_of_0_1_asked_and_heard(looked_at: Path) -> None:
    shown = json.loads(trace_robot(looked_at.parent, "prompt", "runs/finished", "1", "--json"))
    [(messages, reply)] = rows(
        looked_at, f"SELECT messages, reply FROM attempts {OF_RUN} AND iteration = 1", "finished"
    )
    assert [(each["messages"], each["reply"]) for each in shown] == [(json.loads(messages), reply)]
    assert reply in REPLIES.values()


def test_graph_shows_a_traced_episode_of_0_1(looked_at: Path) -> None:
    shown = trace_robot(looked_at.parent, "graph", "runs/finished", "1")
    assert "act = act(observation=observation, memory=memory of a step before)" in shown


@pytest.mark.parametrize("kind", ["finished", "tuned", "laws"])
def test_report_writes_a_page_of_a_run_of_0_1(kind: str, looked_at: Path) -> None:
    page = looked_at.parent / f"{kind}.html"
    trace_robot(looked_at.parent, "report", f"runs/{kind}", "--single-file", "--out", page.name)
    text = html.unescape(page.read_text())
    for note, feedback in rows(looked_at, f"SELECT note, feedback FROM iterations {OF_RUN}", kind):
        assert note in text
        assert feedback.splitlines()[0] in text
