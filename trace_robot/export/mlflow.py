"""Export to MLflow: to the server of MLFLOW_TRACKING_URI, else to a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from trace_robot.errors import MissingExtraError, RunError
from trace_robot.export import Content

LONGEST_PARAMETER = 6_000  # characters that MLflow takes


def write(content: Content, out: Path) -> str:
    """Write a run and return where.

    Args:
        content: of the run.
        out: the folder to write to where MLFLOW_TRACKING_URI names no server.

    Returns:
        The address of the server, or of the folder.

    Raises:
        MissingExtraError: MLflow is not installed.
        RunError: MLflow or the file system refuses the run.
    """
    try:
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise MissingExtraError("MLflow needs its client: pip install 'trace-robot[mlflow]'") from error
    address = os.environ.get("MLFLOW_TRACKING_URI") or out.resolve().as_uri()
    if address.startswith("file:"):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # its databases need more than the client
    try:
        client = MlflowClient(tracking_uri=address)
        known = client.get_experiment_by_name(content.task)
        experiment = known.experiment_id if known else client.create_experiment(content.task)
        run = client.create_run(experiment, run_name=content.name).info.run_id
        metrics = _metrics(content)
        for first in range(0, len(metrics), 1000):  # MLflow takes no more at once
            client.log_batch(run, metrics=metrics[first : first + 1000])
        parameters = [Param(name, str(value)[:LONGEST_PARAMETER]) for name, value in content.settings.items()]
        client.log_batch(run, params=parameters[:100])  # as many as it takes at once; a run has fewer
        for step in content.steps:
            for name, text in step.texts.items():
                client.log_text(run, text, f"iterations/{step.number:03d}/{name}.txt")
            if step.video is not None:
                client.log_artifact(run, str(step.video), f"iterations/{step.number:03d}")
        client.set_terminated(run, "FINISHED" if content.finished else "KILLED")
    except (MlflowException, OSError) as error:
        raise RunError(f"MLflow at {address!r} does not take the run: {error}") from error
    return address


def _metrics(content: Content) -> list[Any]:
    """Return the scalars of every iteration, and the results at the last one."""
    from mlflow.entities import Metric

    metrics = [
        Metric(name, value, round(1000 * step.time), step.number)
        for step in content.steps
        for name, value in step.scalars.items()
    ]
    if content.steps:
        last = content.steps[-1]
        metrics += [
            Metric(f"result/{name}", value, round(1000 * last.time), last.number)
            for name, value in content.results.items()
        ]
    return metrics
