"""Choice of a GL library: EGL, OSMesa, CGL or WGL if it works, else ray casting.

MuJoCo chooses its GL library when it is imported, from the variable MUJOCO_GL, and a broken one can abort the process.
So each is tried in a process of its kind, and this process never imports one.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from trace_robot.child_process import clean_environment, python_command
from trace_robot.errors import RenderError

RenderBackend = Literal["egl", "osmesa", "cgl", "wgl", "rays"]
BACKENDS: tuple[RenderBackend, ...] = ("egl", "osmesa", "cgl", "wgl", "rays")
PROBE_SECONDS = 30.0  # for the import of MuJoCo and one picture of 16 by 16 pixels, on a machine that is busy


def candidates(platform: str = sys.platform) -> tuple[RenderBackend, ...]:
    """Return the GL libraries to try on a platform, the best first."""
    return {"darwin": ("cgl",), "win32": ("wgl",)}.get(platform, ("egl", "osmesa"))  # type: ignore[return-value]


def choose_backend(backends: Sequence[RenderBackend] | None = None) -> RenderBackend:
    """Return the first backend that draws, else "rays", of the platform's by default."""
    return next((backend for backend in backends or candidates() if not probe(backend)), "rays")


@functools.cache
def probe(backend: RenderBackend) -> str:
    """Return why a backend does not draw here, "" if it does.

    Each is tried once in the life of this process: a try starts a process that imports MuJoCo.
    """
    if backend == "rays":
        return ""
    try:
        done = subprocess.run(
            worker_command(backend, "--probe"),
            env=worker_environment(backend),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{backend}: {error}"
    if done.returncode == 0 and b"drawn_by" in done.stdout:
        return ""
    errors = done.stderr.decode(errors="replace").strip().splitlines()
    return f"{backend}: {errors[-1] if errors else f'exit status {done.returncode}'}"


def require_backend(name: str) -> RenderBackend:
    """Return the backend of a name, for "auto" the best that draws here.

    Raises:
        RenderError: there is no such backend, or it does not draw here.
    """
    if name == "auto":
        return choose_backend()
    if name not in BACKENDS:
        raise RenderError(f"no backend {name!r} for pictures; choose auto, {', '.join(BACKENDS)}")
    reason = probe(name)
    if reason:
        raise RenderError(f"backend {name!r} does not draw here ({reason}); choose auto or rays")
    return name


def worker_command(backend: RenderBackend, *options: str) -> list[str]:
    """Return the command that starts a rendering process.

    Args:
        backend: what draws in it.
        options: the rest of its command line; see ``trace_robot.render.worker``.
    """
    return python_command("trace_robot.render.worker", backend, *options)


def worker_environment(backend: RenderBackend) -> dict[str, str]:
    """Return the environment variables of a rendering process, without secrets.

    PYTHONPATH names the folder of this library, since the process starts in another folder than the user's.
    """
    library = str(Path(__file__).resolve().parents[2])
    paths = [library, os.environ.get("PYTHONPATH", "")]
    return clean_environment(
        {
            "MUJOCO_GL": "disable" if backend == "rays" else backend,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONUTF8": "1",
        }
    )
