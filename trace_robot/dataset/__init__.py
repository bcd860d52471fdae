"""Data sets of demonstrations for imitation learning, as LeRobot or Minari.

demonstrate({"pick-place-v3": load_policy("zoo/pick_place_v3")}, "demos", to="lerobot", episodes=50)
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from trace_robot import safe_files
from trace_robot.dataset import lerobot, minari
from trace_robot.dataset.recording import Collection, ShardWriter, rate_of
from trace_robot.errors import RunError, TraceRobotError, UsageError
from trace_robot.policy import Policy
from trace_robot.rollout.engine import RolloutEngine, default_workers
from trace_robot.rollout.episode import Episode
from trace_robot.rollout.task import Task, spied
from trace_robot.settings import versions

__all__ = ["DataSet", "Format", "TaskCount", "demonstrate"]

Format = Literal["minari", "lerobot"]
FORMATS: tuple[Format, ...] = get_args(Format)
MANIFEST = "demonstrations.json"  # says what is in the folder; with "complete" false, it is not yet
UNFINISHED = "unfinished"  # the folder of shards, which goes when the data set is complete
MOST_DRAWING = 2  # rendering processes; more of them share one GPU, or the processors with the rollouts
LEAST_SIDE, MOST_SIDE = 64, 1024  # pixels


@dataclass(frozen=True, slots=True)
class TaskCount:
    """What a data set holds of one task.

    Attributes:
        task: the environment.
        policy: the controller's name.
        demonstrations: how many were kept.
        recoveries: how many of these went back to an earlier stage.
        frames: their decisions.
        tried: conditions that were rolled out.
        ended: how many of them ended how; failures are not kept.
    """

    task: str
    policy: str
    demonstrations: int
    recoveries: int
    frames: int
    tried: int
    ended: Mapping[str, int]

    @property
    def failures(self) -> int:
        """Episodes without success."""
        return sum(count for ended, count in self.ended.items() if ended != "success")


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set that was written.

    Attributes:
        folder: where.
        to: its format.
        tasks: what it holds of each; a task without any success holds nothing.
        fps: decisions a second.
        restored: demonstrations that an earlier, unfinished call had left.
    """

    folder: Path
    to: Format
    tasks: tuple[TaskCount, ...]
    fps: int
    restored: int = 0

    @property
    def demonstrations(self) -> int:
        """Episodes of all tasks."""
        return sum(task.demonstrations for task in self.tasks)

    @property
    def frames(self) -> int:
        """Decisions of all episodes."""
        return sum(task.frames for task in self.tasks)

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        rows = [
            {
                "task": each.task,
                "policy": each.policy,
                "demonstrations": each.demonstrations,
                "recoveries": each.recoveries,
                "frames": each.frames,
                "tried": each.tried,
                "ended": dict(each.ended),
            }
            for each in self.tasks
        ]
        return {"folder": str(self.folder), "to": self.to, "fps": self.fps, "tasks": rows}


def demonstrate(
    policies: Mapping[str, Policy],
    out: str | Path,
    *,
    to: Format,
    episodes: int = 50,
    seed: int = 0,
    cameras: Sequence[str] = (),
    size: int = 96,
    recoveries: bool = False,
    control: str | None = None,
    options: Mapping[str, Any] | None = None,
    workers: int | None = None,
    trusted: bool = False,
    on_progress: Callable[[str, int, int], None] = lambda task, done, tried: None,
    on_drawn: Callable[[int, int], None] = lambda done, total: None,
) -> DataSet:
    """Roll controllers out, and write their successes as a data set.

    The same call goes on with a collection that was interrupted; of one that is complete it returns what is there. The
    conditions are those of training, so that held-out ones stay held out for a learner.

    Args:
        policies: the controller of each environment.
        out: the data set's folder: new, empty, or what the same call has left.
        to: "lerobot" for one data set of all tasks, "minari" for one a task.
        episodes: demonstrations of each task. Up to 4 times as many conditions are tried, 20 times for recoveries.
        seed: which conditions.
        cameras: of the MuJoCo model, or "free" for one that frames the workspace; none for no pictures.
        size: of the pictures, pixels along each side, an even number.
        recoveries: keep only successes in which the controller went back to a stage that it had left.
        control: the control mode; None for what the policy says.
        options: of the environments, such as ``world``.
        workers: rollout processes, see ``RolloutEngine``.
        trusted: run controllers even where this machine has no sandbox.
        on_progress: called with the task, its demonstrations so far and the conditions tried.
        on_drawn: called with the rounds of episodes that are drawn and written, and all so far.

    Raises:
        UsageError: an argument is out of range, the tasks do not fit into one data set, or a controller keeps no stages
            to recover by.
        RunError: the folder holds something else, or no task had a success.
        MissingExtraError: the package of the format is not installed.
        RenderError: there is no such camera, or pictures cannot be drawn.
    """
    _check(policies, to, cameras, size)
    out = Path(out)
    tasks = {
        name: Task.load(name, policy, control=control, options=options, apart=workers != 0)
        for name, policy in policies.items()
    }
    _check_tasks(list(tasks.values()), to, recoveries)
    recipe = {
        "to": to,
        "episodes": episodes,
        "seed": seed,
        "cameras": list(cameras),
        "size": size,
        "recoveries": recoveries,
        "tasks": {
            name: {
                "policy": task.policy.name,
                "sha256": hashlib.sha256(task.source.encode()).hexdigest(),
                "options": dict(task.options),
            }
            for name, task in tasks.items()
        },
    }
    suffix = ".npy" if to == "minari" else ".mp4"
    with _opened(out, recipe) as complete:
        if complete is not None:
            return complete
        collections = [
            Collection(place, task, out / UNFINISHED, episodes, seed, cameras, size, suffix, recoveries)
            for place, task in enumerate(tasks.values())
        ]
        for collection in collections:
            collection.restore()
        restored = sum(collection.found for collection in collections)
        _collect(collections, workers, trusted, on_progress, on_drawn)
        if not any(collection.found for collection in collections):
            shutil.rmtree(out / UNFINISHED)  # shards of nothing, which are not worth going on with
            raise RunError(_nothing(collections, recoveries))
        found = DataSet(out, to, tuple(map(_count, collections)), _fps(collections), restored)
        try:
            (lerobot.write if to == "lerobot" else minari.write)(out, collections)
            _write_manifest(out, recipe, found)
        except OSError as error:
            raise RunError(
                f"cannot write {str(error.filename or out)!r}: {error.strerror}; free some space and run again"
            ) from error
    return found


def _check(policies: Mapping[str, Policy], to: str, cameras: Sequence[str], size: int) -> None:
    if to not in FORMATS:
        raise UsageError(f"the format must be {' or '.join(FORMATS)}, got {to!r}")
    if to == "lerobot":
        lerobot.require_pyarrow()
    else:
        minari.require_minari()
    if not policies:
        raise UsageError("a data set needs at least one task, got none")
    if size % 2 or not LEAST_SIDE <= size <= MOST_SIDE:
        raise UsageError(
            f"the size of pictures must be an even number from {LEAST_SIDE} to {MOST_SIDE}, got {size}"
        )
    odd = [
        camera
        for camera in cameras
        if not camera or "/" in camera or camera.startswith(".") or "\0" in camera
    ]
    if odd or len(set(cameras)) < len(cameras):
        raise UsageError(f"cameras must be different names without '/', got {', '.join(map(repr, cameras))}")
    if "state" in cameras and to == "minari":
        raise UsageError("a camera cannot be called 'state', which names the vector of an observation")


def _check_tasks(tasks: Sequence[Task], to: Format, recoveries: bool) -> None:
    if to == "lerobot":
        lerobot.require_alike([task.spec for task in tasks])
    for task in tasks:
        if recoveries and spied(task.policy) is None:
            raise UsageError(
                f"a recovery is a way back to an earlier stage, but policy {task.policy.name} keeps none in"
                " memory['stage']; leave --recoveries out"
            )


def _collect(
    collections: Sequence[Collection],
    workers: int | None,
    trusted: bool,
    on_progress: Callable[[str, int, int], None],
    on_drawn: Callable[[int, int], None],
) -> None:
    """Roll every task out, and draw and write its rounds meanwhile."""
    drawing = min(MOST_DRAWING, default_workers()) if collections[0].cameras else 0
    with RolloutEngine(workers, trusted=trusted) as engine, ShardWriter(drawing, on_drawn) as writer:
        for collection in collections:
            done = [collection.found, collection.tried]

            def count(
                index: int, episode: Episode, name: str = collection.task.env, done: list[int] = done
            ) -> None:
                done[0] += episode.success
                done[1] += 1
                on_progress(name, done[0], done[1])

            on_progress(collection.task.env, *done)
            for found in collection.rounds(engine, count):
                writer.add(found)
                done[:] = collection.found, collection.tried
                on_progress(collection.task.env, *done)
        writer.finish()


@contextmanager
def _opened(out: Path, recipe: Mapping[str, Any]) -> Iterator[DataSet | None]:
    """Lock a folder for one data set, and yield it where it is complete.

    At the end the folder of shards goes; after an error it stays, unless it holds nothing.
    """
    stored = _manifest(out)
    if stored is None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(
            f"{str(out)!r} is not empty and holds no data set of this command; choose another --out"
        )
    wanted = json.loads(json.dumps(recipe))
    if stored is not None and stored.get("recipe") != wanted:
        changed = [name for name in wanted if wanted[name] != dict(stored.get("recipe") or {}).get(name)]
        raise RunError(
            f"{str(out)!r} holds a data set whose {', '.join(changed)} differ; choose another --out, or delete it"
        )
    if stored is not None and stored.get("complete"):
        yield _found(out, stored)
        return
    try:
        if stored is None:
            _write(out, {"complete": False, "recipe": wanted})
        lock = safe_files.open_locked(out, f"{UNFINISHED}.lock")
    except OSError as error:
        raise RunError(f"cannot write {str(out)!r}: {error.strerror}; choose another --out") from error
    if lock is None:
        raise RunError(f"another process is writing {str(out)!r}; wait for it, or choose another --out")
    try:
        (out / UNFINISHED).mkdir(exist_ok=True)
        yield None
        shutil.rmtree(out / UNFINISHED)
    except TraceRobotError:
        if not list((out / UNFINISHED).glob("*.npz")):  # nothing that the same call could go on with
            shutil.rmtree(out / UNFINISHED, ignore_errors=True)
            (out / MANIFEST).unlink(missing_ok=True)
        raise
    finally:
        (out / f"{UNFINISHED}.lock").unlink(missing_ok=True)
        os.close(lock)
        if not any(out.iterdir()):
            out.rmdir()


def _manifest(out: Path) -> dict[str, Any] | None:
    try:
        data = safe_files.load_json(safe_files.read_bytes(out, MANIFEST))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{str(out / MANIFEST)!r} cannot be read: {error}; choose another --out") from error
    if not isinstance(data, dict):
        raise RunError(f"{str(out / MANIFEST)!r} does not describe a data set; choose another --out")
    return data


def _write_manifest(out: Path, recipe: Mapping[str, Any], found: DataSet) -> None:
    data = found.to_data()
    del data["folder"], data["to"]
    _write(out, {"complete": True, "recipe": recipe, **data, "versions": versions()})


def _write(out: Path, data: Mapping[str, Any]) -> None:
    safe_files.write(out, MANIFEST, f"{json.dumps(data, indent=2)}\n".encode(), sync=True)


def _found(out: Path, stored: Mapping[str, Any]) -> DataSet:
    try:
        tasks = tuple(TaskCount(**row) for row in stored["tasks"])
        return DataSet(
            out, stored["recipe"]["to"], tasks, int(stored["fps"]), sum(t.demonstrations for t in tasks)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{str(out / MANIFEST)!r} does not describe a data set; choose another --out"
        ) from error


def _count(collection: Collection) -> TaskCount:
    kept = [each for shard in collection.shards for each in shard.demonstrations]
    return TaskCount(
        collection.task.env,
        collection.task.policy.name,
        len(kept),
        sum(each.recovery for each in kept),
        sum(map(len, kept)),
        collection.tried,
        dict(collection.ended),
    )


def _fps(collections: Sequence[Collection]) -> int:
    shards = [shard for collection in collections for shard in collection.shards]
    return rate_of(next((shard.step_seconds for shard in shards if shard.step_seconds), 0.0))


def _nothing(collections: Sequence[Collection], recoveries: bool) -> str:
    """Say that there is nothing to write, of one or several tasks."""
    total: Counter[str] = sum((collection.ended for collection in collections), Counter())
    tried = sum(collection.tried for collection in collections)
    names = ", ".join(collection.task.env for collection in collections[:3])
    more = f" and {len(collections) - 3} more" if len(collections) > 3 else ""
    first = collections[0].task
    if recoveries and total["success"]:
        return (
            f"none of the {total['success']} successes of {names}{more} in {tried} episodes went back to an earlier"
            " stage, so that there are no recoveries; give --worlds that are harder, or leave --recoveries out"
        )
    ended = ", ".join(f"{count} {ending}" for ending, count in total.most_common())
    return (
        f"no success of {names}{more} in {tried} episodes ({ended}), so that there is nothing to demonstrate; see:"
        f" trace-robot evaluate {first.env} --policy {first.policy.name}"
    )
