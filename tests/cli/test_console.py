"""Only one module writes to the terminal, and no text can control it."""

from __future__ import annotations

import ast
import fcntl
import logging
import os
import struct
import sys
import termios
import unicodedata
import warnings
from pathlib import Path

import pytest

import trace_robot.cli
from trace_robot.cli.console import (
    console,
    counted,
    create_table,
    duration,
    escape,
    fitted,
    line,
    safe,
    safe_line,
    safe_output,
    write_error,
)
from trace_robot.cli.main import main

FOLDER = Path(trace_robot.cli.__file__).parent
WRITING = {"sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__", "os.write"}


def writers(text: str) -> list[str]:
    """Return where a module uses print, a stream of sys, os.write or a Console."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in WRITING:
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "Console", "rich.print"):
            found.append(f"line {node.lineno}: {ast.unparse(node.func)}")
    return found


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(FOLDER.rglob("*.py")) if path.name != "console.py"],
    ids=lambda p: p.name,
)
def test_only_the_console_writes_to_the_terminal(path: Path) -> None:
    assert writers(path.read_text()) == []


def test_the_check_notices_every_way_to_write() -> None:
    text = "print(1)\nsys.stderr.write('x')\nos.write(2, b'x')\nout = Console()\n"
    assert len(writers(text)) == 4


def test_control_characters_are_written_out() -> None:
    assert safe("a\tb\nc\x1b[2J\x9b\u202e\r") == "a\tb\nc\\x1b[2J\\x9b\\u202e\\r"
    assert line("one\n two\x07  three", 12) == "one two\\x07…"


def test_escaped_text_is_neither_markup_nor_control(capsys: pytest.CaptureFixture[str]) -> None:
    console().print(escape("[bold]no[/bold] \x1b[31m"))
    assert capsys.readouterr().out == "[bold]no[/bold] \\x1b[31m\n"


def test_an_error_is_safe_too(capsys: pytest.CaptureFixture[str]) -> None:
    write_error("error: no run '\x1b]0;title\x07'")
    assert capsys.readouterr().err == "trace-robot: error: no run '\\x1b]0;title\\x07'\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (9.4, "9 s"),
        (99.6, "100 s"),
        (100, "1 min 40 s"),
        (599.4, "9 min 59 s"),
        (599.6, "10 min"),
        (720, "12 min"),
        (11100, "3 h 05 min"),
    ],
)
def test_a_time_is_written_in_the_largest_fitting_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_every_format_character_is_written_out() -> None:
    shown = {*"\n\t"}
    for code in range(sys.maxunicode + 1):
        letter = chr(code)
        if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") and letter not in shown:
            assert safe(letter).isascii(), hex(code)
            assert safe(letter).isprintable(), hex(code)


def test_rich_prints_no_control_character_that_was_not_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    table = create_table("a\x1b[2Jb")
    table.add_row("c\x9bd\u202e")
    console().print(table)
    console().print("\x1b]0;title\x07", markup=False)
    assert not set(capsys.readouterr().out) & set("\x1b\x07\x9b\u202e")


def test_all_streams_are_safe_and_a_warning_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with safe_output():
        sys.stderr.write("a\x1b[2J\n")
        logging.getLogger("trace_robot.run").warning("no video: \x1b[31mred\nforged: line")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["a\\x1b[2J", "trace-robot: no video: \\x1b[31mred forged: line"]


def test_a_line_break_in_a_name_forges_no_line() -> None:
    assert safe_line("demo\nerror: all is lost\t") == "demo\\nerror: all is lost\\t"
    assert "\n" not in escape("a\nb")


def test_a_text_is_cut_between_words_unless_one_is_most_of_it() -> None:
    assert line("to see what the observation is made of", 20) == "to see what the…"
    assert line(f"a {'b' * 50}", 20) == f"a {'b' * 17}…"


def test_a_noun_goes_with_its_number() -> None:
    assert [counted(number, "episode") for number in (0, 1, 2, 1200)] == [
        "0 episodes",
        "1 episode",
        "2 episodes",
        "1,200 episodes",
    ]


def test_warnings_of_libraries_are_counted_and_the_first_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "warnoptions", [])
            with safe_output():
                for each in ("\x1b[33mthe gripper\x1b[0m is\nold", "other"):
                    warnings.warn(each, DeprecationWarning, stacklevel=1)
                assert capsys.readouterr().err == ""
    assert capsys.readouterr().err == (
        "trace-robot: note: 2 warnings of libraries, the first: DeprecationWarning: the gripper is old; see all:"
        " python -W default\n"
    )


def test_a_mistyped_option_is_one_safe_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["runs", "--json", "\x1b[2J\nforged"])
    assert capsys.readouterr().err.splitlines()[-1].endswith("unrecognized arguments: \\x1b[2J\\nforged")


@pytest.mark.parametrize(
    ("size", "named", "width"), [(0, "60", 60), (0, "", 80), (0, "wide", 80), (40, "60", 40)]
)
def test_an_error_is_fitted_to_columns_where_the_terminal_has_no_size(
    size: int, named: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, size, 0, 0))
    monkeypatch.setenv("COLUMNS", named)
    with os.fdopen(follower, "w") as terminal, monkeypatch.context() as patched:
        patched.setattr("sys.stderr", terminal)
        patched.setattr("sys.__stdout__", terminal)
        rows = fitted("word " * 60).splitlines()
    os.close(leader)
    assert width - 7 < max(map(len, rows)) <= width
