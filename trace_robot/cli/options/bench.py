"""What can be typed after ``bench``."""

from __future__ import annotations

from trace_robot.cli.options.shared import (
    Commands,
    add_command,
    budget,
    count,
    endpoint,
    output,
    seeds,
    workers,
)


def bench(commands: Commands) -> None:
    command = add_command(
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
        "--seeds", type=seeds, metavar="S,..", help="e.g. 0,1,2 or 0-9 (default: the protocol's)"
    )
    budget(command)
    command.add_argument("--iterations", type=count, metavar="N", help="in place of the protocol's")
    command.add_argument("--policy", default="do_nothing", metavar="NAME|FILE", help="where every run starts")
    workers(command)
    command.add_argument("--out", metavar="DIR", help="default rollouts/runs/bench-PROTOCOL-OPTIMIZER")
    command.add_argument(
        "--zoo", metavar="DIR", help="then write the best controller of each task there, e.g. policies/zoo"
    )
    endpoint(command)
    output(command)
