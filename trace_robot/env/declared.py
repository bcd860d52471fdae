"""Plug-ins made of declarations: a file's ENVIRONMENTS, or a bare gymnasium id."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.env.declaration import Environment, interpreter_path, with_options
from trace_robot.env.discovery import importing, installing, make_registered, missing_module, quiet
from trace_robot.errors import (
    EnvironmentFault,
    MissingExtraError,
    SimulatorDeathError,
    TraceRobotError,
    ValueMismatchError,
    WorkspaceError,
    unknown_environment,
)
from trace_robot.fault import MAKE_SECONDS
from trace_robot.spec import TaskSpec
from trace_robot.workspace import importable, load

if TYPE_CHECKING:
    from trace_robot.env.description import EnvDescription

ELSEWHERE = ", or run it in another interpreter: --python PATH (docs/other-interpreter.md)"
# Ours; all others go to the environment itself.
OPTIONS = ("control", "horizon", "task", "return_threshold", "python")


@dataclass(frozen=True, eq=False)  # compared by identity: one file is one plug-in
class DeclaredPlugin:
    """A plug-in whose environments are declared as data.

    Attributes:
        file: where the declarations are, for messages and lists; "gymnasium" where no file has them.
        environments: the declarations.
        root: the workspace's folder, from which ``make`` may import modules; "" for none.
        named: lists of its environments by name, the file's SETS.
    """

    file: str
    environments: tuple[Environment, ...]
    root: str = ""
    named: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # By name and options as JSON: an environment must be made to be described, and ``make`` and ``describe`` ask.
    _descriptions: dict[str, EnvDescription] = field(default_factory=dict, init=False, repr=False)
    _hands: dict[str, tuple[Environment, str]] = field(default_factory=dict, init=False, repr=False)

    expert = None  # a declaration has no scripted expert

    def names(self) -> Sequence[str]:
        """Return the names of its environments."""
        return [declaration.env_name for declaration in self.environments]

    def sets(self) -> Mapping[str, Sequence[str]]:
        """Return the named lists of its environments."""
        return self.named

    def controls(self, name: str, /) -> Sequence[str]:
        """Return the control modes of one environment."""
        return self._declaration(name).controls

    def solves(self, name: str, options: Mapping[str, Any], /) -> bool:
        """Return whether inverse kinematics moves an environment's hands.

        Args:
            name: one of ``names()``.
            options: as of ``describe``.
        """
        return self._with_hands(name, options)[0].solves

    def no_hand(self, name: str, options: Mapping[str, Any], /) -> str:
        """Return why the first declared position is no hand, "" where it may be one.

        Args:
            name: one of ``names()``.
            options: as of ``describe``.
        """
        return self._hands.get(_hands_key(name, options), (None, ""))[1]

    def moves_itself(self, name: str, options: Mapping[str, Any], /) -> bool:
        """Return whether an environment's own action moves a hand along x, y and z.

        Args:
            name: one of ``names()``, which ``solves``.
            options: as of ``describe``.
        """
        key = _key(name, {**{k: v for k, v in options.items() if k != "render_mode"}, "control": "raw"})
        return key in self._descriptions and bool(self._descriptions[key].spec.hands)

    def summary(self, name: str, /) -> tuple[str, str]:
        """Return task and success as declared, without making the environment."""
        from trace_robot.env.description import threshold_text

        declaration = self._declaration(name)
        success = declaration.success_when
        if not success and declaration.return_threshold is not None:
            success = threshold_text(declaration.return_threshold)
        return declaration.task, success

    def describe(self, name: str, /, **options: Any) -> TaskSpec:
        """Make an environment once to see its spaces, and remember what was found.

        Args:
            name: one of ``names()``.
            options: ``control`` ("raw", or "pose" where it has a tracking controller), ``horizon``, ``task``,
                ``return_threshold``, ``python`` (the path of an interpreter); all others go to the environment
                itself.

        Raises:
            WorkspaceError: the declaration does not fit the environment.
            ValueMismatchError: the environment refuses an option, or has no such control mode.
            MissingExtraError: a package that it needs is not installed.
            EnvironmentFault: it raises anything else.
        """
        return self._describe(name, options).spec

    def description(self, name: str, options: Mapping[str, Any], /) -> EnvDescription:
        """Return all that ``describe`` found.

        Args:
            name: one of ``names()``.
            options: as of ``describe``.
        """
        return self._describe(name, options)

    def make(self, name: str, /, **options: Any) -> Any:
        """Return the environment as an ``EnvAdapter``.

        Args:
            name: one of ``names()``.
            options: as of ``describe``, and ``render_mode``.
        """
        from trace_robot.env.adapter import EnvAdapter

        description = self._describe(name, options)
        env = self._make_env(description.declaration, _arguments(options), options.get("render_mode"))
        return EnvAdapter(env, description)

    def _with_hands(self, name: str, options: Mapping[str, Any]) -> tuple[Environment, str]:
        """Return a declaration with hands, or why it has none.

        The description that is made on the way is kept.
        """
        from trace_robot.env.description import with_found_hands
        from trace_robot.env.guard import closed
        from trace_robot.env.hand_spec import may_move_itself

        declaration = self._declaration(name)
        if declaration.hands or declaration.pose:
            return declaration, ""
        options = {key: value for key, value in options.items() if key not in ("render_mode", "control")}
        key = _hands_key(name, options)
        if key not in self._hands:
            self._hands[key] = declaration, ""
            asked = with_options(declaration, options)
            before = set(self._descriptions)  # described here too: an environment may take seconds to make
            try:
                with quiet(), closed(self._make_env(asked, _arguments(options), None)) as env:
                    found, _ = self._hands[key] = with_found_hands(declaration, env)
                    raw, pose = ({**options, "control": control} for control in ("raw", "pose"))
                    if found.solves:
                        self._described(name, with_options(found, pose), env, pose)
                    if not found.solves or may_move_itself(env):
                        self._described(name, asked, env, raw)
            # Of the environment, its close() included: raised where it is described.
            except Exception as error:
                for new in set(self._descriptions) - before:
                    del self._descriptions[new]
                if isinstance(error, SimulatorDeathError):  # by chance, perhaps: not kept
                    del self._hands[key]
                    raise SimulatorDeathError(
                        f"{self.file}: {name}: the simulator died while its hands were measured: {error}; mend it, or"
                        " name the action that moves it, hands=[Hand(..., motion=...)], or add --control raw"
                    ) from error
        return self._hands[key]

    def make_bare(self, name: str, options: Mapping[str, Any]) -> Any:
        """Return the gymnasium environment itself, not described and not checked.

        Args:
            name: one of ``names()``.
            options: as of ``describe``.
        """
        return self._make_env(with_options(self._declaration(name), options), _arguments(options), None)

    def _declaration(self, name: str) -> Environment:
        return next(declaration for declaration in self.environments if declaration.env_name == name)

    def _describe(self, name: str, options: Mapping[str, Any]) -> EnvDescription:
        from trace_robot.env.guard import closed  # with gymnasium, as below

        # What is drawn is the same environment: no second description for render_mode.
        options = {key: value for key, value in options.items() if key != "render_mode"}
        posed = options.get("control") == "pose"
        declared = self._with_hands(name, options)[0] if posed else self._declaration(name)
        declaration = with_options(declared, options)
        _control(declaration, options.get("control"))
        if (known := self._descriptions.get(_key(name, options))) is not None:
            return known
        env = self._make_env(declaration, _arguments(options), None)
        try:
            with closed(env):
                return self._described(name, declaration, env, options)
        except WorkspaceError as error:
            raise WorkspaceError(f"{self.file}: {name}: {error}") from error

    def _described(
        self, name: str, declaration: Environment, env: Any, options: Mapping[str, Any]
    ) -> EnvDescription:
        """Describe an environment that was made, and remember it."""
        # Imported here: numpy and gymnasium's spaces take longer to load than a list of environments to print.
        from trace_robot.env.description import describe_env

        # An environment that a class makes may carry a gymnasium spec as well, if its class sets one.
        if declaration.python:
            registered = env  # it has what the registry over there says
        elif declaration.make is None:
            registered = registration(declaration.id)
        else:
            registered = getattr(env, "spec", None)
        control = _control(declaration, options.get("control"))
        with quiet():
            description = describe_env(declaration, env, control, options, registered)
        if declaration.python:
            description = replace(description, versions=dict(env.versions))
        self._descriptions[_key(name, options)] = description
        return description

    def _make_env(
        self, declaration: Environment, arguments: Mapping[str, Any], render_mode: str | None
    ) -> Any:
        """Make the environment itself, and name file and remedy where it cannot be made."""
        from trace_robot.env.conformance import environment_problem
        from trace_robot.env.guard import time_limit  # with gymnasium, as above

        arguments = {**declaration.arguments, **arguments}
        try:
            with quiet(), importable(self.root), time_limit(MAKE_SECONDS, "make()"):
                if declaration.python:
                    env = self._make_remote(declaration, arguments, render_mode)
                elif declaration.make is not None:
                    extra = {} if render_mode is None else {"render_mode": render_mode}
                    env = self._maker(declaration)(**arguments, **extra)
                else:
                    env = make_registered(declaration.id, arguments, render_mode)
        except TraceRobotError:
            raise
        except (Exception, SystemExit) as error:  # a user's or a package's constructor may raise anything
            raise self._make_error(declaration, error) from error
        if problem := environment_problem(env):
            raise WorkspaceError(f"{self.file}: {declaration.env_name}: {problem}")
        return env

    def _maker(self, declaration: Environment) -> Callable[..., Any]:
        """Return the function that ``make`` is, or names as text."""
        if callable(declaration.make):
            return declaration.make
        place, _, name = str(declaration.make).rpartition(":")
        if place.endswith(".py"):
            path = Path(self.file).parent / place
            if not path.is_file():
                raise WorkspaceError(
                    f"{self.file}: {declaration.env_name}: make: there is no file {str(path)!r}"
                )
            module = load(path)
        else:
            module = import_module(place)
        if not callable(found := getattr(module, name, None)):
            where = f"{self.file}: {declaration.env_name}"
            raise WorkspaceError(f"{where}: make: {place} has no function {name!r}")
        maker: Callable[..., Any] = found
        return maker

    def _make_remote(
        self, declaration: Environment, arguments: Mapping[str, Any], render_mode: str | None
    ) -> Any:
        """Make the environment in the interpreter that the declaration or the user names."""
        from trace_robot.env.remote import RemoteCall, RemoteEnv

        # No function: a declaration refuses one beside python.
        folder, target = os.path.dirname(self.file), str(declaration.make or "")
        if target.rpartition(":")[0].endswith(".py"):
            target = os.path.join(folder, target)
        where, python = f"{self.file}: {declaration.env_name}", interpreter_path(declaration.python, folder)
        return RemoteEnv(RemoteCall(python, declaration.id, target, arguments, self.root, render_mode, where))

    def _make_error(self, declaration: Environment, error: BaseException) -> TraceRobotError:
        where, reason = f"{self.file}: {declaration.env_name}", " ".join(str(error).split())
        # gymnasium raises DependencyNotInstalled for a missing package. It is compared by name, because loading
        # gymnasium here would hide the error where gymnasium itself is what cannot be loaded.
        if isinstance(error, ImportError) or type(error).__name__ == "DependencyNotInstalled":
            if module := missing_module(error):
                reason = f"No module named {module!r}"  # without gymnasium's own remedy, which compiles Box2D
            command = installing(module, declaration.needs)
            if not callable(declaration.make):  # a function of this interpreter cannot be sent to another one
                command += ELSEWHERE
            return MissingExtraError(f"{where} needs a package that is missing ({reason}): {command}")
        # "got an unexpected keyword argument 'x'", "missing 1 required positional argument": the user's options. Any
        # other TypeError is an error in the constructor's own code.
        if isinstance(error, TypeError) and "argument" in reason:
            takes = f"; it takes {names}" if (names := _argument_names(declaration)) else ""
            return ValueMismatchError(f"{where}: the environment refuses its arguments: {reason}{takes}")
        return EnvironmentFault(f"{where} cannot be made: {type(error).__name__}: {reason}")


def _key(name: str, options: Mapping[str, Any]) -> str:
    return json.dumps([name, options], sort_keys=True, default=repr)


def _hands_key(name: str, options: Mapping[str, Any]) -> str:
    # Another interpreter may have another version of the simulator.
    return json.dumps([name, _arguments(options), options.get("python")], sort_keys=True, default=repr)


def _control(declaration: Environment, control: str | None) -> str:
    if control is None:
        return "raw"
    if control not in declaration.controls:
        modes = " or ".join(map(repr, declaration.controls))
        remedy = "" if declaration.pose else "; it has no tracking controller (pose=... in its plug-in)"
        raise ValueMismatchError(
            f"control of {declaration.env_name} must be {modes}, got {control!r}{remedy}"
        )
    return control


def _arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that go to the environment itself."""
    return {key: value for key, value in options.items() if key not in (*OPTIONS, "render_mode")}


def _argument_names(declaration: Environment) -> str:
    """Name the arguments of what makes the environment, if its signature is readable."""
    try:
        target: Any = entry_point(declaration.id) if declaration.make is None else declaration.make
        parameters = inspect.signature(target).parameters.values()
    except (AttributeError, ImportError, TypeError, ValueError):
        return ""
    return ", ".join(p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))


# Gymnasium's registry.


def gymnasium_ids() -> list[str]:
    """Return the ids that are registered now, without importing any module for more."""
    from gymnasium.envs.registration import registry

    return list(registry)


def registration(name: str) -> Any:
    """Return gymnasium's ``EnvSpec`` of an id, or None.

    A "module:" before the id is ignored.
    """
    from gymnasium.envs.registration import registry

    return registry.get(name.rpartition(":")[2])


def require_registered(name: str, root: str) -> None:
    """Import the module that registers an id, and check that it does.

    Args:
        name: a gymnasium id, with "module:" before it where a module registers it.
        root: the folder from which that module may be imported.

    Raises:
        UnknownNameError: the module cannot be imported, or gymnasium does not know the id.
    """
    module = name.rpartition(":")[0]
    if module:
        with importable(root), importing(name, module, f"install it, or put it into {root}{ELSEWHERE}"):
            import_module(module)
    if registration(name) is None:
        known: Iterable[str] = gymnasium_ids()
        raise unknown_environment(name, [f"{module}:{each}" for each in known] if module else known)


def entry_point(name: str) -> Any:
    """Return the class or function that makes a registered environment."""
    point = registration(name).entry_point
    if callable(point):
        return point
    module, _, attribute = point.partition(":")
    return getattr(import_module(module), attribute)
