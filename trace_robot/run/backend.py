"""Which library draws: found by trying each in a process of its own, the ray caster being always there."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from trace_robot.errors import RunError
from trace_robot.workspace import root

Backend = Literal["egl", "osmesa", "cgl", "wgl", "rays"]
BACKENDS: tuple[Backend, ...] = ("egl", "osmesa", "cgl", "wgl", "rays")
PROBE_SECONDS = 30.0


def candidates(platform: str = sys.platform) -> tuple[Backend, ...]:
    """Return the GL libraries worth trying on a platform, the best first."""
    return {"darwin": ("cgl",), "win32": ("wgl",)}.get(platform, ("egl", "osmesa"))  # type: ignore[return-value]


def choose_backend(tried: Sequence[Backend] | None = None) -> Backend:
    """Return the first of the backends that draws, else "rays"."""
    return next((backend for backend in tried or candidates() if not probe(backend)), "rays")


@functools.cache
def probe(backend: Backend) -> str:
    """Return why a backend does not draw here, or nothing; each is tried once in the life of this process."""
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
    complaint = done.stderr.decode(errors="replace").strip().splitlines()
    return f"{backend}: {complaint[-1] if complaint else f'exit status {done.returncode}'}"


def checked(backend: str) -> Backend:
    """Return the backend to use for that name, "auto" meaning the best there is.

    Raises:
        RunError: no such backend, or it does not draw here.
    """
    if backend == "auto":
        return choose_backend()
    if backend not in BACKENDS:
        raise RunError(f"no backend {backend!r} for pictures; choose auto, {', '.join(BACKENDS)}")
    reason = probe(backend)
    if reason:
        raise RunError(f"backend {backend!r} does not draw here ({reason}); choose auto or rays")
    return backend


def worker_command(backend: Backend, *options: str) -> list[str]:
    return [sys.executable, "-m", "trace_robot.run.render_worker", backend, *options]


def worker_environment(backend: Backend) -> dict[str, str]:
    """Return the environment of the process that renders: GL chosen there only, and no keys of models."""
    library = str(Path(__file__).resolve().parents[2])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    paths = [library, kept.get("PYTHONPATH", "")]
    gl = "disable" if backend == "rays" else backend
    return {
        **kept, "MUJOCO_GL": gl, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUTF8": "1",
        "TRACE_ROBOT_WORKSPACE": root(),
    }  # fmt: skip
