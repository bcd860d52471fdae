"""A run as TensorBoard event files, by tensorboard's own writer."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from trace_robot.errors import MissingExtraError, RunError
from trace_robot.run.track.content import Content, Step

FRAMES, WIDTH = 60, 320  # of a video, which TensorBoard shows as an animated picture


def write(content: Content, out: Path) -> Path:
    """Write the event file of a run to ``out``, in place of an older one, and return the folder."""
    try:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise MissingExtraError(
            "event files need tensorboard: pip install 'trace-robot[tensorboard]'"
        ) from error
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
    return values if step.video is None else [*values, _video("episode", step.video)]


def _ends(content: Content) -> list[Any]:
    about = json.dumps(dict(content.settings), indent=2, default=str)
    return [
        *(_scalar(f"result/{name}", each) for name, each in content.results.items()),
        _text("settings", about),
    ]


def _scalar(tag: str, number: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary.Value(tag=tag, simple_value=number)


def _text(tag: str, text: str) -> Any:
    """Return a text as a block of code: TensorBoard reads texts as Markdown."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING
    from tensorboard.plugins.text.metadata import create_summary_metadata

    block = "\n".join(f"    {line}" for line in text.splitlines())
    tensor = TensorProto(dtype=DT_STRING, string_val=[block.encode("utf-8", "backslashreplace")])
    return Summary.Value(tag=tag, metadata=create_summary_metadata(tag, ""), tensor=tensor)


def _video(tag: str, path: Path) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    content, width, height = animated(path)
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=content)
    return Summary.Value(tag=tag, image=image)


def animated(path: Path) -> tuple[bytes, int, int]:
    """Return a video as an animated GIF of at most FRAMES frames, and its width and height."""
    import imageio_ffmpeg
    from PIL import Image

    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    frames = [Image.frombytes("RGB", meta["size"], frame) for frame in reader]
    every = max(1, -(-len(frames) // FRAMES))
    for frame in frames:
        frame.thumbnail((WIDTH, WIDTH))
    buffer = io.BytesIO()
    frames[0].save(
        buffer, format="GIF", save_all=True, append_images=frames[every::every], loop=0,
        duration=round(1000 * every / meta["fps"]),
    )  # fmt: skip
    return buffer.getvalue(), frames[0].width, frames[0].height
