"""A gymnasium wrapper whose observations and rewards are nodes of the trace graph."""

from __future__ import annotations

from typing import Any

import gymnasium

from trace_robot.env.registry import make_described
from trace_robot.errors import OrderError
from trace_robot.spec import Array, TaskSpec
from trace_robot.trace.errors import failure
from trace_robot.trace.node_types import Node
from trace_robot.trace.operation import Operation
from trace_robot.trace.wrapping import lift, made

RESET = Operation("reset", "[reset] the environment gives the first observation of the episode.")
STEP = Operation("step", "[step] the environment applies the action and gives the next observation.")
REWARD = Operation("reward", "[reward] the reward of the step that gave this observation.")
INPUTS = ("observation", "action")


class TracedEnv(gymnasium.Wrapper[Any, Any, Array, Array]):
    """An environment whose observations and rewards are nodes.

    An observation node holds a dict of the fields that ``spec.observation`` names. ``step`` takes a node, a
    list with nodes in it, or plain numbers, and links the new observation to the one before and the action, and
    the reward to the new observation. ``env`` is the environment without nodes.
    """

    def __init__(self, env: gymnasium.Env[Array, Array], spec: TaskSpec) -> None:
        """Wrap an environment.

        Args:
            env: float64 observations, (spec.observation_size,), and float32 actions, (spec.action_size,).
            spec: its description.
        """
        super().__init__(env)
        self.task_spec = spec
        self._last_observation: Node | None = None
        # The fields are sorted out once: ``_named`` runs in every step.
        self._arrays = [
            (field.name, slice(field.start, field.stop)) for field in spec.observation if field.size > 1
        ]
        self._numbers = [(field.name, field.start) for field in spec.observation if field.size == 1]
        self._names = dict.fromkeys(field.name for field in spec.observation)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Node, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: of the initial condition; None for the environment's next.
            options: handed to the environment.

        Returns:
            The first observation as a node without parents, and the info.
        """
        observation, info = self.env.reset(seed=seed, options=options)
        self._last_observation = made(self._named(observation), RESET, (), ())
        return self._last_observation, info

    def step(self, action: Any) -> tuple[Node, Node, bool, bool, dict[str, Any]]:
        """Apply an action and return observation, reward, terminated, truncated and info.

        Raises:
            ExecutionError: the environment raised and the action was traced, so that feedback can go to what
                computed it. For plain numbers the environment's own exception is raised.
            OrderError: a step before the first reset.
        """
        before = self._last_observation
        if before is None:
            raise OrderError("step before the first reset; call reset() first")
        node = lift(action, "action")
        parents = (before, node)
        try:
            observation, reward, terminated, truncated, info = self.env.step(node._data)
        except Exception as error:  # an environment may raise anything
            if not node.parents and not getattr(node, "trainable", False):
                raise
            raise failure(error, STEP, INPUTS, parents) from error
        seen = self._last_observation = made(self._named(observation), STEP, INPUTS, parents)
        return seen, made(float(reward), REWARD, INPUTS[:1], (seen,)), terminated, truncated, info

    def _named(self, observation: Array) -> dict[str, Any]:
        """Return what ``spec.named`` returns, as views and not copies."""
        # Views are safe: the environment copied this observation for its caller.
        named: dict[str, Any] = self._names.copy()  # in the order of the fields
        for name, part in self._arrays:
            named[name] = observation[part]
        for name, index in self._numbers:
            named[name] = observation.item(index)
        return named


def load_env(name: str, /, **options: Any) -> TracedEnv:
    """Make an environment by name, traced.

    Args:
        name: of an environment ("reach-v3"), a plug-in file or its path, or a gymnasium id.
        options: of its plug-in, such as ``control="raw"``; for a bare gymnasium id ``task`` is needed.

    Raises:
        UnknownNameError: no plug-in has the name or takes an option; the message suggests similar ones.
        WorkspaceError: a plug-in cannot be loaded, or its environment differs from its description.
    """
    return TracedEnv(*make_described(name, **options))
