"""Only one module writes to the terminal, and no text can control it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import trace_robot.cli
from trace_robot.cli.console import console, duration, escape, line, safe, write_error

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


@pytest.mark.parametrize(("seconds", "text"), [(9.4, "9 s"), (720, "12 min"), (11100, "3 h 05 min")])
def test_a_time_is_written_in_the_largest_fitting_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text
