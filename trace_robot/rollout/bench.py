"""The bench a worker works at: environments kept and reused, one sandbox, jobs in, episodes out."""

from __future__ import annotations

import dataclasses
import json
from collections import OrderedDict
from typing import Any

from trace_robot.env import TracedEnv, load_env

from trace_robot.rollout.episode import Episode, Job
from trace_robot.rollout.graph import join
from trace_robot.rollout.runner import run_episode
from trace_robot.sandbox import Sandbox
from trace_robot.sandbox.types import Fault, Interface
from trace_robot.spec import Array, EnvSpec

KEPT_ENVIRONMENTS = 8  # 24 MB each


class Bench:
    """Runs jobs one after the other; nothing of one job reaches the next but what is kept for speed.

    trusted: run controllers even where this machine can give no boundary.
    """

    def __init__(self, *, trusted: bool = False) -> None:
        self._trusted = trusted
        self._environments: OrderedDict[str, TracedEnv] = OrderedDict()
        self._box: Sandbox | None = None
        self._fitted: tuple[Any, ...] = ()

    def run(self, job: Job) -> Episode:
        """Run one job; what a controller does wrong is an episode that ended with "error"."""
        env = self._environment(job)
        about = env.about
        if job.program is not None:
            return self._run_program(env, about, job)
        box = self._sandbox(about, job)
        fault = box.load(job.controller or "", trace=job.trace)
        if fault is not None:
            return failed(job, about, fault)
        episode = run_episode(env.env, about, _Boxed(box), job)
        graph = join(box.graph(0), episode, about) if job.trace else ()
        return _trimmed(dataclasses.replace(episode, graph=graph, printed=box.printed(0)), job)

    def close(self) -> None:
        if self._box is not None:
            self._box.close()
        for env in self._environments.values():
            env.close()

    def _run_program(self, env: TracedEnv, about: EnvSpec, job: Job) -> Episode:
        from trace_robot.program import Program, start

        program = Program.from_data(job.program or {})
        episode = run_episode(env.env, about, _Programmed(program, about, start), job)
        if job.measure:
            from trace_robot.optimize.search import measure

            measures = measure(about, episode.observations, episode.rewards)
            episode = dataclasses.replace(episode, measures=measures)
        return _trimmed(episode, job)

    def _environment(self, job: Job) -> TracedEnv:
        key = json.dumps([job.env, dict(job.options)], sort_keys=True, default=str)
        if key not in self._environments:
            self._environments[key] = load_env(job.env, **job.options)
            if len(self._environments) > KEPT_ENVIRONMENTS:
                self._environments.popitem(last=False)[1].close()
        self._environments.move_to_end(key)
        return self._environments[key]

    def _sandbox(self, about: EnvSpec, job: Job) -> Sandbox:
        fields = {part.name: (part.start, part.stop) for part in about.observation}
        fitted = (about.observation_size, about.action_size, tuple(fields.items()), job.limits)
        if self._box is None or self._fitted != fitted:
            if self._box is not None:
                self._box.close()
            interface = Interface(about.observation_size, about.action_size, fields)
            self._box = Sandbox(interface, job.limits, preload=("trace_robot.trace",), trusted=self._trusted)
            self._fitted = fitted
        return self._box


class _Boxed:
    """A controller behind the boundary."""

    def __init__(self, box: Sandbox) -> None:
        self._box = box

    def reset(self) -> Fault | None:
        return self._box.reset(1)

    def act(self, observation: Array) -> Array | Fault:
        return self._box.call(observation[None])[0]


class _Programmed:
    """A staged program, which is data, run by its interpreter in this process."""

    def __init__(self, program: Any, about: EnvSpec, start: Any) -> None:
        self._program, self._about, self._start = program, about, start
        self._running: Any = None

    def reset(self) -> Fault | None:
        self._running = self._start(self._program, self._about)
        return None

    def act(self, observation: Array) -> Array | None:
        action: Array = self._running(observation)
        return None if self._running.finished else action


def failed(job: Job, about: EnvSpec | None, fault: Fault) -> Episode:
    """Return the episode of a job that took no step."""
    import numpy as np

    width = 0 if about is None else about.action_size
    nothing = np.zeros((0,))
    return Episode(job.seed, "error", 0, nothing, np.zeros((0, width), np.float32), np.zeros((0, 0)), fault)


def _trimmed(episode: Episode, job: Job) -> Episode:
    """Drop the observations unless they were asked for: they are most of what crosses to the parent."""
    return (
        episode
        if job.observe or job.trace
        else dataclasses.replace(episode, observations=episode.observations[:0])
    )
