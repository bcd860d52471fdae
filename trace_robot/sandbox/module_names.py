"""Names of modules that are imported by name, in the child or on demand.

The host must not import what runs in the child, and the child imports the tracing engine only for a controller that
uses it, so these modules can be named but not imported here. A test holds that each of them exists.
"""

from typing import Final

PACKAGE: Final = "trace_robot"
TRACE: Final = "trace_robot.trace"
FORK_SERVER: Final = "trace_robot.sandbox.child.forkserver"
CHILD_TRACING: Final = "trace_robot.sandbox.child.tracing"
