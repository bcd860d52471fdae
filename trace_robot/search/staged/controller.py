"""Staged programs as a kind of controller that is data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from trace_robot.search.staged.interpreter import StagedRunner
from trace_robot.search.staged.program import StagedProgram, names
from trace_robot.search.staged.writer import code, write
from trace_robot.spec import Array, TaskSpec

if TYPE_CHECKING:
    from trace_robot.optimizers.problem import Candidate
    from trace_robot.search.staged.search import StagedSearch


@dataclass(frozen=True, slots=True)
class StagedController:
    """A staged program behind the protocol that all controllers as data share."""

    program: StagedProgram
    kind: ClassVar[str] = "staged"
    parameter: ClassVar[str] = "act"

    @classmethod
    def recognizes(cls, data: Mapping[str, Any]) -> bool:
        return "stages" in data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> StagedController:
        return cls(StagedProgram.from_data(data))

    def to_data(self) -> dict[str, Any]:
        return self.program.to_data()

    def start(self, spec: TaskSpec) -> StagedRunner:
        return StagedRunner(self.program, spec)

    def measures(self, spec: TaskSpec, observations: Array, rewards: Array) -> dict[str, float]:
        return measure(spec, observations, rewards)

    def write(self, spec: TaskSpec) -> str:
        return write(self.program, spec)

    def write_out(self, candidate: Candidate, spec: TaskSpec) -> Candidate:
        """Return the candidate with the program's code as the value of ``act``, its stages in the note."""
        stages = ", ".join(title.replace("_", " ") for title in names(self.program))
        note = f"{candidate.note}: {stages}" if candidate.note else stages
        values = {self.parameter: code(self.program, spec)}
        return replace(candidate, values=values, program=None, seeds=None, note=note)

    @classmethod
    def suits(cls, spec: TaskSpec) -> bool:
        """Return whether there are a hand, a thing to move, and three numbers of motion and a gripper."""
        return len(spec.positions) >= 2 and spec.action_size == 4

    @classmethod
    def search(
        cls,
        spec: TaskSpec,
        conditions: Callable[[int], Sequence[int]],
        *,
        episodes: int,
        confirm: int,
        seed: int,
        budget: int | None,
    ) -> StagedSearch:
        from trace_robot.search.staged.search import StagedSearch

        seeds = conditions(episodes + confirm)
        return StagedSearch(spec, seeds[:episodes], confirm=seeds[episodes:], seed=seed, budget=budget)


def measure(spec: TaskSpec, observations: Array, rewards: Array) -> dict[str, float]:
    """Return the few numbers of an episode by which the search ranks and sorts programs.

    Args:
        spec: the environment; its first position is the hand's.
        observations: (T + 1, observation_size), flat.
        rewards: (T,).

    Returns:
        best, last, mean: of the rewards. moved_<position>, raised_<position>: how far a position other than
        the hand's went from where it started, and how far up, metres; missing if T is 0.
    """
    if not len(rewards):
        return {"best": 0.0, "last": 0.0, "mean": 0.0}
    numbers = {"best": float(rewards.max()), "last": float(rewards[-1]), "mean": float(rewards.mean())}
    starts = {part.name: part.start for part in spec.observation}
    for name in spec.positions[1:]:
        i = starts[name]
        track = observations[:, i : i + 3] - observations[0, i : i + 3]
        numbers[f"moved_{name}"] = float(np.sqrt((track * track).sum(axis=1)).max())
        numbers[f"raised_{name}"] = float(track[:, 2].max())
    return numbers
