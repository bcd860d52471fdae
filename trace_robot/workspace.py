"""Discovery of files in envs/ and policies/: the user's own and those that ship.

A name is looked up in the working directory's workspace, then in the checkout's, then in the copy that an
installed wheel carries. TRACE_ROBOT_WORKSPACE names another directory than the working directory. What a file
means is not known here: ``trace_robot.env.registry`` finds environments, ``trace_robot.policy`` reads policies.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from trace_robot.child_process import captured_output, workspace_root
from trace_robot.errors import WorkspaceError, unknown

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
        UnknownNameError: no workspace has this name; the message suggests similar names.
    """
    known = files(folder)
    if name not in known:
        raise unknown(KINDS.get(folder, folder), name, known)
    return known[name]


def policies() -> tuple[str, ...]:
    """Return the names of all policies."""
    return tuple(files("policies"))


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
        raise WorkspaceError(
            f"{path} cannot be loaded: {type(error).__name__}: {error}{_line(error, path)}; mend or move the file"
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
