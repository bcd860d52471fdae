"""Check and edit suggested code by its syntax tree: nothing is executed here."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Collection, Iterable, Sequence

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Import = ast.Import | ast.ImportFrom
MOST_NAMES = 10  # of functions that a message names
LONGEST_LINE = 200  # characters of a line that a message quotes
LINE_END = re.compile(r"\r\n?|\n")  # those of Python's grammar; str.splitlines knows more


def parse(source: str) -> ast.Module | str:
    """Return the syntax tree, or as text why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of strings such as "\\d", which run
            return ast.parse(source)
    except SyntaxError as error:
        line = (error.text or "").strip()
        line = line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "..."
        where = f" on line {error.lineno}" if error.lineno else ""  # a null byte has no line
        return f"syntax error{where}: {error.msg}" + (f", at {line!r}" if line else "")
    except (RecursionError, MemoryError):
        return "cannot be parsed: it is nested too deeply"
    except ValueError as error:  # null bytes
        return f"cannot be parsed: {error}"


def functions(tree: ast.Module) -> dict[str, Function]:
    """Return the top-level functions by name, the last of each name."""
    return {node.name: node for node in tree.body if isinstance(node, Function)}


def bound_names(tree: ast.Module) -> set[str]:
    """Return the names that the top level of the code defines or assigns."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(t.id for target in targets for t in ast.walk(target) if isinstance(t, ast.Name))
    return names


def first_line(statement: ast.stmt) -> int:
    """Return the line on which a statement begins, that of its first decorator."""
    decorators = statement.decorator_list if isinstance(statement, Definition) else []
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def join_statements(lines: Sequence[str], statements: Iterable[ast.stmt]) -> str:
    """Return the texts of statements with the comments above them, spaced as usual.

    Args:
        lines: of the text that they were parsed from.
        statements: of its top level.
    """
    text, previous = "", None
    for statement in statements:
        top = first_line(statement) - 1
        while top > 0 and lines[top - 1].startswith("#"):
            top -= 1
        if previous is not None:
            apart = isinstance(statement, Definition) or isinstance(previous, Definition)
            text += "\n\n\n" if apart else "\n\n" if not lines[top - 1].strip() else "\n"
        text += "\n".join(lines[top : statement.end_lineno])
        previous = statement
    return text


def bound_by(statement: ast.stmt) -> set[str]:
    """Return the names that a top-level statement binds or mutates.

    ``TABLE["x"] = 1`` and ``TABLE.append(1)`` change that of TABLE.
    """
    if isinstance(statement, Definition):
        return {statement.name}
    if isinstance(statement, Import):
        return {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Delete):
        targets = statement.targets if isinstance(statement, ast.Assign | ast.Delete) else [statement.target]
        return {name for target in targets for name in _roots(target)}
    if isinstance(statement, ast.Expr):
        called = statement.value.func if isinstance(statement.value, ast.Call) else None
        return _roots(called) if isinstance(called, ast.Attribute) else set()
    inner = [node for node in ast.iter_child_nodes(statement) if isinstance(node, ast.stmt)]
    inner += [s for node in getattr(statement, "handlers", []) for s in node.body]
    stored = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and not _loads(node)}
    return stored.union(*map(bound_by, inner))


def _loads(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Load)


def _roots(target: ast.expr) -> set[str]:
    """Return the names at the root of a target: x of ``x[0].y``, and both of ``x, y``."""
    while isinstance(target, ast.Attribute | ast.Subscript | ast.Starred):
        target = target.value
    if isinstance(target, ast.Tuple | ast.List):
        return {name for part in target.elts for name in _roots(part)}
    return {target.id} if isinstance(target, ast.Name) else set()


def shadowing(text: str, start: int, above: str, imports: Iterable[str]) -> list[tuple[int, int]]:
    """Return where definitions stand that would hide those of a new value.

    Args:
        text: of a module.
        start: offset of the function that is replaced.
        above: what goes above it; definitions of the same names behind the function would hide these.
        imports: what goes before the other imports; any definition of the same names would hide these.
    """
    early = {name for line in imports for each in _body(line) for name in bound_by(each)}
    late = {name for each in _body(above) for name in bound_by(each)}
    if not early | late:
        return []
    lines, found = text.split("\n"), []
    for statement in _body(text):
        names = set() if _is_trainable(statement) else bound_by(statement)
        first, last = first_line(statement) - 1, statement.end_lineno or 0
        begin = sum(len(line) + 1 for line in lines[:first])
        hides = names <= (early | late if begin > start else early)
        if hides and names and isinstance(statement, Definition | ast.Assign | ast.AnnAssign):
            found.append((begin, min(len(text), begin + sum(len(line) + 1 for line in lines[first:last]))))
    return found


def text_beside(text: str, offsets: Collection[int]) -> str:
    """Return the top-level statements of a module but for those at some offsets.

    Args:
        text: of the module, its line ends as Python's grammar has them.
        offsets: one in each statement to leave out.
    """
    taken = {text.count("\n", 0, offset) + 1 for offset in offsets}
    lines = text.split("\n")
    body = [s for s in _body(text) if taken.isdisjoint(range(first_line(s), (s.end_lineno or 0) + 1))]
    return join_statements(lines, body)


def _body(source: str) -> list[ast.stmt]:
    """Return the top-level statements, none where the source cannot be parsed."""
    tree = parse(source)
    return [] if isinstance(tree, str) else tree.body


def _is_trainable(statement: ast.stmt) -> bool:
    """Return whether a statement declares a parameter, or something in it does."""
    return any(isinstance(node, ast.keyword) and node.arg == "trainable" for node in ast.walk(statement))


def used_beside(beside: str, values: Iterable[str]) -> list[str]:
    """Return the transitive closure of names that trainable code uses beside it.

    It counts a local variable of the same name as a use. Where a definition
    stands twice the last one holds, and what a value defines itself is not taken from beside it.

    Args:
        beside: top-level statements, as of ``text_beside``.
        values: the sources of trainable functions, with the helpers that their replies brought.

    Returns:
        The texts of the statements in their order, comments above them included; none where only imports are used.
    """
    trees = [tree for tree in map(parse, values if beside else ()) if not isinstance(tree, str)]
    own = {name for tree in trees for each in tree.body for name in bound_by(each)}
    wanted = {name for tree in trees for name in _names(tree)} - own
    bound = [(each, bound_by(each) - own) for each in _body(beside)]
    last = {each.name: each for each, _ in bound if isinstance(each, Definition)}
    rest = [pair for pair in bound if pair[1] and last.get(getattr(pair[0], "name", ""), pair[0]) is pair[0]]
    shown: list[ast.stmt] = []
    while new := [each for each, names in rest if names & wanted]:
        shown += new
        rest = [pair for pair in rest if not pair[1] & wanted]
        wanted |= {name for each in new for name in _names(each)} - own
    if all(isinstance(each, Import) for each in shown):
        return []
    lines = beside.split("\n")
    return [join_statements(lines, [each]) for each in sorted(shown, key=first_line)]


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def signature(function: Function) -> str:
    """Return the parameters as text, without annotations, every default as "=...".

    Two functions with the same text can be called in the same way.
    """
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    optional = len(positional) - len(arguments.defaults)
    parts = [a.arg + ("=..." if i >= optional else "") for i, a in enumerate(positional)]
    if arguments.posonlyargs:
        parts.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg:
        parts.append(f"*{arguments.vararg.arg}")
    elif arguments.kwonlyargs:
        parts.append("*")
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        parts.append(argument.arg + ("=..." if default is not None else ""))
    if arguments.kwarg:
        parts.append(f"**{arguments.kwarg.arg}")
    return ", ".join(parts)


def tidy(source: str, name: str) -> str:
    """Return source dedented, ending in a newline, without bundle decorators.

    A model that knows ``@bundle(trainable=True)`` may write it above a function, which is already bundled.

    Args:
        source: Python source; what cannot be parsed is dedented only.
        name: the function whose decorators are removed.
    """
    source = textwrap.dedent(LINE_END.sub("\n", source.lstrip("\ufeff"))).strip("\n").rstrip() + "\n"
    if "bundle" not in source:  # so that most replies are parsed once less
        return source
    tree = parse(source)
    if isinstance(tree, str) or name not in functions(tree):
        return source
    lines = source.split("\n")
    for decorator in reversed(functions(tree)[name].decorator_list):
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        # By node: to unparse a target of any depth would exhaust the stack.
        if (isinstance(target, ast.Name) and target.id == "bundle") or (
            isinstance(target, ast.Attribute) and target.attr == "bundle"
        ):
            del lines[decorator.lineno - 1 : decorator.end_lineno]
    return "\n".join(lines)


def problems(source: str, name: str, present: str, reserved: Iterable[str] = ()) -> list[str]:
    """Return what keeps suggested source from replacing the present one.

    Args:
        source: the suggestion.
        name: the function that it must define, with the same signature.
        present: the source that it would replace.
        reserved: names of other parameters, which the code must not define.

    Returns:
        The problems as text, each in one line for the model to read.
    """
    tree = parse(source)
    if isinstance(tree, str):
        return [tree]
    defined = functions(tree)
    if name not in defined:
        there = ", ".join(name[:LONGEST_LINE] for name in list(defined)[:MOST_NAMES]) or "no function"
        return [f"must define a function named {name!r}, got {there}; keep its name"]
    if not isinstance(defined[name], ast.FunctionDef):
        return [f"{name!r} must be an ordinary function, got an async one"]
    faults = []
    before = parse(present)
    if not isinstance(before, str) and name in functions(before):
        wanted, suggested = signature(functions(before)[name]), signature(defined[name])
        if wanted != suggested:
            got = suggested if len(suggested) <= LONGEST_LINE else suggested[:LONGEST_LINE] + "..."
            faults.append(f"must keep the signature {name}({wanted}), got {name}({got})")
    for taken in sorted(bound_names(tree) & set(reserved) - {name}):
        faults.append(f"must not define {taken!r}, which is another variable; suggest it separately")
    return faults


QUOTE = re.compile(r"""'{3}|"{3}|['"#]""")
REST = {
    "'": re.compile(r"[^'\\\n]*(?:\\.[^'\\\n]*)*'", re.DOTALL),
    '"': re.compile(r'[^"\\\n]*(?:\\.[^"\\\n]*)*"', re.DOTALL),
}


class StringScanner:
    """Where the strings of Python source are, found without parsing it.

    The source need not be valid: a quote that is not closed, as in a word of prose, begins no string, and the rest of
    its line is left out.

    Args:
        text: holds the source.
        start: where the source begins.
    """

    def __init__(self, text: str, start: int = 0) -> None:
        self.text, self.position = text, start
        self._string_end = start
        # Marks without an end: they are not searched for again, so that scans stay linear.
        self._unclosed: set[str] = set()

    def next_span(self, until: int) -> tuple[int, int] | None:
        """Return the next string that begins before ``until``, None without one."""
        while match := QUOTE.search(self.text, self.position, until):
            end = self._end(match.group(), match.end())
            if end >= 0:
                self.position = end
                return match.start(), end
        self.position = max(self.position, until)  # searched once
        return None

    def is_inside(self, offset: int) -> bool:
        """Return whether an offset is in a string. Offsets must ascend."""
        while self._string_end <= offset:
            span = self.next_span(offset)
            if span is None:
                return False
            self._string_end = span[1]
        return True

    def _end(self, mark: str, position: int) -> int:
        """Return where the string that ``mark`` begins ends, -1 where it begins none."""
        if mark in REST and (closed := REST[mark].match(self.text, position)):
            return closed.end()
        if len(mark) == 3 and mark not in self._unclosed:
            end = _triple_end(self.text, mark, position)
            if end >= 0:
                return end
            self._unclosed.add(mark)
        self.position = position if len(mark) == 3 else _line_end(self.text, position)
        return -1


def string_spans(text: str) -> list[tuple[int, int]]:
    """Return where each string of Python source begins and ends."""
    scanner = StringScanner(text)
    return list(iter(lambda: scanner.next_span(len(text)), None))


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _triple_end(text: str, mark: str, position: int) -> int:
    """Return the offset behind the next unescaped ``mark``, -1 without one."""
    while (at := text.find(mark, position)) >= 0:
        slashes = at
        while slashes > position and text[slashes - 1] == "\\":
            slashes -= 1
        if (at - slashes) % 2 == 0:
            return at + 3
        position = at + 1
    return -1
