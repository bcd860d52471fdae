"""The registry of optimizers, and which of them a run uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from trace_robot.env.world import WorldSet
from trace_robot.errors import RunError, ValueMismatchError, unknown
from trace_robot.llm.config import ConnectedModel, ModelConfig
from trace_robot.llm.metering import MeteredModel, Usage
from trace_robot.llm.model import ChatModel
from trace_robot.optimizers.cma_es import CMAES, NO_NUMBERS
from trace_robot.optimizers.opro import OPRO
from trace_robot.optimizers.optoprime import OptoPrime
from trace_robot.optimizers.problem import Optimizer, Problem
from trace_robot.optimizers.prompt import GRAPH_PARTS
from trace_robot.optimizers.tuned import TUNING, Tuned
from trace_robot.sandbox.static_check.check import check
from trace_robot.search import search_for
from trace_robot.settings import AGENT, training_seeds

if TYPE_CHECKING:
    from trace_robot.policy import Policy
    from trace_robot.rollout.task import Task
    from trace_robot.settings import Settings
    from trace_robot.store.writer import RunHeader

OptimizerFactory: TypeAlias = Callable[..., Optimizer]
"""A class or function that makes an optimizer of one's own.

It is called with the ``Problem`` and the keyword ``seed`` (an int). If ``optimize`` was given a model, the keyword
``model`` is a ``ChatModel`` that asks it and journals its answers.
"""
AnyModel: TypeAlias = ChatModel | ModelConfig | str | None
"""A model: an object with ``chat``, how to reach one, its name, or None for what the environment variables say."""

OWN = "an optimizer that a program made"
TOKEN_BUDGET = 9000  # of a prompt: variables of 3,000 tokens leave the evidence as much again and more
LOOP = "loop"  # the name of a program's own loop, which ``Run.record`` keeps
PROTOCOL = ("ask", "tell", "best", "done", "uses_graph", "log")


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """Which optimizer a run uses, and what creates it.

    Attributes:
        name: of the registry, or of one's own factory.
        why: the reason, as text.
        stored: what creates the same one when the run is resumed; None where that takes a Python object.
        model: None where none is asked.
        proposals: replies of the model to ask for at once.
        factory: of an optimizer of one's own.
        token_budget: most tokens of a prompt; None for the optimizer's default.
        changed_budget: another one that a resumed run was given, for the prompts that are not in its journal.
    """

    name: str
    why: str
    stored: Mapping[str, Any] | None = None
    model: ConnectedModel | None = None
    proposals: int = 1
    factory: OptimizerFactory | None = None
    token_budget: int | None = None
    changed_budget: int | None = None

    @classmethod
    def select(cls, optimizer: str | OptimizerFactory, model: AnyModel, policy: Policy) -> OptimizerConfig:
        """Choose the optimizer of a new run and connect its model.

        Args:
            optimizer: a name of the registry, one's own factory, or "auto": OptoPrime where a model is configured, else
                the built-in search, else, for a policy without a trainable act, CMA-ES on its numbers.
            model: see ``AnyModel``.
            policy: where the run starts.

        Raises:
            UnknownNameError: there is no such optimizer.
            ModelError: the model cannot be connected to.
        """
        if not isinstance(optimizer, str):
            name = getattr(optimizer, "__name__", type(optimizer).__name__)
            return cls(
                name,
                getattr(optimizer, "why", OWN),
                getattr(optimizer, "stored", None),  # what its command needs to make it again
                None if model is None else _connected(model),
                factory=optimizer,
            )
        name, why = (optimizer, "as asked") if optimizer != "auto" else _automatic(model, policy)
        if name in WITHOUT_MODEL:
            return cls(name, why, stored={})
        if name not in WITH_MODEL:
            raise unknown("optimizer", name, ["auto", *WITH_MODEL, *WITHOUT_MODEL])
        return _asking(name, why, model)

    @classmethod
    def restore(
        cls,
        header: RunHeader,
        optimizer: OptimizerFactory | None,
        model: AnyModel,
        base_url: str | None,
        changes: Mapping[str, Any] | None = None,
    ) -> OptimizerConfig:
        """Return the configuration of a stored run.

        Args:
            header: what the run began with.
            optimizer: the factory, if the run had one's own.
            model: in place of the stored one, a name in place of its name; needed if the run's was a Python object.
            base_url: of an endpoint that has moved.
            changes: other attributes of the stored ``ModelConfig``.

        Raises:
            RunError: the run needs a factory or a model that is missing, or its endpoint needs consent.
        """
        name, why, stored = header.settings.optimizer, header.why, header.choice
        if optimizer is not None:
            return cls(name, why, model=None if model is None else _connected(model), factory=optimizer)
        if name == AGENT:
            raise RunError(
                "the run takes controllers from an agent; go on with: trace-robot serve --resume RUN"
            )
        if name == LOOP:
            raise RunError("the run was recorded by a program's own loop; run that program again")
        if stored is None and (model is None or name not in WITH_MODEL):
            raise RunError(
                "the run has an optimizer or a model that a program made; go on with trace_robot.resume and that one"
            )
        if name in WITHOUT_MODEL:
            if any(value is not None for value in (base_url, *(changes or {}).values())):
                raise RunError(
                    f"the run's optimizer {name} asks no model; leave the options of the model out"
                )
            return cls(name, why, stored)
        if isinstance(model, str) and stored is not None:  # the name alone: the endpoint stays
            model, changes = None, {**(changes or {}), "model": model}
        before = None if stored is None else stored.get("token_budget")
        changed = (changes or {}).get("token_budget")
        if model is None and stored is not None:
            model = ModelConfig.from_data(stored, base_url=base_url, changes=changes, own=header.own)
        elif isinstance(model, ModelConfig):
            changed = changed or model.token_budget
        proposals = model.proposals if isinstance(model, ModelConfig) else 1
        return cls(
            name,
            why,
            stored,
            _connected(model),
            proposals,
            token_budget=before,
            changed_budget=None if changed == before else changed,
        )

    @property
    def usage(self) -> Usage:
        """What the model has cost so far."""
        return Usage() if self.model is None else self.model.usage

    @property
    def notes(self) -> list[str]:
        """What a user should know of the model's endpoint, a line each."""
        return [] if self.model is None else self.model.notes

    @property
    def priced(self) -> bool:
        """Whether the usage counts money."""
        return self.model is not None and self.model.meter.prices is not None

    def probe(self) -> None:
        """Check that the model of a new run can be asked, before a rollout.

        Raises:
            ModelError: every request to it would fail.
        """
        if self.model is not None and self.name in WITH_MODEL:
            self.model.probe()

    def require(self, settings: Settings, task: Task) -> None:
        """Raise what creating the optimizer would raise, before a run's folder is made.

        A built-in one is created for that and dropped: this asks no model and rolls nothing out. One's own factory is
        called once only, when the run has begun.

        Args:
            settings: of the run.
            task: what it optimizes.
        """
        if self.name in WITHOUT_MODEL and settings.feedback != "outcome":
            raise ValueMismatchError(
                f"feedback level {settings.feedback!r} is words for a model, and the optimizer {self.name} reads none;"
                " leave --feedback out"
            )
        if self.name in WITHOUT_MODEL and settings.images:
            raise ValueMismatchError(
                f"pictures are for a model that sees, and the optimizer {self.name} asks none; leave --images out"
            )
        if settings.memory is not None and (self.name not in WITH_MODEL or settings.memory < 0):
            raise ValueMismatchError(
                f"memory is a number of trials from 0 on that a model sees, got {settings.memory!r} for the optimizer"
                f" {self.name}; leave --memory out"
            )
        if not settings.graph and self.name != "optoprime":
            raise ValueMismatchError(f"the optimizer {self.name} shows no graph; leave --no-graph out")
        if self.factory is None:
            create_optimizer(self, settings, task, None)


def create_optimizer(
    config: OptimizerConfig, settings: Settings, task: Task, model: ChatModel | None
) -> Optimizer:
    """Return a new optimizer.

    Args:
        config: which one.
        settings: of the run.
        task: what it optimizes.
        model: what it asks, journaled; None where it asks none, or will not be asked for a candidate.

    Raises:
        ValueMismatchError: the policy has nothing for this optimizer, or one's own lacks a part of the protocol.
    """
    if config.factory is not None:
        keywords: dict[str, Any] = {} if model is None else {"model": model}
        return _complete(config.name, config.factory(task.problem, seed=settings.seed, **keywords))
    if config.name in WITHOUT_MODEL:
        return WITHOUT_MODEL[config.name](settings, task)
    options: dict[str, Any] = {"proposals": config.proposals, **prompt_options(settings)}
    if config.token_budget is not None:
        options["token_budget"] = config.token_budget
    return WITH_MODEL[config.name](settings, task, model, options)


def _complete(name: str, optimizer: Optimizer) -> Optimizer:
    missing = [part for part in PROTOCOL if not hasattr(optimizer, part)]
    if missing:
        raise ValueMismatchError(
            f"the optimizer {name} has no {missing[0]}; derive it from trace_robot.Optimizer, which has defaults, or"
            " define it"
        )
    return optimizer


def _automatic(model: AnyModel, policy: Policy) -> tuple[str, str]:
    """Return the name that "auto" stands for, and why."""
    config = _config(model)
    reason = "a model is given" if config is None else config.reason
    if reason:
        return "optoprime", reason
    nothing = "no model is configured (OPENAI_API_KEY or OPENAI_BASE_URL), so "
    if "act" in policy.values or not policy.with_constants().places:
        return "search", nothing + "the built-in search runs"
    return "cma", nothing + "its numbers are tuned, as it has no trainable act to rewrite"


def _asking(name: str, why: str, model: AnyModel) -> OptimizerConfig:
    """Return the configuration of an optimizer that asks a model."""
    config = _config(model)
    connected = _connected(model)
    why = f"{why}; {connected.described}"
    if config is None:
        return OptimizerConfig(name, why, model=connected)
    return OptimizerConfig(
        name,
        why,
        config.to_data(connected),
        connected,
        config.proposals,
        token_budget=config.token_budget,
    )


def _config(model: AnyModel) -> ModelConfig | None:
    """Return how to reach the model, None where it is an object that answers itself."""
    if model is None or isinstance(model, str):
        return ModelConfig(model)
    return model if isinstance(model, ModelConfig) else None


def _connected(model: AnyModel) -> ConnectedModel:
    """Return the model with a meter."""
    if isinstance(model, ConnectedModel):
        return model
    if model is None or isinstance(model, str | ModelConfig):
        return (model if isinstance(model, ModelConfig) else ModelConfig(model)).connect()
    meter = model if isinstance(model, MeteredModel) else MeteredModel(model)
    return ConnectedModel(meter, meter, f"a {type(meter.model).__name__} that a program made")


def _built_in_search(settings: Settings, task: Task) -> Optimizer:
    search = search_for(task.spec)
    options = task.spec.options
    worlds = WorldSet.from_data(options["world"]) if "world" in options else None
    return search.begin(
        task.spec,
        lambda count: training_seeds(settings.seed, count),
        episodes=settings.episodes,
        confirm=settings.confirm,
        seed=settings.seed,
        budget=settings.steps,
        nominal=None if worlds is None else lambda seed: worlds.of(seed).nominal,
    )


def _cma(settings: Settings, task: Task) -> Optimizer:
    if not task.policy.places:
        raise ValueMismatchError(NO_NUMBERS)
    # The package's default grows with the number of constants, and every candidate costs all training conditions.
    return CMAES(task.problem, literals=settings.rules == 1, population=6, seed=settings.seed)


def _optoprime(
    settings: Settings, task: Task, model: ChatModel | None, options: Mapping[str, Any]
) -> Optimizer:
    problem, by_worth = asked_problem(settings, task), task.prompt > 1
    proposer = OptoPrime(problem, model, check_code=_refusals, by_worth=by_worth, **options)
    return Tuned(proposer, literals=settings.rules == 1, seed=settings.seed) if settings.tune else proposer


def prompt_options(settings: Settings) -> dict[str, Any]:
    """Return the size of prompts and what they leave out, as arguments."""
    options: dict[str, Any] = {} if settings.memory is None else {"memory_size": settings.memory}
    if settings.prompt > 1:  # those of 0.1 keep to the optimizer's own default
        options["token_budget"] = TOKEN_BUDGET
    return options if settings.graph else {**options, "mask": GRAPH_PARTS}


def asked_problem(settings: Settings, task: Task) -> Problem:
    """Return the problem as OptoPrime shows it, with what it must know of the tuner.

    Args:
        settings: of the run.
        task: what it optimizes.
    """
    problem = task.problem
    if not settings.tune or settings.rules == 1:
        return problem
    return replace(problem, context=f"{problem.context}\n{TUNING}")


def _opro(settings: Settings, task: Task, model: ChatModel | None, options: Mapping[str, Any]) -> Optimizer:
    return OPRO(task.problem, model, check_code=_refusals, **options)


def _refusals(code: str) -> list[str]:
    """Return what the static check refuses.

    The model is then asked to repair its reply, before a rollout.
    """
    return [f"line {fault.line}: {fault.message}" for fault in check(code)]


WITHOUT_MODEL: Mapping[str, Callable[[Settings, Task], Optimizer]] = {
    "search": _built_in_search,
    "cma": _cma,
}
WITH_MODEL: Mapping[str, Callable[[Settings, Task, ChatModel | None, Mapping[str, Any]], Optimizer]] = {
    "optoprime": _optoprime,
    "opro": _opro,
}
