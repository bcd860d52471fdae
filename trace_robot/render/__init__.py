"""Pictures and videos of episodes, from recorded states, in another process.

Nothing that this imports loads MuJoCo: the rendering process alone does, since importing it chooses a GL library.
"""

from trace_robot.render.job import Clip, RenderJob, VideoInfo, clip_of, outcome_text
from trace_robot.render.process import (
    BACKENDS,
    RenderBackend,
    RenderFailure,
    RenderProcess,
    choose_backend,
    probe,
)
from trace_robot.render.video import (
    PictureOptions,
    VideoOptions,
    picture_job,
    render,
    render_picture,
    render_side_by_side,
    video_job,
)

__all__ = [
    "BACKENDS",
    "Clip",
    "PictureOptions",
    "RenderBackend",
    "RenderFailure",
    "RenderJob",
    "RenderProcess",
    "VideoInfo",
    "VideoOptions",
    "choose_backend",
    "clip_of",
    "outcome_text",
    "picture_job",
    "probe",
    "render",
    "render_picture",
    "render_side_by_side",
    "video_job",
]
