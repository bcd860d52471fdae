"""Environments by name, and the wrapper that speaks in nodes."""

from __future__ import annotations

from typing import Any

import gymnasium

from trace_robot.env.conformance import require
from trace_robot.env.registry import describe, environments, make, plugin
from trace_robot.errors import OrderError
from trace_robot.spec import Array, TaskSpec
from trace_robot.trace.errors import failure
from trace_robot.trace.node_types import Node
from trace_robot.trace.operation import Operation
from trace_robot.trace.wrapping import lift, made

__all__ = ["TracedEnv", "describe", "environments", "load_env", "make"]

RESET = Operation("reset", "[reset] the environment gives the first observation of the episode.")
STEP = Operation("step", "[step] the environment applies the action and gives the next observation.")
REWARD = Operation("reward", "[reward] the reward of the step that gave this observation.")
INPUTS = ("observation", "action")


class TracedEnv(gymnasium.Wrapper[Any, Any, Array, Array]):
    """An environment whose observations and rewards are nodes.

    An observation node holds a dict of the fields that ``spec.observation`` names. ``step`` takes a node, a
    list with nodes in it, or plain numbers, and links the new observation to the one before and the action, and
    the reward to the new observation. An action that fails raises ExecutionError if it was traced, so that
    feedback can go to what made it, else the fault itself. ``env`` is the environment without nodes.
    """

    def __init__(self, env: gymnasium.Env[Array, Array], spec: TaskSpec) -> None:
        super().__init__(env)
        self.task_spec = spec
        self._seen: Node | None = None
        self._parts = [
            (each.name, slice(each.start, each.stop)) for each in spec.observation if each.size > 1
        ]
        self._numbers = [(each.name, each.start) for each in spec.observation if each.size == 1]
        self._nothing = dict.fromkeys(each.name for each in spec.observation)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Node, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._seen = made(self._named(observation), RESET, (), ())
        return self._seen, info

    def step(self, action: Any) -> tuple[Node, Node, bool, bool, dict[str, Any]]:
        before = self._seen
        if before is None:
            raise OrderError("step before the first reset; call reset() first")
        node = lift(action, "action")
        parents = (before, node)
        try:
            observation, reward, terminated, truncated, info = self.env.step(node._data)
        except Exception as error:
            if not node.parents and not getattr(node, "trainable", False):
                raise
            raise failure(error, STEP, INPUTS, parents) from error
        self._seen = made(self._named(observation), STEP, INPUTS, parents)
        return self._seen, made(float(reward), REWARD, INPUTS[:1], (self._seen,)), terminated, truncated, info

    def _named(self, observation: Array) -> dict[str, Any]:
        """Return what ``spec.named`` returns, as views: nobody else has this observation."""
        named: dict[str, Any] = self._nothing.copy()
        for name, part in self._parts:
            named[name] = observation[part]
        for name, index in self._numbers:
            named[name] = observation.item(index)
        return named


def load_env(name: str, /, **options: Any) -> TracedEnv:
    """Return the environment called ``name``; ``options`` are its plug-in's, and a misspelt one is an error.

    Raises UnknownNameError for a name or option that is not there, WorkspaceError for a plug-in that says
    something else than it does.
    """
    spec = describe(name, **options)
    env = make(name, **options)
    spec = getattr(env.unwrapped, "task_spec", spec)
    require(plugin(name).__file__, spec, env)
    return TracedEnv(env, spec)
