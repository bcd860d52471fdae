"""Running code that nobody has read: a locked process for it, and reasons instead of crashes."""

from trace_robot.fault import Category, Fault, Limits
from trace_robot.sandbox.sandbox import Sandbox
from trace_robot.sandbox.static_check.check import check
from trace_robot.sandbox.types import Interface

__all__ = ["Category", "Fault", "Interface", "Limits", "Sandbox", "check"]
