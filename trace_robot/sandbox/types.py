"""The shape of a call: what a controller gets and what it must return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
