"""Modules: objects with parameters that can be saved as text."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import new_class
from typing import Any, TypeVar

from trace_robot.errors import UnknownNameError
from trace_robot.trace.containers import ParameterContainer
from trace_robot.trace.nodes import ParameterNode
from trace_robot.trace.plain_data import decode, encode

T = TypeVar("T")


class Module(ParameterContainer):
    """An object with parameters; subclasses define ``forward``."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def save(self, file_name: str | os.PathLike[str]) -> None:
        """Write the values of the parameters as JSON, making the folder if needed."""
        path = Path(file_name)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"parameters": _values(self)}, indent=2, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")

    def load(self, file_name: str | os.PathLike[str]) -> None:
        """Set the parameters to what ``save`` wrote and add those that are new; UnknownNameError if one is missing."""
        stored = json.loads(Path(file_name).read_text(encoding="utf-8"))
        _restore(self, stored["parameters"])


def model(cls: type[T]) -> type[T]:
    """Return the class as a Module too, under its own name."""
    body = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    bases = (cls,) if issubclass(cls, Module) else (cls, Module)
    made: type[T] = new_class(cls.__name__, bases, exec_body=lambda namespace: namespace.update(body))
    return made


def _values(container: ParameterContainer) -> dict[str, Any]:
    return {
        name: {"value": encode(each._data)} if isinstance(each, ParameterNode) else {"inside": _values(each)}
        for name, each in _stable(container).items()
    }


def _restore(container: ParameterContainer, stored: dict[str, Any]) -> None:
    mine = _stable(container)
    missing = sorted(mine.keys() - stored.keys())
    if missing:
        raise UnknownNameError(f"no value for the parameters {', '.join(missing)}")
    for name, each in mine.items():
        if isinstance(each, ParameterNode):
            each._set(decode(stored[name]["value"]))
        else:
            _restore(each, stored[name]["inside"])
    for name in stored.keys() - mine.keys():
        if "value" in stored[name] and name.isidentifier() and not hasattr(container, name):
            setattr(container, name, ParameterNode(decode(stored[name]["value"]), name=name))


def _stable(container: ParameterContainer) -> dict[str, Any]:
    """Return the entries under names that do not depend on how many nodes were made before."""
    named: dict[str, Any] = {}
    for name, each in container.parameters_dict().items():
        key = each.base_name if isinstance(each, ParameterNode) and name == each.name else name
        number = 1
        while key in named:
            number += 1
            key = f"{key.rpartition('#')[0] or key}#{number}"
        named[key] = each
    return named
