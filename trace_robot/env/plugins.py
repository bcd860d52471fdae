"""Plug-ins: which files and packages bring environments, and by which functions."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from trace_robot.child_process import captured_output
from trace_robot.env.declaration import Environment
from trace_robot.env.declared import DeclaredPlugin, require_registered
from trace_robot.env.discovery import DECLARATIONS, FUNCTIONS, Discovered, declared_names, kind_of
from trace_robot.errors import TraceRobotError, UnknownNameError, ValueMismatchError, WorkspaceError, unknown
from trace_robot.spec import Array, TaskSpec
from trace_robot.workspace import importable, load, workspaces

SETS = "SETS"  # beside them: names of environments by the name of a list, for ``bench --tasks``
GROUP = "trace_robot.envs"  # of entry points
Expert = Callable[[Array], Array]


class Plugin(Protocol):
    """The functions of one plug-in, with a default for each that its file leaves out.

    A file either declares ENVIRONMENTS, a list of ``Environment``, or defines ``names``, ``describe`` and
    ``make``. Beside these three it may define ``sets``, ``controls``, ``summary`` and ``expert``.
    """

    @property
    def file(self) -> str:
        """Where it is, for messages and lists."""
        ...

    def names(self) -> Sequence[str]:
        """Return the names of its environments."""
        ...

    def describe(self, name: str, /, **options: Any) -> TaskSpec:
        """Return what an environment is under these options, without simulating it."""
        ...

    def make(self, name: str, /, **options: Any) -> Any:
        """Return the gymnasium environment, with float64 observations and float32 actions."""
        ...

    def sets(self) -> Mapping[str, Sequence[str]]:
        """Return named lists of its environments, such as "mt10" (default: none)."""
        ...

    def controls(self, name: str, /) -> Sequence[str]:
        """Return the control modes of an environment (default: "pose" and "raw")."""
        ...

    def summary(self, name: str, /) -> tuple[str, str]:
        """Return task and success as text (default: from ``describe``)."""
        ...

    @property
    def expert(self) -> Callable[..., Expert] | None:
        """The function that returns a scripted expert (default: None).

        It takes a name and options. The expert maps a flat observation, (observation_size,), to the action it
        would take, (act_dim,).
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity: one file is one plug-in
class ModulePlugin:
    """A plug-in whose file defines the functions of ``Plugin``.

    They are looked up once, when the file is loaded. ``describe`` and ``make`` are the file's own functions,
    not wrapped, because misspelt options are found by their signatures.
    """

    file: str
    names: Callable[[], Sequence[str]]
    describe: Callable[..., TaskSpec]
    make: Callable[..., Any]
    sets: Callable[[], Mapping[str, Sequence[str]]]
    controls: Callable[[str], Sequence[str]]
    summary: Callable[[str], tuple[str, str]]
    expert: Callable[..., Expert] | None

    @classmethod
    def from_module(cls, module: Any, file: str) -> ModulePlugin:
        """Look up a module's functions and fill in the defaults.

        Args:
            module: has at least ``names``, ``describe`` and ``make``.
            file: where it is.
        """

        def described(name: str) -> tuple[str, str]:
            """Return task and success from the full description."""
            spec = module.describe(name)
            return spec.instruction, spec.success

        return cls(
            file=file,
            names=module.names,
            describe=module.describe,
            make=module.make,
            sets=getattr(module, "sets", dict),
            controls=getattr(module, "controls", lambda name: ("pose", "raw")),
            summary=getattr(module, "summary", described),
            expert=getattr(module, "expert", None),
        )


# One plug-in a module, as long as the module lives: a DeclaredPlugin remembers what its environments are, and that
# took making them. Keyed by the module object, so a file that is loaded again after an error gets a new one.
_PLUGINS: WeakKeyDictionary[ModuleType, Plugin] = WeakKeyDictionary()


def plugin_at(path: Path, root: Path) -> Plugin | None:
    """Load the plug-in that a file is.

    Args:
        path: a Python file.
        root: the workspace's folder, from which the file may import modules.

    Returns:
        The same object each time; None if the file means to be no plug-in.

    Raises:
        WorkspaceError: the file cannot be loaded, or what it declares cannot be right.
    """
    if not kind_of(path, path.stat().st_mtime_ns):
        return None
    with importable(str(root)):
        return plugin_of(load(path), str(path), str(root))


def plugin_of(module: ModuleType, file: str, root: str) -> Plugin:
    """Return the plug-in that a loaded module is, the same object each time.

    Args:
        module: has ENVIRONMENTS, or ``names``, ``describe`` and ``make``.
        file: where it is, for messages.
        root: the folder from which its environments may import modules; "" for none.

    Raises:
        WorkspaceError: ENVIRONMENTS is no list of ``Environment``, or has a name twice; or SETS names others.
    """
    plugin = _PLUGINS.get(module)
    if plugin is None:
        if hasattr(module, DECLARATIONS):
            declared = _declarations(getattr(module, DECLARATIONS), file)
            plugin = DeclaredPlugin(file, declared, root, _sets(getattr(module, SETS, {}), declared, file))
        else:
            plugin = ModulePlugin.from_module(module, file)
        _PLUGINS[module] = plugin
    return plugin


def names_of(plugin: Plugin) -> list[str]:
    """Return the names of a plug-in's environments.

    Raises:
        WorkspaceError: ``names`` raised an exception, or returned anything but a sequence of texts.
    """
    try:
        with captured_output():
            names = plugin.names()
    except TraceRobotError:
        raise
    except (Exception, SystemExit) as error:  # it may import a package that is missing, broken or another one
        text = " ".join(str(error).split())
        raise WorkspaceError(
            f"names() of {plugin.file} raised {type(error).__name__}: {text}; mend or move the file"
        ) from error
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise WorkspaceError(f"names() of {plugin.file} must return a sequence of names, got {names!r}")
    return list(names)


def packaged() -> tuple[dict[str, Plugin | WorkspaceError], list[WorkspaceError]]:
    """Return what packages bring by entry points, and what could not be loaded.

    Returns:
        By the name of each environment its plug-in, or why it has none; and the error of each package without one.
    """
    plugins: dict[str, Plugin | WorkspaceError] = {}
    errors = []
    for plugin in _packaged(tuple(sys.path)):
        if isinstance(plugin, WorkspaceError):
            errors.append(plugin)
            continue
        try:
            names = names_of(plugin)
        except TraceRobotError as error:
            errors.append(WorkspaceError(str(error)))
            continue
        for name in names:
            other = plugins.get(name, plugin)
            if isinstance(other, WorkspaceError):
                continue  # two packages claim it already
            if other is not plugin:
                errors.append(duplicate_name(name, other.file, plugin.file))
            plugins[name] = plugin if other is plugin else errors[-1]
    return plugins, errors


def duplicate_name(name: str, first: str, second: str) -> WorkspaceError:
    """Return the error for a name that two plug-ins of equal rank claim.

    Of two workspaces the first wins; within one, or among packages, there is no order to decide by.

    Args:
        name: of the environment.
        first: the file of one plug-in.
        second: the file of the other.
    """
    return WorkspaceError(f"environment {name!r} exists twice: in {first} and {second}; rename one of them")


# entry_points reads the metadata of every installed package, and names are looked up often. ``path`` is the key, so
# that a package on a changed sys.path is found.
@lru_cache(maxsize=4)
def _packaged(path: tuple[str, ...]) -> tuple[Plugin | WorkspaceError, ...]:
    plugins: list[Plugin | WorkspaceError] = []
    for point in entry_points(group=GROUP):
        package = f"package {point.dist.name}" if point.dist else f"package {point.value}"
        try:
            plugins.append(_loaded(point, f"entry point {point.name!r} of {package}"))
        except WorkspaceError as error:  # of this package alone
            plugins.append(error)
    return tuple(plugins)


def _loaded(point: EntryPoint, origin: str) -> Plugin:
    try:
        with captured_output():
            module = point.load()
    except (Exception, SystemExit) as error:  # a package's module may do anything when it is imported
        raise WorkspaceError(
            f"{origin} cannot be loaded: {type(error).__name__}: {error}; mend or uninstall the package"
        ) from error
    missing = [name for name in FUNCTIONS if not hasattr(module, name)]
    if missing and not hasattr(module, DECLARATIONS):
        raise WorkspaceError(f"{origin} must be a module with {DECLARATIONS}, or with {', '.join(FUNCTIONS)}")
    return plugin_of(module, str(getattr(module, "__file__", origin)), "")


def _declarations(value: Any, file: str) -> tuple[Environment, ...]:
    """Check what a file binds to ENVIRONMENTS: a list, or a single ``Environment``."""
    if isinstance(value, Environment):
        value = [value]
    if not isinstance(value, list | tuple) or not all(isinstance(entry, Environment) for entry in value):
        raise WorkspaceError(f"{file}: {DECLARATIONS} must be a list of Environment(...), got {value!r}")
    names = [declaration.env_name for declaration in value]
    for name in names:
        if names.count(name) > 1:
            raise WorkspaceError(
                f"{file}: environment {name!r} stands in {DECLARATIONS} twice; give one another name="
            )
    return tuple(value)


def _sets(value: Any, declared: Sequence[Environment], file: str) -> Mapping[str, Sequence[str]]:
    """Check what a file binds to SETS: names of its environments by list."""
    if not isinstance(value, Mapping) or not all(isinstance(names, list | tuple) for names in value.values()):
        raise WorkspaceError(f"{file}: {SETS} must map names to lists of environments' names, got {value!r}")
    known = [declaration.env_name for declaration in declared]
    for name, members in value.items():
        for member in members:
            if member not in known:
                raise WorkspaceError(
                    f"{file}: {SETS}: {name!r}: {unknown('environment', str(member), known)}"
                )
    return value


def plugin_of_id(name: str, options: Mapping[str, Any], root: str) -> DeclaredPlugin:
    """Return a plug-in for a gymnasium id that no file declares.

    Args:
        name: the id, with "module:" before it where a module registers it.
        options: of the environment; ``task`` is needed.
        root: the workspace's folder, in which that module may lie.

    Raises:
        UnknownNameError: gymnasium does not know the id.
        ValueMismatchError: there is no ``task``.
    """
    module = name.rpartition(":")[0]
    if module and not all(word.isidentifier() for word in module.split(".")):
        raise UnknownNameError(
            f"{name!r} must be a gymnasium id, or MODULE:ID of a module as import names it (my_package.envs), and"
            f" {module!r} is none; of a file, init takes FILE.py:NAME, and a plug-in make='FILE.py:NAME'"
        )
    if not options.get("python"):  # else that interpreter knows its ids
        require_registered(name, root)
    task = options.get("task")
    if not task:
        raise ValueMismatchError(
            f"{name} is known to gymnasium, but no plug-in says what to do in it: add --task 'as text', or write"
            " a file for it in envs/"
        )
    return DeclaredPlugin("gymnasium", (Environment(name, str(task), name=name),), root)


def discover() -> Discovered:
    """Load the plug-ins of every workspace and package that can be loaded."""
    from trace_robot.env.plugins import (  # here, as a chain of imports has a longest length
        duplicate_name,
        packaged,
    )

    found = Discovered()
    for workspace in workspaces():
        here: dict[str, Plugin] = {}
        twice: dict[str, WorkspaceError] = {}
        for path in workspace.files("envs").values():
            loaded = _load(path, Path(workspace.root))
            if isinstance(loaded, WorkspaceError):
                found.broken.append(loaded)
                found.add(list(declared_names(path)), None, loaded)
                continue
            plugin, names = loaded
            for name in names:
                if plugin is not None and name in here:
                    twice[name] = duplicate_name(name, here[name].file, str(path))
                elif plugin is not None:
                    here[name] = plugin
        for name, conflict in twice.items():
            found.broken.append(conflict)
            found.add([name], None, conflict)
        for name, plugin in here.items():
            found.add([name], plugin)
    offered, errors = packaged()
    found.broken += errors
    for name, value in offered.items():
        found.add(
            [name],
            None if isinstance(value, WorkspaceError) else value,
            value if isinstance(value, WorkspaceError) else None,
        )
    return found


# A file that cannot be loaded is executed again by every look-up, and may take seconds until it fails. So its error is
# remembered, but not for long: in a notebook its package may be installed meanwhile.
_FAILED: dict[tuple[Path, int], tuple[float, WorkspaceError]] = {}
AGAIN = 10.0  # seconds after which it is tried again


def _load(path: Path, root: Path) -> tuple[Plugin | None, list[str]] | WorkspaceError:
    """Return the plug-in that a file is with its names, or why there is none."""
    try:
        key = path, path.stat().st_mtime_ns
        since, fault = _FAILED.get(key, (-AGAIN, None))
        if fault is not None and time.monotonic() - since < AGAIN:
            return fault
        plugin = plugin_at(path, root)
        return plugin, [] if plugin is None else names_of(plugin)
    except TraceRobotError as error:
        fault = error if isinstance(error, WorkspaceError) else WorkspaceError(str(error))
        _FAILED[key] = time.monotonic(), fault
        return fault
    except OSError as error:  # deleted meanwhile, or a link to nothing
        return WorkspaceError(f"{path} cannot be read: {error.strerror or error}; mend or move the file")
