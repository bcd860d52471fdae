"""``@bundle()``: functions whose calls are single nodes.

This is the second primitive of Trace. Operators record every step of a computation; a bundle hides the steps
within a function and records one: its inputs, its result and its docstring as the description
(arXiv:2406.16218). With ``trainable=True`` the function's source is a parameter and one more input of every
call.

A call goes one of three ways, chosen in ``Bundle.__call__``:

    _untraced   inside ``stop_tracing``: plain values in, a node without inputs out
    _traced     the usual one: inputs are lifted to nodes, the function gets plain values, the result is linked
    Call        the rest: results that hold nodes, coroutines and generators, undeclared reads, exceptions
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, overload

from trace_robot.trace.call import Call
from trace_robot.trace.errors import original
from trace_robot.trace.module import Module, TrainableFunction, methods_of
from trace_robot.trace.node_types import (
    CONTAINERS,
    Node,
    ParameterNode,
    constant,
    link,
    unlinked,
)
from trace_robot.trace.operation import Operation
from trace_robot.trace.source import Code, Target, written
from trace_robot.trace.state import STOPPED, Scope, new_scope, state
from trace_robot.trace.wrapping import ATOMS, gather, holds_node, plain

# Bound at import, as in node.py.
_state_of = state.get
_set_state = state.set
_reset_state = state.reset

# The bundles with ``overwrite_python_recursion`` whose functions are running in this thread or task.
_running: ContextVar[tuple[object, ...]] = ContextVar("trace_robot_running", default=())
_NO_KEYWORDS: Mapping[str, Any] = {}


@overload
def bundle(description: Callable[..., Any]) -> Bundle: ...
@overload
def bundle(
    description: str | None = None,
    traceable_code: bool = False,
    *,
    _process_inputs: bool = True,
    trainable: Literal[True],
    catch_execution_error: bool = True,
    allow_external_dependencies: bool = False,
    overwrite_python_recursion: bool = False,
) -> Callable[[Callable[..., Any]], _TrainableBundle]: ...
@overload
def bundle(
    description: str | None = None,
    traceable_code: bool = False,
    *,
    _process_inputs: bool = True,
    trainable: bool = False,
    catch_execution_error: bool = True,
    allow_external_dependencies: bool = False,
    overwrite_python_recursion: bool = False,
) -> Callable[[Callable[..., Any]], Bundle]: ...
def bundle(
    description: str | Callable[..., Any] | None = None,
    traceable_code: bool = False,
    *,
    _process_inputs: bool = True,
    trainable: bool = False,
    catch_execution_error: bool = True,
    allow_external_dependencies: bool = False,
    overwrite_python_recursion: bool = False,
) -> Bundle | Callable[[Callable[..., Any]], Bundle]:
    """Return a decorator for functions whose calls are to be single nodes.

    The decorated function takes plain values or nodes, also within lists, tuples, dicts and sets, and returns
    a node.

    Args:
        description: ``[name] what it does``; by default the function's name and docstring.
        traceable_code: the function gets nodes instead of values; its own graph is in ``info["output"]``.
        _process_inputs: False gives the function its arguments as they are, nodes too.
        trainable: the source, from below this decorator on, is the parameter ``.parameter``.
        catch_execution_error: what the function raises becomes an ExecutionError.
        allow_external_dependencies: nodes that are read without being inputs become hidden dependencies,
            instead of raising TraceMissingInputsError.
        overwrite_python_recursion: recursive calls run the plain function, within one node; always so if
            ``trainable``.

    Returns:
        The decorator, or the Bundle of ``description`` if that is a function (``@bundle`` without parentheses).

    Raises:
        TypeError: by the decorator, for what is no function, or is trainable and has no source.
    """
    # The line of the decorator, to find the source below it: inspect gives the text from the first decorator
    # on, and of several bundles on one function each has another text. The variables around it are what a new
    # source may name.
    frame = sys._getframe(1)
    place = frame.f_code.co_filename, frame.f_lineno
    in_function = bool(frame.f_code.co_flags & inspect.CO_NEWLOCALS)  # and not in a class or module body
    variables = dict(frame.f_locals) if trainable and in_function else {}

    def decorate(function: Callable[..., Any]) -> Bundle:
        return Bundle(
            function,
            description=None if callable(description) else description,
            traceable_code=traceable_code,
            process_inputs=_process_inputs,
            trainable=trainable,
            catch_execution_error=catch_execution_error,
            allow_external_dependencies=allow_external_dependencies,
            overwrite_python_recursion=overwrite_python_recursion,
            place=place,
            variables=variables,
        )

    return decorate(description) if callable(description) else decorate


class Bundle(Module, TrainableFunction):
    """A function whose calls are nodes, with the options of ``bundle``.

    parameter: the source of the function, None if it is not trainable.
    """

    # _key: module and qualified name, for the methods of instances. _target: the function as it was
    # decorated, and _code the present one if it is trainable. _self: the instance as the first input, () if
    # the bundle is not a method.

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        description: str | None = None,
        traceable_code: bool = False,
        process_inputs: bool = True,
        trainable: bool = False,
        catch_execution_error: bool = True,
        allow_external_dependencies: bool = False,
        overwrite_python_recursion: bool = False,
        place: tuple[str, int] = ("", 0),
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        self._static = isinstance(function, staticmethod)
        function = function.__func__ if isinstance(function, staticmethod) else function
        if not callable(function):
            raise TypeError(f"bundle takes a function, got {function!r}")
        functools.update_wrapper(self, function, updated=())
        home, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", id(function))
        self._key = f"{home}.{name}"
        self._op = Operation.of_function(function, description)
        self._target = Target(function)
        self._place = place
        self._code = Code.of(function, place, variables or {}, self._op) if trainable else None
        self._self: tuple[Node, ...] = ()
        self.traceable_code = traceable_code
        self.process_inputs = process_inputs
        self.catch_execution_error = catch_execution_error
        self.allow_external_dependencies = allow_external_dependencies
        self.overwrite_python_recursion = overwrite_python_recursion

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
        """What is known of the function. ``source`` begins below this decorator."""
        try:
            text, line = written(self._target.function, *self._place)
        except (OSError, TypeError):
            return self._op.details
        return {**self._op.details, "source": text, "line_number": line}

    @property
    def fun(self) -> Callable[..., Any]:
        """The plain function, compiled from the parameter's present value if trainable."""
        return (self._target if self._code is None else self._code.current()).function

    def parameters_dict(self) -> dict[str, Any]:
        """Return the source parameter under ``__code``, {} if there is none."""
        return {} if self.parameter is None else {"__code": self.parameter}

    def detach(self) -> Bundle:
        """Return a copy with its own parameter."""
        return self._duplicate(self._self)

    def bound_to(self, instance: Node) -> Bundle:
        """Return a copy with its own parameter and ``instance`` as its first argument."""
        return self._duplicate((instance,))

    def _duplicate(self, first: tuple[Node, ...]) -> Bundle:
        duplicate: Bundle = object.__new__(type(self))
        duplicate.__dict__.update(self.__dict__)
        duplicate._self = first
        duplicate._code = None if self._code is None else self._code.copy()
        return duplicate

    def __copy__(self) -> Bundle:
        return self.detach()

    def __deepcopy__(self, memo: dict[int, Any]) -> Bundle:
        duplicate = memo[id(self)] = self.detach()
        return duplicate

    # The descriptor protocol, as of Python's functions: a bundle in a class body is a method of the instances.
    def __get__(self, instance: Any, owner: type | None = None) -> Bundle:
        if instance is None or self._static:
            return self
        methods = methods_of(instance)
        if self._code is not None and not hasattr(instance, "__dict__"):
            raise TypeError(f"{type(instance).__name__} needs a __dict__ to hold the code of {self.name!r}")
        return methods.method(self, self._key)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        code = self._code
        target = self._target if code is None else code.target
        # Compiled once per value. The text is compared by identity, in no time however long it is: a new
        # value is a new object, and an equal one that is another object costs no more than a compilation.
        if target is None or (code is not None and target.text is not code.parameter._data):
            target = self._code.current()  # type: ignore[union-attr]
        if self._self:
            args = self._self + args
        outer = _state_of()
        if outer is STOPPED:
            return self._untraced(target, args, kwargs)
        if self.overwrite_python_recursion and self in _running.get():
            return target.function(*args, **kwargs)
        # All arguments by position and as many as parameters: nothing is to be bound. Binding two arguments
        # through inspect takes 2.8 µs, and a whole call without it 1.8 µs (timeit, Python 3.11).
        names = target.binder.names
        if names is not None and not kwargs and len(names) == len(args):
            values = list(args)
            parents = self._lift(names, values, outer)
            return self._traced(target, target.keys, parents, values, _NO_KEYWORDS)
        names, values, by_position, keywords = target.binder.bind(args, kwargs)
        parents = self._lift(names, values, outer)
        named = dict(zip(keywords, values[by_position:], strict=True))
        keys = names if code is None else (*names, "__code")
        return self._traced(target, keys, parents, values[:by_position], named)

    def _traced(
        self,
        target: Target,
        keys: tuple[str, ...],
        parents: tuple[Node, ...],
        values: list[Any],
        named: Mapping[str, Any],
    ) -> Any:
        """Call the function in its own scope and link the result."""
        function = (
            self._without_recursion(target.function) if self.overwrite_python_recursion else target.function
        )
        scope = new_scope()
        token = _set_state(scope)
        try:
            data = function(*values, **named)
        except Exception as error:  # whatever user code raises; not KeyboardInterrupt and SystemExit
            raise self._call(target, keys, parents, scope).failed(error) from original(error)
        finally:
            _reset_state(token)
        # Nothing was read besides the inputs and the result is plain: linked here, without making a Call.
        kind = type(data)
        if scope.seen is None and (kind in ATOMS or (kind in CONTAINERS and not holds_node(data))):
            return link(data, self._op, keys, parents)
        return self._call(target, keys, parents, scope).finish(data)

    def _untraced(self, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function with plain values and return a node without inputs."""
        values: Sequence[Any] = args
        if self.process_inputs and not self.traceable_code:
            values = [value._data if isinstance(value, Node) else plain(value) for value in args]
            if kwargs:
                kwargs = {name: plain(value) for name, value in kwargs.items()}
        try:
            data = target.function(*values, **kwargs)
        except Exception as error:  # as in _traced
            raise self._call(target, (), (), STOPPED).failed(error) from original(error)
        if type(data) in ATOMS:
            return unlinked(data, self._op)
        return self._call(target, (), (), STOPPED).finish(data)

    def _call(self, target: Target, keys: tuple[str, ...], parents: tuple[Node, ...], scope: Scope) -> Call:
        # Traceable code works with nodes and so reads them: of those nothing can be asked.
        allow = self.allow_external_dependencies or self.traceable_code
        catch = self.catch_execution_error
        return Call(self._op, keys, parents, scope, allow, catch, target.sources, self.traceable_code)

    def _lift(self, names: tuple[str, ...], values: list[Any], outer: Scope | None) -> tuple[Node, ...]:
        """Return the inputs as nodes, and turn ``values`` into what the function gets.

        A list, dict or set that is changed later must not change what is recorded: the node holds a copy.
        """
        # What ``wrapping.lift`` and ``plain`` do, in one pass over the arguments.
        parents: list[Node] = []
        given = None if self.process_inputs else values.copy()
        for index, value in enumerate(values):
            if isinstance(value, Node):
                parent = value
                values[index] = value._data
            elif type(value) in CONTAINERS:
                if holds_node(value):
                    parent = gather(value)
                    values[index] = parent._data
                else:
                    parent = constant(value if type(value) is tuple else value.copy(), names[index])
            elif isinstance(value, Bundle) and value.parameter is not None:
                parent = value.parameter  # a function given to a function: its source is what can be changed
            else:
                parent = constant(value, names[index])
            parents.append(parent)
        if given is not None:
            values[:] = given
        elif self.traceable_code:
            # New roots, so that the graph within ends at its inputs and is shown apart (``Subgraph.expand``).
            values[:] = [constant(parent._data, name) for parent, name in zip(parents, names, strict=True)]
        if outer is not None:
            for parent in parents:
                outer.read(parent)
        if self._code is not None:
            parents.append(self._code.parameter)
            if outer is not None:
                outer.link(self._code.parameter)  # not read: the bundle around need not declare it
        return tuple(parents)

    def _without_recursion(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` such that calls of this bundle from within it are plain."""

        def run(*args: Any, **kwargs: Any) -> Any:
            token = _running.set((*_running.get(), self))
            try:
                return function(*args, **kwargs)
            finally:
                _running.reset(token)

        return run


if TYPE_CHECKING:

    class _TrainableBundle(Bundle):
        """For type checkers: the parameter of a trainable bundle is not None."""

        @property
        def parameter(self) -> ParameterNode: ...
        def detach(self) -> _TrainableBundle: ...
        def __get__(self, instance: Any, owner: type | None = None) -> _TrainableBundle: ...
