"""Running code that nobody has read: a locked process for it, and reasons instead of crashes."""

from trace_robot.sandbox.box import Sandbox
from trace_robot.sandbox.static import check
from trace_robot.sandbox.types import Category, Fault, Interface, Limits

__all__ = ["Category", "Fault", "Interface", "Limits", "Sandbox", "check"]
