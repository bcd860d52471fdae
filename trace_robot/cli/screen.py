"""The names of ``console`` and ``progress`` that ``optimize`` and ``resume`` still use."""

from trace_robot.cli.console import console as console
from trace_robot.cli.console import write_json as write_json
from trace_robot.cli.progress import RunProgress as Screen

__all__ = ["Screen", "console", "write_json"]
