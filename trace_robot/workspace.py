"""Finding and loading envs/ and policies/: the same door for what ships and for a user's own files.

A name is looked up in the working directory's workspace, then in the checkout's, then in the copy that an
installed wheel carries. TRACE_ROBOT_WORKSPACE names another directory than the working directory.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from trace_robot.errors import WorkspaceError, unknown


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
    roots = [Path(root())]
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


def root() -> str:
    """Return the folder in which the user's workspace is looked for."""
    return str(Path(os.environ.get("TRACE_ROBOT_WORKSPACE") or os.getcwd()))
