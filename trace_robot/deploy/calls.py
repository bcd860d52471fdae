"""Calls that a controller may make: of Python's builtins, math, numpy, and methods of arrays, dicts and lists."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Sequence
from typing import Any

from trace_robot.deploy.arithmetic import LARGEST, MOST_ITEMS
from trace_robot.deploy.expressions import Expressions
from trace_robot.deploy.ir import Expression
from trace_robot.deploy.values import (
    Builtin,
    DictContents,
    ListContents,
    Reference,
    Value,
    Vector,
    is_number,
    kind_of,
)

CONSTANTS = {
    "math.pi": math.pi, "math.tau": math.tau, "math.e": math.e, "math.inf": math.inf,
    "numpy.pi": math.pi, "numpy.e": math.e, "numpy.inf": math.inf,
}  # fmt: skip
REAL = {  # functions of one real number, by their C names
    "sin": "sin", "cos": "cos", "tan": "tan", "asin": "asin", "acos": "acos", "atan": "atan", "exp": "exp",
    "log": "log", "sqrt": "sqrt", "tanh": "tanh", "sinh": "sinh", "cosh": "cosh", "log2": "log2",
    "log10": "log10", "expm1": "expm1", "log1p": "log1p", "arcsin": "asin", "arccos": "acos", "arctan": "atan",
    "floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "rint", "fabs": "fabs", "absolute": "fabs",
}  # fmt: skip
PAIRS = {
    "atan2": "atan2", "arctan2": "atan2", "hypot": "hypot", "copysign": "copysign", "remainder": "remainder",
    "fmod": "fmod", "pow": "pow", "power": "pow",
}  # fmt: skip
MODULES = {"math", "numpy", "numpy.linalg", "trace_robot"}
NAMES = {"trace_robot.node", "trace_robot.bundle", "trace_robot.Bounds", "trace_robot.Choices"} | {
    "numpy." + name
    for name in [
        "array",
        "asarray",
        "zeros",
        "ones",
        "full",
        "zeros_like",
        "copy",
        "clip",
        "sum",
        "mean",
        "max",
        "min",
        "dot",
        "cross",
        "where",
        "minimum",
        "maximum",
        "abs",
        "sign",
        "concatenate",
        "append",
        "hstack",
        "square",
        "all",
        "any",
        "float64",
        "float32",
        "isfinite",
        "ndarray",
        "prod",
        "deg2rad",
        "rad2deg",
        "radians",
        "degrees",
        "linalg",
        "amax",
        "amin",
        "atleast_1d",
        "ravel",
        "bool_",
        "int64",
        "nan_to_num",
    ]
}
NAMES |= {
    f"math.{name}" for name in [*REAL, *PAIRS, "dist", "radians", "degrees", "isfinite", "isnan", "prod"]
}
NAMES |= {f"numpy.{name}" for name in [*REAL, *PAIRS]} | {"numpy.linalg.norm"}
Function_ = Callable[..., Value]


class BuiltinCalls(Expressions):
    """Evaluates calls of builtins, math and methods."""

    def member(self, name: str) -> Value:
        """Return an attribute of a module, or a bare name of one."""
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in NAMES or name in MODULES or name.startswith("typing"):
            return Builtin(name)
        raise self.refuse(f"{name} cannot be translated")

    def builtin(self, name: str, args: list[Value], keywords: dict[str, Value]) -> Value:
        """Call a function of another library, on a path for each choice of arguments.

        Args:
            name: of the function or method.
            args: its arguments.
            keywords: its keyword arguments.
        """
        args = [self.number_or_not(argument) for argument in args]

        def spread(done: list[Value], waiting: Sequence[Value]) -> Value:
            if waiting:
                return self.spread(waiting[0], lambda one: spread([*done, one], waiting[1:]))
            return self._called(name, done, keywords)

        return spread([], args)

    def _called(self, name: str, args: list[Value], keywords: dict[str, Value]) -> Value:
        room, _, short = name.rpartition(".")
        keywords = {key: value for key, value in keywords.items() if key != "dtype"}
        own: Function_ | None = getattr(
            self, f"_{room.replace('.', '_')}_{short}" if room else f"_py_{short}", None
        )
        try:
            if own is not None:
                return own(*args, **keywords)
            if keywords:
                raise self.refuse(f"{name} with {', '.join(keywords)} cannot be translated")
            if short in REAL and len(args) == 1:
                return self._real(room, short, args[0])
            if short in PAIRS and len(args) == 2:
                return self.elementwise(lambda a, b: self.function(PAIRS[short], [a, b]), *args)
        except TypeError as error:
            if "argument" not in str(error):
                raise
            raise self.refuse(f"{name} cannot be translated with these arguments") from error
        raise self.refuse(f"{name} cannot be translated")

    def _real(self, room: str, short: str, value: Value) -> Value:
        if room == "math" and short in ("floor", "ceil", "trunc"):
            return self._py_int(self.function(short, [value]))
        return self.elementwise(lambda one: self.function(REAL[short], [one]), value)

    # Builtins of Python.

    def _py_abs(self, value: Value) -> Value:
        return self.elementwise(self._abs, value)

    def _abs(self, value: Value) -> Value:
        if not isinstance(value, Expression):
            return abs(value)
        return self.emit("abs", [value], value.kind) if value.kind != "b" else value

    def _py_float(self, value: Value = 0.0) -> Value:
        return self.real(self.number(value))

    def _py_bool(self, value: Value = False) -> Value:
        return self.truth(value)

    def _py_int(self, value: Value = 0) -> Value:
        value = self.number(value)
        if not isinstance(value, Expression):
            if not math.isfinite(value):
                raise self.fail("an integer of a number that is not finite")
            return int(value)
        if value.kind != "f":
            return self.emit("int", [value], "i") if value.kind == "b" else value
        self.require(self.scalar("lt", self._abs(value), float(LARGEST)), "an integer beyond 2**62")
        return self.emit("int", [value], "i")

    def _py_round(self, value: Value, digits: Value = None) -> Value:
        if digits is not None:
            raise self.refuse("round to digits cannot be translated")
        value = self.number(value)
        return self._py_int(self.function("rint", [value])) if kind_of(value) == "f" else value

    def _py_len(self, value: Value) -> Value:
        return len(value) if isinstance(value, str) else len(self.items(value))

    def _py_min(self, *args: Value) -> Value:
        return self._extreme("min", args)

    def _py_max(self, *args: Value) -> Value:
        return self._extreme("max", args)

    def _extreme(self, op: str, args: Sequence[Value]) -> Value:
        values = self.items(args[0]) if len(args) == 1 else list(args)
        if not values:
            raise self.fail(f"{op} of nothing")
        result, *others = (self.number(value) for value in values)
        for other in others:
            result = self.least(op, result, other)
        return result

    def least(self, op: str, first: Value, second: Value) -> Value:
        """Return the smaller ("min") or the larger ("max"), the first of equal ones.

        Args:
            op: the operator.
            first: a value.
            second: another value.
        """
        if not isinstance(first, Expression) and not isinstance(second, Expression):
            return min(first, second) if op == "min" else max(first, second)
        if "f" in (kind_of(first), kind_of(second)):
            first, second = self.real(first), self.real(second)
        return self.emit(op, [first, second], kind_of(first))

    def _py_sum(self, values: Value, start: Value = 0) -> Value:
        total = start
        for value in self.items(values):
            total = self.binary(ast.Add(), total, value)
        return total

    def _py_all(self, values: Value) -> Value:
        return self._each("all", self.items(values))

    def _py_any(self, values: Value) -> Value:
        return self._each("any", self.items(values))

    def _each(self, name: str, values: Sequence[Value]) -> Value:
        result: bool | Expression = name == "all"
        for value in values:
            if isinstance(value, Vector):
                value = self._each(name, value.items)
            truth = self.truth(value)
            if isinstance(truth, bool):
                if truth != (name == "all"):
                    return truth
            elif isinstance(result, bool):
                result = truth
            else:
                result = self.emit("and" if name == "all" else "or", [result, truth], "b")
        return result

    def _py_range(self, *bounds: Value) -> Value:
        if not all(isinstance(bound, int) for bound in bounds) or not bounds:
            raise self.refuse("the bounds of a range must be constants, so that its rounds can be counted")
        try:
            rounds = range(*bounds)
        except ValueError as error:
            raise self.refuse(str(error)) from error
        if len(rounds) > MOST_ITEMS:
            raise self.refuse(f"a range has at most {MOST_ITEMS} rounds, got {len(rounds)}")
        return Vector(tuple(rounds))

    def _py_zip(self, *args: Value, strict: Value = False) -> Value:
        lists = [self.items(argument) for argument in args]
        if strict is True and len({len(values) for values in lists}) > 1:
            raise self.fail("zip of lists of different lengths")
        columns = zip(*lists, strict=False)
        return Vector(tuple(Vector(tuple(row)) for row in columns))

    def _py_enumerate(self, values: Value, start: Value = 0) -> Value:
        if isinstance(start, Expression):
            return self.spread(self.options(start, MOST_ITEMS), lambda one: self._py_enumerate(values, one))
        pairs = enumerate(self.items(values), start)
        return Vector(tuple(Vector((number, value)) for number, value in pairs))

    def _py_reversed(self, values: Value) -> Value:
        return Vector(tuple(reversed(self.items(values))))

    def _py_list(self, values: Value = ()) -> Value:
        return self.new(ListContents(tuple(self.items(values)) if values != () else ()))

    def _py_tuple(self, values: Value = ()) -> Value:
        return Vector(tuple(self.items(values)) if values != () else ())

    def _py_dict(self, *args: Value, **keywords: Value) -> Value:
        entries = dict(self.entries(args[0])) if args else {}
        return self.new(DictContents(entries | {key: (True, value) for key, value in keywords.items()}))

    # math.

    def _math_hypot(self, *args: Value) -> Value:
        return self.function("hypot", args) if args else 0.0

    def _math_dist(self, first: Value, second: Value) -> Value:
        apart = self.elementwise(lambda a, b: self.scalar("sub", self.real(a), self.real(b)), first, second)
        return self.function("hypot", apart.items)

    def _math_radians(self, value: Value) -> Value:
        return self.elementwise(lambda one: self.scalar("mul", self.real(one), math.pi / 180.0), value)

    def _math_degrees(self, value: Value) -> Value:
        return self.elementwise(lambda one: self.scalar("mul", self.real(one), 180.0 / math.pi), value)

    def _math_isfinite(self, value: Value) -> Value:
        return self.elementwise(lambda one: self.emit("call", [self.real(one)], "b", "isfinite"), value)

    def _math_isnan(self, value: Value) -> Value:
        return self.elementwise(lambda one: self.scalar("ne", self.real(one), self.real(one)), value)

    # Methods.

    def method(self, base: Value, name: str, args: list[Value], keywords: dict[str, Value]) -> Value:
        """Call a method of an array, a dict or a list.

        Args:
            base: what it belongs to.
            name: of the function or method.
            args: its arguments.
            keywords: its keyword arguments.
        """
        if isinstance(base, Reference):
            contents = self.state.heap[base.number]
            room = "dict" if isinstance(contents, DictContents) else "list"
            own: Function_ | None = getattr(self, f"_{room}_{name}", None)
            if own is not None:
                return own(base, contents, *args, **keywords)
        elif isinstance(base, Vector) and name in (
            "dot",
            "sum",
            "mean",
            "max",
            "min",
            "all",
            "any",
            "copy",
            "clip",
        ):
            return self.builtin(f"numpy.{name}", [base, *args], keywords)
        elif isinstance(base, Vector) and name in ("tolist", "astype", "ravel", "flatten", "item"):
            return self.number(base) if name == "item" else base
        elif is_number(base) and name in ("item", "astype"):
            return base
        raise self.refuse(f"the method {name!r} of {self.named(base)} cannot be translated")

    def _dict_get(self, base: Reference, contents: DictContents, key: Value, default: Value = None) -> Value:
        def found(name: Any) -> Value:
            presence, value = contents.entries.get(self._key(name), (False, None))
            return self.when(presence, lambda: self.resolve(value), lambda: default)

        return self.spread(key, found)

    def _dict_update(self, base: Reference, contents: DictContents, *args: Value, **keywords: Value) -> None:
        changed = dict(self.entries(args[0])) if args else {}
        changed |= {key: (True, value) for key, value in keywords.items()}
        self.change(base, DictContents({**contents.entries, **changed}))

    def _dict_setdefault(
        self, base: Reference, contents: DictContents, key: Value, default: Value = None
    ) -> Value:
        name = self._key(key)
        value = self._dict_get(base, contents, name, default)
        self.change(base, DictContents({**contents.entries, name: (True, value)}))
        return value

    def _dict_pop(self, base: Reference, contents: DictContents, key: Value, *default: Value) -> Value:
        name = self._key(key)
        value = (
            self._dict_get(base, contents, name, *default) if default else self.item(base, name, self.line)
        )
        self.change(base, DictContents({k: entry for k, entry in contents.entries.items() if k != name}))
        return value

    def _dict_clear(self, base: Reference, contents: DictContents) -> None:
        self.change(base, DictContents({}))

    def _dict_copy(self, base: Reference, contents: DictContents) -> Value:
        return self._py_dict(base)

    def _dict_keys(self, base: Reference, contents: DictContents) -> Value:
        return Vector(tuple(self.entries(base)))

    def _dict_values(self, base: Reference, contents: DictContents) -> Value:
        return Vector(tuple(value for _, value in self.entries(base).values()))

    def _dict_items(self, base: Reference, contents: DictContents) -> Value:
        return Vector(tuple(Vector((key, value)) for key, (_, value) in self.entries(base).items()))

    def _list_append(self, base: Reference, contents: ListContents, value: Value) -> None:
        if len(contents.items) >= MOST_ITEMS:
            raise self.refuse(f"a list has at most {MOST_ITEMS} items")
        self.change(base, ListContents((*contents.items, value)))

    def _list_extend(self, base: Reference, contents: ListContents, values: Value) -> None:
        self.change(base, ListContents((*contents.items, *self.items(values))))

    def _list_copy(self, base: Reference, contents: ListContents) -> Value:
        return self.new(ListContents(contents.items))

    def change(self, base: Reference, contents: ListContents | DictContents) -> None:
        """Replace what a list or a dict holds.

        Args:
            base: what it belongs to.
            contents: what it holds from now on.
        """
        if getattr(self.state.heap[base.number], "frozen", False):
            raise self.refuse(
                "what is changed here may be one of several lists or dicts; make a copy of it first"
            )
        self.state.heap[base.number] = contents
