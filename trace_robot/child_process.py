"""To be named."""

from __future__ import annotations

import json
import os
from typing import Any, TextIO

SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL")


def worker_environment() -> dict[str, str]:
    """Return this process's environment without keys, and with one thread for each numerical library."""
    kept = {name: value for name, value in os.environ.items() if not is_secret(name)}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**kept, **threads, "TRACE_ROBOT_WORKSPACE": workspace_root()}


def is_secret(name: str) -> bool:
    """Return whether an environment variable of this name may hold a key."""
    return any(word in name.upper() for word in SECRET)


def workspace_root() -> str:
    """Return the folder in which the user's workspace is looked for."""
    return os.environ.get("TRACE_ROBOT_WORKSPACE") or os.getcwd()


def _private_output() -> TextIO:
    """Return the standard output for answers alone; what an environment prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _say(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()
