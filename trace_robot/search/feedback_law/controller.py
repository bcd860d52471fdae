"""Feedback laws as a kind of controller that is data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from trace_robot.search.feedback_law.features import probe_features
from trace_robot.search.feedback_law.interpreter import LawRunner
from trace_robot.search.feedback_law.law import KEY, FeedbackLaw
from trace_robot.search.feedback_law.writer import write
from trace_robot.spec import Array, TaskSpec

if TYPE_CHECKING:
    from trace_robot.optimizers.problem import Candidate
    from trace_robot.search.feedback_law.search import FeedbackLawSearch

PROBE = "look"  # the key under which stored runs hold ``probe``


@dataclass(frozen=True, slots=True)
class LawController:
    """A feedback law behind the protocol that all controllers as data share.

    probe: whether its episodes bring back what tells the features of the observation, which costs too much
    time to be done for every law.
    """

    law: FeedbackLaw
    probe: bool = False
    kind: ClassVar[str] = "law"
    parameter: ClassVar[str] = ""

    @classmethod
    def recognizes(cls, data: Mapping[str, Any]) -> bool:
        return KEY in data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> LawController:
        return cls(FeedbackLaw.from_data(data), bool(data.get(PROBE)))

    def to_data(self) -> dict[str, Any]:
        data = self.law.to_data()
        return {**data, PROBE: True} if self.probe else data

    def start(self, spec: TaskSpec) -> LawRunner:
        return LawRunner(self.law, spec)

    def measures(self, spec: TaskSpec, observations: Array, rewards: Array) -> dict[str, float]:
        """Return the features of a probe; nothing of other episodes, whose return is all that counts."""
        return probe_features(spec, observations) if self.probe else {}

    def write(self, spec: TaskSpec) -> str:
        return write(self.law, spec)

    def write_out(self, candidate: Candidate, spec: TaskSpec) -> Candidate:
        """Return the candidate with the law's text as the whole controller."""
        return replace(candidate, text=self.write(spec), program=None, seeds=None)

    @classmethod
    def suits(cls, spec: TaskSpec) -> bool:
        """Return True: a law reads numbers, and every environment shows some."""
        return True

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
    ) -> FeedbackLawSearch:
        """Return the search; it divides conditions and steps by a scheme that leaves three arguments unused."""
        from trace_robot.search.feedback_law.search import POOL, FeedbackLawSearch

        return FeedbackLawSearch(spec, conditions(POOL), seed=seed)
