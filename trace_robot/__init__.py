"""Optimize robot controllers that are ordinary Python: trace, roll out, rewrite.

Every name here is loaded when it is first used, so that ``import trace_robot`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trace_robot.env import TracedEnv, load_env
    from trace_robot.optimize import OPRO, OptoPrime
    from trace_robot.policy import Policy, load_policy
    from trace_robot.rollout import Rollouts
    from trace_robot.trace import (
        Bounds,
        Choices,
        ExceptionNode,
        ExecutionError,
        MessageNode,
        Module,
        ParameterNode,
        backward,
        bundle,
        model,
        node,
        stop_tracing,
    )

__all__ = [
    "OPRO",
    "Bounds",
    "Choices",
    "ExceptionNode",
    "ExecutionError",
    "MessageNode",
    "Module",
    "OptoPrime",
    "ParameterNode",
    "Policy",
    "Rollouts",
    "TracedEnv",
    "backward",
    "bundle",
    "load_env",
    "load_policy",
    "model",
    "node",
    "stop_tracing",
]

_HOMES = {
    "env": ("TracedEnv", "load_env"),
    "optimize": ("OPRO", "OptoPrime"),
    "policy": ("Policy", "load_policy"),
    "rollout": ("Rollouts",),
    "trace": (
        "Bounds",
        "Choices",
        "ExceptionNode",
        "ExecutionError",
        "MessageNode",
        "Module",
        "ParameterNode",
        "backward",
        "bundle",
        "model",
        "node",
        "stop_tracing",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'trace_robot' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"trace_robot.{_HOME_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
