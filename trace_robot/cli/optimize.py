"""The commands that run an optimization: ``optimize``, ``resume`` and ``replay``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.cli.arguments import (
    add_ablations,
    add_backend,
    add_budget,
    add_control,
    add_endpoint,
    add_environment,
    add_episodes,
    add_output,
    add_python,
    add_request,
    add_require,
    add_run,
    add_run_output,
    add_workers,
    environment_options,
    non_negative_integer,
    positive_integer,
    positive_number,
    token_prices,
)
from trace_robot.cli.console import (
    WRONG,
    confirm,
    console,
    progress_console,
    safe,
    write_error,
    write_json,
)
from trace_robot.cli.drive import add_envelope
from trace_robot.cli.parser import Commands, add_command
from trace_robot.cli.runs import add_ask, add_images, find_run, name_of, runs_folder
from trace_robot.errors import (
    ValueMismatchError,
    WorkspaceError,
    unknown,
)

if TYPE_CHECKING:
    from trace_robot.llm import ModelConfig
    from trace_robot.run.loop import OnEvent
    from trace_robot.run.person import AskPerson
    from trace_robot.settings import Result

# What a recording fixes; workers, videos and the sandbox are the user's.
ENDINGS = (".jsonl", ".jsonl.gz")  # of a recording's answers
RECORDED = (
    "policy", "optimizer", "iterations", "episodes", "confirm", "seed", "control", "held_out", "tune", "feedback",
    "rules", "grow", "images", "prompt", "memory", "graph",
)  # fmt: skip


def add_optimize(commands: Commands) -> None:
    command = add_command(
        commands,
        "optimize",
        "rewrite a controller until it works",
        "Rewrite a controller from its own rollouts until it works.\n\n"
        "With a model configured (OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own) OptoPrime asks it for\n"
        "the next controller; without one the built-in search runs, which needs no key.",
        examples=[
            ("trace-robot optimize pick-place-v3", "from a controller that does nothing; no key needed"),
            (
                "trace-robot optimize reach-v3 --steps 1e5 --out runs/reach --require 90%",
                "a budget of simulator steps; exit code 3 below 90 % success",
            ),
            (
                "trace-robot optimize push-v3 --policy my.py --optimizer cma",
                "tune the numbers of a controller of your own",
            ),
            (
                "trace-robot optimize reach-v3 --base-url http://127.0.0.1:8000/v1",
                "by a language model, here of a server of your own",
            ),
        ],
    )
    command.set_defaults(execute=execute_optimize)
    add_environment(command)
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
        type=positive_integer,
        metavar="N",
        help="answers of a model to try (default 10; what is tuned between them does not count), improvements by"
        " search (default: until done)",
    )
    add_budget(command)
    add_episodes(command, 0, "training conditions of every controller")
    add_control(command)
    add_envelope(command)
    add_workers(command)
    add_backend(command)
    command.add_argument(
        "--held-out",
        type=positive_integer,
        default=50,
        metavar="N",
        help="conditions of the final score, never trained on (default 50)",
    )
    add_run_output(command)
    _add_model(command)
    command.add_argument(
        "--no-tune",
        action="store_true",
        help="optoprime: do not tune the numbers of a new best controller by CMA-ES between two proposals",
    )
    command.add_argument(
        "--grow",
        type=non_negative_integer,
        metavar="N",
        help="double the training conditions up to N while all are solved (default 20 by a model, 0 never)",
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="roll out the starting controller and print the first prompt, without asking a model",
    )
    add_ask(command)
    add_images(command)
    add_ablations(command)
    add_require(command)
    add_output(command)


def _add_model(command: argparse.ArgumentParser) -> None:
    """Add the options of the model, its budget and its record."""
    command.add_argument(
        "--retries",
        type=non_negative_integer,
        default=5,
        metavar="N",
        help="how often to ask again an endpoint that is not there or busy (default 5)",
    )
    command.add_argument(
        "--proposals",
        type=positive_integer,
        default=1,
        metavar="N",
        help="controllers to ask the model for at once (default 1)",
    )
    command.add_argument(
        "--calls", type=positive_integer, metavar="N", help="stop after N calls of the model"
    )
    command.add_argument("--tokens", type=positive_integer, metavar="N", help="stop after N tokens")
    command.add_argument(
        "--prices",
        type=token_prices,
        metavar="P,C",
        help="money for a million tokens of prompts and of completions",
    )
    command.add_argument(
        "--money", type=positive_number, metavar="M", help="stop after this much money, by --prices"
    )
    add_endpoint(command)
    add_request(command)
    _add_proposer(command)
    command.add_argument("--record", metavar="FILE", help="append every prompt and reply to FILE")
    command.add_argument(
        "--replay",
        metavar="FILE",
        help="answer from a file that --record wrote, also compressed by gzip, with real rollouts and no model",
    )


def _add_proposer(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--proposer",
        metavar="COMMAND",
        help="a command that reads a prompt and prints an answer, in place of an endpoint; run without a shell",
    )


def add_resume(commands: Commands) -> None:
    command = add_command(
        commands,
        "resume",
        "go on with a run that was interrupted",
        "Go on with a run that was interrupted by Ctrl-C, a kill or a power cut. Answers and episodes that are in its\n"
        "journal are not asked for or rolled out again, and it ends as it would have ended.",
        examples=[
            ("trace-robot resume demo", "go on where the run demo was stopped"),
        ],
    )
    command.set_defaults(execute=execute_resume)
    add_run(command)
    command.add_argument("--model", metavar="NAME", help="another model of the endpoint")
    command.add_argument("--base-url", metavar="URL", help="the model's endpoint, if it has moved")
    add_request(command)
    _add_proposer(command)
    add_python(command)
    add_ask(command)
    command.add_argument(
        "--yes", action="store_true", help="go on with a run that another person, or trace-robot 0.1, began"
    )
    add_require(command)
    add_output(command)


def add_replay(commands: Commands) -> None:
    command = add_command(
        commands,
        "replay",
        "run a recorded optimization again",
        "Run a recorded optimization again: the recorded answers of a language model, real rollouts, no key.",
        examples=[
            ("trace-robot replay pick-place", "a recorded run of OptoPrime, with real rollouts"),
        ],
    )
    command.set_defaults(execute=execute_replay)
    command.add_argument(
        "recording",
        metavar="NAME|FILE",
        help="a file NAME.json with settings, in rollouts/recordings or by its path, beside its answers NAME.jsonl or"
        " NAME.jsonl.gz",
    )
    add_run_output(command)
    add_workers(command)
    add_output(command)


def execute_optimize(options: argparse.Namespace) -> int:
    """Optimize a controller, or print the first prompt with --dry-run."""
    settings: dict[str, Any] = {
        "policy": options.policy,
        "iterations": options.iterations,
        "episodes": options.episodes or None,
        "seed": options.seed,
        "workers": options.workers,
        "backend": options.backend,
        "address": options.address,
        "control": options.control,
        "held_out": options.held_out,
        "feedback": options.feedback,
        "seconds": options.seconds,
        "steps": options.steps,
        "tune": not options.no_tune,
        "grow": options.grow,
        "images": options.images,
        "memory": options.memory,
        "graph": not options.no_graph,
        "video": not options.no_video,
        "trusted": options.trust,
        "options": environment_options(options),
    }
    if options.money is not None and options.prices is None:
        raise ValueMismatchError("--money needs --prices, which say what a token costs")
    if not options.dry_run:
        from trace_robot.cli.running import without_model

        model = _model(options)
        if without := without_model(options, model):
            write_error(f"error: {without}")
            return WRONG
        settings |= {"optimizer": options.optimizer, "model": model}
        return _optimize(options, options.task, options.task, settings)
    from trace_robot.run.optimize import first_prompt

    prompt = first_prompt(options.task, token_budget=options.token_budget, **settings)
    console().print(prompt, markup=False)
    return 0


def _model(options: argparse.Namespace) -> ModelConfig:
    from trace_robot.llm import Budget, ModelConfig, Prices

    return ModelConfig(
        options.model,
        options.base_url,
        record=options.record,
        replay=options.replay,
        retries=options.retries,
        proposals=options.proposals,
        budget=Budget(calls=options.calls, tokens=options.tokens, money=options.money),
        prices=None if options.prices is None else Prices(*options.prices),
        request=options.request or {},
        token_budget=options.token_budget,
        parallel=options.parallel,
        proposer=options.proposer,
    )


def _optimize(options: argparse.Namespace, env: str, name: str, settings: dict[str, Any]) -> int:
    """Run ``optimize`` and show it.

    ``name`` becomes part of the folder's name where --out is left out.
    """
    from trace_robot.run.optimize import new_folder, optimize

    out = Path(options.out) if options.out else new_folder(name)

    def run(on_event: OnEvent, person: AskPerson | None) -> Result:
        known: dict[str, Any] = {"on_event": on_event, "ask_person": person, **settings}
        return optimize(env, out=out, overwrite=options.overwrite, **known)

    from trace_robot.cli.running import show_run

    return show_run(run, options, out)


def execute_resume(options: argparse.Namespace) -> int:
    """Go on with an interrupted run, or name the command that shows a finished one."""
    from trace_robot.run.optimize import resume
    from trace_robot.run.person import going_on, plan_to_resume

    history, info = find_run(options.run, runs_folder(options))
    with history:
        more = going_on(history, info) if info.status == "finished" else ""
    if info.status == "finished":
        more = more and f"; to go on from its best controller: {safe(more)}"
        see = f"see: trace-robot show {name_of(info.folder)}{more}"
        progress_console().print(
            f"{info.name} is finished: {safe(info.ended)}; {see}", markup=False, soft_wrap=True
        )
        if options.json:
            write_json(info.result)
        return 0

    plan = plan_to_resume(info.folder, options.model, options.base_url, options.python, options.proposer)
    # Without a terminal to ask at, the one line of the error has the plan.
    yes = options.yes or bool(plan and confirm(f"this user did not begin the run {info.name}", plan))
    changes = {
        "model": options.model,
        "request": options.request,
        "token_budget": options.token_budget,
        "parallel": options.parallel,
        "proposer": options.proposer,
    }

    def run(on_event: OnEvent, person: AskPerson | None) -> Result:
        own: dict[str, Any] = {"base_url": options.base_url, "python": options.python, "yes": yes}
        return resume(info.folder, changes=changes, on_event=on_event, ask_person=person, **own)

    from trace_robot.cli.running import show_run

    return show_run(run, options, info.folder)


def execute_replay(options: argparse.Namespace) -> int:
    """Optimize with the settings and the answers of a recording."""
    from trace_robot.llm import ModelConfig
    from trace_robot.safe_files import load_json, read_bytes
    from trace_robot.workspace import require_named

    path, answers = _recording(options.recording)
    try:
        recorded = load_json(read_bytes(path.parent, path.name))["settings"]
        env = recorded["task"]
        require_named(env)
        # What recordings of 0.1 hold, byte for byte.
        old = {"rules": 1, "grow": 0, "prompt": 1}
        settings = old | {name: recorded[name] for name in RECORDED if name in recorded}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkspaceError(f"recording {str(path)!r} must be JSON with settings, got {error!r}") from error
    settings |= {
        "workers": options.workers,
        "video": not options.no_video,
        "trusted": options.trust,
        "model": ModelConfig(replay=answers),
    }
    return _optimize(options, env, f"replay-{path.stem}", settings)


def _recording(name: str) -> tuple[Path, Path]:
    """Return the files of a recording: its settings, and its answers."""
    from trace_robot.workspace import recordings

    ending = next((ending for ending in (".json", *ENDINGS) if name.endswith(ending)), "")
    path = Path(name.removesuffix(ending) + ".json") if ending else recordings().get(name)
    if path is None:
        raise unknown("recording", name, recordings())
    if ending and not path.is_file():
        raise WorkspaceError(
            f"there is no {str(path)!r} with the recording's settings; answers alone are replayed by: trace-robot"
            " optimize TASK --replay FILE, and those of a benchmark by: trace-robot bench --replay FILE"
        )
    beside = [path.with_suffix(each) for each in ((ending,) if ending in ENDINGS else ENDINGS)]
    return path, next((each for each in beside if each.is_file()), beside[0])
