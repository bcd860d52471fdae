"""Plug-in discovery with fault isolation: a file that cannot be loaded stops none of the others."""

from __future__ import annotations

import ast
import difflib
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trace_robot.child_process import captured_output
from trace_robot.errors import UnknownNameError, WorkspaceError

if TYPE_CHECKING:
    from trace_robot.env.plugins import Plugin

# In a file that is no Python: what Environment(...) begins with.
DECLARED = re.compile(r"""\bEnvironment\(\s*(?:id\s*=\s*)?["']([^"'\n]+)["']""")

SHOWN = 200  # characters of the first file's error


PluginKind = Literal["", "functions", "declared"]
FUNCTIONS = ("names", "describe", "make")
DECLARATIONS = "ENVIRONMENTS"


@lru_cache(maxsize=256)
def kind_of(path: Path, modified: int) -> PluginKind:
    """Find out by parsing whether a file means to be a plug-in, executing nothing.

    Other people's folders are called envs/ too, and their scripts must not run because a name is looked up.

    Args:
        path: a Python file.
        modified: its time of change in nanoseconds; part of the cache's key.

    Returns:
        "declared" if it binds ENVIRONMENTS, "functions" if it binds ``names``, else "".

    Raises:
        WorkspaceError: it is not Python, or has ``names`` without ``describe`` or ``make``.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, SyntaxError, ValueError) as error:
        raise WorkspaceError(f"{path} cannot be read as Python: {error}; mend or move the file") from error
    # Top level only: a script that has ``names`` inside a function is no plug-in.
    bound = {name for statement in tree.body for name in _bound_names(statement)}
    if DECLARATIONS in bound:
        return "declared"
    if "names" not in bound:
        return ""
    missing = [name for name in FUNCTIONS if name not in bound]
    if missing:
        raise WorkspaceError(f"{path} lacks {' and '.join(missing)}; a plug-in has {', '.join(FUNCTIONS)}")
    return "functions"


def _bound_names(statement: ast.stmt) -> list[str]:
    """Return the names that a statement of a module's top level binds."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id]
    if isinstance(statement, ast.ImportFrom):
        return [alias.asname or alias.name for alias in statement.names]
    return []


@dataclass(slots=True)
class Discovered:
    """The plug-ins of all workspaces and packages, and what could not be loaded.

    Attributes:
        plugins: by the name of the environment; the first workspace with a name wins, and packages come last.
        refused: why a name has no plug-in although a file declares it: the file is broken, or two files claim it.
        broken: the error of every file and package that could not be loaded.
    """

    plugins: dict[str, Plugin] = field(default_factory=dict)
    refused: dict[str, WorkspaceError] = field(default_factory=dict)
    broken: list[WorkspaceError] = field(default_factory=list)

    def add(self, names: list[str], plugin: Plugin | None, error: WorkspaceError | None = None) -> None:
        """Take in what one place offers, unless a place before it has the name.

        Args:
            names: of environments.
            plugin: theirs; None where it cannot be had.
            error: why.
        """
        for name in names:
            if name not in self.plugins and name not in self.refused:
                if plugin is not None:
                    self.plugins[name] = plugin
                elif error is not None:
                    self.refused[name] = error

    def of_id(self, name: str) -> tuple[Plugin, str] | None:
        """Return the plug-in that declares an id, and its environment's name.

        Args:
            name: "MODULE:ID", or "ID" of what goes by another name, or a ``make`` as text.

        Returns:
            None where no plug-in does, or where several do and gymnasium has the id.

        Raises:
            WorkspaceError: several environments are made of it.
        """
        named = [
            (plugin, each.env_name)
            for plugin in dict.fromkeys(self.plugins.values())
            for each in getattr(plugin, "environments", ())
            if self.plugins.get(each.env_name) is plugin
            and name in (each.id, each.id.rpartition(":")[2], each.make)
        ]
        if len(named) > 1 and ":" not in name:
            return None  # of gymnasium, as its id says
        if len(named) > 1:
            names = ", ".join(own for _, own in named)
            raise WorkspaceError(f"{name!r} is declared as {names}; name one of them")
        return named[0] if named else None

    def unknown(self, error: UnknownNameError) -> UnknownNameError:
        """Return an error of an unknown name that also tells what could not be loaded."""
        if not self.broken:
            return error
        more = f", and {len(self.broken) - 1} more" if len(self.broken) > 1 else ""
        first = " ".join(str(self.broken[0]).split())
        first = first if len(first) <= SHOWN else f"{first[:SHOWN]}..."
        return UnknownNameError(f"{error} (not loaded: {first}{more})")

    def unknown_module(self, name: str, error: UnknownNameError) -> UnknownNameError:
        """Return the error of a module with what may be meant.

        Args:
            name: "MODULE:ID".
            error: why it is not known.
        """
        module, _, own = name.rpartition(":")
        if own in self.plugins:
            return UnknownNameError(f"{error}; did you mean {own!r}?")
        if not isinstance(error.__cause__, ModuleNotFoundError):
            return error
        first, dot, rest = module.partition(".")
        near = difflib.get_close_matches(first, metadata.packages_distributions(), n=1, cutoff=0.75)
        return (
            UnknownNameError(f"{error}; did you mean {f'{near[0]}{dot}{rest}:{own}'!r}?") if near else error
        )


def declared_names(path: Path) -> Iterator[str]:
    """Yield the names that a file declares, found by its text: it cannot be loaded."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    try:
        tree = ast.parse(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        yield from (match.rpartition(":")[2] for match in DECLARED.findall(text))
        return
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", getattr(node.func, "id", "")) == "Environment"
        ):
            given: dict[str | None, ast.expr] = {each.arg: each.value for each in node.keywords}
            for value in (given.get("name"), given.get("id"), *node.args[:1]):
                if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value:
                    yield value.value if value is given.get("name") else value.value.rpartition(":")[2]
                    break


# Packages of environments whose pins may not hold any more, as pip only warns of that when it installs another package.
PINNING = ("metaworld", "gymnasium-robotics", "dm-control", "panda-gym", "shimmy", "gymnasium", "trace-robot")


def version_conflicts() -> list[str]:
    """Return which versions cannot work together, a line each."""
    return [line for name in PINNING for line in _conflicts_of(name)]


def _conflicts_of(name: str) -> Iterator[str]:
    try:
        needed, own = metadata.requires(name) or [], metadata.version(name)
    except metadata.PackageNotFoundError:
        return
    from packaging.requirements import (
        Requirement,  # where something is wrong, and not for a list of environments
    )

    for text in needed:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            continue  # an import tells that better
        if not requirement.specifier.contains(found, prereleases=True):
            wanted = f"{requirement.name}{requirement.specifier}"
            yield (
                f"{name} {own} needs {wanted}, and {found} is installed: pip install {wanted!r}, and give the"
                " environment that wants another one an interpreter to itself (docs/other-interpreter.md)"
            )


NOT_FOR_ENVIRONMENTS = ("docs", "test")  # extras of those who work on trace_robot


def missing_module(error: BaseException | None) -> str:
    """Return the module that an import did not find, "" where the error names none.

    gymnasium raises an error from that of the import. A submodule counts as its package.
    """
    while error is not None and not (isinstance(error, ModuleNotFoundError) and error.name):
        error = error.__cause__ or error.__context__
    return str(error.name).partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""


def installing(module: str, needs: str) -> str:
    """Return the command that installs what is missing, by an extra with it.

    Args:
        module: that was not found; "" where it is not known.
        needs: the extra that an environment names; taken for what no extra has, unless all of it is installed.
    """
    extras = _extras()
    having = [extra for extra, names in extras.items() if _as_module(module) in map(_as_module, names)]
    lacking = needs and not all(map(_installed, extras.get(needs, ())))
    if needs in having or (lacking and not having) or (needs and not extras):
        return f"pip install 'trace-robot[{needs}]'"
    return f"pip install 'trace-robot[{having[0]}]'" if having else f"pip install {module or 'it'}"


def _extras() -> dict[str, list[str]]:
    """Return the packages of each extra, as installed metadata has them."""
    from packaging.requirements import Requirement  # as above

    found: dict[str, list[str]] = {}
    with suppress(metadata.PackageNotFoundError):
        for text in metadata.requires("trace-robot") or []:
            extra = re.search(r"""\bextra == ["']([^"']+)["']""", text)
            if extra and extra[1] not in NOT_FOR_ENVIRONMENTS:
                found.setdefault(extra[1], []).append(Requirement(text).name)
    return found


def _as_module(package: str) -> str:
    """Return the module that a package brings, such as pygame of pygame-ce."""
    return package.lower().replace("-", "_").removesuffix("_ce")


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


@contextmanager
def quiet() -> Iterator[None]:
    """Keep other packages' warnings and prints out of what the user reads."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    with warnings.catch_warnings(), captured_output():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def importing(name: str, module: str, remedy: str) -> Iterator[None]:
    """Turn whatever an import raises into UnknownNameError.

    A package registers its environments when it is imported, and may miss a file or a display then, use what gymnasium
    no longer has, or exit.

    Args:
        name: of the environment.
        module: that is imported in the context.
        remedy: the end of the message where it is missing.
    """
    try:
        with quiet():
            yield
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())
        why = text if isinstance(error, ImportError) else f"{type(error).__name__}: {text}"
        end = (
            remedy
            if isinstance(error, ImportError)
            else "mend it, or install a version that goes with gymnasium"
        )
        raise UnknownNameError(f"{name}: module {module!r} cannot be imported: {why}; {end}") from error


def make_registered(name: str, arguments: Mapping[str, Any], render_mode: str | None) -> Any:
    """Make a registered environment, without gymnasium's time limit and checker.

    ``EnvAdapter`` counts the steps and checks every value itself; ``horizon`` may be longer than gymnasium's limit.

    Args:
        name: a gymnasium id, with "module:" before it where a module registers it.
        arguments: keyword arguments of the environment.
        render_mode: handed to the environment unless it is None.
    """
    import gymnasium

    module, _, name = name.rpartition(":")
    if module:
        import_module(module)
    extra = {} if render_mode is None else {"render_mode": render_mode}
    return gymnasium.make(name, max_episode_steps=-1, disable_env_checker=True, **arguments, **extra)
