"""Source code as a parameter: from a function to its text and back.

    written(function) -> text           what stands below a decorator, dedented
    Home.of(function).build(text)       compiles a text where the function stands: its globals and its closure
    Code.current() -> Target            the parameter's present value, compiled once

Text comes from ``linecache``, so code that was executed from a string is found if its lines were put there
under the file name it was compiled with. Nothing is read again when a function is called.
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

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

# The bits of co_flags that a ``from __future__ import`` sets. A new text is compiled with those of the module
# it came from.
_FUTURE_FLAGS = 0x1FE0000


@dataclass(frozen=True, slots=True)
class _Decorator:
    """Where a decorator of the function ``name`` stands (1-based lines).

    first, last: the decorator. rest: the next decorator or the ``def``. end: the last line of the function.
    """

    name: str
    first: int
    last: int
    rest: int
    end: int


def written(function: Callable[..., Any], filename: str = "", line: int = 0) -> tuple[str, int]:
    """Return the text of a function, dedented, and its first line in the file.

    Args:
        function: any function written in Python.
        filename: file of a decorator below which the text begins, "" for the whole text.
        line: a line of that decorator.

    Raises:
        OSError: the source is not known.
        TypeError: the function is not written in Python.
    """
    whole = "".join(linecache.getlines(filename)) if filename else ""
    name = getattr(function, "__name__", "")
    candidates = [item for item in _decorators(whole) if item.first <= line <= item.last]
    if candidates:
        decorator = next((item for item in candidates if item.name == name), candidates[-1])
        return _cut(whole, decorator.rest, decorator.end), decorator.rest
    inner = inspect.unwrap(function)
    lines, first = inspect.getsourcelines(inner)
    whole = "".join(linecache.getlines(inspect.getsourcefile(inner) or ""))
    return (_cut(whole, first, first + len(lines) - 1) if whole else "".join(lines).strip("\n")), first


def header(text: str) -> str:
    """Return the ``def`` line of the first function in ``text`` and its docstring."""
    definition = next((item for item in ast.parse(text).body if isinstance(item, _DEFINITIONS)), None)
    if definition is None:
        raise SyntaxError("no function is defined")
    first = definition.body[0]
    documented = ast.get_docstring(definition) is not None
    last = (first.end_lineno if documented else max(definition.lineno, first.lineno - 1)) or definition.lineno
    return "\n".join(text.split("\n")[definition.lineno - 1 : last]).strip()


# Of whole files, and so cached: a module with many bundles is parsed once. Eight files, as few are decorated
# in turns.
@lru_cache(maxsize=8)
def _decorators(text: str) -> tuple[_Decorator, ...]:
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a notebook cell with magics, or a file that changed since it was imported
        return ()
    definitions = (item for item in ast.walk(tree) if isinstance(item, _DEFINITIONS))
    return tuple(decorator for item in definitions for decorator in _decorators_of(item))


def _decorators_of(definition: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[_Decorator]:
    expressions = definition.decorator_list
    starts = [expression.lineno for expression in expressions] + [definition.lineno]
    for index, expression in enumerate(expressions):
        last = expression.end_lineno or expression.lineno
        end = definition.end_lineno or definition.lineno
        yield _Decorator(definition.name, expression.lineno, last, starts[index + 1], end)


def _cut(text: str, first: int, last: int) -> str:
    """Return lines ``first`` to ``last`` without the first one's indentation."""
    lines = text.split("\n")[first - 1 : last]
    indent = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    if not indent:
        return "\n".join(lines)
    kept = {
        line - first for line in _constant_lines(text)
    }  # text constants: their spaces are part of the value
    cut = [line if index in kept else line.removeprefix(indent) for index, line in enumerate(lines)]
    return "\n".join(cut)


@lru_cache(maxsize=8)
def _constant_lines(text: str) -> frozenset[int]:
    """Return the lines that begin within a text constant that is no docstring."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return frozenset()
    docstrings = {id(item.value) for item in ast.walk(tree) if isinstance(item, ast.Expr)}
    strings = (item for item in ast.walk(tree) if isinstance(item, (ast.Constant, ast.JoinedStr)))
    inside = (item for item in strings if id(item) not in docstrings)
    return frozenset(line for item in inside for line in range(item.lineno + 1, (item.end_lineno or 0) + 1))


@dataclass(slots=True)
class Home:
    """The scope that a function's text is compiled in: what names mean there.

    name: of the function. namespace: the globals of its module, live.
    variables: those of the function that the decorator stands in, as they were when it ran.
    cells: what the function itself closes over, live. owner: its class, "" if it is not a method.
    flags: the future imports of its module.
    """

    name: str
    namespace: dict[str, Any]
    variables: Mapping[str, Any] = field(default_factory=dict)
    cells: Mapping[str, CellType] = field(default_factory=dict)
    owner: str = ""
    flags: int = 0

    @classmethod
    def of(cls, function: Callable[..., Any], variables: Mapping[str, Any]) -> Home:
        """Return the scope of a function.

        Args:
            function: written in Python; wrappers that keep ``__wrapped__`` are looked through.
            variables: local variables around the decorator.

        Raises:
            TypeError: the function is not written in Python.
        """
        inner = inspect.unwrap(function)
        if not isinstance(inner, FunctionType):
            raise TypeError(f"a trainable function must be written in Python with def, got {function!r}")
        cells = dict(zip(inner.__code__.co_freevars, inner.__closure__ or (), strict=True))
        owner = inner.__qualname__.split(".")[-2:-1]
        flags = inner.__code__.co_flags & _FUTURE_FLAGS
        return cls(inner.__name__, inner.__globals__, variables, cells, "".join(owner), flags)

    def build(self, text: str, filename: str) -> Callable[..., Any]:
        """Return the function of this name that ``text`` defines.

        The text runs as the body of a factory function. So its helpers and imports are private to it, while
        the names
        of the module stay live: what ``exec`` in a copied namespace would not give.

        Args:
            text: Python source of one or more functions.
            filename: what tracebacks call it.

        Raises:
            SyntaxError: ``text`` is not Python or does not define the function.
            Exception: whatever the text itself raises.
        """
        tree = ast.parse(text, filename)
        target = self._target(tree)
        _check_top_level(tree, filename)
        shared = {name for item in ast.walk(tree) if isinstance(item, ast.Global) for name in item.names}
        bound = _bound(tree) | shared
        used = {item.id for item in ast.walk(tree) if isinstance(item, ast.Name)}
        if "super" in used:
            used.add("__class__")  # super() without arguments reads the cell of this name
        # Parameters of the factory: names around the function that the text uses and does not bind itself.
        outer = sorted(name for name in {*self.cells, *self.variables} if name in used and name not in bound)
        whole = self._factory(tree, target, outer, shared - {target})
        code = compile(whole, filename, "exec", self.flags, dont_inherit=True)
        definitions: dict[str, Any] = {}
        exec(
            code, self.namespace, definitions
        )  # the module's namespace itself; what is defined goes elsewhere
        if "__factory__" in definitions:
            factory = definitions["__factory__"]
        else:
            factory = definitions[self.owner].__dict__["__factory__"]
        return self._with_cells(factory(*[self._value(name) for name in outer]), outer)

    def _target(self, tree: ast.Module) -> str:
        """Return the name of the function to take: this one, or the only one there is."""
        defined = [item.name for item in tree.body if isinstance(item, _DEFINITIONS)]
        if self.name in defined or len(defined) == 1:
            return self.name if self.name in defined else defined[0]
        raise SyntaxError(
            f"the code must define {self.name!r}, it defines {', '.join(defined) or 'no function'}"
        )

    def _factory(self, tree: ast.Module, target: str, outer: list[str], shared: set[str]) -> ast.Module:
        """Return a module with a function ``__factory__`` around ``tree``.

        It returns ``target``, and ``outer`` are its parameters.
        """
        futures: list[ast.stmt] = []  # must stay at the head of the module
        body: list[ast.stmt] = []
        for item in tree.body:
            is_future = isinstance(item, ast.ImportFrom) and item.module == "__future__"
            (futures if is_future else body).append(item)
        if shared:
            # ``global x`` in a function of the text meant the x of the text's top level; that one is global
            # too then
            body.insert(0, ast.Global(sorted(shared)))
        body.append(ast.Return(ast.Name(target, ast.Load())))
        frame = ast.parse(f"def __factory__({', '.join(outer)}): pass").body[0]
        assert isinstance(frame, ast.FunctionDef)
        frame.body = body
        inner: ast.stmt = frame
        if self.owner.isidentifier() and _has_private(tree):
            # within a class of the method's own class name, so that the compiler mangles ``__name`` as it did
            # there
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
        """Return ``function`` with the original cells of its closure.

        So it sees later changes. The factory's arguments made new cells for ``outer``; those of a function
        cannot be exchanged, so the function is made again from its code.
        """
        if not isinstance(function, FunctionType) or not self.cells or not function.__closure__:
            return function  # type: ignore[no-any-return]
        names = function.__code__.co_freevars
        cells = tuple(
            self.cells.get(name, cell) if name in outer else cell
            for name, cell in zip(names, function.__closure__, strict=True)
        )
        rebuilt = FunctionType(
            function.__code__, function.__globals__, function.__name__, function.__defaults__, cells
        )
        rebuilt.__kwdefaults__ = function.__kwdefaults__
        rebuilt.__dict__.update(function.__dict__)
        return rebuilt


def _check_top_level(tree: ast.Module, filename: str) -> None:
    """Raise SyntaxError for what may stand in a function only.

    The text becomes the body of a function, where the compiler would accept it.
    """
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        item = waiting.pop()
        if isinstance(item, (ast.Return, ast.Yield, ast.YieldFrom, ast.Await)):
            name = type(item).__name__.lower()
            raise SyntaxError(
                f"'{name}' outside function", (filename, item.lineno, item.col_offset + 1, None)
            )
        if not isinstance(item, (*_DEFINITIONS, ast.ClassDef, ast.Lambda)):
            waiting.extend(ast.iter_child_nodes(item))


def _bound(tree: ast.Module) -> set[str]:
    """Return the names that the top level of ``tree`` binds."""
    bound: set[str] = set()
    for item in tree.body:
        if isinstance(item, (*_DEFINITIONS, ast.ClassDef)):
            bound.add(item.name)
        elif isinstance(item, (ast.Import, ast.ImportFrom)):
            bound.update((alias.asname or alias.name).partition(".")[0] for alias in item.names)
        else:
            stored = (name for name in ast.walk(item) if isinstance(name, ast.Name))
            bound.update(name.id for name in stored if isinstance(name.ctx, ast.Store))
    return bound


def _has_private(tree: ast.Module) -> bool:
    """Return whether names like ``__name`` occur, which Python mangles within a class."""
    names = (getattr(item, "attr", getattr(item, "id", "")) for item in ast.walk(tree))
    return any(isinstance(name, str) and name.startswith("__") and not name.endswith("__") for name in names)


class Target:
    """A function as a bundle calls it, with all that can be known before a call.

    keys: the names of the inputs of a call with all arguments by position.
    text: the source that it was compiled from, None if it is not trainable. sources: that text by its file
    name.
    """

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
    """A source parameter and the function it compiles to.

    target: of the value that was compiled last, None before the first call.
    """

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
        """Return the source parameter of a function.

        Args:
            function: as it was decorated.
            place: (file name, line) of the decorator below which the source begins.
            variables: local variables around the decorator.
            op: the operation of the bundle, for errors.

        Raises:
            TypeError: the source is not known.
        """
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
        """Return the function of the parameter's present value, compiled once per value.

        Raises:
            ExecutionError: the value does not compile. It is an ordinary failure of the traced program: an
            optimizer
                wrote the text, and the error's node leads feedback back to it.
        """
        text = self.parameter._data
        target = self.target
        if target is not None and target.text is text:  # the same object, see Bundle.__call__
            return target
        try:
            if not isinstance(text, str):
                raise TypeError(f"code must be text, got {text!r}")
            function = self.home.build(text, self.filename)
        except Exception as error:  # a text may raise anything, at its top level
            sources = {self.filename: str(text)}
            raise failure(error, self.op, ("__code",), (self.parameter,), sources) from original(error)
        self.target = target = Target(function, text, self.filename)
        return target

    def copy(self) -> Code:
        """Return a copy whose parameter has the same value and takes feedback apart."""
        parameter = self.parameter.detach()
        assert isinstance(parameter, ParameterNode)
        return Code(parameter, self.home, self.op)
