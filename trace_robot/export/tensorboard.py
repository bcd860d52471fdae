"""Export to TensorBoard: an event file, by tensorboard's own writer."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

from trace_robot.errors import MissingExtraError, RunError
from trace_robot.export import Content, Step

FRAMES, RATE, WIDTH = 120, 10, 320  # of a video, which TensorBoard shows as an animated picture


def write(content: Content, out: Path) -> Path:
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
            for value in _values(step):
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


def _values(step: Step) -> list[Any]:
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
