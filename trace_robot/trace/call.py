"""One call of a traced function: reads, exceptions, the result.

``Binder`` says which argument is which input; ``Call`` is the call itself. Bundles take a shorter way for
plain results and
come here for the rest: results that hold nodes, coroutines and generators, undeclared reads and exceptions.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from trace_robot.trace.errors import ExecutionError, TraceMissingInputsError, failure, original
from trace_robot.trace.node_types import CONTAINERS, MessageNode, Node, link, unlinked
from trace_robot.trace.operation import Operation
from trace_robot.trace.shortening import shorten
from trace_robot.trace.state import STOPPED, Scope, state
from trace_robot.trace.wrapping import held_nodes, holds_node, plain

# Bound at import, as in node.py.
_state_of = state.get
_set_state = state.set
_reset_state = state.reset

_LAZY = frozenset(
    (CoroutineType, GeneratorType, AsyncGeneratorType)
)  # results whose code runs after the call


class Call:
    """A call of ``op`` with ``parents`` as inputs named ``keys``, within ``scope``.

    allow: reads of other nodes are hidden dependencies and no error.
    catch: exceptions become ExecutionErrors.
    sources: file name -> text, for code that no file holds.
    keep_inner: a result that is a node is kept as ``info["output"]``, for ``Subgraph.expand``.
    """

    __slots__ = ("allow", "catch", "keep_inner", "keys", "op", "parents", "scope", "sources")

    def __init__(
        self,
        op: Operation,
        keys: tuple[str, ...],
        parents: tuple[Node, ...],
        scope: Scope,
        allow: bool = True,
        catch: bool = True,
        sources: Mapping[str, str] | None = None,
        keep_inner: bool = False,
    ) -> None:
        self.op = op
        self.keys = keys
        self.parents = parents
        self.scope = scope
        self.allow = allow
        self.catch = catch
        self.sources = sources
        self.keep_inner = keep_inner

    def call(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Return the result of ``function``, which runs in the scope of this call.

        Args:
            function: gets the arguments as they are.
            args: by position.
            kwargs: by name.

        Raises:
            ExecutionError: ``function`` raised and ``catch`` is set.
            TraceMissingInputsError: it read nodes that are not inputs and ``allow`` is not set.
        """
        token = _set_state(self.scope)
        try:
            data = function(*args, **kwargs)
        except Exception as error:  # whatever user code raises; not KeyboardInterrupt and SystemExit
            raise self.failed(error) from original(error)
        finally:
            _reset_state(token)
        return self.finish(data)

    def finish(self, data: Any) -> Any:
        """Return the result of the call as a node, or an awaitable of one."""
        # Coroutines and generators run after the call has returned. A generator runs in turns with its
        # caller, so the scope is set around each of its steps: one that stayed set would take the caller's
        # reads for the generator's.
        if type(data) not in _LAZY:
            return self.result(data)
        if isinstance(data, CoroutineType):
            return self._awaited(data)
        items = self._items(data) if isinstance(data, GeneratorType) else self._async_items(data)
        return self.result(items)

    async def _awaited(self, coroutine: Any) -> MessageNode:
        # Set once for the whole coroutine: its caller waits, and every other task has another context.
        token = _set_state(self.scope)
        try:
            data = await coroutine
        except Exception as error:  # as in call
            raise self.failed(error) from original(error)
        finally:
            _reset_state(token)
        return self.result(data)

    def _items(self, items: Iterator[Any]) -> Iterator[Any]:
        """Yield plain items. Operators that iterate over the node link them."""
        while True:
            token = _set_state(self.scope)
            try:
                item = next(items)
            except StopIteration:
                break
            except Exception as error:  # as in call
                raise self.failed(error) from original(error)
            finally:
                _reset_state(token)
            yield plain(item)
        self._dependencies()  # for its error: the node was linked before the body ran

    async def _async_items(self, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        while True:
            token = _set_state(self.scope)
            try:
                item = await anext(items)
            except StopAsyncIteration:
                break
            except Exception as error:  # as in call
                raise self.failed(error) from original(error)
            finally:
                _reset_state(token)
            yield plain(item)
        self._dependencies()

    def failed(self, error: Exception) -> ExecutionError:
        """Return the ExecutionError for ``error``, or raise ``error`` if it must pass."""
        if isinstance(error, TraceMissingInputsError) or not self.catch:
            raise error
        more = (node for node, _ in self.scope.besides(self.parents))
        return failure(error, self.op, self.keys, (*self.parents, *more), self.sources)

    def result(self, data: Any) -> MessageNode:
        """Return ``data`` as the result, plain. Nodes in it become hidden dependencies."""
        inner = data
        if isinstance(data, Node) or (type(data) in CONTAINERS and holds_node(data)):
            for held in held_nodes(data):
                self.scope.read(held)
            data = plain(data)
        if self.scope is STOPPED:
            return unlinked(data, self.op)
        parents = self.parents if self.scope.seen is None else self.parents + self._dependencies()
        node = link(data, self.op, self.keys, parents)
        if self.keep_inner and isinstance(inner, Node):
            node._about = (None, None, {"output": inner})
        return node

    def _dependencies(self) -> tuple[Node, ...]:
        """Return the noted nodes besides the inputs, raising if they must be inputs."""
        more = self.scope.besides(self.parents)
        missing = [f"{node.name} = {shorten(node._data)}" for node, was_read in more if was_read]
        if missing and not self.allow:
            raise TraceMissingInputsError(
                f"{self.op.base} reads nodes that are not its inputs: {', '.join(missing)}; pass them as arguments "
                "or use allow_external_dependencies=True"
            )
        outer = _state_of()
        if outer is not None:
            # The call around this one depends on them too. It need not declare them: they are linked to this
            # result, which it has read.
            for node, _ in more:
                outer.link(node)
        return tuple(node for node, _ in more)


Bound = tuple[tuple[str, ...], list[Any], int, tuple[str, ...]]


class Binder:
    """Binds the arguments of a call to a signature, as named inputs.

    names: the parameters of a call with all arguments by position, None where the signature has keyword-only or
        variable ones. Callers compare its length with that of their arguments and then need not call ``bind``
        at all.
    fills: whether defaults become inputs, as those of Python functions do. Defaults in signatures of built-in
        functions are often placeholders that cannot be passed.
    """

    __slots__ = (
        "defaults",
        "fills",
        "keywords",
        "names",
        "positional",
        "positional_only",
        "signature",
        "variable",
    )

    def __init__(self, function: Callable[..., Any]) -> None:
        try:
            self.signature = inspect.signature(function)
        except (TypeError, ValueError):  # some built-in functions have none
            self.signature = inspect.signature(_any_signature)
        self.fills = inspect.isfunction(inspect.unwrap(function))
        parameters = self.signature.parameters.values()
        self.positional = tuple(item.name for item in parameters if item.kind < item.VAR_POSITIONAL)
        self.positional_only = frozenset(
            item.name for item in parameters if item.kind == item.POSITIONAL_ONLY
        )
        self.variable = next((item.name for item in parameters if item.kind == item.VAR_POSITIONAL), "")
        self.keywords = tuple(item.name for item in parameters if item.kind == item.KEYWORD_ONLY)
        self.defaults = {item.name: item.default for item in parameters if item.default is not item.empty}
        is_positional = len(self.positional) == len(self.signature.parameters)
        self.names = self.positional if is_positional else None

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Bound:
        """Return the arguments as named inputs.

        Args:
            args: by position.
            kwargs: by name.

        Returns:
            Names of the inputs, their values, how many of them go by position, and the keywords of the rest.

        Raises:
            TypeError: the arguments do not fit; the message is Python's.
        """
        self.signature.bind(*args, **kwargs)  # for its errors alone
        if not self.fills:
            names = [*self.positional[: len(args)]]
            names += [f"{self.variable or 'args'}_{index}" for index in range(len(args) - len(names))]
            return (*names, *kwargs), [*args, *kwargs.values()], len(args), tuple(kwargs)
        rest = dict(kwargs)
        keys = list(self.positional)
        values = list(args[: len(keys)])
        for name in keys[len(values) :]:
            takes_keyword = name in rest and name not in self.positional_only
            values.append(rest.pop(name) if takes_keyword else self.defaults[name])
        extra = args[len(self.positional) :]
        keys += [f"{self.variable}_{index}" for index in range(len(extra))]
        values += extra
        by_position = len(values)
        for name in self.keywords:
            rest.setdefault(name, self.defaults.get(name))
        # A ``**kwargs`` may repeat the name of a positional-only parameter; inputs need names of one meaning.
        taken = set(keys)
        keys += [f"{name}_" if name in taken else name for name in rest]
        values += rest.values()
        return tuple(keys), values, by_position, tuple(rest)


def _any_signature(*args: Any, **kwargs: Any) -> None:
    """Stand in for a function whose signature is not known."""
