"""What a benchmark is asked to do, and the settings of each of its runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trace_robot.bench.protocol import PROTOCOLS, Protocol
from trace_robot.choice import SEARCH_SECONDS
from trace_robot.errors import UnknownNameError
from trace_robot.rollout.levels import require_level
from trace_robot.settings import Settings

OPTIMIZERS = ("search", "optoprime", "opro")
Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """One optimizer under one protocol on tasks × seeds; no seeds: those of the protocol.

    seconds, steps, iterations: budgets of a run, as in ``Settings``; iterations also in place of the protocol's.
    policy: where every run starts.
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
        return PROTOCOLS[self.protocol]

    @property
    def limit(self) -> float | None:
        """Seconds of a run; without any budget the built-in search's own."""
        unlimited = self.seconds is None and self.steps is None
        return SEARCH_SECONDS if unlimited and self.optimizer == "search" else self.seconds

    @property
    def fixed(self) -> dict[str, Any]:
        """What all rows of one results file have in common; tasks, seeds and workers may differ."""
        return {
            "optimizer": self.optimizer, "protocol": self.protocol, "feedback": self.feedback, "policy": self.policy,
            "seconds": self.limit, "steps": self.steps, "iterations": self.iterations,
        }  # fmt: skip

    def keys(self) -> Iterator[Key]:
        """Give every (task, seed), all tasks with the first seed before any with the second."""
        for seed in self.seeds or self.rules.seeds:
            for task in self.tasks:
                yield task, seed

    def settings(self, key: Key) -> Settings:
        task, seed = key
        rules = self.rules
        by_model = self.optimizer != "search"
        return Settings(
            task=task, policy=self.policy, optimizer=self.optimizer,
            iterations=self.iterations or (rules.iterations_of(task) if by_model else None),
            episodes=rules.episodes, confirm=rules.confirm, seed=seed, workers=self.workers, control=rules.control,
            held_out=rules.held_out, options=rules.options, feedback=self.feedback, seconds=self.limit,
            steps=self.steps, tune=rules.tune, video=False, trusted=self.trusted,
        )  # fmt: skip
