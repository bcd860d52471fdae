"""Which Python files are plug-ins, which packages bring some, and what they have in them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol, cast

from trace_robot.env.declaration import Environment
from trace_robot.env.declared import Declared
from trace_robot.errors import WorkspaceError
from trace_robot.spec import TaskSpec

PLUGIN_NAMES = ("names", "describe", "make")
DECLARED = "ENVIRONMENTS"
GROUP = "trace_robot.envs"
Kind = Literal["", "functions", "declared"]


class Plugin(Protocol):
    """What a file in envs/ offers; one that has ENVIRONMENTS, a list of ``Environment``, gets these functions.

    names: the environments it knows. describe: one of them in words and sizes, without starting anything.
    make: the gymnasium environment itself, with float64 observations and float32 actions.

    A file may also offer ``sets()``, named lists of its environments ("mt10"), ``controls(name)``, the control modes
    of one (without it: "pose" and "raw"), and ``expert(name, **options)``: a function from a flat observation to the
    action that the environment's scripted expert would take.
    """

    __name__: str
    __file__: str

    def names(self) -> Sequence[str]: ...

    def describe(self, name: str, /, **options: Any) -> TaskSpec: ...

    def make(self, name: str, /, **options: Any) -> Any: ...


@lru_cache(maxsize=256)
def kind_of(path: Path, modified: int) -> Kind:
    """Say whether a file means to be a plug-in: it binds ``names`` or ENVIRONMENTS. Other files are left alone."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, SyntaxError, ValueError) as error:
        raise WorkspaceError(f"{path} cannot be read as Python: {error}; mend or move the file") from error
    bound = {name for statement in tree.body for name in _bound(statement)}
    if DECLARED in bound:
        return "declared"
    if "names" not in bound:
        return ""
    missing = [name for name in PLUGIN_NAMES if name not in bound]
    if missing:
        raise WorkspaceError(f"{path} lacks {' and '.join(missing)}; a plug-in has {', '.join(PLUGIN_NAMES)}")
    return "functions"


def plugin_of(module: ModuleType, file: str, root: str) -> Plugin:
    """Return the plug-in that a loaded module is; the same object each time."""
    if not hasattr(module, DECLARED):
        return cast(Plugin, module)
    made = vars(module).get("__trace_robot_plugin__")
    if made is None:
        made = Declared(file, _declared(getattr(module, DECLARED), file), root)
        vars(module)["__trace_robot_plugin__"] = made
    return cast(Plugin, made)


def names_of(plugin: Plugin, file: str) -> list[str]:
    names = plugin.names()
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise WorkspaceError(f"names() of {file} must return a sequence of names, got {names!r}")
    return list(names)


def packaged() -> dict[str, Plugin]:
    """Return the plug-in of every environment that an installed package registers as ``trace_robot.envs``."""
    found: dict[str, Plugin] = {}
    for file, plugin in _packaged(tuple(sys.path)):
        for name in names_of(plugin, file):
            if name in found:
                raise twice(name, found[name].__file__, file)
            found[name] = plugin
    return found


@lru_cache(maxsize=4)
def _packaged(path: tuple[str, ...]) -> tuple[tuple[str, Plugin], ...]:
    plugins = []
    for point in entry_points(group=GROUP):
        said = f"entry point {point.name!r} of package {point.dist.name if point.dist else point.value}"
        try:
            module = point.load()
        except Exception as error:  # a package's module may do anything when it is imported
            raise WorkspaceError(
                f"{said} cannot be loaded: {type(error).__name__}: {error}; mend or uninstall the package"
            ) from error
        missing = [name for name in PLUGIN_NAMES if not hasattr(module, name)]
        if missing and not hasattr(module, DECLARED):
            raise WorkspaceError(
                f"{said} must be a module with {DECLARED}, or with {', '.join(PLUGIN_NAMES)}"
            )
        plugins.append((said, plugin_of(module, str(getattr(module, "__file__", said)), "")))
    return tuple(plugins)


def twice(name: str, one: str, other: str) -> WorkspaceError:
    return WorkspaceError(f"environment {name!r} exists twice: in {one} and {other}; rename one of them")


def _declared(said: Any, file: str) -> tuple[Environment, ...]:
    if isinstance(said, Environment):
        said = [said]
    if not isinstance(said, list | tuple) or not all(isinstance(each, Environment) for each in said):
        raise WorkspaceError(f"{file}: {DECLARED} must be a list of Environment(...), got {said!r}")
    names = [each.called for each in said]
    for name in names:
        if names.count(name) > 1:
            raise WorkspaceError(
                f"{file}: environment {name!r} stands in {DECLARED} twice; give one another name="
            )
    return tuple(said)


def _bound(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id]
    if isinstance(statement, ast.ImportFrom):
        return [alias.asname or alias.name for alias in statement.names]
    return []
