"""OptoPrime (arXiv:2406.16218, section 4): a language model proposes new values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trace_robot.errors import (
    BudgetExceededError,
    ContextLengthError,
    ModelAuthError,
    ModelError,
    OrderError,
    ReplayMismatchError,
    UnknownModelError,
)
from trace_robot.llm.metering import message_tokens, require_room
from trace_robot.llm.model import ChatModel, Message, Reply, assistant, configured_model, user, with_images
from trace_robot.optimizers.problem import Attempt, Candidate, Outcome, Problem, plain
from trace_robot.optimizers.prompt import OTHER_TRIALS
from trace_robot.optimizers.prompt.build import (
    ProblemInstance,
    build,
    checked_mask,
    hides_graph,
    tokens_of_values,
)
from trace_robot.optimizers.prompt.reply import CheckCode, Suggestion, UnusableReplyError, fit, parse_reply
from trace_robot.optimizers.prompt.trial_text import tie_text
from trace_robot.optimizers.prompt.worth import Traces, build_by_worth, quoted_reply
from trace_robot.optimizers.published import read_options
from trace_robot.optimizers.strategies import (
    BestFirst,
    Strategy,
    Trial,
    best_of,
    forget_graphs,
    remembered,
    take_waiting,
    with_remark,
)
from trace_robot.optimizers.torch_style import TorchStyleOptimizer, as_problem, graph_propagator

if TYPE_CHECKING:
    from trace_robot.trace import Node

NO_REPLY = "no usable reply"
# Where a prompt was too long for a context: what is left of it, and the part of a known context for the prompt. The
# bound of tokens is 1.3 to 1.9 times the true count, so more than half of the context stays for the reply.
NARROWER, PROMPT_SHARE = 0.7, 0.75
REPAIR = """\
Your reply cannot be used:
{problems}

Answer again in the form asked for, complete, with this corrected."""


class OptoPrime(TorchStyleOptimizer):
    """Ask and tell by a language model that reads graphs and feedback.

    The first candidate has the starting values. A reply that cannot be used is sent back once, with its problems, for
    repair. An optimizer made from parameter nodes has ``zero_feedback``, ``backward`` and ``step``, too.

    Args:
        parameters: a Problem, or trainable nodes of a traced program.
        model: a chat model, or a function as the published package calls one; None for the one of the environment.
        memory_size: most other trials in a prompt, the newest included; 0 for the present one alone.
        proposals: replies to ask for at once, each of which may become a candidate.
        token_budget: upper bound for the tokens of every prompt, those of repairs included.
        check_code: returns further problems of suggested source as text, such as what a sandbox would refuse.
        mask: names of parts to leave out of the prompt, such as "#History"; all of GRAPH_PARTS for no graph.
        strategy: chooses the trial to improve on and the history; BestFirst if None.
        attempts: requests in a row that may fail, or bring nothing usable, before ``done`` states that.
        context: what is known of the problem, where ``parameters`` are nodes.
        objective: what to do, where ``parameters`` are nodes; an attribute that may be set, too.
        by_worth: make prompts of whole lines by their worth, with the newest trial; else as 0.1, as recordings hold.
        published: ``llm``, ``config_list``, ``propagator`` and ``max_tokens`` of the published package.

    Attributes:
        trials: the candidates with their outcomes, in the order of evaluation.
        log: every reply with the candidate or the problems that it led to.
        counts: of "requests", "answered", "proposals", "rejected", "repaired" and "unanswered".
        notes: what a user should know of how it asks, a line each.

    Raises:
        UnknownNameError: ``mask`` has a name that is no part of a prompt.
        OrderError: ``proposals`` is not 1 although ``parameters`` are nodes, which are changed in place.
        UsageError: there is no such option, or not with this value.
    """

    uses_graph = True

    def __init__(
        self,
        parameters: Problem | Iterable[Node],
        model: ChatModel | Callable[..., Any] | None = None,
        *,
        memory_size: int = 5,
        proposals: int = 1,
        token_budget: int = 6000,
        check_code: CheckCode | None = None,
        mask: Collection[str] = (),
        strategy: Strategy | None = None,
        attempts: int = 3,
        context: str = "",
        objective: str = "",
        by_worth: bool = False,
        **published: Any,
    ) -> None:
        options = read_options(model, published, OptoPrime.__init__.__kwdefaults__ or {})
        self.problem, self.nodes = as_problem(parameters, {"context": context, "objective": objective})
        self.model, self.max_tokens = options.model, options.max_tokens
        self.propagator = graph_propagator(published.get("propagator"))
        self.memory_size, self.proposals = memory_size, proposals
        self.token_budget, self.check_code = token_budget, check_code
        self.mask, self.strategy = checked_mask(mask), strategy or BestFirst()
        self.uses_graph = type(self).uses_graph and not hides_graph(self.mask)
        self.traces: Traces | None = {} if by_worth else None  # of the trials of the last prompt
        if self.nodes and proposals != 1:
            raise OrderError(
                f"step changes nodes in place, one proposal at a time, got proposals={proposals}"
            )
        self.attempts, self.trials, self._done = attempts, list[Trial](), ""
        self.log, self.notes = list[Attempt](), list[str]()
        self.counts: Counter[str] = Counter()
        self._waiting, self._rejected = list[Candidate](), list[str]()
        self._limited = False  # by the endpoint: then only it knows whether a larger prompt fits
        self.next_id = 1
        # For a model that sees: the pictures of a trial by its candidate's id. They come on top of the token budget.
        self.pictures: Callable[[int], Sequence[tuple[str, str]]] | None = None

    # --- ask and tell

    @property
    def best(self) -> Candidate | None:
        """The candidate of ``best_trial``."""
        trial = best_of(self.trials)
        return trial.candidate if trial else None

    @property
    def waiting(self) -> list[Candidate]:
        """The candidates without an outcome yet."""
        return list(self._waiting)

    @property
    def best_trial(self) -> Trial | None:
        """The trial that ranks highest so far, None before the first one."""
        return best_of(self.trials)

    @property
    def done(self) -> str:
        """Why there is nothing more to ask for, "" while there is."""
        return "" if self._waiting else self._done

    def ask(self) -> list[Candidate]:
        """Return the candidates to evaluate, none once ``done``.

        Raises:
            OrderError: a proposal is needed, and there is no model.
            ModelError: the model has not answered at all yet, refuses the key, or is unknown.
            ReplayMismatchError: the model is a record that does not have this prompt.
            BudgetExceededError: the variables alone leave no room in the token budget.
        """
        if not self._waiting and not self.trials:
            self._waiting = [self.problem.start()]
        for _ in range(self.attempts):
            if self._waiting or self._done:
                return list(self._waiting)
            self._propose()
        if not self._waiting and not self._done:
            last = self.log[-1].problems[0] if self.log and self.log[-1].problems else "none came"
            self._done = f"{NO_REPLY} in {self.attempts} requests in a row: {last}"
        return list(self._waiting)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Take the outcomes of candidates that were asked for, in any order or number.

        Raises:
            OrderError: an outcome is of no candidate that waits for one.
        """
        for outcome in outcomes:
            candidate = take_waiting(self._waiting, outcome)
            self.learn(candidate, outcome)

    def learn(self, candidate: Candidate, outcome: Outcome) -> None:
        """Add a trial.

        Args:
            candidate: asked for, or made elsewhere (by tuning, by hand) with an id from ``new_id``.
            outcome: what it did.
        """
        trial, best = Trial.of(candidate, outcome), best_of(self.trials)
        self.trials = forget_graphs([*self.trials, trial])
        if best is not None and trial.rank == best.rank and best_of(self.trials) is self.trials[-1]:
            self.remark(candidate.id, tie_text(trial, best))
        self.next_id = max(self.next_id, candidate.id + 1)
        enough = self.problem.enough
        if enough is not None and outcome.success >= enough and not self._done:
            self._done = f"solved: candidate {candidate.id} has success {outcome.success:g}"

    def remark(self, candidate: int, text: str) -> None:
        """Add what is known of a trial besides its outcome, for the next prompts.

        Args:
            candidate: the id of the trial's.
            text: one line of it is kept.
        """
        self.trials = with_remark(self.trials, candidate, text)

    def new_id(self) -> int:
        """Return an id for a candidate that is made elsewhere."""
        self.next_id += 1
        return self.next_id - 1

    # --- the prompt

    def messages(self, budget: int | None = None) -> list[Message]:
        """Return what the model is asked next, without asking it.

        Args:
            budget: most tokens; ``token_budget`` if None.

        Raises:
            BudgetExceededError: the variables alone take more than ``token_budget``. A ``budget`` raises nothing.
        """
        if budget is not None:
            return self._build(self._instance(), budget)
        messages = self._build(self._instance(), self.token_budget)
        if not self._limited:
            require_room(message_tokens(messages), self.token_budget)
        return messages

    def prompt(self) -> str:
        """Return the next prompt as one text, for people."""
        return "\n\n".join(f"[{m['role']}]\n{m['content']}" for m in self.messages())

    def _build(self, instance: ProblemInstance, budget: int) -> list[Message]:
        return (build if self.traces is None else build_by_worth)(instance, budget)

    def _instance(self) -> ProblemInstance:
        parent = self.strategy.parent(self.trials) if self.trials else None
        history = remembered(self.strategy, self.trials, parent, self.memory_size, self.traces is not None)
        rejected = self._rejected[-2:] if parent else ()
        mask = self.mask if self.memory_size else (*self.mask, *OTHER_TRIALS)
        instance = ProblemInstance(self.problem, parent, history, rejected, mask)
        if self.traces is None:
            return instance
        most, others = self._most_tokens(instance.values), self.trials if self.memory_size else ()
        return replace(instance, traces=self.traces, others=others, most_value_tokens=most)

    # --- asking the model

    def _propose(self) -> None:
        parent = self.strategy.parent(self.trials)
        messages, answers = self._ask(self.messages, self.proposals)
        stops = 0
        for answer in answers:
            stops += self._take(parent, messages, answer, repair=True)
        if answers and stops == len(answers):
            self._done = "the model sees nothing to improve"

    def _take(self, parent: Trial, messages: Sequence[Message], answer: Reply, *, repair: bool) -> bool:
        """Make a candidate of a reply or ask for its repair. Return whether it says stop."""
        kind = "proposal" if repair else "repair"
        try:
            suggestion, values = self._read(parent, answer)
        except UnusableReplyError as error:
            self.counts["rejected"] += 1
            self.log.append(Attempt(kind, tuple(messages), answer, error.problems))
            if repair:
                return self._repair(parent, answer, error)
            self._rejected.append(str(error))
            return False
        self.counts["repaired"] += not repair  # that is, a repair that could be used
        candidate = None
        if values is not None:
            candidate = Candidate(self.new_id(), parent.candidate.id, values, suggestion.change, "model")
            self._waiting.append(candidate)
            self.counts["proposals"] += 1
        number = candidate.id if candidate else None
        attempt = Attempt(kind, tuple(messages), answer, (), number, suggestion.reasoning)
        self.log.append(attempt)
        return candidate is None

    def _repair(self, parent: Trial, answer: Reply, error: UnusableReplyError) -> bool:
        complaint = user(REPAIR.format(problems="\n".join(f"- {p}" for p in error.problems)))

        def compose() -> list[Message]:
            # The reply is quoted only as far as the parts of the prompt that are always whole leave room.
            free = self.token_budget - message_tokens([*self.messages(0), complaint])
            by_worth = self.traces is not None
            quoted = assistant(quoted_reply(answer.text, free - 30, self.token_budget, by_worth))
            room = self.token_budget - message_tokens([quoted, complaint])
            return [*self.messages(room), quoted, complaint]

        messages, answers = self._ask(compose, 1)
        if not answers:
            self._rejected.append(str(error))
            return False
        return self._take(parent, messages, answers[0], repair=False)

    def _read(self, parent: Trial, answer: Reply) -> tuple[Suggestion, dict[str, Any] | None]:
        """Return the suggestion and all values of its candidate, None if it says stop.

        Raises:
            UnusableReplyError: something is wrong with it.
        """
        names = {spec.name: spec.function for spec in self.problem.parameters if spec.kind == "code"}
        suggestion = parse_reply(answer, names, [spec.name for spec in self.problem.parameters])
        if suggestion.stop and not suggestion.values:
            return suggestion, None
        changed, faults = fit(self.problem, suggestion.values, self.check_code)
        size = tokens_of_values(changed)
        most = self._most_tokens(parent.candidate.values)
        if not faults and size > most:
            faults = [f"the values take about {size} tokens, at most {most} are taken"]
        if faults:
            raise UnusableReplyError(faults)
        values = {**parent.candidate.values, **changed}
        same = self._seen(values)  # evaluations are costly, and a repeated one would show nothing new
        if same is not None:
            raise UnusableReplyError([f"these are the values of trial {same}; change something"])
        return suggestion, values

    def _most_tokens(self, old: Mapping[str, Any]) -> int:
        # Variables are shown whole: larger ones would leave the next prompt no room for anything else. Those as large
        # as the parent's, each with a line end more, are taken: an endpoint's small context may have made the budget
        # less than twice theirs.
        return max(self.token_budget // 2, tokens_of_values(old) + len(old))

    def _seen(self, values: Mapping[str, Any]) -> int | None:
        """Return the id of a candidate with these values, None without one."""
        known = [*(trial.candidate for trial in self.trials), *self._waiting]
        return next((c.id for c in known if plain(c.values) == plain(values)), None)

    def _ask(self, compose: Callable[[], list[Message]], n: int) -> tuple[list[Message], list[Reply]]:
        """Ask with a prompt that the model's context holds. Return it and the replies."""
        while True:
            messages = compose()
            try:
                return messages, self._chat(messages, n)
            except ContextLengthError as error:
                if not self._narrow(messages, error):
                    self.counts["unanswered"] += 1
                    self._unanswered(messages, error)
                    return messages, []

    def _narrow(self, messages: Sequence[Message], error: ContextLengthError) -> bool:
        """Lower the token budget by multiplicative decrease.

        Return False where the prompt cannot become shorter.

        Raises:
            BudgetExceededError: the variables alone take more than the budget that the user asks for.
        """
        size, least = message_tokens(messages), message_tokens(self.messages(0))
        budget = NARROWER * min(size, self.token_budget)
        if error.limit is not None:
            budget = min(budget, PROMPT_SHARE * error.limit)
        wanted = error.prompt or max(int(budget), least)
        if wanted == self.token_budget or (error.prompt is None and wanted >= min(size, self.token_budget)):
            return False
        if error.prompt is not None and error.strict:
            require_room(least, error.prompt)
        self._limited = error.prompt is None or not error.strict
        self.token_budget = wanted
        self.notes.append(f"prompts have at most {wanted:,} tokens from here on: {error}")
        self.log.append(Attempt("no answer", tuple(messages), Reply("", "none"), (self.notes[-1],)))
        return True

    def _chat(self, messages: Sequence[Message], n: int) -> list[Reply]:
        model = self._asked()
        self.counts["requests"] += 1
        if self.pictures is not None and self.trials:
            messages = with_images(messages, self.pictures(self.strategy.parent(self.trials).candidate.id))
        try:
            answers = model.chat(messages, n)
        except (ModelAuthError, UnknownModelError, ReplayMismatchError, ContextLengthError):
            raise  # asking the same again would not help
        except BudgetExceededError as error:
            self._done = str(error)  # a regular end: the best so far is the result
            return []
        except ModelError as error:
            self.counts["unanswered"] += 1
            self._unanswered(messages, error)
            return []
        self.counts["answered"] += len(answers)
        return answers

    def _asked(self) -> ChatModel:
        if self.model is None:  # the configured one, connected when it is needed
            self.model = configured_model(max_tokens=self.max_tokens)
        return self.model

    def _unanswered(self, messages: Sequence[Message], error: ModelError) -> None:
        if not self.counts["answered"]:
            raise error  # likely a wrong setting; later, a fault of the connection, worth another request
        self.log.append(Attempt("no answer", tuple(messages), Reply("", "none"), (str(error),)))
