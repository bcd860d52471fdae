"""The rendering process: folders of jobs on standard input, JSON lines out.

``python -m trace_robot.render.worker BACKEND [FOLDER]`` serves jobs until the input ends, then removes the folder of
jobs; with ``--probe`` it draws one small picture instead. MUJOCO_GL is set by the process that starts it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.child_process import private_stdout
from trace_robot.errors import TraceRobotError
from trace_robot.render.job import QUALITIES, RenderJob

if TYPE_CHECKING:
    from trace_robot.render.renderers import RendererPool


def main(arguments: list[str]) -> int:
    """Serve jobs, or probe the GL library, and return the exit code."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches both processes; the parent decides when to stop
    send = private_stdout()
    if hasattr(os, "nice"):
        os.nice(10)  # rollouts come first
    backend = arguments[0]
    from trace_robot.render.renderers import (
        RendererPool,
        describe_gl,
    )  # MuJoCo, whose GL library may fail to load

    if "--probe" in arguments:
        send({"drawn_by": describe_gl()})
        return 0
    try:
        with RendererPool() as pool:
            for line in sys.stdin:
                send(answer(Path(json.loads(line)), backend, pool))
    finally:  # the input also ends where the parent was killed, which then cannot remove the folder
        for folder in arguments[1:]:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def answer(folder: Path, backend: str, pool: RendererPool) -> dict[str, Any]:
    """Do a job and return what was drawn, or what went wrong.

    Args:
        folder: where the job was saved.
        backend: what draws in this process.
        pool: where renderers come from.

    Returns:
        ``{"error": one line}``, or what ``draw`` returns.
    """
    try:
        return draw(RenderJob.load(folder), folder, backend, pool)
    except TraceRobotError as error:
        return {"error": str(error)}
    except OSError as error:
        return {"error": f"cannot write it: {error.strerror or error}"}
    except MemoryError:
        return {"error": "not enough memory to draw this; choose a smaller size"}
    except (
        Exception
    ) as error:  # a model, or an environment that draws itself, may raise anything; the next job waits
        return {"error": f"rendering failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def draw(job: RenderJob, folder: Path, backend: str, pool: RendererPool) -> dict[str, Any]:
    """Draw a job's picture or video, and put the file in its place.

    Args:
        job: what to draw.
        folder: for a draft, so that a failure leaves an older file as it was.
        backend: what draws in this process.
        pool: where renderers come from.

    Returns:
        The number of ``frames``, the ``size`` in pixels, what it was ``drawn_by`` and the ``notes`` for a viewer.

    Raises:
        RenderError: something of the job cannot be drawn.
        OSError: the file cannot be written.
    """
    from trace_robot.render import encode, layout
    from trace_robot.render.caption import band_height

    band = 0 if job.layout == "frames" else band_height(job.clips, job.size)
    canvas = layout.Canvas(job.size, band, job.quality, job.fps, backend, pool)
    draft = folder / f"draft{job.path.suffix}"
    frames, size = 1, job.size
    if job.layout == "grid":
        picture = layout.grid(job.clips, canvas, moments=job.moments, columns=job.columns)
        size = (picture.shape[1], picture.shape[0])
        encode.write_png(draft, picture)
    elif job.layout == "frames":
        pictures = layout.frames(job.clips, canvas)
        frames = sum(len(clip.states) for clip in job.clips)
        if job.path.suffix == ".npy":
            encode.write_npy(draft, pictures, shape=(frames, size[1], size[0], 3))
        else:
            finer, keys = encode.DATA_RATE_FACTOR, encode.DATA_KEYFRAMES
            encode.write_mp4(draft, pictures, size=size, fps=job.fps, rate_factor=finer, keyframes=keys)
    else:
        beside = job.layout == "beside"
        size = (job.size[0] * len(job.clips), job.size[1]) if beside else job.size
        pictures = layout.beside(job.clips, canvas) if beside else layout.in_turn(job.clips, canvas)
        rate_factor = QUALITIES[job.quality].rate_factor
        frames = encode.write_mp4(draft, pictures, size=size, fps=job.fps, rate_factor=rate_factor)
    encode.publish(draft, job.path)
    return {
        "frames": frames,
        "size": size,
        "drawn_by": " and ".join(sorted(canvas.drawn_by)),
        "notes": canvas.notes,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
