"""One episode inside the child: a fresh module, its memory, actions and faults."""

from __future__ import annotations

import ast
import builtins
import errno
import inspect
import io
import linecache
import random
import struct
import sys
from collections.abc import Callable
from types import CodeType, ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from trace_robot.fault import Category, Fault
from trace_robot.sandbox.child.determinism import seed_all
from trace_robot.sandbox.protocol import all_finite, clean, without_addresses
from trace_robot.sandbox.source import SOURCE_NAME, line_in_source, names_bundle

if TYPE_CHECKING:
    from trace_robot.sandbox.child.tracing import GraphRecorder
    from trace_robot.spec import Array


OUT_OF_MEMORY: Final = Fault("memory", "MemoryError: the controller used up its memory")
# Libraries raise OSError without a number, or RuntimeError, for what the system call filter refused them.
_REFUSED_TEXTS: Final = ("Operation not permitted", "Permission denied", "can't start new thread")


class BlockedImport(ImportError):
    """A module that was not imported before the lockdown.

    Without "Error" at its end, because faults that are stored show its name.
    """


def fault_of(error: BaseException) -> Fault:
    """Return the fault for an exception.

    It calls the exception's ``__str__``, which may be the controller's, so only ever under a deadline.
    """
    try:
        error = _cause(error)
        line = line_of(error.__traceback__)
        if isinstance(error, SyntaxError) and error.filename == SOURCE_NAME:
            line = error.lineno
        error.__traceback__ = None
        return Fault(_category(error), clean(_text(error)), line)
    except MemoryError:
        return OUT_OF_MEMORY


def line_of(trace: TracebackType | None) -> int | None:
    """Return the controller's line that is nearest to where an exception was raised."""
    location = None
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith("<co"):  # SOURCE_NAME and CODE_NAME both do
            location = file, trace.tb_lineno
        trace = trace.tb_next
    return None if location is None else line_in_source(*location, "".join(linecache.getlines(SOURCE_NAME)))


def _cause(error: BaseException) -> BaseException:
    """Return what an operation raised, without the tracer's wrapping."""
    # By its name: the tracer may not be imported in this process.
    while type(error).__name__ == "ExecutionError" and error.__cause__ is not None:
        error = error.__cause__
    return error


def _category(error: BaseException) -> Category:
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, BlockedImport):
        return "blocked"
    if isinstance(error, OSError) and error.errno in (errno.EPERM, errno.EACCES):
        return "blocked"
    if isinstance(error, PermissionError):
        return "blocked"
    if type(error) in (OSError, RuntimeError) and any(text in str(error) for text in _REFUSED_TEXTS):
        return "blocked"
    return "exception"


def _text(error: BaseException) -> str:
    name = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{name}: {error.msg}"
    try:
        text = str(error)
    except MemoryError:
        raise
    except BaseException as second:  # the controller's own __str__ may raise anything, SystemExit too
        return f"{name} (its text cannot be read: {type(second).__name__})"
    return f"{name}: {text}" if text else name


MODULE_NAME: Final = "controller"
Refusal = tuple[Literal["wrong shape", "not finite"], str]
_NUMBERS: Final = (float, int, np.float64, np.float32, bool)
_NUMBER_TYPES: Final = frozenset(_NUMBERS)


class CapturedOutput(io.TextIOBase):
    """Keeps the first ``limit`` characters of what is printed."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self.parts: list[str] = []

    def writable(self) -> bool:
        """Return True, as a text stream for writing must."""
        return True

    def write(self, text: str, /) -> int:
        """Keep what still fits, and count the rest as written."""
        if self._left > 0:
            kept = without_addresses(str(text))[: self._left]
            self._left -= len(kept)
            self.parts.append(kept)
        return len(text)

    def take(self) -> str:
        """Return what was printed since the last call of this."""
        if not self.parts:
            return ""
        text = "".join(self.parts)
        self.parts.clear()
        return text


class ChildEpisode:
    """A module's ``act``, its memory, its random state and what it printed.

    recorder: makes the records of a traced episode; None if it is not traced. spent: CPU seconds of its calls in a
    lock step.
    """

    def __init__(self, printed: CapturedOutput) -> None:
        self.printed = printed
        self.memory: dict[str, Any] = {}
        self.act: Callable[..., Any] = lambda *_: None
        self.takes_memory = False
        self.random_state: tuple[Any, Any] | None = None
        self.recorder: GraphRecorder | None = None
        self.spent = 0.0

    def start(self, code: CodeType) -> None:
        """Execute the module and find its ``act``.

        Raises:
            BaseException: whatever the controller raises.
        """
        sys.stdout = sys.stderr = self.printed
        seed_all()
        module = ModuleType(MODULE_NAME)
        module.__dict__["__builtins__"] = builtins
        sys.modules[MODULE_NAME] = module  # dataclasses and pickling look their class's module up
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
        """Return what ``act`` returns, of any type."""
        sys.stdout = sys.stderr = self.printed  # every time: the last call may have been another episode's
        if self.recorder is not None:
            return self.recorder.call(self.act, observation, takes_memory=self.takes_memory)
        return self.act(observation, self.memory) if self.takes_memory else self.act(observation)

    def take_records(self) -> bytes:
        """Return the records of the last call, b"" if it was not traced."""
        return b"" if self.recorder is None else self.recorder.take()

    def keep_random(self) -> None:
        """Keep the state of the global random generators for this episode's next call."""
        self.random_state = random.getstate(), np.random.get_state()

    def restore_random(self) -> None:
        """Give the global random generators the state that was kept, if one was."""
        if self.random_state is not None:
            random.setstate(self.random_state[0])
            np.random.set_state(self.random_state[1])


def _positional(function: Callable[..., Any], *, required: bool = False) -> int:
    """Return how many positional arguments a function takes, or requires.

    A function without a readable signature counts as one of the observation alone, whose ``reset`` may be called.
    """
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
    """Return the line to show for an action that is refused.

    Args:
        source: the controller's text.
        act: its ``act``, which the text may define otherwise than by ``def act``.

    Returns:
        The 1-based line of the only ``return`` of ``act``, else where it is defined; None if unknown.
    """
    function = _act_definition(source)
    if function is None:
        code = getattr(getattr(act, "__func__", act), "__code__", None)
        return code.co_firstlineno if isinstance(code, CodeType) and code.co_filename == SOURCE_NAME else None
    returns = [node.lineno for node in ast.walk(function) if isinstance(node, ast.Return)]
    return returns[0] if len(returns) == 1 else function.lineno


def passes_memory_on(source: str) -> bool:
    """Return whether ``act`` uses its memory only as an argument of calls.

    It can then be a node of the graph: the functions that get it are operations, which may record it.
    """
    function = _act_definition(source)
    if function is None or len(parameters := function.args.args) < 2:
        return True
    name = parameters[-1].arg
    passed = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            passed |= {id(argument) for argument in arguments}
    return all(
        id(node) in passed for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == name
    )


def is_bundle(source: str) -> bool:
    """Return whether ``act`` itself is an operation, which gets plain values."""
    function = _act_definition(source)
    return function is not None and any(map(names_bundle, function.decorator_list))


def docstring(source: str) -> str:
    """Return the docstring of ``act``, "" if it has none."""
    function = _act_definition(source)
    return "" if function is None else ast.get_docstring(function) or ""


def _act_definition(source: str) -> ast.FunctionDef | None:
    """Return the last ``def act`` of a text, wherever it stands."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "act"]
    return functions[-1] if functions else None


class Converter:
    """Converts what ``act`` returns to an action of ``size`` float32 numbers.

    unwrap: applied first to what is not a plain list or tuple of numbers; None for nothing.
    """

    def __init__(self, size: int) -> None:
        self.unwrap: Callable[[Any], Any] | None = None
        self._size = size
        self._numbers = struct.Struct(f"<{size}f")

    def __call__(self, value: Any) -> bytes | Refusal:
        """Return ``4 * size`` bytes, or why the value is no action.

        A list or tuple of plain numbers, as most controllers return it, takes a fast lane past numpy.

        Raises:
            BaseException: whatever methods of the value's own raise.
        """
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
        """Return whether to refuse without making an array, which could take all memory."""
        return isinstance(value, (list, tuple, str, bytes)) and len(value) > max(self._size, 1)

    def _from_array(self, value: Any) -> bytes | Refusal:
        try:
            array: Array = np.asarray(value)
        except (TypeError, ValueError) as error:
            if line_of(error.__traceback__) is not None:  # raised by a method of the controller's own
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
        """Convert numbers that numpy has no type for: a Fraction, a Decimal, a huge int."""
        if any(isinstance(number, (str, bytes, complex, type(None), np.ndarray)) for number in array):
            return _refuse_shape(self._size, value)
        try:
            numbers = [float(number) for number in array]
        except OverflowError:
            return _refuse_number(value)
        return self._pack_numbers(numbers)


def _refuse_shape(size: int, value: Any, why: str = "") -> Refusal:
    return "wrong shape", f"act must return {size} numbers, got {_shown(value)}{why}"


def _refuse_number(value: Any) -> Refusal:
    return "not finite", f"act must return finite float32 numbers, got {_shown(value)}"


def _shown(value: Any) -> str:
    """Return a value as text for a message.

    Its repr where that is short, plain and the same every time (no address), else its type and its length or shape.
    """
    kind = type(value)
    if value is None or kind in _NUMBERS or kind is complex:
        return repr(value)
    if kind is np.ndarray:
        if _is_short(value.ravel()[:17]):
            return f"array({value.tolist()})"
        return f"an array of shape {value.shape}"
    if kind in (str, bytes):
        return repr(value) if len(value) <= 40 else f"a {kind.__name__} of length {len(value)}"
    if kind in (list, tuple, dict, set, frozenset):
        return repr(value) if _is_short(value) else f"a {kind.__name__} of length {len(value)}"
    name = kind.__name__ if kind.__module__ in ("builtins", "numpy") else f"{kind.__name__} object"
    return f"a value of type {name}"


def _is_short(values: Any) -> bool:
    return len(values) <= 16 and all(
        type(value) in _NUMBERS or (type(value) is str and len(value) < 20) for value in values
    )
