"""Seeded episodes in lock step: the environments in this process, the controller behind whatever runs it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import gymnasium
import numpy as np

from trace_robot.errors import TraceRobotError
from trace_robot.fault import Fault
from trace_robot.rollout.episode import Ended, Episode, Job
from trace_robot.rollout.feedback import FeedbackRecorder
from trace_robot.spec import Array, Scene, States, TaskSpec

log = logging.getLogger("trace_robot.rollout")
Environment = gymnasium.Env[Array, Array]
SHARED = ("memory", "crash", "protocol", "timeout")  # what one episode can do to those beside it


class Controller(Protocol):
    """What episodes ask for actions; a fault ends an episode, and so does None: it has given up."""

    def reset(self, episodes: int) -> Fault | None: ...

    def act(self, numbers: Sequence[int], observations: Array) -> Sequence[Array | Fault | None]:
        """Answer for the episodes ``numbers``; observations: (len(numbers), obs_dim)."""
        ...


def run_episodes(
    envs: Sequence[Environment], spec: TaskSpec, controller: Controller, jobs: Sequence[Job]
) -> list[Episode | None]:
    """Run one episode an environment, all at once; each ends at its first success, at the horizon or with a fault.

    Where ``spec.return_threshold`` decides, an episode runs to its end, and the sum of its rewards is looked at then.

    None stands for an episode that must be run alone, because its fault may be the work of those beside it.
    The first decision is asked for one by one: a controller that never returns is mostly found there, and each
    episode then has its own deadline.
    """
    started = time.perf_counter()
    running = [_Running(env, spec, job) for env, job in zip(envs, jobs, strict=True)]
    fault = controller.reset(len(running))
    if fault is not None:
        return [each.failed(fault) if len(running) == 1 else None for each in running]
    rows = np.empty((len(running), spec.observation_size))
    together = False
    while alive := [number for number, each in enumerate(running) if each.goes_on]:
        for row, number in enumerate(alive):
            rows[row] = running[number].observation
        if together:
            answers = controller.act(alive, rows[: len(alive)])
        else:
            answers = [controller.act((k,), rows[row : row + 1])[0] for row, k in enumerate(alive)]
        shared = len(running) > 1
        for number, answer in zip(alive, answers, strict=True):
            running[number].apply(answer, doubtful=shared and (together or _may_be_shared(answer)))
        together = True
        started = _share(running, alive, started)
    return [each.episode() for each in running]


def _may_be_shared(answer: Array | Fault | None) -> bool:
    """Return whether an answer to one row may depend on the others: memory is shared, deadlines are not."""
    return isinstance(answer, Fault) and answer.category != "timeout"


def _share(running: Sequence[_Running], alive: Sequence[int], started: float) -> float:
    now = time.perf_counter()
    for number in alive:
        running[number].seconds += (now - started) / len(alive)
    return now


class _Running:
    """One episode under way."""

    def __init__(self, env: Environment, spec: TaskSpec, job: Job) -> None:
        self.env, self.spec, self.job = env, spec, job
        self.actions: list[Array] = []
        self.rewards: list[float] = []
        self.info: Mapping[str, Any] = {}
        self.observation: Array = np.zeros(spec.observation_size)
        self.ended: Ended = "time"
        self.fault: Fault | None = None
        self.goes_on, self.alone = True, False
        self.seconds = 0.0
        env.unwrapped.record_states = job.record  # type: ignore[attr-defined]
        try:
            self.observation, self.info = env.reset(seed=job.seed)
        except Exception as error:  # a plug-in is somebody else's code: it may raise anything
            self._end(_blame(error))
        self.seen = [self.observation]
        self.watch = FeedbackRecorder(job, spec)
        self.watch.observed(self.observation)

    def apply(self, answer: Array | Fault | None, *, doubtful: bool) -> None:
        """Take one decision; ``doubtful``: a fault may be the work of the episodes beside this one."""
        if isinstance(answer, Fault):
            self.alone = doubtful and answer.category in SHARED
            self._end(answer)
            return
        if answer is None:
            self.goes_on = False
            return
        try:
            self.observation, reward, terminated, truncated, self.info = self.env.step(answer)
        except Exception as error:  # as above
            self._end(_blame(error))
            return
        self.watch.acted(self.seen[-1], self.info)
        self.watch.observed(self.observation)
        self.seen.append(self.observation)
        self.actions.append(answer)
        self.rewards.append(float(reward))
        if self.spec.return_threshold is None and self.info.get("success"):
            self.ended, self.goes_on = "success", False
        elif terminated or truncated:
            self._over("terminated" if terminated else "time")

    def _over(self, ended: Ended) -> None:
        """Take note that the environment ended the episode, or its time is up."""
        threshold = self.spec.return_threshold
        reached = threshold is not None and float(np.sum(self.rewards)) >= threshold
        self.ended, self.goes_on = "success" if reached else ended, False

    def failed(self, fault: Fault) -> Episode | None:
        self._end(fault)
        return self.episode()

    def episode(self) -> Episode | None:
        if self.alone:
            return None
        actions = np.array(self.actions, dtype=np.float32).reshape(-1, self.spec.action_size)
        scene, states = self._recorded()
        return Episode(
            seed=self.job.seed,
            ended=self.ended,
            fault=self.fault,
            steps=int(self.info.get("steps", len(actions))),
            rewards=np.array(self.rewards),
            actions=np.clip(actions, self.spec.low, self.spec.high).astype(np.float32),
            observations=np.array(self.seen),
            infos=_numbers(self.info),
            series=self.watch.series(),
            seconds=self.seconds,
            scene=scene,
            states=states,
            return_threshold=self.spec.return_threshold,
        )

    def _recorded(self) -> tuple[Scene | None, States | None]:
        """Return what a picture is drawn from; none, with a line in the log, where the plug-in's code fails."""
        if not (self.job.record and self.info):
            return None, None
        recorder: Any = self.env.unwrapped
        try:
            return recorder.scene(), recorder.recorded()
        except Exception as error:  # as above
            log.warning("no picture of %s: %s: %s", self.spec.name, type(error).__name__, error)
            return None, None

    def _end(self, fault: Fault) -> None:
        self.fault, self.ended, self.goes_on = fault, "error", False


def _blame(error: Exception) -> Fault:
    known = isinstance(error, TraceRobotError)
    return Fault("environment", str(error) if known else f"{type(error).__name__}: {error}")


def _numbers(info: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in info.items()
        if isinstance(value, bool | int | float | np.number)
    }
