"""``report`` a run as HTML, ``watch`` runs, ``export`` to a tracker."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trace_robot.cli.arguments import add_output, add_run
from trace_robot.cli.console import console, counted, escape, safe, write_error, write_json
from trace_robot.cli.parser import Commands, add_command
from trace_robot.cli.runs import find_run, runs_folder
from trace_robot.errors import RunError

if TYPE_CHECKING:
    from types import FrameType

    from trace_robot.report.server import Watch

# By tracker, what to do next; trace_robot.export.trackers has a writer for each.
TRACKERS = {
    "tensorboard": "look with: tensorboard --logdir {}",
    "mlflow": "look with: MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri {}",
    "wandb": "upload with: wandb sync {}",
}


def add_report(commands: Commands) -> None:
    """Add ``report``."""
    command = add_command(
        commands,
        "report",
        "write a run as a page to look at",
        "Write a run as a page that opens from disk and needs no network: learning curves, every change of\n"
        "the controller beside its feedback and the model's reasoning, videos, paths, costs, how to repeat it.",
        examples=[
            ("trace-robot report demo", "a folder to open in a browser"),
            ("trace-robot report demo --single-file --out demo.html", "one file to send to others"),
        ],
    )
    command.set_defaults(execute=execute_report)
    add_run(command)
    command.add_argument(
        "--out", metavar="FILE|DIR", help="where (default: report, or report.html, in the run's folder)"
    )
    command.add_argument(
        "--single-file", action="store_true", help="one HTML file with everything in it, to send to others"
    )
    add_output(command)


def execute_report(options: argparse.Namespace) -> int:
    """Write a run's HTML report and print where."""
    from trace_robot.report.write import write_report

    history, run = find_run(options.run, runs_folder(options))
    with history:
        path = Path(options.out) if options.out else None
        report = write_report(history, run, path, single=options.single_file)
    if options.json:
        write_json({"report": str(report.path), "bytes": report.size, "videos": report.videos})
    elif options.quiet:
        console().print(safe(str(report.path)), markup=False)
    else:
        size = f"{report.size / 1e6:.1f} MB, {report.videos} video{'' if report.videos == 1 else 's'}"
        console().print(f"{escape(str(report.path))}: {size}; open it in a browser")
    return 0


def add_watch(commands: Commands) -> None:
    """Add ``watch``."""
    command = add_command(
        commands,
        "watch",
        "show running and finished runs in a browser",
        "Serve the list of runs and the page of each on this machine's own address; a page follows its run.",
        examples=[
            ("trace-robot watch --open", "the runs of rollouts/runs in the browser, as they go on"),
        ],
    )
    command.set_defaults(execute=execute_watch)
    command.add_argument(
        "runs", nargs="?", default="rollouts/runs", metavar="RUNS_DIR", help="default rollouts/runs"
    )
    command.add_argument(
        "--port", type=port_number, default=8765, metavar="N", help="0 for a free one (default 8765)"
    )
    command.add_argument("--open", action="store_true", help="open it in the browser")


def port_number(text: str) -> int:
    """Return a TCP port, 0 for one that the system chooses."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 65535, got {text!r}")
    return int(text)


def execute_watch(options: argparse.Namespace) -> int:
    """Serve the pages of a folder of runs until Ctrl-C."""
    from trace_robot.report.server import Watch

    if not Path(options.runs).is_dir():
        write_error(f"note: there is no folder {options.runs!r} yet; its runs are shown once it is there")
    with Watch(Path(options.runs), options.port) as server, _ended_by_interrupt(server):
        console().print(f"{escape(options.runs)}: {server.url}  (Ctrl-C ends it)")
        if options.open:
            # After the server has its port, so that the browser does not find it closed.
            import webbrowser

            webbrowser.open(server.url)
        server.serve_forever()
    return 0


@contextmanager
def _ended_by_interrupt(server: Watch) -> Iterator[None]:
    """Let Ctrl-C end the server between two requests.

    A handler is installed, rather than KeyboardInterrupt caught, because a shell starts background processes with
    SIGINT ignored; Python then raises nothing.
    """
    import signal
    import threading

    def end(_number: int, _frame: FrameType | None) -> None:
        # ``shutdown`` waits for serve_forever, which runs in this very thread, so another thread must call it.
        threading.Thread(target=server.shutdown, daemon=True).start()

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def add_export(commands: Commands) -> None:
    """Add ``export``."""
    command = add_command(
        commands,
        "export",
        "hand a run over to TensorBoard, MLflow or Weights & Biases",
        "Write a run's scalars, texts and videos for an experiment tracker; each needs its extra:\n"
        "pip install 'trace-robot[tensorboard]', 'trace-robot[mlflow]' or 'trace-robot[wandb]'.",
        examples=[
            ("trace-robot export demo --to tensorboard", "event files in the run's folder"),
        ],
    )
    command.set_defaults(execute=execute_export)
    add_run(command)
    # Spelled out rather than found in trace_robot.export, which --help does not import.
    command.add_argument("--to", required=True, choices=tuple(TRACKERS), help="the tracker")
    command.add_argument(
        "--out", metavar="DIR", help="where (default: a folder of the tracker's name in the run's folder)"
    )
    add_output(command)


def execute_export(options: argparse.Namespace) -> int:
    """Write a run for an experiment tracker and print how to look at it."""
    from trace_robot.export import content
    from trace_robot.export.trackers import WRITERS
    from trace_robot.safe_files import require_own

    history, run = find_run(options.run, runs_folder(options))
    with history:
        exported = content(history, run)
    out = Path(options.out) if options.out else run.folder / options.to
    if not options.out:
        try:
            require_own(run.folder)
        except OSError as error:
            raise RunError(f"cannot write {error.filename!r}: {error.strerror}; give --out DIR") from error
    where = str(WRITERS[options.to](exported, out))
    if options.json:
        write_json({"to": options.to, "where": where, "iterations": len(exported.steps)})
    elif options.quiet:
        console().print(safe(where), markup=False)
    else:
        count = counted(len(exported.steps), "iteration")
        console().print(f"{escape(where)}: {count}; {escape(TRACKERS[options.to].format(where))}")
    return 0
