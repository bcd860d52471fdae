"""Import the cma package when a strategy starts.

It is slow to import, and most commands never tune a number.
"""

from __future__ import annotations

import warnings
from typing import Any

from trace_robot.errors import MissingExtraError


def load_cma() -> Any:
    """Return the module ``cma``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            # It warns where matplotlib is missing, which is used by none of its functions that are called here.
            warnings.simplefilter("ignore")
            import cma
    except ImportError as error:
        raise MissingExtraError("tuning numbers needs the cma package: pip install cma") from error
    return cma
