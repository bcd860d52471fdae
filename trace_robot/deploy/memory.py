"""What a controller's memory holds from step to step: its slots, found from what a step leaves there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trace_robot.deploy.ir import Expression, Kind
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
)

# A shape, comparable: ("const", type name, value), ("number", kind), ("vector", is_array, shapes),
# ("list", shapes), ("dict", ((key, always there, shape), ...)) or ("choice", shapes).
Shape = tuple[Any, ...]
NOTHING: Shape = ("dict", ())


class Layout:
    """Memory's shape and slots.

    Attributes:
        shape: of memory, as far as known.
        changed: whether the last step left what did not fit it.
        slots: kinds by name, after ``load``.
    """

    def __init__(self) -> None:
        self.shape: Shape = NOTHING
        self.changed = True
        self.slots: dict[str, Kind] = {}
        self._groups: dict[Any, str] = {}  # of keys that are there together
        self._shared: set[str] = set()  # paths to what is also reached by another path
        self._first = True

    def load(self, translator: Any) -> Reference:
        """Return memory as a step finds it, its numbers slots."""
        self.slots = {}
        entries: dict[Any, tuple[bool | Expression, Value]] = {}
        flags = {group: self._slot(group, "b") for group in dict.fromkeys(self._groups.values())}
        for key, _, shape in self.shape[1]:
            entries[key] = (flags[self._groups[key]], self._loaded(translator, shape, _path("", key)))
        memory: Reference = translator.new(DictContents(entries))
        return memory

    def _slot(self, path: str, kind: Kind) -> Expression:
        self.slots[path] = kind
        return Expression("slot", (), kind, path)

    def _loaded(self, translator: Any, shape: Shape, path: str) -> Value:
        if shape[0] == "const":
            return shape[2]
        if shape[0] == "number":
            return self._slot(path, shape[1])
        if shape[0] == "vector":
            items = (self._loaded(translator, one, _path(path, i)) for i, one in enumerate(shape[2]))
            return Vector(tuple(items), shape[1])
        frozen = path in self._shared
        if shape[0] == "list":
            items = (self._loaded(translator, one, _path(path, i)) for i, one in enumerate(shape[1]))
            return translator.new(ListContents(tuple(items), frozen))
        if shape[0] == "choice":
            tag = self._slot(_path(path, "kind"), "i")
            translator.state.possible[tag] = frozenset(range(len(shape[1])))
            return Choice(
                tag,
                {i: self._loaded(translator, one, _path(path, f"as{i}")) for i, one in enumerate(shape[1])},
            )
        entries: dict[Any, tuple[bool | Expression, Value]] = {}
        for key, always, one in shape[1]:
            there = True if always else self._slot(_path(_path(path, "has"), key), "b")
            entries[key] = (there, self._loaded(translator, one, _path(path, key)))
        return translator.new(DictContents(entries, frozen))

    def store(self, translator: Any, memory: Reference) -> dict[str, Expression]:
        """Return what the slots become, and note whether the shape must grow.

        Args:
            translator: which ran the step.
            memory: the dict of the controller.
        """
        translator.hint = "next"
        memory_after = translator.spread(memory, lambda one: one)
        contents = translator.state.heap[memory_after.number]
        if not isinstance(contents, DictContents):
            raise translator.refuse("memory must have the same keys on all paths")
        paths: dict[int, set[str]] = {}
        after = self._shape(translator, memory_after, "", paths)
        before = (self.shape, dict(self._groups), set(self._shared))
        # What is there is noted by ``_groups``, so that a key of which there was none yet does not count as optional.
        self.shape = ("dict", tuple((k, True, s) for k, _, s in _joined(self.shape, after)[1]))
        self._shared |= {path for group in paths.values() if len(group) > 1 for path in group}
        presences = {
            key: translator.resolve(contents.entries.get(key, (False, 0))[0]) for key, _, _ in self.shape[1]
        }
        self._group(presences)
        self.changed = self._first or before != (self.shape, self._groups, self._shared)
        self._first = False
        if self.changed:
            return {}
        stores = dict(self._leaves(translator, self.shape, memory_after, ""))
        for key, group in self._groups.items():
            stores[group] = as_expression(presences[key])
        return stores

    def _group(self, presences: dict[Any, Any]) -> None:
        """Split the groups of keys of which not all are there on the same paths."""
        names: dict[Any, str] = {}
        for key, presence in presences.items():
            sign = (self._groups.get(key), presence if isinstance(presence, bool) else id(presence))
            if sign not in names:
                names[sign] = (
                    "started" if presence is True and "started" not in names.values() else f"has_{key}"
                )
            self._groups[key] = names[sign]

    def _shape(self, translator: Any, value: Value, path: str, paths: dict[int, set[str]]) -> Shape:
        value = translator.number_or_not(value)
        if isinstance(value, Expression):
            return ("number", value.kind)
        if isinstance(value, Vector):
            items = (self._shape(translator, one, _path(path, i), paths) for i, one in enumerate(value.items))
            return ("vector", value.is_array, tuple(items))
        if isinstance(value, Function | Builtin):
            raise translator.refuse(
                "memory can hold numbers, texts, None, lists, dicts and arrays of these only"
            )
        if isinstance(value, Choice):
            options = [value.options[key] for key in translator.keys(value)]
            return self._united([self._shape(translator, one, path, paths) for one in options])
        if not isinstance(value, Reference):
            return ("const", type(value).__name__, value)
        paths.setdefault(value.number, set()).add(path)
        return self._contents(translator, translator.state.heap[value.number], path, paths)

    def _contents(self, translator: Any, contents: Any, path: str, paths: dict[int, set[str]]) -> Shape:
        if isinstance(contents, Choice):
            held = [contents.options[key] for key in translator.keys(contents)]
            return self._united([self._contents(translator, one, path, paths) for one in held])
        if isinstance(contents, ListContents):
            items = (
                self._shape(translator, one, _path(path, i), paths) for i, one in enumerate(contents.items)
            )
            return ("list", tuple(items))
        entries = []
        for key, (presence, value) in contents.entries.items():
            there = translator.resolve(presence)
            if there is not False:
                entries.append((key, there is True, self._shape(translator, value, _path(path, key), paths)))
        return ("dict", tuple(entries))

    def _united(self, shapes: list[Shape]) -> Shape:
        first, *others = shapes
        for shape in others:
            first = _joined(first, shape)
        return first

    def _leaves(self, translator: Any, shape: Shape, value: Value, path: str) -> list[tuple[str, Expression]]:
        """Return the slots below a path with their new values."""
        slots = list(self._slots_of(shape, path))

        def split(one: Value) -> Value:
            return Vector(tuple(self._fitted(translator, shape, one, path)))

        numbers = translator.spread(value, split).items
        pairs = zip(slots, numbers, strict=True)
        return [(slot, self._converted(translator, slot, number)) for slot, number in pairs]

    def _converted(self, translator: Any, slot: str, number: Value) -> Expression:
        kind = self.slots[slot]
        number = translator.number(number)
        if kind_of(number) == kind:
            return as_expression(number)
        if not isinstance(number, Expression):
            return as_expression({"f": float, "i": int, "b": bool}[kind](number))
        result: Expression = translator.real(number) if kind == "f" else translator.emit("int", [number], "i")
        return result

    def _fitted(self, translator: Any, shape: Shape, value: Value, path: str) -> list[Value]:
        """Return the numbers of a value in the order of the slots of its shape."""
        value = translator.number_or_not(value)
        if shape[0] == "const":
            return []
        if shape[0] == "number":
            return [value]
        if isinstance(value, Choice) or (
            isinstance(value, Reference) and isinstance(translator.state.heap[value.number], Choice)
        ):

            def split(one: Value) -> Value:
                return Vector(tuple(self._fitted(translator, shape, one, path)))

            return list(translator.spread(value, split).items)
        if shape[0] == "choice":
            return self._chosen(translator, shape, value, path)
        if shape[0] == "dict":
            numbers: list[Value] = []
            entries = translator.state.heap[value.number].entries
            for key, always, one in shape[1]:
                presence, held = entries.get(key, (False, None))
                there = translator.resolve(presence)
                numbers += [] if always else [there]
                numbers += (
                    self._kept(one, _path(path, key))
                    if there is False
                    else self._fitted(translator, one, held, _path(path, key))
                )
            return numbers
        items = translator.items(value)
        shapes = shape[2] if shape[0] == "vector" else shape[1]
        pairs = enumerate(zip(shapes, items, strict=True))
        return [n for i, (one, item) in pairs for n in self._fitted(translator, one, item, _path(path, i))]

    def _chosen(self, translator: Any, shape: Shape, value: Value, path: str) -> list[Value]:
        mine = self._shape(translator, value, path, {})
        which = next(i for i, one in enumerate(shape[1]) if _fit(one, mine))
        numbers: list[Value] = [which]
        for i, one in enumerate(shape[1]):
            inner = _path(path, f"as{i}")
            numbers += self._fitted(translator, one, value, inner) if i == which else self._kept(one, inner)
        return numbers

    def _kept(self, shape: Shape, path: str) -> list[Value]:
        """Return the present values of the slots of what a step does not set."""
        return [{"f": 0.0, "i": 0, "b": False}[self.slots[slot]] for slot in self._slots_of(shape, path)]

    def _slots_of(self, shape: Shape, path: str) -> Iterator[str]:
        """Yield the slots of a shape, in the order of ``_fitted``."""
        if shape[0] == "number":
            yield path
        elif shape[0] in ("vector", "list"):
            for i, one in enumerate(shape[-1]):
                yield from self._slots_of(one, _path(path, i))
        elif shape[0] == "choice":
            yield _path(path, "kind")
            for i, one in enumerate(shape[1]):
                yield from self._slots_of(one, _path(path, f"as{i}"))
        elif shape[0] == "dict":
            for key, always, one in shape[1]:
                if not always:
                    yield _path(_path(path, "has"), key)
                yield from self._slots_of(one, _path(path, key))


def _path(path: str, key: Any) -> str:
    return f"{path}_{key}" if path else str(key)


def _fit(first: Shape, second: Shape) -> bool:
    """Return whether two shapes join to one that is no choice."""
    return _one(first, second) is not None


def _joined(first: Shape, second: Shape) -> Shape:
    """Return a shape that holds what either holds."""
    one = _one(first, second)
    if one is not None:
        return one
    options = list(first[1]) if first[0] == "choice" else [first]
    for shape in second[1] if second[0] == "choice" else [second]:
        for i, option in enumerate(options):
            if (both := _one(option, shape)) is not None:
                options[i] = both
                break
        else:
            options.append(shape)
    return ("choice", tuple(options))


def _one(first: Shape, second: Shape) -> Shape | None:
    """Return a shape that holds what either holds, None if only a choice does."""
    if first == second and repr(first) == repr(second):  # 1 == 1.0 == True
        return first
    kinds = {_number(shape) for shape in (first, second)}
    if None not in kinds:
        return ("number", kinds.pop() if len(kinds) == 1 else "f" if "f" in kinds else "i")
    if first[0] == second[0] == "vector" and first[1] == second[1] and len(first[2]) == len(second[2]):
        return ("vector", first[1], tuple(map(_joined, first[2], second[2])))
    if first[0] == second[0] == "list" and len(first[1]) == len(second[1]):
        return ("list", tuple(map(_joined, first[1], second[1])))
    if first[0] != "dict" or second[0] != "dict":
        return None
    entries = {key: (always, shape) for key, always, shape in first[1]}
    later = {key: (always, shape) for key, always, shape in second[1]}
    joined = []
    for key in dict.fromkeys([*entries, *later]):
        both = [one[key] for one in (entries, later) if key in one]
        shape = both[0][1] if len(both) == 1 else _joined(both[0][1], both[1][1])
        joined.append((key, len(both) == 2 and all(always for always, _ in both), shape))
    return ("dict", tuple(joined))


def _number(shape: Shape) -> Kind | None:
    if shape[0] == "number":
        kind: Kind = shape[1]
        return kind
    if shape[0] == "const" and is_number(shape[2]):
        return kind_of(shape[2])
    return None
