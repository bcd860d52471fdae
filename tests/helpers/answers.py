"""Say which of the two a sandbox's answer must be."""

from __future__ import annotations

import numpy as np

from trace_robot.sandbox import Fault
from trace_robot.spec import Array


def action(answer: Array | Fault) -> Array:
    """Return the answer, which must be an action."""
    assert isinstance(answer, np.ndarray), answer
    return answer


def fault(answer: Array | Fault) -> Fault:
    """Return the answer, which must be a fault."""
    assert isinstance(answer, Fault), answer
    return answer
