"""Options of the experiments in this folder, and the optimizer that they name."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from trace_robot.llm import Budget, ConnectedModel, connect
from trace_robot.optimizers import CMAES, OPRO, OptoPrime, Problem

MODELS = {"optoprime": OptoPrime, "opro": OPRO}


def options(
    description: str | None, *, iterations: int = 10, more: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """Return a parser of the common options, to which a script adds others.

    Args:
        description: of the script.
        iterations: default of --iterations.
        more: further names for --optimizer.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = [*MODELS, "cma", *more]
    parser.add_argument("--optimizer", choices=known, default="optoprime", help="who proposes new values")
    parser.add_argument("--iterations", type=int, default=iterations, help="proposals at most")
    parser.add_argument("--seed", type=int, default=0, help="which instance")
    parser.add_argument("--model", help="the model's name; default OPENAI_MODEL")
    parser.add_argument("--base-url", help="an OpenAI-compatible endpoint; default OPENAI_BASE_URL")
    parser.add_argument("--calls", type=int, help="calls of the model at most")
    parser.add_argument("--record", help="append what is asked and answered to this file")
    parser.add_argument("--replay", help="answer from such a file and ask no model")
    return parser


def connection(arguments: argparse.Namespace) -> ConnectedModel | None:
    """Return the model that the options name, None for an optimizer that needs none."""
    if arguments.optimizer not in MODELS:
        return None
    budget = Budget(calls=arguments.calls)
    return connect(
        arguments.model, arguments.base_url, budget=budget, record=arguments.record, replay=arguments.replay
    )


def create(arguments: argparse.Namespace, problem: Problem, model: ConnectedModel | None, **more: Any) -> Any:
    """Return the optimizer that the options name, for ask and tell.

    Args:
        arguments: the parsed options.
        problem: to optimize.
        model: that the optimizer asks, if it asks one.
        more: keyword arguments of that optimizer.
    """
    if arguments.optimizer == "cma":
        return CMAES(problem, seed=arguments.seed, evaluations=arguments.iterations, elitist=False)
    return MODELS[arguments.optimizer](problem, model, **more)
