"""One call of a traced function: what it reads is noticed, what it raises is marked, what it returns is linked."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from trace_robot.trace.errors import ExecutionError, TraceMissingInputsError, failure, original
from trace_robot.trace.node_types import CONTAINERS, MessageNode, Node, link, unlinked
from trace_robot.trace.operation import Operation
from trace_robot.trace.serialization import shorten
from trace_robot.trace.state import STOPPED, Scope, state
from trace_robot.trace.wrapping import held_nodes, holds_node, plain

_state_of = state.get
_set_state = state.set
_reset_state = state.reset

_LAZY = frozenset((CoroutineType, GeneratorType, AsyncGeneratorType))
"""Results whose code runs after the call."""


class Call:
    """A call of ``op`` with ``parents`` as inputs named ``keys``, within ``scope``.

    allow: reading other nodes is no error. catch: exceptions become ExecutionErrors. sources: file name -> text of
    code that no file holds. keep_inner: a result that is a node is kept as ``info["output"]``.
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
        token = _set_state(self.scope)
        try:
            data = function(*args, **kwargs)
        except Exception as error:
            raise self.failed(error) from original(error)
        finally:
            _reset_state(token)
        return self.finish(data)

    def finish(self, data: Any) -> Any:
        """Return the result, or what stands for it if its code is still to run."""
        return self.later(data) if type(data) in _LAZY else self.result(data)

    def later(self, data: Any) -> Any:
        """Return what stands for a result whose code is still to run: an awaitable or a node of an iterator."""
        if isinstance(data, CoroutineType):
            return self._wait(data)
        return self.result(
            self._items(data) if isinstance(data, GeneratorType) else self._awaited_items(data)
        )

    async def _wait(self, coroutine: Any) -> MessageNode:
        token = _set_state(self.scope)
        try:
            data = await coroutine
        except Exception as error:
            raise self.failed(error) from original(error)
        finally:
            _reset_state(token)
        return self.result(data)

    def _items(self, items: Iterator[Any]) -> Iterator[Any]:
        """Yield plain items, the body running in the scope of this call."""
        while True:
            token = _set_state(self.scope)
            try:
                item = next(items)
            except StopIteration:
                break
            except Exception as error:
                raise self.failed(error) from original(error)
            finally:
                _reset_state(token)
            yield plain(item)
        self._dependencies()

    async def _awaited_items(self, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        while True:
            token = _set_state(self.scope)
            try:
                item = await anext(items)
            except StopAsyncIteration:
                break
            except Exception as error:
                raise self.failed(error) from original(error)
            finally:
                _reset_state(token)
            yield plain(item)
        self._dependencies()

    def failed(self, error: Exception) -> ExecutionError:
        """Return the ExecutionError for ``error``; raises ``error`` itself if it is to pass."""
        if isinstance(error, TraceMissingInputsError) or not self.catch:
            raise error
        more = (node for node, _ in self.scope.besides(self.parents))
        return failure(error, self.op, self.keys, (*self.parents, *more), self.sources)

    def result(self, data: Any) -> MessageNode:
        """Return ``data`` as the result; nodes in it are taken out and become dependencies."""
        inner = data
        if isinstance(data, Node) or (type(data) in CONTAINERS and holds_node(data)):
            for each in held_nodes(data):
                self.scope.read(each)
            data = plain(data)
        if self.scope is STOPPED:
            return unlinked(data, self.op)
        parents = self.parents if self.scope.seen is None else self.parents + self._dependencies()
        made = link(data, self.op, self.keys, parents)
        if self.keep_inner and isinstance(inner, Node):
            made._about = (None, None, {"output": inner})
        return made

    def _dependencies(self) -> tuple[Node, ...]:
        """Return what was read or linked besides the inputs; raises TraceMissingInputsError if not allowed."""
        more = self.scope.besides(self.parents)
        missing = [f"{node.name} = {shorten(node._data)}" for node, was_read in more if was_read]
        if missing and not self.allow:
            raise TraceMissingInputsError(
                f"{self.op.base} reads nodes that are not its inputs: {', '.join(missing)}; pass them as arguments "
                "or use allow_external_dependencies=True"
            )
        outer = _state_of()
        if outer is not None:
            for node, _ in more:
                outer.link(node)
        return tuple(node for node, _ in more)


Bound = tuple[tuple[str, ...], list[Any], int, tuple[str, ...]]


class Binder:
    """Binds calls to a signature.

    ``names``: the parameters of a call with all arguments by position, None where the signature has
    keyword-only or variable ones. ``fills``: whether defaults become inputs, as those of Python functions do.
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
        except (TypeError, ValueError):
            self.signature = inspect.signature(_anything)
        self.fills = inspect.isfunction(inspect.unwrap(function))
        parameters = self.signature.parameters.values()
        self.positional = tuple(each.name for each in parameters if each.kind < each.VAR_POSITIONAL)
        self.positional_only = frozenset(
            each.name for each in parameters if each.kind == each.POSITIONAL_ONLY
        )
        self.variable = next((each.name for each in parameters if each.kind == each.VAR_POSITIONAL), "")
        self.keywords = tuple(each.name for each in parameters if each.kind == each.KEYWORD_ONLY)
        self.defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
        plain = len(self.positional) == len(self.signature.parameters)
        self.names = self.positional if plain else None

    def bind(self, args: Sequence[Any], given: Mapping[str, Any]) -> Bound:
        """Return input names, values, how many go by position, and the keywords of the rest.

        Raises TypeError, in Python's words, if the arguments do not fit.
        """
        self.signature.bind(*args, **given)
        if not self.fills:
            names = [*self.positional[: len(args)]]
            names += [f"{self.variable or 'args'}_{index}" for index in range(len(args) - len(names))]
            return (*names, *given), [*args, *given.values()], len(args), tuple(given)
        rest = dict(given)
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
        taken = set(keys)
        keys += [f"{name}_" if name in taken else name for name in rest]
        values += rest.values()
        return tuple(keys), values, by_position, tuple(rest)


def _anything(*args: Any, **kwargs: Any) -> None:
    """The signature of a function that does not tell its own."""
