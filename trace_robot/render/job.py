"""What to draw, how well, and what came of it: plain data for the caller and the process that renders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from trace_robot.errors import RenderError
from trace_robot.spec import Array, Scene, States

if TYPE_CHECKING:
    from trace_robot.rollout.episode import Episode
import json
from collections.abc import Mapping
from typing import Any

QualityName = Literal["fast", "high"]
HOLD_SECONDS = 0.4
LONGEST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording and what to write below it.

    caption: lines such as the task and the iteration, at most three are shown; outcome: the ending in words;
    success: the colour of the outcome, None for neither good nor bad. The texts may come from anywhere.
    """

    scene: Scene
    states: States
    caption: tuple[str, ...] = ()
    outcome: str = ""
    success: bool | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """How much work a picture may be.

    samples: of each pixel, for smooth edges. shadows: the side of the shadow map, 0 for neither shadows nor
    reflections. rate_factor: of the video, smaller is finer. rays: rays per pixel, along each side.
    """

    size: tuple[int, int]
    samples: int
    shadows: int
    rate_factor: int
    rays: float


QUALITIES: dict[QualityName, Quality] = {
    "fast": Quality(size=(320, 240), samples=0, shadows=0, rate_factor=26, rays=0.5),
    "high": Quality(size=(640, 480), samples=4, shadows=2048, rate_factor=20, rays=0.5),
}


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """A file that was written: its size in pixels, what drew it, and notes on what a viewer should know."""

    path: Path
    size: tuple[int, int]
    frames: int
    fps: float
    backend: str
    file_bytes: int
    render_seconds: float
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


def clip_of(episode: Episode, *caption: str) -> Clip:
    """Return the clip of an episode that was rolled out with ``record=True``.

    Raises:
        RenderError: the episode brought no states.
    """
    if episode.scene is None or episode.states is None or not len(episode.states):
        raise RenderError(
            f"the episode of seed {episode.seed} holds no states to draw; record them (record=True)"
        )
    return Clip(episode.scene, episode.states, caption, outcome_of(episode), episode.success)


def outcome_of(episode: Episode) -> str:
    """Return how the episode ended, in a few words."""
    if episode.ended == "success":
        return f"success after {episode.steps} steps"
    if episode.ended == "time":
        return f"no success in {episode.steps} steps"
    if episode.ended == "terminated":
        return f"ended without success after {episode.steps} steps"
    return f"error: {episode.fault.category}" if episode.fault is not None else "error"


def timeline(seconds: Array, fps: float, *, hold: float = HOLD_SECONDS) -> tuple[list[int], int, float]:
    """Choose the recorded frames to show: their indices, how many of them hold the last one, and the speed.

    Played at the speed of the recording, or faster where it lasts more than ``LONGEST_SECONDS``.
    """
    elapsed = np.maximum.accumulate(seconds - seconds[0])
    span = float(elapsed[-1])
    speed = max(1.0, span / LONGEST_SECONDS)
    ticks = np.arange(int(np.floor(span / speed * fps + 1e-6)) + 1) * speed / fps
    shown = np.searchsorted(elapsed, ticks - 1e-6).clip(0, len(elapsed) - 1).tolist()
    last = len(elapsed) - 1
    held = max(1, round(hold * fps))
    return [*shown, *[last] * held], held, speed


def moments_of(frames: int, moments: int | Sequence[float]) -> list[int]:
    """Return the indices of key frames: so many, evenly spread, or fractions from 0 (first) to 1 (last)."""
    if isinstance(moments, int):
        moments = [1.0] if moments == 1 else np.linspace(0.0, 1.0, moments).tolist()
    return [round(float(moment) * (frames - 1)) for moment in moments]


Layout = Literal["in turn", "beside", "grid"]
STATES = ("qpos", "mocap_pos", "mocap_quat", "seconds")


@dataclass(frozen=True, slots=True)
class RenderJob:
    """What to draw from the clips and where to write it; ``moments`` and ``columns`` are for a grid."""

    clips: tuple[Clip, ...]
    path: Path
    layout: Layout
    size: tuple[int, int]
    quality: QualityName
    fps: float = 25.0
    moments: int | tuple[float, ...] = 1
    columns: int = 1


def pack(job: RenderJob, folder: Path) -> None:
    """Write the job into the folder, which must exist."""
    arrays: dict[str, Array] = {}
    for number, clip in enumerate(job.clips):
        for name in STATES:
            arrays[f"{number}.{name}"] = _numbers(name, getattr(clip.states, name))
        for name, array in clip.scene.model_arrays.items():
            arrays[f"{number}.model.{name}"] = _numbers(name, array)
    description = {
        "clips": [_clip_data(clip) for clip in job.clips],
        "path": str(job.path.absolute()),
        "layout": job.layout,
        "size": job.size,
        "quality": job.quality,
        "fps": job.fps,
        "moments": job.moments,
        "columns": job.columns,
    }
    np.savez(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]  # numpy's stub takes the bool of allow_pickle
    (folder / "job.json").write_text(json.dumps(description), encoding="utf-8")


def unpack(folder: Path) -> RenderJob:
    """Read a job back."""
    description = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    clips = tuple(_clip(number, entry, arrays) for number, entry in enumerate(description["clips"]))
    moments = description["moments"]
    return RenderJob(
        clips,
        Path(description["path"]),
        description["layout"],
        (description["size"][0], description["size"][1]),
        description["quality"],
        description["fps"],
        moments if isinstance(moments, int) else tuple(moments),
        description["columns"],
    )


def _numbers(name: str, array: Array) -> Array:
    kind = np.asarray(array).dtype
    if kind.kind not in "biuf":
        raise RenderError(f"array {name!r} must hold numbers, got {kind}; record it again")
    return np.asarray(array)


def _clip_data(clip: Clip) -> dict[str, Any]:
    return {
        "model_path": clip.scene.model_path,
        "model_arrays": list(clip.scene.model_arrays),
        "camera": clip.scene.camera,
        "upside_down": clip.scene.upside_down,
        "view": dict(clip.scene.view),
        "replay": dict(clip.scene.replay),
        "caption": [str(line) for line in clip.caption],
        "outcome": clip.outcome,
        "success": clip.success,
    }


def _clip(number: int, entry: Mapping[str, Any], arrays: Mapping[str, Array]) -> Clip:
    names: Sequence[str] = entry["model_arrays"]
    model_arrays = {name: arrays[f"{number}.model.{name}"] for name in names}
    scene = Scene(
        entry["model_path"],
        model_arrays,
        entry["camera"],
        entry["upside_down"],
        entry["view"],
        entry["replay"],
    )
    states = States(*(arrays[f"{number}.{name}"] for name in STATES))
    return Clip(scene, states, tuple(entry["caption"]), entry["outcome"], entry["success"])
