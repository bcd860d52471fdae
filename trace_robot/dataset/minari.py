"""The Minari format: HDF5 and JSON by minari's own storage, a data set a task.

The folder is a root of Minari's data sets (``MINARI_DATASETS_PATH``), and a data set names the environment, so that
``recover_environment`` makes it again, with its options and its world.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Dict

from trace_robot.dataset.recording import Collection, Demonstration, Shard
from trace_robot.env import registry
from trace_robot.errors import MissingExtraError
from trace_robot.spec import Array

NAME = "demonstrations-v0"
ODD = re.compile(r"[^\w-]+")  # what the id of a data set cannot hold
STATE = "state"  # beside pictures, the name of the vector in an observation


def require_minari() -> Any:
    """Return the package minari, which needs h5py for what is written here.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    try:
        import h5py  # noqa: F401  # minari asks for it when it writes
        import minari
        import minari.data_collector.episode_buffer
        import minari.dataset.minari_storage
    except ImportError as error:
        raise MissingExtraError(
            "the Minari format needs minari and h5py, and Python 3.11: pip install 'trace-robot[minari]'"
        ) from error
    return minari


def write(out: Path, collections: Sequence[Collection]) -> None:
    """Write one data set for each task.

    Args:
        out: the root of data sets.
        collections: their shards, and the arrays of their pictures, are in their folder.

    Raises:
        MissingExtraError: minari is not installed.
        OSError: a file cannot be written.
    """
    for collection in collections:
        if collection.found:
            _write_task(out, collection)


def dataset_id(environment: str) -> str:
    """Return the id of a data set, such as "reach-v3/demonstrations-v0"."""
    return f"{ODD.sub('-', environment)}/{NAME}"


def make_environment(environment: str, options: Mapping[str, Any]) -> Any:
    """Return the environment that a Minari data set names (``EnvSpec``).

    Args:
        environment: its name.
        options: of its plug-in; control mode and worlds included.
    """
    return registry.make(environment, **options)


def _write_task(out: Path, collection: Collection) -> None:
    minari = require_minari()
    task, name = collection.task, dataset_id(collection.task.env)
    draft = (
        collection.folder.absolute() / f"{collection.place:03d}-minari"
    )  # minari cannot write to a relative path
    shutil.rmtree(draft, ignore_errors=True)  # of an earlier try, which did not finish
    draft.mkdir()
    box = Box(-np.inf, np.inf, (task.spec.observation_size,), np.float64)
    pictures = {
        camera: Box(0, 255, (collection.size, collection.size, 3), np.uint8) for camera in collection.cameras
    }
    storage = minari.dataset.minari_storage.MinariStorage.new(
        draft / "data",
        observation_space=Dict({STATE: box, **pictures}) if pictures else box,
        action_space=Box(np.array(task.spec.low, np.float32), np.array(task.spec.high, np.float32)),
        env_spec=_env_spec(collection),
        data_format="hdf5",
    )
    storage.update_metadata(
        {
            "dataset_id": name,
            "minari_version": minari.__version__,
            "algorithm_name": f"trace_robot policy {task.policy.name}",
            "description": _description(collection),
            "requirements": [f"trace-robot>={version('trace-robot')}"],
        }
    )
    for shard in collection.shards:
        if shard.demonstrations:
            first = storage.total_episodes
            storage.update_episodes(_buffers(minari, collection, shard))
            about = [{"recovery": each.recovery, "world": each.world} for each in shard.demonstrations]
            storage.update_episode_metadata(about, range(first, first + len(about)))
    place = out / name
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    os.replace(draft, place)


def _env_spec(collection: Collection) -> EnvSpec:
    return EnvSpec(
        id=f"trace_robot/{ODD.sub('-', collection.task.env)}",
        entry_point="trace_robot.dataset.minari:make_environment",
        disable_env_checker=True,  # ours checks every value itself
        kwargs={"environment": collection.task.env, "options": dict(collection.task.options)},
    )


def _description(collection: Collection) -> str:
    spec = collection.task.spec
    fields = ", ".join(f"{part.name} [{part.start}:{part.stop}]" for part in spec.observation)
    actions = ", ".join(f"{part.name} [{part.start}:{part.stop}]" for part in spec.action)
    what = "successes that needed a second try" if collection.recoveries else "successes"
    return (
        f"{spec.instruction} {collection.found} {what} of {collection.tried} episodes of {spec.name}."
        f" Observation: {fields}. Action: {actions}. infos['stage'] has what the controller was doing at each step."
    )


def _buffers(minari: Any, collection: Collection, shard: Shard) -> list[Any]:
    pictures = {
        camera: np.load(collection.folder / f"{shard.name}.{camera}.npy", mmap_mode="r")
        for camera in collection.cameras
    }
    buffers, start = [], 0
    for each in shard.demonstrations:
        end = start + len(each) + 1  # the picture after the last action too
        seen = {camera: np.asarray(frames[start:end]) for camera, frames in pictures.items()}
        buffers.append(_buffer(minari, each, seen))
        start = end
    return buffers


def _buffer(minari: Any, each: Demonstration, pictures: dict[str, Array]) -> Any:
    count = len(each)
    after = np.arange(count + 1) == count  # infos begin with that of the reset
    infos: dict[str, Any] = {"success": after}
    if each.stages:
        infos["stage"] = [*each.stages, ""]
    return minari.data_collector.episode_buffer.EpisodeBuffer(
        seed=each.seed,
        observations={STATE: each.observations, **pictures} if pictures else each.observations,
        actions=each.actions,
        rewards=each.rewards,
        terminations=after[1:],
        truncations=np.zeros(count, bool),
        infos=infos,
    )
