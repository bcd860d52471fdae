"""``serve``: offer a task to a coding agent, over HTTP or MCP."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.cli.arguments import (
    add_budget,
    add_control,
    add_environment,
    add_output,
    add_require,
    add_run_output,
    add_runs_folder,
    add_workers,
    environment_options,
    non_negative_integer,
    positive_integer,
)
from trace_robot.cli.console import escape, progress_console, write_error, write_text
from trace_robot.cli.parser import Commands, add_command
from trace_robot.cli.report import port_number
from trace_robot.cli.runs import find_run, runs_folder
from trace_robot.errors import RunError

if TYPE_CHECKING:
    from trace_robot.run.loop import Event, OnEvent
    from trace_robot.run.person import AskPerson
    from trace_robot.serve import AgentFactory, Submissions
    from trace_robot.settings import Result

PORT, BUDGET = 8766, 100
MOST_EPISODES = 10**6
LINGER = 60.0  # seconds for which a result is kept at hand that no agent has asked for yet: its time was over
DRAIN = 5.0


class _PrintSkill(argparse.Action):
    """Print SKILL.md and exit, as ``--version`` does."""

    def __init__(self, option_strings: Any, dest: str, **keywords: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **keywords)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        write_text((Path(__file__).parents[1] / "serve" / "SKILL.md").read_text(encoding="utf-8"))
        parser.exit()


def add_serve(commands: Commands) -> None:
    """Add ``serve``."""
    command = add_command(
        commands,
        "serve",
        "offer a task to a coding agent, over HTTP or MCP",
        "Offer a task to a coding agent: it reads what the task is, submits controllers, sees the outcome and a trace\n"
        "of each, and finishes with a score on conditions that it never saw. It is a run like any other: recorded,\n"
        "shown by runs, show and report, and resumed. Controllers run locked in; requests need the token that is\n"
        "printed, and come from this machine.",
        examples=[
            (
                "trace-robot serve reach-v3 --budget 200 --out runs/agent",
                "over HTTP, for at most 200 episodes",
            ),
            ("trace-robot serve --skill", "the instructions for an agent"),
        ],
    )
    command.set_defaults(execute=execute_serve)
    add_environment(command)
    command.add_argument(
        "--policy",
        default="do_nothing",
        metavar="NAME|FILE",
        help="the controller to start from (default do_nothing)",
    )
    command.add_argument(
        "--budget",
        type=positive_integer,
        default=BUDGET,
        metavar="N",
        help=f"episodes that submissions may take in all (default {BUDGET}); the held-out ones come on top",
    )
    command.add_argument(
        "--episodes", type=positive_integer, default=5, metavar="N", help="of a submission (default 5)"
    )
    command.add_argument(
        "--confirm",
        type=non_negative_integer,
        default=10,
        metavar="N",
        help="further episodes of a submission that succeeds in all of these (default 10)",
    )
    command.add_argument(
        "--seed",
        type=non_negative_integer,
        metavar="S",
        help="of the initial conditions (default: drawn, so that an agent cannot know the held-out ones)",
    )
    command.add_argument(
        "--held-out",
        type=positive_integer,
        default=50,
        metavar="N",
        help="conditions of the final score, run after finish only (default 50)",
    )
    add_budget(command)
    add_control(command)
    add_workers(command)
    add_run_output(command)
    command.add_argument(
        "--mcp",
        action="store_true",
        help="serve MCP on standard input and output (pip install 'trace-robot[agents]'); HTTP too with --port",
    )
    command.add_argument(
        "--port",
        type=port_number,
        metavar="P",
        help=f"of HTTP, 0 for a free one (default {PORT}; none with --mcp)",
    )
    command.add_argument(
        "--resume",
        action="store_true",
        help="TASK is an interrupted run of serve, to go on with; its settings stay as they were",
    )
    add_runs_folder(command)
    command.add_argument(
        "--skill", action=_PrintSkill, help="print SKILL.md, instructions for an agent, and exit"
    )
    add_require(command)
    add_output(command)


def execute_serve(options: argparse.Namespace) -> int:
    """Serve a new run, or one that was interrupted, until its agent finishes."""
    return _resume(options) if options.resume else _begin(options)


def _begin(options: argparse.Namespace) -> int:
    import secrets

    from trace_robot.errors import UsageError
    from trace_robot.run.optimize import new_folder, optimize
    from trace_robot.settings import BLOCKS

    least = options.episodes + options.confirm
    if options.budget < least:
        raise UsageError(
            f"--budget must be at least the {least} episodes that one submission may take, got {options.budget};"
            " give more, or lower --episodes or --confirm"
        )
    out = Path(options.out) if options.out else new_folder(options.task)
    settings: dict[str, Any] = {
        "policy": options.policy,
        "episodes": options.episodes,
        "confirm": options.confirm,
        "seed": secrets.randbelow(BLOCKS) if options.seed is None else options.seed,
        "workers": options.workers,
        "control": options.control,
        "held_out": options.held_out,
        "feedback": options.feedback,
        "seconds": options.seconds,
        "steps": options.steps,
        "video": not options.no_video,
        "trusted": options.trust,
        "options": environment_options(options),
    }

    def run(agent: AgentFactory, on_event: OnEvent) -> Result:
        return optimize(
            options.task,
            optimizer=agent,
            model=agent.model,
            out=out,
            overwrite=options.overwrite,
            on_event=on_event,
            **settings,
        )

    return _serve(options, out, options.budget, options.seconds, run)


def _resume(options: argparse.Namespace) -> int:
    from trace_robot.run.optimize import resume
    from trace_robot.settings import AGENT
    from trace_robot.store.writer import Store

    history, info = find_run(options.task, runs_folder(options))
    history.close()
    with Store(info.folder.parent) as store:
        header = store.header(info.name)
    budget = (header.choice or {}).get("budget")
    if header.settings.optimizer != AGENT or type(budget) is not int or not 0 < budget <= MOST_EPISODES:
        raise RunError(f"the run {info.name!r} is not of serve; go on with: trace-robot resume {info.name}")

    def run(agent: AgentFactory, on_event: OnEvent) -> Result:
        return resume(info.folder, optimizer=agent, model=agent.model, on_event=on_event)

    seconds = header.settings.seconds
    left = None if seconds is None else max(0.0, seconds - info.seconds)
    return _serve(options, info.folder, budget, left, run)


def _serve(
    options: argparse.Namespace,
    out: Path,
    budget: int,
    seconds: float | None,
    run: Callable[[AgentFactory, OnEvent], Result],
) -> int:
    """Open the transports, run, and stay until the result has arrived."""
    from trace_robot.cli.running import show_run
    from trace_robot.serve import AgentFactory, Submissions

    submissions = Submissions(seconds)
    agent = AgentFactory(submissions, budget)
    with _transports(options, submissions) as lines:

        def shown(on_event: OnEvent, _: AskPerson | None) -> Result:
            def observe(event: Event) -> None:
                from trace_robot.run.loop import Started

                agent.observe(event)
                on_event(event)
                if isinstance(event, Started):
                    for text in lines:
                        progress_console().print(f"serving    {escape(text)}")

            return run(agent, observe)

        return show_run(shown, options, out, "serve --resume")


@contextmanager
def _transports(options: argparse.Namespace, submissions: Submissions) -> Iterator[list[str]]:
    """Serve by HTTP, MCP or both in the block, and yield what to print of them."""
    import secrets

    from trace_robot.serve.http_server import SubmissionServer, serve_in_background

    lines, server, client = [], None, None
    if options.mcp:
        from trace_robot.serve import mcp_server

        client = mcp_server.serve_in_background(submissions, mcp_server.take_standard_streams())
        lines.append("MCP on standard input and output")
    if options.port is not None or not options.mcp:
        token = secrets.token_urlsafe(24)
        server = SubmissionServer(submissions, PORT if options.port is None else options.port, token)
        serve_in_background(server)
        lines.append(f"curl -H 'Authorization: Bearer {token}' {server.url}/describe")
    try:
        yield lines
        if client is not None:
            client.join()
        elif submissions.undelivered:
            write_error(
                f"the result is kept at hand for {LINGER:g} s, or until the agent asks for it by finish"
            )
            submissions.await_delivery(LINGER)
    finally:
        submissions.close()
        if server is not None:
            server.drain(DRAIN)
            server.shutdown()
            server.server_close()
