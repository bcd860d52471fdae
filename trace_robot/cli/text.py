"""The names of ``console`` that ``resume`` still uses."""

from trace_robot.cli.console import safe as safe

__all__ = ["safe"]
