"""Rendezvous of an agent's requests and the optimization loop: one submission at a time.

The loop runs in one thread and asks for the next controller as it would ask a chat model; requests come in from
others. A request waits until the loop has rolled its controller out. What counts against the budget of episodes is
decided in the loop's thread alone, so that two requests can never spend the same episodes.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trace_robot.errors import AgentLeftError, BudgetExceededError, TraceRobotError
from trace_robot.fault import MOST_CHARACTERS
from trace_robot.llm.model import Message, Reply, is_encodable
from trace_robot.store.command_line import budget_spent

FINISHED = "finished"  # the finish_reason of the reply that ends a run
LONGEST_NOTE = 300  # characters
# Of controllers that are refused unrun, in a whole run: each is kept in the store, which a flood must not fill.
MOST_REFUSED = 200
# Seconds of one wait in the main thread. A signal that comes just before a wait without an end begins is noticed by
# Python after it only: of 13 runs that got Ctrl-C right after an answer, 2 went on waiting.
SIGNALS = 0.5
# The HTTP status of each refusal, in one place, as both transports report them.
BAD_REQUEST, CONFLICT, GONE, UNUSABLE, SPENT, BROKEN = 400, 409, 410, 422, 429, 500


class SubmissionError(TraceRobotError):
    """A request of an agent is refused.

    Args:
        message: what was wanted, what came, what to do.
        status: the HTTP status that says the same.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class AgentAnswer:
    """An answer to an agent, as text and as plain data."""

    text: str
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        """Return JSON-able data, the text included."""
        return {"text": self.text, **self.data}


@dataclass(frozen=True, slots=True)
class SubmissionState:
    """What a run has come to: reports to read, and the episodes that are left.

    Attributes:
        latest: on the last controller that was rolled out or refused.
        best: on the best one.
        left: episodes of the budget.
        needed: episodes that one submission may take at most.
        refused: controllers that were refused unrun.
    """

    latest: AgentAnswer
    best: AgentAnswer
    left: int
    needed: int
    budget: int
    refused: int = 0

    @property
    def budget_report(self) -> AgentAnswer:
        """What is left, as text and numbers."""
        more = "submit another controller, or finish" if self.left >= self.needed else "only finish is left"
        text = (
            f"{self.left} of {self.budget} episodes are left; a submission may take {self.needed} at most:"
            f" {more}."
        )
        return AgentAnswer(text, {"left": self.left, "budget": self.budget, "needed": self.needed})


@dataclass(slots=True)
class _Submission:
    """A request that waits. ``answer`` is set in the loop's thread."""

    text: str
    note: str = ""
    finish: bool = False
    answer: AgentAnswer | SubmissionError | None = None


class Submissions:
    """A chat model whose replies are an agent's controllers.

    ``describe``, ``submit``, ``latest``, ``best``, ``budget`` and ``finish`` are called by transports, from any thread;
    the others belong to the loop.

    Args:
        seconds: wall clock after which ``chat`` waits no longer; None for no limit.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._changed = threading.Condition()
        self._seconds = seconds
        self._began = time.monotonic()
        self._description: AgentAnswer | None = None
        self._standing: SubmissionState | None = None
        self._next: tuple[AgentAnswer | None, SubmissionState, AgentAnswer | SubmissionError] | None = None
        self._waiting: _Submission | None = None  # not taken by the loop yet
        self._taken: _Submission | None = None  # being rolled out
        self._result: AgentAnswer | None = None
        self._closed: SubmissionError | None = None
        self._gone = ""  # why no further submission can come
        self._delivered = threading.Event()

    # --- verbs of an agent

    def describe(self) -> AgentAnswer:
        """Return the task as text."""
        with self._changed:
            self._changed.wait_for(lambda: self._description is not None or self._closed is not None)
            if self._description is None:
                raise self._over()
            return self._description

    def submit(self, controller: str, note: str = "") -> AgentAnswer:
        """Roll a controller out on the training conditions and return its outcome.

        Args:
            controller: its source.
            note: what was changed and why, in a line.

        Raises:
            SubmissionError: the controller cannot be run, another one is being rolled out, or the budget is spent.
        """
        if not controller.strip() or not is_encodable(controller) or "\0" in controller:
            raise SubmissionError("controller must be Python source, got no text that Python reads", UNUSABLE)
        if len(controller) > MOST_CHARACTERS:
            raise SubmissionError(
                f"controller must have at most {MOST_CHARACTERS:,} characters, got {len(controller):,}",
                UNUSABLE,
            )
        return self._ask(_Submission(controller, short_note(note)))

    def latest(self) -> AgentAnswer:
        """Return the outcome of the latest submission, for a client that lost it."""
        with self._changed:
            if self._taken is not None or self._waiting is not None:
                raise SubmissionError(
                    "the submission is being rolled out; ask again in a few seconds", CONFLICT
                )
            return self._known().latest

    def best(self) -> AgentAnswer:
        """Return the best controller so far with its outcome."""
        with self._changed:
            return self._known().best

    def budget(self) -> AgentAnswer:
        """Return how many episodes are left."""
        with self._changed:
            return self._known().budget_report

    def finish(self) -> AgentAnswer:
        """Score the best controller on held-out conditions and return the result."""
        with self._changed:
            report = self._result
        report = report or self._ask(_Submission("", finish=True))
        self._delivered.set()
        return report

    def _known(self) -> SubmissionState:
        self._changed.wait_for(lambda: self._standing is not None or self._closed is not None)
        if self._standing is None:
            raise self._over()
        return self._standing

    def _ask(self, submission: _Submission) -> AgentAnswer:
        """Hand a request to the loop and wait for its answer."""
        with self._changed:
            if self._closed is not None or self._result is not None:
                raise self._over()
            if self._waiting is not None or self._taken is not None:
                raise SubmissionError(
                    "another submission is being rolled out, and one is taken at a time; ask for its outcome with"
                    " latest, then submit again",
                    CONFLICT,
                )
            self._waiting = submission
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: submission.answer is not None or self._closed is not None or self._result is not None
            )
            answer = submission.answer
            if answer is None and submission.finish:
                answer = self._result
            if isinstance(answer, AgentAnswer):
                return answer
            raise answer or self._over()

    def _over(self) -> SubmissionError:
        if self._result is not None:
            return SubmissionError("the run is finished, and takes no more controllers; see its result", GONE)
        return self._closed or SubmissionError("the run is over", GONE)

    # --- the loop's side

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        """Wait for the next controller that the budget has room for.

        Args:
            messages: what the agent was shown; not used, as it has its outcome from ``publish``.
            n: 1.

        Raises:
            BudgetExceededError: the time is over.
            AgentLeftError: the agent has left without finishing.
        """
        with self._changed:
            self._catch_up()
            while True:
                self._await_submission()
                submission, self._waiting = self._waiting, None
                if submission is None:
                    raise AgentLeftError(self._gone)
                refusal = None if submission.finish else self._refusal()
                if refusal is None:
                    self._taken = submission
                    if submission.finish:
                        return [Reply("", FINISHED)]
                    return [Reply(f"{submission.note}\n\n{submission.text}")]
                submission.answer = refusal
                self._changed.notify_all()

    def _await_submission(self) -> None:
        while self._waiting is None and not self._gone:
            left = math.inf if self._seconds is None else self._began + self._seconds - time.monotonic()
            if left <= 0:
                raise BudgetExceededError(budget_spent("seconds", self._seconds or 0.0))
            self._changed.wait(min(left, SIGNALS))

    def _refusal(self) -> SubmissionError | None:
        standing = self._standing
        if standing is not None and standing.left < standing.needed:
            return SubmissionError(
                f"the budget is spent: a submission may take {standing.needed} episodes, and {standing.left} of"
                f" {standing.budget} are left; call finish",
                SPENT,
            )
        if standing is not None and standing.refused >= MOST_REFUSED:
            return SubmissionError(
                f"{standing.refused} controllers were refused unrun, and no more are read; call finish", SPENT
            )
        return None

    def publish(self, description: AgentAnswer, standing: SubmissionState) -> None:
        """Keep what the next ``chat``, or the end of the run, answers.

        Not earlier: while a resumed run is replayed from its journal, ``chat`` is not called, and what it knows by then
        is not yet what it knew.

        Args:
            description: of the task.
            standing: after the latest outcome.
        """
        with self._changed:
            self._next = description, standing, standing.latest

    def refuse(self, message: str, standing: SubmissionState) -> None:
        """Keep the refusal of the submission that was taken, which costs nothing.

        Args:
            message: every problem, a line each.
            standing: with the refusal counted.
        """
        with self._changed:
            description = self._next[0] if self._next is not None else self._description
            self._next = description, standing, SubmissionError(message, UNUSABLE)

    def _catch_up(self) -> None:
        """Let all verbs say what was published, and answer the submission that was taken."""
        if self._next is not None:
            self._description, self._standing, answer = self._next
            self._next = None
            self._answer(answer)

    def complete(self, result: AgentAnswer) -> None:
        """Answer ``finish``: the run is over and everything is on disk."""
        with self._changed:
            self._catch_up()
            self._result = result
            self._answer(result if self._taken is not None and self._taken.finish else None)

    @property
    def undelivered(self) -> bool:
        """Whether there is a result that no agent has asked for."""
        return self._result is not None and not self._delivered.is_set()

    def await_delivery(self, seconds: float) -> None:
        """Wait until an agent has asked for the result, at most ``seconds``."""
        self._delivered.wait(seconds)

    def leave(self, why: str) -> None:
        """Let the loop stop waiting: no further submission can come."""
        with self._changed:
            self._gone = self._gone or why
            self._changed.notify_all()

    def close(self) -> None:
        """Answer every request that waits: the run has stopped without a result."""
        with self._changed:
            # Not the error itself, which may name files of this machine.
            self._closed = SubmissionError(
                "the run has stopped; the person who started it can see why", BROKEN
            )
            self._changed.notify_all()

    def _answer(self, answer: AgentAnswer | SubmissionError | None) -> None:
        if self._taken is not None:
            self._taken.answer = answer
            self._taken = None
        self._changed.notify_all()


def short_note(note: str) -> str:
    """Return a note on one line, shortened, and without half surrogate pairs."""
    text = " ".join(note.encode(errors="replace").decode().split())
    return text if len(text) <= LONGEST_NOTE else f"{text[: LONGEST_NOTE - 1]}…"


VERBS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "describe": (
        "The task: what is observed, what an action is, the budget, what a controller looks like.",
        {},
    ),
    "submit": (
        "Roll a controller out on the training conditions: its outcome, and a trace of its most telling episode.",
        {
            "controller": "Python source that defines act(observation, memory)",
            "note": "what was changed and why, in one line; may be left out",
        },
    ),
    "latest": ("The outcome of the latest submission once more, for a client that lost it.", {}),
    "best": ("The best controller so far, with its outcome.", {}),
    "budget": ("How many episodes are left.", {}),
    "finish": (
        "Score the best controller on held-out conditions. It ends the run; nothing can be submitted after.",
        {},
    ),
}
REQUIRED = {"submit": ("controller",)}


def answer(submissions: Submissions, verb: str, arguments: Any) -> AgentAnswer:
    """Return the answer to one request, its arguments checked.

    Args:
        submissions: of the run.
        verb: one of ``VERBS``.
        arguments: plain data from outside, which must be a dict of texts.

    Raises:
        SubmissionError: the request is refused.
    """
    known = VERBS[verb][1]
    if not isinstance(arguments, dict):
        raise SubmissionError(f"{verb} must be given an object, got {type(arguments).__name__}", BAD_REQUEST)
    for name, value in arguments.items():
        if name not in known:
            fields = ", ".join(known) or "no fields"
            raise SubmissionError(f"{verb} takes {fields}, got {name[:60]!r}", BAD_REQUEST)
        if not isinstance(value, str):
            raise SubmissionError(f"{name} must be text, got {type(value).__name__}", BAD_REQUEST)
    for name in REQUIRED.get(verb, ()):
        if name not in arguments:
            raise SubmissionError(f"{verb} needs {name}, got none", BAD_REQUEST)
    methods: dict[str, Callable[..., AgentAnswer]] = {
        "describe": submissions.describe,
        "submit": submissions.submit,
        "latest": submissions.latest,
        "best": submissions.best,
        "budget": submissions.budget,
        "finish": submissions.finish,
    }
    return methods[verb](**arguments)
