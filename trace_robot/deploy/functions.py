"""Calls of numpy, calls of the controller's own functions in place, and comprehensions."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Sequence
from typing import Any

from trace_robot.deploy.arithmetic import MOST_ITEMS
from trace_robot.deploy.calls import BuiltinCalls, Function_
from trace_robot.deploy.ir import Comment, Expression
from trace_robot.deploy.values import (
    Builtin,
    DictContents,
    Function,
    ListContents,
    Value,
    Vector,
    is_number,
)

MOST_CALLS = 40  # nested; a controller that calls itself ends there
FELL = object()  # the end of a block was reached, nothing returned


class Calls(BuiltinCalls):
    """Evaluates calls of numpy too."""

    _numpy_radians = _numpy_deg2rad = BuiltinCalls._math_radians
    _numpy_degrees = _numpy_rad2deg = BuiltinCalls._math_degrees
    _numpy_isfinite = BuiltinCalls._math_isfinite

    # numpy, of whose arrays the lengths are known.

    def _numpy_array(self, value: Value, copy: Value = True) -> Value:
        return value if is_number(value) else Vector(self.vector(value).items, is_array=True)

    _numpy_copy = _numpy_array

    def _numpy_asarray(self, value: Value) -> Value:
        return value if is_number(value) else self.vector(value)

    def _numpy_atleast_1d(self, value: Value) -> Value:
        return Vector((value,), is_array=True) if is_number(value) else self.vector(value)

    def _numpy_float64(self, value: Value) -> Value:
        return self.elementwise(self.real, value)

    def _numpy_float32(self, value: Value) -> Value:
        return self.elementwise(lambda one: self.emit("call", [self.real(one)], "f", "float32"), value)

    def _filled(self, shape: Value, value: Value) -> Vector:
        sizes = [shape] if isinstance(shape, int) else self.items(shape)
        if not all(isinstance(size, int) and size >= 0 for size in sizes) or math.prod(sizes) > MOST_ITEMS:
            raise self.refuse("the shape of an array must be constant and small")
        for size in reversed(sizes):
            value = Vector((value,) * size, is_array=True)
        return value if isinstance(value, Vector) else Vector((value,), is_array=True)

    def _numpy_zeros(self, shape: Value) -> Value:
        return self._filled(shape, 0.0)

    def _numpy_ones(self, shape: Value) -> Value:
        return self._filled(shape, 1.0)

    def _numpy_full(self, shape: Value, value: Value) -> Value:
        return self._filled(shape, self.number(value))

    def _numpy_zeros_like(self, value: Value) -> Value:
        return self.elementwise(lambda one: 0.0, value)

    def _numpy_clip(self, value: Value, low: Value = None, high: Value = None) -> Value:
        if low is not None:
            value = self._numpy_maximum(value, low)
        return value if high is None else self._numpy_minimum(value, high)

    # In this order a number that is not finite stays so, and the step fails: it must not become a bound.

    def _numpy_minimum(self, first: Value, second: Value) -> Value:
        return self.elementwise(lambda a, b: self.least("min", a, b), first, second)

    def _numpy_maximum(self, first: Value, second: Value) -> Value:
        return self.elementwise(lambda a, b: self.least("max", a, b), first, second)

    _numpy_abs = BuiltinCalls._py_abs

    def _numpy_square(self, value: Value) -> Value:
        return self.elementwise(lambda one: self.scalar("mul", one, one), value)

    def _numpy_sign(self, value: Value) -> Value:
        def sign(one: Value) -> Value:
            above, below = (self.emit("float", [self.scalar(op, one, 0.0)], "f") for op in ("gt", "lt"))
            return self.scalar("sub", above, below)

        return self.elementwise(sign, value)

    def _numpy_where(self, condition: Value, then: Value, otherwise: Value) -> Value:
        def choose(truth: Value, first: Value, second: Value) -> Value:
            if not isinstance(truth, Expression):
                return first if truth else second
            return self.emit("select", [self.truth(truth), self.real(first), self.real(second)], "f")

        return self.elementwise(choose, condition, then, otherwise)

    def _flat(self, value: Value) -> list[Value]:
        if is_number(value):
            return [value]
        return [number for item in self.vector(value).items for number in self._flat(item)]

    def _numpy_sum(self, value: Value) -> Value:
        return self._added([self.number(one) for one in self._flat(value)])

    def _added(self, values: list[Value]) -> Value:
        """Add numbers in numpy's order: eight partial sums where there are eight or more."""
        if len(values) < 8:
            total: Value = 0.0 if not values else values[0]
            for value in values[1:]:
                total = self.scalar("add", total, value)
            return total
        parts, whole = values[:8], len(values) - len(values) % 8
        for i in range(8, whole):
            parts[i % 8] = self.scalar("add", parts[i % 8], values[i])
        while len(parts) > 1:
            parts = [self.scalar("add", a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        for value in values[whole:]:
            parts[0] = self.scalar("add", parts[0], value)
        return parts[0]

    def _numpy_mean(self, value: Value) -> Value:
        flat = self._flat(value)
        return self.binary(ast.Div(), self._numpy_sum(value), float(len(flat)))

    def _numpy_max(self, value: Value) -> Value:
        return self._extreme("max", [Vector(tuple(self._flat(value)))])

    def _numpy_min(self, value: Value) -> Value:
        return self._extreme("min", [Vector(tuple(self._flat(value)))])

    _numpy_amax, _numpy_amin = _numpy_max, _numpy_min

    def _numpy_all(self, value: Value) -> Value:
        return self._each("all", self._flat(value))

    def _numpy_any(self, value: Value) -> Value:
        return self._each("any", self._flat(value))

    def _numpy_dot(self, first: Value, second: Value) -> Value:
        first, second = self.vector(first), self.vector(second)
        if any(isinstance(item, Vector) for item in second.items):
            raise self.refuse("a product with a matrix on the right cannot be translated; transpose it")
        if any(isinstance(item, Vector) for item in first.items):
            return Vector(tuple(self._numpy_dot(row, second) for row in first.items), is_array=True)
        products = self.elementwise(lambda a, b: self.scalar("mul", a, b), first, second).items
        total: Value = 0.0 if not products else products[0]
        for product in products[1:]:
            total = self.scalar("add", total, product)
        return total

    def _numpy_cross(self, first: Value, second: Value) -> Value:
        (a, b, c), (d, e, f) = self._flat(first), self._flat(second)
        pairs = ((b, f, c, e), (c, d, a, f), (a, e, b, d))
        times: Function_ = lambda x, y: self.scalar("mul", x, y)  # noqa: E731
        return Vector(
            tuple(self.scalar("sub", times(p, q), times(r, s)) for p, q, r, s in pairs), is_array=True
        )

    def _numpy_concatenate(self, parts: Value) -> Value:
        joined = [item for part in self.items(parts) for item in self.vector(part).items]
        return Vector(tuple(joined), is_array=True)

    def _numpy_hstack(self, parts: Value) -> Value:
        return Vector(tuple(one for part in self.items(parts) for one in self._flat(part)), is_array=True)

    def _numpy_append(self, first: Value, second: Value) -> Value:
        return Vector((*self._flat(first), *self._flat(second)), is_array=True)

    def _numpy_linalg_norm(self, value: Value) -> Value:
        vector = self.vector(value)
        return self.function("sqrt", [self._numpy_dot(vector, vector)])


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
