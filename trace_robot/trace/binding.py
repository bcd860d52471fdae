"""From the arguments of a call to named inputs and back, without ``inspect`` at call time."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Bound = tuple[tuple[str, ...], list[Any], int, tuple[str, ...]]


class Binder:
    """Binds calls to a signature.

    ``names``: the parameters of a call with all arguments by position, None where the signature has
    keyword-only or variable ones. ``fills``: whether defaults become inputs, as those of Python functions do.
    """

    __slots__ = (
        "defaults",
        "fills",
        "keywords",
        "names",
        "positional",
        "positional_only",
        "signature",
        "variable",
    )

    def __init__(self, function: Callable[..., Any]) -> None:
        try:
            self.signature = inspect.signature(function)
        except (TypeError, ValueError):
            self.signature = inspect.signature(_anything)
        self.fills = inspect.isfunction(inspect.unwrap(function))
        parameters = self.signature.parameters.values()
        self.positional = tuple(each.name for each in parameters if each.kind < each.VAR_POSITIONAL)
        self.positional_only = frozenset(
            each.name for each in parameters if each.kind == each.POSITIONAL_ONLY
        )
        self.variable = next((each.name for each in parameters if each.kind == each.VAR_POSITIONAL), "")
        self.keywords = tuple(each.name for each in parameters if each.kind == each.KEYWORD_ONLY)
        self.defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
        plain = len(self.positional) == len(self.signature.parameters)
        self.names = self.positional if plain else None

    def bind(self, args: Sequence[Any], given: Mapping[str, Any]) -> Bound:
        """Return input names, values, how many go by position, and the keywords of the rest.

        Raises TypeError, in Python's words, if the arguments do not fit.
        """
        self.signature.bind(*args, **given)
        if not self.fills:
            names = [*self.positional[: len(args)]]
            names += [f"{self.variable or 'args'}_{index}" for index in range(len(args) - len(names))]
            return (*names, *given), [*args, *given.values()], len(args), tuple(given)
        rest = dict(given)
        keys = list(self.positional)
        values = list(args[: len(keys)])
        for name in keys[len(values) :]:
            takes_keyword = name in rest and name not in self.positional_only
            values.append(rest.pop(name) if takes_keyword else self.defaults[name])
        extra = args[len(self.positional) :]
        keys += [f"{self.variable}_{index}" for index in range(len(extra))]
        values += extra
        by_position = len(values)
        for name in self.keywords:
            rest.setdefault(name, self.defaults.get(name))
        taken = set(keys)
        keys += [f"{name}_" if name in taken else name for name in rest]
        values += rest.values()
        return tuple(keys), values, by_position, tuple(rest)


def _anything(*args: Any, **kwargs: Any) -> None:
    """The signature of a function that does not tell its own."""
