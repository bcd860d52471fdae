"""The C back end: C99 without heap, and without a library but math."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trace_robot.deploy.ir import Branch, Code, Comment, Expression, Fail, Let, Statement
from trace_robot.deploy.printer import Printer, comment, identifier

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
HEADER = """\
/* __TITLE__

   Written by trace-robot __VERSION__: C99, no heap, no library but math. contract.json says what the numbers are.

   __NAME___memory memory;
   __NAME___reset(&memory);                                   before each episode
   status = __NAME___step(&memory, &observation, action);     __RATED__
   Unless the status is __CAPITAL___OK the action is __STOP_TEXT__, and stays so until a reset.
   Worst case of a step: __OPERATIONS__ operations. */
#ifndef __CAPITAL___H
#define __CAPITAL___H

#include <stdbool.h>
#include <stdint.h>

#define __CAPITAL___INPUTS __INPUTS__  /* numbers of an observation, in the order below */
#define __CAPITAL___ACTIONS __ACTIONS__

typedef struct {
__OBSERVATION__
} __NAME___observation;

typedef struct {
    bool stopped;
__MEMORY__
} __NAME___memory;

typedef enum {
    __CAPITAL___OK = 0,
    __CAPITAL___NOT_FINITE = 1, /* a number of the observation or of the action */
    __CAPITAL___FAULT = 2,      /* the controller cannot go on, such as a division by zero */
    __CAPITAL___STOPPED = 3     /* an earlier step failed: reset first */
} __NAME___status;

/* action:
__ACTION_TEXT__
*/
void __NAME___reset(__NAME___memory *memory);
__NAME___status __NAME___step(
    __NAME___memory *memory, const __NAME___observation *observation, double action[__CAPITAL___ACTIONS]);

#endif
"""
SOURCE = """\
/* __TITLE__ (see __NAME__.h) */
#include "__NAME__.h"

#include <math.h>

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* the same numbers as the Python that it was written from */
#endif

__HELPERS__
__TABLES__
static __NAME___status decide(__NAME___memory *m, const __NAME___observation *o, double action[]) {
__BODY__
}

/* What may be sent: finite and within the bounds. An envelope of speed or workspace belongs here. */
static __NAME___status bounded(double action[]) {
    int i;
    for (i = 0; i < __CAPITAL___ACTIONS; i++) {
        if (!isfinite(action[i])) return __CAPITAL___NOT_FINITE;
    }
__BOUNDED__
    return __CAPITAL___OK;
}

static __NAME___status checked(const __NAME___observation *o) {
    const double *numbers = (const double *)o; /* doubles only, so that there is no padding */
    int i;
    for (i = 0; i < __CAPITAL___INPUTS; i++) {
        if (!isfinite(numbers[i])) return __CAPITAL___NOT_FINITE;
    }
    return __CAPITAL___OK;
}

void __NAME___reset(__NAME___memory *memory) {
    const __NAME___memory nothing = {0};
    *memory = nothing;
}

__NAME___status __NAME___step(
    __NAME___memory *memory, const __NAME___observation *observation, double action[__CAPITAL___ACTIONS]) {
    static const double stop[__CAPITAL___ACTIONS] = {__STOP__};
    __NAME___status status = memory->stopped ? __CAPITAL___STOPPED : checked(observation);
    int i;
    if (status == __CAPITAL___OK) status = decide(memory, observation, action);
    if (status == __CAPITAL___OK) status = bounded(action);
    if (status != __CAPITAL___OK) {
        memory->stopped = true;
        for (i = 0; i < __CAPITAL___ACTIONS; i++) action[i] = stop[i];
    }
    return status;
}
"""
DRIVER = """\
/* A driver to test __NAME__.c with: reads lines of __INPUTS__ numbers, or "reset", and writes the action or
   "fault STATUS". With "binary": records of 1 + __INPUTS__ doubles, the first one 1 to reset, answered by 1 + __ACTIONS__, the
   first one the status. With "time": such records of at most 16 MB, and the nanoseconds of a step. */
#include "__NAME__.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INPUTS __CAPITAL___INPUTS
#define ACTIONS __CAPITAL___ACTIONS

static __NAME___memory memory;
static __NAME___observation observation;
static double action[ACTIONS];

static double one_step(const double *record) {
    memcpy(&observation, record + 1, INPUTS * sizeof(double));
    if (record[0] == 1.0) __NAME___reset(&memory);
    return __NAME___step(&memory, &observation, action);
}

static int binary(void) {
    double record[1 + INPUTS], answer[1 + ACTIONS];
    while (fread(record, sizeof(double), 1 + INPUTS, stdin) == 1 + INPUTS) {
        answer[0] = one_step(record);
        memcpy(answer + 1, action, sizeof(action));
        fwrite(answer, sizeof(double), 1 + ACTIONS, stdout);
    }
    return 0;
}

static int timed(void) {
    static double records[1 << 21];
    size_t count = fread(records, sizeof(double), 1 << 21, stdin) / (1 + INPUTS), i;
    double sum = 0.0;
    clock_t before = clock();
    for (i = 0; i < count; i++) sum += one_step(records + i * (1 + INPUTS)) + action[0];
    printf("%.1f ns a step (%.0f)\\n", 1e9 * (double)(clock() - before) / CLOCKS_PER_SEC / (double)count, sum);
    return count == 0;
}

static int text(void) {
    static char line[1 << 14];
    double record[1 + INPUTS] = {0.0};
    int i;
    while (fgets(line, sizeof(line), stdin)) {
        char *at = line, *end;
        if (strncmp(line, "reset", 5) == 0) {
            __NAME___reset(&memory);
            continue;
        }
        for (i = 0; i < INPUTS; i++, at = end) {
            record[1 + i] = strtod(at, &end);
            if (end == at) break;
        }
        if (i < INPUTS || *at != '\\n') {
            fprintf(stderr, "a line must have %d numbers\\n", INPUTS);
            return 1;
        }
        i = (int)one_step(record);
        if (i) printf("fault %d\\n", i);
        else for (i = 0; i < ACTIONS; i++) printf(i + 1 < ACTIONS ? "%.17g " : "%.17g\\n", action[i]);
        fflush(stdout);
    }
    return 0;
}

int main(int count, char **words) {
    __NAME___reset(&memory);
    if (count > 1 && strcmp(words[1], "binary") == 0) return binary();
    if (count > 1 && strcmp(words[1], "time") == 0) return timed();
    return text();
}
"""
MAKEFILE = """\
# make: the test driver; make arm: the controller's object files for a Cortex-M4 and for aarch64 (compiled, not run).
# Without a C compiler: pip install ziglang, and make CC="python3 -m ziglang cc".
CC ?= cc
ZIG ?= python3 -m ziglang cc
CFLAGS ?= -O2
# Without contraction to fused operations the numbers are those of the Python.
FLAGS = -std=c99 -Wall -Wextra -Werror -pedantic -ffp-contract=off

__NAME___test: main.c __NAME__.c __NAME__.h
\t$(CC) $(FLAGS) $(CFLAGS) -o $@ main.c __NAME__.c -lm

arm: __NAME___cortex_m4.o __NAME___aarch64.o

__NAME___cortex_m4.o: __NAME__.c __NAME__.h
\t$(ZIG) $(FLAGS) $(CFLAGS) -target thumb-linux-musleabihf -mcpu=cortex_m4 -c -o $@ __NAME__.c

__NAME___aarch64.o: __NAME__.c __NAME__.h
\t$(ZIG) $(FLAGS) $(CFLAGS) -target aarch64-linux-musl -c -o $@ __NAME__.c

clean:
\trm -f __NAME___test __NAME___cortex_m4.o __NAME___aarch64.o

.PHONY: arm clean
"""


class CPrinter(Printer):
    """Prints straight-line code as the body of a function that returns a status."""

    def __init__(self, code: Code, taken: Sequence[str], capital: str) -> None:
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
        """Yield the lines of a block."""
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


def write_c(code: Code, about: Mapping[str, Any]) -> dict[str, str]:
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
    rate = about["rate"]
    marks = {
        "TITLE": comment(about["title"]),
        "VERSION": comment(about["version"]),
        "RATED": f"{rate:g} times a second" if rate else "once a step of the task",
        "OPERATIONS": str(sum(code.counts.values())),
        "INPUTS": str(sum(code.inputs.values())),
        "ACTIONS": str(len(code.action)),
        "OBSERVATION": "\n".join(observation) or "    double nothing;",
        "MEMORY": "\n".join(f"    {TYPES[kind]} {printer.slots[slot]};" for slot, kind in code.slots.items()),
        "ACTION_TEXT": "\n".join(f"   {comment(line)}" for line in about["action"]),
        "HELPERS": "\n\n".join(HELPERS[helper] for helper in order if helper in needed),
        "TABLES": "\n".join(tables),
        "BODY": body,
        "BOUNDED": "\n".join(bounded),
        "STOP_TEXT": f"{{{', '.join(stop)}}}",
        "STOP": ", ".join(stop),
        "NAME": name,
        "CAPITAL": capital,
    }
    files = {f"{name}.h": HEADER, f"{name}.c": SOURCE, "main.c": DRIVER, "Makefile": MAKEFILE}
    return {file: _filled(text, marks) for file, text in files.items()}


def _filled(text: str, marks: Mapping[str, str]) -> str:
    """Return a template with its marks replaced; what is put in is not looked at again."""
    parts: list[str] = []
    while "__" in text:
        before, _, rest = text.partition("__")
        mark, _, after = rest.partition("__")
        if mark in marks:
            parts += [before, marks[mark]]
            text = after
        else:
            parts.append(before + "__")
            text = rest
    return "".join([*parts, text])
