"""A policy: a controller as text, and the trainable places in it.

The text is parsed, never executed: a policy file may have been written by a language model. Two kinds of
place are trainable: ``name = node(<literal>, trainable=True, ...)`` and a function under
``@bundle(trainable=True)``. A candidate is a value for each of them; ``render`` writes the text it stands for.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.errors import PolicyError
from trace_robot.policy.edit import rewrite
from trace_robot.policy.parameters import ParameterSite, find_places

if TYPE_CHECKING:
    from trace_robot.trace import ParameterNode

__all__ = ["ParameterSite", "Policy", "load_policy"]


@dataclass(frozen=True, slots=True)
class Policy:
    """A controller's text and its trainable places.

    Attributes:
        text: Python source.
        name: for messages.
        places: in the order of the text.
        control: value of the module constant ``CONTROL`` ("pose" or "raw"), None without one.
    """

    text: str
    name: str
    places: tuple[ParameterSite, ...]
    control: str | None = None

    @classmethod
    def from_text(cls, text: str, name: str = "policy") -> Policy:
        """Parse a controller without executing it.

        Args:
            text: Python source.
            name: for messages.

        Raises:
            PolicyError: the text is not valid Python, or a trainable place is wrong; the message names the line.
        """
        try:
            tree = ast.parse(text)
        # ValueError: null bytes. RecursionError, MemoryError: nesting too deep for the parser.
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            raise PolicyError(f"policy {name}{line} is not valid Python: {reason}") from error
        return cls(text, name, find_places(tree, text, name), _constant(tree, "CONTROL"))

    @property
    def values(self) -> dict[str, Any]:
        """Current values by place: source text for code, plain data for constants."""
        return {place.name: place.value for place in self.places}

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the text with ``values`` in their places, the others unchanged.

        Raises:
            PolicyError: a name is not that of a trainable place.
        """
        known = {place.name for place in self.places}
        unknown = sorted(set(values) - known)
        if unknown:
            raise PolicyError(
                f"policy {self.name} has no trainable {unknown[0]!r}; it has: {', '.join(sorted(known)) or 'none'}"
            )
        changed = {place: values[place.name] for place in self.places if place.name in values}
        return rewrite(self.text, changed)

    def with_values(self, values: Mapping[str, Any]) -> Policy:
        """Return the policy that ``render`` writes, parsed again for its new offsets."""
        text = self.render(values)
        return Policy.from_text(text, self.name)

    def with_control(self, control: str) -> Policy:
        """Return the policy with ``CONTROL`` in its text, so that it runs alike anywhere."""
        if self.control == control:
            return self
        line = f"CONTROL = {control!r}".replace("'", '"')
        tree = ast.parse(self.text)
        lines = self.text.split("\n")
        old = next((s for s in tree.body if _assigns(s, "CONTROL")), None)
        if old is not None:
            lines[old.lineno - 1 : old.end_lineno] = [line]
        else:
            heads = [s.end_lineno or 0 for s in tree.body if isinstance(s, ast.Import | ast.ImportFrom)]
            lines[max(heads, default=0) : max(heads, default=0)] = ["", line]
        return Policy.from_text("\n".join(lines), self.name)

    def with_action_size(self, size: int) -> Policy:
        """Return the policy with an action of ``size`` zeros, if all it does is rest.

        The starting controller that keeps still thereby fits every environment; any other is returned unchanged.
        """
        act = next((place for place in self.places if place.name == "act" and place.kind == "code"), None)
        # Matched as text: docstring and comments before the return stay.
        match = None if act is None else re.fullmatch(r"(?s)(.*\n\s+return )\[(?:0\.0(?:, )?)+\]", act.value)
        if act is None or match is None or len(ast.parse(act.value).body[0].body) > 2:
            return self
        value = f"{match[1]}[{', '.join(['0.0'] * size)}]"
        return self if value == act.value else self.with_values({"act": value})

    def with_names(self) -> Policy:
        """Return the policy with ``name=`` in every trainable node, for trace graphs."""
        text = self.text
        # From the end, so that the offsets before stay true.
        for place in sorted(self.places, key=lambda place: place.stop, reverse=True):
            if place.unnamed is not None:
                text = f'{text[: place.unnamed]}name="{place.name}", {text[place.unnamed :]}'
        return self if text == self.text else Policy.from_text(text, self.name)

    def require_trainable(self) -> Policy:
        """Return self, or raise PolicyError where there is nothing to optimize."""
        if not self.places:
            raise PolicyError(
                f"policy {self.name} has no trainable parameter: write @bundle(trainable=True) above a function"
                " or name = node(value, trainable=True)"
            )
        return self

    def require_act(self) -> Policy:
        """Return self, or raise PolicyError where the text can never define ``act``."""
        if not _may_bind(ast.parse(self.text), "act"):
            raise PolicyError(
                f"policy {self.name} defines no act: write def act(observation), or def act(observation, memory)"
            )
        return self

    def parameters(self) -> list[ParameterNode]:
        """Return a ParameterNode for each trainable place, named as the place."""
        from trace_robot.trace import ParameterNode

        return [
            ParameterNode(
                place.value,
                name=place.name,
                description=place.description or None,
                constraint=place.constraint,
                function=place.name if place.kind == "code" else "",
            )
            for place in self.places
        ]


def load_policy(name_or_path: str | Path) -> Policy:
    """Read a policy without executing it.

    Args:
        name_or_path: a name, such as "zoo/reach_v3", of a workspace's policies/NAME.py, or a path.

    Raises:
        PolicyError: the file is missing, not UTF-8 or not a valid policy.
    """
    path = _find(name_or_path)
    try:
        # -sig: some editors write a byte order mark, which Python accepts in a file.
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PolicyError(
            f"policy {str(name_or_path)!r} cannot be read: {error.strerror or error}; give a readable .py file"
        ) from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"policy {str(name_or_path)!r} is not UTF-8 text; give a Python file") from error
    return Policy.from_text(text, str(name_or_path))


def _is_name(name_or_path: str | Path) -> bool:
    """Return whether this is a name, such as "zoo/reach_v3", and not a path."""
    if not isinstance(name_or_path, str) or name_or_path.endswith(".py"):
        return False
    return "/" not in name_or_path or not (name_or_path[0] in "/.~" or Path(name_or_path).is_file())


def _find(name_or_path: str | Path) -> Path:
    if not _is_name(name_or_path):
        return Path(name_or_path)
    from trace_robot.workspace import find

    return find("policies", str(name_or_path))


def _constant(tree: ast.Module, name: str) -> str | None:
    for statement in tree.body:
        if (
            _assigns(statement, name)
            and isinstance(statement, ast.Assign)
            and isinstance(statement.value, ast.Constant)
            and isinstance(statement.value.value, str)
        ):
            return statement.value.value
    return None


def _assigns(statement: ast.stmt, name: str) -> bool:
    return isinstance(statement, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == name for target in statement.targets
    )


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def _may_bind(tree: ast.Module, name: str) -> bool:
    """Return whether loading the module may bind ``name``.

    In doubt, such as after ``import *`` or with ``exec``, True: the sandbox finds out by loading it.
    """
    return any(_binds(node, name) for node in _outside_functions(tree))


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of the module scope, and ``global`` statements of functions."""
    for child in ast.iter_child_nodes(node):
        yield child
        if isinstance(child, _SCOPES):
            yield from (inside for inside in ast.walk(child) if isinstance(inside, ast.Global))
        else:
            yield from _outside_functions(child)


def _binds(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name == name
    if isinstance(node, ast.Name):
        return (node.id == name and isinstance(node.ctx, ast.Store)) or node.id in ("globals", "exec", "vars")
    if isinstance(node, ast.alias):
        return (node.asname or node.name) in (name, "*")
    if isinstance(node, ast.Global):
        return name in node.names
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        return node.name == name
    return False
