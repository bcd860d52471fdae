"""What several paths leave, merged into one state that holds on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from trace_robot.deploy.ir import Expression, Kind, Let, Statement, constant
from trace_robot.deploy.values import (
    Builtin,
    Choice,
    DictContents,
    Function,
    ListContents,
    Reference,
    Value,
    Vector,
    as_expression,
    is_number,
    kind_of,
    same,
)


@dataclass(slots=True)
class State:
    """What is known on one path."""

    variables: dict[tuple[int, str], Value] = field(default_factory=dict)
    heap: dict[int, ListContents | DictContents | Choice] = field(default_factory=dict)
    possible: dict[Expression, frozenset[int]] = field(default_factory=dict)
    computed: dict[Any, Expression] = field(default_factory=dict)

    def copy(self) -> State:
        return State(dict(self.variables), dict(self.heap), dict(self.possible), dict(self.computed))


@dataclass(slots=True)
class Path:
    keys: tuple[int, ...]
    block: list[Statement]
    state: State
    value: Value


class Merge:
    """Merges the values of several paths into one that holds on all."""

    def __init__(self, builder: Any, tag: Expression, paths: list[Path]) -> None:
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
        """Return what is each of the values on its path.

        Args:
            values: one of each path.
            hint: of its name, the present one if empty.
        """
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
        """Return a choice among constants by one new number."""
        target = self.builder.variable("i", hint)
        for path, value in zip(self.paths, values, strict=True):
            path.block.append(Let(target, self._number_in(path, value, leaves)))
        self.builder.state.possible[target] = frozenset(range(len(leaves)))
        return Choice(target, dict(enumerate(leaves)))

    def _number_in(self, path: Path, value: Value, leaves: list[Value]) -> Expression:
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
        return as_expression(number)

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

    def _contents(self, held: list[Any]) -> ListContents | DictContents | Choice:
        return self._together(held, "item", frozen=False) or self._choice(held)

    def _together(
        self, held: list[Any], hint: str, *, frozen: bool = True
    ) -> ListContents | DictContents | None:
        """Return merged contents, None where their shapes differ."""
        first = held[0]
        frozen = frozen or any(getattr(contents, "frozen", False) for contents in held)
        if all(
            isinstance(contents, ListContents) and len(contents.items) == len(first.items)
            for contents in held
        ):
            columns = zip(*(contents.items for contents in held), strict=True)
            items = [self.values(list(column), f"{hint}_{i}") for i, column in enumerate(columns)]
            return ListContents(tuple(items), frozen)
        if not all(isinstance(contents, DictContents) for contents in held):
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
        return DictContents(entries, frozen)

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
    """Return the different constants among values and options, None for others."""
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
    count = len([one for one in state.variables.values() if isinstance(one, Reference) and one == value])
    waiting = list(state.heap.values())
    while waiting:
        contents = waiting.pop()
        if isinstance(contents, Choice):
            waiting += contents.options.values()
        elif isinstance(contents, ListContents):
            count += len([one for one in contents.items if isinstance(one, Reference) and one == value])
        elif isinstance(contents, DictContents):
            count += len(
                [1 for _, one in contents.entries.values() if isinstance(one, Reference) and one == value]
            )
    return count


def _decided(value: Value, path: Path) -> Value:
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
