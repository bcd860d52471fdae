"""What both processes agree on: the shape of a call, and modules that are imported by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# The host must not import what runs in the child, and the child imports the tracing engine only for a controller that
# uses it, so these modules are named and not imported. A test holds that each of them exists.
PACKAGE: Final = "trace_robot"
TRACE: Final = "trace_robot.trace"
FORK_SERVER: Final = "trace_robot.sandbox.child.forkserver"
CHILD_TRACING: Final = "trace_robot.sandbox.child.tracing"


@dataclass(frozen=True, slots=True)
class Interface:
    """The shape of a call.

    input_size: float64 numbers that the controller gets. output_size: float32 numbers that it returns. fields: name ->
    (start, stop) of the input; the controller then gets a dict of arrays (a float where the size is 1). None: it gets
    the flat array.
    """

    input_size: int
    output_size: int
    fields: Mapping[str, tuple[int, int]] | None = field(default=None)
