"""The Python back end: one file that needs the standard library alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trace_robot.deploy.ir import Branch, Comment, Expression, Fail, Let, Statement, StraightCode
from trace_robot.deploy.printer import Printer, comment, identifier

CALLS = {"floor": "float(floor({}))", "ceil": "float(ceil({}))", "trunc": "float(trunc({}))"} | {
    "rint": "float(round({}))", "floordiv": "{} // {}", "mod": "{} % {}", "float32": "float32({})",
}  # fmt: skip
TAKEN = [
    "FIELDS",
    "UNUSED",
    "LOW",
    "HIGH",
    "WHOLE",
    "RATE",
    "TASK",
    "CONTRACT",
    "ControllerFault",
    "Controller",
    "serve",
    "answer",
    "numbers_of",
    "bounded",
    "struct",
    "float32",
    "number",
    "name",
    "size",
    "field",
    "value",
    "step",
    "fault",
]


class PythonPrinter(Printer):
    """Prints straight-line code as the body of a method."""

    def literal(self, value: Any, kind: str) -> str:
        if kind != "f":
            return repr(value)
        if math.isfinite(value):
            return repr(float(value))
        self.functions.add("inf")
        return "inf" if value > 0 else "-inf" if value < 0 else "(inf - inf)"

    def slot(self, name: str) -> str:
        return f"self.{self.slots[name]}"

    def input(self, field: str, index: int) -> str:
        return self.inputs[field, index]

    def operation(self, value: Expression) -> tuple[str, bool]:
        operands = [self.text(argument) for argument in value.args]
        inner = [self.inner(argument) for argument in value.args]
        if value.op == "call":
            name = str(value.value)
            form = CALLS.get(name, name + "({})")
            self.functions.add(name)
            if name in ("floordiv", "mod"):
                return form.format(*inner), False
            return form.format(", ".join(operands)), True
        if value.op in ("and", "or"):
            return f"{inner[0]} {value.op} {inner[1]}", False
        if value.op == "not":
            return f"not {inner[0]}", False
        if value.op in ("floordiv", "mod"):
            return f"{inner[0]} {'//' if value.op == 'floordiv' else '%'} {inner[1]}", False
        if value.op == "select":
            return f"{inner[1]} if {inner[0]} else {inner[2]}", False
        return f"{value.op}({', '.join(operands)})", True  # min, max, abs, int and float

    def statements(self, block: Sequence[Statement], depth: int) -> Iterator[str]:
        """Yield the lines of a block.

        Args:
            block: statements.
            depth: of indentation.
        """
        space = self.indent * depth
        count = 0
        for statement in block:
            if self.is_inline(statement):
                continue
            if isinstance(statement, Comment):
                yield f"{space}# {comment(statement.text)}"
                continue
            count += 1
            if isinstance(statement, Let):
                yield f"{space}{self.name(statement.target)} = {self.text(statement.value)}"
            elif isinstance(statement, Fail):
                reason = comment(f"line {statement.line}: {statement.reason}")
                yield f"{space}raise ControllerFault({json.dumps(reason)})"
            else:
                yield from self._branch(statement, depth)
        if not count:
            yield f"{space}pass"

    def _branch(self, branch: Branch, depth: int) -> Iterator[str]:
        space = self.indent * depth
        cases = branch.cases
        if branch.tag.kind == "b":
            cases = sorted(cases, key=lambda case: not self._speaks(case[1]))
            for i, (keys, block) in enumerate(cases):
                if i and not self._speaks(block):
                    continue
                condition = self.text(branch.tag) if keys == (1,) else f"not {self.inner(branch.tag)}"
                yield f"{space}if {condition}:" if i == 0 else f"{space}else:"
                yield from self.statements(block, depth + 1)
            return
        for i, (keys, block) in enumerate(cases):
            tag = self.inner(branch.tag)
            condition = f"{tag} == {keys[0]}" if len(keys) == 1 else f"{tag} in {keys!r}"
            last = i == len(cases) - 1 and i > 0 and self.is_complete(branch)
            yield f"{space}else:" if last else f"{space}{'elif' if i else 'if'} {condition}:"
            yield from self.statements(block, depth + 1)

    def is_complete(self, branch: Branch) -> bool:
        """Return whether one of the cases is taken for certain."""
        return not all(any(isinstance(one, Fail) for one in block) for _, block in branch.cases)

    def _speaks(self, block: Sequence[Statement]) -> bool:
        return any(not self.is_inline(one) and not isinstance(one, Comment) for one in block)

    def body(self) -> tuple[str, dict[tuple[str, int], str]]:
        """Return the body of ``decide``, and the names of its arguments."""
        self.slots: dict[str, str] = {}
        for slot in self.code.slots:
            self.slots[slot] = identifier(slot, [*self.slots.values(), *SLOTS])
        self.inputs: dict[tuple[str, int], str] = {}
        for field, size in self.code.inputs.items():
            for i in range(size):
                name = identifier(field if size == 1 else f"{field}_{i}", self._taken)
                self._taken.add(name)
                self.inputs[field, i] = name
        self.prepare()
        lines = list(self.statements(self.code.block, 2))
        lines = [line for line in lines if line.strip() != "pass" or line != "        pass"]
        late, early = [], []
        for slot, text, first in self.ordered_stores():
            if first:
                name = identifier(f"next_{slot}", self._taken)
                self._taken.add(name)
                early.append(f"        {name} = {text}")
                text = name
            late.append(f"        self.{self.slots[slot]} = {text}")
        action = ", ".join(self.text(value) for value in self.code.action)
        early.insert(0, f"        action = [{action}]")
        return "\n".join([*lines, *early, *late, "        return action"]), self.inputs


ZEROS = ", ".join(["0.0"] * 4096)  # as many as an observation may have
SLOTS = ("stopped", "act", "decide", "reset")


def write_python(code: StraightCode, about: Mapping[str, Any]) -> str:
    """Return the text of the file.

    Args:
        code: of the controller.
        about: "title", "version", "task", "contract", "rate", "fields" ({name: (size, unit)}), "unused", "low", "high"
            and "whole".
    """
    printer = PythonPrinter(code, [*TAKEN, *about["fields"]])
    body, inputs = printer.body()
    low, high = tuple(map(float, about["low"])), tuple(map(float, about["high"]))
    functions = {"float": "", "abs": ""} | {name: name for name in printer.functions if name in dir(math)}
    names = sorted({name for name in functions.values() if name and name != "rint"} | {"isfinite"})
    imports = f"from math import {', '.join(names)}\n"
    if "float32" in printer.functions:
        imports = f"import struct\n{imports}\nSINGLE = struct.Struct('f')\n\n\ndef float32(number):\n"
        imports = imports.replace("import struct\nfrom", "import struct\nfrom")
        imports += '    """Return the number rounded to single precision."""\n'
        imports += "    return SINGLE.unpack(SINGLE.pack(number))[0]\n\n"
    for name, table in printer.tables.items():
        entries = ", ".join(printer.literal(entry, table.kind) for entry in table.value)
        imports += f"\n{name} = ({entries},)"
    bounded = []
    for i, (lower, upper, whole) in enumerate(zip(low, high, about["whole"], strict=True)):
        text = f"float(round(action[{i}]))" if whole else f"action[{i}]"
        text = f"max({text}, LOW[{i}])" if math.isfinite(lower) else text
        bounded.append(f"min({text}, HIGH[{i}])" if math.isfinite(upper) else text)
    zero = {"f": "0.0", "i": "0", "b": "False"}
    reset = [f"        self.{printer.slots[slot]} = {zero[kind]}" for slot, kind in code.slots.items()]
    marks = {
        "QUICK": _quick(about["fields"]),
        "TITLE": comment(about["title"]).replace('"', "'"),
        **_messages(about["fields"], about["rate"]),
        "VERSION": comment(about["version"]),
        "IMPORTS": imports,
        "TASK": repr(str(about["task"])),
        "CONTRACT": repr(str(about["contract"])),
        "RATE": repr(about["rate"]),
        "MISSED": repr(about.get("missed", 10)),
        "FIELDS": ascii({str(name): tuple(held) for name, held in about["fields"].items()}),
        "UNUSED": ascii(tuple(map(str, about["unused"]))),
        "LOW": _bounds(low),
        "HIGH": _bounds(high),
        "LOG": repr(tuple(printer.slots[slot] for slot in about.get("log", ()) if slot in printer.slots)),
        "WHOLE": repr(tuple(map(bool, about["whole"]))),
        "BOUNDED": ", ".join(bounded),
        "SLOTS": repr(("stopped", *printer.slots.values())),
        "RESET": "\n".join(reset),
        "ARGUMENTS": ", ".join(["self", *inputs.values()]),
        "BODY": body,
    }
    return filled(template("controller.py"), marks)


def _messages(fields: Mapping[str, tuple[int, str]], rate: float | None) -> dict[str, str]:
    """Return the messages of the file's docstring, JSON with escapes of Python."""
    about = {name: {"size": size, "unit": unit} for name, (size, unit) in fields.items()}
    numbers = {
        name: "0.0" if size == 1 else f"[{ZEROS[: 5 * size - 2]}]" for name, (size, _) in fields.items()
    }
    seen = ", ".join(f"{json.dumps(name)}: {text}" for name, text in numbers.items())
    return {
        "HELLO": json.dumps({"hello": {"rate": rate, "fields": about}}),
        "STEP": f'{{"step": 0, "observation": {{{seen}}}}}',
    }


def _quick(fields: Mapping[str, tuple[int, str]]) -> str:
    """Return the lines that read an observation of Python's floats."""
    parts, tests = [], [f"len(observation) == {len(fields)}"]
    for name, (size, _) in fields.items():
        parts.append(("*" if size > 1 else "") + f"observation[{str(name)!a}]")
        tests += [f"len({parts[-1][1:]}) == {size}"] if size > 1 else []
    tests += ["set(map(type, numbers)) == {float}", "isfinite(sum(numbers))"] if parts else []
    condition = "\n            and ".join(tests)
    lines = [f"numbers = [{', '.join(parts)}]", "if (", f"    {condition}", "):", "    return numbers"]
    return "\n".join(f"        {line}" for line in lines)


def _bounds(bounds: Sequence[float]) -> str:
    parts = (repr(b) if math.isfinite(b) else f'float("{b}")' for b in bounds)
    return f"({', '.join(parts)},)"


def template(name: str) -> str:
    """Return a file of ``templates``, in which __MARKS__ are to be filled in."""
    return (Path(__file__).with_name("templates") / f"{name}.txt").read_text(encoding="utf-8")


def filled(text: str, marks: Mapping[str, str]) -> str:
    """Return a template with its marks replaced, in one pass.

    Args:
        text: any.
        marks: texts by mark.
    """
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
