"""Functions whose calls become single nodes; with ``trainable=True`` their source is a parameter."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from trace_robot.trace.binding import Binder
from trace_robot.trace.containers import TrainableFunction
from trace_robot.trace.failure import failure, original
from trace_robot.trace.lift import lift, plain
from trace_robot.trace.module import Module
from trace_robot.trace.nodes import Node, ParameterNode, constant, unlinked
from trace_robot.trace.operation import Operation
from trace_robot.trace.run import Run
from trace_robot.trace.source import Home, header, written
from trace_robot.trace.state import STOPPED, Scope, state

_state_of = state.get
_running: ContextVar[tuple[object, ...]] = ContextVar("trace_robot_running", default=())
_METHODS = "__trace_robot_methods__"
_NOTHING: Mapping[str, Any] = {}


def bundle(
    description: str | Callable[..., Any] | None = None,
    traceable_code: bool = False,
    trainable: bool = False,
    catch_execution_error: bool = True,
    allow_external_dependencies: bool = False,
    overwrite_python_recursion: bool = False,
) -> Any:
    """Return a decorator; the function it gives takes plain values or nodes and returns one node.

    Args:
        description: ``[name] what it does``; by default the function's name and docstring.
        traceable_code: the function gets nodes instead of values; its own graph is in ``info["output"]``.
        trainable: the source, from below this decorator on, is the parameter ``.parameter``.
        catch_execution_error: what the function raises becomes an ExecutionError.
        allow_external_dependencies: nodes that are read without being inputs become hidden dependencies,
            instead of raising TraceMissingInputsError.
        overwrite_python_recursion: recursive calls run the plain function, within one node; always so if
            ``trainable``.
    """
    frame = sys._getframe(1)
    place = frame.f_code.co_filename, frame.f_lineno
    variables = {} if frame.f_locals is frame.f_globals or not trainable else dict(frame.f_locals)

    def decorate(function: Callable[..., Any]) -> Bundle:
        return Bundle(
            function,
            description=None if callable(description) else description,
            traceable_code=traceable_code,
            trainable=trainable,
            catch_execution_error=catch_execution_error,
            allow_external_dependencies=allow_external_dependencies,
            overwrite_python_recursion=overwrite_python_recursion,
            place=place,
            variables=variables,
        )

    return decorate(description) if callable(description) else decorate


class Code:
    """A source parameter and the function it gives, compiled once per value."""

    __slots__ = ("_text", "binder", "filename", "function", "home", "kind", "op", "parameter", "sources")

    def __init__(self, parameter: ParameterNode, home: Home, op: Operation) -> None:
        self.parameter = parameter
        self.home = home
        self.op = op
        self.filename = f"<code of {home.name}>"
        self._text: Any = None
        self.sources: dict[str, str] = {}
        self.function: Callable[..., Any]
        self.binder: Binder
        self.kind = ""

    def refresh(self) -> None:
        """Compile the parameter's value if it changed; raises ExecutionError."""
        text = self.parameter._data
        if text == self._text:
            self._text = text
            return
        try:
            if not isinstance(text, str):
                raise TypeError(f"code must be text, got {text!r}")
            self.function = self.home.build(text, self.filename)
        except Exception as error:
            sources = {self.filename: str(text)}
            raise failure(error, self.op, ("__code",), (self.parameter,), sources) from original(error)
        self.sources = {self.filename: text}
        self.binder = Binder(self.function)
        self.kind = _kind(self.function)
        self._text = text

    def copy(self) -> Code:
        """Return code of its own with the same value."""
        parameter = self.parameter.detach()
        assert isinstance(parameter, ParameterNode)
        return Code(parameter, self.home, self.op)

    def __deepcopy__(self, memo: dict[int, Any]) -> Code:
        made = memo[id(self)] = self.copy()
        return made


class Bundle(Module, TrainableFunction):
    """A function whose calls are nodes. ``parameter`` is its source, None if it is not trainable."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        description: str | None = None,
        traceable_code: bool = False,
        trainable: bool = False,
        catch_execution_error: bool = True,
        allow_external_dependencies: bool = False,
        overwrite_python_recursion: bool = False,
        place: tuple[str, int] = ("", 0),
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        if not callable(function):
            raise TypeError(f"bundle takes a function, got {function!r}")
        functools.update_wrapper(self, function, updated=())
        self._fun = function
        self._binder = Binder(function)
        self._kind = _kind(function)
        self._op = _operation(function, description)
        self.traceable_code = traceable_code
        self.catch_execution_error = catch_execution_error
        self.allow_external_dependencies = allow_external_dependencies
        self.overwrite_python_recursion = overwrite_python_recursion
        self._place = place
        self._first: tuple[Any, ...] = ()
        self._code = self._trainable(function, place, variables or {}) if trainable else None

    def _trainable(
        self, function: Callable[..., Any], place: tuple[str, int], variables: Mapping[str, Any]
    ) -> Code:
        name = getattr(function, "__name__", "")
        try:
            text, _ = written(function, *place)
            constraint = f"The code must define:\n{header(text)}"
        except (OSError, TypeError, SyntaxError) as error:
            raise TypeError(
                f"the source of {function!r} is not known, write it with def in a file"
            ) from error
        parameter = ParameterNode(text, name="__code", constraint=constraint, function=name)
        return Code(parameter, Home.of(function, variables), self._op)

    @property
    def parameter(self) -> ParameterNode | None:
        return None if self._code is None else self._code.parameter

    @property
    def trainable(self) -> bool:
        return self._code is not None

    @property
    def name(self) -> str:
        return self._op.base

    @property
    def description(self) -> str:
        return self._op.description

    @property
    def info(self) -> Mapping[str, Any]:
        """What is known of the function; ``source`` begins below this decorator, at ``line_number``."""
        try:
            text, line = written(self._fun, *self._place)
        except (OSError, TypeError):
            return self._op.details
        return {**self._op.details, "source": text, "line_number": line}

    @property
    def fun(self) -> Callable[..., Any]:
        """The plain function, of the parameter's present value if trainable."""
        if self._code is None:
            return self._fun
        self._code.refresh()
        return self._code.function

    def parameters_dict(self) -> dict[str, Any]:
        return {} if self.parameter is None else {"__code": self.parameter}

    def detach(self) -> Bundle:
        """Return a copy with a parameter of its own."""
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Bundle:
        made = self._like(self._first, None if self._code is None else self._code.copy())
        memo[id(self)] = made
        return made

    def _like(self, first: tuple[Any, ...], code: Code | None) -> Bundle:
        made: Bundle = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._first = first
        made._code = code
        return made

    def __get__(self, instance: Any, owner: type | None = None) -> Bundle:
        if instance is None:
            return self
        methods = getattr(instance, "__dict__", {}).get(_METHODS)
        if methods is None or methods["self"]._data is not instance:
            methods = {"self": Node(instance, name="self")}
            try:
                instance.__dict__[_METHODS] = methods
            except AttributeError:
                if self._code is not None:
                    kind = type(instance).__name__
                    raise TypeError(f"{kind} needs a __dict__ to hold the code of {self.name!r}") from None
        code = methods.get(self)
        if code is None and self._code is not None:
            code = methods[self] = self._code.copy()
        return self._like((methods["self"],), code)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        code = self._code
        if code is None:
            function, binder, kind = self._fun, self._binder, self._kind
        else:
            if code._text is not code.parameter._data:
                code.refresh()
            function, binder, kind = code.function, code.binder, code.kind
        if self._first:
            args = self._first + args
        outer = _state_of()
        if outer is STOPPED and not kind:
            return self._untraced(function, args, kwargs)
        if self.overwrite_python_recursion and self in _running.get():
            return function(*args, **kwargs)
        names = binder.names
        if names is None or kwargs or len(names) != len(args):
            names, values, by_position, keywords = binder.bind(args, kwargs)
        else:
            values, by_position, keywords = list(args), len(args), ()
        parents = self._lift(names, values, outer)
        if code is not None:
            names = (*names, "__code")
            parents.append(code.parameter)
        if self.overwrite_python_recursion:
            function = self._marked(function)
        named = _NOTHING
        if keywords:
            named = dict(zip(keywords, values[by_position:], strict=True))
            del values[by_position:]
        run = Run(
            self._op,
            names,
            tuple(parents),
            allow=self.allow_external_dependencies or self.traceable_code,
            catch=self.catch_execution_error,
            keep_inner=self.traceable_code,
            sources=None if code is None else code.sources,
        )
        if not kind:
            return run.call(function, values, named)
        return (run.wait if kind == "async" else run.generate)(function, values, named)

    def _untraced(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call with plain values; the result is a node without inputs."""
        if not self.traceable_code:
            args = tuple([each._data if isinstance(each, Node) else plain(each) for each in args])
            if kwargs:
                kwargs = {name: plain(each) for name, each in kwargs.items()}
        try:
            data = function(*args, **kwargs)
        except Exception as error:
            raise Run(self._op, (), (), catch=self.catch_execution_error).failed(error) from original(error)
        return unlinked(plain(data), self._op)

    def _lift(self, names: tuple[str, ...], values: list[Any], outer: Scope | None) -> list[Node]:
        """Return the arguments as nodes and turn ``values`` into what the function gets."""
        parents = []
        for index, value in enumerate(values):
            if isinstance(value, Bundle):
                made: Node = value.parameter or constant(value, names[index])
            else:
                made = lift(value, names[index])
                values[index] = constant(made._data, names[index]) if self.traceable_code else made._data
            parents.append(made)
            if outer is not None:
                outer.read(made)
        if outer is not None and self._code is not None:
            outer.link(self._code.parameter)
        return parents

    def _marked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` such that calls of this bundle from within it are plain."""

        def run(*args: Any, **kwargs: Any) -> Any:
            token = _running.set((*_running.get(), self))
            try:
                return function(*args, **kwargs)
            finally:
                _running.reset(token)

        return run


def _kind(function: Callable[..., Any]) -> str:
    inner = inspect.unwrap(function)
    if inspect.iscoroutinefunction(inner):
        return "async"
    return "generator" if inspect.isgeneratorfunction(inner) else ""


def _operation(function: Callable[..., Any], description: str | None) -> Operation:
    base = getattr(function, "__name__", type(function).__name__)
    if base == "<lambda>":
        base = "function"
    doc = inspect.getdoc(function) or ""
    if not description:
        return Operation(base, f"[{base}] {doc}".rstrip(), function=function)
    title = re.match(r"^\[([^\[\]]+)\]", description)
    if title:
        return Operation(title.group(1), description, function=function)
    return Operation(base, f"[{base}] {description}", function=function)
