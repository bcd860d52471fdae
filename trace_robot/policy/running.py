"""Deployment in a Python program: one step at a time, or as gymnasium loops do.

The text may have been written by a language model, so it runs where rollouts run it: in the sandbox's locked process.
"""

from __future__ import annotations

import ast
import weakref
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_robot.errors import PolicyError
from trace_robot.fault import Fault, Limits, with_near_name
from trace_robot.spec import Array
from trace_robot.trace.constraints import parse_code

if TYPE_CHECKING:
    from trace_robot.policy.policy import Policy
    from trace_robot.sandbox.sandbox import Sandbox
    from trace_robot.spec import TaskSpec

SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
MOST_NUMBERS = 128  # of an action, where no environment says how many there are
FOREVER = 1e9  # seconds
# The sandbox returns a fixed number of numbers: how many the action has, these, and zeros behind them.
COUNTED = """

_asked = act


def act(observation, memory):
    action = [float(number) for number in _asked({arguments})]
    return [float(len(action)), *action, *[0.0] * ({most} - len(action))]
"""


class PolicyRunner:
    """A controller in the sandbox, which answers one observation after the other.

    Args:
        text: the controller's.
        spec: of the environment; None to take names and sizes from the first observation.
        name: of the policy, for error messages.
        limits: of time and memory; None for those of a rollout, but for the time of a whole episode, which has no end.
        trusted: run it even where this machine gives no boundary.
    """

    def __init__(
        self,
        text: str,
        spec: TaskSpec | None = None,
        *,
        name: str = "policy",
        limits: Limits | None = None,
        trusted: bool = False,
    ) -> None:
        self.text, self.spec, self.name, self.trusted = text, spec, name, trusted
        self.limits = limits or Limits(episode_seconds=FOREVER)
        self._box: Sandbox | None = None
        self._fields: dict[str, tuple[int, int]] = {}
        self._size = 0
        self._fault: Fault | None = None
        self._fresh = True

    def __getstate__(self) -> dict[str, Any]:
        # A copy, also in another process, starts a process for itself.
        return {**self.__dict__, "_box": None, "_fresh": True, "_fault": None}

    def reset(self) -> None:
        """Begin an episode, with an empty memory and no fault."""
        self._fresh, self._fault = True, None

    def close(self) -> None:
        """End the controller's process. A further ``act`` starts another."""
        if self._box is not None:
            self._box.close()
            self._box = None
        self.reset()

    def act(self, observation: Any) -> list[float]:
        """Return the action for an observation.

        Args:
            observation: a dict of named values; with a spec also the flat vector, (spec.observation_size,).

        Returns:
            Plain numbers, rounded to float32 as in a rollout, and not clipped.

        Raises:
            PolicyError: as of ``Policy.act``.
            SandboxError: this machine gives no boundary, and the controller is not trusted.
        """
        vector = self._vector(observation)
        if self._box is None:
            self._box = self._start()
        if self._fresh:
            self._fault = self._box.load(self._source()) or self._box.reset()
            self._fresh = False
        if self._fault is None:
            answer = self._box.call(vector[None])[0]
            if not isinstance(answer, Fault):
                numbers: list[float] = answer.tolist()
                return numbers if self.spec is not None else numbers[1 : 1 + int(numbers[0])]
            names = observation if self.spec is None else (part.name for part in self.spec.observation)
            self._fault = with_near_name(answer, names)
        line = "" if self._fault.line is None else f", line {self._fault.line}"
        raise PolicyError(f"policy {self.name}{line}: {self._fault.message}; reset begins a new episode")

    def _start(self) -> Sandbox:
        from trace_robot.sandbox import Interface, Sandbox

        size = MOST_NUMBERS + 1 if self.spec is None else self.spec.action_size
        interface = Interface(self._size, size, self._fields)
        box = Sandbox(interface, self.limits, preload=("trace_robot.trace",), trusted=self.trusted)
        weakref.finalize(self, box.close)  # also at the program's end, where nothing closed it
        return box

    def _source(self) -> str:
        if self.spec is not None:
            return self.text
        functions = [
            node
            for node in parse_code(self.text).body
            if isinstance(node, ast.FunctionDef) and node.name == "act"
        ]
        if not functions:
            raise PolicyError(
                f"policy {self.name} has no function act at its top level; give as_gymnasium_policy an environment"
            )
        arguments = functions[-1].args
        both = len([*arguments.posonlyargs, *arguments.args]) > 1 or arguments.vararg is not None
        given = "observation, memory" if both else "observation"
        return self.text + COUNTED.format(arguments=given, most=MOST_NUMBERS)

    def _vector(self, observation: Any) -> Array:
        """Return the observation as one flat vector of float64."""
        if not isinstance(observation, Mapping):
            if self.spec is None:
                raise PolicyError(
                    f"an observation must be a dict of named numbers, got {type(observation).__name__}; for an"
                    " environment's vectors use as_gymnasium_policy(policy, env)"
                )
            vector = _numbers("observation", observation)
            if vector.size != self.spec.observation_size:
                raise PolicyError(
                    f"the observation must have {self.spec.observation_size} numbers, got {vector.size}"
                )
            self._layout_of_spec()
            return vector
        parts = {str(name): _numbers(str(name), value) for name, value in observation.items()}
        if self.spec is not None:
            self._layout_of_spec()
        elif self._box is None:
            stops = np.cumsum([part.size for part in parts.values()]).tolist()
            self._fields = {
                name: (stop - part.size, stop)
                for (name, part), stop in zip(parts.items(), stops, strict=True)
            }
            self._size = stops[-1] if stops else 0
        vector = np.zeros(self._size)
        for name, (start, stop) in self._fields.items():
            if name not in parts:
                raise PolicyError(f"the observation lacks {name!r}; it has: {', '.join(parts) or 'nothing'}")
            if parts[name].size != stop - start:
                raise PolicyError(f"{name} must have {stop - start} numbers, got {parts[name].size}")
            vector[start:stop] = parts[name]
        unknown = sorted(set(parts) - set(self._fields))
        if unknown:
            raise PolicyError(
                f"the observation has {unknown[0]!r}, which is none of: {', '.join(self._fields)}"
            )
        return vector

    def _layout_of_spec(self) -> None:
        if self.spec is not None and not self._fields:
            self._fields = {part.name: (part.start, part.stop) for part in self.spec.observation}
            self._size = self.spec.observation_size


def _numbers(name: str, value: Any) -> Array:
    try:
        numbers = np.asarray(value, np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise PolicyError(f"{name} must be numbers, got {value!r:.80}") from error
    if not np.isfinite(numbers).all():
        raise PolicyError(f"{name} must be finite, got {value!r:.80}")
    return numbers


class GymnasiumPolicy:
    """A controller with the method ``predict`` of Stable-Baselines3's models.

    One process a parallel environment. Made by ``as_gymnasium_policy``.
    """

    def __init__(
        self, policy: Policy, spec: TaskSpec, space: Any, layouts: Any, *, trusted: bool = False
    ) -> None:
        self._fitted = policy.with_names().with_action_size(spec.action_size).require_act()
        self.spec, self._space, self._layouts, self._trusted = spec, space, layouts, trusted
        self._runners: list[PolicyRunner] = []

    def reset(self) -> None:
        """Begin an episode."""
        for runner in self._runners:
            runner.reset()

    def close(self) -> None:
        """End the processes."""
        for runner in self._runners:
            runner.close()

    def __call__(self, observation: Any) -> Any:
        """Return the action for one observation, as ``env.step`` takes it."""
        return self._act(0, observation)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Return actions and ``state``.

        Args:
            observation: one observation of the environment, or one for each of several, stacked.
            state: handed back; the controller's memory is in its process.
            episode_start: (n,) whether each of n environments begins an episode; their memory is then emptied.
            deterministic: without effect, as a controller draws no random numbers of the loop's.

        Raises:
            PolicyError: the controller has a fault, or an observation does not fit.
        """
        starts = None if episode_start is None else np.asarray(episode_start, bool).reshape(-1)
        first = next(iter(observation.values())) if isinstance(observation, Mapping) else observation
        space = next(iter(self._space.values())) if isinstance(observation, Mapping) else self._space
        if np.ndim(first) == len(space.shape or ()):
            if starts is not None and starts.any():
                self.reset()
            return self._act(0, observation), state
        count = len(first)
        for number, begins in enumerate(starts if starts is not None else ()):
            if begins and number < len(self._runners):
                self._runners[number].reset()
        rows = [
            {key: part[number] for key, part in observation.items()}
            if isinstance(observation, Mapping)
            else observation[number]
            for number in range(count)
        ]
        return np.stack([np.asarray(self._act(number, row)) for number, row in enumerate(rows)]), state

    def _act(self, number: int, observation: Any) -> Any:
        while len(self._runners) <= number:
            self._runners.append(
                PolicyRunner(self._fitted.text, self.spec, name=self._fitted.name, trusted=self._trusted)
            )
        flat = observation if self._layouts is None else self._layouts[0].flat(observation)
        action = np.array(self._runners[number].act(flat), np.float32)
        action = np.clip(action, np.array(self.spec.low, np.float32), np.array(self.spec.high, np.float32))
        return action if self._layouts is None else self._layouts[1].action(action)


def as_gymnasium_policy(
    policy: Policy, env: Any, *, name: str | None = None, trusted: bool = False
) -> GymnasiumPolicy:
    """Return a controller for a gymnasium loop and for ``evaluate_policy``.

    Args:
        policy: of ``load_policy``.
        env: the gymnasium environment that the loop steps: one of ``trace_robot.env.registry.make``, or any whose id
            has a description here, such as ``gymnasium.make("CartPole-v1")``; or several such, as a VectorEnv of
            gymnasium or a VecEnv of Stable-Baselines3.
        name: under which the environment is described; None for the id in ``env.spec``.
        trusted: run the controller even where this machine has no sandbox.

    Returns:
        ``policy(observation)`` gives an action of the environment's own space, clipped to its bounds; ``predict`` is
        that of Stable-Baselines3.

    Raises:
        PolicyError: the policy acts in another control mode than the environment, or has no act.
        UnknownNameError: no environment of that name is described.
    """
    from trace_robot.env.registry import describe, make, task_spec_of

    if not hasattr(policy, "with_names"):
        raise PolicyError(f"a policy is needed, got {policy!r:.80}; load_policy({policy!r:.80}) returns one")
    if not hasattr(env, "observation_space"):
        raise PolicyError(
            f"a gymnasium environment is needed, got {env!r:.80}; make it first, and give it here"
        )
    space = getattr(env, "single_observation_space", env.observation_space)
    spec = None if name is not None else task_spec_of(env) or _attribute_of_first(env, "task_spec")
    if spec is not None:
        _require_control(policy, spec.control)
        return GymnasiumPolicy(policy, spec, space, None, trusted=trusted)
    known = name or getattr(getattr(env, "spec", None) or _attribute_of_first(env, "spec"), "id", None)
    if known is None:
        raise PolicyError("the environment has no id; give the name of its description: name='my-robot'")
    _require_control(policy, "raw")
    spec = describe(known, control="raw")
    described = make(known, control="raw")
    layouts = getattr(described, "layouts", None)
    described.close()
    if layouts is None and space.shape != (spec.observation_size,):
        raise PolicyError(
            f"{known} must be made by trace_robot.env.registry.make, as its observations are not gymnasium's"
        )
    return GymnasiumPolicy(policy, spec, space, layouts, trusted=trusted)


def _attribute_of_first(env: Any, name: str) -> Any:
    """Return an attribute of the first of a VecEnv's environments, None without it."""
    # Asked before it is read: a process of SubprocVecEnv ends at the AttributeError.
    if not (hasattr(env, "has_attr") and env.has_attr(name)):
        return None
    return env.get_attr(name, indices=0)[0]


def _require_control(policy: Policy, control: str) -> None:
    if policy.control not in (None, control):
        raise PolicyError(
            f"policy {policy.name} acts in control mode {policy.control!r}, and the environment takes {control!r};"
            f" make it with trace_robot.env.registry.make(name, control={policy.control!r})"
        )


def binds(tree: ast.Module, name: str) -> bool:
    """Return whether a module may have a name once it is loaded.

    In doubt it may, as after ``import *``: a refusal must never be wrong, and the sandbox finds out anyway.

    Args:
        tree: of the module.
        name: of a function or a variable.
    """
    return any(_binds(node, name) for node in _outside_functions(tree))


def _outside_functions(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes of the module's scope, and the ``global`` of its functions."""
    waiting: list[ast.AST] = [tree]  # a stack of our own: a long sum is as deep as it has terms
    while waiting:
        for child in ast.iter_child_nodes(waiting.pop()):
            yield child
            if isinstance(child, SCOPES):
                yield from (inside for inside in ast.walk(child) if isinstance(inside, ast.Global))
            else:
                waiting.append(child)


def _binds(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name == name
    if isinstance(node, ast.Name):
        return (node.id == name and isinstance(node.ctx, ast.Store)) or node.id in ("globals", "exec", "vars")
    if isinstance(node, ast.alias):
        return (node.asname or node.name) in (name, "*")
    if isinstance(node, ast.Global):
        return name in node.names
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        return node.name == name
    return False
