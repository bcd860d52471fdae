"""The rig a worker works at: environments kept and reused, one sandbox; jobs in, episodes out."""

from __future__ import annotations

import dataclasses
import gc
import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np

from trace_robot.env.traced import load_env, make
from trace_robot.errors import EnvironmentFault, OrderError, TraceRobotError
from trace_robot.fault import Fault
from trace_robot.rollout.affinity import SharedCpu
from trace_robot.rollout.episode import Episode, Job
from trace_robot.rollout.episode_graph import graph_of
from trace_robot.rollout.episode_loop import Environment, run_episodes
from trace_robot.sandbox import Sandbox
from trace_robot.sandbox.static_check.shared_state import needs_own_process
from trace_robot.sandbox.types import Interface
from trace_robot.search.controller import DataController, Runner, load_controller
from trace_robot.spec import Array, TaskSpec

KEPT_ENVIRONMENTS = 8  # 24 MB each
LOCK_STEP = 8
MESSAGES = 500  # one environment more costs about as much as so many messages to the controller's process
NOTHING = "def act(observation):\n    return []\n"


class EnvRunner:
    """Runs jobs; nothing of one job reaches the next but what is kept for speed.

    Episodes of one text run in lock step, which saves messages to the sandbox: at most ``lock_step`` at once, each
    in an environment of its own. None: as many as have paid for themselves by now, up to LOCK_STEP. The episodes
    are the same either way.
    trusted: run controllers even where this machine can give no boundary. seat: where this process and the
    controller's sit together; left out, the system places them.
    """

    def __init__(
        self, *, trusted: bool = False, lock_step: int | None = None, seat: SharedCpu | None = None
    ) -> None:
        self._trusted = trusted
        self._seat = seat
        self._lock_step = lock_step
        self._pools: OrderedDict[str, _Pool] = OrderedDict()
        self._box: Sandbox | None = None
        self._fitted: tuple[Any, ...] = ()
        self._used = 0  # the last process that ran an episode
        self._refused: tuple[tuple[Any, ...], Fault] | None = None

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Episode]]:
        """Run jobs that ``batches.alike`` put together; yield (position in ``jobs``, episode) as they end.

        What a controller does wrong is an episode that ended with "error".
        """
        pool = self._pool(jobs[0])
        if jobs[0].program is not None:
            if self._seat is not None:
                self._seat.leave()
            for position, job in enumerate(jobs):
                yield position, _run_program(pool, job)
            return
        place = 0
        while place < len(jobs):
            width = 1 if needs_own_process(jobs[0].controller or "") else pool.width(self._lock_step)
            group = jobs[place : place + width]
            for position, episode in enumerate(self._run_group(pool, group), place):
                yield position, episode
            place += width

    def close(self) -> None:
        if self._seat is not None:
            self._seat.leave()  # or what this process starts later would share its one processor
        if self._box is not None:
            self._box.close()
            self._box = None
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()

    def _run_group(self, pool: _Pool, jobs: Sequence[Job]) -> Iterator[Episode]:
        episodes = self._try_group(pool, jobs)
        for job, episode in zip(jobs, episodes, strict=True):
            yield episode or self._run_alone(pool, job)

    def _run_alone(self, pool: _Pool, job: Job) -> Episode:
        """Run an episode in a process of its own, because its fault may have been another's."""
        (episode,) = self._try_group(pool, [job], fresh=True)
        if episode is None:
            raise EnvironmentFault(f"condition {job.seed} of {job.env} gave no episode although it ran alone")
        return episode

    def _try_group(self, pool: _Pool, jobs: Sequence[Job], *, fresh: bool = False) -> list[Episode | None]:
        """Run one group in lock step; None for an episode that must be run alone, in a fresh process."""
        first, spec = jobs[0], pool.spec
        box = self._sandbox(spec, first)
        if fresh or needs_own_process(first.controller or ""):
            box.load(NOTHING)  # another text ends the process that the last episode had
        fault = self._load(box, first)
        if fault is not None:
            return [failed(job, spec, fault) for job in jobs]
        if self._seat is not None:
            self._seat.take(box.pid)
        boxed = _Boxed(box)
        episodes = run_episodes(pool.take(len(jobs)), spec, boxed, jobs)
        pool.messages += boxed.messages
        used, self._used = boxed.pid == self._used, boxed.pid
        return [
            None if episode is None or (used and not fresh and _may_be_left_over(episode))
            else self._finished(episode, number, box, spec, first)
            for number, episode in enumerate(episodes)
        ]  # fmt: skip

    def _load(self, box: Sandbox, job: Job) -> Fault | None:
        """Load a controller, but not again one that was refused just now: that may have taken seconds."""
        text = (job.controller, job.trace, job.limits)
        if self._refused is None or self._refused[0] != text:
            fault = box.load(job.controller or "", trace=job.trace)
            self._refused = None if fault is None else (text, fault)
            return fault
        return self._refused[1]

    def _finished(self, episode: Episode, number: int, box: Sandbox, spec: TaskSpec, job: Job) -> Episode:
        graph = graph_of(box.written(number), episode, spec) if job.trace else ()
        return _trimmed(dataclasses.replace(episode, graph=graph, printed=box.printed(number)), job)

    def _pool(self, job: Job) -> _Pool:
        key = json.dumps([job.env, dict(job.options)], sort_keys=True, default=str)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = _Pool(job)
        self._pools.move_to_end(key)
        while (
            len(self._pools) > 1 and sum(len(each.envs) for each in self._pools.values()) > KEPT_ENVIRONMENTS
        ):
            self._pools.popitem(last=False)[1].close()
            gc.collect()  # upstream's environments hold one another: 24 MB each would wait for a rare collection
        return pool

    def _sandbox(self, spec: TaskSpec, job: Job) -> Sandbox:
        fields = {part.name: (part.start, part.stop) for part in spec.observation}
        fitted = (spec.observation_size, spec.action_size, tuple(fields.items()), job.limits)
        if self._box is None or self._fitted != fitted:
            if self._box is not None:
                self._box.close()
            interface = Interface(spec.observation_size, spec.action_size, fields)
            self._box = Sandbox(interface, job.limits, preload=("trace_robot.trace",), trusted=self._trusted)
            self._fitted = fitted
        return self._box


class _Pool:
    """Environments of one task under the same options, all alike.

    messages: how many the sandbox got for them since the last one was made.
    """

    def __init__(self, job: Job) -> None:
        self._name, self._options = job.env, dict(job.options)
        try:
            traced = load_env(self._name, **self._options)
        except TraceRobotError:
            raise
        except Exception as error:  # a plug-in is somebody else's code: it may raise anything
            raise EnvironmentFault(
                f"environment {self._name!r} cannot be made: {type(error).__name__}: {error}"
            ) from error
        self.spec = traced.task_spec
        self.envs: list[Environment] = [traced.env]
        self.messages = 0

    def width(self, wanted: int | None) -> int:
        """Return how many episodes to run at once."""
        if wanted is not None:
            return wanted
        grown = self.messages >= MESSAGES * len(self.envs)
        return min(LOCK_STEP, len(self.envs) + grown)

    def take(self, count: int) -> list[Environment]:
        while len(self.envs) < count:
            self.envs.append(_made(self._name, self._options))
            self.messages = 0
        return self.envs[:count]

    def close(self) -> None:
        for env in self.envs:
            env.close()


def _made(name: str, options: dict[str, Any]) -> Environment:
    env: gymnasium.Env[Array, Array] = make(name, **options)
    return env


class _Boxed:
    """A controller behind the boundary. messages: how many were sent; pid: the process in which it began."""

    def __init__(self, box: Sandbox) -> None:
        self._box = box
        self._episodes = 0
        self.messages = self.pid = 0

    def reset(self, episodes: int) -> Fault | None:
        self._episodes = episodes
        fault = self._box.reset(episodes)
        self.pid = self._box.pid
        return fault

    def act(self, numbers: Sequence[int], observations: Array) -> list[Array | Fault]:
        self.messages += 1
        every = len(numbers) == self._episodes
        return self._box.call(observations, None if every else numbers)


class _Programmed:
    """A controller that is data, run by its interpreter in this process: it holds no code to guard against."""

    def __init__(self, controller: DataController, spec: TaskSpec) -> None:
        self._controller, self._spec = controller, spec
        self._runner: Runner | None = None

    def reset(self, episodes: int) -> Fault | None:
        self._runner = self._controller.start(self._spec)
        return None

    def act(self, numbers: Sequence[int], observations: Array) -> list[Array | Fault | None]:
        if self._runner is None:
            raise OrderError("act wants an episode that was begun, got none; call reset first")
        action = self._runner(observations[0])
        return [None if self._runner.finished else action]


def _run_program(pool: _Pool, job: Job) -> Episode:
    """Run one job whose controller is data, and take from its episode what the search asks for."""
    controller = load_controller(job.program or {})
    (episode,) = run_episodes(pool.take(1), pool.spec, _Programmed(controller, pool.spec), [job])
    if episode is None:
        raise EnvironmentFault(f"condition {job.seed} of {job.env} gave no episode although it ran alone")
    if job.measure:
        measures = controller.measures(pool.spec, episode.observations, episode.rewards)
        episode = dataclasses.replace(episode, measures=measures)
    return _trimmed(episode, job)


def failed(job: Job, spec: TaskSpec | None, fault: Fault) -> Episode:
    """Return the episode of a job that took no step."""
    width = 0 if spec is None else spec.action_size
    nothing = np.zeros((0,))
    return Episode(job.seed, "error", 0, nothing, np.zeros((0, width), np.float32), np.zeros((0, 0)), fault)


def _may_be_left_over(episode: Episode) -> bool:
    """Return whether the fault may be the work of earlier episodes of the same process, which used its memory."""
    return episode.fault is not None and episode.fault.category in ("memory", "crash", "protocol")


def _trimmed(episode: Episode, job: Job) -> Episode:
    """Drop the observations unless they were asked for: they are most of what crosses to the parent."""
    kept = job.observe or job.trace
    return episode if kept else dataclasses.replace(episode, observations=episode.observations[:0])
