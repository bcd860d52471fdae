"""The fuzzer finds what it is there to find: an exception, a slow reader, a file touched, a process, code that runs."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import strategies as st

from fuzz import loop
from fuzz.loop import Case, Fuzzer, Target, execute
from fuzz.runs import Templates, watched
from trace_robot import safe_files
from trace_robot.errors import RunError

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
Act = Callable[[Path], Any]


def defects(act: Act, tmp_path: Path, *, constant: float = 0.1) -> dict[str, loop.Defect]:
    """Run a call once and return its defects by signature."""
    fuzzer = Fuzzer(Target("fuzzer", st.none(), lambda _, folder: lambda: act(folder), constant), tmp_path)
    fuzzer.run("case")
    return fuzzer.defects


def canary(folder: Path) -> Path:
    return folder.parent / "canary" / "controller.py"


def linked(folder: Path) -> Path:
    """Return a path in the folder that leads out of it."""
    link = folder / "link"
    link.unlink(missing_ok=True)
    link.symlink_to(canary(folder))
    return link


def by_descriptor(act: Callable[[int], Any]) -> Act:
    """Return an act with the descriptor of the folder that the canary's is in."""

    def call(folder: Path) -> None:
        descriptor = os.open(folder.parent, os.O_RDONLY)
        try:
            act(descriptor)
        finally:
            os.close(descriptor)

    return call


def with_links_followed(folder: Path) -> None:
    """Read a link as ``safe_files`` would without its flag."""
    inner = folder / "inner"  # else a name below it could pass for one in the working directory
    inner.mkdir(exist_ok=True)
    (inner / "link").symlink_to(canary(folder))
    with patch.object(safe_files, "_NO_LINK", 0):
        safe_files.read_bytes(folder, "inner/link")


class Broken:
    def __del__(self) -> None:
        raise KeyError


HARM: dict[str, tuple[Act, str]] = {
    "an exception": (lambda folder: [][1], "IndexError"),
    "a slow reader": (lambda folder: [None for _ in iter(int, 1)], "slow"),
    "a wait": (lambda folder: os.open(folder / "pipe", os.O_RDONLY), "slow"),
    "a query without end": (lambda folder: sqlite3.connect(":memory:").execute(ENDLESS).fetchall(), "slow"),
    "a file in another folder": (lambda folder: canary(folder).with_name("new").write_text(""), "Touched"),
    "a file of another folder removed": (lambda folder: canary(folder).unlink(), "Touched"),
    "a file moved away": (lambda folder: os.replace(canary(folder), folder / "here"), "Touched"),
    "a file read": (lambda folder: canary(folder).read_text(encoding="utf-8"), "Touched"),
    "a link followed": (lambda folder: linked(folder).read_text(encoding="utf-8"), "Touched"),
    "a link written through": (lambda folder: linked(folder).write_text("", encoding="utf-8"), "Touched"),
    "a link followed by safe_files": (with_links_followed, "Touched"),
    "a file read by its folder's descriptor": (
        by_descriptor(lambda above: os.close(os.open("canary/controller.py", os.O_RDONLY, dir_fd=above))),
        "Touched",
    ),
    "a file removed by its folder's descriptor": (
        by_descriptor(lambda above: os.unlink("canary/controller.py", dir_fd=above)),
        "Touched",
    ),
    "a file moved by its folder's descriptor": (
        by_descriptor(lambda above: os.replace("canary/controller.py", "controller.py", src_dir_fd=above)),
        "Touched",
    ),
    "a folder made by a descriptor": (by_descriptor(lambda above: os.mkdir("new", dir_fd=above)), "Touched"),
    "another folder listed": (lambda folder: os.listdir(canary(folder).parent), "Touched"),
    "another folder scanned": (lambda folder: list(canary(folder).parent.glob("*")), "Touched"),
    "a mode changed by a link": (lambda folder: linked(folder).chmod(0o600), "Touched"),
    "a link that ffmpeg would follow": (
        lambda folder: subprocess.run(["ffmpeg", "-i", f"file:{linked(folder)}"], check=False),
        "Touched",
    ),
    "a process": (lambda folder: subprocess.run([sys.executable, "-V"], check=True), "Touched"),
    "code of a file": (lambda folder: exec(compile("1", str(folder / "x.py"), "exec")), "Touched"),
    "an exception in a destructor": (lambda _: Broken(), "ignored"),
    "a gigabyte and more": (lambda folder: bytes(3 << 30), "MemoryError"),
}


@pytest.mark.parametrize("name", HARM)
def test_what_an_input_must_not_do_is_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, kind = HARM[name]
    monkeypatch.setattr("fuzz.guard.WALL_SECONDS", 0.3)

    def with_pipe(folder: Path) -> None:
        os.mkfifo(folder / "pipe")
        act(folder)

    found = defects(with_pipe, tmp_path)
    assert [signature.split()[0].rstrip(":") for signature in found] == [kind]
    assert (tmp_path / "canary" / "controller.py").is_file()


def test_the_watched_site_of_a_sound_folder_shows_every_page_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "templates").mkdir()
    Templates(tmp_path / "templates").copy(0, tmp_path)
    monkeypatch.chdir(tmp_path)
    shown = [path for path, status in watched("demo").items() if status == 200]
    run = "/run/demo/"
    videos = [f"{run}video/0.mp4", f"{run}video/1.mp4"]
    assert shown == ["/", "/state", run, f"{run}state", f"{run}iteration/0", *videos]


def test_an_exception_handler_hides_nothing_from_the_guard(tmp_path: Path) -> None:
    def call(folder: Path) -> None:
        with suppress(Exception):
            canary(folder).write_text("")

    assert len(defects(call, tmp_path)) == 1


def test_work_in_the_folder_and_an_error_of_the_library_are_no_defects(tmp_path: Path) -> None:
    def call(folder: Path) -> None:
        (folder / "a").mkdir()
        (folder / "a" / "b").write_text("text")
        os.replace(folder / "a" / "b", folder / "c")
        sqlite3.connect(folder / "d.sqlite").close()
        raise RunError("the run cannot be read")

    assert defects(call, tmp_path) == {}


def test_a_call_that_is_slow_once_is_not_slow(tmp_path: Path) -> None:
    calls = []

    def call(folder: Path) -> None:
        calls.append(folder)
        until = time.process_time() + (0.3 if len(calls) == 1 else 0.0)
        while time.process_time() < until:
            pass

    assert defects(call, tmp_path) == {}
    assert len(calls) == 2


def test_each_defect_is_shrunk_saved_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(case: Case, _: Path) -> Callable[[], Any]:
        def call() -> None:
            if "a" in case:
                raise KeyError(case)
            if len(case) > 3:
                raise IndexError(case)

        return call

    target = Target("fuzzer", st.text("abc", max_size=40), prepare)
    monkeypatch.setattr(loop, "SAVED", tmp_path / "saved")
    monkeypatch.setenv("FUZZ_SECONDS", "4")
    monkeypatch.setenv("FUZZ_SEED", "5")
    monkeypatch.delenv("FUZZ_INPUT", raising=False)
    with pytest.raises(pytest.fail.Exception, match=r"2 defects of fuzzer; .*FUZZ_SEED=5") as failed:
        execute(target, tmp_path / "first")
    saved = {path.read_text() for path in (tmp_path / "saved").glob("fuzzer-[0-9].txt")}
    assert {len(text) for text in saved} == {len("'a'"), len("'bbbb'")}
    assert "again: FUZZ_INPUT=" in str(failed.value)
    monkeypatch.setenv("FUZZ_INPUT", str(tmp_path / "saved" / "fuzzer-0.txt"))
    with pytest.raises(pytest.fail.Exception, match="1 defects of fuzzer"):
        execute(target, tmp_path / "second")
