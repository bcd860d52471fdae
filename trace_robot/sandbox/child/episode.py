"""One episode of a controller inside the jail: a freshly executed module and what it keeps."""

from __future__ import annotations

import ast
import builtins
import inspect
import io
import random
import struct
import sys
from collections.abc import Callable
from types import CodeType, ModuleType
from typing import Any, Literal

import numpy as np

from trace_robot.sandbox.child.determinism import seed_all
from trace_robot.sandbox.child.faults import SOURCE_NAME, line_of
from trace_robot.sandbox.protocol import all_finite
from trace_robot.spec import Array

MODULE_NAME = "controller"


class Printed(io.TextIOBase):
    """Keeps the first ``limit`` characters of what is printed."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self.parts: list[str] = []

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        if self._left > 0:
            kept = str(text)[: self._left]
            self._left -= len(kept)
            self.parts.append(kept)
        return len(text)

    def take(self) -> str:
        if not self.parts:
            return ""
        text = "".join(self.parts)
        self.parts.clear()
        return text


class ChildEpisode:
    """Its module's ``act``, its memory, its random state and what it printed.

    recorder: makes the records of a traced episode; None if it is not traced.
    """

    def __init__(self, printed: Printed) -> None:
        self.printed = printed
        self.memory: dict[str, Any] = {}
        self.act: Callable[..., Any] = lambda *_: None
        self.takes_memory = False
        self.random_state: tuple[Any, Any] | None = None
        self.recorder: Any = None

    def start(self, code: CodeType) -> None:
        """Execute the module and find its ``act``; raises whatever the controller raises."""
        sys.stdout = sys.stderr = self.printed
        seed_all()
        module = ModuleType(MODULE_NAME)
        module.__dict__["__builtins__"] = builtins
        sys.modules[MODULE_NAME] = module
        exec(code, module.__dict__)
        owner: Any = module
        if not callable(getattr(module, "act", None)):
            if not isinstance(controller := getattr(module, "Controller", None), type):
                raise NameError(
                    "the controller defines neither act(observation) nor a class Controller with it"
                )
            owner = controller()
        self.act = owner.act
        self.takes_memory = _positional(self.act) >= 2
        if callable(reset := getattr(owner, "reset", None)) and _positional(reset, required=True) == 0:
            reset()

    def call(self, observation: Any) -> Any:
        sys.stdout = sys.stderr = self.printed
        if self.recorder is not None:
            return self.recorder.call(self.act, observation, takes_memory=self.takes_memory)
        return self.act(observation, self.memory) if self.takes_memory else self.act(observation)

    def take_records(self) -> bytes:
        return b"" if self.recorder is None else self.recorder.take()

    def keep_random(self) -> None:
        self.random_state = random.getstate(), np.random.get_state()

    def restore_random(self) -> None:
        if self.random_state is not None:
            random.setstate(self.random_state[0])
            np.random.set_state(self.random_state[1])


def _positional(function: Callable[..., Any], *, required: bool = False) -> int:
    """Return how many positional arguments ``function`` takes, or must be given; 1 if it does not say."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 0 if required else 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not required and any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return 2
    return sum(
        parameter.kind in kinds and not (required and parameter.default is not inspect.Parameter.empty)
        for parameter in parameters
    )


def line_of_return(source: str, act: Any) -> int | None:
    """Return the line of the only ``return`` of ``act``, or the line where it is defined; None if unknown."""
    function = _definition(source)
    if function is None:
        code = getattr(getattr(act, "__func__", act), "__code__", None)
        return code.co_firstlineno if isinstance(code, CodeType) and code.co_filename == SOURCE_NAME else None
    returns = [node.lineno for node in ast.walk(function) if isinstance(node, ast.Return)]
    return returns[0] if len(returns) == 1 else function.lineno


def hands_memory_on(source: str) -> bool:
    """Return whether ``act`` does nothing with its memory but pass it to functions, which may record it."""
    function = _definition(source)
    if function is None or len(named := function.args.args) < 2:
        return True
    name = named[-1].arg
    passed = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            passed |= {id(each) for each in [*node.args, *(keyword.value for keyword in node.keywords)]}
    return all(
        id(node) in passed for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == name
    )


def is_bundle(source: str) -> bool:
    """Return whether ``act`` itself is one operation, which gets plain values whatever it is given."""
    function = _definition(source)
    return function is not None and any("bundle" in ast.unparse(each) for each in function.decorator_list)


def docstring(source: str) -> str:
    function = _definition(source)
    return "" if function is None else ast.get_docstring(function) or ""


def _definition(source: str) -> ast.FunctionDef | None:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "act"]
    return found[-1] if found else None


_NUMBERS = (float, int, np.float64, np.float32, bool)
_NUMBER_TYPES = frozenset(_NUMBERS)
Refusal = tuple[Literal["wrong shape", "not finite"], str]


def shown(value: Any) -> str:
    """Return a repr where it is short, plain and the same every time; else the type and the length or shape."""
    kind = type(value)
    if value is None or kind in _NUMBERS or kind is complex:
        return repr(value)
    if kind is np.ndarray:
        return (
            f"array({value.tolist()})" if _plain(value.ravel()[:17]) else f"an array of shape {value.shape}"
        )
    if kind in (str, bytes):
        return repr(value) if len(value) <= 40 else f"a {kind.__name__} of length {len(value)}"
    if kind in (list, tuple, dict, set, frozenset):
        return repr(value) if _plain(value) else f"a {kind.__name__} of length {len(value)}"
    name = kind.__name__ if kind.__module__ in ("builtins", "numpy") else f"{kind.__name__} object"
    return f"a value of type {name}"


def _plain(values: Any) -> bool:
    return len(values) <= 16 and all(
        type(value) in _NUMBERS or (type(value) is str and len(value) < 20) for value in values
    )


def _refuse_shape(size: int, value: Any, why: str = "") -> Refusal:
    return "wrong shape", f"act must return {size} numbers, got {shown(value)}{why}"


def _refuse_number(value: Any) -> Refusal:
    return "not finite", f"act must return finite float32 numbers, got {shown(value)}"


class Converter:
    """Makes float32 bytes of an action of ``size`` numbers.

    unwrap: applied first to what is not a plain list or tuple of numbers; None for nothing.
    """

    def __init__(self, size: int) -> None:
        self.unwrap: Callable[[Any], Any] | None = None
        self._size = size
        self._numbers = struct.Struct(f"<{size}f")

    def __call__(self, value: Any) -> bytes | Refusal:
        """Return ``4 * size`` bytes, or why ``value`` is no action; hooks of ``value`` may raise anything."""
        if self._is_numbers(value):
            return self._pack_numbers(value)
        if self.unwrap is not None and self._is_numbers(value := self.unwrap(value)):
            return self._pack_numbers(value)
        if self._too_long(value):
            return _refuse_shape(self._size, value)
        return self._from_array(value)

    def _is_numbers(self, value: Any) -> bool:
        kind = type(value)
        if (kind is not list and kind is not tuple) or len(value) != self._size:
            return False
        try:
            return _NUMBER_TYPES.issuperset(map(type, value))
        except TypeError:  # a class whose own class cannot be hashed is no number
            return False

    def _pack_numbers(self, value: Any) -> bytes | Refusal:
        try:
            packed = self._numbers.pack(*value)
        except (OverflowError, struct.error):  # beyond float32, or an int beyond float64
            return _refuse_number(value)
        return packed if all_finite(self._numbers.unpack(packed)) else _refuse_number(value)

    def _too_long(self, value: Any) -> bool:
        return isinstance(value, (list, tuple, str, bytes)) and len(value) > max(self._size, 1)

    def _from_array(self, value: Any) -> bytes | Refusal:
        try:
            array: Array = np.asarray(value)
        except (TypeError, ValueError) as error:
            if line_of(error.__traceback__) is not None:
                raise
            return _refuse_shape(self._size, value, f" ({error})")
        if array.shape == () and self._size == 1:
            array = array.reshape(1)
        if array.shape != (self._size,):
            return _refuse_shape(self._size, value)
        if array.dtype.kind == "O":
            return self._from_objects(value, array)
        if array.dtype.kind not in "biuf":
            return _refuse_shape(self._size, value, f" ({array.dtype.name}, not real numbers)")
        with np.errstate(all="ignore"):
            action = array.astype("<f4")
        return action.tobytes() if np.isfinite(action).all() else _refuse_number(value)

    def _from_objects(self, value: Any, array: Array) -> bytes | Refusal:
        """Convert numbers that numpy has no type for, such as a Fraction, a Decimal or a huge int."""
        if any(isinstance(number, (str, bytes, complex, type(None), np.ndarray)) for number in array):
            return _refuse_shape(self._size, value)
        try:
            numbers = [float(number) for number in array]
        except OverflowError:
            return _refuse_number(value)
        return self._pack_numbers(numbers)
