"""The C back end: C99 without heap, and without a library but math."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trace_robot.deploy.ir import Branch, Comment, Expression, Fail, Let, Statement, StraightCode
from trace_robot.deploy.printer import Printer, comment, identifier
from trace_robot.deploy.python_code import filled, template

TYPES = {"f": "double", "i": "int64_t", "b": "bool"}
HELPERS = {
    "min": "static double lesser(double a, double b) { return b < a ? b : a; }",
    "max": "static double greater(double a, double b) { return b > a ? b : a; }",
    "imin": "static int64_t lesser_integer(int64_t a, int64_t b) { return b < a ? b : a; }",
    "imax": "static int64_t greater_integer(int64_t a, int64_t b) { return b > a ? b : a; }",
    "iabs": "static int64_t absolute_integer(int64_t a) { return a < 0 ? -a : a; }",
    "imod": "static int64_t mod_integer(int64_t a, int64_t b) { const int64_t r = a % b;"
    " return r != 0 && (r < 0) != (b < 0) ? r + b : r; }",
    "ifloordiv": "static int64_t floordiv_integer(int64_t a, int64_t b) {"
    " return a / b - (a % b != 0 && (a % b < 0) != (b < 0)); }",
    "mod": """\
/* The remainder with the sign of b, as of Python's % operator. */
static double mod_real(double a, double b) {
    const double r = fmod(a, b);
    return r == 0.0 ? copysign(0.0, b) : (r < 0.0) != (b < 0.0) ? r + b : r;
}""",
    "floordiv": """\
static double floordiv_real(double a, double b) {
    const double whole = (a - mod_real(a, b)) / b, down = floor(whole);
    return whole == 0.0 ? copysign(0.0, a / b) : whole - down > 0.5 ? down + 1.0 : down;
}""",
    "hypot": """\
/* The length of a vector as CPython 3.10 to 3.12 compute it, so that actions are the same bit for bit: squares and
   their sum are kept in two parts (Borges, "An Improved Algorithm for hypot(a,b)", arXiv:1904.09481). */
static double length(int n, const double *numbers) {
    double greatest = 0.0, sum = 1.0, low = 0.0, lower = 0.0, least = 0.0;
    int exponent, i;
    for (i = 0; i < n; i++) greatest = fabs(numbers[i]) > greatest ? fabs(numbers[i]) : greatest;
    if (greatest == 0.0 || !isfinite(greatest) || n == 1) return greatest;
    frexp(greatest, &exponent);
    if (exponent < -1022) return greatest; /* of numbers that no sensor tells from 0 */
    for (i = 0; i < n; i++) {
        const double x = fabs(numbers[i]) * ldexp(1.0, -exponent), t = x * 134217729.0;
        const double high = t - (t - x), rest = x - high;
        add_part(&sum, &low, high * high);
        add_part(&sum, &lower, 2.0 * high * rest);
        least += rest * rest;
    }
    {
        const double h = sqrt(sum - 1.0 + (low + lower + least)), t = h * 134217729.0;
        const double high = t - (t - h), rest = h - high;
        add_part(&sum, &low, -high * high);
        add_part(&sum, &lower, -2.0 * high * rest);
        add_part(&sum, &least, -rest * rest);
        return (h + (sum - 1.0 + (low + lower + least)) / (2.0 * h)) / ldexp(1.0, -exponent);
    }
}""",
    "add_part": """\
/* Adds to a sum, and what the sum loses to another. */
static void add_part(double *sum, double *lost, double part) {
    const double before = *sum;
    *sum += part;
    *lost += (before - *sum) + part;
}""",
}
NEEDS = {"floordiv": ("mod",), "hypot": ("add_part",)}


class CPrinter(Printer):
    """Prints straight-line code as the body of a function that returns a status."""

    def __init__(self, code: StraightCode, taken: Sequence[str], capital: str) -> None:
        super().__init__(code, taken)
        self.capital = capital
        self.slots: dict[str, str] = {}
        for slot in code.slots:
            self.slots[slot] = identifier(slot, [*self.slots.values(), "stopped"])
        self.fields: dict[str, str] = {}
        for field in code.inputs:
            self.fields[field] = identifier(field, self.fields.values())
        self.prepare()
        self._declared: dict[tuple[int, int], list[Expression]] = {}
        places = self.places()
        for value, place in places.items():
            self._declared.setdefault(place, []).append(value)
        self._apart = set(places)

    def literal(self, value: Any, kind: str) -> str:
        if kind != "f":
            return (
                str(value).lower()
                if kind == "b"
                else f"INT64_C({value})"
                if abs(value) > 2**31 - 1
                else str(value)
            )
        if math.isfinite(value):
            return repr(float(value))
        return "INFINITY" if value > 0 else "-INFINITY" if value < 0 else "NAN"

    def slot(self, name: str) -> str:
        return f"m->{self.slots[name]}"

    def input(self, field: str, index: int) -> str:
        return f"o->{self.fields[field]}" + ("" if self.code.inputs[field] == 1 else f"[{index}]")

    def operation(self, value: Expression) -> tuple[str, bool]:
        operands = [self.text(argument) for argument in value.args]
        inner = [self.inner(argument) for argument in value.args]
        if value.op == "call":
            name = str(value.value)
            if name == "hypot":
                self.functions.add(name)
                return f"length({len(operands)}, (const double[]){{{', '.join(operands)}}})", True
            if name in ("mod", "floordiv"):
                self.functions.add(name)
                return f"{name}_real({', '.join(operands)})", True
            if name == "float32":
                return f"(double)(float){inner[0]}", False
            return f"{name}({', '.join(operands)})", True
        if value.op in ("and", "or"):
            return f"{inner[0]} {'&&' if value.op == 'and' else '||'} {inner[1]}", False
        if value.op == "not":
            return f"!{inner[0]}", False
        if value.op == "select":
            return f"{inner[0]} ? {inner[1]} : {inner[2]}", False
        if value.op in ("int", "float"):
            return f"({TYPES['i' if value.op == 'int' else 'f']}){inner[0]}", False
        if value.op == "abs" and value.kind == "f":
            return f"fabs({operands[0]})", True
        whole = {"min": "lesser", "max": "greater", "abs": "absolute"}.get(value.op, value.op)
        if value.kind == "f":
            self.functions.add(value.op)
            return f"{whole}({', '.join(operands)})", True
        self.functions.add(f"i{value.op}")
        return f"{whole}_integer({', '.join(operands)})", True

    def statements(self, block: Sequence[Statement], depth: int) -> Iterator[str]:
        """Yield the lines of a block.

        Args:
            block: statements.
            depth: of indentation.
        """
        space = self.indent * depth
        for i, statement in enumerate(block):
            yield from self._declarations((id(block), i), space)
            if self.is_inline(statement):
                continue
            if isinstance(statement, Comment):
                yield f"{space}/* {comment(statement.text)} */"
            elif isinstance(statement, Let):
                target = statement.target
                declared = "" if self.shared(target) in self._apart else f"const {TYPES[target.kind]} "
                yield f"{space}{declared}{self.name(target)} = {self.text(statement.value)};"
            elif isinstance(statement, Fail):
                reason = comment(f"line {statement.line}: {statement.reason}")
                yield f"{space}return {self.capital}_FAULT; /* {reason} */"
            else:
                yield from self._branch(statement, depth)

    def _declarations(self, place: tuple[int, int], space: str) -> Iterator[str]:
        kinds: dict[str, list[str]] = {}
        for value in self._declared.get(place, ()):
            kinds.setdefault(value.kind, []).append(self.name(value))
        zero = {"f": "0.0", "i": "0", "b": "false"}
        for kind, names in kinds.items():
            yield f"{space}{TYPES[kind]} {', '.join(f'{name} = {zero[kind]}' for name in names)};"

    def _branch(self, branch: Branch, depth: int) -> Iterator[str]:
        space = self.indent * depth
        if branch.tag.kind != "b":
            yield f"{space}switch ({self.text(branch.tag)}) {{"
            for i, (keys, block) in enumerate(branch.cases):
                yield from (f"{space}case {key}:" for key in keys)
                lines = list(self.statements(block, depth + 1))
                yield from (
                    [f"{space}{{", *lines, f"{space}}}"] if any("const " in line for line in lines) else lines
                )
                if i < len(branch.cases) - 1:
                    yield f"{space}    break;"
            yield f"{space}}}"
            return
        cases = sorted(branch.cases, key=lambda case: not self._speaks(case[1]))
        for i, (keys, block) in enumerate(cases):
            if i and not self._speaks(block):
                continue
            condition = self.text(branch.tag) if keys == (1,) else f"!{self.inner(branch.tag)}"
            yield f"{space}if ({condition}) {{" if i == 0 else f"{space}}} else {{"
            yield from self.statements(block, depth + 1)
        yield f"{space}}}"

    def _speaks(self, block: Sequence[Statement]) -> bool:
        return any(not self.is_inline(one) and not isinstance(one, Comment) for one in block)

    def body(self) -> str:
        """Return the body of ``decide``."""
        block = self.code.block
        lines = [*self.statements(block, 1), *self._declarations((id(block), len(block)), self.indent)]
        for i, value in enumerate(self.code.action):
            lines.append(f"{self.indent}action[{i}] = {self.text(value)};")
        late = []
        for slot, text, first in self.ordered_stores():
            if first:
                name = identifier(f"next_{slot}", self._taken)
                self._taken.add(name)
                lines.append(f"{self.indent}const {TYPES[self.code.slots[slot]]} {name} = {text};")
                text = name
            late.append(f"{self.indent}m->{self.slots[slot]} = {text};")
        unused = [] if self.code.inputs else [f"{self.indent}(void)o;"]
        unused += [] if late or any("m->" in line for line in lines) else [f"{self.indent}(void)m;"]
        return "\n".join([*unused, *lines, *late, f"{self.indent}return {self.capital}_OK;"])


def write_c(code: StraightCode, about: Mapping[str, Any]) -> dict[str, str]:
    """Return the files by name: header, source, test driver and Makefile.

    Args:
        code: of the controller.
        about: as for ``write_python``, and "name", an identifier, and "action", a line for each number.
    """
    name = str(about["name"])
    capital = name.upper()
    printer = CPrinter(code, [name], capital)
    body = printer.body()
    needed = {need for function in printer.functions for need in NEEDS.get(function, ())} | printer.functions
    order = ["add_part", "mod", *(helper for helper in HELPERS if helper not in ("add_part", "mod"))]
    tables = []
    for table, value in printer.tables.items():
        entries = ", ".join(printer.literal(entry, value.kind) for entry in value.value)
        tables.append(f"static const {TYPES[value.kind]} {table}[] = {{{entries}}};")
    sizes = {field: "" if size == 1 else f"[{size}]" for field, size in code.inputs.items()}
    observation = [
        f"    double {printer.fields[field]}{sizes[field]}; /* {comment(about['fields'][field][1] or 'no unit')} */"
        for field in code.inputs
    ]
    bounded, stop = [], []
    for i, (low, high, whole) in enumerate(zip(about["low"], about["high"], about["whole"], strict=True)):
        lines = [f"action[{i}] = rint(action[{i}]);"] if whole else []
        lines += (
            [f"if (action[{i}] < {float(low)!r}) action[{i}] = {float(low)!r};"] if math.isfinite(low) else []
        )
        lines += (
            [f"if (action[{i}] > {float(high)!r}) action[{i}] = {float(high)!r};"]
            if math.isfinite(high)
            else []
        )
        bounded += [f"    {line}" for line in lines]
        stop.append(repr(float(min(max(0.0, low), high))))
    logged = [
        f'                printf(" {slot}=%lld", (long long)memory.{printer.slots[slot]});'
        for slot in about.get("log", ())
        if slot in printer.slots
    ]
    marks = {
        "TITLE": comment(about["title"]),
        "VERSION": comment(about["version"]),
        "RATED": comment(about["asked"]),
        "OPERATIONS": str(sum(code.counts.values())),
        "INPUTS": str(sum(code.inputs.values())),
        "ACTIONS": str(len(code.action)),
        "OBSERVATION": "\n".join(observation) or "    double nothing;",
        "MEMORY": "\n".join(f"    {TYPES[kind]} {printer.slots[slot]};" for slot, kind in code.slots.items()),
        "ACTION_TEXT": "\n".join(f"   {comment(line)}" for line in about["action"]),
        "HELPERS": "\n\n".join(HELPERS[helper] for helper in order if helper in needed),
        "TABLES": "\n".join(tables),
        "BODY": body,
        "LOGGED": "\n".join(logged),
        "BOUNDED": "\n".join(bounded),
        "STOP_TEXT": f"{{{', '.join(stop)}}}",
        "STOP": ", ".join(stop),
        "NAME": name,
        "CAPITAL": capital,
    }
    files = {
        f"{name}.h": "controller.h",
        f"{name}.c": "controller.c",
        "main.c": "main.c",
        "Makefile": "Makefile",
    }
    return {file: filled(template(held), marks) for file, held in files.items()}
