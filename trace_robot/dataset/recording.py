"""Demonstrations: successful episodes with stages as labels, in shards on disk.

A shard is a round of episodes of one task. It is written atomically once its pictures are drawn, so that a collection
that was killed goes on behind its last shard, with the episodes that it would have had.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from trace_robot import safe_files
from trace_robot.errors import RenderError, RunError
from trace_robot.fault import Limits
from trace_robot.render.job import Clip, RenderJob
from trace_robot.render.process import RenderFailure, RenderProcess
from trace_robot.rollout.engine import RolloutEngine
from trace_robot.rollout.episode import Episode, Job, drawn_text
from trace_robot.rollout.task import LABEL, Task, labels, spied, stage_names
from trace_robot.settings import training_seeds
from trace_robot.spec import Array

FREE = "free"  # the camera that frames the workspace, or the environment's own picture
ROUND, ROUND_WITH_CAMERAS = 50, 10  # episodes of a shard; what is lost at most when a collection is killed
LEAST = 8  # episodes of a round after the first: with fewer the workers idle
TRIES, RECOVERY_TRIES = 4, 20  # conditions tried for each demonstration that is wanted, at most
NUMBERS = ("observations", "actions", "rewards")
TURN_SECONDS = 0.5  # for which one rendering process is waited for before the next is looked at
NOMINAL_RATE = 30  # steps a second where an environment does not say how long a step is


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One successful episode of T decisions.

    Attributes:
        seed: the initial condition.
        observations: (T + 1, obs_dim), as the controller saw them.
        actions: (T, act_dim), as the environment applied them.
        rewards: (T,), unscaled.
        stages: T labels, what the controller was doing; empty where it keeps no stage.
        recovery: whether it went back to a stage that it had left.
        world: what its world drew, as text; "" for the nominal one.
    """

    seed: int
    observations: Array
    actions: Array
    rewards: Array
    stages: tuple[str, ...] = ()
    recovery: bool = False
    world: str = ""

    def __len__(self) -> int:
        return int(self.rewards.shape[0])


@dataclass(frozen=True, slots=True)
class Shard:
    """One round of a task.

    Attributes:
        task: its place among the tasks.
        number: of the round.
        tried: conditions that were rolled out.
        ended: how many of them ended how: "success", "time", "terminated", "error".
        step_seconds: simulated time of a decision; 0 where it is not known.
        demonstrations: what is kept of them.
    """

    task: int
    number: int
    tried: int
    ended: Mapping[str, int]
    step_seconds: float
    demonstrations: tuple[Demonstration, ...]

    @property
    def name(self) -> str:
        """The beginning of the names of its files."""
        return f"{self.task:03d}-{self.number:04d}"

    @property
    def frames(self) -> int:
        """Decisions of all demonstrations."""
        return sum(map(len, self.demonstrations))

    def to_bytes(self) -> bytes:
        """Return it as an archive of arrays and one JSON text."""
        arrays: dict[str, Array] = {}
        about = []
        for number, each in enumerate(self.demonstrations):
            for name in NUMBERS:
                arrays[f"{number}.{name}"] = getattr(each, name)
            about.append([each.seed, list(each.stages), each.recovery, each.world])
        data = [self.task, self.number, self.tried, dict(self.ended), self.step_seconds, about]
        arrays["about"] = np.frombuffer(json.dumps(data).encode(), np.uint8)
        file = io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the bool of allow_pickle
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Shard:
        """Return the shard of which ``to_bytes`` gave the content."""
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = dict(stored)
        task, number, tried, ended, seconds, about = json.loads(arrays["about"].tobytes())
        demonstrations = []
        for place, (seed, stages, recovery, world) in enumerate(about):
            observations, actions, rewards = (arrays[f"{place}.{name}"] for name in NUMBERS)
            demonstrations.append(
                Demonstration(seed, observations, actions, rewards, tuple(stages), recovery, world)
            )
        return cls(task, number, tried, ended, seconds, tuple(demonstrations))


@dataclass(slots=True)
class Collection:
    """Collects the demonstrations of one task, round by round.

    Attributes:
        place: of the task among all.
        task: environment, options and policy.
        folder: of the shards.
        episodes: demonstrations that are wanted.
        seed: which conditions; they are those that candidates train on, so that held-out ones stay held out.
        cameras: what to draw.
        size: of pictures: width and height in pixels.
        suffix: ".mp4" or ".npy"; the latter also has the picture after the last action.
        recoveries: keep only successes that went back to a stage.
        shards: done so far, in their order.
    """

    place: int
    task: Task
    folder: Path
    episodes: int
    seed: int
    cameras: Sequence[str] = ()
    size: int = 96
    suffix: str = ".mp4"
    recoveries: bool = False
    shards: list[Shard] = field(default_factory=list, init=False)

    @property
    def found(self) -> int:
        """Demonstrations so far."""
        return sum(len(shard.demonstrations) for shard in self.shards)

    @property
    def tried(self) -> int:
        """Conditions that were rolled out so far."""
        return sum(shard.tried for shard in self.shards)

    @property
    def ended(self) -> Counter[str]:
        """How many episodes ended how."""
        total: Counter[str] = Counter()
        for shard in self.shards:
            total.update(shard.ended)
        return total

    def restore(self) -> None:
        """Read the shards of an earlier collection, up to the first that is missing.

        Raises:
            RunError: a shard cannot be read.
        """
        while True:
            stem = f"{self.place:03d}-{len(self.shards):04d}"
            name = f"{stem}.npz"
            if not safe_files.is_file(self.folder, name):
                return
            try:
                self.shards.append(Shard.from_bytes(safe_files.read_bytes(self.folder, name)))
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise RunError(
                    f"the shard {str(self.folder / name)!r} cannot be read: {error}; delete it and run again"
                ) from error
            videos = [
                f"{stem}.{camera}{self.suffix}" for camera in self.cameras if self.shards[-1].demonstrations
            ]
            if not all(safe_files.is_file(self.folder, video) for video in videos):
                del self.shards[-1]  # a video that was deleted is drawn again, with its episodes
                return

    def rounds(self, engine: RolloutEngine, on_episode: Callable[[int, Episode], None]) -> Iterator[Round]:
        """Roll out until there are enough, and yield each round with its states.

        The number of workers changes nothing: the demonstrations are the first successes in the order of conditions.

        Args:
            engine: runs the episodes.
            on_episode: called as each episode ends.
        """
        most = self.episodes * (RECOVERY_TRIES if self.recoveries else TRIES)
        seeds = training_seeds(self.seed, most)
        largest = ROUND_WITH_CAMERAS if self.cameras else ROUND
        names, text = stage_names(self.task.policy), spied(self.task.policy)
        limits = Limits(printed_chars=max(4000, (LABEL + 2) * self.task.spec.horizon))
        while (missing := self.episodes - self.found) > 0 and self.tried < most:
            batch = seeds[self.tried : self.tried + min(largest, max(missing, LEAST if self.tried else 0))]
            jobs = [
                Job(
                    self.task.env,
                    seed,
                    self.task.options,
                    text or self.task.policy.text,
                    record="decisions",
                    observe=True,
                    limits=limits,
                )
                for seed in batch
            ]
            episodes = engine.run(jobs, on_episode=on_episode)
            found = Round.of(self, episodes, names, missing)
            self.shards.append(found.shard)
            yield found


@dataclass(frozen=True, slots=True)
class Round:
    """A shard that is to be written, and what its pictures are drawn from."""

    collection: Collection
    shard: Shard
    clips: tuple[Clip, ...]

    @classmethod
    def of(
        cls, collection: Collection, episodes: Sequence[Episode], names: Sequence[str], most: int
    ) -> Round:
        kept: list[Demonstration] = []
        clips: list[Clip] = []
        seconds = 0.0
        for episode in episodes:
            seconds = seconds or _step_seconds(episode)
            if not episode.success or len(kept) == most:
                continue
            stages, recovery = labels(episode.printed, episode.decisions, names)
            if collection.recoveries and not recovery:
                continue
            kept.append(
                Demonstration(
                    episode.seed,
                    episode.observations,
                    episode.actions,
                    episode.rewards,
                    stages,
                    recovery,
                    drawn_text(episode.infos),
                )
            )
            if collection.cameras:
                clips.append(_clip(collection, episode))
        shard = Shard(
            collection.place,
            len(collection.shards),
            len(episodes),
            Counter(episode.ended for episode in episodes),
            seconds,
            tuple(kept),
        )
        return cls(collection, shard, tuple(clips))

    def jobs(self, fps: float) -> list[RenderJob]:
        """Return what draws the pictures of each camera."""
        if not self.clips:
            return []
        folder, size, suffix = self.collection.folder, self.collection.size, self.collection.suffix
        jobs = []
        for camera in self.collection.cameras:
            name = "" if camera == FREE else camera
            clips = tuple(replace(clip, scene=replace(clip.scene, camera=name)) for clip in self.clips)
            path = folder / f"{self.shard.name}.{camera}{suffix}"
            jobs.append(RenderJob(clips, path, "frames", (size, size), "fast", fps))
        return jobs


def _clip(collection: Collection, episode: Episode) -> Clip:
    """Return the recording of an episode, a state for each picture that is wanted."""
    scene, states = episode.scene, episode.states
    if scene is None or states is None or len(states) != episode.decisions + 1:
        raise RenderError(
            f"{collection.task.env} records no states to draw, as it has no model file and draws nothing itself;"
            " leave --camera out"
        )
    if scene.replay and set(collection.cameras) != {FREE}:
        raise RenderError(
            f"{collection.task.env} draws itself, with one camera; say --camera {FREE}, got"
            f" {', '.join(collection.cameras)}"
        )
    if collection.suffix != ".npy":
        last = episode.decisions
        states = replace(
            states,
            qpos=states.qpos[:last],
            mocap_pos=states.mocap_pos[:last],
            mocap_quat=states.mocap_quat[:last],
            seconds=states.seconds[:last],
        )
    return Clip(scene, states)


def _step_seconds(episode: Episode) -> float:
    states = episode.states
    return 0.0 if states is None or len(states) < 2 else float(states.seconds[1] - states.seconds[0])


def rate_of(step_seconds: float) -> int:
    """Return the decisions a second, a whole number, as data sets want it."""
    return max(1, round(1.0 / step_seconds)) if step_seconds > 0 else NOMINAL_RATE


class ShardWriter:
    """Draws and writes rounds while further ones are rolled out.

    A context manager.

    Args:
        processes: that draw; 0 without cameras.
        on_written: called with the rounds that are written, and those that are to be, so far.
    """

    def __init__(self, processes: int, on_written: Callable[[int, int], None]) -> None:
        self._on_written, self._written = on_written, 0
        self._processes = [RenderProcess() for _ in range(processes)]
        self._waiting: list[tuple[Round, set[Path]]] = []
        self._next = 0

    def add(self, found: Round) -> None:
        """Submit the pictures of a round, and write what is finished.

        Raises:
            RenderError: a picture cannot be drawn.
            RunError: a shard cannot be written.
        """
        jobs = found.jobs(rate_of(found.shard.step_seconds))
        for job in jobs:
            self._processes[self._next % len(self._processes)].submit(job)
            self._next += 1
        self._waiting.append((found, {job.path for job in jobs}))
        self._write([result for process in self._processes for result in process.collect()])

    def finish(self) -> None:
        """Wait for every picture and write every round.

        Raises:
            RenderError: a picture cannot be drawn.
            RunError: a shard cannot be written.
        """
        while self._waiting:
            # In turn, so that a round is on disk soon after its last picture.
            for process in self._processes:
                self._write(process.collect(wait_seconds=TURN_SECONDS))

    def _write(self, results: Sequence[Any]) -> None:
        for result in results:
            if isinstance(result, RenderFailure):
                camera = result.path.stem.partition(".")[2]
                raise RenderError(f"no pictures of camera {camera!r}: {result.reason}; see --camera")
            for _, paths in self._waiting:
                paths.discard(result.path)
        for found, paths in [each for each in self._waiting if not each[1]]:
            self._waiting.remove((found, paths))
            folder, name = found.collection.folder, f"{found.shard.name}.npz"
            try:
                safe_files.write(folder, name, found.shard.to_bytes(), sync=True)
            except OSError as error:
                raise RunError(
                    f"cannot write {str(folder / name)!r}: {error.strerror}; free some space and run again"
                ) from error
            self._written += 1
        self._on_written(self._written, self._written + len(self._waiting))

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self._processes:
            process.close()
