"""Events of a run, for a screen or a program that watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trace_robot.settings import Result, Settings

if TYPE_CHECKING:
    from trace_robot.policy import Policy
    from trace_robot.rollout.evaluation import Evaluation
    from trace_robot.spec import TaskSpec

Stage = Literal["training", "held out"]


@dataclass(frozen=True, slots=True)
class Started:
    """The run is about to roll out its first candidate.

    why: the reason for this optimizer, as text. known: entries of the journal from before an interruption, which are
    batches of episodes and answers of a model.
    """

    settings: Settings
    spec: TaskSpec
    policy: Policy
    folder: Path
    why: str = ""
    known: int = 0


@dataclass(frozen=True, slots=True)
class Progressed:
    """A number of a batch's episodes are done.

    Attributes:
        stage: "training" or "held out".
        done, total: episodes of the batch.
        candidates: rolled out since the start of the run.
        best: the best evaluation so far.
        seconds: since the start of the run, over all processes that ran it.
    """

    stage: Stage
    done: int
    total: int
    candidates: int
    best: Evaluation | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Iterated:
    """An iteration is on disk. better: it is the best so far."""

    iteration: int
    trial: Evaluation
    best: Evaluation
    better: bool
    candidates: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over and everything is on disk."""

    result: Result
    folder: Path


Event = Started | Progressed | Iterated | Ended

OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Do nothing with an event: the default of ``on_event``."""
