"""A store of a stranger: odd rows, odd blobs, odd JSON, another schema, damaged pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from fuzz.loop import Case, Target, execute
from fuzz.runs import Templates, commands, edit_store, edits, environment, execute_command, warm
from trace_robot.store.database import FILE

INPUTS = st.tuples(st.integers(0, 1), commands, st.integers(0, 6), st.lists(edits, min_size=1, max_size=4))


def test_a_strangers_store_is_shown_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch)
    (tmp_path / "templates").mkdir()
    templates = Templates(tmp_path / "templates")
    warm(templates, tmp_path)

    def prepare(case: Case, folder: Path) -> Callable[[], Any]:
        template, command, run, changes = case
        place, names = templates.copy(template, folder)
        edit_store(place / FILE, changes)
        return execute_command(command, names[run % len(names)])

    # A page with its plots takes 0.3 s on a sound run of this size; the store has 200 kB.
    execute(Target("stores", INPUTS, prepare, constant=1.0, least_bytes=200_000), tmp_path / "fuzz")
