"""Environments by name: descriptions, environments and experts of all plug-ins.

A name is an environment's; or a plug-in file's, or the path of one; or a gymnasium id.
"""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trace_robot.child_process import captured_output, workspace_root
from trace_robot.env.conformance import require
from trace_robot.env.declared import DeclaredPlugin, gymnasium_ids
from trace_robot.env.discovery import version_conflicts
from trace_robot.env.equipment import Equipment, equip
from trace_robot.env.plugins import Expert, Plugin, discover, names_of, plugin_at, plugin_of_id
from trace_robot.errors import (
    EnvironmentFault,
    MissingExtraError,
    TraceRobotError,
    UnknownNameError,
    WorkspaceError,
    unknown,
    unknown_environment,
)
from trace_robot.spec import TaskSpec
from trace_robot.workspace import files

NOT_A_PLUGIN = "it has neither ENVIRONMENTS nor names, describe and make; see docs/environments.md"
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
# For questions about a plug-in: a bare gymnasium id has none without a task.
ANY_TASK: Mapping[str, Any] = MappingProxyType({"task": "any"})


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """What a list of environments shows of one.

    Attributes:
        name: of the environment.
        instruction: what a controller must do, as text.
        success: what success is, as text; empty where only the environment itself can tell.
        file: of its plug-in.
    """

    name: str
    instruction: str
    success: str
    file: str


def environments() -> tuple[str, ...]:
    """Return the names of all environments of all plug-ins, each once."""
    return tuple(_plugins())


def catalogue() -> list[CatalogEntry]:
    """Return every environment of every plug-in, making none that is declared."""
    return [CatalogEntry(name, *_summary(plugin, name), plugin.file) for name, plugin in _plugins().items()]


def not_loaded() -> list[str]:
    """Return why files of environments could not be loaded, a line each."""
    return [" ".join(str(error).split()) for error in discover().broken]


def _summary(plugin: Plugin, name: str) -> tuple[str, str]:
    try:
        with foreign(f"{name} cannot be described"):
            return plugin.summary(name)
    except TraceRobotError as error:  # its package is missing or another version: the list goes on
        return " ".join(str(error).split()), ""


def sets() -> dict[str, tuple[str, ...]]:
    """Return the named lists of environments of all plug-ins.

    Of two lists of one name the first workspace's wins.
    """
    lists: dict[str, tuple[str, ...]] = {}
    for plugin in dict.fromkeys(_plugins().values()):
        with suppress(TraceRobotError), foreign(f"sets() of {plugin.file}"):
            for name, members in plugin.sets().items():
                lists.setdefault(name, tuple(members))
    return lists


def describe(name: str, /, **options: Any) -> TaskSpec:
    """Return what an environment is under these options, without simulating it.

    Args:
        name: of an environment, a plug-in file with one, or a gymnasium id.
        options: of its plug-in, such as ``control="raw"``; for a bare gymnasium id ``task`` is needed.

    Raises:
        UnknownNameError: no plug-in has the name or takes an option; the message suggests similar ones.
        WorkspaceError: a plug-in cannot be loaded, or declares what does not fit.
    """
    equipment, rest = Equipment.split(options)
    plugin, name = _lookup_checked(name, rest)
    spec = _described(plugin, name, rest)
    if equipment is None:
        return spec
    return replace(spec, options={**spec.options, **equipment.to_options()})


def make(name: str, /, **options: Any) -> Any:
    """Return the gymnasium environment, without nodes.

    ``load_env`` returns one that is traced.

    Args:
        name: as of ``describe``.
        options: as of ``describe``.

    Raises:
        UnknownNameError: as of ``describe``.
        WorkspaceError: as of ``describe``.
    """
    equipment, rest = Equipment.split(options)
    asked = name
    plugin, name = _lookup_checked(name, rest)
    from trace_robot.env.guard import guarded  # with gymnasium, which a list of environments does not need

    with foreign(f"{plugin.file}: {name} cannot be made"):
        env = guarded(plugin.make(name, **rest), f"{plugin.file}: {name}")
    if asked.endswith(".py") and _plugins().get(name) is not plugin and hasattr(env.unwrapped, "drawn_as"):
        env.unwrapped.drawn_as = str(Path(workspace_root(), asked).resolve())  # no name finds it to draw it
    return (
        env
        if equipment is None
        else equip(env, _described(plugin, name, rest), with_raw(name, rest, equipment))
    )


def with_raw(name: str, options: Mapping[str, Any], equipment: Equipment) -> Equipment:
    """Return equipment whose envelope knows the environment's own action.

    Args:
        name: of the environment.
        options: of its plug-in, without the equipment.
        equipment: returned as it is where it has no envelope.
    """
    if equipment.envelope is None or "raw" not in controls(name, options):
        return equipment
    return replace(equipment, raw=describe(name, **{**options, "control": "raw"}))


def _described(plugin: Plugin, name: str, options: Mapping[str, Any]) -> TaskSpec:
    with foreign(f"{plugin.file}: {name} cannot be described"):
        return plugin.describe(name, **options)


@contextmanager
def foreign(what: str) -> Iterator[None]:
    """Capture a plug-in's prints, and turn what it raises into EnvironmentFault.

    Args:
        what: the beginning of the message.
    """
    try:
        with captured_output():
            yield
    except (
        EnvironmentFault,
        MissingExtraError,
    ) as error:  # of a package, perhaps of one in a version that is not meant
        if conflicts := version_conflicts():
            raise type(error)(f"{error}; {conflicts[0]}") from error
        raise
    except TraceRobotError:
        raise
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())
        because = "".join(f"; {conflict}" for conflict in version_conflicts()[:1])
        raise EnvironmentFault(f"{what}: {type(error).__name__}: {text}{because}") from error


def make_described(name: str, /, **options: Any) -> tuple[Any, TaskSpec]:
    """Return an environment with its description, one checked against the other.

    Args:
        name: of an environment ("reach-v3"), a plug-in file or its path, or a gymnasium id.
        options: of its plug-in.

    Raises:
        UnknownNameError: no plug-in has the name or takes an option.
        WorkspaceError: a plug-in cannot be loaded, or its environment differs from its description.
    """
    spec = describe(name, **options)
    env = make(name, **options)
    found = task_spec_of(env)
    if found is not None:
        equipment, _ = Equipment.split(options)
        own = {} if equipment is None else equipment.to_options()
        spec = replace(found, options={**found.options, **own})
    require(plugin(name, options).file, spec, env)
    return env, spec


def task_spec_of(env: Any) -> TaskSpec | None:
    """Return the spec in an environment's attribute ``task_spec``, None without one.

    It is what the environment really is, where ``describe`` is what was asked for: Meta-World's falls back to
    upstream's engine when versions differ.
    """
    spec = getattr(env.unwrapped, "task_spec", None)
    return spec if isinstance(spec, TaskSpec) else None


def expert(name: str, /, **options: Any) -> Expert:
    """Return the scripted expert of an environment.

    It is used at feedback level "expert" only.

    Args:
        name: as of ``describe``.
        options: as of ``describe``.

    Returns:
        A function from a flat observation, (observation_size,), to the expert's action, (act_dim,).

    Raises:
        UnknownNameError: the environment comes with no scripted expert, or as of ``describe``.
    """
    scripted = _expert(name, options)
    _, rest = Equipment.split(options)
    _, name = _lookup_checked(name, rest)
    return scripted(name, **rest)


def require_expert(name: str, options: Mapping[str, Any] = NO_OPTIONS) -> None:
    """Check that an environment comes with a scripted expert, without loading it.

    Args:
        name: as of ``describe``.
        options: as of ``plugin``.

    Raises:
        UnknownNameError: it has none.
    """
    _expert(name, options)


def plugin(name: str, options: Mapping[str, Any] = NO_OPTIONS) -> Plugin:
    """Return the plug-in that knows an environment.

    Args:
        name: as of ``describe``.
        options: likewise; ``python`` decides which ids are known.
    """
    return _lookup(name, {**ANY_TASK, **options})[0]


def declared_success(name: str) -> str:
    """Return the entry of info that is declared as success, or ""."""
    with suppress(TraceRobotError):
        plugin, own = _lookup(name, ANY_TASK)
        for declared in getattr(plugin, "environments", ()):
            if declared.env_name == own and isinstance(declared.success, str):
                return str(declared.success)
    return ""


def controls(name: str, options: Mapping[str, Any] = NO_OPTIONS) -> tuple[str, ...]:
    """Return the control modes that an environment has, such as ("pose", "raw").

    Args:
        name: as of ``describe``.
        options: as of ``plugin``.
    """
    plugin, name = _lookup(name, {**ANY_TASK, **options})
    return tuple(plugin.controls(name))


def usual_control(name: str, preferred: str, options: Mapping[str, Any] = NO_OPTIONS) -> str:
    """Return the control mode of an environment where none is asked for.

    Args:
        name: of an environment.
        preferred: taken where it has that mode; but an arm in joint space is moved by its hands, and "raw" is for
            what moves a hand along x, y and z by itself.
        options: as of ``plugin``. Worlds and the like, which are no arguments of the environment, decide nothing.
    """
    plugin, name = _lookup(name, {**ANY_TASK, **options})
    options = Equipment.split(options)[1]
    if isinstance(plugin, DeclaredPlugin) and plugin.solves(name, options):
        return "raw" if preferred == "raw" and plugin.moves_itself(name, options) else "pose"
    modes = tuple(plugin.controls(name))
    return preferred if preferred in modes else modes[-1]


def expand_name(name: str) -> list[str]:
    """Expand the name or path of a plug-in file to its environments' names.

    Any other name stands for itself, and so does a file with a single environment.

    Raises:
        WorkspaceError: the path of a file that is not there, or of one that is no plug-in.
    """
    if name.endswith(".py"):
        path = Path(workspace_root(), name)
    elif name in files("envs") and name not in _plugins():
        path = files("envs")[name]
    else:
        return [name]
    names = names_of(_plugin_file(path))
    return [name] if len(names) == 1 else names


def _plugins() -> dict[str, Plugin]:
    """Return the plug-in of every environment that can be loaded."""
    return discover().plugins


def _expert(name: str, options: Mapping[str, Any]) -> Callable[..., Expert]:
    scripted = plugin(name, options).expert
    if scripted is None:
        raise UnknownNameError(
            f"{name} has no scripted expert, which feedback level 'expert' asks; use outcome, terms or hindsight"
        )
    return scripted


def _lookup(name: str, options: Mapping[str, Any]) -> tuple[Plugin, str]:
    """Return the plug-in that knows an environment, and the plug-in's name for it.

    Args:
        name: an environment's; or a plug-in file's, or the path of one, that has a single environment; or the id
            that a plug-in declares under another name; or a gymnasium id, with "module:" before it where a module
            registers it. They are tried in this order, so that a plug-in may take the place of a gymnasium id.
        options: of the environment; a gymnasium id needs ``task``.
    """
    file = name.rpartition(":")[0]
    if file.endswith(".py") and Path(file).stem not in files("envs"):
        raise UnknownNameError(
            f"{name} is a class or a function of a file, which a plug-in opens:"
            f" trace-robot init --env {shlex.quote(name)} --write envs/NAME.py"
        )
    if name.endswith(".py"):
        return _single_environment(Path(workspace_root(), name))
    found = discover()
    if name in found.plugins:
        return found.plugins[name], name
    if name in found.refused:
        raise found.refused[name]
    path = files("envs").get(name)
    if path is not None and plugin_at(path, path.parent.parent) is not None:
        return _single_environment(path)
    if (declared := found.of_id(name)) is not None:
        return declared
    try:
        return plugin_of_id(name, options, workspace_root()), name
    except UnknownNameError as error:
        if ":" in name:
            raise found.unknown_module(name, error) from error  # it already speaks of that module's ids
        raise found.unknown(unknown_environment(name, [*found.plugins, *gymnasium_ids()])) from error


def _lookup_checked(name: str, options: Mapping[str, Any]) -> tuple[Plugin, str]:
    """Look up an environment, and refuse options that its plug-in does not take.

    They are compared with the signatures before the call, because a TypeError of the call could as well be an
    error in the plug-in's own code.
    """
    plugin, name = _lookup(name, options)
    for function in (plugin.describe, plugin.make):
        parameters = list(inspect.signature(function).parameters.values())
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            known = [parameter.name for parameter in parameters[1:]]
            for option in options:
                if option not in known:
                    raise unknown(f"option of {name}", option, known)
    return plugin, name


def _single_environment(path: Path) -> tuple[Plugin, str]:
    """Return the plug-in of a file and the name of its only environment."""
    plugin = _plugin_file(path)
    names = names_of(plugin)
    if len(names) != 1:
        raise WorkspaceError(f"{path} has {len(names)} environments; name one: {', '.join(names)}")
    return plugin, names[0]


def _plugin_file(path: Path) -> Plugin:
    """Return the plug-in of a file that the user named."""
    if not path.is_file():
        raise WorkspaceError(f"no plug-in file {str(path)!r}; see: trace-robot envs")
    plugin = plugin_at(path.resolve(), path.resolve().parent.parent)
    if plugin is None:
        raise WorkspaceError(f"{path} is no plug-in: {NOT_A_PLUGIN}")
    return plugin
