"""From what a plug-in file declares to a plug-in: names, descriptions, environments."""

from __future__ import annotations

import inspect
import io
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

from trace_robot.env.declaration import Environment
from trace_robot.errors import (
    EnvironmentFault,
    MissingExtraError,
    TraceRobotError,
    UnknownNameError,
    ValueMismatchError,
    WorkspaceError,
)
from trace_robot.spec import TaskSpec

HORIZON = 1000  # steps of an episode where nobody says how many
FLAGS = ("success", "is_success")
OURS = ("control", "horizon", "task", "return_threshold")


@dataclass(frozen=True)
class Declared:
    """A plug-in made of declarations. file: where they stand; root: the folder in which its modules may lie."""

    file: str
    environments: tuple[Environment, ...]
    root: str = ""
    known: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def __name__(self) -> str:
        return self.file

    @property
    def __file__(self) -> str:
        return self.file

    def names(self) -> Sequence[str]:
        return [each.called for each in self.environments]

    def said(self, name: str) -> Environment:
        return next(each for each in self.environments if each.called == name)

    def told(self, name: str) -> tuple[str, str]:
        """Return the task and what success is, in words, as far as they are declared; nothing is made."""
        said = self.said(name)
        words = said.success_when or (
            "" if said.return_threshold is None else return_words(said.return_threshold)
        )
        return said.task, words

    def controls(self, name: str) -> tuple[str, ...]:
        return self.said(name).controls

    def describe(self, name: str, /, **options: Any) -> TaskSpec:
        """Say what an environment is. It is made once, to see its spaces, and what it says is remembered.

        options: control ("raw", or "pose" where it has a tracking controller), horizon, task, return_threshold;
        all others go to the environment itself.
        """
        about: TaskSpec = self._looked(name, options)[1]
        return about

    def make(self, name: str, /, **options: Any) -> Any:
        from trace_robot.env.adapter import EnvAdapter

        said, about, observed, acted = self._looked(name, options)
        env = self._made(said, _arguments(options), options.get("render_mode"))
        tracking = said.pose if about.control == "pose" else None
        return EnvAdapter(env, said, about, observed, acted, tracking)

    def _looked(self, name: str, options: Mapping[str, Any]) -> tuple[Environment, TaskSpec, Any, Any]:
        asked = {key: value for key, value in options.items() if key != "render_mode"}
        key = json.dumps([name, asked], sort_keys=True, default=repr)
        if key not in self.known:
            said = _with(self.said(name), asked)
            control = _control(said, asked.get("control"))
            env = self._made(said, _arguments(asked), None)
            try:
                self.known[key] = _described(said, env, control, asked)
            except WorkspaceError as error:
                raise WorkspaceError(f"{self.file}: {name}: {error}") from error
            finally:
                env.close()
        return self.known[key]  # type: ignore[no-any-return]

    def _made(self, said: Environment, arguments: Mapping[str, Any], render_mode: str | None) -> Any:
        """Make the environment itself, without gymnasium's own checks and time limit: both are done here."""
        chosen = {**said.arguments, **arguments}
        try:
            with _quiet(), importable(self.root):
                if said.make is not None:
                    extra = {} if render_mode is None else {"render_mode": render_mode}
                    env = said.make(**chosen, **extra)
                else:
                    env = _registered(said.id, chosen, render_mode)
        except TraceRobotError:
            raise
        except Exception as error:
            raise self._cannot(said, error) from error
        if not hasattr(env, "reset") or not hasattr(env, "step"):
            raise WorkspaceError(
                f"{self.file}: {said.called}: make must return a gymnasium environment, got {env!r}"
            )
        return env

    def _cannot(self, said: Environment, error: Exception) -> TraceRobotError:
        where, reason = f"{self.file}: {said.called}", " ".join(str(error).split())
        if isinstance(error, ImportError) or type(error).__name__ == "DependencyNotInstalled":
            command = f"pip install 'trace-robot[{said.needs}]'" if said.needs else "pip install it"
            return MissingExtraError(f"{where} needs a package that is missing ({reason}): {command}")
        if isinstance(error, TypeError) and "argument" in reason:
            taken = f"; it takes {names}" if (names := _taken(said)) else ""
            return ValueMismatchError(f"{where}: the environment refuses its arguments: {reason}{taken}")
        return EnvironmentFault(f"{where} cannot be made: {type(error).__name__}: {reason}")


def registered(name: str, options: Mapping[str, Any], root: str) -> Declared:
    """Return a plug-in for a gymnasium id that no file speaks of. Raises UnknownNameError if gymnasium has none."""
    module = name.rpartition(":")[0]
    if module:
        with importable(root):
            try:
                import_module(module)
            except ImportError as error:
                raise UnknownNameError(
                    f"{name}: module {module!r} cannot be imported: {error}; install it, or put it into {root}"
                ) from error
    if _spec(name) is None:
        from gymnasium.envs.registration import registry

        from trace_robot.errors import unknown

        raise unknown("environment", name, [f"{module}:{each}" for each in registry] if module else registry)
    task = options.get("task")
    if not task:
        raise ValueMismatchError(
            f"{name} is known to gymnasium, but no plug-in says what to do in it: add --task 'in words', or write"
            " a file for it in envs/"
        )
    return Declared("gymnasium", (Environment(name, str(task), name=name),), root)


@contextmanager
def importable(root: str) -> Iterator[None]:
    """Let modules in the workspace's folder be imported, after all that is installed."""
    if not root or root in sys.path:
        yield
        return
    sys.path.append(root)
    try:
        yield
    finally:
        sys.path.remove(root)


def return_words(threshold: float) -> str:
    return f"the sum of the rewards of the episode is at least {threshold:g} when it is over"


def _described(
    said: Environment, env: Any, control: str, options: Mapping[str, Any]
) -> tuple[Environment, TaskSpec, Any, Any]:
    from trace_robot.env.flatten import acted, observed

    for what in ("observation_space", "action_space"):
        if getattr(env, what, None) is None:
            raise WorkspaceError(f"the environment has no {what}; set it in its __init__")
    seen, done = observed(env.observation_space, said.observation), acted(env.action_space, said.action)
    spec = _spec(said.id) if said.make is None else getattr(env, "spec", None)
    said = _judged(said, env, spec, done)
    horizon = said.horizon or getattr(spec, "max_episode_steps", None) or HORIZON
    about = TaskSpec(
        name=said.called, instruction=said.task, observation=seen.fields, action=done.fields,
        observation_size=seen.size, low=done.low, high=done.high, horizon=horizon, success=said.success_when,
        control=control, positions=tuple(said.positions), failure=said.failure_when,
        options={**options, "control": control}, return_threshold=said.return_threshold, terms=tuple(said.terms),
        simulator_steps=horizon,
    )  # fmt: skip
    if control == "pose" and said.pose is not None:
        action, low, high = said.pose.action(about)
        options = {**about.options, "decision_steps": said.pose.steps}
        about = replace(about, action=action, low=low, high=high, options=options)
    return said, about, seen, done


def _judged(said: Environment, env: Any, spec: Any, acted: Any) -> Environment:
    """Fill in what success is, and its words, from what the environment shows in one step."""
    if said.success is None and said.return_threshold is None:
        flag = next((name for name in FLAGS if name in _info(env, acted)), None)
        threshold = getattr(spec, "reward_threshold", None)
        said = replace(said, success=flag) if flag is not None else replace(said, return_threshold=threshold)
    if not said.success_when:
        words = "the plug-in's function success says so"
        if said.return_threshold is not None:
            words = (
                f"the sum of the rewards of the episode is at least {said.return_threshold:g} when it is over"
            )
        elif isinstance(said.success, str):
            words = f"the environment says so (its info has {said.success!r})"
        elif said.success is None:
            words = ""
        said = replace(said, success_when=words)
    return said


def _info(env: Any, acted: Any) -> Mapping[str, Any]:
    """Return what the environment tells in its first step."""
    import numpy as np

    try:
        with _quiet():
            env.reset(seed=0)
            middle = (np.array(acted.low) + np.array(acted.high)) / 2
            result = env.step(acted.action(middle))
        return result[4] if isinstance(result[4], Mapping) else {}
    except TraceRobotError:
        raise
    except Exception as error:  # it is somebody else's code
        raise EnvironmentFault(
            f"{type(env.unwrapped).__name__} fails in its first step: {type(error).__name__}: {error}"
        ) from error


def _registered(name: str, arguments: Mapping[str, Any], render_mode: str | None) -> Any:
    import gymnasium

    module, _, name = name.rpartition(":")
    if module:
        with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):  # greetings and advertisements
            import_module(module)
    extra = {} if render_mode is None else {"render_mode": render_mode}
    return gymnasium.make(name, max_episode_steps=-1, disable_env_checker=True, **arguments, **extra)


def _spec(name: str) -> Any:
    from gymnasium.envs.registration import registry

    return registry.get(name.rpartition(":")[2])


def _with(said: Environment, options: Mapping[str, Any]) -> Environment:
    """Return the declaration with what was asked for instead."""
    changes: dict[str, Any] = {}
    if options.get("task"):
        changes["task"] = str(options["task"])
    if options.get("horizon") is not None:
        changes["horizon"] = options["horizon"]
    if options.get("return_threshold") is not None:
        changes |= {"return_threshold": options["return_threshold"], "success": None, "success_when": ""}
    return replace(said, **changes) if changes else said


def _control(said: Environment, control: str | None) -> str:
    if control is None:
        return "raw"
    if control not in said.controls:
        raise ValueMismatchError(
            f"control of {said.called} must be {' or '.join(map(repr, said.controls))}, got {control!r}"
            + ("" if said.pose else "; it has no tracking controller (pose=... in its plug-in)")
        )
    return control


def _arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in (*OURS, "render_mode")}


def _taken(said: Environment) -> str:
    """Name the arguments of whatever makes the environment, where that can be read."""
    try:
        target: Any = said.make
        if target is None:
            point = _spec(said.id).entry_point
            target = (
                point if callable(point) else getattr(import_module(point.split(":")[0]), point.split(":")[1])
            )
        parameters = inspect.signature(target).parameters.values()
    except (AttributeError, ImportError, TypeError, ValueError):
        return ""
    return ", ".join(p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep other packages' warnings and greetings out of what the user reads."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
