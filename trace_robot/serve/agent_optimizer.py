"""Optimizer whose candidates an agent submits: ask waits, tell answers.

A submission is the reply of a chat model to the outcome of the one before. So it is journaled before it is rolled out,
a run that was interrupted goes on where it stopped, and tables, reports and ``show`` read it as any other run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trace_robot.errors import PolicyError
from trace_robot.llm.config import ConnectedModel
from trace_robot.llm.metering import MeteredModel
from trace_robot.llm.model import ChatModel, Reply, user
from trace_robot.optimizers.problem import Attempt, Candidate, Optimizer, Outcome, Problem
from trace_robot.optimizers.prompt.graph_text import render_graph
from trace_robot.optimizers.prompt.trial_text import feedback, scored
from trace_robot.optimizers.strategies import Trial, take_waiting
from trace_robot.policy import Policy
from trace_robot.run.loop import Ended, Event, Started
from trace_robot.sandbox.static_check.check import check
from trace_robot.serve.submissions import (
    FINISHED,
    AgentAnswer,
    Submissions,
    SubmissionState,
    short_note,
)
from trace_robot.settings import AGENT

if TYPE_CHECKING:
    from trace_robot.settings import Result, Settings

TRACE_TOKENS = 4000  # of the trace in an outcome, as much as a prompt of OptoPrime has room for
MOST_PROBLEMS = 8  # of a refused controller that are shown


class AgentFactory:
    """Factory of the optimizer of a served run, and the listener to its events.

    Args:
        submissions: where the agent's controllers come in.
        budget: episodes that they may take in all.
    """

    __name__ = AGENT  # by which the run's rows name the optimizer

    def __init__(self, submissions: Submissions, budget: int) -> None:
        self.submissions, self.budget = submissions, budget
        self.why = f"controllers are submitted by an agent, {budget} episodes in all"
        self.stored: Mapping[str, Any] = {"budget": budget}
        self._optimizer: AgentOptimizer | None = None
        # Beside its meter, not behind it: a submission is no paid call, and its tokens are not known here.
        self.model = ConnectedModel(submissions, MeteredModel(submissions), "an agent")

    def __call__(self, problem: Problem, *, seed: int, model: ChatModel) -> AgentOptimizer:
        """Return the optimizer of a run.

        Args:
            problem: of the run.
            seed: not used, as nothing is drawn.
            model: the submissions, journaled.
        """
        self._optimizer = AgentOptimizer(problem, model, self.submissions, self.budget)
        return self._optimizer

    def observe(self, event: Event) -> None:
        """Take settings from the run's start and the result from its end."""
        if isinstance(event, Started) and self._optimizer is not None:
            self._optimizer.begin(event)
        elif isinstance(event, Ended):
            if self._optimizer is not None:
                self._optimizer.answer()
            self.submissions.complete(result_report(event.result))


class AgentOptimizer(Optimizer):
    """Ask and tell, where a candidate is the whole text of a submitted controller.

    Args:
        problem: whose starting values are the first candidate.
        model: gives the submissions as replies.
        submissions: gets the outcomes.
        budget: episodes that submissions may take; the starting controller's are not counted.
    """

    uses_graph = True

    def __init__(self, problem: Problem, model: ChatModel, submissions: Submissions, budget: int) -> None:
        self.problem, self.model, self.submissions, self.budget = problem, model, submissions, budget
        self.trials: list[Trial] = []
        self._log: list[Attempt] = []
        self._waiting: list[Candidate] = []
        self._texts: dict[str, int] = {}  # of candidates, by what was submitted
        self._done = ""
        self._spent = self._refused = 0
        self._unanswered = False  # the latest outcome is not published yet
        self._settings: Settings | None = None
        self._policy: Policy | None = None
        self._description = AgentAnswer("")

    def begin(self, event: Started) -> None:
        """Take the run's settings and describe the task."""
        self._settings, self._policy = event.settings, event.policy
        self._description = description(self.problem, event, self.budget)

    @property
    def needed(self) -> int:
        """Episodes that one submission takes at most."""
        settings = self._settings
        return 0 if settings is None else settings.episodes + settings.confirm

    @property
    def log(self) -> Sequence[Attempt]:
        """Every submission so far, those that were refused too."""
        return self._log

    @property
    def best(self) -> Candidate | None:
        """The candidate with the highest score, by which the run accepts one."""
        trial = self._best_trial()
        return None if trial is None else trial.candidate

    @property
    def done(self) -> str:
        """Why there is nothing more to ask for, "" while there is."""
        return "" if self._waiting else self._done

    def ask(self) -> list[Candidate]:
        """Return the starting controller, then each submission as it comes.

        Raises:
            BudgetExceededError: the time is over.
            RunError: the agent has left.
        """
        if not self._waiting and not self.trials:
            self._waiting = [self.problem.start()]
        self.answer()
        while not self._waiting and not self._done:
            # A number, not the outcome's text: the journal has its hash, and a later version may word it otherwise.
            (reply,) = self.model.chat([user(f"submission {len(self._log) + 1}")])
            self._take(reply)
        return list(self._waiting)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Take outcomes."""
        for outcome in outcomes:
            candidate = take_waiting(self._waiting, outcome)
            self.trials.append(Trial.of(candidate, outcome))
            self._spent += len(outcome.scores) if candidate.origin == AGENT else 0
        self._unanswered = True

    def answer(self) -> None:
        """Answer the submission that was rolled out, once everything on it is on disk.

        The loop writes an iteration after ``tell``, so that this is called by the next ``ask``, or at the end.
        """
        if self._unanswered:
            self._unanswered = False
            self.submissions.publish(self._description, self._standing())

    def _take(self, reply: Reply) -> None:
        """Make a candidate of a submission, or refuse it."""
        if reply.finish_reason == FINISHED:
            self._done = "the agent finished"
            return
        note, _, source = reply.text.partition("\n\n")
        text, problems = self._fitted(source)
        number = None if problems else len(self._texts) + 1
        self._log.append(
            Attempt("submission", (user(self._latest_text()),), reply, tuple(problems), number, note)
        )
        if number is None:
            self._refused += 1
            self.submissions.refuse("\n".join(problems), self._standing())
            return
        self._texts[source] = number
        best = self._best_trial()
        parent = None if best is None else best.candidate.id
        self._waiting = [Candidate(number, parent, {}, note, AGENT, text=text)]

    def _latest_text(self) -> str:
        # The description is the same for each and would fill the store.
        return self._standing().latest.text if self._log else self._description.text

    def _fitted(self, source: str) -> tuple[str, list[str]]:
        """Return the text that runs, or the problems for which it cannot."""
        if source in self._texts:
            return "", [
                f"this is the text of trial {self._texts[source]}, which would do the same; change something"
            ]
        control = "" if self._policy is None else self._policy.control or ""
        try:
            policy = Policy.from_text(source, "of the submission").require_act()
            if policy.control is None and control:
                # Below everything else, so that the lines of its errors are those that were submitted.
                policy = Policy.from_text(
                    f'{policy.text.rstrip()}\n\nCONTROL = "{control}"\n', "of the submission"
                )
            if policy.control not in (None, control):
                return "", [f"CONTROL must be {control!r} or left out, got {policy.control!r:.40}"]
            text = policy.with_names().text
        except PolicyError as error:
            return "", [short_note(str(error))]
        # A message may quote a name as long as the whole text.
        refused = [f"line {fault.line}: {short_note(fault.message)}" for fault in check(text)]
        more = [f"and {len(refused) - MOST_PROBLEMS} more"] if len(refused) > MOST_PROBLEMS else []
        return text, [*refused[:MOST_PROBLEMS], *more]

    def _best_trial(self) -> Trial | None:
        # The first of equals, by the rule of run.acceptance.
        return max(self.trials, key=lambda trial: _score(trial.outcome), default=None)

    def _standing(self) -> SubmissionState:
        latest, best = self.trials[-1], self._best_trial() or self.trials[-1]
        left = self.budget - self._spent
        number = best.candidate.id
        place = (
            "It is the best so far."
            if best is latest
            else f"The best so far is trial {number}: {scored(best)}."
        )
        budget = {"left": left, "budget": self.budget}
        rest = f"{left} of {self.budget} episodes are left."
        if best.outcome.success == 1:
            rest += (
                " The best one succeeds in all training conditions: finish scores it on the held-out ones."
            )
        return SubmissionState(
            AgentAnswer(
                "\n\n".join([place, outcome_text(latest), rest]),
                {**outcome_data(latest), "best": number, **budget},
            ),
            AgentAnswer(
                f"{outcome_text(best)}\n\n```python\n{self._text(best).rstrip()}\n```",
                {**outcome_data(best), "controller": self._text(best), **budget},
            ),
            left,
            self.needed,
            self.budget,
            self._refused,
        )

    def _text(self, trial: Trial) -> str:
        if trial.candidate.text or self._policy is None:
            return trial.candidate.text
        return self._policy.render(trial.candidate.values)


def _score(outcome: Outcome) -> float:
    return -math.inf if math.isnan(outcome.score) else outcome.score


def outcome_text(trial: Trial) -> str:
    """Return the feedback on a trial and its trace, as a prompt of OptoPrime has them."""
    parts = render_graph(trial.graph, TRACE_TOKENS) if trial.graph else {}
    trace = [f"{name}\n{text}" for name, text in parts.items()]
    return "\n\n".join([feedback(trial), *(["Trace of its most telling episode:"] if trace else []), *trace])


def outcome_data(trial: Trial) -> dict[str, Any]:
    """Return a trial's numbers: score, success, and a line an episode."""
    outcome = trial.outcome
    columns = {
        "success": outcome.details.get("success", ()),
        "reward": outcome.details.get("reward", ()),
        "decisions": outcome.details.get("steps", ()),
    }
    return {
        "trial": trial.candidate.id,
        "note": trial.candidate.note,
        "score": None if math.isnan(outcome.score) else outcome.score,
        "success": outcome.success,
        "episodes": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
        "faults": [fault.category for fault in outcome.faults],
    }


def description(problem: Problem, event: Started, budget: int) -> AgentAnswer:
    """Return what an agent has to know of a task before its first submission.

    Args:
        problem: of the run.
        event: its start, with settings, environment and policy.
        budget: episodes in all.
    """
    settings, limits = event.settings, event.settings.limits
    least = settings.episodes + settings.confirm
    confirm = (
        f" One that succeeds in all of them takes {settings.confirm} more, and its score is over all of these."
        if settings.confirm
        else ""
    )
    parts = [
        f"# Task {event.spec.name}",
        problem.context,
        f"The score: {problem.objective}",
        "# What to submit",
        "Python source that defines act(observation, memory). The run begins with this one:",
        f"```python\n{event.policy.text.rstrip()}\n```",
        "name = node(value, trainable=True) makes a constant, and @bundle(trainable=True) a function, one entry of the"
        " trace; both are imported from trace_robot, and neither is needed.",
        "# Budget",
        f"{budget} episodes. A submission takes {settings.episodes}, on the same conditions every time.{confirm} One is"
        f" taken at a time, while at least {least} episodes are left. A controller that is refused unrun costs none;"
        " the starting controller's episodes are not counted.",
        "# Limits of a controller",
        f"{limits.load_seconds:g} s to load, {limits.call_seconds:g} s of CPU time a call, {limits.episode_seconds:g} s"
        f" an episode, {limits.memory_mb} MB of memory. It runs locked in: no files, no network, no processes, nothing"
        " of the evaluator.",
        "# The end",
        f"finish scores the best controller on {settings.held_out} held-out conditions, which no submission is ever run"
        " on. That is the result, and ends the run.",
    ]
    text = "\n\n".join(parts)
    return AgentAnswer(
        text,
        {
            "task": event.spec.name,
            "control": event.spec.control,
            "observation": [_field(part) for part in event.spec.observation],
            "action": [
                {
                    **_field(part),
                    "low": list(event.spec.low[part.start : part.stop]),
                    "high": list(event.spec.high[part.start : part.stop]),
                }
                for part in event.spec.action
            ],
            "decisions": event.spec.horizon,
            "episodes": settings.episodes,
            "confirm": settings.confirm,
            "held_out": settings.held_out,
            "budget": budget,
            "feedback": settings.feedback,
            "controller": event.policy.text,
        },
    )


def _field(part: Any) -> dict[str, Any]:
    return {"name": part.name, "size": part.size, "unit": part.unit, "meaning": part.meaning}


def result_report(result: Result) -> AgentAnswer:
    """Return a finished run's held-out result."""
    low, high = result.held_out_interval
    text = (
        f"held out: success {result.held_out_success:.2f} of {result.held_out_episodes} episodes (95 % interval"
        f" {low:.2f} to {high:.2f}), mean return {result.held_out_return:.4g}. In training: success"
        f" {result.training_success:.2f} of {result.training_episodes}. Ended: {result.ended}."
    )
    return AgentAnswer(
        text,
        {
            "held_out_success": result.held_out_success,
            "held_out_return": result.held_out_return,
            "held_out_episodes": result.held_out_episodes,
            "held_out_interval": [round(low, 4), round(high, 4)],
            "training_success": result.training_success,
            "best_iteration": result.best_iteration,
            "ended": result.ended,
        },
    )
