"""Arithmetic on abstract values: numbers, arrays, truth."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from trace_robot.deploy.builder import Builder
from trace_robot.deploy.ir import Expression
from trace_robot.deploy.values import (
    Choice,
    DictContents,
    Function,
    ListContents,
    Reference,
    Value,
    Vector,
    is_number,
    kind_of,
)

MOST_ITEMS = 4096  # of a list or an array
LARGEST = 2**62
ARITHMETIC = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}
COMPARING = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne"}
FOLDED: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
    "floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b,
}  # fmt: skip


class Arithmetic(Builder):
    """Records operations on numbers and arrays, or folds them."""

    def method(self, base: Value, name: str, args: list[Value], keywords: dict[str, Value]) -> Value:
        raise NotImplementedError

    def _negative(self, value: Value) -> Value:
        if not isinstance(value, Expression):
            return -value
        return self.emit("neg", [value], "f" if value.kind == "f" else "i")

    def negated(self, truth: bool | Expression) -> bool | Expression:
        """Return the opposite of a bool."""
        return self.emit("not", [truth], "b") if isinstance(truth, Expression) else not truth

    def binary(self, op: ast.operator, left: Value, right: Value) -> Value:
        """Return ``left op right`` of numbers, arrays, lists or tuples.

        Args:
            op: the operator.
            left: the first operand.
            right: the second operand.
        """
        line = self.line
        return self.spread(left, lambda a: self.spread(right, lambda b: self._two(op, a, b, line)))

    def _two(self, op: ast.operator, left: Value, right: Value, line: int) -> Value:
        self.line = line
        arrays = any(isinstance(side, Vector) and side.is_array for side in (left, right))
        if isinstance(op, ast.MatMult):
            return self.method(left, "dot", [right], {})
        if not arrays and (not is_number(left) or not is_number(right)):
            return self._joined(op, left, right)
        if isinstance(op, ast.Pow) and arrays and not isinstance(right, Expression) and right == 2:
            return self.elementwise(lambda one: self.scalar("mul", one, one), left)
        return self.elementwise(lambda a, b: self._operate(op, a, b), left, right)

    def _joined(self, op: ast.operator, left: Value, right: Value) -> Value:
        if isinstance(op, ast.Mult) and isinstance(left, int):
            left, right = right, left
        if left is None or right is None:
            raise self.fail("None where a number was expected")
        if isinstance(left, str) or isinstance(right, str):
            raise self.refuse("arithmetic with a text cannot be translated")
        items = self.items(left)
        if isinstance(op, ast.Add):
            joined = [*items, *self.items(right)]
        elif isinstance(op, ast.Mult) and isinstance(right, int) and len(items) * right <= MOST_ITEMS:
            joined = items * right
        else:
            raise self.refuse("a list can be added to a list, or repeated a fixed number of times")
        return Vector(tuple(joined)) if isinstance(left, Vector) else self.new(ListContents(tuple(joined)))

    def elementwise(self, function: Callable[..., Value], *operands: Value) -> Value:
        """Apply a function to numbers, or to the numbers of arrays by broadcasting."""
        shaped = [self.vector(one) if not is_number(one) else one for one in operands]
        lengths = {len(one.items) for one in shaped if isinstance(one, Vector)}
        if not lengths:
            return function(*shaped)
        deep = max(self._depth(one) for one in shaped)
        length = next(
            len(one.items) for one in shaped if isinstance(one, Vector) and self._depth(one) == deep
        )
        # A row is combined with each row of a matrix, as numpy broadcasts.
        split = [isinstance(one, Vector) and self._depth(one) == deep for one in shaped]
        if any(s and len(one.items) != length for s, one in zip(split, shaped, strict=True)):
            raise self.refuse(f"arrays must have one length, got {sorted(lengths)}")
        hint, results = self.hint, []
        for i in range(length):
            self.hint = f"{hint}_{i}"
            parts = [one.items[i] if s else one for s, one in zip(split, shaped, strict=True)]
            results.append(self.elementwise(function, *parts))
        self.hint = hint
        return Vector(tuple(results), is_array=True)

    def _depth(self, value: Value) -> int:
        return (
            1 + max((self._depth(item) for item in value.items), default=0)
            if isinstance(value, Vector)
            else 0
        )

    def vector(self, value: Value) -> Vector:
        """Return a list, tuple or array as an array."""
        if isinstance(value, Vector) and value.is_array:
            return value
        items = [
            one if is_number(one) else self.vector(one) for one in map(self.number_or_not, self.items(value))
        ]
        return Vector(tuple(items), is_array=True)

    def number_or_not(self, value: Value) -> Value:
        """Return a choice of numbers as one number, anything else as it is."""
        value = self.resolve(value)
        if isinstance(value, Choice) and all(is_number(self.resolve(one)) for one in value.options.values()):
            return self.spread(value, lambda one: one)
        return value

    def number(self, value: Value, what: str = "a number") -> Value:
        """Return the value as one number, or refuse.

        Args:
            value: any.
            what: is expected, for the message.
        """
        value = self.number_or_not(value)
        if isinstance(value, Vector) and len(value.items) == 1:
            return self.number(value.items[0], what)
        if value is None:
            raise self.fail("None where a number was expected")
        if not is_number(value):
            raise self.refuse(f"{what} was expected, got {self.named(value)}")
        return value

    def named(self, value: Value) -> str:
        """Return what a value is, for messages."""
        if isinstance(value, Reference):
            return "a list" if isinstance(self.state.heap[value.number], ListContents) else "a dict"
        names = {
            Vector: "an array or a tuple",
            Function: "a function",
            Choice: "one of several values",
            str: "a text",
        }
        return names.get(type(value), "None" if value is None else getattr(value, "name", "a number"))

    def _operate(self, op: ast.operator, left: Value, right: Value) -> Value:
        left, right = self.number(left), self.number(right)
        if type(op) in ARITHMETIC:
            return self.scalar(ARITHMETIC[type(op)], left, right)
        if isinstance(op, ast.Pow):
            return self.power(left, right)
        if not isinstance(op, ast.Div | ast.FloorDiv | ast.Mod):
            raise self.refuse(f"the operator {type(op).__name__} cannot be translated")
        self.require(self.scalar("ne", right, 0), "division by zero")
        if isinstance(op, ast.Div):
            if isinstance(left, Expression) or isinstance(right, Expression):
                return self.emit("div", [self.real(left), self.real(right)], "f")
            return self._checked(left / right)
        name = "floordiv" if isinstance(op, ast.FloorDiv) else "mod"
        if not isinstance(left, Expression) and not isinstance(right, Expression):
            return FOLDED[name](left, right)
        if "f" in (kind_of(left), kind_of(right)):
            return self.emit("call", [self.real(left), self.real(right)], "f", name)
        return self.emit(name, [left, right], "i")

    def power(self, base: Value, exponent: Value) -> Value:
        """Return ``base ** exponent``, of integers only by small constants.

        Args:
            base: what it belongs to.
            exponent: a number.
        """
        whole = kind_of(base) != "f" and kind_of(exponent) != "f"
        if whole:
            if isinstance(exponent, Expression) or not 0 <= exponent <= 8:
                raise self.refuse("an integer can be raised to a constant power from 0 to 8")
            result: Value = 1
            for _ in range(exponent):
                result = self.scalar("mul", result, base)
            return result
        return self.function("pow", [base, exponent])

    def function(self, name: str, args: Sequence[Value]) -> Value:
        """Return the result of a function of real numbers, which must be finite.

        Args:
            name: of the function or method.
            args: its arguments.
        """
        operands = [self.real(self.number(argument)) for argument in args]
        result = self.emit("call", operands, "f", name)
        if name not in ("atan", "atan2", "tanh", "hypot", "copysign", "fabs", "floor", "ceil", "rint"):
            self.require(
                self.emit("call", [result], "b", "isfinite"), f"{name} of a number outside its domain"
            )
        return result

    def real(self, value: Value) -> Value:
        """Return a number as float64."""
        if not isinstance(value, Expression):
            return float(value)
        return value if value.kind == "f" else self.emit("float", [value], "f")

    def scalar(self, op: str, left: Value, right: Value) -> Value:
        """Return an arithmetic operation or a comparison of two numbers.

        Args:
            op: the operator.
            left: the first operand.
            right: the second operand.
        """
        if not isinstance(left, Expression) and not isinstance(right, Expression):
            return self._checked(FOLDED[op](left, right))
        if "f" in (kind_of(left), kind_of(right)):
            left, right = self.real(left), self.real(right)
        kind = "b" if op in ("lt", "le", "gt", "ge", "eq", "ne") else kind_of(left)
        return self.emit(op, [left, right], "i" if kind == "b" and op in ("add", "sub", "mul") else kind)

    def _checked(self, value: Value) -> Value:
        if isinstance(value, int) and abs(value) > LARGEST:
            raise self.refuse("an integer beyond 2**62 cannot be translated")
        return value

    def require(self, condition: bool | Expression, reason: str) -> None:
        """Let the step fail where a condition does not hold.

        Args:
            condition: a bool, maybe of the run.
            reason: for the fault, as text.
        """
        self.when(condition, lambda: None, lambda: self.fail(reason))

    def when(
        self, condition: bool | Expression, then: Callable[[], Value], otherwise: Callable[[], Value]
    ) -> Value:
        """Run one of two functions, or both on paths. An exception they return is raised.

        Args:
            condition: a bool, maybe of the run.
            then: run where it holds.
            otherwise: run where it does not.
        """

        def run(keys: tuple[int, ...]) -> Value:
            value = then() if keys == (1,) else otherwise()
            if isinstance(value, Exception):
                raise value
            return value

        condition = self.resolve(condition)
        if isinstance(condition, Expression):
            return self.branch(condition, [(1,), (0,)], run)
        return run((int(condition),))

    def truth(self, value: Value) -> bool | Expression:
        """Return whether a value is true."""
        result: bool | Expression = self.spread(value, self._truth)
        return result

    def _truth(self, value: Value) -> bool | Expression:
        if isinstance(value, Expression):
            return (
                value if value.kind == "b" else self.emit("ne", [value, 0.0 if value.kind == "f" else 0], "b")
            )
        if isinstance(value, Vector) and value.is_array:
            return self._truth(self.number(value, "an array of one number"))
        if isinstance(value, Vector):
            return bool(value.items)
        if isinstance(value, Reference):
            contents = self.state.heap[value.number]
            if isinstance(contents, ListContents):
                return bool(contents.items)
            assert isinstance(contents, DictContents)  # spread leaves no choice
            there = list(dict.fromkeys(presence for presence, _ in contents.entries.values()))
            result: bool | Expression = False
            for presence in map(self.resolve, there):
                if presence is True:
                    return True
                if isinstance(presence, Expression):
                    result = presence if result is False else self.emit("or", [result, presence], "b")
            return result
        return bool(value)

    def items(self, value: Value) -> list[Value]:
        """Return what a list, a tuple, an array or a dict iterates over."""
        value = self.resolve(value)
        if isinstance(value, Vector):
            return list(value.items)
        if isinstance(value, Reference):
            contents = self.state.heap[value.number]
            if isinstance(contents, ListContents):
                return list(contents.items)
            return list(self.entries(value))
        if value is None:  # on one of several paths, which the code may never take
            raise self.fail("None where a list was expected")
        raise self.refuse(f"a list of a fixed length was expected, got {self.named(value)}")

    def entries(self, value: Value) -> dict[Any, tuple[bool | Expression, Value]]:
        """Return the entries of a dict, all of them there."""
        contents = self.state.heap[value.number] if isinstance(value, Reference) else None
        if not isinstance(contents, DictContents):
            raise self.refuse(f"a dict was expected, got {self.named(value)}")
        there = {key: (self.resolve(held), one) for key, (held, one) in contents.entries.items()}
        if any(isinstance(presence, Expression) for presence, _ in there.values()):
            raise self.refuse("a dict whose keys depend on the run cannot be copied or iterated over")
        return {key: entry for key, entry in there.items() if entry[0]}
