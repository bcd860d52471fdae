"""A run's folder: atomic files, and no folder of another kind is touched."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from trace_robot.errors import RunError
from trace_robot.store.folder import RunFolder, difference, read_result


def test_a_folder_with_something_in_it_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years of work")
    for overwrite in (False, True):
        with pytest.raises(RunError, match="give another --out"):
            RunFolder.create(tmp_path, overwrite=overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "ten years of work"


def test_an_older_run_is_replaced_only_when_asked(tmp_path: Path) -> None:
    old = RunFolder.create(tmp_path / "run")
    old.write_json("settings.json", {"task": "old"})
    old.write("best.py", "work")
    with pytest.raises(RunError, match=r"exists and is not empty; give another --out, or --overwrite"):
        RunFolder.create(tmp_path / "run")
    RunFolder.create(tmp_path / "run", overwrite=True)
    assert not (tmp_path / "run" / "settings.json").exists()


def test_the_folder_of_a_run_that_never_began_does_not_stand_in_the_way(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run").write_json("settings.json", {"task": "mistyped"})
    RunFolder.create(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["iterations"]


def test_what_is_written_can_be_read_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.write("best.py", "x = '\udcff'\n")
    folder.write_json("result.json", {"held_out_success": 0.5, "interval": (0.1, 0.9)})
    assert read_result(folder.path) == {"held_out_success": 0.5, "interval": [0.1, 0.9]}
    assert sorted(path.name for path in folder.path.iterdir()) == ["best.py", "iterations", "result.json"]


def test_a_failed_write_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.write("best.py", "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"best\.py': No space left on device; free some space"):
        folder.write("best.py", "new")
    assert (folder.path / "best.py").read_text() == "old"


@pytest.mark.parametrize(
    ("text", "message"), [("{", "cannot be read"), ("[1]", "must hold an object, got list")]
)
def test_a_broken_result_is_an_error_of_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(RunError, match=message):
        read_result(tmp_path)


def test_a_folder_without_a_result_says_what_that_means(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"file not found: .*result\.json.; the run did not finish"):
        read_result(tmp_path)


def test_the_difference_of_equal_texts_is_empty_and_of_others_names_both() -> None:
    assert difference("a\n", "a\n") == ""
    assert difference("a\n", "b\n", ("x", "y")).splitlines() == ["--- x", "+++ y", "@@ -1 +1 @@", "-a", "+b"]


def test_every_line_of_the_log_is_json(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.log([{"id": 1, "note": "a\nb"}, {"id": 2}])
    folder.log([{"id": 3}])
    lines = (folder.path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [1, 2, 3]
