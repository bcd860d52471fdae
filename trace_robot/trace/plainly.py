"""What Python itself asks of a node, answered with plain values, which leave the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from trace_robot.trace.same import contains, same


class Plain:
    """``bool``, ``len``, ``in``, ``==``, ``float``, ``int`` and numpy's conversion of a node."""

    __slots__ = ()

    @property
    def data(self) -> Any:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return same(self.data, other.data if isinstance(other, Plain) else other)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __contains__(self, item: object) -> bool:
        value = item.data if isinstance(item, Plain) else item
        return contains(self.data, value)

    def __float__(self) -> float:
        return float(self.data)

    def __int__(self) -> int:
        return int(self.data)

    def __complex__(self) -> complex:
        return complex(self.data)

    def __index__(self) -> int:
        value = self.data
        return value.__index__()  # type: ignore[no-any-return]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.data, dtype=dtype) if copy else np.asarray(self.data, dtype=dtype)

    def __format__(self, spec: str) -> str:
        return format(self.data, spec) if spec else str(self)
