"""Abstract values of a controller's program, and branches that merge into them.

Partial evaluation: what the text alone decides (a stage's functions, a table's entries) is decided here, and only
numbers that depend on the observation or on memory become expressions. A value of which a run decides is a ``Choice``.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trace_robot.deploy.ir import Branch, Expression, Fail, Kind, Let, Statement, constant
from trace_robot.errors import PolicyError

MOST_WORK = 400_000  # operations recorded, abstract ones too: seconds of translation
NO_OPTION = "no option is left"  # of a path that is never taken
Value = Any  # a Python scalar, text or None, an Expression, or one of the classes below


class OutsideSubsetError(PolicyError):
    """A controller cannot be translated; the message has the line and the reason."""


class DeadPathError(Exception):
    """What is translated cannot be reached, or ends in a fault that is recorded; internal."""


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """A tuple or an array; an array that only one name holds can be changed."""

    items: tuple[Value, ...]
    is_array: bool = False
    is_view: bool = False  # of an array that another name may hold


@dataclass(frozen=True, slots=True)
class Reference:
    """A list or a dict, by its number in the heap."""

    number: int


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One of several values, by the value of ``tag``."""

    tag: Expression
    options: Mapping[int, Value]


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function of the controller, and the variables around it."""

    node: ast.FunctionDef | ast.Lambda
    scope: int


@dataclass(frozen=True, slots=True)
class Builtin:
    """A function, a constant or a module of another library, by its full name."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """What a list holds; ``frozen`` where a change could be seen through another name."""

    items: tuple[Value, ...]
    frozen: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """What a dict holds: for each key whether it is there, and its value."""

    entries: Mapping[Any, tuple[bool | Expression, Value]]
    frozen: bool = False


@dataclass(slots=True)
class State:
    """What is known on one path."""

    variables: dict[tuple[int, str], Value] = field(default_factory=dict)
    heap: dict[int, Items | Entries | Choice] = field(default_factory=dict)
    possible: dict[Expression, frozenset[int]] = field(default_factory=dict)
    computed: dict[Any, Expression] = field(default_factory=dict)

    def copy(self) -> State:
        return State(dict(self.variables), dict(self.heap), dict(self.possible), dict(self.computed))


@dataclass(slots=True)
class _Path:
    keys: tuple[int, ...]
    block: list[Statement]
    state: State
    value: Value


def same(first: Value, second: Value) -> bool:
    """Return whether two values are equal whatever a run does."""
    if first is second:
        return True
    if type(first) is not type(second) or isinstance(first, Expression):
        return False
    if isinstance(first, Vector):
        pairs = zip(first.items, second.items, strict=False)
        lengths = len(first.items) == len(second.items) and first.is_array == second.is_array
        return lengths and all(same(a, b) for a, b in pairs)
    if isinstance(first, Choice):
        tags = first.tag is second.tag and first.options.keys() == second.options.keys()
        return tags and all(same(value, second.options[key]) for key, value in first.options.items())
    if isinstance(first, Function):
        return first.node is second.node and first.scope == second.scope
    if isinstance(first, float):
        return repr(first) == repr(second)  # 0.0 and -0.0 differ
    return bool(first == second)


def is_number(value: Value) -> bool:
    """Return whether it is a scalar number or bool, of a run or of the text."""
    return isinstance(value, Expression | float | int)


def as_expression(value: Value) -> Expression:
    """Return a number as an expression."""
    return value if isinstance(value, Expression) else constant(value)


def kind_of(value: Value) -> Kind:
    """Return the kind of a number."""
    return as_expression(value).kind


class Builder:
    """Records statements on the present path, and merges paths.

    Attributes:
        line: of the controller's text that is translated.
        hint: a name for the next variables.
    """

    def __init__(self) -> None:
        self.state = State()
        self.block: list[Statement] = []
        self.line = 0
        self.hint = "value"
        self.work = 0
        self._names: dict[str, int] = {}
        self._definitions: dict[Expression, Expression] = {}
        # Of a bool that branches assign: the branches' tag, and for each truth the tag's values that may lead to it.
        self.implied: dict[Expression, tuple[Expression, dict[bool, tuple[int, ...]]]] = {}
        self._numbers = 0

    def refuse(self, reason: str, line: int | None = None) -> OutsideSubsetError:
        """Return the error of a controller that cannot be translated."""
        return OutsideSubsetError(f"line {line or self.line}: {reason}")

    def fail(self, reason: str) -> DeadPathError:
        """Record that this path ends in a fault, and return what leaves it."""
        self.block.append(Fail(self.line, reason))
        return DeadPathError(reason)

    def count(self, work: int = 1) -> None:
        """Bound the time of a translation."""
        self.work += work
        if self.work > MOST_WORK:
            raise self.refuse(
                "the controller is too large to be written without loops; use fewer stages or steps"
            )

    def variable(self, kind: Kind, hint: str = "") -> Expression:
        """Return a new variable."""
        name = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in hint or self.hint)
        name = name.strip("_")[:40] or "value"
        name = name if name[0].isalpha() else f"value_{name}"
        number = self._names[name] = self._names.get(name, 0) + 1
        return Expression("var", (), kind, (name, number))

    def emit(self, op: str, args: Sequence[Value], kind: Kind, value: Any = None) -> Expression:
        """Record an operation and return the variable that holds its result.

        Args:
            op: of ``ir.Expression``.
            args: operands, numbers.
            kind: of the result.
            value: of the expression.
        """
        self.count()
        operands = tuple(as_expression(argument) for argument in args)
        key = (op, kind, value, tuple((o.kind, repr(o.value)) if o.is_constant else o for o in operands))
        known = self.state.computed.get(key)
        if known is None:
            known = self.variable(kind)
            expression = Expression(op, operands, kind, value)
            self._definitions[known] = expression
            self.block.append(Let(known, expression))
            self.state.computed[key] = known
        return self.resolve(known)

    def resolve(self, value: Value) -> Value:
        """Return the value as far as this path decides it."""
        while isinstance(value, Choice):
            keys = self.keys(value)
            first = value.options[keys[0]]
            if not all(same(first, value.options[key]) for key in keys[1:]):
                return value
            value = first
        if isinstance(value, Expression) and value.kind == "b":
            keys = tuple(self.state.possible.get(value, ()))
            return bool(keys[0]) if len(keys) == 1 else value
        return value

    def keys(self, choice: Choice) -> tuple[int, ...]:
        """Return the keys that this path leaves."""
        possible = self.state.possible.get(choice.tag)
        keys = tuple(key for key in choice.options if possible is None or key in possible)
        if not keys:
            raise DeadPathError(NO_OPTION)
        return keys

    def assume(self, condition: Expression, keys: Sequence[int]) -> None:
        """Note on this path that a tag has one of some values, and what follows from it."""
        possible = self.state.possible
        possible[condition] = frozenset(keys) & possible.get(condition, frozenset(keys))
        if not possible[condition]:
            raise DeadPathError(NO_OPTION)
        made = self._definitions.get(condition)
        if condition in self.implied and len(keys) == 1:
            tag, leading = self.implied[condition]
            self.assume(tag, leading[bool(keys[0])])
        if made is None or len(keys) != 1 or condition.kind != "b":
            return
        truth = bool(keys[0])
        if made.op == "not":
            self.assume(made.args[0], (int(not truth),))
        elif made.op == "table":
            self.assume(made.args[0], [i for i, entry in enumerate(made.value) if bool(entry) == truth])
        elif made.op in ("and", "or") and truth == (made.op == "and"):
            for argument in made.args:
                self.assume(argument, keys)
        elif made.op in ("eq", "ne") and made.args[1].is_constant and made.args[0].kind == "i":
            number = int(made.args[1].value)
            if truth == (made.op == "eq"):
                self.assume(made.args[0], (number,))
            elif made.args[0] in possible:
                self.assume(made.args[0], tuple(possible[made.args[0]] - {number}))

    def new(self, contents: Items | Entries | Choice) -> Reference:
        """Return a new list or dict."""
        self._numbers += 1
        self.state.heap[self._numbers] = contents
        return Reference(self._numbers)

    def spread(self, value: Value, function: Callable[[Value], Value]) -> Value:
        """Apply a function to each option of a choice, on a path for each, and merge the results."""
        value = self.resolve(value)
        if isinstance(value, Choice):
            groups: list[list[int]] = []
            for key in self.keys(value):
                for group in groups:
                    if same(value.options[group[0]], value.options[key]):
                        group.append(key)
                        break
                else:
                    groups.append([key])
            options = value.options
            return self.branch(
                value.tag, [tuple(g) for g in groups], lambda keys: self.spread(options[keys[0]], function)
            )
        if isinstance(value, Reference) and isinstance(contents := self.state.heap[value.number], Choice):
            keys = self.keys(contents)
            if len(keys) == 1:
                self.state.heap[value.number] = contents.options[keys[0]]
                return self.spread(value, function)

            def chosen(keys: tuple[int, ...]) -> Value:
                self.state.heap[value.number] = contents.options[keys[0]]
                return self.spread(value, function)

            return self.branch(contents.tag, [(key,) for key in keys], chosen)
        return function(value)

    def branch(
        self, tag: Expression, groups: Sequence[tuple[int, ...]], run: Callable[[tuple[int, ...]], Value]
    ) -> Value:
        """Run a function on a path for each group of a tag's values, and merge values and states.

        Args:
            tag: a bool (keys 1 and 0) or an int.
            groups: the keys of each path.
            run: gets the keys of its path.
        """
        before, outer, paths, dead = self.state, self.block, [], []
        for keys in groups:
            self.state, self.block = before.copy(), []
            block = self.block
            try:
                self.assume(tag, keys)
                value = run(keys)
                paths.append(_Path(keys, block, self.state, value))  # ``run`` may have replaced the state
            except DeadPathError as error:
                if any(isinstance(statement, Fail | Branch) for statement in block):
                    dead.append((keys, block))
                elif str(error) != NO_OPTION:
                    raise
            self.count(10)
        self.state, self.block = before, outer
        cases = [(path.keys, path.block) for path in paths] + dead
        if len(paths) == 1:  # the others fail, so that the rest need not be indented
            outer.extend([Branch(tag, dead)] if dead else [])
            outer.extend(paths[0].block)
            self.state = paths[0].state
            return paths[0].value
        if not paths:
            outer.extend([Branch(tag, dead)] if dead else [])
            raise DeadPathError("every path fails" if dead else NO_OPTION)
        if not dead and (joined := self._connective(tag, paths)) is not None:
            return joined
        statement = Branch(tag, cases)
        outer.append(statement)
        value = _Merge(self, tag, paths).states()
        if all(not block for _, block in cases):
            outer.remove(statement)
        return value

    def _connective(self, tag: Expression, paths: Sequence[_Path]) -> Expression | None:
        """Return ``and`` or ``or`` of a branch that only computes a bool without a table or a fault, else None."""
        if tag.kind != "b" or len(paths) != 2:
            return None
        for path in paths:
            for held, before in (
                (path.state.heap, self.state.heap),
                (path.state.variables, self.state.variables),
            ):
                if held.keys() != before.keys() or any(held[key] is not before[key] for key in held):
                    return None
        by_key = {path.keys[0]: path for path in paths}
        for key, op in ((1, "and"), (0, "or")):
            path, other = by_key[key], by_key[1 - key]
            computed = [one.value for one in path.block if isinstance(one, Let)]
            if (
                other.value is (op == "or")
                and not other.block
                and isinstance(path.value, Expression)
                and path.value.kind == "b"
                and len(computed) == len(path.block)
                and all(one.op not in ("table", "call") for one in computed)
            ):
                self.block.extend(path.block)
                return self.emit(op, [tag, path.value], "b")
        return None


class _Merge:
    """Merges the values of several paths into one that holds on all."""

    def __init__(self, builder: Builder, tag: Expression, paths: list[_Path]) -> None:
        self.builder, self.tag, self.paths = builder, tag, paths
        self._memo: dict[Any, Value] = {}
        self._holders = 1  # names that a merged array may have: its own

    def states(self) -> Value:
        """Merge variables, heap and results into the builder's state."""
        builder, paths = self.builder, self.paths
        state = builder.state
        variables = state.variables
        for name in list(paths[0].state.variables):
            if all(name in path.state.variables for path in paths):
                values = [path.state.variables[name] for path in paths]
                if any(value is not values[0] for value in values):
                    variables[name] = self.values(values, name[1])
                else:
                    variables[name] = values[0]
        for name in [name for name in variables if not all(name in path.state.variables for path in paths)]:
            del variables[name]
        numbers = dict.fromkeys(number for path in paths for number in path.state.heap)
        for number in numbers:
            held = [path.state.heap.get(number) for path in paths]
            there = [contents for contents in held if contents is not None]
            if len(there) < len(held) or all(contents is there[0] for contents in there):
                state.heap[number] = there[0]
            else:
                state.heap[number] = self._contents(there)
        self._holders = 0
        return self.values([path.value for path in paths], builder.hint)

    def values(self, values: list[Value], hint: str) -> Value:
        """Return what is each of the values on its path."""
        values = [_decided(value, path) for value, path in zip(values, self.paths, strict=True)]
        first = values[0]
        if all(same(first, value) for value in values[1:]):
            return first
        if all(is_number(value) for value in values):
            return self._number(values, hint)
        if all(isinstance(value, Vector) for value in values) and all(
            len(value.items) == len(first.items) and value.is_array == first.is_array for value in values
        ):
            columns = zip(*(value.items for value in values), strict=True)
            names = (f"{hint}_{i}" for i in range(len(first.items)))
            merged = (self.values(list(column), name) for column, name in zip(columns, names, strict=True))
            return Vector(tuple(merged), first.is_array, first.is_array and self._is_held(values))
        if all(isinstance(value, Choice) for value in values) and all(
            value.options.keys() == first.options.keys()
            and all(same(value.options[key], first.options[key]) for key in first.options)
            for value in values
        ):
            tag = self._number([value.tag for value in values], f"{hint}_number")
            return Choice(tag, first.options) if isinstance(tag, Expression) else first.options[tag]
        if all(isinstance(value, Reference) for value in values):
            pairs = list(zip(self.paths, values, strict=True))
            held = [path.state.heap[value.number] for path, value in pairs]
            shared = any(_holders(path.state, value) > self._holders for path, value in pairs)
            if (contents := self._together(held, hint, frozen=shared)) is not None:
                return self.builder.new(contents)
        if any(isinstance(value, Choice) for value in values) and (leaves := _constants(values)) is not None:
            return self._enumerated(values, leaves, hint)
        return self._choice(values)

    def _enumerated(self, values: Sequence[Value], leaves: list[Value], hint: str) -> Choice:
        """Return a choice among constants by a new number, instead of choices inside of choices."""
        target = self.builder.variable("i", hint)
        for path, value in zip(self.paths, values, strict=True):
            path.block.append(Let(target, self._number_in(path, value, leaves)))
        self.builder.state.possible[target] = frozenset(range(len(leaves)))
        return Choice(target, dict(enumerate(leaves)))

    def _number_in(self, path: _Path, value: Value, leaves: list[Value]) -> Expression:
        def place(one: Value) -> int:
            return next(i for i, leaf in enumerate(leaves) if same(leaf, one))

        if not isinstance(value, Choice):
            return constant(place(value))
        numbers = {key: place(one) for key, one in value.options.items()}
        if all(key == number for key, number in numbers.items()) and value.tag.kind == "i":
            return value.tag
        builder, before = self.builder, (self.builder.block, self.builder.state)
        builder.block, builder.state = path.block, path.state
        if value.tag.kind == "b":
            number = builder.emit("select", [value.tag, numbers.get(1, 0), numbers.get(0, 0)], "i")
        else:
            entries = tuple(numbers.get(i, 0) for i in range(max(numbers) + 1))
            number = builder.emit("table", [value.tag], "i", entries)
        builder.block, builder.state = before
        return number

    def _is_held(self, values: Sequence[Value]) -> bool:
        """Return whether a merged array is also reached by a name that is not merged."""
        for path, value in zip(self.paths, values, strict=True):
            holders = sum(one is value for one in path.state.variables.values())
            if value.is_view or holders > self._holders:
                return True
        return False

    def _choice(self, values: Sequence[Value]) -> Choice:
        pairs = zip(self.paths, values, strict=True)
        return Choice(self.tag, {key: value for path, value in pairs for key in path.keys})

    def _contents(self, held: list[Any]) -> Items | Entries | Choice:
        return self._together(held, "item", frozen=False) or self._choice(held)

    def _together(self, held: list[Any], hint: str, *, frozen: bool = True) -> Items | Entries | None:
        """Return merged contents, None where their shapes differ."""
        first = held[0]
        frozen = frozen or any(getattr(contents, "frozen", False) for contents in held)
        if all(isinstance(contents, Items) and len(contents.items) == len(first.items) for contents in held):
            columns = zip(*(contents.items for contents in held), strict=True)
            items = [self.values(list(column), f"{hint}_{i}") for i, column in enumerate(columns)]
            return Items(tuple(items), frozen)
        if not all(isinstance(contents, Entries) for contents in held):
            return None
        keys = dict.fromkeys(key for contents in held for key in contents.entries)
        if frozen and any(contents.entries.keys() != keys.keys() for contents in held):
            return None
        entries: dict[Any, tuple[bool | Expression, Value]] = {}
        for key in keys:
            pairs = [contents.entries.get(key, (False, None)) for contents in held]
            there = self.values([presence for presence, _ in pairs], f"has_{key}")
            some = next(value for presence, value in pairs if presence is not False)
            column = [some if presence is False else value for presence, value in pairs]
            # A value of another path must be there where this path has none: its number is never read.
            safe = [
                _blank(value) if pair[0] is False else value
                for pair, value in zip(pairs, column, strict=True)
            ]
            entries[key] = (there, self.values(safe, str(key)))
        return Entries(entries, frozen)

    def _number(self, values: list[Value], hint: str) -> Value:
        memo = tuple(
            value if isinstance(value, Expression) else (type(value), repr(value)) for value in values
        )
        if memo in self._memo:
            return self._memo[memo]
        result = self._memo[memo] = self._merged(values, hint)
        return result

    def _merged(self, values: list[Value], hint: str) -> Value:
        kinds = {kind_of(value) for value in values}
        kind: Kind = kinds.pop() if len(kinds) == 1 else "f" if "f" in kinds else "i"
        table = {key: value for path, value in zip(self.paths, values, strict=True) for key in path.keys}
        if not any(isinstance(value, Expression) for value in values):
            if self.tag.kind == "b" and kind == "b":
                return self.tag if table[1] else self.builder.emit("not", [self.tag], "b")
            alone = [[key for key, value in table.items() if bool(value) is truth] for truth in (True, False)]
            for op, keys in zip(("eq", "ne"), alone, strict=True):
                if self.tag.kind == "i" and kind == "b" and len(keys) == 1:
                    return self.builder.emit(op, [self.tag, keys[0]], "b")
            if self.tag.kind == "i" and min(table) >= 0 and max(table) < 4 * len(table) + 8:
                convert = {"f": float, "i": int, "b": bool}[kind]
                entries = tuple(convert(table.get(i, 0)) for i in range(max(table) + 1))
                return self.builder.emit("table", [self.tag], kind, entries)
        target = self.builder.variable(kind, hint)
        if kind == "b":
            pairs = [
                (key, value) for path, value in zip(self.paths, values, strict=True) for key in path.keys
            ]
            leading = {
                truth: tuple(key for key, value in pairs if isinstance(value, Expression) or value == truth)
                for truth in (True, False)
            }
            self.builder.implied[target] = (self.tag, leading)
        for path, value in zip(self.paths, values, strict=True):
            path.block.append(Let(target, as_expression(value)))
        return target


def _constants(values: Sequence[Value]) -> list[Value] | None:
    """Return the different texts, functions and Nones among values and the options of choices, None for others."""
    found: list[Value] = []
    for value in values:
        for one in value.options.values() if isinstance(value, Choice) else (value,):
            if one is not None and not isinstance(one, str | Function | Builtin):
                return None
            if not any(same(one, other) for other in found):
                found.append(one)
    return found


def _holders(state: State, value: Value) -> int:
    """Return how many names and entries hold a list or a dict."""
    count = sum(one == value for one in state.variables.values() if isinstance(one, Reference))
    waiting = list(state.heap.values())
    while waiting:
        contents = waiting.pop()
        if isinstance(contents, Choice):
            waiting += contents.options.values()
        elif isinstance(contents, Items):
            count += sum(one == value for one in contents.items if isinstance(one, Reference))
        elif isinstance(contents, Entries):
            count += sum(one == value for _, one in contents.entries.values() if isinstance(one, Reference))
    return count


def _decided(value: Value, path: _Path) -> Value:
    """Return a bool that is known at the end of a path, anything else as it is."""
    if isinstance(value, Expression) and value.kind == "b":
        keys = tuple(path.state.possible.get(value, ()))
        return bool(keys[0]) if len(keys) == 1 else value
    return value


def _blank(value: Value) -> Value:
    """Return a value of the same shape that may be anything: zeros for numbers."""
    if isinstance(value, Expression):
        return {"f": 0.0, "i": 0, "b": False}[value.kind]
    if isinstance(value, Vector):
        return Vector(tuple(_blank(item) for item in value.items), value.is_array)
    return value
