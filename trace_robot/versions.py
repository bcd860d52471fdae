"""The versions of everything that decides what a result means."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("trace-robot", "metaworld", "mujoco", "gymnasium", "numpy", "cma", "openai")


def versions() -> dict[str, str]:
    """Return {package: version} of the installed packages a result depends on.

    And that of Python.
    """
    found = {"python": platform.python_version(), "platform": platform.platform(terse=True)}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
