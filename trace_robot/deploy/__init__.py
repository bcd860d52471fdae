"""Deploy a controller: as one Python file or as C99, with a contract, without executing it.

deployed = deploy(load_policy("zoo/pick_place_v3"), "pick-place-v3", to="c", out=Path("robot"))
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trace_robot import safe_files
from trace_robot.deploy.c_code import write_c
from trace_robot.deploy.contract import DeployPlan, about, contract, plan
from trace_robot.deploy.printer import identifier
from trace_robot.deploy.python_code import write_python
from trace_robot.deploy.values import OutsideSubsetError
from trace_robot.errors import RunError, UsageError
from trace_robot.policy import Policy

__all__ = ["TARGETS", "DeployPlan", "Deployment", "OutsideSubsetError", "deploy", "files_of", "plan"]

TARGETS = ("python", "c")
CONTRACT = "contract.json"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A controller that was written.

    Attributes:
        files: that were written, the contract last.
        contract: as it stands in contract.json.
    """

    files: tuple[Path, ...]
    contract: Mapping[str, Any]


def files_of(planned: DeployPlan, to: str, name: str = "controller") -> tuple[dict[str, str], dict[str, Any]]:
    """Return the files by name, and the contract.

    Args:
        planned: the translated controller.
        to: "python" or "c".
        name: of the files, and the beginning of C's names.

    Raises:
        UsageError: there is no such target, or the name is none in C and Python.
    """
    if to not in TARGETS:
        raise UsageError(f"a controller is deployed to {' or '.join(TARGETS)}, got {to!r}")
    if identifier(name) != name:
        raise UsageError(
            f"a name must be an identifier of C and Python, got {name!r}; try {identifier(name)}"
        )
    agreed = contract(planned)
    described = about(planned, agreed, name)
    files = (
        write_c(planned.code, described)
        if to == "c"
        else {f"{name}.py": write_python(planned.code, described)}
    )
    agreed["target"] = to
    agreed["files"] = {file: hashlib.sha256(text.encode()).hexdigest() for file, text in files.items()}
    files[CONTRACT] = json.dumps(agreed, indent=2, allow_nan=False) + "\n"
    return files, agreed


def deploy(
    policy: Policy,
    env: str,
    *,
    to: str,
    out: Path,
    control: str | None = None,
    options: Mapping[str, Any] | None = None,
    name: str = "controller",
    origin: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Deployment:
    """Write a controller that needs nothing of this library, and its contract.

    Args:
        policy: the controller; its text is parsed, never executed.
        env: its environment.
        to: "python" for one file of the standard library, "c" for C99.
        out: the folder, made if need be.
        control: the control mode; None for what the policy says.
        options: of the environment.
        name: of the files, and the beginning of C's names.
        origin: where the policy comes from, for the contract.
        overwrite: write also into a folder that has files of others, which stay unless they have a name of these, and
            over files with another content.

    Raises:
        PolicyError: the controller cannot be translated; the message has the line and the reason.
        RunError: a file cannot be written, or the folder has files and no contract of an earlier deployment, or a
            file of these with another content.
        UsageError: there is no such target, the name is none in C and Python, or the folder holds files of another
            target or name, which a later make would build beside this contract.
    """
    planned = plan(policy, env, control=control, options=options, origin=origin)
    files, agreed = files_of(planned, to, name)
    if other := _other_files(out, files):
        raise UsageError(
            f"{str(out)!r} holds another deployed controller, of {', '.join(other)}; give --out another folder"
        )
    if not overwrite and (strange := _strange_files(out)):
        raise RunError(
            f"{str(out)!r} holds files that deploy did not write, such as {strange[0]}; give another --out, or"
            " --overwrite"
        )
    if not overwrite and (changed := _changed_files(out, files)):
        raise RunError(
            f"{str(out / changed[0])!r} is another controller's, or was changed; give another --out, or --overwrite"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            safe_files.write(out, file, text.encode())
    except OSError as error:
        raise RunError(f"cannot write {str(error.filename or out)!r}: {error.strerror or error}") from error
    return Deployment(tuple(out / file for file in files), agreed)


def _other_files(out: Path, files: Collection[str]) -> list[str]:
    """Return the files of an earlier deployment that these would not replace."""
    try:
        before = safe_files.load_json(safe_files.read_bytes(out, CONTRACT))["files"]
        return [file for file in before if file not in files and safe_files.is_file(out, file)]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # no contract, or none of deploy


def _changed_files(out: Path, files: Mapping[str, str]) -> list[str]:
    """Return the files that are there with another content, but the contract."""
    return [
        file
        for file, text in files.items()
        if file != CONTRACT and safe_files.is_file(out, file) and not _holds(out, file, text)
    ]


def _holds(out: Path, file: str, text: str) -> bool:
    """Return whether a file has this content, and not more than can be read."""
    try:
        return safe_files.read_bytes(out, file) == text.encode()
    except (OSError, ValueError):
        return False


def _strange_files(out: Path) -> list[str]:
    """Return the files of a folder that no deployment wrote, hidden ones not counted."""
    names = sorted(path.name for path in out.iterdir() if path.name[0] != ".") if out.is_dir() else []
    try:
        held = safe_files.load_json(safe_files.read_bytes(out, CONTRACT))
        ours = {CONTRACT, "__pycache__", *held["files"]} if held["target"] in TARGETS else set()
        built = tuple(Path(file).stem for file in ours)  # what make leaves begins so: controller_aarch64.o
    except (OSError, ValueError, KeyError, TypeError):
        ours, built = set(), ()
    return [name for name in names if name not in ours and not name.startswith(built)]
