"""``bench``: measure an optimizer on many tasks and seeds under one protocol."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.cli.arguments import (
    add_ablations,
    add_budget,
    add_endpoint,
    add_output,
    add_workers,
    non_negative_integer,
    positive_integer,
)
from trace_robot.cli.console import console, counted, escape, progress_console, write_error, write_json
from trace_robot.cli.parser import Commands, add_command
from trace_robot.cli.runs import RUNS
from trace_robot.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from trace_robot.bench import Finished, Plan, ResultRow, Running
    from trace_robot.run.loop import Progressed
    from trace_robot.spec import TaskSpec
    from trace_robot.stats import Score


def add_bench(commands: Commands) -> None:
    """Add ``bench``."""
    command = add_command(
        commands,
        "bench",
        "measure an optimizer on many tasks, resumably",
        "Optimize on many tasks and seeds under one protocol; write results.jsonl, table.md and plot.svg.\n"
        "A finished run is never done again: the same command goes on where it was stopped.",
        examples=[
            ("trace-robot bench --tasks mt10 --seconds 60", "ten tasks; the same command again goes on"),
            (
                "trace-robot bench --tasks reach-v3,push-v3 --seeds 0-4 --steps 1e5",
                "two tasks, five seeds each, by simulator steps",
            ),
            (
                "trace-robot bench --optimizer optoprime --tasks mt10 --pack mt10.jsonl.gz",
                "measure a model, and keep all its answers in one file",
            ),
            (
                "trace-robot bench --optimizer optoprime --tasks mt10 --replay mt10.jsonl.gz",
                "the same runs from these answers: real rollouts, no model",
            ),
        ],
    )
    command.set_defaults(execute=execute_bench)
    command.add_argument(
        "--tasks",
        default="paper",
        metavar="NAME,..",
        help="tasks, or sets (default paper): paper, mt10, mt50 of Meta-World; locomotion, the seven MuJoCo robots that"
        " move; classic, gymnasium's classic control and small MuJoCo arms; fetch, the Fetch arm's four; box2d, the"
        " walker and the lander; or a set of a file in envs/",
    )
    command.add_argument(
        "--optimizer",
        choices=("search", "optoprime", "opro"),
        default="search",
        help="what is measured (default search)",
    )
    command.add_argument(
        "--protocol",
        choices=("standard", "paper", "robust"),
        default="standard",
        help="standard: 500 steps, 5 training conditions, 25 more to confirm, 50 held-out ones; paper: pose control,"
        " 10 decisions, 1, none and 10, 10 seeds, at most 10 iterations of a model for reach and 30 for the others;"
        " robust: as standard, in worlds that differ, where success must last, 12, 15 and 50 conditions",
    )
    command.add_argument(
        "--seeds", type=_seed_list, metavar="S,..", help="e.g. 0,1,2 or 0-9 (default: the protocol's)"
    )
    add_budget(command)
    command.add_argument(
        "--iterations", type=positive_integer, metavar="N", help="in place of the protocol's"
    )
    command.add_argument(
        "--policy",
        default="do_nothing",
        metavar="NAME|FILE",
        help="where every run starts (default do_nothing)",
    )
    add_workers(command)
    command.add_argument("--out", metavar="DIR", help="default rollouts/runs/bench-PROTOCOL-OPTIMIZER")
    command.add_argument(
        "--zoo", metavar="DIR", help="then write the best controller of each task there, e.g. policies/zoo"
    )
    add_endpoint(command)
    add_ablations(command)
    command.add_argument(
        "--pack",
        metavar="FILE",
        help="then write every answer that the model gave in these runs to FILE, compressed if it ends in .gz",
    )
    command.add_argument(
        "--replay",
        metavar="FILE",
        help="answer from a file that --pack wrote, with real rollouts and no model; results go to a folder that ends"
        " in -replay",
    )
    command.add_argument(
        "--in-order",
        action="store_true",
        help="with --replay: a prompt whose text has changed since gets the run's next answer, not an error",
    )
    add_output(command)


def _seed_list(text: str) -> tuple[int, ...]:
    """Return the seeds of "0,1,2", "0-9" or a mix of both, each once, in order."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(non_negative_integer(first), non_negative_integer(last or first) + 1)
    if not seeds:
        raise argparse.ArgumentTypeError(f"must name at least one seed, got {text!r}")
    return tuple(dict.fromkeys(seeds))


def execute_bench(options: argparse.Namespace) -> int:
    """Do the runs that are missing in the results, then write table, plot and zoo."""
    from dataclasses import asdict

    from trace_robot.bench.report import markdown, write_report
    from trace_robot.bench.results import BROKEN, ROWS
    from trace_robot.bench.run import bench, name_of, pack_answers
    from trace_robot.bench.zoo import write_zoo

    _require_answers(options)
    plan = _plan(options)
    folder = Path(options.out) if options.out else _default_folder(plan, replay=bool(options.replay))
    progress = _BenchProgress(progress_console(), plan, folder)
    out = progress.out
    try:
        with progress.bar:
            replay = Path(options.replay) if options.replay else None
            asked: dict[str, Any] = {"model": options.model, "base_url": options.base_url}
            asked |= {"replay": replay, "in_order": options.in_order}
            rows = bench(plan, folder, observe=progress.show, **asked)
    except KeyboardInterrupt:
        out.print(f"stopped; the same command goes on after the runs in {escape(str(folder))}")
        raise
    finally:
        # Also after Ctrl-C or an error: the table and the plot then show the rows that are there.
        written = write_report(folder) if (folder / ROWS).is_file() else ()
    if options.json:
        write_json([asdict(row) for row in rows])
    else:
        console().print(f"\n{markdown(rows)}", markup=False)
    for path in (folder / ROWS, *written):
        out.print(f"written  {escape(str(path))}")
    if options.pack:
        count = pack_answers(folder, list(map(name_of, plan.keys())), Path(options.pack))
        out.print(f"answers  {escape(options.pack)}, {counted(count, 'exchange')}")
    if options.zoo:
        files = write_zoo(rows, folder, Path(options.zoo), workers=plan.workers, trusted=plan.trusted)
        out.print(f"zoo      {escape(options.zoo)}, {counted(len(files), 'controller')}")
    broken = [row for row in rows if row.ended.startswith(BROKEN)]
    for row in broken:
        write_error(f"error: {row.task}, seed {row.seed}: {row.ended}")
    return 1 if broken else 0


def _require_answers(options: argparse.Namespace) -> None:
    """Refuse --pack and --replay where no model is asked, or another answers."""
    for option in ("pack", "replay"):
        if getattr(options, option) and options.optimizer == "search":
            raise UsageError(f"the optimizer search asks no model; leave --{option} out, or give --optimizer")
    if options.in_order and not options.replay:
        raise UsageError("--in-order is of --replay FILE; give both, or neither")
    for option, value in (("model", options.model), ("base-url", options.base_url), ("pack", options.pack)):
        if options.replay and value:
            raise UsageError(f"--replay answers in place of a model; leave --{option} out")


def _plan(options: argparse.Namespace) -> Plan:
    from trace_robot.bench.results import PROTOCOLS, Plan, select

    return Plan(
        tasks=select(options.tasks.split(",")),
        optimizer=options.optimizer,
        protocol=options.protocol,
        seeds=options.seeds or PROTOCOLS[options.protocol].seeds,
        feedback=options.feedback,
        seconds=options.seconds,
        steps=options.steps,
        iterations=options.iterations,
        policy=options.policy,
        workers=options.workers,
        trusted=options.trust,
        memory=options.memory,
        graph=not options.no_graph,
    )


def _default_folder(plan: Plan, *, replay: bool = False) -> Path:
    level = "" if plan.feedback == "outcome" else f"-{plan.feedback}"
    memory = "" if plan.memory is None else f"-memory{plan.memory}"
    shown = f"{memory}{'-no-graph' * (not plan.graph)}{'-replay' * replay}"
    return RUNS / f"bench-{plan.protocol}-{plan.optimizer}{level}{shown}"


class _BenchProgress:
    """Prints a line a finished run, with one live line below for the run that goes on."""

    def __init__(self, out: Console, plan: Plan, folder: Path) -> None:
        from trace_robot.cli.progress import create_counter

        self.out = out
        self._spec: TaskSpec | None = None  # of the run that goes on
        self.bar = create_counter(out, "runs")
        total = len(list(plan.keys()))
        self._task = self.bar.add_task("", total=total, note="")
        out.print(
            f"[bold]{counted(total, 'run')}[/bold]  optimizer {plan.optimizer}, protocol {plan.protocol}, feedback"
            f" level {plan.feedback}; results in {escape(str(folder))}"
        )

    def show(self, event: Running | Finished) -> None:
        """Print a finished run, or update the live line."""
        from trace_robot.bench.run import Finished
        from trace_robot.run.loop import Progressed, Started

        if isinstance(event, Finished):
            self._show_row(event.row, event.done, event.total, event.left)
        elif isinstance(event.event, Started):
            self._spec = event.event.spec
        elif isinstance(event.event, Progressed):
            progressed = event.event
            best = f"  best {self._brief(progressed)}" if progressed.best is not None else ""
            self.bar.update(
                self._task,
                description=f"{event.key[0]} seed {event.key[1]}",
                completed=event.number - 1,  # runs that are finished; this one is not
                note=f"{progressed.candidates} tried{best}  {progressed.stage}",
            )

    def _brief(self, progressed: Progressed) -> str:
        from trace_robot.rollout.episode import score_of

        assert progressed.best is not None
        return score_of(progressed.best.episodes, self._spec).brief

    def _show_row(self, row: ResultRow, done: int, total: int, left: float) -> None:
        self.bar.update(self._task, completed=done)
        self.out.print(
            f"{done:>4}/{total}  {row.task:28} seed {row.seed:<3} {_shown(row.score)}  {row.candidates:>7,} tried"
            f"  {row.wall_seconds:>5.0f} s  {_hours_and_minutes(left)} left",
            style="green" if row.success >= 0.9 else "",
        )


def _shown(score: Score) -> str:
    return score.brief if score.brief.startswith("return") else f"success {score.brief}"


def _hours_and_minutes(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
