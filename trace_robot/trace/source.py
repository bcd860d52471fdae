"""The text of a function, and a function made from text.

Text comes from ``linecache``, so code that was executed from a string is found if its lines were put there under
the file name it was compiled with; nothing is read again when a function is called.
"""

from __future__ import annotations

import ast
import inspect
import linecache
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import CellType, FunctionType
from typing import Any

from trace_robot.trace.call import Binder
from trace_robot.trace.errors import failure, original
from trace_robot.trace.node_types import ParameterNode
from trace_robot.trace.operation import Operation

_FLAGS = 0x1FE0000  # the bits of co_flags that a ``from __future__ import`` sets


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a decorator of a function stands (1-based lines) and what follows it."""

    name: str
    first: int
    last: int
    rest: int
    end: int


def written(function: Callable[..., Any], filename: str = "", line: int = 0) -> tuple[str, int]:
    """Return the dedented text of ``function`` and its first line in the file; raises OSError if unknown.

    If a decorator of it stands at ``line`` of ``filename``, the text begins below that decorator.
    """
    whole = "".join(linecache.getlines(filename)) if filename else ""
    name = getattr(function, "__name__", "")
    found = [place for place in _places(whole) if place.first <= line <= place.last]
    if found:
        place = next((each for each in found if each.name == name), found[-1])
        return _cut(whole, place.rest, place.end), place.rest
    inner = inspect.unwrap(function)
    lines, first = inspect.getsourcelines(inner)
    whole = "".join(linecache.getlines(inspect.getsourcefile(inner) or ""))
    return (_cut(whole, first, first + len(lines) - 1) if whole else "".join(lines).strip("\n")), first


def header(text: str) -> str:
    """Return the ``def`` line of the first function in ``text`` and its docstring."""
    found = next((each for each in ast.parse(text).body if isinstance(each, _DEFINITIONS)), None)
    if found is None:
        raise SyntaxError("no function is defined")
    first = found.body[0]
    documented = ast.get_docstring(found) is not None
    last = (first.end_lineno if documented else max(found.lineno, first.lineno - 1)) or found.lineno
    return "\n".join(text.split("\n")[found.lineno - 1 : last]).strip()


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@lru_cache(maxsize=8)
def _places(text: str) -> tuple[_Place, ...]:
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a notebook cell with magics, or a file that changed since it was imported
        return ()
    return tuple(
        place for each in ast.walk(tree) if isinstance(each, _DEFINITIONS) for place in _decorators(each)
    )


def _decorators(definition: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[_Place]:
    decorators = definition.decorator_list
    starts = [each.lineno for each in decorators] + [definition.lineno]
    for index, each in enumerate(decorators):
        last = each.end_lineno or each.lineno
        end = definition.end_lineno or definition.lineno
        yield _Place(definition.name, each.lineno, last, starts[index + 1], end)


def _cut(text: str, first: int, last: int) -> str:
    """Return lines ``first``..``last`` without the first one's indentation, text constants left alone."""
    lines = text.split("\n")[first - 1 : last]
    indent = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    if not indent:
        return "\n".join(lines)
    kept = {line - first for line in _constant_lines(text)}
    cut = [line if index in kept else line.removeprefix(indent) for index, line in enumerate(lines)]
    return "\n".join(cut)


@lru_cache(maxsize=8)
def _constant_lines(text: str) -> frozenset[int]:
    """Return the lines that begin within a text constant that is no docstring."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return frozenset()
    docstrings = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
    strings = (each for each in ast.walk(tree) if isinstance(each, (ast.Constant, ast.JoinedStr)))
    inside = (each for each in strings if id(each) not in docstrings)
    return frozenset(line for each in inside for line in range(each.lineno + 1, (each.end_lineno or 0) + 1))


@dataclass(slots=True)
class Home:
    """Where the text of a function lives: what names mean there.

    variables: those of the function that the decorator stands in; cells: what the function itself closes over.
    """

    name: str
    namespace: dict[str, Any]
    variables: Mapping[str, Any] = field(default_factory=dict)
    cells: Mapping[str, CellType] = field(default_factory=dict)
    owner: str = ""
    flags: int = 0

    @classmethod
    def of(cls, function: Callable[..., Any], variables: Mapping[str, Any]) -> Home:
        inner = inspect.unwrap(function)
        if not isinstance(inner, FunctionType):
            raise TypeError(f"a trainable function must be written in Python with def, got {function!r}")
        cells = dict(zip(inner.__code__.co_freevars, inner.__closure__ or (), strict=True))
        owner = inner.__qualname__.split(".")[-2:-1]
        flags = inner.__code__.co_flags & _FLAGS
        return cls(inner.__name__, inner.__globals__, variables, cells, "".join(owner), flags)

    def build(self, text: str, filename: str) -> Callable[..., Any]:
        """Return the function of this name that ``text`` defines; whatever ``text`` raises passes through.

        The text runs as the body of a function, so its helpers and imports are its own and the names of the
        module stay live.
        """
        tree = ast.parse(text, filename)
        target = self._target(tree)
        _check_top_level(tree, filename)
        shared = {name for each in ast.walk(tree) if isinstance(each, ast.Global) for name in each.names}
        bound = _bound(tree) | shared
        used = {each.id for each in ast.walk(tree) if isinstance(each, ast.Name)}
        if "super" in used:
            used.add("__class__")
        outer = sorted(name for name in {*self.cells, *self.variables} if name in used and name not in bound)
        whole = self._factory(tree, target, outer, shared - {target})
        code = compile(whole, filename, "exec", self.flags, dont_inherit=True)
        made: dict[str, Any] = {}
        exec(code, self.namespace, made)
        factory = made["__factory__"] if "__factory__" in made else made[self.owner].__dict__["__factory__"]
        return self._with_cells(factory(*[self._value(name) for name in outer]), outer)

    def _target(self, tree: ast.Module) -> str:
        defined = [each.name for each in tree.body if isinstance(each, _DEFINITIONS)]
        if self.name in defined or len(defined) == 1:
            return self.name if self.name in defined else defined[0]
        raise SyntaxError(
            f"the code must define {self.name!r}, it defines {', '.join(defined) or 'no function'}"
        )

    def _factory(self, tree: ast.Module, target: str, outer: list[str], shared: set[str]) -> ast.Module:
        futures: list[ast.stmt] = []
        body: list[ast.stmt] = []
        for each in tree.body:
            is_future = isinstance(each, ast.ImportFrom) and each.module == "__future__"
            (futures if is_future else body).append(each)
        if shared:
            body.insert(0, ast.Global(sorted(shared)))
        body.append(ast.Return(ast.Name(target, ast.Load())))
        frame = ast.parse(f"def __factory__({', '.join(outer)}): pass").body[0]
        assert isinstance(frame, ast.FunctionDef)
        frame.body = body
        inner: ast.stmt = frame
        if self.owner.isidentifier() and _has_private(tree):
            inner = ast.parse(f"class {self.owner}: pass").body[0]
            assert isinstance(inner, ast.ClassDef)
            inner.body = [frame]
        return ast.fix_missing_locations(ast.Module([*futures, inner], []))

    def _value(self, name: str) -> Any:
        cell = self.cells.get(name)
        if cell is None:
            return self.variables[name]
        try:
            return cell.cell_contents
        except ValueError:  # not assigned yet; the cell itself takes its place below
            return self.variables.get(name)

    def _with_cells(self, function: Any, outer: list[str]) -> Callable[..., Any]:
        """Return ``function`` with the cells that ``outer`` names have around it, so that it sees later changes."""
        if not isinstance(function, FunctionType) or not self.cells or not function.__closure__:
            return function  # type: ignore[no-any-return]
        names = function.__code__.co_freevars
        cells = tuple(
            self.cells.get(name, cell) if name in outer else cell
            for name, cell in zip(names, function.__closure__, strict=True)
        )
        made = FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, cells
        )
        made.__kwdefaults__ = function.__kwdefaults__
        made.__dict__.update(function.__dict__)
        return made


def _check_top_level(tree: ast.Module, filename: str) -> None:
    """Raise SyntaxError for what may stand in a function only, since the text is to be the body of one."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        each = waiting.pop()
        if isinstance(each, (ast.Return, ast.Yield, ast.YieldFrom, ast.Await)):
            name = type(each).__name__.lower()
            raise SyntaxError(
                f"'{name}' outside function", (filename, each.lineno, each.col_offset + 1, None)
            )
        if not isinstance(each, (*_DEFINITIONS, ast.ClassDef, ast.Lambda)):
            waiting.extend(ast.iter_child_nodes(each))


def _bound(tree: ast.Module) -> set[str]:
    """Return the names that the top level of ``tree`` binds."""
    bound: set[str] = set()
    for each in tree.body:
        if isinstance(each, (*_DEFINITIONS, ast.ClassDef)):
            bound.add(each.name)
        elif isinstance(each, (ast.Import, ast.ImportFrom)):
            bound.update((alias.asname or alias.name).partition(".")[0] for alias in each.names)
        else:
            stored = (name for name in ast.walk(each) if isinstance(name, ast.Name))
            bound.update(name.id for name in stored if isinstance(name.ctx, ast.Store))
    return bound


def _has_private(tree: ast.Module) -> bool:
    names = (getattr(each, "attr", getattr(each, "id", "")) for each in ast.walk(tree))
    return any(isinstance(name, str) and name.startswith("__") and not name.endswith("__") for name in names)


class Target:
    """A function as a bundle calls it. ``keys``: the names of the inputs of a call with all arguments by position."""

    __slots__ = ("binder", "function", "keys", "sources", "text")

    def __init__(self, function: Callable[..., Any], text: Any = None, filename: str = "") -> None:
        self.function = function
        self.binder = Binder(function)
        self.text = text
        self.keys: tuple[str, ...] = self.binder.names or ()
        self.sources: Mapping[str, str] = {}
        if text is not None:
            self.keys = (*self.keys, "__code")
            self.sources = {filename: text}


class Code:
    """A source parameter; ``target`` is what it compiled to last, None before the first call."""

    __slots__ = ("filename", "home", "op", "parameter", "target")

    def __init__(self, parameter: ParameterNode, home: Home, op: Operation) -> None:
        self.parameter = parameter
        self.home = home
        self.op = op
        self.filename = f"<code of {home.name}>"
        self.target: Target | None = None

    @classmethod
    def of(
        cls, function: Callable[..., Any], place: tuple[str, int], variables: Mapping[str, Any], op: Operation
    ) -> Code:
        """Return the code of ``function``; raises TypeError if its source is not known."""
        try:
            text, _ = written(function, *place)
            constraint = f"The code must define:\n{header(text)}"
        except (OSError, TypeError, SyntaxError) as error:
            raise TypeError(
                f"the source of {function!r} is not known; write it with def in a file"
            ) from error
        name = getattr(function, "__name__", "")
        parameter = ParameterNode(text, name="__code", constraint=constraint, function=name)
        return cls(parameter, Home.of(function, variables), op)

    def current(self) -> Target:
        """Return what the parameter's value compiles to; raises ExecutionError."""
        text = self.parameter._data
        target = self.target
        if target is not None and target.text is text:
            return target
        try:
            if not isinstance(text, str):
                raise TypeError(f"code must be text, got {text!r}")
            function = self.home.build(text, self.filename)
        except Exception as error:
            sources = {self.filename: str(text)}
            raise failure(error, self.op, ("__code",), (self.parameter,), sources) from original(error)
        self.target = target = Target(function, text, self.filename)
        return target

    def copy(self) -> Code:
        """Return code of its own with the same value."""
        parameter = self.parameter.detach()
        assert isinstance(parameter, ParameterNode)
        return Code(parameter, self.home, self.op)
