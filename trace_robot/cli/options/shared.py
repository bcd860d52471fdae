"""Options and kinds of values that several commands share."""

from __future__ import annotations

import argparse
import ast
from typing import Any, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    commands: Commands, name: str, help_text: str, description: str = ""
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=help_text, description=description or help_text, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip


def count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {value}")
    return value


def port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 65536:
        raise argparse.ArgumentTypeError(f"must be from 0 to 65535, got {value}")
    return value


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return value


def natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {value}")
    return value


def seeds(text: str) -> tuple[int, ...]:
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(natural(first), natural(last or first) + 1)
    if not seeds:
        raise argparse.ArgumentTypeError(f"must name at least one seed, got {text!r}")
    return tuple(dict.fromkeys(seeds))


def environment(command: argparse.ArgumentParser, metavar: str = "TASK") -> None:
    """Say in which environment: by its place on the command line, or with --env."""
    either = command.add_mutually_exclusive_group(required=True)
    what = "an environment: a name (see: trace-robot envs), a file in envs/, or a registered gymnasium id"
    either.add_argument("task", nargs="?", metavar=metavar, default=argparse.SUPPRESS, help=what)
    either.add_argument(
        "--env", dest="task", metavar="NAME", default=argparse.SUPPRESS, help="the same, written out"
    )
    command.add_argument(
        "--task",
        dest="words",
        metavar="WORDS",
        help="what to do in it, for a gymnasium id that no plug-in speaks of",
    )
    command.add_argument(
        "--env-arg",
        dest="env_args",
        action="append",
        type=_argument,
        default=[],
        metavar="KEY=VALUE",
        help="an argument of the environment, also horizon and return_threshold; may be given again",
    )


def environment_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the environment's options that were typed."""
    words = {} if options.words is None else {"task": options.words}
    return {**words, **dict(options.env_args)}


def _argument(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"must look like key=value, got {text!r}")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def require(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--require", type=rate, metavar="RATE", help="end with exit code 3 if held-out success is below this"
    )


def rate(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to 1, got {text}")
    return value


def prices(text: str) -> tuple[float, float]:
    prompt, _, completion = text.partition(",")
    values = float(prompt), float(completion)
    if not all(0 <= value < float("inf") for value in values):
        raise argparse.ArgumentTypeError(f"must be two numbers of 0 or more, got {text}")
    return values


def run(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="a run's name, the beginning of its name, or its folder")
    runs(command)


def runs(command: argparse.ArgumentParser) -> None:
    command.add_argument("--runs", metavar="DIR", help="the folder of runs (default: rollouts/runs)")


def conditions(command: argparse.ArgumentParser, episodes: int, what: str) -> None:
    command.add_argument(
        "--episodes",
        type=count,
        default=episodes,
        metavar="N",
        help=f"{what} (default {episodes or 'search 10, else 5'})",
    )
    command.add_argument(
        "--seed",
        type=natural,
        default=0,
        metavar="S",
        help="which conditions, and the search's luck (default 0)",
    )
    command.add_argument(
        "--control",
        choices=("pose", "raw"),
        help="pose: an action is a motion of the hand in metres, tracked for up to 20 simulator steps;"
        " raw: the environment's own action (default: what the policy says, else pose; search: raw)",
    )
    workers(command)


def backend(command: argparse.ArgumentParser) -> None:
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


def workers(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--workers",
        type=natural,
        metavar="N",
        help="rollout processes; 0 for this one (default: one a processor)",
    )
    command.add_argument(
        "--trust", action="store_true", help="run controllers even where this system cannot lock them in"
    )


def folder(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", metavar="DIR", help="the run's folder (default: rollouts/runs/NAME-TIME)")
    command.add_argument("--overwrite", action="store_true", help="replace an older run in --out")
    command.add_argument("--no-video", action="store_true", help="make no videos")


def budget(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--seconds",
        type=seconds,
        metavar="T",
        help="stop after so many seconds (default: search 240 unless --steps is given, optoprime none)",
    )
    command.add_argument(
        "--steps",
        type=count,
        metavar="N",
        help="stop after so many simulator steps, at the same candidate every time (default: no limit)",
    )
    command.add_argument(
        "--feedback",
        choices=("outcome", "terms", "hindsight", "expert"),
        default="outcome",
        help="what a model is told of an episode: outcome, the honest default; terms: also the reward's terms;"
        " hindsight: also what came closer; expert: also what the scripted expert would do",
    )


def endpoint(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model", metavar="NAME", help="the model's name (default: OPENAI_MODEL, or the endpoint's only one)"
    )
    command.add_argument(
        "--base-url", metavar="URL", help="an OpenAI-compatible endpoint (default: OPENAI_BASE_URL)"
    )


def output(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--json", action="store_true", help="print the result as JSON, and nothing else, on standard output"
    )
    command.add_argument("--quiet", action="store_true", help="print the result only")
