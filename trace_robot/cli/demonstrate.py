"""``demonstrate``: the successes of controllers as a data set for learners."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from trace_robot.cli.arguments import (
    add_control,
    add_environment_options,
    add_episodes,
    add_output,
    add_python,
    add_runs_folder,
    add_workers,
    environment_options,
    positive_integer,
    read_worlds,
)
from trace_robot.cli.console import (
    console,
    counted,
    create_table,
    escape,
    progress_console,
    write_error,
    write_json,
)
from trace_robot.cli.parser import Commands, add_command
from trace_robot.cli.runs import find_run_or_policy, runs_folder, select_iteration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from trace_robot.dataset import DataSet
    from trace_robot.policy import Policy
    from trace_robot.store.history import History, RunInfo

ZOO = "zoo"
TITLES = {"lerobot": "LeRobot v3", "minari": "Minari"}
DESCRIPTION = """\
Roll controllers out and write their successful episodes as a data set: observations, actions, rewards, what the
controller was doing at each step as text, seeds, and pictures of cameras. Failures are counted and not kept. The same
command again goes on with a collection that was interrupted.

docs/demonstrations.md shows how each is read, and a learner.
"""


def add_demonstrate(commands: Commands) -> None:
    """Add ``demonstrate``."""
    command = add_command(
        commands,
        "demonstrate",
        "write successes as a data set for learners",
        DESCRIPTION,
        examples=[
            (
                "trace-robot demonstrate reach-v3 --to lerobot --out demos",
                "50 demonstrations of the zoo's controller",
            ),
            (
                "trace-robot demonstrate push-v3 --to lerobot --out demos --camera corner2",
                "with the pictures of a camera",
            ),
            ("trace-robot demonstrate mt50 --to minari --out demos", "one Minari data set a task"),
            (
                "trace-robot demonstrate push-v3 --policy demo --to lerobot --out recovered",
                "of a run's best controller",
            ),
        ],
    )
    command.set_defaults(execute=execute_demonstrate, hold=None)
    command.add_argument(
        "tasks", nargs="+", metavar="TASK", help="environments, or named sets of them such as mt10"
    )
    command.add_argument(
        "--policy",
        default=ZOO,
        metavar="zoo|NAME|FILE|RUN",
        help="the controller of all tasks; zoo: each task's own of policies/zoo (default); a run: its best",
    )
    command.add_argument(
        "--to",
        choices=tuple(TITLES),
        required=True,
        help="lerobot: one LeRobot v3 data set; minari: one a task",
    )
    command.add_argument("--out", required=True, metavar="DIR", help="the data set's folder, new or empty")
    add_episodes(command, 50, "demonstrations of each task; up to 4 times as many conditions are tried")
    command.add_argument(
        "--camera",
        dest="cameras",
        action="append",
        default=[],
        metavar="NAME",
        help="a camera of the MuJoCo model, or free for one that frames the workspace; may be given again"
        " (default: no pictures)",
    )
    command.add_argument(
        "--size", type=positive_integer, default=96, metavar="PIXELS", help="side of a picture (default 96)"
    )
    command.add_argument(
        "--worlds",
        type=read_worlds,
        metavar="NAME|FILE",
        help="standard, signals, or a JSON file of worlds; each episode gets one; see docs/robust.md",
    )
    command.add_argument(
        "--recoveries",
        action="store_true",
        help="keep only successes in which the controller went back to an earlier stage",
    )
    add_environment_options(command)
    add_python(command)
    add_control(command)
    add_runs_folder(command)
    add_workers(command)
    add_output(command)


def execute_demonstrate(options: argparse.Namespace) -> int:
    """Collect the demonstrations, write them, and print what there is of each task."""
    from trace_robot.cli.progress import create_counter
    from trace_robot.dataset import demonstrate
    from trace_robot.env.registry import sets

    named = sets()
    tasks = list(dict.fromkeys(task for name in options.tasks for task in named.get(name, (name,))))
    policies, control = _policies(tasks, options)
    with create_counter(progress_console()) as progress:
        bars = {
            task: progress.add_task(task, total=options.episodes, note="", visible=False) for task in tasks
        }

        def advance(task: str, done: int, tried: int) -> None:
            finished = done >= options.episodes and len(tasks) > 1
            note = f"of {counted(tried, 'episode')}"
            progress.update(
                bars[task], completed=min(done, options.episodes), note=note, visible=not finished
            )

        drawing = progress.add_task("rounds drawn", total=None, note="", visible=bool(options.cameras))

        def draw(done: int, total: int) -> None:
            progress.update(drawing, completed=done, total=total)

        found = demonstrate(
            policies,
            options.out,
            to=options.to,
            episodes=options.episodes,
            seed=options.seed,
            cameras=options.cameras,
            size=options.size,
            recoveries=options.recoveries,
            control=options.control or control,
            options=environment_options(options),
            workers=options.workers,
            trusted=options.trust,
            on_progress=advance,
            on_drawn=draw,
        )
    if options.json:
        write_json(found.to_data())
    else:
        _print(found, options)
    few = [each for each in found.tasks if each.demonstrations < options.episodes]
    for each in few:
        write_error(
            f"{each.task} has {each.demonstrations} of {counted(options.episodes, 'demonstration')}, from"
            f" {counted(each.tried, 'episode')}"
        )
    return 0


def _policies(tasks: Sequence[str], options: argparse.Namespace) -> tuple[dict[str, Policy], str | None]:
    """Return the controller of each task, and the control mode of its run."""
    from trace_robot.bench.zoo import zoo
    from trace_robot.env.registry import environments
    from trace_robot.errors import unknown_environment
    from trace_robot.policy import load_policy

    if options.policy == ZOO:
        for task in tasks:
            if task not in environments():
                raise unknown_environment(task, environments())
        return {task: load_policy(name) for task, name in zoo(tasks=tasks).items()}, None
    found = find_run_or_policy(options.policy, runs_folder(options))
    if isinstance(found, str):
        return dict.fromkeys(tasks, load_policy(found)), None
    policy, control = _of_run(*found)
    return dict.fromkeys(tasks, policy), control


def _of_run(history: History, run: RunInfo) -> tuple[Policy, str]:
    """Return the best controller of the run that --policy names, and its control mode."""
    from trace_robot.policy import Policy
    from trace_robot.run.person import stored_header

    with history:
        header = stored_header(history, run)  # refuses what a stranger's run may not name
        iteration = select_iteration(run, history.iterations(run), None)
    name = f"{run.name}, iteration {iteration.number}"
    return Policy.from_text(iteration.controller, name), header.spec.control


def _print(found: DataSet, options: argparse.Namespace) -> None:
    out = console()
    failures = sum(each.failures for each in found.tasks)
    tried = sum(each.tried for each in found.tasks)
    if len(found.tasks) > 1 and not options.quiet:
        out.print(_table(found))
    out.print(
        f"{escape(str(found.folder))}: {TITLES[found.to]}, {counted(found.demonstrations, 'demonstration')} of"
        f" {counted(len(found.tasks), 'task')}, {found.frames:,} frames at {found.fps} Hz;"
        f" {failures} of {counted(tried, 'episode')} failed and are not kept"
    )
    if found.restored and not options.quiet:
        out.print(f"{found.restored} of the demonstrations were there already")


def _table(found: DataSet) -> Table:
    table = create_table("task", "demonstrations", "recoveries", "frames", "episodes", "failures")
    for each in found.tasks:
        numbers = each.demonstrations, each.recoveries, each.frames, each.tried, each.failures
        table.add_row(escape(each.task), *map(str, numbers))
    return table
