"""Finding and loading envs/ and policies/: the same door for what ships and for a user's own files.

A name is looked up in the working directory's workspace, then in the checkout's, then in the copy that an
installed wheel carries. TRACE_ROBOT_WORKSPACE names another directory than the working directory.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.machinery
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast

from trace_robot.errors import UnknownNameError, WorkspaceError
from trace_robot.spec import EnvSpec

PLUGIN_NAMES = ("names", "describe", "make")


class Plugin(Protocol):
    """What a file in envs/ offers.

    names: the environments it knows. describe: one of them in words and sizes, without starting anything.
    make: the gymnasium environment itself, with float64 observations and float32 actions.

    A file may also offer ``sets()``, named lists of its environments ("mt10"), and ``expert(name, **options)``:
    a function from a flat observation to the action that the environment's scripted expert would take.
    """

    __name__: str
    __file__: str

    def names(self) -> Sequence[str]: ...

    def describe(self, name: str, /, **options: Any) -> EnvSpec: ...

    def make(self, name: str, /, **options: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Workspace:
    """A directory with envs/ and policies/ in it."""

    root: Path

    def files(self, folder: str) -> dict[str, Path]:
        """Return the Python files below ``folder`` by name; policies may lie in subfolders ("zoo/reach-v3")."""
        top = self.root / folder
        pattern = "*.py" if folder == "envs" else "**/*.py"
        paths = sorted(path for path in top.glob(pattern) if path.is_file())
        named = {path.relative_to(top).with_suffix("").as_posix(): path for path in paths}
        return {name: path for name, path in named.items() if not path.name.startswith(("_", "."))}


def workspaces() -> tuple[Workspace, ...]:
    """Return the workspaces in the order in which names are looked up; each directory once."""
    package = Path(__file__).resolve().parent
    roots = [Path(os.environ.get("TRACE_ROBOT_WORKSPACE") or os.getcwd())]
    if (package.parent / "pyproject.toml").is_file():
        roots.append(package.parent)
    roots.append(package / "_workspace")
    unique = dict.fromkeys(root.resolve() for root in roots)
    return tuple(
        Workspace(root) for root in unique if (root / "envs").is_dir() or (root / "policies").is_dir()
    )


def files(folder: str) -> dict[str, Path]:
    """Return every file of ``folder`` by name; what comes first in the order of look-up wins."""
    found: dict[str, Path] = {}
    for workspace in workspaces():
        for name, path in workspace.files(folder).items():
            found.setdefault(name, path)
    return found


def find(folder: str, name: str) -> Path:
    """Return the file called ``name`` in ``folder`` of the first workspace that has it."""
    known = files(folder)
    if name not in known:
        raise unknown({"policies": "policy", "envs": "environment file"}.get(folder, folder), name, known)
    return known[name]


def policies() -> tuple[str, ...]:
    """Return the names of all policies."""
    return tuple(files("policies"))


def environments() -> tuple[str, ...]:
    """Return the names of all environments of all plug-ins, each once."""
    return tuple(_environments())


def describe(name: str, /, **options: Any) -> EnvSpec:
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
    known = _environments()
    if name not in known:
        raise unknown("environment", name, known)
    return known[name]


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Return the error for a name that is not there: one line, with what may have been meant."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    near = near or [each for each in names if name.lower() in each.lower()][:3]
    if near:
        return UnknownNameError(f"no {kind} {name!r}; did you mean {' or '.join(map(repr, near))}?")
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return UnknownNameError(f"no {kind} {name!r}; known: {shown or 'none'}")


def load(path: Path) -> ModuleType:
    """Execute a workspace's Python file, once: the same file gives the same module object.

    The file can import its neighbours with ``from .folder import thing``.
    """
    path = path.resolve()
    package = _package(path.parent)
    try:
        return importlib.import_module(f"{package}.{path.stem}")
    except Exception as error:
        sys.modules.pop(f"{package}.{path.stem}", None)
        place = _place(error, path)
        raise WorkspaceError(
            f"{path} cannot be loaded: {type(error).__name__}: {error}{place}; mend or move the file"
        ) from error


def _package(folder: Path) -> str:
    """Return the name of a package whose modules are the files of ``folder``; nothing of it is executed."""
    name = f"trace_robot_workspace_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        module = ModuleType(name)
        module.__path__ = [str(folder)]
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        module.__spec__ = spec
        sys.modules[name] = module
    return name


def _place(error: Exception, path: Path) -> str:
    if isinstance(error, SyntaxError):
        return f" (line {error.lineno})" if error.lineno else ""
    frame, line = error.__traceback__, 0
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == str(path):
            line = frame.tb_lineno
        frame = frame.tb_next
    return f" (line {line})" if line else ""


def _environments() -> dict[str, Plugin]:
    """Return the plug-in of every environment; the first workspace that knows a name wins."""
    found: dict[str, Plugin] = {}
    for workspace in workspaces():
        here: dict[str, Plugin] = {}
        for path in workspace.files("envs").values():
            if not _is_plugin(path, path.stat().st_mtime_ns):
                continue
            module = cast(Plugin, load(path))
            for name in _names(module, path):
                if name in here:
                    raise WorkspaceError(
                        f"environment {name!r} exists twice: in {here[name].__file__} and {path}; rename one of them"
                    )
                here[name] = module
        for name, module in here.items():
            found.setdefault(name, module)
    return found


@lru_cache(maxsize=256)
def _is_plugin(path: Path, modified: int) -> bool:
    """Say whether a file means to be a plug-in: it binds ``names``. Other people's files are left alone."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, SyntaxError, ValueError) as error:
        raise WorkspaceError(f"{path} cannot be read as Python: {error}; mend or move the file") from error
    bound = {name for statement in tree.body for name in _bound(statement)}
    if "names" not in bound:
        return False
    missing = [name for name in PLUGIN_NAMES if name not in bound]
    if missing:
        raise WorkspaceError(f"{path} lacks {' and '.join(missing)}; a plug-in has {', '.join(PLUGIN_NAMES)}")
    return True


def _bound(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    if isinstance(statement, ast.ImportFrom):
        return [alias.asname or alias.name for alias in statement.names]
    return []


def _names(module: Plugin, path: Path) -> list[str]:
    names = module.names()
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise WorkspaceError(f"names() of {path} must return a sequence of names, got {names!r}")
    return list(names)


def _call(name: str, function: str, options: dict[str, Any]) -> Any:
    """Call a plug-in's function; an option that it does not take is an error of one line."""
    module = plugin(name)
    for called in (module.describe, module.make):
        parameters = list(inspect.signature(called).parameters.values())
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            allowed = [parameter.name for parameter in parameters[1:]]
            for option in options:
                if option not in allowed:
                    raise unknown(f"option of {name}", option, allowed)
    return getattr(module, function)(name, **options)
