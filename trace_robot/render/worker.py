"""The process that renders: folders of jobs come in by standard input, one JSON line each goes out.

``python -m trace_robot.render.worker BACKEND [FOLDER]`` serves jobs until the input ends, then removes the
folder of jobs; with ``--probe`` it draws one small picture instead. MUJOCO_GL is set by whoever starts it.
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
from trace_robot.render.job import QUALITIES, RenderJob, unpack

if TYPE_CHECKING:
    from trace_robot.render.painters import RendererPool


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    send = private_stdout()
    if hasattr(os, "nice"):
        os.nice(10)  # rollouts come first
    backend = arguments[0]
    if "--probe" in arguments:
        from trace_robot.render.painters import describe_gl

        send({"drawn_by": describe_gl()})
        return 0
    from trace_robot.render.painters import RendererPool

    try:
        with RendererPool() as workshop:
            for line in sys.stdin:
                send(answer(Path(json.loads(line)), backend, workshop))
    finally:  # reached where whoever started this went without a word, else it was ended and all is tidy
        for folder in arguments[1:]:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def answer(folder: Path, backend: str, workshop: RendererPool) -> dict[str, Any]:
    """Do the job in the folder and return what came of it: an ``error`` in one line, or what was drawn."""
    try:
        return draw(unpack(folder), folder, backend, workshop)
    except TraceRobotError as error:
        return {"error": str(error)}
    except OSError as error:
        return {"error": f"cannot write it: {error.strerror or error}"}
    except MemoryError:
        return {"error": "not enough memory to draw this; choose a smaller size"}
    except Exception as error:  # the job's data may be anything; the next job must still be served
        return {"error": f"rendering failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def draw(job: RenderJob, folder: Path, backend: str, workshop: RendererPool) -> dict[str, Any]:
    """Draw the job's picture or video, write it, and return its ``frames``, ``size`` and ``notes``."""
    from trace_robot.render import encode, layout
    from trace_robot.render.caption import band_height

    band = band_height(job.clips, job.size)
    canvas = layout.Canvas(job.size, band, job.quality, job.fps, backend, workshop)
    draft = folder / f"draft{job.path.suffix}"
    frames, size = 1, job.size
    if job.layout == "grid":
        picture = layout.grid(job.clips, canvas, moments=job.moments, columns=job.columns)
        size = (picture.shape[1], picture.shape[0])
        encode.write_png(draft, picture)
    else:
        together = job.layout == "beside"
        size = (job.size[0] * len(job.clips), job.size[1]) if together else job.size
        pictures = layout.beside(job.clips, canvas) if together else layout.in_turn(job.clips, canvas)
        rate_factor = QUALITIES[job.quality].rate_factor
        frames = encode.write_mp4(draft, pictures, size=size, fps=job.fps, rate_factor=rate_factor)
    encode.publish(draft, job.path)
    return {"frames": frames, "size": size, "notes": canvas.notes}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
