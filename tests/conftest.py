"""What several rooms' tests use."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from trace_robot.spec import Array
from trace_robot.store.history import RunInfo


@pytest.fixture(scope="session")
def frames_of() -> Callable[[Path], Array]:
    """Decode a file: (frames, height, width, 3); one frame for a png."""
    return decoded


def decoded(path: Path) -> Array:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-loglevel", "error", "-i", str(path), "-f", "image2pipe", "-c:v", "ppm", "-"]
    stream = subprocess.run(command, capture_output=True, check=True).stdout
    pictures = []
    while stream:
        kind, size, depth, rest = stream.split(b"\n", 3)
        assert (kind, depth) == (b"P6", b"255")
        width, height = map(int, size.split())
        count = width * height * 3
        pictures.append(np.frombuffer(rest[:count], np.uint8).reshape(height, width, 3))
        stream = rest[count:]
    return np.array(pictures)


@pytest.fixture(scope="session")
def make_run() -> Callable[..., RunInfo]:
    """``make_run`` of tests/synthetic.py: fill a store as the loop does, without a rollout."""
    found = importlib.util.spec_from_file_location("synthetic", Path(__file__).with_name("synthetic.py"))
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    made: Callable[..., RunInfo] = module.make_run
    return made
