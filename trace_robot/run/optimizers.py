"""Which optimizer a run uses, and why: settings and what is configured, turned into something to ask."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trace_robot.errors import PolicyError, RunError, ValueMismatchError
from trace_robot.llm.metering import Budget, Prices, Usage
from trace_robot.optimizers.problem import Optimizer, Problem
from trace_robot.policy import load_policy
from trace_robot.rollout.seeds import training_seeds
from trace_robot.settings import EPISODES, Settings
from trace_robot.spec import TaskSpec

if TYPE_CHECKING:
    from trace_robot.llm import ConnectedModel
    from trace_robot.run.journaled import JournaledModel

SEARCH_SECONDS = 240.0
SEARCH_EPISODES = 10  # racing makes most of them cost nothing, and programs that solve few generalise less
MODEL_ITERATIONS = 10
OWN_HOSTS = ("api.openai.com", "localhost", "127.0.0.1", "::1")
Make = Callable[[Problem, TaskSpec, Settings], Optimizer]


@dataclass(frozen=True, slots=True)
class Chosen:
    """An optimizer about to be made.

    why: in words, for the person who started the run. usage: of the model so far; priced: whether it counts money.
    model: to be given the run's journal, None where none is asked that would cost something. data: what
    ``choose_again`` takes.
    """

    settings: Settings
    why: str
    make: Make
    usage: Callable[[], Usage] = Usage
    priced: bool = False
    model: JournaledModel | None = None
    data: Mapping[str, Any] | None = None


def choose(
    settings: Settings,
    *,
    model: str | None = None,
    base_url: str | None = None,
    record: str | None = None,
    replay: str | None = None,
    retries: int = 5,
    proposals: int = 1,
    budget: Budget | None = None,
    prices: Prices | None = None,
) -> Chosen:
    """Return the optimizer that ``settings.optimizer`` names; "auto" takes a model where one is configured."""
    from trace_robot.llm import configured, connect

    name, why = settings.optimizer, "as asked"
    reason = f"the record {replay} is replayed" if replay else configured(model, base_url)
    if name == "auto" and reason:
        name, why = "optoprime", reason
    elif name == "auto":
        writes = "act" in load_policy(settings.policy).values
        name = "search" if writes else "cma"
        what = (
            "the built-in search runs"
            if writes
            else "its numbers are tuned, as it has no trainable act to rewrite"
        )
        why = f"no model is configured (OPENAI_API_KEY or OPENAI_BASE_URL), so {what}"
    if name in ("search", "cma") and settings.feedback != "outcome":
        raise ValueMismatchError(
            f"feedback level {settings.feedback!r} is words for a model, and the optimizer {name} reads none;"
            " leave --feedback out"
        )
    if name == "search":
        settings = _with(settings, name, seconds=SEARCH_SECONDS, control="raw", episodes=SEARCH_EPISODES)
        return Chosen(settings, why, _search, data={})
    if name == "cma":
        return Chosen(_with(settings, name, seconds=SEARCH_SECONDS), why, _cma, data={})
    connection = connect(
        model, base_url, record=record, replay=replay, retries=retries, budget=budget, prices=prices
    )
    chosen = _by_model(_with(settings, name, iterations=MODEL_ITERATIONS), why, connection, proposals)
    files = {"record": record, "replay": replay}
    data = {
        "model": connection.name, "base_url": connection.address, "retries": retries, "proposals": proposals,
        "budget": asdict(budget or Budget()), "prices": None if prices is None else asdict(prices),
        **{name: None if path is None else str(Path(path).absolute()) for name, path in files.items()},
    }  # fmt: skip
    return replace(chosen, priced=prices is not None, data=data)


def choose_again(
    settings: Settings, why: str, data: Mapping[str, Any], *, base_url: str | None = None
) -> Chosen:
    """Return what ``choose`` returned: ``settings``, ``why`` and ``data`` are those of what it did.

    base_url: of an endpoint that has moved; so has one that OPENAI_BASE_URL names. A run may be somebody else's: where
    it asked elsewhere than OpenAI or this machine, one of the two must be given, or RunError says so.
    """
    if not data:
        chosen = choose(settings)
    else:
        known: dict[str, Any] = dict(data)
        known["base_url"] = base_url or os.environ.get("OPENAI_BASE_URL") or _harmless(known["base_url"])
        known["budget"] = Budget(**known["budget"])
        known["prices"] = None if known["prices"] is None else Prices(**known["prices"])
        chosen = choose(settings, **known)
    return replace(chosen, settings=settings, why=why, data=data)


def _harmless(address: str | None) -> str | None:
    """Return a stored address to which prompts and the user's key may go unasked."""
    if address is None or urlsplit(address).hostname in OWN_HOSTS:
        return address
    raise RunError(
        f"the run asked a model at {address!r}; to send prompts and the key there again, say so with --base-url"
    )


def _with(
    settings: Settings,
    name: str,
    *,
    seconds: float | None = None,
    iterations: int | None = None,
    control: str = "pose",
    episodes: int = EPISODES,
) -> Settings:
    """Return the settings with what this optimizer does unless told otherwise."""
    return replace(
        settings,
        optimizer=name,
        usual_control=control,
        episodes=settings.episodes or episodes,
        seconds=seconds if settings.seconds is None and settings.steps is None else settings.seconds,
        iterations=settings.iterations if settings.iterations is not None else iterations,
    )


def _search(problem: Problem, spec: TaskSpec, settings: Settings) -> Optimizer:
    from trace_robot.search.controller import kind_for

    kind = kind_for(spec)
    if kind.parameter and kind.parameter not in problem.values:
        raise PolicyError(
            f"the built-in search writes a trainable function act, and {settings.policy} has none; use --optimizer cma"
        )
    return kind.search(
        spec,
        lambda count: training_seeds(settings.seed, count),
        episodes=settings.episodes,
        confirm=settings.confirm,
        seed=settings.seed,
        budget=settings.steps,
    )


def _cma(problem: Problem, spec: TaskSpec, settings: Settings) -> Optimizer:
    from trace_robot.optimizers import CMAES

    return CMAES(problem, literals=True, population=6, seed=settings.seed)


def _by_model(settings: Settings, why: str, connection: ConnectedModel, proposals: int) -> Chosen:
    from trace_robot.run.journaled import JournaledModel

    remembered = JournaledModel(connection.model, connection.usage)
    model = remembered if connection.address else connection.model  # a record is there to be read again

    def make(problem: Problem, spec: TaskSpec, settings: Settings) -> Optimizer:
        from trace_robot.optimizers import OPRO, OptoPrime, Tuned
        from trace_robot.sandbox.static_check.check import check

        def refusals(code: str) -> list[str]:
            return [f"line {fault.line}: {fault.message}" for fault in check(code)]

        if settings.optimizer == "opro":
            return OPRO(problem, model, check_code=refusals, proposals=proposals)
        proposer = OptoPrime(problem, model, check_code=refusals, proposals=proposals)
        return Tuned(proposer, seed=settings.seed) if settings.tune else proposer

    why = f"{why}; {connection.described}"
    return Chosen(
        settings, why, make, lambda: connection.usage, model=remembered if connection.address else None
    )
