"""Functions whose calls become single nodes; with ``trainable=True`` their source is a parameter."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, overload

from trace_robot.trace.call import Call
from trace_robot.trace.errors import original
from trace_robot.trace.module import Module, TrainableFunction
from trace_robot.trace.node_types import (
    CONTAINERS,
    TITLE,
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

_state_of = state.get
_set_state = state.set
_reset_state = state.reset
_running: ContextVar[tuple[object, ...]] = ContextVar("trace_robot_running", default=())
_NOTHING: Mapping[str, Any] = {}


@overload
def bundle(description: Callable[..., Any]) -> Bundle: ...
@overload
def bundle(
    description: str | None = None,
    traceable_code: bool = False,
    *,
    trainable: Literal[True],
    catch_execution_error: bool = True,
    allow_external_dependencies: bool = False,
    overwrite_python_recursion: bool = False,
) -> Callable[[Callable[..., Any]], _TrainableBundle]: ...
@overload
def bundle(
    description: str | None = None,
    traceable_code: bool = False,
    trainable: bool = False,
    catch_execution_error: bool = True,
    allow_external_dependencies: bool = False,
    overwrite_python_recursion: bool = False,
) -> Callable[[Callable[..., Any]], Bundle]: ...
def bundle(
    description: str | Callable[..., Any] | None = None,
    traceable_code: bool = False,
    trainable: bool = False,
    catch_execution_error: bool = True,
    allow_external_dependencies: bool = False,
    overwrite_python_recursion: bool = False,
) -> Bundle | Callable[[Callable[..., Any]], Bundle]:
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
    in_function = bool(frame.f_code.co_flags & inspect.CO_NEWLOCALS)  # and not in a class or module body
    variables = dict(frame.f_locals) if trainable and in_function else {}

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
        self._static = isinstance(function, staticmethod)
        function = function.__func__ if isinstance(function, staticmethod) else function
        if not callable(function):
            raise TypeError(f"bundle takes a function, got {function!r}")
        functools.update_wrapper(self, function, updated=())
        home, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", id(function))
        self._key = f"{home}.{name}"
        self._op = _operation(function, description)
        self._target = Target(function)
        self._place = place
        self._code = Code.of(function, place, variables or {}, self._op) if trainable else None
        self._self: tuple[Node, ...] = ()
        self.traceable_code = traceable_code
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
        """What is known of the function; ``source`` begins below this decorator, at ``line_number``."""
        try:
            text, line = written(self._target.function, *self._place)
        except (OSError, TypeError):
            return self._op.details
        return {**self._op.details, "source": text, "line_number": line}

    @property
    def fun(self) -> Callable[..., Any]:
        """The plain function, of the parameter's present value if trainable."""
        return (self._target if self._code is None else self._code.current()).function

    def parameters_dict(self) -> dict[str, Any]:
        return {} if self.parameter is None else {"__code": self.parameter}

    def detach(self) -> Bundle:
        """Return a copy with a parameter of its own."""
        return self._like(self._self)

    def bound_to(self, instance: Node) -> Bundle:
        """Return a copy with a parameter of its own and ``instance`` as its first argument."""
        return self._like((instance,))

    def _like(self, first: tuple[Node, ...]) -> Bundle:
        made: Bundle = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._self = first
        made._code = None if self._code is None else self._code.copy()
        return made

    def __copy__(self) -> Bundle:
        return self.detach()

    def __deepcopy__(self, memo: dict[int, Any]) -> Bundle:
        made = memo[id(self)] = self.detach()
        return made

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
        if target is None or (code is not None and target.text is not code.parameter._data):
            target = self._code.current()  # type: ignore[union-attr]
        if self._self:
            args = self._self + args
        outer = _state_of()
        if outer is STOPPED:
            return self._untraced(target, args, kwargs)
        if self.overwrite_python_recursion and self in _running.get():
            return target.function(*args, **kwargs)
        names = target.binder.names
        if names is not None and not kwargs and len(names) == len(args):
            values = list(args)
            return self._traced(target, target.keys, self._lift(names, values, outer), values, _NOTHING)
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
        """Call within a scope of its own; plain results are linked at once, all others are ``Call``'s."""
        function = self._marked(target.function) if self.overwrite_python_recursion else target.function
        scope = new_scope()
        token = _set_state(scope)
        try:
            data = function(*values, **named)
        except Exception as error:
            raise self._run(target, keys, parents, scope).failed(error) from original(error)
        finally:
            _reset_state(token)
        kind = type(data)
        if scope.seen is None and (kind in ATOMS or (kind in CONTAINERS and not holds_node(data))):
            return link(data, self._op, keys, parents)
        return self._run(target, keys, parents, scope).finish(data)

    def _untraced(self, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call with plain values; the result is a node without inputs."""
        values: Sequence[Any] = args
        if not self.traceable_code:
            values = [each._data if isinstance(each, Node) else plain(each) for each in args]
            if kwargs:
                kwargs = {name: plain(each) for name, each in kwargs.items()}
        try:
            data = target.function(*values, **kwargs)
        except Exception as error:
            raise self._run(target, (), (), STOPPED).failed(error) from original(error)
        if type(data) in ATOMS:
            return unlinked(data, self._op)
        return self._run(target, (), (), STOPPED).finish(data)

    def _run(self, target: Target, keys: tuple[str, ...], parents: tuple[Node, ...], scope: Scope) -> Call:
        allow = self.allow_external_dependencies or self.traceable_code
        catch = self.catch_execution_error
        return Call(self._op, keys, parents, scope, allow, catch, target.sources, self.traceable_code)

    def _lift(self, names: tuple[str, ...], values: list[Any], outer: Scope | None) -> tuple[Node, ...]:
        """Return the inputs as nodes and turn ``values`` into what the function gets.

        A list, dict or set that is changed later must not change what is recorded: the node holds a copy.
        """
        parents: list[Node] = []
        for index, value in enumerate(values):
            if isinstance(value, Node):
                made = value
                values[index] = value._data
            elif type(value) in CONTAINERS:
                if holds_node(value):
                    made = gather(value)
                    values[index] = made._data
                else:
                    made = constant(value if type(value) is tuple else value.copy(), names[index])
            elif isinstance(value, Bundle) and value.parameter is not None:
                made = value.parameter
            else:
                made = constant(value, names[index])
            parents.append(made)
        if self.traceable_code:
            values[:] = [constant(each._data, name) for each, name in zip(parents, names, strict=True)]
        if outer is not None:
            for made in parents:
                outer.read(made)
        if self._code is not None:
            parents.append(self._code.parameter)
            if outer is not None:
                outer.link(self._code.parameter)
        return tuple(parents)

    def _marked(self, function: Callable[..., Any]) -> Callable[..., Any]:
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
        """What ``bundle(trainable=True)`` gives, to type checkers: its parameter is there."""

        @property
        def parameter(self) -> ParameterNode: ...
        def detach(self) -> _TrainableBundle: ...
        def __get__(self, instance: Any, owner: type | None = None) -> _TrainableBundle: ...


def _operation(function: Callable[..., Any], description: str | None) -> Operation:
    base = getattr(function, "__name__", type(function).__name__)
    if base == "<lambda>":
        base = "function"
    doc = inspect.getdoc(function) or ""
    if not description:
        return Operation(base, f"[{base}] {doc}".rstrip(), function=function)
    title = TITLE.match(description)
    if title:
        return Operation(title.group(1), description, function=function)
    return Operation(base, f"[{base}] {description}", function=function)


_KEY = "__trace_robot_methods__"


class Methods:
    """Lives in the instance's ``__dict__``; copies of the instance take the values of the parameters along.

    values: function -> source, of methods that were copied with the instance and not yet used.
    """

    __slots__ = ("bound", "node", "values")

    def __init__(self, instance: Any = None, values: dict[str, str] | None = None) -> None:
        self.node = Node(instance, name="self")
        self.bound: dict[str, tuple[Bundle, Bundle]] = {}
        self.values = dict(values or {})

    def method(self, bundle: Bundle, key: str) -> Bundle:
        """Return ``bundle`` bound to the instance, always the same object."""
        known = self.bound.get(key)
        if known is not None and known[0] is bundle:
            return known[1]
        made = bundle.bound_to(self.node)
        if made.parameter is not None and key in self.values:
            made.parameter._set(self.values.pop(key))
        self.bound[key] = bundle, made
        return made

    def sources(self) -> dict[str, str]:
        used = {
            key: made.parameter._data for key, (_, made) in self.bound.items() if made.parameter is not None
        }
        return {**self.values, **used}

    def __copy__(self) -> Methods:
        return Methods(None, self.sources())

    def __deepcopy__(self, memo: dict[int, Any]) -> Methods:
        return Methods(None, self.sources())

    def __reduce__(self) -> tuple[Any, ...]:
        return Methods, (None, self.sources())


def methods_of(instance: Any) -> Methods:
    """Return the Methods of ``instance``, new for every call if it has no place to keep them."""
    kept = getattr(instance, "__dict__", {})
    found = kept.get(_KEY)
    if found is None:
        found = Methods(instance)
    elif found.node._data is not instance:
        found = Methods(instance, found.sources())
    else:
        return found  # type: ignore[no-any-return]
    try:
        kept[_KEY] = found
    except TypeError:  # a class: its namespace is read-only
        setattr(instance, _KEY, found)
    return found
