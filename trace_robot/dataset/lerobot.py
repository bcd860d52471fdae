"""The LeRobot v3 layout: Parquet for numbers, H.264 for pictures, JSON beside.

Written as lerobot 0.4.4 writes and reads it (``codebase_version`` "v3.0"), with pyarrow alone: lerobot itself brings
torch. A shard becomes one Parquet file and one video for each camera.
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_robot import safe_files
from trace_robot.dataset.recording import Collection, Demonstration, Shard, rate_of
from trace_robot.dataset.statistics import Statistics, aggregate, picture_statistics, statistics_of
from trace_robot.errors import MissingExtraError, UsageError
from trace_robot.render.encode import sampled
from trace_robot.spec import Array, TaskSpec

if TYPE_CHECKING:
    from types import ModuleType

VERSION = "v3.0"
CHUNK = 1000  # files in a folder
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-000/file-000.parquet"
STATE, WHOLE, ACTION, IMAGES = (
    "observation.state",
    "observation.environment_state",
    "action",
    "observation.images.",
)
# Words of observation fields that a robot knows of itself; the others need a camera or a tracker.
OWN = {"arm", "effector", "finger", "fingers", "gripper", "hand", "joint", "joints", "robot", "tcp", "wrist"}
SCALARS = {
    "next.reward": "float32",
    "next.done": "bool",
    "next.success": "bool",
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
AXES = "xyz"


def require_pyarrow() -> tuple[ModuleType, ModuleType]:
    """Return pyarrow and its module for Parquet.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(
            "the LeRobot format needs pyarrow: pip install 'trace-robot[lerobot]'"
        ) from error
    return pyarrow, pyarrow.parquet


def require_alike(specs: Sequence[TaskSpec]) -> None:
    """Refuse tasks that one data set cannot hold together.

    Args:
        specs: of all tasks.

    Raises:
        UsageError: their observations or actions have different sizes, or a decision has no fixed duration.
    """
    for spec in specs:
        if spec.control != "raw":
            raise UsageError(
                f"a LeRobot data set has one rate, but in control mode {spec.control!r} an action of {spec.name} takes"
                " several simulator steps; give a policy with CONTROL = 'raw', or write --to minari"
            )
        first = specs[0]
        sizes, wanted = ((each.observation_size, each.action_size) for each in (spec, first))
        if sizes != wanted:
            raise UsageError(
                f"one LeRobot data set wants observations and actions of equal sizes, got {wanted} of {first.name} and"
                f" {sizes} of {spec.name}; write them into two folders"
            )


def write(out: Path, collections: Sequence[Collection]) -> None:
    """Write one data set with the demonstrations of all tasks.

    Args:
        out: its folder.
        collections: with at least one demonstration; their shards and videos are in their folder.

    Raises:
        MissingExtraError: pyarrow is not installed.
        RenderError: a video has another number of pictures than its shard.
        OSError: a file cannot be written.
    """
    _Writer(out, collections).write()


class _Writer:
    """Writes the files of one data set, episode by episode, in the order of the tasks."""

    def __init__(self, out: Path, collections: Sequence[Collection]) -> None:
        self._pa, self._parquet = require_pyarrow()
        self._out = out
        self._collections = [each for each in collections if each.found]
        specs = [each.task.spec for each in self._collections]
        self._names = common_names(specs)
        self._own = own_numbers(specs)
        shards = [shard for each in self._collections for shard in each.shards]
        self._fps = rate_of(next((shard.step_seconds for shard in shards if shard.step_seconds), 0.0))
        self._tasks = list(dict.fromkeys(spec.instruction for spec in specs))
        labelled = any(each.stages for shard in shards for each in shard.demonstrations)
        self._stages = self._every_stage() if labelled else []
        first = self._collections[0]
        self._cameras, self._size = list(first.cameras), first.size
        self._episodes: dict[str, list[Any]] = defaultdict(list)
        self._statistics: list[dict[str, Statistics]] = []
        self._frames = 0

    def write(self) -> None:
        number = 0
        for collection in self._collections:
            for shard in collection.shards:
                if shard.demonstrations:
                    self._shard(collection, shard, number)
                    number += 1
        self._table(EPISODES_PATH, dict(self._episodes))
        self._named("meta/tasks.parquet", "task_index", self._tasks)
        if self._stages:
            # lerobot answers each frame with its text as ``item["subtask"]``.
            self._named("meta/subtasks.parquet", "subtask_index", self._stages)
        self._json("meta/stats.json", _plain(aggregate(self._statistics)))
        self._json("meta/info.json", self._info())  # last: without it there is no data set

    def _every_stage(self) -> list[str]:
        """Return every label once, the instruction for episodes without stages."""
        found: dict[str, None] = {}
        for collection in self._collections:
            for each in (each for shard in collection.shards for each in shard.demonstrations):
                found |= dict.fromkeys(each.stages or [collection.task.spec.instruction])
        return list(found)

    def _shard(self, collection: Collection, shard: Shard, number: int) -> None:
        place = {"chunk_index": number // CHUNK, "file_index": number % CHUNK}
        task = self._tasks.index(collection.task.spec.instruction)
        pictures = {camera: self._video(collection, shard, camera, place) for camera in self._cameras}
        columns: dict[str, list[Array]] = defaultdict(list)
        start = 0
        for each in shard.demonstrations:
            rows = self._rows(each, task)
            seen = {f"{IMAGES}{camera}": next(frames) for camera, frames in pictures.items()}
            self._note(each, rows, seen, place, start)
            for name, values in rows.items():
                columns[name].append(values)
            start += len(each)
            self._frames += len(each)
        for frames in pictures.values():
            next(frames, None)  # which finds out whether there are more
        table = {name: self._column(np.concatenate(parts)) for name, parts in columns.items()}
        self._table(DATA_PATH.format(**place), table)

    def _rows(self, each: Demonstration, task: int) -> dict[str, Array]:
        """Return the columns of one episode, T rows each."""
        count = len(each)
        last = np.arange(count) == count - 1
        seen = each.observations[:-1].astype(np.float32)
        rows: dict[str, Array] = {STATE: seen if self._own is None else seen[:, self._own]}
        if self._own is not None:
            rows[WHOLE] = seen
        rows |= {
            ACTION: each.actions.astype(np.float32),
            "next.reward": each.rewards.astype(np.float32),
            "next.done": last,
            "next.success": last,
            "timestamp": (np.arange(count) / self._fps).astype(np.float32),
            "frame_index": np.arange(count),
            "episode_index": np.full(count, len(self._statistics)),
            "index": np.arange(self._frames, self._frames + count),
            "task_index": np.full(count, task),
        }
        if self._stages:
            places = {stage: number for number, stage in enumerate(self._stages)}
            labels = each.stages or [self._tasks[task]] * count
            rows["subtask_index"] = np.array([places[label] for label in labels])
        return rows

    def _note(
        self,
        each: Demonstration,
        rows: Mapping[str, Array],
        seen: Mapping[str, Array],
        place: Mapping[str, int],
        start: int,
    ) -> None:
        """Add the row of an episode to meta/episodes, with its statistics."""
        statistics = {name: statistics_of(values) for name, values in rows.items()}
        statistics |= {name: picture_statistics(frames) for name, frames in seen.items()}
        row: dict[str, Any] = {
            "episode_index": len(self._statistics),
            "tasks": [self._tasks[int(rows["task_index"][0])]],
            "length": len(each),
            "data/chunk_index": place["chunk_index"],
            "data/file_index": place["file_index"],
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + len(each),
        }
        for camera in seen:
            row |= {f"videos/{camera}/{name}": value for name, value in place.items()}
            row[f"videos/{camera}/from_timestamp"] = start / self._fps
            row[f"videos/{camera}/to_timestamp"] = (start + len(each)) / self._fps
        row |= {"seed": each.seed, "recovery": each.recovery, "world": each.world}
        for name, numbers in statistics.items():
            row |= {f"stats/{name}/{kind}": values.tolist() for kind, values in numbers.items()}
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        for name, value in row.items():
            self._episodes[name].append(value)
        self._statistics.append(statistics)

    def _video(
        self, collection: Collection, shard: Shard, camera: str, place: Mapping[str, int]
    ) -> Iterator[Array]:
        """Copy a shard's video to its place, and return samples of each episode."""
        source = collection.folder / f"{shard.name}.{camera}.mp4"
        with source.open("rb") as file:
            safe_files.write(self._out, VIDEO_PATH.format(video_key=f"{IMAGES}{camera}", **place), file)
        return sampled(source, (self._size, self._size), [len(each) for each in shard.demonstrations])

    def _info(self) -> dict[str, Any]:
        features: dict[str, Any] = {}
        own = self._names if self._own is None else [self._names[place] for place in self._own]
        names = {STATE: own, **({} if self._own is None else {WHOLE: self._names})}
        names[ACTION] = common_actions([each.task.spec for each in self._collections])
        for name, each in names.items():
            features[name] = {"dtype": "float32", "shape": [len(each)], "names": each}
        for camera in self._cameras:
            features[f"{IMAGES}{camera}"] = {
                "dtype": "video",
                "shape": [self._size, self._size, 3],
                "names": ["height", "width", "channels"],
                "info": {
                    "video.height": self._size,
                    "video.width": self._size,
                    "video.codec": "h264",
                    "video.pix_fmt": "yuv420p",
                    "video.is_depth_map": False,
                    "video.fps": self._fps,
                    "video.channels": 3,
                    "has_audio": False,
                },
            }
        scalars = {**SCALARS, **({"subtask_index": "int64"} if self._stages else {})}
        features |= {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in scalars.items()}
        return {
            "codebase_version": VERSION,
            "robot_type": None,
            "total_episodes": len(self._statistics),
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": self._fps,
            "splits": {"train": f"0:{len(self._statistics)}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self._cameras else None,
            "features": features,
        }

    def _column(self, values: Array) -> Any:
        if (
            values.ndim == 1 or values.shape[1] == 1
        ):  # lerobot reads a feature of shape (1,) as a plain number
            return self._pa.array(values.reshape(-1))
        return self._pa.FixedSizeListArray.from_arrays(self._pa.array(values.reshape(-1)), values.shape[1])

    def _named(self, name: str, column: str, texts: Sequence[str]) -> None:
        """Write a table that pandas reads with the texts as its index."""
        index = "__index_level_0__"
        columns = [
            {
                "name": column,
                "field_name": column,
                "pandas_type": "int64",
                "numpy_type": "int64",
                "metadata": None,
            },
            {
                "name": None,
                "field_name": index,
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": None,
            },
        ]
        about = {
            "index_columns": [index],
            "column_indexes": [],
            "columns": columns,
            "pandas_version": "2.0.0",
        }
        self._table(
            name,
            {column: self._pa.array(range(len(texts)), self._pa.int64()), index: list(texts)},
            {"pandas": json.dumps(about)},
        )

    def _table(self, name: str, columns: Mapping[str, Any], about: Mapping[str, str] | None = None) -> None:
        table = self._pa.table(dict(columns))
        file = io.BytesIO()
        self._parquet.write_table(table.replace_schema_metadata(about), file, compression="snappy")
        safe_files.write(self._out, name, file.getvalue())

    def _json(self, name: str, data: Any) -> None:
        safe_files.write(self._out, name, f"{json.dumps(data, indent=4, ensure_ascii=False)}\n".encode())


def common_names(specs: Sequence[TaskSpec]) -> list[str]:
    """Return a name for each number of the observation.

    Args:
        specs: of all tasks, whose observations are of one size.

    Returns:
        Such as "hand_position.x"; "observation_7" for a number of no field, or of fields that differ between tasks.
    """
    every = []
    for spec in specs:
        names = [f"observation_{place}" for place in range(spec.observation_size)]
        for part in spec.observation:
            names[part.start : part.stop] = parts(part.name, part.size)
        every.append(names)
    return [
        each[0] if len(set(each)) == 1 else f"observation_{place}"
        for place, each in enumerate(zip(*every, strict=True))
    ]


def common_actions(specs: Sequence[TaskSpec]) -> list[str]:
    """Return a name for each number of the action, of the first of some tasks."""
    return [name for part in specs[0].action for name in parts(part.name, part.size)]


def parts(name: str, size: int) -> list[str]:
    """Return the names of the numbers of a field.

    Args:
        name: of the field.
        size: how many numbers it has; three are called x, y and z.
    """
    if size == 1:
        return [name]
    return [f"{name}.{AXES[place] if size == len(AXES) else place}" for place in range(size)]


def own_numbers(specs: Sequence[TaskSpec]) -> list[int] | None:
    """Return the places of proprioceptive numbers, by the names of their fields.

    Args:
        specs: of all tasks.

    Returns:
        Sorted; None where that is nothing, everything, or not the same in all tasks.
    """
    found = [
        [
            place
            for part in spec.observation
            if OWN & set(part.name.lower().split("_"))
            for place in range(part.start, part.stop)
        ]
        for spec in specs
    ]
    same = all(each == found[0] for each in found)
    return sorted(found[0]) if same and 0 < len(found[0]) < specs[0].observation_size else None


def _plain(statistics: Mapping[str, Statistics]) -> dict[str, dict[str, Any]]:
    return {
        name: {kind: values.tolist() for kind, values in each.items()} for name, each in statistics.items()
    }
