"""Seeded episodes in lock step: many environments, one controller."""

from __future__ import annotations

import logging
import math
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import gymnasium
import numpy as np

from trace_robot.env.contact_log import ContactLog
from trace_robot.env.guard import NUMBERS, finite
from trace_robot.errors import TraceRobotError
from trace_robot.fault import UNSTABLE, Fault, with_near_name
from trace_robot.rollout.backends import RESET, STEP, Heartbeat
from trace_robot.rollout.episode import Ended, Episode, Job
from trace_robot.rollout.feedback import FeedbackRecorder, MakeExpert
from trace_robot.spec import Array, Scene, States, TaskSpec

log = logging.getLogger("trace_robot.rollout")
Environment = gymnasium.Env[Array, Array]
# What third-party code may raise. ``sys.exit`` in a plug-in would end the worker, as if it had crashed.
FOREIGN = (Exception, SystemExit)
SHARED = (
    "memory",
    "crash",
    "protocol",
    "timeout",
)  # faults that one episode can cause in others of its process


class Controller(Protocol):
    """Gives the actions of several episodes that run in lock step."""

    def reset(self, episodes: int) -> Fault | None:
        """Begin this number of episodes, or return the fault that prevents it."""
        ...

    def act(self, numbers: Sequence[int], observations: Array) -> Sequence[Array | Fault | None]:
        """Return an action, a fault that ends the episode, or None to give up, for each.

        Args:
            numbers: which episodes ask.
            observations: (len(numbers), obs_dim).
        """
        ...


def run_episodes(
    envs: Sequence[Environment],
    spec: TaskSpec,
    controller: Controller,
    jobs: Sequence[Job],
    make_expert: MakeExpert | None = None,
    heartbeat: Heartbeat | None = None,
) -> list[Episode | None]:
    """Run one episode an environment, all in lock step.

    An episode ends at its first success, at the horizon or with a fault. Where ``spec.return_threshold`` decides, it
    runs to its end, and the sum of its rewards is compared then.

    Args:
        envs: one for each job, equal ones.
        spec: of the environments.
        controller: of all episodes.
        jobs: their conditions, and what to record.
        make_expert: see ``FeedbackRecorder``.
        heartbeat: where the calls of the environments are noted, for one that hangs.

    Returns:
        One episode a job. None stands for one that must be run alone, because an episode beside it may have caused its
        fault.
    """
    started = time.perf_counter()
    heartbeat = heartbeat or Heartbeat()
    episodes = [
        _EpisodeState(env, spec, job, make_expert, heartbeat) for env, job in zip(envs, jobs, strict=True)
    ]
    fault = controller.reset(len(episodes))
    if fault is not None:
        return [episode.failed(fault) if len(episodes) == 1 else None for episode in episodes]
    rows = np.empty((len(episodes), spec.observation_size))
    if len(episodes) == 1:
        return [_run_alone(episodes[0], controller, rows, started)]
    # The first decision is asked for one by one: a controller that never returns is mostly found there, and each
    # episode then has a deadline for itself.
    together = False
    while running := [number for number, episode in enumerate(episodes) if episode.running]:
        for row, number in enumerate(running):
            rows[row] = episodes[number].observation
        if together:
            answers = controller.act(running, rows[: len(running)])
        else:
            answers = [controller.act((k,), rows[row : row + 1])[0] for row, k in enumerate(running)]
        shared = len(episodes) > 1
        for number, answer in zip(running, answers, strict=True):
            episodes[number].apply(answer, doubtful=shared and (together or _may_be_shared(answer)))
        together = True
        started = _share_time(episodes, running, started)
    return [episode.finish() for episode in episodes]


def _run_alone(episode: _EpisodeState, controller: Controller, rows: Array, started: float) -> Episode | None:
    """Run an episode that shares no process, without what lock step costs."""
    while episode.running:
        rows[0] = episode.observation
        episode.apply(controller.act((0,), rows)[0], doubtful=False)
    episode.seconds += time.perf_counter() - started
    return episode.finish()


def _may_be_shared(answer: Array | Fault | None) -> bool:
    """Return whether other episodes may have caused an answer to one request.

    They share the process's memory, but not the deadline.
    """
    return isinstance(answer, Fault) and answer.category != "timeout"


def _share_time(episodes: Sequence[_EpisodeState], running: Sequence[int], started: float) -> float:
    """Share the time since ``started`` among the running episodes.

    Returns the time now.
    """
    now = time.perf_counter()
    for number in running:
        episodes[number].seconds += (now - started) / len(running)
    return now


class _EpisodeState:
    """One episode while it runs.

    alone: it must be run again, without others in its process.
    """

    def __init__(
        self,
        env: Environment,
        spec: TaskSpec,
        job: Job,
        make_expert: MakeExpert | None,
        heartbeat: Heartbeat,
    ) -> None:
        self.env, self.spec, self.job, self.heartbeat = env, spec, job, heartbeat
        self.actions: list[Array] = []
        self.rewards: list[float] = []
        self.info: Mapping[str, Any] = {}
        self.observation: Array = np.zeros(spec.observation_size)
        self.ended: Ended = "time"
        self.fault: Fault | None = None
        self.running, self.alone = True, False
        self.seconds = 0.0
        self.feedback = FeedbackRecorder(job, spec)
        self.contacts: ContactLog | None = None
        heartbeat.enter(RESET, job.seed)
        try:
            env.unwrapped.record_states = job.record  # type: ignore[attr-defined]
            self.observation, self.info = env.reset(seed=job.seed)
            self.feedback = FeedbackRecorder(job, spec, make_expert)
            self.feedback.observed(self.observation)
            self.contacts = ContactLog.of(env) if job.trace else None
        except FOREIGN as error:
            if heartbeat.hung:
                raise
            self._fail(_fault_of(error))
        heartbeat.leave()
        self.observations = [self.observation]
        self._recorded_series = not self.feedback.is_idle

    def apply(self, answer: Array | Fault | None, *, doubtful: bool) -> None:
        """Take one decision.

        Args:
            answer: an action, the fault that ends the episode, or None to give up.
            doubtful: an episode beside this one may have caused the fault.
        """
        if isinstance(answer, Fault):
            self.alone = doubtful and answer.category in SHARED
            self._fail(with_near_name(answer, (part.name for part in self.spec.observation)))
            return
        if answer is None:
            self.running = False
            return
        self.heartbeat.enter(STEP, self.job.seed)
        try:
            step = self.env.step if self.contacts is None else self._watched_step
            observation, reward, terminated, truncated, info = step(answer)
            number = finite("the reward", reward)
            if self._recorded_series:
                self.feedback.acted(self.observation, info)
                self.feedback.observed(observation)
        except FOREIGN as error:
            if self.heartbeat.hung:
                raise
            self.heartbeat.leave()
            self._fail(_fault_of(error))
            return
        self.heartbeat.leave()
        self.observation, self.info = observation, info
        self.observations.append(observation)
        self.actions.append(answer)
        self.rewards.append(number)
        if self.spec.return_threshold is None and info.get("success"):
            self.ended, self.running = "success", False
        elif terminated or truncated:
            self._end("terminated" if terminated else "time")

    def _watched_step(self, answer: Array) -> Any:
        """Step as the environment does, and note what touches on the way."""
        assert self.contacts is not None
        with self.contacts.watching(int(self.info.get("steps", len(self.actions)))):
            return self.env.step(answer)

    def _end(self, ended: Ended) -> None:
        """End the episode without a fault.

        It is a success if its total reward reaches the threshold.
        """
        threshold = self.spec.return_threshold
        with np.errstate(over="ignore"):  # ``finish`` looks at a sum that is too large
            reached = threshold is not None and float(np.sum(self.rewards)) >= threshold
        self.ended, self.running = "success" if reached else ended, False

    def failed(self, fault: Fault) -> Episode | None:
        self._fail(fault)
        return self.finish()

    def finish(self) -> Episode | None:
        """Return the episode, None if it must be run alone."""
        if self.alone:
            return None
        total = sum(self.rewards)  # of Python's floats, which overflow without a warning
        if self.fault is None and not math.isfinite(total):  # of numbers that are: about 1e308
            self._fail(Fault("environment", f"the sum of the rewards is not finite: {total}"))
            self.rewards[:] = [0.0] * len(self.rewards)
        actions = np.array(self.actions, dtype=np.float32).reshape(-1, self.spec.action_size)
        scene, states = self._recorded()
        return Episode(
            seed=self.job.seed,
            ended=self.ended,
            fault=self.fault,
            steps=int(self.info.get("steps", len(actions))),
            rewards=np.array(self.rewards),
            actions=np.clip(actions, self.spec.low, self.spec.high).astype(np.float32),
            observations=np.array(self.observations),
            infos=_numbers(self.info),
            series=self.feedback.series(),
            seconds=self.seconds,
            scene=scene,
            states=states,
            return_threshold=self.spec.return_threshold,
            contacts=() if self.contacts is None else self.contacts.lines(),
        )

    def _recorded(self) -> tuple[Scene | None, States | None]:
        """Return scene and states for rendering.

        A failure of the plug-in is a line in the log: a picture is not worth an episode.
        """
        if not (self.job.record and self.info):
            return None, None
        recorder: Any = self.env.unwrapped
        try:
            return recorder.scene(), recorder.recorded()
        except Exception as error:  # as above
            log.warning("no picture of %s: %s: %s", self.spec.name, type(error).__name__, error)
            return None, None

    def _fail(self, fault: Fault) -> None:
        self.fault, self.ended, self.running = fault, "error", False


def _fault_of(error: BaseException) -> Fault:
    """Return the fault of an environment that raised, with the line that did."""
    text = " ".join(str(error).split())
    if isinstance(error, TraceRobotError):
        return Fault("environment", text)
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if type(error).__name__ == "PhysicsError":  # dm_control's own check of the simulator's warnings
        return Fault("environment", f"{UNSTABLE}: {text}")
    return Fault("environment", text + place_of(error))


def place_of(error: BaseException) -> str:
    """Return " (FILE, line N)", the innermost line outside this library, or ""."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_own(frame.filename)]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _is_own(file: str) -> bool:
    return file.startswith(str(Path(__file__).resolve().parents[1]))


def _numbers(info: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of info that are finite: what is stored is JSON."""
    numbers = {name: float(value) for name, value in info.items() if isinstance(value, NUMBERS)}
    return {name: number for name, number in numbers.items() if math.isfinite(number)}
