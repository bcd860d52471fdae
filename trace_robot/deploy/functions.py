"""Calls of the controller's own functions in place, and comprehensions."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from trace_robot.deploy.ir import Comment, Expression
from trace_robot.deploy.numpy_calls import Calls
from trace_robot.deploy.values import (
    Builtin,
    DictContents,
    Function,
    ListContents,
    Value,
)

MOST_CALLS = 40  # nested; a controller that calls itself ends there
FELL = object()  # the end of a block was reached, nothing returned


class Functions(Calls):
    """Calls functions in place. ``run`` and ``scope`` are in a subclass."""

    def __init__(self) -> None:
        super().__init__()
        self._depth_of_calls = 0
        self.given: dict[str, Value] = {}  # names that a module finds defined

    def run(self, work: Any, scope: int) -> Value:
        raise NotImplementedError

    def scope(self, parent: int | None) -> int:
        raise NotImplementedError

    # Calls of the controller's functions, and comprehensions.

    def call(self, function: Value, args: list[Value], keywords: dict[str, Value]) -> Value:
        """Call a function in place.

        Args:
            function: a function.
            args: its arguments.
            keywords: its keyword arguments.
        """
        if isinstance(function, Builtin):
            if function.name == "trace_robot.node":
                return args[0]
            if function.name.startswith(("trace_robot.", "typing")):
                return None
            return self.builtin(function.name, args, keywords)
        if not isinstance(function, Function):
            raise self.refuse(f"{self.named(function)} cannot be called")
        if self._depth_of_calls >= MOST_CALLS:
            raise self.refuse("functions call each other too deeply, or a function calls itself")
        scope, node = self.scope(function.scope), function.node
        self._parameters(node, scope, args, keywords)
        if isinstance(node, ast.Lambda):
            return self.evaluate(node.body, scope)
        summary = (ast.get_docstring(node) or "").partition("\n")[0]
        self.block.append(Comment(f"{node.name}: {summary}" if summary else node.name))
        self._depth_of_calls += 1
        hint = self.hint
        value = self.run(listed(node.body), scope)
        self.hint = hint
        self._depth_of_calls -= 1
        for name in [name for name in self.state.variables if name[0] == scope]:
            del self.state.variables[name]
        return self.spread(value, lambda one: None if one is FELL else one)

    def _deploy_expected(self, decision: Value, count: int) -> Value:
        """Return what ``decide`` gave, of which the tracking needs ``count`` numbers."""
        numbers = self.items(decision)
        if len(numbers) != count:
            act = self.given["decide"].node.lineno
            raise self.refuse(f"act must return {count} numbers in mode pose, got {len(numbers)}", act)
        return decision

    def _parameters(
        self, node: ast.FunctionDef | ast.Lambda, scope: int, args: list[Value], keywords: dict[str, Value]
    ) -> None:
        parameters, given = node.args, dict(keywords)
        if parameters.vararg or parameters.kwarg:
            raise self.refuse("functions with *arguments cannot be translated")
        names = [argument.arg for argument in (*parameters.posonlyargs, *parameters.args)]
        if len(args) > len(names):
            raise self.refuse(f"at most {len(names)} arguments were expected, got {len(args)}")
        given.update(zip(names, args, strict=False))
        defaults = dict(zip(names[len(names) - len(parameters.defaults) :], parameters.defaults, strict=True))
        for argument, default in zip(parameters.kwonlyargs, parameters.kw_defaults, strict=True):
            names.append(argument.arg)
            if default is not None:
                defaults[argument.arg] = default
        for name in names:
            if name not in given and name in defaults:
                given[name] = self.evaluate(defaults[name], self.parents[scope])
        if set(given) != set(names):
            raise self.refuse(
                f"the arguments {', '.join(names)} were expected, got {', '.join(map(str, given))}"
            )
        for name, value in given.items():
            self.state.variables[scope, name] = self.number_or_not(value)

    def _listcomp(self, node: ast.ListComp, scope: int) -> Value:
        return self._comprehended(node, scope, lambda inner: self.evaluate(node.elt, inner), self._made_list)

    def _made_list(self, values: list[Value]) -> Value:
        return self.new(ListContents(tuple(values)))

    _generatorexp = _listcomp

    def _dictcomp(self, node: ast.DictComp, scope: int) -> Value:
        def pair(inner: int) -> Value:
            return self._key(self.evaluate(node.key, inner)), self.evaluate(node.value, inner)

        return self._comprehended(
            node,
            scope,
            pair,
            lambda pairs: self.new(DictContents({key: (True, value) for key, value in pairs})),
        )

    def _comprehended(
        self, node: Any, scope: int, each: Callable[[int], Value], make: Callable[[list[Value]], Value]
    ) -> Value:
        def over(values: Value) -> Value:
            inner = self.scope(scope)
            rounds = self.iterate(node.generators, values, inner)
            return make([each(inner) for condition in rounds if self._certain(condition)])

        return self.spread(self.evaluate(node.generators[0].iter, scope), over)

    def _certain(self, condition: bool | Expression) -> bool:
        if isinstance(condition, Expression):
            raise self.refuse("the length of a comprehension must not depend on the run")
        return condition

    def reduced(self, name: str, node: ast.GeneratorExp, scope: int) -> Value:
        """Return ``all(...)`` or ``any(...)``, which stops where the result is known.

        Args:
            name: of the function or method.
            node: of the syntax tree.
            scope: of variables.
        """

        def over(values: Value) -> Value:
            inner = self.scope(scope)
            rounds = self.iterate(node.generators, values, inner)

            def following() -> Value:
                for condition in rounds:
                    decides: Callable[[], Value] = lambda: self.truth_of(node.elt, inner)  # noqa: E731
                    truth = self.when(condition, decides, lambda: name == "all")
                    ends: Callable[[], Value] = lambda: name != "all"  # noqa: E731
                    pair = (following, ends) if name == "all" else (ends, following)
                    return self.when(truth, *pair)
                return name == "all"

            return following()

        return self.spread(self.evaluate(node.generators[0].iter, scope), over)


def listed(statements: Sequence[Any], rest: Any = None) -> Any:
    """Return statements as a linked list, the rest of the work after them.

    Args:
        statements: of the syntax tree.
        rest: work after them, or None.
    """
    for statement in reversed(statements):
        rest = (statement, rest)
    return rest


def own_nodes(statement: ast.stmt) -> list[ast.AST]:
    """Return the nodes of a statement without those of functions in it."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = list(ast.iter_child_nodes(statement))
    while waiting:
        node = waiting.pop()
        found.append(node)
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return found
