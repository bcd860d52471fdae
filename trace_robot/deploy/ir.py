"""The intermediate form of a controller: typed scalars in static single assignment, and branches.

A controller becomes one block of statements without a loop, so that its worst case can be counted and both back ends
only have to print. Memory is read at the start and written at the end of a step: an expression can move anywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["f", "i", "b"]  # float64, int64, bool


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A scalar, the same as another only if it is the same object.

    Attributes:
        op: "const", "var", "slot" or "input" (the atoms), else an operator, "table" or "call".
        args: operands, atoms all.
        kind: of the result.
        value: of a constant; the name of an atom or a function; the numbers of a table.
    """

    op: str
    args: tuple[Expression, ...]
    kind: Kind
    value: Any = None

    @property
    def is_constant(self) -> bool:
        return self.op == "const"


def constant(value: float | int | bool) -> Expression:
    """Return a literal, its kind that of the Python value."""
    kind: Kind = "b" if isinstance(value, bool) else "i" if isinstance(value, int) else "f"
    return Expression("const", (), kind, value)


@dataclass(slots=True, eq=False)
class Let:
    """``target = value``. A target that branches assign is assigned once in each."""

    target: Expression
    value: Expression


@dataclass(slots=True, eq=False)
class Branch:
    """Run the block whose keys hold the value of ``tag``, a bool or an int."""

    tag: Expression
    cases: list[tuple[tuple[int, ...], list[Statement]]]


@dataclass(slots=True, eq=False)
class Fail:
    """End the step with a fault: the controller stops."""

    line: int
    reason: str


@dataclass(slots=True, eq=False)
class Comment:
    """A line for people, which may hold anything: back ends escape it."""

    text: str


Statement = Let | Branch | Fail | Comment


@dataclass(slots=True)
class StraightCode:
    """A controller in this form.

    Attributes:
        block: what computes.
        action: numbers of the action, before bounds.
        stores: what memory's slots become at the end of a step.
        slots: kinds of memory's slots by name; all are 0 at first.
        inputs: fields of the observation with their sizes.
    """

    block: list[Statement]
    action: list[Expression]
    stores: dict[str, Expression]
    slots: dict[str, Kind]
    inputs: dict[str, int]
    counts: dict[str, int] = field(default_factory=dict)


def statements(block: Iterable[Statement]) -> Iterator[Statement]:
    """Yield all statements of a block, those of branches too."""
    for statement in block:
        yield statement
        if isinstance(statement, Branch):
            for _, inner in statement.cases:
                yield from statements(inner)


def prune(code: StraightCode, kept: Collection[str] = ()) -> None:
    """Remove dead code: that on which neither an action nor a fault depends.

    Args:
        code: changed.
        kept: slots that are read from outside.
    """
    live: set[Expression | str] = {*code.action, *(slot for slot in code.slots if slot in kept)}
    size = -1
    while size != len(live):
        size = len(live)
        _mark(code.block, live)
        for slot, value in code.stores.items():
            if slot in live:
                _use(value, live)
        for atom in list(live):
            if isinstance(atom, Expression) and atom.op == "slot":
                live.add(str(atom.value))
    code.block = _swept(code.block, live)
    code.stores = {slot: value for slot, value in code.stores.items() if slot in live}
    code.slots = {slot: kind for slot, kind in code.slots.items() if slot in live}
    read = {atom.value[0] for atom in live if isinstance(atom, Expression) and atom.op == "input"}
    code.inputs = {name: size for name, size in code.inputs.items() if name in read}


def _use(value: Expression, live: set[Expression | str]) -> None:
    live.add(value)
    for argument in value.args:
        _use(argument, live)


def _mark(block: Sequence[Statement], live: set[Expression | str]) -> bool:
    """Add what the block's live statements read, and return whether it has one."""
    needed = False
    for statement in reversed(block):
        if isinstance(statement, Let):
            if statement.target in live:
                needed = True
                _use(statement.value, live)
        elif isinstance(statement, Branch):
            marked = [
                _mark(inner, live) for _, inner in statement.cases
            ]  # all, also after the first that is live
            if any(marked):
                needed = True
                _use(statement.tag, live)
        elif isinstance(statement, Fail):
            needed = True
    return needed


def _swept(block: Sequence[Statement], live: set[Expression | str]) -> list[Statement]:
    kept: list[Statement] = []
    for statement in block:
        if isinstance(statement, Let) and statement.target not in live:
            continue
        if isinstance(statement, Branch):
            cases = [(keys, _swept(inner, live)) for keys, inner in statement.cases]
            if all(isinstance(inner, Comment) for _, block in cases for inner in block):
                continue
            statement = Branch(statement.tag, cases)
        kept.append(statement)
    while kept and isinstance(kept[-1], Comment):  # of what computes nothing
        kept.pop()
    return kept


def uses(code: StraightCode) -> dict[Expression, int]:
    """Return how often each variable is read."""
    counts: dict[Expression, int] = {}

    def count(value: Expression) -> None:
        counts[value] = counts.get(value, 0) + 1
        for argument in value.args:
            count(argument)

    for statement in statements(code.block):
        if isinstance(statement, Let):
            count(statement.value)
        elif isinstance(statement, Branch):
            count(statement.tag)
    for value in (*code.action, *code.stores.values()):
        count(value)
    return counts


def definitions(code: StraightCode) -> dict[Expression, list[Let]]:
    """Return the assignments of each variable: one, or one in each case of a branch."""
    found: dict[Expression, list[Let]] = {}
    for statement in statements(code.block):
        if isinstance(statement, Let):
            found.setdefault(statement.target, []).append(statement)
    return found


def worst_case(block: Sequence[Statement]) -> dict[str, int]:
    """Return how often each kind of operation runs on the longest path."""
    total: dict[str, int] = {}
    for statement in block:
        if isinstance(statement, Let):
            _add(total, _operations(statement.value))
        elif isinstance(statement, Branch):
            _add(total, {"branches": 1})
            costs = [worst_case(inner) for _, inner in statement.cases]
            _add(total, max(costs, key=lambda cost: sum(cost.values()), default={}))
    return total


def _operations(value: Expression) -> dict[str, int]:
    if not value.args:
        return {}
    if value.op == "call":
        return {"calls of " + str(value.value): 1}
    names = {"div": "divisions", "table": "table look-ups"}
    comparing = value.op in ("lt", "le", "gt", "ge", "eq", "ne", "not", "and", "or", "select")
    return {names.get(value.op, "comparisons" if comparing else "additions and multiplications"): 1}


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, number in more.items():
        total[name] = total.get(name, 0) + number


# Variables that can share a name, so that copies between them at the end of branches need not be printed: coalescing
# of a program in static single assignment (Boissinot et al., "Revisiting Out-of-SSA Translation", CGO 2009), simple
# here, as there are no loops.

Place = tuple[tuple[int, int], ...]  # (block, statement) from the outermost block to the innermost
END = 1 << 40  # the statement after the last one of the outermost block


@dataclass(slots=True)
class Places:
    """Where each variable is set and read, as it will be printed."""

    sets: dict[Expression, list[Place]] = field(default_factory=dict)
    reads: dict[Expression, list[Place]] = field(default_factory=dict)

    @classmethod
    def of(cls, code: StraightCode, inline: Mapping[Expression, Expression]) -> Places:
        """Find the places.

        Args:
            code: a controller.
            inline: variables that are printed where they are read, with their expressions.
        """
        found = cls()

        def read(value: Expression, place: Place) -> None:
            if value in inline:
                value = inline[value]
            elif value.op == "var":
                found.reads.setdefault(value, []).append(place)
            for argument in value.args:
                read(argument, place)

        def walk(block: Sequence[Statement], above: Place) -> None:
            for i, statement in enumerate(block):
                place = (*above, (id(block), i))
                if isinstance(statement, Let) and statement.target not in inline:
                    found.sets.setdefault(statement.target, []).append(place)
                    read(statement.value, place)
                elif isinstance(statement, Branch):
                    read(statement.tag, place)
                    for _, inner in statement.cases:
                        walk(inner, place)

        walk(code.block, ())
        for value in (*code.action, *code.stores.values()):
            read(value, ((id(code.block), END),))
        return found


def coalesce(code: StraightCode, inline: Mapping[Expression, Expression]) -> dict[Expression, Expression]:
    """Return for each variable that shares a name the one whose name it has.

    Args:
        code: a controller.
        inline: variables that are printed where they are read.
    """
    places = Places.of(code, inline)
    classes: dict[Expression, set[Expression]] = {}

    def members(value: Expression) -> set[Expression]:
        return classes.setdefault(value, {value})

    for place, block in _cases(code.block, ()):
        for i, statement in enumerate(block):
            if not isinstance(statement, Let) or statement.value.op != "var" or statement.value in inline:
                continue
            target, source = statement.target, statement.value
            if target in inline or target.kind != source.kind or members(target) is members(source):
                continue
            copy = (*place, (id(block), i))
            if _apart(places, members(source), members(target), copy, place):
                both = members(source) | members(target)
                for value in both:
                    classes[value] = both
    order = {value: number for number, value in enumerate(classes)}
    return {
        value: min(shared, key=lambda one: (one.value[1], order[one])) for value, shared in classes.items()
    }


def _cases(block: Sequence[Statement], above: Place) -> Iterator[tuple[Place, list[Statement]]]:
    """Yield the cases of all branches with their places, inner branches first."""
    for i, statement in enumerate(block):
        if isinstance(statement, Branch):
            place = (*above, (id(block), i))
            for _, inner in statement.cases:
                yield from _cases(inner, place)
            for _, inner in statement.cases:
                yield place, inner


def _apart(
    places: Places, sources: set[Expression], targets: set[Expression], copy: Place, branch: Place
) -> bool:
    """Return whether no source is needed where a target has another value.

    Args:
        places: of all variables.
        sources: that share a name, one of which is copied at the end of a case.
        targets: that share a name, one of which is set by this branch.
        copy: the place of the copy.
        branch: of the branch.
    """
    case = copy[-1][0]
    for value in sources:
        for read in places.reads.get(value, ()):
            if read != copy and _after(read, branch) and not _inside(read, branch, case):
                return False
    outside = [
        any(not _inside(place, branch, None) for value in shared for place in places.sets.get(value, ()))
        for shared in (sources, targets)
    ]
    # What was set before the branch is still needed in one case, so that only one of the two may have been.
    return not all(outside) and not any(
        _inside(place, branch, None) and not _inside(place, branch, case)
        for value in sources
        for place in places.sets.get(value, ())
    )


def _inside(place: Place, branch: Place, case: int | None) -> bool:
    """Return whether a place is in a branch, in a certain case of it if one is named."""
    deep = len(branch)
    return len(place) > deep and place[:deep] == branch and (case is None or place[deep][0] == case)


def _after(place: Place, branch: Place) -> bool:
    """Return whether a place is in a branch or later, the branch's tag excepted."""
    if place == branch:
        return False
    for one, other in zip(place, branch, strict=False):
        if one != other:
            # In one block the later statement; of two cases of a branch only one runs.
            return one[0] == other[0] and one[1] > other[1]
    return len(place) > len(branch)
