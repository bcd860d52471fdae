"""What can be typed after ``report``, ``watch`` and ``export``."""

from __future__ import annotations

from trace_robot.cli.options.shared import Commands, add_command, output, port, run


def report(commands: Commands) -> None:
    command = add_command(
        commands, "report", "write a run as a page to look at",
        "Write a run as a page that opens from disk and needs no network: learning curves, every change of\n"
        "the controller beside its feedback and the model's reasoning, videos, paths, costs, how to repeat it.",
    )  # fmt: skip
    run(command)
    command.add_argument(
        "--out", metavar="FILE|DIR", help="where (default: report, or report.html, in the run's folder)"
    )
    command.add_argument(
        "--single-file", action="store_true", help="one HTML file with everything in it, to send to somebody"
    )
    output(command)


def watch(commands: Commands) -> None:
    command = add_command(
        commands, "watch", "show running and finished runs in a browser",
        "Serve the list of runs and the page of each on this machine's own address; a page follows its run.",
    )  # fmt: skip
    command.add_argument(
        "runs", nargs="?", default="rollouts/runs", metavar="RUNS_DIR", help="default rollouts/runs"
    )
    command.add_argument(
        "--port", type=port, default=8765, metavar="N", help="0 for a free one (default 8765)"
    )
    command.add_argument("--open", action="store_true", help="open it in the browser")


def export(commands: Commands) -> None:
    command = add_command(
        commands, "export", "hand a run over to TensorBoard, MLflow or Weights & Biases",
        "Write a run's scalars, texts and videos for an experiment tracker; each needs its extra:\n"
        "pip install 'trace-robot[tensorboard]', 'trace-robot[mlflow]' or 'trace-robot[wandb]'.",
    )  # fmt: skip
    run(command)
    command.add_argument("--to", required=True, choices=("tensorboard", "mlflow", "wandb"))
    command.add_argument(
        "--out", metavar="DIR", help="where (default: a folder of the tracker's name in the run's folder)"
    )
    output(command)
