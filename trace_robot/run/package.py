"""A rendering job as a folder: job.json says what to do, arrays.npz holds the numbers; nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trace_robot.errors import RunError
from trace_robot.run.clip import Clip, QualityName
from trace_robot.spec import Array, Scene, States

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
    about = {
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
    (folder / "job.json").write_text(json.dumps(about), encoding="utf-8")


def unpack(folder: Path) -> RenderJob:
    """Read a job back."""
    about = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    clips = tuple(_clip(number, entry, arrays) for number, entry in enumerate(about["clips"]))
    moments = about["moments"]
    return RenderJob(
        clips,
        Path(about["path"]),
        about["layout"],
        (about["size"][0], about["size"][1]),
        about["quality"],
        about["fps"],
        moments if isinstance(moments, int) else tuple(moments),
        about["columns"],
    )


def _numbers(name: str, array: Array) -> Array:
    kind = np.asarray(array).dtype
    if kind.kind not in "biuf":
        raise RunError(f"array {name!r} must hold numbers, got {kind}; record it again")
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
