"""The plan of a benchmark, its protocols, and the settings of each run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from trace_robot.env.registry import environments, sets
from trace_robot.errors import UnknownNameError, UsageError, unknown
from trace_robot.settings import SEARCH_SECONDS, Settings, require_level

OPTIMIZERS = ("search", "optoprime", "opro")
Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """One optimizer under one protocol on tasks × seeds.

    seeds: empty for those of the protocol. seconds, steps, iterations: budgets of a run, as in ``Settings``;
    iterations also in place of the protocol's. policy: where every run starts.
    """

    tasks: tuple[str, ...]
    optimizer: str = "search"
    protocol: str = "standard"
    seeds: tuple[int, ...] = ()
    feedback: str = "outcome"
    seconds: float | None = None
    steps: int | None = None
    iterations: int | None = None
    policy: str = "do_nothing"
    workers: int | None = None
    trusted: bool = False

    def __post_init__(self) -> None:
        require_level(self.feedback)
        if self.optimizer not in OPTIMIZERS:
            raise UnknownNameError(f"no optimizer {self.optimizer!r}; known: {', '.join(OPTIMIZERS)}")
        if self.protocol not in PROTOCOLS:
            raise UnknownNameError(f"no protocol {self.protocol!r}; known: {', '.join(PROTOCOLS)}")

    @property
    def rules(self) -> Protocol:
        """The protocol by its name."""
        return PROTOCOLS[self.protocol]

    @property
    def limit(self) -> float | None:
        """Seconds of a run, the built-in search's own where no budget is given."""
        unlimited = self.seconds is None and self.steps is None
        return SEARCH_SECONDS if unlimited and self.optimizer == "search" else self.seconds

    @property
    def fixed(self) -> dict[str, Any]:
        """What all rows of one results file have in common.

        Tasks, seeds and workers are not among it: rows of further ones may be added to the same file.
        """
        return {
            "optimizer": self.optimizer,
            "protocol": self.protocol,
            "feedback": self.feedback,
            "policy": self.policy,
            "seconds": self.limit,
            "steps": self.steps,
            "iterations": self.iterations,
        }

    def keys(self) -> Iterator[Key]:
        """Yield every (task, seed), all tasks of the first seed before the second."""
        # In this order a benchmark that is stopped early has a result for every task rather than all of a few.
        for seed in self.seeds or self.rules.seeds:
            for task in self.tasks:
                yield task, seed

    def settings(self, key: Key) -> Settings:
        """Return the complete settings of one run."""
        return Settings.resolve(key[0], self.optimizer, **self.keywords(key))

    def keywords(self, key: Key) -> dict[str, Any]:
        """Return the settings of one run as keywords of ``optimize``."""
        task, seed = key
        rules = self.rules
        by_model = self.optimizer != "search"
        return {
            "policy": self.policy, "iterations": self.iterations or (rules.iterations_of(task) if by_model else None),
            "episodes": rules.episodes, "confirm": rules.confirm, "seed": seed, "workers": self.workers,
            "control": rules.control, "held_out": rules.held_out, "options": rules.options, "feedback": self.feedback,
            "seconds": self.limit, "steps": self.steps, "tune": rules.tune, "video": False, "trusted": self.trusted,
        }  # fmt: skip


# Success of the paper's robot experiment at its last iteration (arXiv:2406.16218, figure 7; read off the figure,
# to 0.01): OptoPrime with memory, OPRO. Iterations in which a controller crashed were dropped there.
PAPER: Mapping[str, Mapping[str, float]] = {
    "optoprime": {"reach-v3": 1.00, "push-v3": 0.30, "pick-place-v3": 0.40},
    "opro": {"reach-v3": 0.47, "push-v3": 0.18, "pick-place-v3": 0.00},
}


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a controller is trained and scored.

    episodes: training conditions; confirm: further ones, for choosing among controllers that solve these, see
    ``trace_robot.rollout.evaluation``; held_out: those of the score. control: "pose" or "raw", None for what suits the
    optimizer. options: of the environment. iterations: of an optimizer that asks a model, by task; ``default`` of
    the others, None for the optimizer's own. tune: numbers may be tuned between two proposals of a model.
    """

    name: str
    summary: str
    episodes: int
    confirm: int
    held_out: int
    seeds: tuple[int, ...]
    control: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    iterations: Mapping[str, int] = field(default_factory=dict)
    default: int | None = None
    tune: bool = True

    def iterations_of(self, task: str) -> int | None:
        """Return the limit on iterations for a task, None for the optimizer's own."""
        return self.iterations.get(task, self.default)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "standard",
            "500 simulator steps an episode, 5 training conditions, 25 more for controllers that solve these,"
            " 50 held-out ones",
            episodes=5,
            confirm=25,
            held_out=50,
            seeds=(0,),
        ),
        Protocol(
            "paper",
            "pose control by relative targets, 10 decisions an episode, 1 training condition, 10 held-out ones,"
            " 10 seeds; at most 10 iterations for reach, 30 for the others, where a model is asked",
            episodes=1,
            confirm=0,
            held_out=10,
            seeds=tuple(range(10)),
            control="pose",
            options={"relative": True, "decisions": 10},
            iterations={"reach-v3": 10},
            default=30,
            tune=False,
        ),
    )
}


def select(names: Iterable[str]) -> tuple[str, ...]:
    """Return the tasks that names stand for, each once, in order.

    Args:
        names: of tasks, and of sets of tasks such as "paper", "mt10" and "mt50".

    Raises:
        UnknownNameError: a name is neither.
        UsageError: there are no names.
    """
    known, groups = environments(), sets()
    chosen: dict[str, None] = {}
    for name in names:
        if name in groups:
            chosen.update(dict.fromkeys(groups[name]))
        elif name in known:
            chosen[name] = None
        else:
            raise unknown("task or set of tasks", name, [*groups, *known])
    if not chosen:
        raise UsageError("a benchmark needs at least one task, got none")
    return tuple(chosen)
