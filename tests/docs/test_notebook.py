"""The notebook runs from its first cell to its last, and prints what it shows."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

BOOK = json.loads((Path(__file__).parents[2] / "docs" / "own-program.ipynb").read_text(encoding="utf-8"))
CODE = [cell for cell in BOOK["cells"] if cell["cell_type"] == "code"]


def test_it_is_a_notebook_of_format_4_with_an_id_a_cell() -> None:
    assert (BOOK["nbformat"], BOOK["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in BOOK["cells"]]
    assert len(set(ids)) == len(ids)
    assert {cell["cell_type"] for cell in BOOK["cells"]} == {"markdown", "code"}
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))


def test_its_cells_run_and_print_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "notebook"}
    for cell in CODE:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("".join(cell["source"]), f"cell {cell['execution_count']}", "exec"), names)
        shown = "".join(line for output in cell["outputs"] for line in output["text"])
        assert printed.getvalue() == shown, cell["execution_count"]
