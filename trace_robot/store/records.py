"""Records of the store as frozen data: runs, iterations, episodes, attempts.

``trace_robot.store.history.History`` reads them. Texts in them come from a model or from a policy's file: escape them
before they reach a page or a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from trace_robot.stats import wilson

Status = Literal["running", "stopped", "failed", "finished"]
STATUSES: tuple[Status, ...] = get_args(Status)
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Score:
    """A success rate, from 0 to 1, and the number of episodes it was measured on."""

    success: float
    episodes: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson score interval."""
        # The rate is stored, not the count: the product is whole but for rounding.
        return wilson(round(self.success * self.episodes), self.episodes)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One run: its settings, its status, its scores and what it cost.

    Attributes:
        id: its number in the store.
        name: the name of its folder.
        seed: the seed of the run, from which those of its episodes follow.
        why: the reason for this optimizer.
        status: "running" while a process holds the run's lock; "stopped" where that process was interrupted or
            killed; "failed" with an error; "finished".
        ended: why it ended, "" while it has not.
        started, updated: seconds since 1970, UTC.
        seconds: wall-clock time spent on optimizing, over all its processes.
        iterations: the number that were recorded, the start not counted.
        best_iteration: the number of the best one; None before the first.
        money: in the unit of the prices; None where none were given.
        start, training: success of the starting and of the best controller on their training seeds.
        held_out: success of the best controller on held-out seeds; None before the end.
        settings: the fields of ``Settings``.
        environment: the fields of ``TaskSpec``.
        result: what result.json holds; None before the end.
    """

    id: int
    name: str
    folder: Path
    task: str
    policy: str
    optimizer: str
    feedback: str
    control: str
    seed: int
    why: str
    status: Status
    ended: str
    started: float
    updated: float
    seconds: float
    iterations: int
    best_iteration: int | None
    candidates: int
    environment_steps: int
    model_calls: int
    prompt_tokens: int
    completion_tokens: int
    money: float | None
    start: Score | None
    training: Score | None
    held_out: Score | None
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]
    versions: Mapping[str, str]
    result: Mapping[str, Any] | None = None

    @property
    def tokens(self) -> int:
        """Tokens of all prompts and replies."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class EpisodeInfo:
    """How one episode ended.

    Attributes:
        ended: "success", "terminated", "time" or "error".
        steps: control steps of the simulator.
        decisions: calls of the controller.
        reward: the total; nan where the environment gave no finite one.
        fault: category, message and line, of an error.
    """

    seed: int
    ended: str
    steps: int
    decisions: int
    reward: float
    fault: Mapping[str, Any] | None = None

    @property
    def success(self) -> bool:
        """Whether the episode reached its goal."""
        return self.ended == "success"


@dataclass(frozen=True, slots=True)
class IterationInfo:
    """A controller that was recorded, its scores and the run's cost by then.

    Attributes:
        number: 0 for the starting controller.
        parent: the iteration that was the best until then, with which this one is compared; None for the start.
        candidate: the id of the candidate.
        candidate_parent: the id of the candidate it was made from.
        origin: who proposed it: "start", "model", "search", ...
        note: the proposer's summary of the change.
        reward: the mean total reward of an episode.
        better: whether it became the best so far.
        parent_controller: the text of ``parent``, "" for the start.
        video: None where there is no file.
        seconds, candidates, environment_steps, model_calls, prompt_tokens, completion_tokens, money: the run's cost
            so far.
    """

    number: int
    parent: int | None
    candidate: int
    candidate_parent: int | None
    origin: str
    note: str
    success: float
    score: float
    reward: float
    better: bool
    controller: str
    parent_controller: str
    feedback: str
    episodes: tuple[EpisodeInfo, ...]
    video: Path | None
    seconds: float
    candidates: int
    environment_steps: int
    model_calls: int
    prompt_tokens: int
    completion_tokens: int
    money: float | None

    @property
    def tokens(self) -> int:
        """Tokens of all prompts and replies so far."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class AttemptInfo:
    """One prompt to a model, its reply, and whether that became a candidate.

    Attributes:
        iteration: the next one that was recorded after it; None where there was none.
        kind: "proposal", "repair" or "no answer".
        messages: the prompt, each message with "role" and "content".
        problems: why the reply could not be used.
        candidate: the id of the candidate it became; None where it became none.
    """

    iteration: int | None
    kind: str
    messages: tuple[Mapping[str, str], ...]
    reply: str
    reasoning: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    problems: tuple[str, ...]
    candidate: int | None


@dataclass(frozen=True, slots=True)
class CandidateInfo:
    """A candidate that was evaluated, and the id of the one it was made from."""

    id: int
    parent: int | None
    origin: str
    note: str
    success: float
    score: float
