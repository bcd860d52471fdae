"""Decode what the renderer wrote."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from trace_robot.spec import Array


def decoded(path: Path) -> Array:
    """Decode a video or picture with ffmpeg: (frames, height, width, 3), uint8; one frame for a png."""
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
