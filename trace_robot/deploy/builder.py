"""Statements on paths: branches, and how what they leave merges into one state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from trace_robot.deploy.ir import Branch, Expression, Fail, Kind, Let, Statement
from trace_robot.deploy.merge import Merge, Path, State
from trace_robot.deploy.values import (
    MOST_WORK,
    NO_OPTION,
    Choice,
    DeadPathError,
    DictContents,
    ListContents,
    OutsideSubsetError,
    Reference,
    Value,
    as_expression,
    same,
)


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
        """Return the error of a controller that cannot be translated.

        Args:
            reason: for the fault, as text.
            line: of the controller, the present one if None.
        """
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
        """Return a new variable.

        Args:
            kind: of the result.
            hint: of its name, the present one if empty.
        """
        name = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in hint or self.hint)
        name = name.strip("_")[:40] or "value"
        name = name if name[0].isalpha() else f"value_{name}"
        number = self._names[name] = self._names.get(name, 0) + 1
        return Expression("var", (), kind, (name, number))

    def emit(self, op: str, args: Sequence[Value], kind: Kind, value: Any = None) -> Any:
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
        """Note on this path that a tag has one of some values, and what follows from it.

        Args:
            condition: a bool, maybe of the run.
            keys: values that are left.
        """
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

    def new(self, contents: ListContents | DictContents | Choice) -> Reference:
        """Return a new list or dict."""
        self._numbers += 1
        self.state.heap[self._numbers] = contents
        return Reference(self._numbers)

    def spread(self, value: Value, function: Callable[[Value], Value]) -> Value:
        """Apply a function to each option of a choice, and merge the results.

        Args:
            value: any.
            function: a function.
        """
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
        """Run a function on a path for each group of a tag's values, and merge.

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
                paths.append(Path(keys, block, self.state, value))  # ``run`` may have replaced the state
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
        value = Merge(self, tag, paths).states()
        if all(not block for _, block in cases):
            outer.remove(statement)
        return value

    def _connective(self, tag: Expression, paths: Sequence[Path]) -> Expression | None:
        """Return ``and`` or ``or`` in place of a branch, None where one is needed."""
        if tag.kind != "b" or len(paths) != 2:
            return None
        for path in paths:
            pairs: list[tuple[Any, Any]] = [
                (path.state.heap, self.state.heap),
                (path.state.variables, self.state.variables),
            ]
            for held, before in pairs:
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
                joined: Expression = self.emit(op, [tag, path.value], "b")
                return joined
        return None
