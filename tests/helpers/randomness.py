"""Look at random generators."""

from __future__ import annotations

import numpy as np


def global_numbers() -> tuple[bytes, int]:
    """Return the state of numpy's global generator: its words and the position among them."""
    state = np.random.get_state(legacy=False)
    assert isinstance(state, dict)
    return state["state"]["key"].tobytes(), state["state"]["pos"]
