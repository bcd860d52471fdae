"""To be named."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from trace_robot.env.declared import importable, registered
from trace_robot.env.plugins import Plugin, kind_of, names_of, packaged, plugin_of, twice
from trace_robot.errors import UnknownNameError, WorkspaceError, unknown
from trace_robot.spec import TaskSpec
from trace_robot.workspace import files, load, root, workspaces

IS_NONE = "it has neither ENVIRONMENTS nor names, describe and make; see docs/environments.md"


def environments() -> tuple[str, ...]:
    """Return the names of all environments of all plug-ins, each once."""
    return tuple(_environments())


def describe(name: str, /, **options: Any) -> TaskSpec:
    """Return what an environment says of itself under these options; nothing is simulated."""
    return _call(name, "describe", options)  # type: ignore[no-any-return]


def make(name: str, /, **options: Any) -> Any:
    """Return the plain gymnasium environment called ``name``."""
    return _call(name, "make", options)


def sets() -> dict[str, tuple[str, ...]]:
    """Return the named lists of environments that the plug-ins offer; the first workspace that has one wins."""
    found: dict[str, tuple[str, ...]] = {}
    for module in {id(module): module for module in _environments().values()}.values():
        for name, members in getattr(module, "sets", dict)().items():
            found.setdefault(name, tuple(members))
    return found


def expert(name: str, /, **options: Any) -> Callable[[Any], Any]:
    """Return the scripted expert of an environment, asked for at feedback level "expert" only."""
    require_expert(name)
    return _call(name, "expert", options)  # type: ignore[no-any-return]


def require_expert(name: str) -> None:
    """Raise UnknownNameError if the environment comes with no scripted expert; none is loaded."""
    if not hasattr(plugin(name), "expert"):
        raise UnknownNameError(
            f"{name} has no scripted expert, which feedback level 'expert' asks; use outcome, terms or hindsight"
        )


def plugin(name: str) -> Plugin:
    """Return the plug-in that knows the environment ``name``."""
    return _lookup(name, {"task": name})[0]


def controls(name: str) -> tuple[str, ...]:
    """Return the control modes that an environment has."""
    module, name = _lookup(name, {"task": name})
    modes = getattr(module, "controls", None)
    return ("pose", "raw") if modes is None else tuple(modes(name))


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """What a list of environments shows of one. file: of its plug-in; success: in words, empty where found later."""

    name: str
    instruction: str
    success: str
    file: str


def catalogue() -> list[CatalogEntry]:
    """Return every environment of every plug-in; those that are merely declared are not made for it."""
    entries = []
    for name, module in _environments().items():
        told = getattr(module, "told", None)
        if told is not None:
            instruction, success = told(name)
        else:
            spec = module.describe(name)
            instruction, success = spec.instruction, spec.success
        entries.append(CatalogEntry(name, instruction, success, module.__file__))
    return entries


def _environments() -> dict[str, Plugin]:
    """Return the plug-in of every environment; the first workspace that knows a name wins, packages come last."""
    found: dict[str, Plugin] = {}
    for workspace in workspaces():
        here: dict[str, Plugin] = {}
        for path in workspace.files("envs").values():
            module = _plugin_at(path, workspace.root)
            for name in () if module is None else names_of(module, str(path)):
                if name in here:
                    raise twice(name, here[name].__file__, str(path))
                here[name] = cast(Plugin, module)
        for name, module in here.items():
            found.setdefault(name, module)
    for name, module in packaged().items():
        found.setdefault(name, module)
    return found


def _plugin_at(path: Path, root: Path) -> Plugin | None:
    """Return the plug-in that a file is, None if it means to be none."""
    if not kind_of(path, path.stat().st_mtime_ns):
        return None
    with importable(str(root)):
        return plugin_of(load(path), str(path), str(root))


def _lookup(name: str, options: Mapping[str, Any]) -> tuple[Plugin, str]:
    """Return who knows the environment called ``name``, and the name under which.

    A name is an environment's; or a plug-in file's, or the path of one, that has a single environment; or a
    gymnasium id, with "module:" before it where a module registers it.
    """
    if name.endswith(".py"):
        return only(Path(root(), name))
    known = _environments()
    if name in known:
        return known[name], name
    if name in files("envs") and _plugin_at(path := files("envs")[name], path.parent.parent) is not None:
        return only(path)
    try:
        return cast(Plugin, registered(name, options, root())), name
    except UnknownNameError as error:
        if ":" in name:
            raise
        raise unknown("environment", name, [*known, *gymnasium_ids()]) from error


def only(path: Path) -> tuple[Plugin, str]:
    """Return the plug-in of a file and its single environment's name; raise WorkspaceError where it has more."""
    if not path.is_file():
        raise WorkspaceError(f"no plug-in file {str(path)!r}; see: trace-robot envs")
    module = _plugin_at(path.resolve(), path.resolve().parent.parent)
    if module is None:
        raise WorkspaceError(f"{path} is no plug-in: {IS_NONE}")
    names = names_of(module, str(path))
    if len(names) != 1:
        raise WorkspaceError(f"{path} has {len(names)} environments; name one: {', '.join(names)}")
    return module, names[0]


def named_in(name: str) -> list[str]:
    """Return the environments that ``name`` stands for: all of a file in envs/ or at a path, else itself."""
    path = Path(root(), name) if name.endswith(".py") else files("envs").get(name)
    if path is None or (not name.endswith(".py") and name in _environments()):
        return [name]
    if not path.is_file():
        raise WorkspaceError(f"no plug-in file {str(path)!r}; see: trace-robot envs")
    module = _plugin_at(path.resolve(), path.resolve().parent.parent)
    if module is None:
        raise WorkspaceError(f"{path} is no plug-in: {IS_NONE}")
    names = names_of(module, str(path))
    return [name] if len(names) == 1 else names


def gymnasium_ids() -> list[str]:
    """Return the ids that gymnasium knows of by itself."""
    from gymnasium.envs.registration import registry

    return list(registry)


def _call(name: str, function: str, options: dict[str, Any]) -> Any:
    """Call a plug-in's function; an option that it does not take is an error of one line."""
    module, name = _lookup(name, options)
    for called in (module.describe, module.make):
        parameters = list(inspect.signature(called).parameters.values())
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            allowed = [parameter.name for parameter in parameters[1:]]
            for option in options:
                if option not in allowed:
                    raise unknown(f"option of {name}", option, allowed)
    return getattr(module, function)(name, **options)
