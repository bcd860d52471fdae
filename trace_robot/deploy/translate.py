"""Translate a controller's text to straight-line code, without executing it.

The program is run on abstract values: functions are called in place, loops are unrolled, and what depends on the
observation or on memory becomes statements. What memory holds is found by repeating this until it no longer changes.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from trace_robot.deploy.calls import MODULES
from trace_robot.deploy.functions import FELL, Functions, listed, own_nodes
from trace_robot.deploy.ir import Expression, StraightCode, prune, worst_case
from trace_robot.deploy.memory import Layout
from trace_robot.deploy.values import (
    Builtin,
    Choice,
    DeadPathError,
    DictContents,
    Function,
    ListContents,
    OutsideSubsetError,
    Reference,
    Value,
    Vector,
    as_expression,
    is_number,
)

GLOBAL = 0  # the scope of the module
MOST_REPETITIONS = 20  # until what memory holds no longer changes
REASONS = {
    "While": "a while loop has no bound that can be counted; write for ... in range(a constant)",
    "With": "with cannot be translated", "Try": "try cannot be translated; test before it fails",
    "ClassDef": "classes cannot be translated; write functions", "Global": "state must be kept in memory",
    "Nonlocal": "state must be kept in memory", "Delete": "del cannot be translated",
    "AsyncFunctionDef": "async cannot be translated", "Match": "match cannot be translated; write if and elif",
}  # fmt: skip


class Translator(Functions):
    """Executes statements on abstract values."""

    def __init__(self) -> None:
        super().__init__()
        self.parents: dict[int, int] = {}
        self._scopes = GLOBAL
        self._returns: dict[int, bool] = {}
        self.viewed = {}

    def module(self, text: str) -> Mapping[str, Value]:
        """Execute a module, which must not depend on a run, and return its names."""
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self.refuse(f"not valid Python: {error}", getattr(error, "lineno", None) or 1) from error
        scope = self.scope(None)
        self.state.variables.update({(scope, name): value for name, value in self.given.items()})
        self.run(listed(tree.body), scope)
        return {name: value for (here, name), value in self.state.variables.items() if here == scope}

    def scope(self, parent: int | None) -> int:
        """Return a new scope of variables."""
        self._scopes += 1
        if parent is not None:
            self.parents[self._scopes] = parent
        return self._scopes

    # Statements. Work is a linked list, so that the rest can be run on each path of a branch that may leave a loop.

    def run(self, work: Any, scope: int) -> Value:
        """Execute statements and return what they return, FELL if they end without it.

        Args:
            work: a linked list of statements.
            scope: of variables.
        """
        while work is not None:
            statement, work = work
            if callable(statement):
                statement()
                continue
            if isinstance(statement, str):  # the end of a round or of a loop
                continue
            self.line = statement.lineno
            self.count()
            name = type(statement).__name__
            if isinstance(statement, ast.Return):
                return None if statement.value is None else self.evaluate(statement.value, scope)
            if isinstance(statement, ast.Break | ast.Continue):
                work = _after(work, "loop" if isinstance(statement, ast.Break) else "round")
            elif isinstance(statement, ast.If):
                leaves = self._leaves(statement)
                condition = self.truth_of(statement.test, scope)
                if isinstance(condition, bool):
                    work = listed(statement.body if condition else statement.orelse, work)
                    continue
                rest = work if leaves else None
                value = self.when(
                    condition,
                    partial(self.run, listed(statement.body, rest), scope),
                    partial(self.run, listed(statement.orelse, rest), scope),
                )
                if leaves:
                    return value
            elif isinstance(statement, ast.For):
                if statement.orelse:
                    raise self.refuse("for ... else cannot be translated")
                rounds = self.evaluate(statement.iter, scope)
                if self._leaves(statement):
                    return self.spread(rounds, self._looping(statement, work, scope))
                self.spread(rounds, self._looping(statement, None, scope))
            else:
                execute: Callable[[Any, int], None] | None = getattr(self, f"_do_{name.lower()}", None)
                if execute is None:
                    raise self.refuse(REASONS.get(name, f"the statement {name} cannot be translated"))
                execute(statement, scope)
        return FELL

    def _looping(self, statement: ast.For, rest: Any, scope: int) -> Callable[[Value], Value]:
        """Return a function that runs a loop over a value, and the rest after it."""

        def loop(value: Value) -> Value:
            work: Any = ("loop", rest)
            for item in reversed(self.items(value)):
                work = listed(statement.body, ("round", work))
                work = (partial(self.bind, statement.target, item, scope), work)
            return self.run(work, scope)

        return loop

    def _leaves(self, statement: ast.stmt) -> bool:
        """Return whether a statement may end the function, or the loop that is around it."""
        known = self._returns.get(id(statement))
        if known is None:
            inner = [node for body in ("body", "orelse") for node in getattr(statement, body, [])]
            leaving = ast.Return if isinstance(statement, ast.For) else ast.Return | ast.Break | ast.Continue
            known = any(isinstance(node, leaving) for node in inner) or any(
                self._leaves(node) for node in inner if isinstance(node, ast.If | ast.For)
            )
            if isinstance(statement, ast.For):  # a break of its body stays in it
                known = any(isinstance(node, ast.Return) for node in own_nodes(statement))
            self._returns[id(statement)] = known
        return known

    def _do_pass(self, statement: ast.Pass, scope: int) -> None:
        pass

    def _do_expr(self, statement: ast.Expr, scope: int) -> None:
        if not isinstance(statement.value, ast.Constant):
            self.evaluate(statement.value, scope)

    def _do_raise(self, statement: ast.Raise, scope: int) -> None:
        raise self.fail("the controller raises")

    def _do_assert(self, statement: ast.Assert, scope: int) -> None:
        reason = "an assertion of the controller fails"
        if statement.msg is not None:
            given = self.evaluate(statement.msg, scope)
            reason = given if isinstance(given, str) else reason
        self.require(self.truth_of(statement.test, scope), reason)

    def _do_import(self, statement: ast.Import, scope: int) -> None:
        for alias in statement.names:
            top = alias.name if alias.asname else alias.name.partition(".")[0]
            if alias.name not in MODULES and top != "typing":
                raise self.refuse(f"{alias.name} cannot be translated; only math and numpy can")
            self.state.variables[scope, alias.asname or top] = Builtin(top)

    def _do_importfrom(self, statement: ast.ImportFrom, scope: int) -> None:
        room = (statement.module or "").replace("trace_robot.trace", "trace_robot")
        if room in ("typing", "__future__", "collections.abc"):
            self.state.variables.update(
                {(scope, a.asname or a.name): Builtin("typing") for a in statement.names}
            )
            return
        if room not in MODULES or statement.level:
            raise self.refuse(f"{room or 'a relative import'} cannot be translated; only math and numpy can")
        for alias in statement.names:
            self.state.variables[scope, alias.asname or alias.name] = self.member(f"{room}.{alias.name}")

    def _do_functiondef(self, statement: ast.FunctionDef, scope: int) -> None:
        for decorator in statement.decorator_list:
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if self.evaluate(called, scope) != Builtin("trace_robot.bundle"):
                raise self.refuse("the only decorator that can be translated is bundle")
        if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own_nodes(statement)):
            raise self.refuse("generators cannot be translated")
        self.state.variables[scope, statement.name] = Function(statement, scope)

    def _do_assign(self, statement: ast.Assign, scope: int) -> None:
        first = statement.targets[0]
        self.hint = first.id if isinstance(first, ast.Name) else "value"
        value = self.evaluate(statement.value, scope)
        for target in statement.targets:
            self.bind(target, value, scope)

    def _do_annassign(self, statement: ast.AnnAssign, scope: int) -> None:
        if statement.value is not None:
            self.hint = statement.target.id if isinstance(statement.target, ast.Name) else "value"
            self.bind(statement.target, self.evaluate(statement.value, scope), scope)

    def _do_augassign(self, statement: ast.AugAssign, scope: int) -> None:
        target = statement.target
        reading = ast.copy_location(
            ast.Name(target.id, ast.Load()) if isinstance(target, ast.Name)
            else ast.Subscript(target.value, target.slice, ast.Load()) if isinstance(target, ast.Subscript)
            else target,
            target,
        )  # fmt: skip
        before = self.evaluate(reading, scope)
        if not is_number(self.number_or_not(before)):
            if isinstance(before, Vector) and before.is_array and isinstance(target, ast.Name):
                self._require_alone(before)
            elif not isinstance(before, Vector) or before.is_array:
                raise self.refuse(
                    "an array or a list is changed in place, which other names may see; write a = a + b"
                )
        self.bind(target, self.binary(statement.op, before, self.evaluate(statement.value, scope)), scope)

    def bind(self, target: ast.expr, value: Value, scope: int) -> None:
        """Assign a value to a name, to several, or to an item.

        Args:
            target: a name, names or an item.
            value: any.
            scope: of variables.
        """
        if isinstance(target, ast.Name):
            self.state.variables[scope, target.id] = self.number_or_not(value)
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(target.elts, self.spread(value, lambda one: Vector(tuple(self.items(one)))), scope)
        elif isinstance(target, ast.Subscript):
            base = self.evaluate(target.value, scope)
            if isinstance(base, Vector) and base.is_array and isinstance(target.value, ast.Name):
                self._require_alone(base)
                items = self._replaced(base.items, self._index(target.slice, scope), value)
                self.state.variables[scope, target.value.id] = Vector(items, is_array=True)
                return
            key = self._index(target.slice, scope)
            self.spread(base, lambda one: self.spread(key, lambda k: self._store(one, k, value)))
        else:
            raise self.refuse("only names and items can be assigned to")

    def _index(self, node: ast.expr, scope: int) -> Value:
        if not isinstance(node, ast.Slice):
            return self.evaluate(node, scope)
        bounds = [
            None if part is None else self.evaluate(part, scope)
            for part in (node.lower, node.upper, node.step)
        ]
        if any(bound is not None and not isinstance(bound, int) for bound in bounds):
            raise self.refuse("the bounds of a slice must be constants")
        return slice(*bounds)

    def _unpack(self, targets: Sequence[ast.expr], value: Value, scope: int) -> None:
        items = [self.item(value, i, self.line) for i in range(self._length(value))]
        star = next((i for i, target in enumerate(targets) if isinstance(target, ast.Starred)), None)
        if star is not None:
            after = len(targets) - star - 1
            middle = self.new(ListContents(tuple(items[star : len(items) - after])))
            items = [*items[:star], middle, *items[len(items) - after :]]
        if len(items) != len(targets):
            raise self.refuse(f"{len(targets)} values were expected, got {len(items)}")
        for target, item in zip(targets, items, strict=True):
            self.bind(target.value if isinstance(target, ast.Starred) else target, item, scope)

    def _length(self, value: Value) -> int:
        if isinstance(value, Choice):
            raise self.refuse("what is unpacked has one of several lengths")
        return len(self.items(value))

    def _store(self, base: Value, key: Value, value: Value) -> None:
        contents = self.state.heap[base.number] if isinstance(base, Reference) else None
        if isinstance(contents, DictContents):
            self.change(base, DictContents({**contents.entries, self._key(key): (True, value)}))
        elif isinstance(contents, ListContents) and isinstance(key, Expression) and key.kind == "i":
            self._within(key, len(contents.items))
            self.spread(self.options(key, len(contents.items)), lambda one: self._store(base, one, value))
        elif isinstance(contents, ListContents):
            self.change(base, ListContents(self._replaced(contents.items, key, value)))
        else:
            raise self.refuse(f"an item of {self.named(base)} cannot be assigned")

    def _replaced(self, items: tuple[Value, ...], key: Value, value: Value) -> tuple[Value, ...]:
        changed = list(items)
        if isinstance(key, slice):
            count = len(changed[key])
            changed[key] = [value] * count if is_number(value) else self.items(value)
            if len(changed) != len(items):
                raise self.refuse("a slice must be assigned as many numbers as it has")
        elif isinstance(key, int) and not isinstance(key, bool):
            if not -len(items) <= key < len(items):
                raise self.fail(f"index {key} out of range")
            changed[key] = value
        else:
            raise self.refuse("the index of what is assigned must be a constant")
        return tuple(changed)

    def _require_alone(self, array: Vector) -> None:
        """Refuse to change an array that another name may hold."""
        holders = sum(value is array for value in self.state.variables.values())
        inside = any(
            any(value is array for value in _held(contents)) for contents in self.state.heap.values()
        )
        if holders > 1 or inside or array.is_view or id(array) in self.viewed:
            raise self.refuse("an array is changed in place, which other names may see; change a copy of it")


def _held(contents: Any) -> list[Value]:
    if isinstance(contents, Choice):
        return [value for option in contents.options.values() for value in _held(option)]
    return (
        list(contents.items)
        if isinstance(contents, ListContents)
        else [value for _, value in contents.entries.values()]
    )


def _after(work: Any, mark: str) -> Any:
    while work is not None and work[0] != mark:
        work = work[1]
    return None if work is None else work[1]


def translate(
    texts: Sequence[str], inputs: Mapping[str, int], size: int, kept: Collection[str] = ()
) -> StraightCode:
    """Return a controller as straight-line code.

    Args:
        texts: of modules, the last one with ``act``; each is given ``act`` of the one before as ``decide``.
        inputs: fields of the observation, with how many numbers each has.
        size: numbers of an action.
        kept: numbers of memory that are read from outside, such as a log.

    Raises:
        OutsideSubsetError: with the line and the reason.
    """
    layout = Layout()
    for _ in range(MOST_REPETITIONS):
        translator = Translator()
        try:
            code = _once(translator, texts, inputs, size, layout)
        except DeadPathError as error:
            raise translator.refuse(f"the controller always fails here: {error}") from error
        except RecursionError as error:
            raise translator.refuse("the code is nested too deeply") from error
        if not layout.changed:
            prune(code, kept)
            code.counts = worst_case(code.block)
            return code
    raise OutsideSubsetError("line 1: what memory holds differs in every step, such as a list that grows")


def _once(
    translator: Translator, texts: Sequence[str], inputs: Mapping[str, int], size: int, layout: Layout
) -> StraightCode:
    decide: Value = None
    for text in texts:
        if decide is not None:
            translator.given = {"decide": decide, "expected": Builtin("deploy.expected")}
        names = translator.module(text)
        decide = names.get("act")
    if not isinstance(decide, Function):
        raise translator.refuse("the controller defines no function act", 1)
    if translator.block:
        raise translator.refuse("the module's own statements must not depend on a run", 1)
    seen = translator.new(DictContents({name: (True, _input(name, count)) for name, count in inputs.items()}))
    translator.observation = seen.number
    memory = layout.load(translator)
    arguments = [seen, memory][: len(decide.node.args.args)]
    action = translator.spread(
        translator.call(decide, arguments, {}), lambda one: Vector(tuple(_flat(translator, one)))
    )
    if not isinstance(action, Vector) or len(action.items) != size:
        got = len(action.items) if isinstance(action, Vector) else "several lengths of"
        raise translator.refuse(f"act must return {size} numbers, got {got}", decide.node.lineno)
    numbers = [translator.real(translator.number(one)) for one in action.items]
    expressions = [as_expression(one) for one in numbers]
    stores = layout.store(translator, memory)
    return StraightCode(translator.block, expressions, stores, dict(layout.slots), dict(inputs))


def _flat(translator: Translator, value: Value) -> list[Value]:
    value = translator.number_or_not(value)
    if is_number(value):
        return [value]
    return [number for item in translator.items(value) for number in _flat(translator, item)]


def _input(name: str, count: int) -> Value:
    atoms = tuple(Expression("input", (), "f", (name, i)) for i in range(count))
    return atoms[0] if count == 1 else Vector(atoms, is_array=True)
