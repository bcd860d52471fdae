"""What can be typed: the commands, their options and the help that teaches them."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

EPILOG = """\
examples:
  trace-robot optimize pick-place-v3                 from a controller that does nothing, no key needed
  trace-robot optimize reach-v3 --policy my.py --out runs/reach
  trace-robot evaluate pick-place-v3 --policy runs/reach/best.py --episodes 50
  trace-robot replay pick-place                      a recorded run of OptoPrime, with real rollouts
  trace-robot render pick-place-v3 --policy runs/reach/best.py --out pick.mp4
  trace-robot bench --tasks mt10 --seconds 60          many tasks, one table; the same command again goes on
  OPENAI_BASE_URL=http://127.0.0.1:8000/v1 trace-robot optimize push-v3 --model my-model

exit codes: 0 done, 1 an error that is explained in one line, 2 a wrong command line, 130 stopped by Ctrl-C
"""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="trace-robot",
        description="Optimize robot controllers that are ordinary Python: roll out, explain, rewrite.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"trace-robot {version('trace-robot')}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _optimize(commands)
    _evaluate(commands)
    _replay(commands)
    _render(commands)
    _bench(commands)
    _lists(commands)
    _sandbox(commands)
    return top


def _add(commands: Commands, name: str, help_text: str, description: str = "") -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=help_text, description=description or help_text, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {value}")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return value


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {value}")
    return value


def _shared(command: argparse.ArgumentParser, episodes: int, what: str) -> None:
    command.add_argument(
        "--episodes",
        type=_count,
        default=episodes,
        metavar="N",
        help=f"{what} (default {episodes or 'search 10, else 5'})",
    )
    command.add_argument(
        "--seed",
        type=_natural,
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
    _workers(command)


def _backend(command: argparse.ArgumentParser) -> None:
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


def _workers(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--workers",
        type=_natural,
        metavar="N",
        help="rollout processes; 0 for this one (default: one a processor)",
    )
    command.add_argument(
        "--trust", action="store_true", help="run controllers even where this system cannot lock them in"
    )


def _folder(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", metavar="DIR", help="the run's folder (default: rollouts/runs/NAME-TIME)")
    command.add_argument("--overwrite", action="store_true", help="replace an older run in --out")
    command.add_argument("--no-video", action="store_true", help="make no videos")


def _budget(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--seconds",
        type=_seconds,
        metavar="T",
        help="stop after so many seconds (default: search 180 unless --steps is given, optoprime none)",
    )
    command.add_argument(
        "--steps",
        type=_count,
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


def _optimize(commands: Commands) -> None:
    command = _add(
        commands, "optimize", "rewrite a controller until it works",
        "Rewrite a controller from its own rollouts until it works.\n\n"
        "With a model configured (OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own) OptoPrime asks it for\n"
        "the next controller; without one the built-in search runs, which needs no key.",
    )  # fmt: skip
    command.add_argument("task", metavar="TASK", help="an environment's name; see: trace-robot envs")
    command.add_argument(
        "--policy",
        default="do_nothing",
        metavar="NAME|FILE",
        help="where to start (default do_nothing); see: trace-robot policies",
    )
    command.add_argument(
        "--optimizer",
        choices=("auto", "optoprime", "opro", "search", "cma"),
        default="auto",
        help="default auto: optoprime where a model is configured, else search, which writes a new act; cma tunes"
        " the numbers of a policy and leaves its code",
    )
    command.add_argument(
        "--iterations",
        type=_count,
        metavar="N",
        help="controllers to try by optoprime (default 10), improvements by search (default: until done)",
    )
    _budget(command)
    _shared(command, 0, "training conditions of every controller")
    _backend(command)
    command.add_argument(
        "--held-out",
        type=_count,
        default=50,
        metavar="N",
        help="conditions of the final score, never trained on (default 50)",
    )
    _folder(command)
    command.add_argument(
        "--retries",
        type=_natural,
        default=5,
        metavar="N",
        help="how often to ask again an endpoint that is not there or busy (default 5)",
    )
    command.add_argument(
        "--proposals",
        type=_count,
        default=1,
        metavar="N",
        help="controllers to ask the model for at once (default 1)",
    )
    command.add_argument("--calls", type=_count, metavar="N", help="stop after so many calls of the model")
    command.add_argument("--tokens", type=_count, metavar="N", help="stop after so many tokens")
    command.add_argument(
        "--no-tune",
        action="store_true",
        help="optoprime: do not tune the numbers of a new best controller by CMA-ES between two proposals",
    )
    _endpoint(command)
    command.add_argument("--record", metavar="FILE", help="append every prompt and reply to FILE")
    command.add_argument(
        "--replay",
        metavar="FILE",
        help="answer from a file that --record wrote, with real rollouts and no model",
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="roll out the starting controller, print the first prompt, ask nobody",
    )
    _output(command)


def _evaluate(commands: Commands) -> None:
    command = _add(
        commands, "evaluate", "score a controller on held-out conditions",
        "Score a controller on held-out conditions; with zoo in the place of TASK, every controller of the zoo.",
    )  # fmt: skip
    command.add_argument("task", metavar="TASK|zoo")
    command.add_argument("--policy", metavar="NAME|FILE", help="the controller (not for zoo)")
    command.add_argument("--tasks", metavar="NAME,..", help="zoo: these tasks only (default: all it has)")
    _shared(command, 50, "held-out conditions to score on")
    _backend(command)
    _output(command)


def _replay(commands: Commands) -> None:
    command = _add(
        commands,
        "replay",
        "run a recorded optimization again",
        "Run a recorded optimization again: the recorded answers of a language model, real rollouts, no key.",
    )
    command.add_argument("recording", metavar="NAME", help="a file NAME.json in rollouts/recordings")
    _folder(command)
    _workers(command)
    _output(command)


def _render(commands: Commands) -> None:
    command = _add(commands, "render", "make a video of a controller's episodes")
    command.add_argument("task", metavar="TASK")
    command.add_argument("--policy", required=True, metavar="NAME|FILE")
    _shared(command, 1, "episodes to show, one after the other")
    command.add_argument("--out", default="episode.mp4", metavar="FILE.mp4", help="default episode.mp4")
    command.add_argument(
        "--quality",
        choices=("fast", "high"),
        default="fast",
        help="high: larger, with shadows (default fast)",
    )
    _output(command)


def _bench(commands: Commands) -> None:
    command = _add(
        commands, "bench", "measure an optimizer on many tasks, resumably",
        "Optimize on many tasks and seeds under one protocol; write results.jsonl, table.md and plot.svg.\n"
        "A finished run is never done again: the same command goes on where it was stopped.",
    )  # fmt: skip
    command.add_argument(
        "--tasks",
        default="paper",
        metavar="NAME,..",
        help="tasks, or sets: paper, mt10, mt50 (default paper)",
    )
    command.add_argument("--optimizer", choices=("search", "optoprime", "opro"), default="search")
    command.add_argument(
        "--protocol",
        choices=("standard", "paper"),
        default="standard",
        help="standard: 500 steps, 5 training conditions, 25 more to confirm, 50 held-out ones; paper: pose control,"
        " 10 decisions, 1, none and 10, 10 seeds, at most 10 iterations of a model for reach and 30 for the others",
    )
    command.add_argument(
        "--seeds", type=_seeds, metavar="S,..", help="e.g. 0,1,2 or 0-9 (default: the protocol's)"
    )
    _budget(command)
    command.add_argument("--iterations", type=_count, metavar="N", help="in place of the protocol's")
    command.add_argument("--policy", default="do_nothing", metavar="NAME|FILE", help="where every run starts")
    _workers(command)
    command.add_argument("--out", metavar="DIR", help="default rollouts/runs/bench-PROTOCOL-OPTIMIZER")
    command.add_argument(
        "--zoo", metavar="DIR", help="then write the best controller of each task there, e.g. policies/zoo"
    )
    _endpoint(command)
    _output(command)


def _seeds(text: str) -> tuple[int, ...]:
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(_natural(first), _natural(last or first) + 1)
    if not seeds:
        raise argparse.ArgumentTypeError(f"must name at least one seed, got {text!r}")
    return tuple(dict.fromkeys(seeds))


def _lists(commands: Commands) -> None:
    for name, what in (
        ("envs", "the environments that can be optimized in"),
        ("policies", "the starting controllers"),
    ):
        command = _add(commands, name, f"list {what}")
        command.add_argument("--json", action="store_true", help="print JSON")


def _sandbox(commands: Commands) -> None:
    command = _add(
        commands,
        "sandbox",
        "show how controllers are locked in on this machine, or try a corpus of hostile ones",
    )
    command.add_argument(
        "--corpus",
        metavar="FILE",
        help="run every controller of FILE and print what differs from its expected outcome",
    )
    command.add_argument(
        "--no-static-check", action="store_true", help="let the locks of the system stand alone"
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def _endpoint(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model", metavar="NAME", help="the model's name (default: OPENAI_MODEL, or the endpoint's only one)"
    )
    command.add_argument(
        "--base-url", metavar="URL", help="an OpenAI-compatible endpoint (default: OPENAI_BASE_URL)"
    )


def _output(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--json", action="store_true", help="print the result as JSON, and nothing else, on standard output"
    )
    command.add_argument("--quiet", action="store_true", help="print the result only")
