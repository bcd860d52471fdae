"""Render jobs: clips and options in, a description of the written file out.

They are plain data, since they go from the process of a run to the one that renders, by way of a folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trace_robot.errors import RenderError
from trace_robot.spec import Array, Scene, States
from trace_robot.stats import Measure, three_digits
from trace_robot.workspace import require_named, require_own_file, require_plain_options

if TYPE_CHECKING:
    from trace_robot.rollout.episode import Episode

QualityName = Literal["fast", "high"]
Layout = Literal["in turn", "beside", "grid", "frames"]
ITSELF = "the environment itself"  # in the place of a backend, where an environment drew its pictures
STATES = tuple(part.name for part in fields(States))


@dataclass(frozen=True, slots=True)
class Clip:
    """The recording of one episode, and its caption.

    Attributes:
        scene, states: what to draw.
        caption: lines such as the task and the iteration; at most three are shown.
        outcome: how the episode ended, as text; shown from its end on.
        success: colors the outcome; None for neither good nor bad.
        paths: to draw over stills, of each its color and its points, (P, 3) metres, world frame.

    The texts may come from anywhere; see ``trace_robot.render.caption``.
    """

    scene: Scene
    states: States
    caption: tuple[str, ...] = ()
    outcome: str = ""
    success: bool | None = None
    paths: tuple[tuple[tuple[int, int, int], Array], ...] = ()


@dataclass(frozen=True, slots=True)
class Quality:
    """The effort for a picture.

    Attributes:
        size: width and height in pixels, where the caller names none.
        samples: of each pixel, for smooth edges (multisample anti-aliasing).
        shadows: pixels along a side of the shadow map; 0 draws neither shadows nor reflections.
        rate_factor: the video's constant rate factor (x264's crf); smaller is finer.
        rays: rays for each pixel along a side, where there is no GL library.
    """

    size: tuple[int, int]
    samples: int
    shadows: int
    rate_factor: int
    rays: float


# Half the rays along a side are a quarter of the rays; the picture is enlarged.
QUALITIES: dict[QualityName, Quality] = {
    "fast": Quality(size=(480, 360), samples=0, shadows=0, rate_factor=26, rays=0.5),
    "high": Quality(size=(640, 480), samples=4, shadows=2048, rate_factor=20, rays=0.5),
}


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """A picture or video that was written.

    Attributes:
        size: width and height in pixels.
        backend: what drew it: one of ``trace_robot.render.process.BACKENDS``, ``ITSELF``, or both joined by " and ".
        render_seconds: wall-clock time.
        notes: what a viewer should know, such as a clip that is played faster than recorded.
    """

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
        """How long the video plays."""
        return self.frames / self.fps


@dataclass(frozen=True, slots=True)
class RenderJob:
    """A picture or video to draw from clips, and the file to write.

    Attributes:
        layout: "frames" draws each recorded state once, without a caption, as data: into an .mp4, or into an .npy
            array of shape (frames, height, width, 3).
        size: of one clip's pictures, caption included: width and height in pixels.
        moments: of a grid: how many key frames of each clip, or which fractions of it.
        columns: of a grid.
    """

    clips: tuple[Clip, ...]
    path: Path
    layout: Layout
    size: tuple[int, int]
    quality: QualityName
    fps: float = 25.0
    moments: int | tuple[float, ...] = 1
    columns: int = 1

    def save(self, folder: Path) -> None:
        """Write the job into ``folder``, which must exist, as JSON and arrays.

        Raises:
            RenderError: an array of a clip does not hold numbers.
            OSError: it cannot be written.
        """
        arrays: dict[str, Array] = {}
        for number, clip in enumerate(self.clips):
            for name in STATES:
                arrays[f"{number}.{name}"] = _numbers(name, getattr(clip.states, name))
            for name, array in clip.scene.model_arrays.items():
                arrays[f"{number}.model.{name}"] = _numbers(name, array)
            for index, (_, points) in enumerate(clip.paths):
                arrays[f"{number}.path.{index}"] = _numbers("path", points)
        description = {
            "clips": [_clip_data(clip) for clip in self.clips],
            "path": str(self.path.absolute()),
            "layout": self.layout,
            "size": self.size,
            "quality": self.quality,
            "fps": self.fps,
            "moments": self.moments,
            "columns": self.columns,
        }
        np.savez(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]  # numpy's stub takes the bool of allow_pickle
        (folder / "job.json").write_text(json.dumps(description), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> RenderJob:
        """Read the job that ``save`` wrote into ``folder``."""
        description = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
            arrays = dict(stored)
        clips = tuple(_clip(number, entry, arrays) for number, entry in enumerate(description["clips"]))
        moments = description["moments"]
        return cls(
            clips=clips,
            path=Path(description["path"]),
            layout=description["layout"],
            size=(description["size"][0], description["size"][1]),
            quality=description["quality"],
            fps=description["fps"],
            moments=moments if isinstance(moments, int) else tuple(moments),
            columns=description["columns"],
        )


def clip_of(episode: Episode, *caption: str, measure: Measure = "success") -> Clip:
    """Return the clip of an episode whose states were recorded.

    ``evaluate`` and ``Rollouts`` record them with ``keep_states=True``, the engine with ``Job(record=True)``.

    Args:
        episode: with its scene and states.
        caption: lines to write above it.
        measure: what is shown of results; where the return counts, it is in the caption.

    Raises:
        RenderError: the episode has no states.
    """
    if episode.scene is None or episode.states is None or not len(episode.states):
        raise RenderError(
            f"the episode of seed {episode.seed} holds no states to draw; record them with keep_states=True, or with"
            " Job(record=True)"
        )
    category = episode.fault.category if episode.fault else None
    outcome, success = outcome_of(episode.ended, episode.steps, episode.total_reward, category, measure)
    return Clip(episode.scene, episode.states, caption, outcome, success)


def require_own_scene(scene: Scene, python: str | None = None) -> None:
    """Refuse to draw a scene from a store that would load a stranger's file.

    Args:
        scene: from a store.
        python: the interpreter that this user chose for its environment, None for none.

    Raises:
        WorkspaceError: its model or its environment is not installed and not of the user's workspace.
    """
    if scene.replay:
        require_named(scene.replay.get("env"))
        require_plain_options(scene.replay.get("options"), python)
        if type(scene.replay.get("seed")) is not int:
            raise RenderError(
                f"the seed of a scene must be a whole number, got {scene.replay.get('seed')!r:.80}"
            )
    else:
        require_own_file(scene.model_path)


def outcome_of(
    ended: str, steps: int, total: float, category: str | None, measure: Measure
) -> tuple[str, bool | None]:
    """Return how an episode ended, as a caption, and whether it is a success.

    None, neither good nor bad, where the return is what counts.

    Args:
        ended: see ``outcome_text``.
        steps: see ``outcome_text``.
        total: the episode's return.
        category: see ``outcome_text``.
        measure: what is shown of the environment's results.
    """
    text = outcome_text(ended, steps, category)
    if measure == "success" or ended == "error":
        return text, ended == "success"
    result = f"return {three_digits(total)}"
    if ended == "success":
        return f"{text}, {result}", True
    # Neither good nor bad: such an episode has no goal that it missed, or a high one.
    return f"{result} {'in' if ended == 'time' else 'when it ended after'} {steps:,} steps", None


def outcome_text(ended: str, steps: int, category: str | None = None) -> str:
    """Return how an episode ended, as a caption.

    Args:
        ended: "success", "terminated", "time" or "error".
        steps: control steps of the simulator.
        category: of the fault; None without one.
    """
    if ended == "success":
        return f"success after {steps} steps"
    if ended == "time":
        return f"no success in {steps} steps"
    if ended == "terminated":
        return f"ended without success after {steps} steps"
    return "error" if category is None else f"error: {category}"


def _numbers(name: str, array: Array) -> Array:
    # An array of objects would be written as a pickle, which is not read back.
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
        "paths": [color for color, _ in clip.paths],
    }


def _clip(number: int, entry: Mapping[str, Any], arrays: Mapping[str, Array]) -> Clip:
    scene = Scene(
        model_path=entry["model_path"],
        model_arrays={name: arrays[f"{number}.model.{name}"] for name in entry["model_arrays"]},
        camera=entry["camera"],
        upside_down=entry["upside_down"],
        view=entry["view"],
        replay=entry["replay"],
    )
    states = States(*(arrays[f"{number}.{name}"] for name in STATES))
    colors = enumerate(entry["paths"])
    paths = tuple(((r, g, b), arrays[f"{number}.path.{index}"]) for index, (r, g, b) in colors)
    return Clip(scene, states, tuple(entry["caption"]), entry["outcome"], entry["success"], paths)
