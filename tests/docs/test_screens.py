"""docs/screens.md shows what commands print in terminals of 80 and 120 columns: each one is run in one."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "screens.md"
# Of a live line: back to its beginning, up a line, all of it taken away; other escapes leave the text where it is.
STEPS = re.compile(r"(\r|\n|\x1b\[\d*A|\x1b\[2K|\x1b\[[0-9;?]*[A-Za-z])")
# What differs from one machine, or from one hour, to another.
MEASURED = (
    (re.compile(r"\b(\d+ min )?\d+(\.\d+)? ?(µs|ms|s)\b"), "TIME"),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?"), "DATE"),
    (re.compile(r"about [\d,]+ decisions"), "about N decisions"),
    (re.compile(r"\S+/envs/"), "envs/"),
)
GONE = " ... "  # on the page: lines that are left out


def screens() -> list[tuple[int, str, str]]:
    """Return the screens of the page: columns, the command, and what it prints."""
    found = []
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]:
        columns = re.match(r"(\d+) columns", section)
        assert columns is not None
        for block in re.findall(r"^```console\n(.*?)^```", section, re.M | re.S):
            typed = re.findall(r"(?:.*\\\n)*.*\n", block)[0]
            printed, typed = block[len(typed) :], typed.replace("\\\n", " ").rstrip("\n")
            assert typed.startswith("$ trace-robot ")
            found.append((int(columns[1]), typed[2:], printed))
    return found


def print_in_terminal(command: str, columns: int, folder: Path) -> str:
    """Return what a command leaves on the screen of a terminal."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    hidden = ("COLUMNS", "OPENAI_API_KEY", "OPENAI_BASE_URL", "TRACE_ROBOT_WORKSPACE")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    arguments = shlex.split(command)[1:]
    with subprocess.Popen(
        [sys.executable, "-m", "trace_robot", *arguments],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=folder,
        env=environment | {"TERM": "xterm", "NO_COLOR": "1"},
    ) as process:
        os.close(follower)
        drawn = b""
        try:
            while part := os.read(leader, 65536):
                drawn += part
        except OSError:  # the last one has closed the terminal
            pass
    os.close(leader)
    text = visible_lines(drawn.decode())
    assert process.returncode == 0, text
    return text


def visible_lines(drawn: str) -> str:
    """Return what is left on a screen of what was drawn, its lines not broken by the terminal."""
    lines, row, column = [""], 0, 0
    for part in STEPS.split(drawn):
        if part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif part.startswith("\x1b[") and part.endswith("A"):
            row -= int(part[2:-1] or 1)
        elif part == "\x1b[2K":
            lines[row] = ""
        elif not part.startswith("\x1b"):
            lines[row] = lines[row].ljust(column)[:column] + part + lines[row][column + len(part) :]
            column += len(part)
    return "\n".join(line.rstrip() for line in lines)


def words_of(text: str) -> str:
    """Return the words of a screen, with what was measured made the same."""
    words = " ".join(text.split())
    for pattern, name in MEASURED:
        words = pattern.sub(name, words)
    return words


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str, str]]:
    """What the commands print, one after the other in one folder."""
    folder = tmp_path_factory.mktemp("screens")
    return [
        (columns, command, print_in_terminal(command, columns, folder)) for columns, command, _ in screens()
    ]


def test_every_screen_of_the_page_is_what_its_command_prints(printed: list[tuple[int, str, str]]) -> None:
    assert {columns for columns, _, _ in printed} == {80, 120}
    for (_, command, shown), (_, _, text) in zip(screens(), printed, strict=True):
        parts = [re.escape(part) for part in f"{words_of(shown)} ".split(GONE)]
        assert re.fullmatch(".*".join(parts), f"{words_of(text)} "), f"{command} printed:\n{text}"


def test_no_line_is_wider_than_its_terminal_and_no_number_is_cut(printed: list[tuple[int, str, str]]) -> None:
    for columns, command, text in printed:
        # Code is printed as it is: a terminal breaks its lines, and copying them gives them whole.
        screen = text.partition("\nthe best controller")[0]
        assert max(map(len, screen.splitlines())) <= columns, command
        assert not re.search(r"\d…|^\s*\S{0,3}…", screen, re.M), command


def test_a_live_line_that_is_taken_away_is_no_line_of_the_screen() -> None:
    assert visible_lines("head\r\n1/9\r\x1b[2K2/9\r\n\x1b[1A\x1b[2K\x1b[1mdone\x1b[0m\r\n") == "head\ndone\n"


def test_a_screen_that_is_no_longer_true_is_noticed() -> None:
    assert words_of("held out  0.20  in 5 s") == words_of("held out 0.20\n in 1 min 40 s")
    assert words_of("held out  0.20  in 5 s") != words_of("held out 0.30 in 5 s")
