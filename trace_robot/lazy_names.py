"""Names of a package that are imported when they are first used (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package.

    A package that imported all that it names would load it in every worker and in the sandbox's child, which import
    one module of it.

    Args:
        package: its ``__name__``.
        homes: by module, as below ``trace_robot``: the names that come from it.
    """
    home_of = {name: home for home, names in homes.items() for name in names}
    namespace = vars(sys.modules[package])

    def imported(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = namespace[name] = getattr(import_module(f"trace_robot.{home_of[name]}"), name)
        return value

    def listed() -> list[str]:
        return sorted({*namespace, *home_of})

    return imported, listed
