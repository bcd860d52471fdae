"""Which videos a page may show: files of the run itself, and no link that leads out of it."""

from __future__ import annotations

from pathlib import Path


def inside(video: Path, folder: Path) -> bool:
    """Return whether ``video`` is a file in ``folder``, links followed."""
    try:
        return video.resolve(strict=True).is_relative_to(folder.resolve(strict=True)) and video.is_file()
    except (OSError, RuntimeError):  # RuntimeError: links that go round in circles
        return False
