"""The names of ``console`` that ``optimize`` still uses."""

from trace_robot.cli.console import INTERRUPTED as INTERRUPTED
from trace_robot.cli.console import interruptible as interruptible

__all__ = ["INTERRUPTED", "interruptible"]
