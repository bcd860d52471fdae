"""Gymnasium's registry: ids, and environments made from them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from trace_robot.child_process import captured_output
from trace_robot.errors import UnknownNameError, unknown
from trace_robot.workspace import importable


def gymnasium_ids() -> list[str]:
    """Return the ids that are registered now, without importing any module for more."""
    from gymnasium.envs.registration import registry

    return list(registry)


def registration(name: str) -> Any:
    """Return gymnasium's ``EnvSpec`` of an id, or None.

    A "module:" before the id is ignored.
    """
    from gymnasium.envs.registration import registry

    return registry.get(name.rpartition(":")[2])


def require_registered(name: str, root: str) -> None:
    """Import the module that registers an id, and check that it does.

    Args:
        name: a gymnasium id, with "module:" before it where a module registers it.
        root: the folder from which that module may be imported.

    Raises:
        UnknownNameError: the module cannot be imported, or gymnasium does not know the id.
    """
    module = name.rpartition(":")[0]
    if module:
        with importable(root), importing(name, module, f"install it, or put it into {root}"):
            import_module(module)
    if registration(name) is None:
        known: Iterable[str] = gymnasium_ids()
        raise unknown("environment", name, [f"{module}:{each}" for each in known] if module else known)


def make_registered(name: str, arguments: Mapping[str, Any], render_mode: str | None) -> Any:
    """Make a registered environment, without gymnasium's time limit and checker.

    ``EnvAdapter`` counts the steps and checks every value itself; ``horizon`` may be longer than gymnasium's limit.

    Args:
        name: a gymnasium id, with "module:" before it where a module registers it.
        arguments: keyword arguments of the environment.
        render_mode: handed to the environment unless it is None.
    """
    import gymnasium

    module, _, name = name.rpartition(":")
    if module:
        import_module(module)
    extra = {} if render_mode is None else {"render_mode": render_mode}
    return gymnasium.make(name, max_episode_steps=-1, disable_env_checker=True, **arguments, **extra)


def entry_point(name: str) -> Any:
    """Return the class or function that makes a registered environment."""
    point = registration(name).entry_point
    if callable(point):
        return point
    module, _, attribute = point.partition(":")
    return getattr(import_module(module), attribute)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep other packages' warnings and prints out of what the user reads."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    with warnings.catch_warnings(), captured_output():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def importing(name: str, module: str, remedy: str) -> Iterator[None]:
    """Turn whatever an import raises into UnknownNameError.

    A package registers its environments when it is imported, and may miss a file or a display then, use what gymnasium
    no longer has, or exit.

    Args:
        name: of the environment.
        module: that is imported in the context.
        remedy: the end of the message where it is missing.
    """
    try:
        with quiet():
            yield
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())
        why = text if isinstance(error, ImportError) else f"{type(error).__name__}: {text}"
        end = (
            remedy
            if isinstance(error, ImportError)
            else "mend it, or install a version that goes with gymnasium"
        )
        raise UnknownNameError(f"{name}: module {module!r} cannot be imported: {why}; {end}") from error
