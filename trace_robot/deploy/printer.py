"""What the two back ends share: names, declarations, and expressions printed where they are read once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from trace_robot.deploy.ir import (
    Branch,
    Expression,
    Let,
    Place,
    Places,
    Statement,
    StraightCode,
    coalesce,
    definitions,
    uses,
)

LONGEST = 72  # characters of an expression that is printed inside another
WIDTH = 110  # of a comment
INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==",
    "ne": "!=",
}  # fmt: skip
WORDS = frozenset(  # of either language, and names that its files use
    [
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
        "bool",
        "true",
        "false",
        "main",
        "errno",
        "asm",
        "and",
        "as",
        "assert",
        "async",
        "await",
        "class",
        "def",
        "del",
        "elif",
        "except",
        "finally",
        "from",
        "global",
        "import",
        "in",
        "is",
        "lambda",
        "nonlocal",
        "not",
        "or",
        "pass",
        "raise",
        "try",
        "with",
        "yield",
        "match",
        "type",
        "None",
        "True",
        "False",
        "self",
        "print",
        "action",
        "memory",
        "observation",
        "m",
        "o",
        "values",
        "isfinite",
        "hypot",
        "sin",
        "cos",
        "tan",
        "asin",
        "acos",
        "atan",
        "atan2",
        "exp",
        "log",
        "sqrt",
        "tanh",
        "sinh",
        "cosh",
        "log2",
        "log10",
        "expm1",
        "log1p",
        "floor",
        "ceil",
        "trunc",
        "rint",
        "fabs",
        "copysign",
        "remainder",
        "fmod",
        "pow",
        "abs",
        "min",
        "max",
        "round",
        "int64_t",
        "length",
        "lesser",
        "greater",
        "absolute",
        "add_part",
        "lesser_integer",
        "greater_integer",
        "absolute_integer",
        "mod_integer",
        "mod_real",
        "floordiv_integer",
        "floordiv_real",
        "decide",
        "bounded",
        "checked",
        "status",
        "stop",
        "unsigned",
        "uint8_t",
        "size_t",
        "stdin",
        "stdout",
        "stderr",
        "NAN",
        "INFINITY",
        "inf",
        "nan",
        "json",
        "sys",
        "started_at",
        "y0",
        "y1",
        "yn",
        "j0",
        "j1",
        "jn",
        "gamma",
        "index",
        "signgam",
    ]
)


def identifier(text: str, taken: Iterable[str] = ()) -> str:
    """Return a name that is one in C and in Python, and not yet taken.

    Args:
        text: anything; what is no ASCII letter, digit or underscore is replaced.
        taken: names in use.
    """
    name = re.sub(r"[^A-Za-z0-9_]", "_", text)[:48].strip("_") or "value"
    if not name[0].isalpha():
        name = f"value_{name}"
    result, number = name, 1
    while result in WORDS or result in taken:
        number += 1
        result = f"{name}_{number}"
    return result


def comment(text: Any, width: int = WIDTH) -> str:
    """Return a text as one line that can stand in a comment of C or Python.

    Args:
        text: any.
        width: characters at most.
    """
    line = " ".join(str(text).split())
    line = "".join(c if " " <= c <= "~" else "?" for c in line)
    return line.replace("*/", "* /").replace("/*", "/ *").replace("\\", "/").replace("??", "? ?")[:width]


class Printer:
    """Prints a block. A back end gives the forms of its language."""

    indent = "    "

    def __init__(self, code: StraightCode, taken: Iterable[str] = ()) -> None:
        self.code = code
        self.lines: list[str] = []
        self.tables: dict[str, Expression] = {}
        self.functions: set[str] = set()
        self._taken = set(taken)
        self._names: dict[Expression, str] = {}
        self._table_names: dict[tuple[Any, ...], str] = {}
        self.definitions = definitions(code)
        counts = uses(code)
        self._inline = {
            target: lets[0].value
            for target, lets in self.definitions.items()
            if len(lets) == 1 and counts.get(target, 0) <= 1
        }
        self._texts: dict[Expression, tuple[str, bool]] = {}
        self._shared: dict[Expression, Expression] = {}

    def prepare(self) -> None:
        """Decide what is printed inside another, and what shares a name."""
        taken = set(self._taken)
        self._settle(self.code.block)
        self._shared = coalesce(self.code, self._inline)
        # Names were given for the lengths of expressions; those that are shared need fewer.
        self._taken, self._names, self._texts = taken, {}, {}
        self._table_names, self.tables = {}, {}
        self._settle(self.code.block, final=True)

    def _settle(self, block: Sequence[Statement], *, final: bool = False) -> None:
        """Give up printing inside another what would become long."""
        for statement in block:
            if isinstance(statement, Let) and statement.target in self._inline:
                form = self._form(statement.value, statement.target)
                if len(form[0]) > LONGEST and not final:
                    del self._inline[statement.target]
                else:
                    self._texts[statement.target] = form
            elif isinstance(statement, Branch):
                for _, inner in statement.cases:
                    self._settle(inner, final=final)

    def is_inline(self, statement: Statement) -> bool:
        """Return whether a statement needs no line."""
        return isinstance(statement, Let) and (
            statement.target in self._inline or self.shared(statement.target) is self.shared(statement.value)
        )

    def shared(self, target: Expression) -> Expression:
        """Return the variable whose name a variable has."""
        return self._shared.get(target, target)

    def name(self, target: Expression) -> str:
        """Return the name of a variable."""
        target = self.shared(target)
        if target not in self._names:
            base, number = target.value
            self._names[target] = identifier(base if number == 1 else f"{base}_{number}", self._taken)
            self._taken.add(self._names[target])
        return self._names[target]

    def text(self, value: Expression) -> str:
        """Return an expression as text that stands alone."""
        return self._form(value)[0]

    def inner(self, value: Expression) -> str:
        """Return an expression as text that can be an operand."""
        text, is_whole = self._form(value)
        return text if is_whole else f"({text})"

    def _form(self, value: Expression, target: Expression | None = None) -> tuple[str, bool]:
        if value in self._texts:
            return self._texts[value]
        if value in self._inline:
            return self._form(self._inline[value], value)
        if value.op == "const":
            return self.literal(value.value, value.kind), True
        if value.op == "var":
            return self.name(value), True
        if value.op == "slot":
            return self.slot(str(value.value)), True
        if value.op == "input":
            return self.input(*value.value), True
        if value.op == "table":
            return f"{self._table(value, target)}[{self.text(value.args[0])}]", True
        if value.op in INFIX:
            left, right = map(self.inner, value.args)
            return f"{left} {INFIX[value.op]} {right}", False
        if value.op == "neg":
            return f"-{self.inner(value.args[0])}", False
        return self.operation(value)

    def _table(self, value: Expression, target: Expression | None) -> str:
        key = (value.kind, tuple(map(repr, value.value)))
        if key not in self._table_names:
            hint = target.value[0] if target is not None else "table"
            name = self.table_name(hint)
            self._table_names[key] = name
            self.tables[name] = value
        return self._table_names[key]

    def table_name(self, hint: str) -> str:
        """Return a new name of a table."""
        name = identifier(f"{hint.upper()}_OF", self._taken)
        self._taken.add(name)
        return name

    # Of a language.

    def literal(self, value: Any, kind: str) -> str:
        raise NotImplementedError

    def slot(self, name: str) -> str:
        raise NotImplementedError

    def input(self, field: str, index: int) -> str:
        raise NotImplementedError

    def operation(self, value: Expression) -> tuple[str, bool]:
        raise NotImplementedError

    # What is declared where.

    def places(self) -> dict[Expression, tuple[int, int]]:
        """Return where variables are declared that are not where they are set."""
        found: dict[Expression, list[Place]] = {}
        sets: dict[Expression, list[Place]] = {}
        every = Places.of(self.code, self._inline)
        for held, all_of in ((every.sets, (found, sets)), (every.reads, (found,))):
            for value, where in held.items():
                for one in all_of:
                    one.setdefault(self.shared(value), []).extend(where)
        places: dict[Expression, tuple[int, int]] = {}
        for value, where in found.items():
            depth = min(map(len, where)) - 1
            for i in range(depth + 1):
                if len({place[i] for place in where}) > 1:
                    depth = i
                    break
            block, first = where[0][depth][0], min(place[depth][1] for place in where)
            if len(sets.get(value, ())) > 1 or len(sets[value][0]) > depth + 1:
                places[value] = (block, first)
        return places

    def ordered_stores(self) -> Iterator[tuple[str, str, bool]]:
        """Yield slot, text and whether it must be computed before any slot is set."""
        changed = [slot for slot, value in self.code.stores.items() if not self._is_slot(value, slot)]
        for slot in changed:
            value = self.code.stores[slot]
            yield slot, self.text(value), bool((self._slots(value) & set(changed)) - {slot})

    def _is_slot(self, value: Expression, slot: str) -> bool:
        return value.op == "slot" and value.value == slot

    def _slots(self, value: Expression) -> set[str]:
        if value.op == "slot":
            return {str(value.value)}
        whole = self._inline.get(value, value)
        return {name for argument in whole.args for name in self._slots(argument)}
