"""Imports of the fork server, since no module can be imported after the lockdown."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Final

# What numpy, a controller or an error message may import at any time. The last line is imported by nothing else here;
# it is there because the child of every earlier version had it.
_COMMON: Final = """
    _strptime abc array bisect calendar cmath collections collections.abc contextlib copy ctypes dataclasses datetime
    decimal enum errno fractions functools gc heapq itertools json locale math numbers operator pickle queue random re
    signal statistics string struct subprocess textwrap threading time traceback types typing unicodedata warnings
    weakref encodings.ascii encodings.latin_1 encodings.unicode_escape encodings.utf_16
    numpy numpy.char numpy.fft numpy.linalg numpy.ma numpy.polynomial numpy.random numpy.rec numpy.strings numpy.typing
    difflib fnmatch ipaddress ntpath pathlib urllib urllib.parse
"""
# What these modules import no sooner than in a call.
_LATE_IMPORTS: Final = {
    "scipy.optimize": ("scipy._lib.pyprima", "multiprocessing", "multiprocessing.pool"),
}


def warm_up() -> None:
    """Import the common modules and run what imports more on its first use."""
    for name in sorted(_COMMON.split()):
        importlib.import_module(name)
    import numpy as np

    np.linalg.svd(np.eye(3) @ np.eye(3))
    np.array_str(np.linspace(0.0, 1.0, 3))
    np.random.default_rng(0).normal()
    np.fft.rfft(np.ones(4))
    # Not at the top of a module: a broken numpy must be a message of the fork server, not the end of it.
    from trace_robot.sandbox.child import main  # noqa: F401


def import_all(names: Sequence[str]) -> list[str]:
    """Import modules and what they import late and return those that failed."""
    missing = []
    for name in [*names, *(late for early in names for late in _LATE_IMPORTS.get(early, ()))]:
        try:
            importlib.import_module(name)
        except Exception:  # a broken installation may raise anything; the controller's own import reports it
            missing.append(name)
    return missing
