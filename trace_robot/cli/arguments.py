"""Arguments that several commands share, and the parsers of their values.

Every module that adds a command imports this one, so it imports the standard library and ``errors`` only: see ``main``.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from pathlib import Path
from typing import Any

from trace_robot.cli.parser import AddRequestField

# Parsers of values. argparse turns the ArgumentTypeError raised here into one line and exit code 2; of a ValueError it
# would name the function, in "invalid positive_integer value: 'x'".


def whole_number(text: str, least: int) -> int:
    """Return an integer, also of 1e5, 100_000 or 100,000.

    Args:
        text: what was typed.
        least: the smallest that is allowed.
    """
    typed = text.replace(",", "") if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+", text) else text
    try:
        value = int(typed) if "e" not in typed.lower() else float(typed)
        if value != int(value):
            raise ValueError(text)
    except (ValueError, OverflowError) as error:
        raise _wanted(f"a whole number of {least} or more, such as 100000 or 1e5", text) from error
    if value < least:
        raise argparse.ArgumentTypeError(f"must be {least} or more, got {text}")
    return int(value)


def positive_integer(text: str) -> int:
    """Return an integer of 1 or more."""
    return whole_number(text, 1)


def non_negative_integer(text: str) -> int:
    """Return an integer of 0 or more."""
    return whole_number(text, 0)


def _number(text: str) -> float:
    """Return a finite number, -1 for text that is none."""
    try:
        value = float(text)
    except ValueError:
        return -1.0
    return value if abs(value) < float("inf") else -1.0


def _wanted(what: str, text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"must be {what}, got {text!r}")


def positive_number(text: str) -> float:
    """Return a finite number above 0, refusing NaN too."""
    if (value := _number(text)) <= 0:
        raise _wanted("a number above 0", text)
    return value


def fraction(text: str) -> float:
    """Return a number from 0 to 1, such as a success rate, also of 90%."""
    percent = text.rstrip().endswith("%")
    value = _number(text.rstrip().removesuffix("%")) / (100 if percent else 1)
    if not 0 <= value <= 1:
        raise _wanted("from 0 to 1, or from 0% to 100%", text)
    return value


def token_prices(text: str) -> tuple[float, float]:
    """Return the prices of a million prompt and completion tokens, from "P,C"."""
    prompt, _, completion = text.partition(",")
    values = _number(prompt), _number(completion)
    if min(values) < 0:
        raise _wanted("two numbers of 0 or more", text)
    return values


def _hold_time(text: str) -> float | str:
    """Return seconds of 0 or more, or "end"."""
    if text != "end" and _number(text) < 0:
        raise _wanted("a number of seconds or end", text)
    return text if text == "end" else _number(text)


def read_worlds(source: str) -> Any:
    """Return the plain data of worlds: of a set by its name, or of a JSON file."""
    from trace_robot.env.world import WORLDS
    from trace_robot.errors import unknown
    from trace_robot.safe_files import load_json, read_bytes

    if source in WORLDS:
        return list(WORLDS[source])
    file = Path(source).resolve()
    if not file.suffix and not file.exists():
        raise argparse.ArgumentTypeError(str(unknown("set of worlds", source, WORLDS)))
    try:
        return load_json(read_bytes(file.parent, file.name, most=1_000_000))
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{source!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{source!r} must be a JSON file of worlds: {error}") from error


def _keyword_argument(text: str) -> tuple[str, Any]:
    """Return key and value of "key=value", as text where it is no Python literal."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"must look like key=value, got {text!r}")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def request_field(text: str) -> tuple[tuple[str, ...], Any]:
    """Return the path and the value of "a.b=value", as text where it is no JSON."""
    path, equals, value = text.partition("=")
    names = tuple(path.strip().split("."))
    if not equals or not all(names):
        raise argparse.ArgumentTypeError(f"must look like KEY=VALUE or KEY.INNER=VALUE, got {text!r}")
    if names[0] in ("model", "messages", "n"):
        raise argparse.ArgumentTypeError(f"{names[0]} is not set with --request, got {text!r}")
    try:
        return names, json.loads(value, parse_constant=_refuse_constant)
    except json.JSONDecodeError:
        return names, value


def _refuse_constant(name: str) -> None:
    raise argparse.ArgumentTypeError(f"a value must be JSON or text, got {name}")


# The environment and its episodes.


def add_environment(command: argparse.ArgumentParser, metavar: str = "TASK", more: str = "") -> None:
    """Add the environment by position or ``--env``, its instruction and arguments.

    Args:
        command: the parser to extend; ``options.task`` holds the environment's name.
        metavar: the positional's name in the usage line.
        more: what else the positional may be, for its help.
    """
    either = command.add_mutually_exclusive_group(required=True)
    what = "an environment: a name (see: trace-robot envs), a file in envs/, or a registered gymnasium id"
    # Without SUPPRESS the one that was not typed would overwrite ``task`` with its default, None.
    either.add_argument("task", nargs="?", metavar=metavar, default=argparse.SUPPRESS, help=what + more)
    same = "the environment, in place of the first argument"
    either.add_argument("--env", dest="task", metavar="NAME", default=argparse.SUPPRESS, help=same)
    add_environment_options(command)
    command.add_argument(
        "--hold",
        type=_hold_time,
        metavar="SECONDS",
        help="success counts when it lasts this long; end: when it is there at the end of a whole episode"
        " (default: its first step counts)",
    )
    command.add_argument(
        "--worlds",
        type=read_worlds,
        metavar="NAME|FILE",
        help="standard, signals (standard without physics), or a JSON file of worlds; each episode gets one: noise,"
        " delays, other physics; see docs/robust.md",
    )
    add_python(command)


def add_python(command: argparse.ArgumentParser) -> None:
    """Add ``--python``, absolute, its links not followed."""
    command.add_argument(
        "--python",
        type=_interpreter,
        metavar="PATH",
        help="run the environment in this interpreter, a path or a name on PATH; see docs/other-interpreter.md",
    )


def _interpreter(text: str) -> Any:
    from trace_robot.safe_files import interpreter_of  # of one option: not loaded for others

    return interpreter_of(text)


def add_environment_options(command: argparse.ArgumentParser) -> None:
    """Add ``--task`` and ``--env-arg``."""
    what = "what to do in it, for an id that no plug-in describes"
    command.add_argument("--task", dest="instruction", metavar="TEXT", help=what)
    command.add_argument(
        "--env-arg",
        dest="env_args",
        action="append",
        type=_keyword_argument,
        default=[],
        metavar="KEY=VALUE",
        help="an argument of the environment, also horizon and return_threshold; may be given again",
    )


def environment_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the environment's typed arguments, the instruction as ``task``."""
    names = {"instruction": "task", "hold": "hold", "worlds": "world", "python": "python"}.items()
    typed = {ours: getattr(options, name, None) for name, ours in (*names, ("envelope", "envelope"))}
    return {name: value for name, value in typed.items() if value is not None} | dict(options.env_args)


def add_episodes(command: argparse.ArgumentParser, default: int, what: str) -> None:
    """Add ``--episodes`` and ``--seed``.

    Args:
        command: the parser to extend.
        default: episodes without the option; 0 leaves the number to the optimizer.
        what: what the episodes are for, in the help.
    """
    command.add_argument(
        "--episodes",
        type=positive_integer,
        default=default,
        metavar="N",
        help=f"{what} (default {default or 'search 10, else 5'})",
    )
    command.add_argument(
        "--seed",
        type=non_negative_integer,
        default=0,
        metavar="S",
        help=f"seed of the initial conditions{'' if default else ' and of the search'} (default 0)",
    )


def add_control(command: argparse.ArgumentParser) -> None:
    """Add ``--control``: which kind of action a controller returns."""
    command.add_argument(
        "--control",
        choices=("pose", "raw"),
        help="pose: an action is a motion of the hand in meters, tracked for up to 20 simulator steps; raw: the"
        " environment's own action (default: what the policy says; else pose where inverse kinematics or a measured"
        " Jacobian moves the hands; else raw by search, pose by others)",
    )


# Where and how long to compute.


def add_workers(command: argparse.ArgumentParser) -> None:
    """Add ``--workers`` and ``--trust``: the rollout processes and their sandbox."""
    command.add_argument(
        "--workers",
        type=non_negative_integer,
        metavar="N",
        help="rollout processes; 0 for this one (default: one a processor)",
    )
    command.add_argument(
        "--trust", action="store_true", help="run controllers even where this system cannot lock them in"
    )


def add_backend(command: argparse.ArgumentParser) -> None:
    """Add ``--backend`` and ``--address``: this machine or a ray cluster."""
    command.add_argument(
        "--backend",
        choices=("local", "ray"),
        default="local",
        help="where rollouts run: local, on this machine; ray, on a cluster (pip install 'trace-robot[ray]')",
    )
    command.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="ray: the cluster to join, or auto (default: a new one on this machine)",
    )


def add_budget(command: argparse.ArgumentParser) -> None:
    """Add ``--seconds``, ``--steps`` and ``--feedback``: what a run may use."""
    command.add_argument(
        "--seconds",
        type=positive_number,
        metavar="T",
        help="stop after this many seconds, within a batch of episodes; the held-out episodes come on top (default:"
        " search 240 unless --steps is given, optoprime none)",
    )
    command.add_argument(
        "--steps",
        type=positive_integer,
        metavar="N",
        help="stop after this many simulator steps, at the same episode every time, whatever the number of workers;"
        " the held-out episodes come on top (default: no limit)",
    )
    command.add_argument(
        "--feedback",
        choices=("outcome", "terms", "hindsight", "expert"),
        default="outcome",
        help="what a model learns of an episode: outcome, the honest default; terms: also the reward's terms;"
        " hindsight: also what came closer; expert: also what the scripted expert would do",
    )


def add_endpoint(command: argparse.ArgumentParser) -> None:
    """Add ``--model`` and ``--base-url``: the language model."""
    command.add_argument(
        "--model", metavar="NAME", help="the model's name (default: OPENAI_MODEL, or the endpoint's only one)"
    )
    command.add_argument(
        "--base-url", metavar="URL", help="an OpenAI-compatible endpoint (default: OPENAI_BASE_URL)"
    )


def add_request(command: argparse.ArgumentParser) -> None:
    """Add ``--request``, ``--token-budget`` and ``--parallel``: the model's requests."""
    command.add_argument(
        "--request",
        type=request_field,
        action=AddRequestField,
        metavar="KEY=VALUE",
        help="a further field of every request, its value as JSON, such as temperature=0.2 or"
        " chat_template_kwargs.enable_thinking=false; may be repeated",
    )
    command.add_argument(
        "--token-budget",
        type=positive_integer,
        metavar="N",
        help="most tokens of a prompt (default 9000; fewer where the endpoint's context is smaller)",
    )
    command.add_argument(
        "--parallel",
        type=positive_integer,
        metavar="N",
        help="ask for the replies of --proposals in N requests at once, not in one with the field n",
    )


def add_ablations(command: argparse.ArgumentParser) -> None:
    """Add the options that leave parts out of prompts."""
    command.add_argument(
        "--memory", type=non_negative_integer, metavar="N", help="show N other trials (default 5; opro 20)"
    )
    command.add_argument(
        "--no-graph",
        action="store_true",
        help="optoprime: show parameters and feedback alone, no trace graph",
    )


# Runs on disk, and the form of the output.


def add_run(command: argparse.ArgumentParser) -> None:
    """Add the positional RUN and ``--runs``."""
    command.add_argument("run", metavar="RUN", help="a run's name, the beginning of its name, or its folder")
    add_runs_folder(command)


def add_runs_folder(command: argparse.ArgumentParser) -> None:
    """Add ``--runs``: where runs are looked up by name."""
    command.add_argument("--runs", metavar="DIR", help="the folder of runs (default: rollouts/runs)")


def add_run_output(command: argparse.ArgumentParser) -> None:
    """Add ``--out``, ``--overwrite`` and ``--no-video``: the folder of a new run."""
    command.add_argument("--out", metavar="DIR", help="the run's folder (default: rollouts/runs/NAME-TIME)")
    command.add_argument("--overwrite", action="store_true", help="replace an older run in --out")
    command.add_argument("--no-video", action="store_true", help="make no videos")


BELOW = 3  # exit code where --require asked for more


def add_require(command: argparse.ArgumentParser) -> None:
    """Add ``--require``: the success rate below which the exit code is 3."""
    command.add_argument(
        "--require", type=fraction, metavar="RATE", help="exit code 3 if held-out success is below this"
    )


def add_json(command: argparse.ArgumentParser) -> None:
    """Add ``--json`` to a command whose only output is its result."""
    command.add_argument("--json", action="store_true", help="print JSON")


def add_output(command: argparse.ArgumentParser) -> None:
    """Add ``--json`` and ``--quiet`` to a command that also shows its progress."""
    command.add_argument(
        "--json", action="store_true", help="print the result as JSON, and nothing else, on standard output"
    )
    command.add_argument("--quiet", action="store_true", help="print the result only")
