"""Writers for TensorBoard, MLflow and Weights & Biases, each with the tracker's own library."""

from __future__ import annotations

import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from trace_robot.errors import MissingExtraError, RunError
from trace_robot.export import Content, Step

# Of a video, which TensorBoard shows as an animated picture: frames, frames a second, columns of pixels.
FRAMES, RATE, WIDTH = 120, 10, 320
LONGEST_PARAMETER = 6_000  # characters that MLflow takes


def write_tensorboard(content: Content, out: Path) -> Path:
    """Write the event file of a run, in place of an older one.

    Args:
        content: of the run.
        out: the folder of event files.

    Returns:
        The folder.

    Raises:
        MissingExtraError: tensorboard is not installed.
        RunError: the file cannot be written.
    """
    try:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise MissingExtraError(
            "event files need tensorboard: pip install 'trace-robot[tensorboard]'"
        ) from error
    # TensorBoard merges all event files of a folder: an older export would show up as a second curve.
    for old in out.glob("events.out.tfevents.*"):
        old.unlink()
    writer = EventFileWriter(str(out))
    try:
        for step in content.steps:
            for value in _tensorboard_values(step):
                event = event_pb2.Event(wall_time=step.time, step=step.number)
                event.summary.value.append(value)
                writer.add_event(event)
        last = content.steps[-1] if content.steps else None
        for value in _ends(content):
            event = event_pb2.Event(wall_time=last.time if last else 0.0, step=last.number if last else 0)
            event.summary.value.append(value)
            writer.add_event(event)
    except OSError as error:
        raise RunError(
            f"cannot write {str(out)!r}: {error.strerror}; free some space or give another --out"
        ) from error
    finally:
        writer.close()
    return out


def _tensorboard_values(step: Step) -> list[Any]:
    values = [_scalar(name, number) for name, number in step.scalars.items()]
    values += [_text(name, text) for name, text in step.texts.items()]
    gif = None if step.video is None else animated(step.video)
    return values if gif is None else [*values, _video("episode", gif)]


def _ends(content: Content) -> list[Any]:
    settings_json = json.dumps(dict(content.settings), indent=2, default=str)
    return [
        *(_scalar(f"result/{name}", each) for name, each in content.results.items()),
        _text("settings", settings_json),
    ]


def _scalar(tag: str, number: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary.Value(tag=tag, simple_value=number)


def _text(tag: str, text: str) -> Any:
    """Return a text as an indented block, since TensorBoard reads Markdown."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING
    from tensorboard.plugins.text.metadata import create_summary_metadata

    block = "\n".join(f"    {line}" for line in text.splitlines())
    tensor = TensorProto(dtype=DT_STRING, string_val=[block.encode("utf-8", "backslashreplace")])
    return Summary.Value(tag=tag, metadata=create_summary_metadata(tag, ""), tensor=tensor)


def _video(tag: str, content: bytes) -> Any:
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary

    with Image.open(io.BytesIO(content)) as picture:
        width, height = picture.size
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=content)
    return Summary.Value(tag=tag, image=image)


def animated(path: Path) -> bytes | None:
    """Return a video as an animated GIF, None where it cannot be read."""
    from imageio_ffmpeg import get_ffmpeg_exe

    scale = f"fps={RATE},scale=w='min({WIDTH},iw)':h=-2"
    # Read as mp4 and nothing else: of a playlist with that name ffmpeg would open the files and addresses in it.
    source = ["-protocol_whitelist", "file", "-f", "mp4", "-i", f"file:{path.absolute()}"]
    command = [get_ffmpeg_exe(), "-nostdin", "-v", "error", *source, "-vf", scale]
    command += ["-frames:v", str(FRAMES), "-f", "gif", "-"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=120)
    except (
        OSError,
        subprocess.SubprocessError,
    ):  # a video that was cut short costs the picture, not the export
        return None
    return done.stdout


def write_mlflow(content: Content, out: Path) -> str:
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


def write_wandb(content: Content, out: Path) -> Path:
    """Write a run below a folder, for ``wandb sync``.

    WANDB_MODE=online uploads it.

    Args:
        content: of the run.
        out: where wandb makes its own folders.

    Returns:
        The folder of the run, which ``wandb sync`` takes.

    Raises:
        MissingExtraError: wandb is not installed.
        RunError: wandb or the file system refuses the run.
    """
    try:
        import wandb
    except ImportError as error:
        raise MissingExtraError(
            "Weights & Biases needs its client: pip install 'trace-robot[wandb]'"
        ) from error
    mode: Any = "online" if os.environ.get("WANDB_MODE") == "online" else "offline"
    out.mkdir(parents=True, exist_ok=True)
    try:
        run = wandb.init(
            project="trace-robot",
            name=content.name,
            group=content.task,
            mode=mode,
            dir=str(out),
            config=dict(content.settings),
            # wandb would otherwise print a banner and record this process's output.
            settings=wandb.Settings(silent=True, console="off"),
        )
        for step in content.steps:
            logged: dict[str, Any] = dict(step.scalars)
            logged |= {name: wandb.Html(_page(text), inject=False) for name, text in step.texts.items()}
            if step.video is not None:
                logged["episode"] = wandb.Video(str(step.video), format="mp4")
            run.log(logged, step=step.number)
        run.summary.update({f"result/{name}": value for name, value in content.results.items()})
        folder = Path(run.dir)
        run.finish(exit_code=0 if content.finished else 1)
    except (wandb.Error, OSError) as error:
        raise RunError(f"Weights & Biases does not take the run: {error}") from error
    return folder.parent


def _page(text: str) -> str:
    from html import escape

    return f'<meta charset="utf-8"><pre>{escape(text)}</pre>'


WRITERS = {"tensorboard": write_tensorboard, "mlflow": write_mlflow, "wandb": write_wandb}
