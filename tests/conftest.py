"""What several rooms' tests use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import frames, synthetic
from trace_robot.spec import Array
from trace_robot.store.history import RunInfo


@pytest.fixture(scope="session")
def frames_of() -> Callable[[Path], Array]:
    """Decode a file: (frames, height, width, 3); one frame for a png."""
    return frames.decoded


@pytest.fixture(scope="session")
def make_run() -> Callable[..., RunInfo]:
    """``make_run`` of tests/helpers/synthetic.py: fill a store as the loop does, without a rollout."""
    return synthetic.make_run
