"""Discovery of files in envs/ and policies/: the user's own and those that ship.

A name is looked up in the working directory's workspace, then in the checkout's, then in the copy that an
installed wheel carries. TRACE_ROBOT_WORKSPACE names another directory than the working directory. What a file
means is not known here: ``trace_robot.env.registry`` finds environments, ``trace_robot.policy`` reads policies.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from trace_robot.child_process import captured_output, workspace_root
from trace_robot.errors import UnknownNameError, WorkspaceError, unknown

RUNS = Path("rollouts") / "runs"  # of the folder that a command is typed in
KINDS = {"policies": "policy", "envs": "environment file"}  # what an error calls one file of a folder


@dataclass(frozen=True, slots=True)
class Workspace:
    """A directory with envs/ and policies/ in it."""

    root: Path

    def files(self, folder: str) -> dict[str, Path]:
        """Return the Python files below ``folder`` by name.

        Those that begin with "_" or "." are left out. Policies may lie in subfolders and are then called
        "zoo/reach-v3". Subfolders of envs/ hold the modules that plug-ins import, so only the files directly in it
        have a name.
        """
        top = self.root / folder
        pattern = "*.py" if folder == "envs" else "**/*.py"
        paths = sorted(path for path in top.glob(pattern) if path.is_file())
        by_name = {path.relative_to(top).with_suffix("").as_posix(): path for path in paths}
        return {name: path for name, path in by_name.items() if not path.name.startswith(("_", "."))}


def workspaces() -> tuple[Workspace, ...]:
    """Return the workspaces in the order of look-up, each directory once."""
    package = Path(__file__).resolve().parent
    roots = [Path(workspace_root())]
    # A checkout has pyproject.toml beside the package. In site-packages the package's neighbors are strangers,
    # and a folder envs/ among them must not be taken for ours.
    if (package.parent / "pyproject.toml").is_file():
        roots.append(package.parent)
    roots.append(package / "_workspace")
    unique = dict.fromkeys(root.resolve() for root in roots)
    return tuple(
        Workspace(root) for root in unique if (root / "envs").is_dir() or (root / "policies").is_dir()
    )


def files(folder: str) -> dict[str, Path]:
    """Return every file of ``folder`` by name, of equal names the first workspace's."""
    paths: dict[str, Path] = {}
    for workspace in workspaces():
        for name, path in workspace.files(folder).items():
            paths.setdefault(name, path)
    return paths


def find(folder: str, name: str) -> Path:
    """Look up a file by name in all workspaces.

    Args:
        folder: "envs" or "policies".
        name: the file without ".py", with its subfolder before it: "zoo/reach-v3".

    Returns:
        The path in the first workspace that has the name.

    Raises:
        UnknownNameError: no workspace has this name; the message suggests similar names, or says that it is a run's.
    """
    known = files(folder)
    if name in known:
        return known[name]
    best = RUNS / name / "best.py"
    if folder == "policies" and best.is_file():
        raise UnknownNameError(f"no policy {name!r}, which is a run; give {str(best)!r}, its best")
    raise unknown(KINDS.get(folder, folder), name, known)


def policies() -> tuple[str, ...]:
    """Return the names of all policies."""
    return tuple(files("policies"))


def recordings() -> dict[str, Path]:
    """Return the workspaces' recordings by name.

    A recording is rollouts/recordings/NAME.json beside NAME.jsonl.
    """
    paths: dict[str, Path] = {}
    for workspace in workspaces():
        for path in sorted((workspace.root / "rollouts" / "recordings").glob("*.json")):
            paths.setdefault(path.stem, path)
    return paths


def load(path: Path) -> ModuleType:
    """Import a workspace's Python file, or return its module if it was imported.

    The file can import its neighbors with ``from .folder import thing``.

    Raises:
        WorkspaceError: the file raises an exception, with its line.
    """
    # Symbolic links are resolved first, or one file under two paths would be two modules with two sets of classes.
    path = path.resolve()
    package = _package(path.parent)
    try:
        if (module := sys.modules.get(f"{package}.{path.stem}")) is not None:
            return module
        with captured_output():  # what a file prints when it is loaded is no part of a command's output
            return importlib.import_module(f"{package}.{path.stem}")
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        sys.modules.pop(f"{package}.{path.stem}", None)
        more = ", or install what it imports" if isinstance(error, ImportError) else ""
        raise WorkspaceError(
            f"{path} cannot be loaded: {type(error).__name__}: {error}{_line(error, path)}; mend or move the file{more}"
        ) from error


@contextmanager
def importable(root: str) -> Iterator[None]:
    """Append a workspace's folder to ``sys.path`` while the context is open.

    It comes last: a user's file called numpy.py must not take the place of an installed package. An empty
    ``root`` changes nothing.
    """
    if not root or root in sys.path:
        yield
        return
    sys.path.append(root)
    try:
        yield
    finally:
        sys.path.remove(root)


def _package(folder: Path) -> str:
    """Return the name of a package whose modules are the files of ``folder``.

    Nothing is executed. The name has a hash of the path in it, because two workspaces may both have envs/mine.py.
    """
    name = f"trace_robot_workspace_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    if name not in sys.modules:
        module = ModuleType(name)
        module.__path__ = [str(folder)]
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        module.__spec__ = spec
        sys.modules[name] = module
    return name


def _line(error: BaseException, path: Path) -> str:
    """Return " (line N)", the innermost line of ``path`` in the traceback, or nothing."""
    if isinstance(error, SyntaxError):
        return f" (line {error.lineno})" if error.lineno else ""
    frame, line = error.__traceback__, 0
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == str(path):
            line = frame.tb_lineno
        frame = frame.tb_next
    return f" (line {line})" if line else ""


# What a store of another person may name. Such a file is never executed or parsed itself: it can name what is
# installed, or what lies in the user's own workspace.

STORE = "runs.sqlite"  # marks a folder of runs, all of which may be a stranger's
_NAME = re.compile(r"(?:(?P<module>[A-Za-z_][\w.]*):)?[\w+-][\w.+-]*(?:/[\w+-][\w.+-]*)?")
_PATH_LIKE = re.compile(r"[/\\<>~\x00-\x1f]|^\.")
DEEPEST = 5  # levels of an environment's options; worlds have four
LONGEST_OPTION = 200  # characters of a text among an environment's options; a task is a sentence or two
LONGEST_TASK = 2_000


def require_named(name: Any) -> None:
    """Refuse a stranger's environment unless it is one by name: an allow-list.

    That is the name of something installed or of the workspace.

    Raises:
        WorkspaceError: it is a path, or a module that is neither installed nor in the workspace's own folder; or the
            workspace is a folder of runs, whose files would be found by name.
    """
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None or name.endswith(".py"):
        raise WorkspaceError(
            f"the run names its environment {name!r:.200}, which is no name; only what is installed or in envs/ is run"
        )
    root = Path(workspace_root()).resolve()
    if any((folder / STORE).exists() for folder in (root, *root.parents)):
        raise WorkspaceError(
            f"{str(root)!r} is in a folder of runs, in which no environment is looked up; change to your workspace"
        )
    module = match["module"]
    if module is not None and not _is_own_module(module.partition(".")[0], root):
        raise WorkspaceError(
            f"the run names the module {module!r}, which is not installed; only installed packages are imported"
        )


def require_plain_options(options: Any, python: str | None = None) -> None:
    """Refuse a stranger's options if one may be a path or a document.

    Args:
        options: of an environment.
        python: the interpreter that this user chose for it, the only one they may name; None for none.

    Raises:
        WorkspaceError: one is, or they are no mapping of plain values.
    """
    if not isinstance(options, Mapping):
        raise WorkspaceError(f"options of an environment must be a mapping, got {type(options).__name__}")
    for name, value in options.items():
        if name == "python":
            if python is None or value != python:
                raise WorkspaceError(
                    f"the run would start the interpreter {value!r:.200}, and only you may choose one: resume it with"
                    " --python PATH"
                )
        elif not _is_plain(value, task=name == "task"):
            raise WorkspaceError(
                f"the run gives its environment {name!r:.80} = {value!r:.120}, which may be a path; only numbers and"
                " plain words are passed on"
            )


def require_own_file(path: Any) -> None:
    """Refuse a stranger's model file unless it is installed or in the workspace.

    Raises:
        WorkspaceError: it lies elsewhere after links are resolved, or below a folder of runs.
    """
    try:
        place = Path(path).resolve(strict=True)
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        raise WorkspaceError(
            f"the model file {path!r:.300} is not there; install what the run was made with"
        ) from error
    roots = [*_installed(), *(workspace.root for workspace in workspaces())]
    if not place.is_file() or not any(_is_below(place, root) for root in roots):
        raise WorkspaceError(
            f"the model file {str(place)!r} is neither of an installed package nor in your workspace; a store may name"
            " no other"
        )


def _is_plain(value: Any, *, task: bool, depth: int = 0) -> bool:
    if value is None or isinstance(value, bool | int | float):
        return True
    if isinstance(value, str):
        if not task:
            return len(value) <= LONGEST_OPTION and not _PATH_LIKE.search(value)
        # Sentences may hold a slash. They are no XML, and no file of that name is there.
        prose = not re.search(r"^[/.~\\]|<\s*[\w!?/]|[\x00-\x09\x0b-\x1f]", value)
        return len(value) <= LONGEST_TASK and prose and not os.path.exists(value[:LONGEST_OPTION])
    if isinstance(value, list | tuple) and depth < DEEPEST:
        return all(_is_plain(item, task=False, depth=depth + 1) for item in value)
    if isinstance(value, Mapping) and depth < DEEPEST:
        return all(_is_plain(item, task=False, depth=depth + 1) for pair in value.items() for item in pair)
    return False


def _installed() -> list[Path]:
    """Return the folders of installed packages, without the current folder."""
    here = {Path.cwd().resolve(), Path(workspace_root()).resolve()}
    folders = {Path(entry).resolve() for entry in sys.path if entry} | {Path(__file__).resolve().parent}
    return [folder for folder in folders if folder.is_dir() and folder not in here]


def _is_below(place: Path, root: Path) -> bool:
    """Return whether a file lies below a folder, with no folder of runs between."""
    if not place.is_relative_to(root):
        return False
    between = [root, *(folder for folder in place.parents if folder.is_relative_to(root) and folder != root)]
    return not any((folder / STORE).exists() or folder.name == "rollouts" for folder in between)


def _is_own_module(name: str, root: Path) -> bool:
    if name in sys.stdlib_module_names:  # importing some of them does things, and none has environments
        return False
    found = importlib.machinery.PathFinder.find_spec(name, [str(folder) for folder in _installed()])
    if found is None or found.origin is None:  # without an origin: a folder that happens to have that name
        return (root / f"{name}.py").is_file() or (root / name / "__init__.py").is_file()
    origin = Path(found.origin).resolve()
    return any(_is_below(origin, folder) for folder in _installed())
