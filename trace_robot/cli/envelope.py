"""``--envelope FILE`` of the commands that roll out or deploy, and what they print of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.errors import MissingExtraError, TraceRobotError

if TYPE_CHECKING:
    from trace_robot.rollout.episode import Episode

MOST = 1_000_000  # bytes of a file


def add_envelope(command: argparse.ArgumentParser) -> None:
    """Add ``--envelope``, whose value is checked plain data."""
    command.add_argument(
        "--envelope",
        type=read_envelope,
        metavar="FILE",
        help="limits on what is sent to the robot, JSON or TOML: box, speed, acceleration, jerk, rates, force; see"
        " docs/drive.md",
    )


def read_envelope(source: str) -> dict[str, Any]:
    """Return the plain data of an envelope in a JSON or TOML file.

    Raises argparse.ArgumentTypeError where it cannot be read, or is none.
    """
    from trace_robot.env.envelope import Envelope
    from trace_robot.safe_files import load_json, read_bytes

    file = Path(source).resolve()
    try:
        content = read_bytes(file.parent, file.name, most=MOST)
        data = _toml(content) if file.suffix == ".toml" else load_json(content)
        return Envelope.from_data(data).to_data()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{source!r} cannot be read: {error.strerror}") from error
    except TraceRobotError as error:
        raise argparse.ArgumentTypeError(f"{source!r}: {error}") from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{source!r} must be a JSON or TOML file: {error}") from error


def _toml(content: bytes) -> Any:
    if sys.version_info < (3, 11):
        raise MissingExtraError("TOML needs Python 3.11 or later; write the envelope as JSON")
    import tomllib

    return tomllib.loads(content.decode())


def envelope_line(episodes: Sequence[Episode]) -> str:
    """Return how often each limit acted over episodes, "" without an envelope."""
    from trace_robot.env.envelope import acted_text, summed

    sums = summed([episode.infos for episode in episodes])
    text = acted_text(sums, sum(episode.steps for episode in episodes))
    return f"envelope: {text}" if text else ""
