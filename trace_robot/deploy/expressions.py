"""Expressions of a controller, evaluated as far as its text decides them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from trace_robot.deploy.arithmetic import COMPARING, Arithmetic
from trace_robot.deploy.ir import Expression
from trace_robot.deploy.values import (
    Builtin,
    Choice,
    DictContents,
    Function,
    ListContents,
    Reference,
    Value,
    Vector,
    is_number,
    same,
)


class Expressions(Arithmetic):
    """Evaluates expressions. ``call`` and ``method`` are in a subclass."""

    parents: dict[int, int]
    viewed: dict[int, Vector]  # arrays of which a slice was taken, by id

    def call(self, function: Value, args: list[Value], keywords: dict[str, Value]) -> Value:
        raise NotImplementedError

    def reduced(self, name: str, node: ast.GeneratorExp, scope: int) -> Value:
        raise NotImplementedError

    def evaluate(self, node: ast.expr, scope: int) -> Value:
        """Return the value of an expression in a scope.

        Args:
            node: of the syntax tree.
            scope: of variables.
        """
        self.count()
        self.line = getattr(node, "lineno", self.line)
        method: Callable[[Any, int], Value] | None = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            raise self.refuse(f"{type(node).__name__} cannot be translated")
        return self.resolve(method(node, scope))

    def _constant(self, node: ast.Constant, scope: int) -> Value:
        if node.value is not None and not isinstance(node.value, str | int | float):
            raise self.refuse(f"a constant must be a number, a text or None, got {type(node.value).__name__}")
        return self._checked(node.value)

    def _name(self, node: ast.Name, scope: int) -> Value:
        here: int | None = scope
        while here is not None:
            if (here, node.id) in self.state.variables:
                return self.state.variables[here, node.id]
            here = self.parents.get(here)
        if node.id in {"int", "float", "bool", "abs", "min", "max", "len", "sum", "round", "range", "zip", "all"} | {
            "any", "enumerate", "dict", "list", "tuple", "reversed", "isinstance", "str", "object"}:  # fmt: skip
            return Builtin(node.id)
        raise self.refuse(f"{node.id!r} has no value on every path to here, or is outside the subset")

    def _tuple(self, node: ast.Tuple, scope: int) -> Value:
        return Vector(tuple(self._elements(node.elts, scope)))

    def _list(self, node: ast.List, scope: int) -> Value:
        return self.new(ListContents(tuple(self._elements(node.elts, scope))))

    def _elements(self, nodes: Sequence[ast.expr], scope: int) -> list[Value]:
        values: list[Value] = []
        hint = self.hint
        for i, node in enumerate(nodes):
            if isinstance(node, ast.Starred):
                values += self.items(self.evaluate(node.value, scope))
                continue
            self.hint = f"{hint}_{i}"
            values.append(self.evaluate(node, scope))
        self.hint = hint
        return values

    def _dict(self, node: ast.Dict, scope: int) -> Value:
        entries: dict[Any, tuple[bool | Expression, Value]] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            held = self.evaluate(value, scope)
            if key is None:
                entries.update(self.entries(held))
            else:
                entries[self._key(self.evaluate(key, scope))] = (True, held)
        return self.new(DictContents(entries))

    def _unaryop(self, node: ast.UnaryOp, scope: int) -> Value:
        if isinstance(node.op, ast.Not):
            return self.negated(self.truth_of(node.operand, scope))
        value = self.evaluate(node.operand, scope)
        if isinstance(node.op, ast.UAdd):
            return value
        if isinstance(node.op, ast.Invert):
            raise self.refuse("~ cannot be translated")
        return self.spread(value, lambda one: self.elementwise(self._negative, one))

    def _binop(self, node: ast.BinOp, scope: int) -> Value:
        left, right = self.evaluate(node.left, scope), self.evaluate(node.right, scope)
        return self.binary(node.op, left, right)

    def _boolop(self, node: ast.BoolOp, scope: int) -> Value:
        value = self.evaluate(node.values[0], scope)
        if len(node.values) == 1:
            return value
        rest = ast.BoolOp(node.op, node.values[1:]) if len(node.values) > 2 else node.values[1]
        ast.copy_location(rest, node)
        truth = self.truth(value)
        if isinstance(node.op, ast.And):
            return self.when(truth, lambda: self.evaluate(rest, scope), lambda: self.resolve(value))
        return self.when(truth, lambda: self.resolve(value), lambda: self.evaluate(rest, scope))

    def truth_of(self, node: ast.expr, scope: int) -> bool | Expression:
        """Return whether an expression is true, without the value of ``and`` and ``or``.

        Args:
            node: of the syntax tree.
            scope: of variables.
        """
        if isinstance(node, ast.BoolOp):
            first, *others = node.values
            rest = others[0] if len(others) == 1 else ast.copy_location(ast.BoolOp(node.op, others), node)
            truth, both = self.truth_of(first, scope), isinstance(node.op, ast.And)
            following: Callable[[], Value] = lambda: self.truth_of(rest, scope)  # noqa: E731
            held: Callable[[], Value] = lambda: not both  # noqa: E731
            result: bool | Expression = self.when(truth, *((following, held) if both else (held, following)))
            return result
        return self.truth(self.evaluate(node, scope))

    def _compare(self, node: ast.Compare, scope: int) -> Value:
        left, result = self.evaluate(node.left, scope), True
        for op, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.evaluate(comparator, scope)
            held = self.compare(op, left, right)
            result = held if result is True else self._both(result, held)
            left = right
        return result

    def _both(self, first: Value, second: Value) -> Value:
        return self.when(self.truth(first), lambda: second, lambda: False)

    def compare(self, op: ast.cmpop, left: Value, right: Value) -> Value:
        """Return a comparison, of arrays an array.

        Args:
            op: the operator.
            left: the first operand.
            right: the second operand.
        """
        line = self.line
        return self.spread(left, lambda a: self.spread(right, lambda b: self._compared(op, a, b, line)))

    def _compared(self, op: ast.cmpop, left: Value, right: Value, line: int) -> Value:
        self.line = line
        if isinstance(op, ast.NotIn | ast.IsNot):
            opposite = ast.In() if isinstance(op, ast.NotIn) else ast.Is()
            return self.negated(self.truth(self._compared(opposite, left, right, line)))
        if isinstance(op, ast.In):
            return self._contains(right, left)
        numbers = is_number(left) and is_number(right)
        if isinstance(op, ast.Is):
            return same(left, right) if not numbers else self.scalar("eq", left, right)
        if numbers or any(isinstance(side, Vector) and side.is_array for side in (left, right)):
            name = COMPARING[type(op)]
            return self.elementwise(
                lambda a, b: self.scalar(name, self.number(a), self.number(b)), left, right
            )
        if not isinstance(op, ast.Eq | ast.NotEq):
            raise self.refuse("only numbers can be compared by size")
        if isinstance(left, Vector | Reference) and isinstance(right, Vector | Reference):
            raise self.refuse("lists, tuples and dicts cannot be compared; compare their numbers")
        return same(left, right) == isinstance(op, ast.Eq)

    def _contains(self, container: Value, item: Value) -> bool | Expression:
        if isinstance(container, str) and isinstance(item, str):
            return item in container
        if isinstance(container, Reference) and isinstance(
            held := self.state.heap[container.number], DictContents
        ):
            there: bool | Expression = self.resolve(held.entries.get(self._key(item), (False, None))[0])
            return there
        result: bool | Expression = False
        for one in self.items(container):
            equal = self.truth(self.compare(ast.Eq(), one, item))
            if equal is True:
                return True
            if equal is not False:
                result = equal if result is False else self.emit("or", [result, equal], "b")
        return result

    def _ifexp(self, node: ast.IfExp, scope: int) -> Value:
        truth = self.truth_of(node.test, scope)
        return self.when(
            truth, lambda: self.evaluate(node.body, scope), lambda: self.evaluate(node.orelse, scope)
        )

    def _lambda(self, node: ast.Lambda, scope: int) -> Value:
        return Function(node, scope)

    def _namedexpr(self, node: ast.NamedExpr, scope: int) -> Value:
        self.state.variables[scope, node.target.id] = value = self.evaluate(node.value, scope)
        return value

    def _attribute(self, node: ast.Attribute, scope: int) -> Value:
        base = self.evaluate(node.value, scope)
        if isinstance(base, Builtin):
            return self.member(f"{base.name}.{node.attr}")
        if isinstance(base, Vector) and node.attr in ("size", "shape"):
            count = len(base.items)
            return count if node.attr == "size" else Vector((count,))
        # Of a parameter, which is its own data here: node(1.0, trainable=True).data.
        held = is_number(base) or isinstance(base, str | Vector | Reference)
        if node.attr == "data" and isinstance(node.value, ast.Name) and held:
            return base
        raise self.refuse(f"the attribute {node.attr!r} of {self.named(base)} cannot be translated")

    def member(self, name: str) -> Value:
        raise NotImplementedError

    def _call(self, node: ast.Call, scope: int) -> Value:
        line = node.lineno
        base = function = None
        if isinstance(node.func, ast.Attribute):
            base = self.evaluate(node.func.value, scope)
        if base is None or isinstance(base, Builtin):
            function = self.evaluate(node.func, scope)
        lazily = isinstance(function, Builtin) and function.name in ("all", "any") and len(node.args) == 1
        if lazily and isinstance(node.args[0], ast.GeneratorExp):
            return self.reduced(function.name, node.args[0], scope)  # type: ignore[union-attr]
        args = self._elements(node.args, scope)
        keywords: dict[str, Value] = {}
        for keyword in node.keywords:
            value = self.evaluate(keyword.value, scope)
            if keyword.arg is None:
                keywords.update({str(key): held for key, (_, held) in self.entries(value).items()})
            else:
                keywords[keyword.arg] = value
        self.line = line
        if function is None and isinstance(node.func, ast.Attribute):
            name = node.func.attr
            return self.spread(base, lambda one: self.method(one, name, args, keywords))
        return self.spread(function, lambda one: self.call(one, args, keywords))

    def _subscript(self, node: ast.Subscript, scope: int) -> Value:
        base = self.evaluate(node.value, scope)
        if isinstance(base, Builtin):
            return Builtin("typing")
        if isinstance(node.slice, ast.Slice):
            low, high, step = (
                None if part is None else self.evaluate(part, scope)
                for part in (node.slice.lower, node.slice.upper, node.slice.step)
            )
            if any(isinstance(bound, Expression | Choice) for bound in (low, high, step)):
                raise self.refuse("the bounds of a slice must be constants")
            return self.spread(base, lambda one: self._slice(one, slice(low, high, step)))
        key, line = self.evaluate(node.slice, scope), node.lineno
        chosen = isinstance(base, Choice) or isinstance(key, Choice)
        hint = self.hint
        self.hint = key if isinstance(key, str) else hint
        value = self.number_or_not(
            self.spread(key, lambda k: self.spread(base, lambda one: self.item(one, k, line, chosen=chosen)))
        )
        self.hint = hint
        return value

    def _slice(self, base: Value, part: slice) -> Value:
        items = tuple(self.items(base)[part])
        if isinstance(base, Vector):
            self.viewed[id(base)] = base
        return (
            Vector(items, base.is_array, base.is_array)
            if isinstance(base, Vector)
            else self.new(ListContents(items))
        )

    def item(self, base: Value, key: Value, line: int, *, chosen: bool = False) -> Value:
        """Return ``base[key]``.

        Args:
            base: what it belongs to.
            key: an index or a name.
            line: of the controller, the present one if None.
            chosen: whether other options may have the key.
        """
        self.line = line
        if isinstance(base, Reference) and isinstance(contents := self.state.heap[base.number], DictContents):
            name = self._key(key)
            presence, value = contents.entries.get(name, (False, None))
            if presence is False and not chosen and base.number == self.observation:
                known = ", ".join(map(str, contents.entries))
                raise self.refuse(f"the observation has no field {name!r}; it has: {known}")
            self.require(presence, f"no key {name!r}")
            return self.resolve(value)
        if isinstance(key, Vector):
            for part in key.items:
                base = self.item(base, part, line)
            return base
        items = self.items(base)
        if isinstance(key, Expression):
            if key.kind == "f":
                raise self.refuse("an index must be an integer, got a float")
            self._within(key, len(items))
            return self.resolve(Choice(key, dict(enumerate(items))))
        if not isinstance(key, int):
            raise self.refuse(f"an index must be an integer, got {self.named(key)}")
        if not -len(items) <= key < len(items):
            raise self.fail(f"index {key} out of range")
        return self.resolve(items[key])

    observation = -1  # number of the observation in the heap

    def options(self, index: Expression, count: int) -> Choice:
        """Return an integer below ``count`` as a choice, by its table if it has one.

        Args:
            index: an integer of the run.
            count: how many there are.
        """
        made = self._definitions.get(index)
        if made is not None and made.op == "table":
            tag, entries = made.args[0], made.value
            return Choice(tag, {key: entry for key, entry in enumerate(entries) if 0 <= entry < count})
        return Choice(index, {i: i for i in range(count)})

    def _within(self, index: Expression, count: int) -> None:
        possible, made = self.state.possible.get(index), self._definitions.get(index)
        if made is not None and made.op == "table":
            kept = self.state.possible.get(made.args[0], range(len(made.value)))
            possible = frozenset(made.value[key] for key in kept if key < len(made.value))
        if possible is not None and all(0 <= i < count for i in possible):
            return
        inside = self.emit(
            "and", [self.emit("ge", [index, 0], "b"), self.emit("lt", [index, count], "b")], "b"
        )
        self.require(inside, "index out of range")
        self.assume(index, range(count))

    def _key(self, value: Value) -> Any:
        if isinstance(value, Vector) and not value.is_array:
            return tuple(self._key(item) for item in value.items)
        if isinstance(value, str | int) or value is None:
            return value
        raise self.refuse(f"a key must be a text or an integer that the code names, got {self.named(value)}")

    def iterate(self, generators: Sequence[ast.comprehension], values: Value, scope: int) -> Iterator[Value]:
        """Bind the names of each round of a comprehension, and yield its condition.

        Args:
            generators: the ``for`` parts.
            values: what the first of them iterates over.
            scope: of the names.
        """
        generator, *inner = generators
        for value in self.items(values):
            self.bind(generator.target, value, scope)
            condition: bool | Expression = True
            for test in generator.ifs:
                condition = self.truth_of(test, scope) if condition is True else condition
            if condition is False:
                continue
            if inner:
                yield from self.iterate(inner, self.evaluate(inner[0].iter, scope), scope)
            else:
                yield condition

    def bind(self, target: ast.expr, value: Value, scope: int) -> None:
        raise NotImplementedError
