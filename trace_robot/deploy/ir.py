"""The intermediate form of a controller: typed scalars in static single assignment, and branches.

A controller becomes one block of statements without a loop, so that its worst case can be counted and both back ends
only have to print. Memory is read at the start and written at the end of a step: an expression can move anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["f", "i", "b"]  # float64, int64, bool


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A scalar; two are the same only if they are the same object.

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
    """``target = value``; a target that branches assign is assigned once in each."""

    target: Expression
    value: Expression


@dataclass(slots=True, eq=False)
class Branch:
    """Run one of the blocks: the one whose keys hold the value of ``tag``, a bool or an int."""

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
class Code:
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


def prune(code: Code) -> None:
    """Remove dead code: statements, slots and stores on which neither an action nor a fault depends."""
    live: set[Expression | str] = set(code.action)
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
            if any([_mark(inner, live) for _, inner in statement.cases]):  # a list: all must be marked
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


def uses(code: Code) -> dict[Expression, int]:
    """Return how often each variable is read; a variable that is read once can be printed where it is read."""
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


def definitions(code: Code) -> dict[Expression, list[Let]]:
    """Return the assignments of each variable: one, or one in each case of a branch."""
    found: dict[Expression, list[Let]] = {}
    for statement in statements(code.block):
        if isinstance(statement, Let):
            found.setdefault(statement.target, []).append(statement)
    return found


def worst_case(block: Sequence[Statement]) -> dict[str, int]:
    """Return how often each kind of operation runs on the longest path: arithmetic, comparisons, calls, ..."""
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
