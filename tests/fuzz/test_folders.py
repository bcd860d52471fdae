"""A run folder of a stranger: links, pipes, devices, odd names and odd files in place of what belongs there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from fuzz.inputs import odd_json, odd_words
from fuzz.loop import Case, Target, execute
from fuzz.runs import (
    Templates,
    commands,
    edit_store,
    edits,
    environment,
    execute_command,
    require_no_secret,
    warm,
)
from trace_robot.store.database import FILE

PLACES = (
    ".", ".lock", "settings.json", "log.jsonl", ".log.jsonl.part", "best.py", ".best.py.part",
    "result.json", "iterations",
    "iterations/000", "iterations/001", "iterations/001/episode.mp4", "iterations/001/controller.py",
    "iterations/001/prompt.md", "iterations/001/.controller.py.part", "report", "report/index.html",
    "report/.index.html.part", "report/videos", "report/videos/001.mp4", "report/plotly.min.js",
    "report.html",
    ".report.html.part", "tensorboard", "attempts.json", f"../{FILE}", f"../{FILE}-wal", f"../{FILE}-shm",
    f"../{FILE}-journal", "../x.sqlite",
)  # fmt: skip
# Of links; a relative one is below the canary.
AIMS = (
    "secret.txt", "id_ed25519", "controller.py", "inner", "inner/episode.mp4", "inner/best.py",
    "new-file", "inner/new.mp4",
    ".", "/dev/zero", "/dev/full", "/dev/tty", "/etc/passwd", "/proc/self/environ", "/proc/self/mem",
    "itself", "..", "/",
)  # fmt: skip
changes = st.one_of(
    st.tuples(st.just("link"), st.sampled_from(PLACES), st.sampled_from(AIMS)),
    st.tuples(st.just("hard link"), st.sampled_from(PLACES), st.sampled_from(AIMS[:3])),
    st.tuples(
        st.sampled_from(("pipe", "folder", "gone", "unreadable", "socket")),
        st.sampled_from(PLACES),
        st.just(""),
    ),
    st.tuples(st.just("text"), st.sampled_from(PLACES), st.one_of(odd_json, odd_words(2000))),
    st.tuples(st.just("sparse"), st.sampled_from(PLACES), st.just("")),
)
INPUTS = st.tuples(
    st.integers(0, 1),
    commands,
    st.integers(0, 6),
    st.lists(changes, min_size=1, max_size=4),
    st.one_of(st.just([]), st.lists(edits, max_size=1)),
)


def change(run: Path, canary: Path, edits: Sequence[Case]) -> None:
    """Put links, pipes and other things in place of a run's files."""
    for kind, name, detail in edits:
        place = Path(os.path.normpath(run / name))
        aim = str(
            place if detail == "itself" else detail if detail.startswith(("/", "..")) else canary / detail
        )
        if not os.path.realpath(place.parent).startswith(os.path.realpath(run.parent.parent)):
            continue  # an edit before has made a link of a folder: to write there would be the test's own harm
        with suppress(OSError, ValueError):
            if kind != "unreadable" and os.path.lexists(place):
                shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
            place.parent.mkdir(parents=True, exist_ok=True)
            if kind == "link":
                place.symlink_to(aim)
            elif kind == "hard link":
                place.write_text(
                    ""
                )  # a hard link to the canary would change it; one to itself looks the same
                os.link(place, place.with_name("second-name"))
            elif kind == "pipe":
                os.mkfifo(place)
            elif kind == "socket":
                os.mknod(place, 0o140644)
            elif kind == "folder":
                place.mkdir()
            elif kind == "unreadable" and not place.is_symlink():  # chmod would follow it
                place.chmod(0)
            elif kind == "sparse":
                with open(place, "wb") as file:
                    file.truncate(3 << 30)
            elif kind == "text":
                place.write_bytes(detail.encode("utf-8", "surrogatepass"))


def test_a_strangers_folder_is_shown_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch)
    (tmp_path / "templates").mkdir()
    templates = Templates(tmp_path / "templates")
    warm(templates, tmp_path)

    def prepare(case: Case, folder: Path) -> Callable[[], Any]:
        template, command, number, files, rows = case
        place, names = templates.copy(template, folder)
        name = names[number % len(names)]
        edit_store(place / FILE, rows)
        change(place / name, folder.parent / "canary", files)
        execute_it = execute_command(command, name)

        def call() -> None:
            execute_it()
            require_no_secret(folder)

        return call

    execute(Target("folders", INPUTS, prepare, constant=1.0, least_bytes=200_000), tmp_path / "fuzz")
