"""Help, errors of the command line, and the examples: what a person reads before the first run."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from trace_robot.cli import main
from trace_robot.cli.arguments import fraction, non_negative_integer, positive_integer
from trace_robot.cli.machine import manual
from trace_robot.cli.main import create_parser
from trace_robot.cli.parser import GROUPS, CommandParser, processors
from trace_robot.store.history import RunInfo

WORKSPACE = Path(__file__).parents[1] / "workspace"
# What makes an example short enough for a test; the line itself is run as it is shown.
SHORT = {
    "optimize": "--steps 2000 --held-out 1 --episodes 1 --no-video --workers 0",
    "evaluate": "--episodes 1 --workers 0",
    "zoo": "--episodes 1 --workers 0",
    "stress": "--episodes 1 --workers 0",
    "bench": "--steps 500 --seeds 0 --tasks reach-v3 --workers 0",
    "render": "--workers 0",
    "demonstrate": "--episodes 1 --workers 0",
}
# These need a model, minutes, a browser, or a run with pictures; other tests run them.
TYPED_ONLY = (
    "drive",
    "serve",
    "watch",
    "resume",
    "replay",
    "bench",
    "stress",
    "video",
)


def commands() -> dict[str, CommandParser]:
    parser = create_parser()
    (action,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return dict(action.choices)


def options_of(command: CommandParser) -> list[argparse.Action]:
    return [action for action in command._actions if action.option_strings]


@pytest.fixture
def place(tmp_path: Path, make_run: Callable[..., RunInfo], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with three runs."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "TRACE_ROBOT_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "other", "third"):
        make_run(Path("rollouts") / "runs", name, iterations=3)
    return tmp_path


def test_alone_it_shows_the_help_and_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr()
    assert shown.out == create_parser().format_help()
    assert not shown.err


@pytest.mark.parametrize(
    ("typed", "same"), [("help", "--help"), ("help optimize", "optimize --help"), ("help rm", "rm --help")]
)
def test_help_is_a_command(typed: str, same: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for line in (typed, same):
        with pytest.raises(SystemExit) as caught:
            main(line.split())
        assert caught.value.code == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] != ""


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("optimise reach-v3", "no command 'optimise'; did you mean 'optimize'?"),
        ("train reach-v3", "no command 'train'; did you mean 'optimize'?"),
        ("ls", "no command 'ls'; did you mean 'runs'?"),
        ("xyzzy", "no command 'xyzzy'; all commands: trace-robot help"),
        ("help optimise", "no command 'optimise'; did you mean 'optimize'?"),
        ("optimize reach-v3 --step 1000", "unrecognized arguments: --step 1000; did you mean --steps?"),
        ("optimize reach-v3 --held_out=5", "did you mean --held-out?"),
        ("optimize reach-v3 -seed 5", "did you mean --seed?"),
        ("runs --JSON", "did you mean --json?"),
        ("runs --qqqqqq", "unrecognized arguments: --qqqqqq"),
        ("resume demo --seconds 120", "unrecognized arguments: --seconds 120"),
        ("export demo --to tensorbord", "got 'tensorbord'; did you mean 'tensorboard'?"),
        ("optimize reach-v3 --steps 1.5", "such as 100000 or 1e5, got '1.5'"),
        ("optimize reach-v3 --require 200%", "must be from 0 to 1, or from 0% to 100%, got '200%'"),
    ],
)
def test_a_mistake_is_two_short_lines_with_what_was_meant(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(typed.split())
    assert caught.value.code == 2
    usage, error = capsys.readouterr().err.splitlines()
    assert error.endswith(meant)
    assert usage.startswith("usage: trace-robot ")
    assert usage.endswith("--help")
    assert len(usage) < 100


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e5", 100_000), ("2.5e3", 2500), ("100_000", 100_000), ("1,000,000", 10**6), ("7", 7)],
)
def test_whole_numbers_are_read_as_people_write_them(text: str, value: int) -> None:
    assert positive_integer(text) == value
    assert isinstance(positive_integer(text), int)


@pytest.mark.parametrize(
    "text", ["1e-3", "1.5", "1,00", "", "inf", "1e400", "nan", "-1", "0x10", "e", "٣e٣x"]
)
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be"):
        non_negative_integer(text)


def test_a_rate_may_be_a_percentage() -> None:
    assert [fraction(text) for text in ("90%", "0.9", "0 %", "100%")] == [0.9, 0.9, 0.0, 1.0]
    with pytest.raises(argparse.ArgumentTypeError, match="got '90'"):
        fraction("90")


@pytest.mark.parametrize("name", commands())
def test_every_argument_has_help_and_every_command_examples_that_fit(name: str) -> None:
    command = commands()[name]
    assert [action.dest for action in command._actions if not action.help] == []
    assert command.examples
    for example, what in command.examples:
        assert example.startswith(f"trace-robot {name}")
        assert len(example) <= 76
        assert what


def test_the_options_of_a_long_help_are_in_groups_with_the_common_ones_first() -> None:
    shown = commands()["optimize"].format_help()
    headings = re.findall(r"^([a-z ]+):$", shown, re.M)
    assert headings == ["arguments", "options", *GROUPS, "examples"]
    assert shown.index("--policy") < shown.index("\nenvironment:") < shown.index("--steps")
    known = {
        name
        for command in commands().values()
        for each in options_of(command)
        for name in each.option_strings
    }
    assert {name for names in GROUPS.values() for name in names.split()} <= known


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_of_any_help_is_wider_than_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for parser in (create_parser(), *commands().values()):
        long = [row for row in parser.format_help().splitlines() if len(row) > width]
        assert long == []


def examples() -> list[str]:
    return [line for command in commands().values() for line, _ in command.examples]


@pytest.mark.parametrize("line", [*examples(), *(line for line, _ in create_parser().examples)])
def test_every_example_can_be_typed(line: str) -> None:
    program, *arguments = shlex.split(re.split(r" [|>]+ ", line)[0])
    assert program == "trace-robot"
    if "--skill" not in arguments:
        create_parser().parse_args(arguments)


@pytest.mark.parametrize("name", [name for name in commands() if name not in TYPED_ONLY])
def test_the_first_example_of_a_command_runs(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line, _ = commands()[name].examples[0]
    arguments = shlex.split(re.split(r" [|>]+ ", line)[0])[1:] + shlex.split(SHORT.get(name, ""))
    monkeypatch.setattr("trace_robot.cli.console.confirm", lambda *_: True)
    if name == "rm":
        arguments.append("--yes")
    assert main(arguments) == 0
    assert capsys.readouterr().out


def test_more_workers_than_processors_are_questioned(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = str(processors() + 1)
    assert main(["stress", "nowhere", "--policy", "do_nothing", "--workers", many]) == 1
    assert f"note: --workers {many}, but this machine has {processors()} processor" in capsys.readouterr().err
    assert main(["stress", "nowhere", "--policy", "do_nothing", "--workers", str(processors())]) == 1
    assert "note:" not in capsys.readouterr().err


def test_the_manual_page_has_every_command_and_option_and_no_stray_request() -> None:
    page = manual(create_parser())
    for name, command in commands().items():
        assert f".SH TRACE\\-ROBOT {name.upper()}".replace("CHECK-ENV", "CHECK\\-ENV") in page
        for action in options_of(command):
            assert action.option_strings[-1].replace("-", "\\-") in page
    requests = {row.split()[0] for row in page.splitlines() if row.startswith((".", "'"))}
    assert requests <= {".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".nf", ".fi"}


def completed(script: Path, words: list[str], folder: Path) -> set[str]:
    """Return what bash offers after these words."""
    quoted = " ".join(map(shlex.quote, words))
    code = f"""
source {script}
COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; COMPREPLY=()
_shtab_trace_robot
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", code], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_bash_completes_commands_options_choices_runs_and_environments(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    script = place / "completion.sh"
    script.write_text(capsys.readouterr().out)
    assert completed(script, ["trace-robot", "opt"], place) == {"optimize"}
    assert "--steps" in completed(script, ["trace-robot", "optimize", "--st"], place)
    assert completed(script, ["trace-robot", "optimize", "--optimizer", "c"], place) == {"cma"}
    assert "demo" in completed(script, ["trace-robot", "show", "de"], place)
    assert "reach-v3" in completed(script, ["trace-robot", "evaluate", "reach-v"], place)


def test_the_name_of_a_folder_is_never_run_by_completion(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "rollouts" / "runs" / "$(touch hacked)").mkdir()
    (place / "rollouts" / "runs" / "`touch hacked`").mkdir()
    (place / "envs").mkdir()
    (place / "envs" / "$(touch hacked).py").touch()
    assert main(["completion", "bash"]) == 0
    script = place / "completion.sh"
    script.write_text(capsys.readouterr().out)
    assert "demo" in completed(script, ["trace-robot", "show", ""], place)
    completed(script, ["trace-robot", "evaluate", ""], place)
    assert not list(place.rglob("hacked"))


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_get_a_script_too(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    shown = capsys.readouterr().out
    for name in commands():
        assert name in shown


@pytest.mark.parametrize("text", ["forever", "", "1,x", "-1", "nan", "[", "a=b=c", "\u00e9"])
def test_no_error_of_an_option_names_a_function(text: str) -> None:
    """argparse writes "invalid _hold_time value" where a type raises ValueError."""
    errors = {}
    for name, command in commands().items():
        for action in command._actions:
            try:
                command._get_value(action, text)
            except argparse.ArgumentError as error:
                errors[f"{name} {action.dest}"] = error.message
    assert {where: error for where, error in errors.items() if error.startswith("invalid")} == {}
    if text == "forever":
        assert errors["optimize hold"] == "must be a number of seconds or end, got 'forever'"
        assert errors["watch port"] == "must be a number from 0 to 65535, got 'forever'"
        assert errors["optimize require"] == "must be from 0 to 1, or from 0% to 100%, got 'forever'"


def test_a_help_lists_no_option_that_the_command_refuses() -> None:
    """``stress`` takes neither: its battery sets them."""
    shown = commands()["stress"].format_help()
    assert "--hold" not in shown
    assert "--worlds" not in shown
    assert "SUPPRESS" not in manual(create_parser())
    assert "--hold" in commands()["evaluate"].format_help()
