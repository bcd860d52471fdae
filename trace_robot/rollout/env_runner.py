"""Run jobs in cached environments with one sandboxed controller process."""

from __future__ import annotations

import dataclasses
import gc
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from trace_robot.child_process import SharedCpu
from trace_robot.env import registry
from trace_robot.env.spaces import all_finite
from trace_robot.errors import EnvironmentFault, OrderError, TraceRobotError
from trace_robot.fault import Fault
from trace_robot.rollout.backends import MAKE, Heartbeat
from trace_robot.rollout.episode import Episode, Job, episode_line
from trace_robot.rollout.episode_graph import graph_of
from trace_robot.rollout.episode_loop import FOREIGN, Environment, place_of, run_episodes
from trace_robot.sandbox import Sandbox
from trace_robot.sandbox.protocol import TRACE, Interface
from trace_robot.sandbox.static_check.shared_state import needs_own_process
from trace_robot.search.controller import DataController, Runner, load_controller
from trace_robot.spec import Array, TaskSpec

log = logging.getLogger("trace_robot.rollout")
KEPT_ENVIRONMENTS = 8  # 24 MB each
LOCK_STEP = 8  # docs/scale.md has what it saves
MESSAGES = 500  # to the controller's process: about what one more environment costs


class EnvRunner:
    """Runs batches of jobs in cached environments and a cached sandbox.

    Episodes of one controller run in lock step, which saves messages to the sandbox. They are the same as one by one.

    Args:
        trusted: run controllers even where this machine has no sandbox.
        lock_step: episodes of one controller at once, each in an environment for itself; None for as many as have paid
            for themselves by now, up to LOCK_STEP.
        cpu: pins this process and the controller's to one processor; None leaves that to the scheduler.
        heartbeat: where the calls of environments are noted, for the engine to see one that hangs.
    """

    def __init__(
        self,
        *,
        trusted: bool = False,
        lock_step: int | None = None,
        cpu: SharedCpu | None = None,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self._trusted = trusted
        self._cpu = cpu
        self._heartbeat = heartbeat or Heartbeat()
        self._lock_step = lock_step
        self._pools: OrderedDict[str, _Pool] = OrderedDict()
        self._box: Sandbox | None = None
        self._box_key: tuple[Any, ...] = ()  # the sizes, fields and limits that the sandbox was made for
        self._used = 0  # the id of the last process that ran an episode
        self._refused: tuple[tuple[Any, ...], Fault] | None = None  # the last controller that failed to load

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Episode]]:
        """Run one batch and yield (position in ``jobs``, episode) as episodes end.

        The jobs are of one environment and one controller, as ``Batches`` joins them. A fault of the controller is an
        episode that ended with "error", not an exception.
        """
        pool = self._pool(jobs[0])
        if jobs[0].program is not None:
            if self._cpu is not None:
                self._cpu.release()  # no controller's process takes part
            for position, job in enumerate(jobs):
                yield position, _run_program(pool, job, self._heartbeat)
            return
        place = 0
        while place < len(jobs):
            width = 1 if needs_own_process(jobs[0].controller or "") else pool.width(self._lock_step)
            group = jobs[place : place + width]
            for position, episode in enumerate(self._run_group(pool, group), place):
                yield position, episode
            place += width

    def close(self) -> None:
        if self._cpu is not None:
            self._cpu.release()  # or what this process starts later would inherit the one processor
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
        """Run an episode in a fresh process.

        Its fault may have been caused by another episode.
        """
        (episode,) = self._try_group(pool, [job], fresh=True)
        if episode is None:
            raise EnvironmentFault(f"condition {job.seed} of {job.env} gave no episode although it ran alone")
        return episode

    def _try_group(self, pool: _Pool, jobs: Sequence[Job], *, fresh: bool = False) -> list[Episode | None]:
        """Run one group in lock step.

        None stands for an episode that must be run again, alone.
        """
        first, spec = jobs[0], pool.spec
        box = self._sandbox(spec, first)
        fault = self._load(box, first, fresh)
        if fault is not None:
            return [failed_episode(job, spec, fault) for job in jobs]
        if self._cpu is not None:
            self._cpu.pin(box.pid)
        controller = _SandboxedController(box)
        episodes = run_episodes(
            pool.take(len(jobs)), spec, controller, jobs, registry.expert, self._heartbeat
        )
        pool.messages += controller.messages
        reused, self._used = controller.pid == self._used, controller.pid
        again = reused and not fresh
        return [
            None
            if episode is None or (again and _may_be_left_over(episode))
            else self._finished(episode, number, box, spec, first)
            for number, episode in enumerate(episodes)
        ]

    def _load(self, box: Sandbox, job: Job, fresh: bool) -> Fault | None:
        """Load a controller, unless it is the one that was refused last.

        A refusal may have taken seconds, until a deadline, and all jobs of a candidate have the same text.
        """
        text = (job.controller, job.trace, job.limits)
        if self._refused is None or self._refused[0] != text:
            fault = box.load(job.controller or "", trace=job.trace, fresh=fresh)
            self._refused = None if fault is None else (text, fault)
            return fault
        return self._refused[1]

    def _finished(self, episode: Episode, number: int, box: Sandbox, spec: TaskSpec, job: Job) -> Episode:
        graph = graph_of(box.written(number), episode, spec) if job.trace else ()
        if job.observe and len(episode.observations):
            start = episode.observations[0].tolist()
            episode = dataclasses.replace(episode, line=episode_line(episode, spec), start=start)
        return _trimmed(dataclasses.replace(episode, graph=graph, printed=box.printed(number)), job)

    def _pool(self, job: Job) -> _Pool:
        key = json.dumps([job.env, dict(job.options)], sort_keys=True, default=str)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = _Pool(job, self._heartbeat)
        self._pools.move_to_end(key)  # least recently used first
        while (
            len(self._pools) > 1 and sum(len(pool.envs) for pool in self._pools.values()) > KEPT_ENVIRONMENTS
        ):
            self._pools.popitem(last=False)[1].close()
            gc.collect()  # Meta-World's environments are reference cycles of 24 MB, which are collected rarely
        return pool

    def _sandbox(self, spec: TaskSpec, job: Job) -> Sandbox:
        fields = {part.name: (part.start, part.stop) for part in spec.observation}
        key = (spec.observation_size, spec.action_size, tuple(fields.items()), job.limits)
        if self._box is None or self._box_key != key:
            if self._box is not None:
                self._box.close()
            interface = Interface(spec.observation_size, spec.action_size, fields)
            self._box = Sandbox(interface, job.limits, preload=(TRACE,), trusted=self._trusted)
            self._box_key = key
        return self._box


class _Pool:
    """Equal environments of one task and one set of options.

    messages: sent to the sandbox for them since the last one was made.
    """

    def __init__(self, job: Job, heartbeat: Heartbeat) -> None:
        self._name, self._options = job.env, dict(job.options)
        self._heartbeat, self._seed = heartbeat, job.seed
        env, self.spec = self._made(lambda: registry.make_described(self._name, **self._options))
        self.envs: list[Environment] = [env]
        self.messages = 0

    def width(self, wanted: int | None) -> int:
        """Return the number of episodes to run at once."""
        if wanted is not None:
            return wanted
        # Amortized: a further environment is made once the messages sent since the last would have paid for it.
        grown = self.messages >= MESSAGES * len(self.envs)
        return min(LOCK_STEP, len(self.envs) + grown)

    def take(self, count: int) -> list[Environment]:
        while len(self.envs) < count:
            self.envs.append(self._made(lambda: registry.make(self._name, **self._options)))
            self.messages = 0
        return self.envs[:count]

    def close(self) -> None:
        for env in self.envs:
            try:
                env.close()
            except FOREIGN as error:  # its episodes are over, and the next environment waits
                log.warning("closing %s failed: %s: %s", self._name, type(error).__name__, error)

    def _made(self, make: Callable[[], Any]) -> Any:
        self._heartbeat.enter(MAKE, self._seed)
        try:
            return make()
        except TraceRobotError:
            raise
        except FOREIGN as error:
            raise EnvironmentFault(
                f"environment {self._name!r} cannot be made: {type(error).__name__}: {error}{place_of(error)}"
            ) from error
        finally:
            self._heartbeat.leave()


class _SandboxedController:
    """A controller's text in the sandbox.

    messages: sent to it. pid: of the process in which it began.
    """

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


class _InterpretedController:
    """A controller as data, run by its interpreter in this process.

    It holds no code, so there is nothing to isolate.
    """

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
        if self._runner.finished:
            return [None]
        # As the sandbox looks at a text's: else the environment would be blamed for refusing it.
        if not all_finite(action):
            return [Fault("not finite", f"act must return finite float32 numbers, got {action.tolist()}")]
        return [action]


def _run_program(pool: _Pool, job: Job, heartbeat: Heartbeat) -> Episode:
    """Run one job whose controller is data, and compute the search's measures."""
    controller = load_controller(job.program or {})
    runner = _InterpretedController(controller, pool.spec)
    (episode,) = run_episodes(pool.take(1), pool.spec, runner, [job], heartbeat=heartbeat)
    if episode is None:
        raise EnvironmentFault(f"condition {job.seed} of {job.env} gave no episode although it ran alone")
    if job.measure:
        measures = controller.measures(pool.spec, episode.observations, episode.rewards, episode.infos)
        episode = dataclasses.replace(episode, measures=measures)
    return _trimmed(episode, job)


def failed_episode(job: Job, spec: TaskSpec | None, fault: Fault) -> Episode:
    """Return the episode of a job that took no step.

    Args:
        job: that failed.
        spec: of the environment, None where it is not known.
        fault: that ended it.
    """
    width = 0 if spec is None else spec.action_size
    rewards, actions, observations = np.zeros((0,)), np.zeros((0, width), np.float32), np.zeros((0, 0))
    return Episode(job.seed, "error", 0, rewards, actions, observations, fault)


def _may_be_left_over(episode: Episode) -> bool:
    """Return whether earlier episodes may have caused the fault.

    They shared the process, and so its memory.
    """
    return episode.fault is not None and episode.fault.category in ("memory", "crash", "protocol")


def _trimmed(episode: Episode, job: Job) -> Episode:
    """Drop the observations unless they were asked for.

    They are most of what is sent to the parent.
    """
    keep = job.observe or job.trace
    return episode if keep else dataclasses.replace(episode, observations=episode.observations[:0])
