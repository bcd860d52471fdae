"""Optimize robot controllers that are ordinary Python: trace, roll out, rewrite.

Every name here is imported when it is first used (PEP 562), so that ``import trace_robot`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from trace_robot.env import Environment, Hand, HandTracking, JointTracking, Part, Transition, part, skip
    from trace_robot.env.traced import TracedEnv, load_env
    from trace_robot.optimizers import (
        CMAES,
        OPRO,
        BestFirst,
        Candidate,
        Latest,
        Optimizer,
        OptoPrime,
        Outcome,
        ParameterSpec,
        Problem,
        Strategy,
        Tuned,
    )
    from trace_robot.policy import Policy, as_gymnasium_policy, load_policy
    from trace_robot.rollout import Episode, RolloutEngine, Rollouts
    from trace_robot.rollout.evaluate import evaluate
    from trace_robot.run.optimize import optimize, resume
    from trace_robot.run.run import Run
    from trace_robot.settings import Result, Settings
    from trace_robot.spec import Field, HandSpec, TaskSpec
    from trace_robot.store.history import History
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
        fixed,
        model,
        node,
        stop_tracing,
    )

__all__ = [
    "CMAES",
    "OPRO",
    "BestFirst",
    "Bounds",
    "Candidate",
    "Choices",
    "Environment",
    "Episode",
    "ExceptionNode",
    "ExecutionError",
    "Field",
    "Hand",
    "HandSpec",
    "HandTracking",
    "History",
    "JointTracking",
    "Latest",
    "MessageNode",
    "Module",
    "Optimizer",
    "OptoPrime",
    "Outcome",
    "ParameterNode",
    "ParameterSpec",
    "Part",
    "Policy",
    "Problem",
    "Result",
    "RolloutEngine",
    "Rollouts",
    "Run",
    "Settings",
    "Strategy",
    "TaskSpec",
    "TracedEnv",
    "Transition",
    "Tuned",
    "as_gymnasium_policy",
    "backward",
    "bundle",
    "evaluate",
    "fixed",
    "load_env",
    "load_policy",
    "model",
    "node",
    "optimize",
    "part",
    "resume",
    "skip",
    "stop_tracing",
]

_HOMES = {
    "env": (
        "Environment",
        "Hand",
        "HandTracking",
        "JointTracking",
        "Part",
        "Transition",
        "part",
        "skip",
    ),
    "env.traced": (
        "TracedEnv",
        "load_env",
    ),
    "optimizers": (
        "BestFirst",
        "CMAES",
        "Candidate",
        "Latest",
        "OPRO",
        "Optimizer",
        "OptoPrime",
        "Outcome",
        "ParameterSpec",
        "Problem",
        "Strategy",
        "Tuned",
    ),
    "policy": (
        "Policy",
        "as_gymnasium_policy",
        "load_policy",
    ),
    "rollout": (
        "RolloutEngine",
        "Episode",
        "Rollouts",
    ),
    "rollout.evaluate": ("evaluate",),
    "run.optimize": (
        "optimize",
        "resume",
    ),
    "run.run": ("Run",),
    "settings": (
        "Result",
        "Settings",
    ),
    "spec": (
        "TaskSpec",
        "Field",
        "HandSpec",
    ),
    "store.history": ("History",),
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
        "fixed",
        "model",
        "node",
        "stop_tracing",
    ),
}
# Not by ``lazy_names``, as its rooms have it: to import this package loads no module of it.
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value = globals()[name] = import_module("importlib.metadata").version("trace-robot")
        return value
    if name not in _HOME_OF:
        raise AttributeError(f"module 'trace_robot' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"trace_robot.{_HOME_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
