"""Problems (OPTO, arXiv:2406.16218, section 3), candidates and outcomes.

They are plain data, so that they pass process boundaries and stores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from trace_robot.errors import UnknownNameError, ValueMismatchError
from trace_robot.fault import Fault
from trace_robot.llm.model import Message, Reply

if TYPE_CHECKING:
    from trace_robot.trace.backward import Subgraph

CONDITIONS = "conditions"  # of ``Outcome.details``: on how many a candidate was tried
Kind = Literal["code", "number", "text", "bool", "array", "list", "dict"]


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """One parameter of a problem.

    Args:
        name: unique in the problem.
        kind: of its value. The value of "code" is the source of a function.
        value: at the start.
        description: what it does, with its unit.
        constraint: None, a text, (low, high) or {"low": ..., "high": ...} with None for no bound, a list of choices, or
            a constraint of the trace engine. A text is shown and not checked.
        entry: the name of the function in code, where it is not ``name``.
        near: the value is believed to be nearly right: a tuner begins with steps of a fifth of it, not of its bounds.

    Raises:
        ValueMismatchError: ``kind`` is not one of Kind.
    """

    name: str
    kind: Kind
    value: Any
    description: str = ""
    constraint: Any = None
    entry: str = ""
    near: bool = False

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueMismatchError(
                f"parameter {self.name!r} must be one of {', '.join(get_args(Kind))}, got kind {self.kind!r}"
            )

    @property
    def function(self) -> str:
        """The name of the function that code must define."""
        return self.entry or self.name


@dataclass(frozen=True, slots=True)
class Candidate:
    """One choice of values for all parameters.

    Args:
        id: unique within an optimizer.
        parent: id of the candidate that it was made from.
        values: by the name of the parameter.
        note: what was changed and why, in one line.
        origin: what made it: "start", "model", "search", "cma", "tuning", "tuned", "given" and so on.
        program: a controller as data, which runs in place of the values (built-in search).
        seeds: initial conditions to use, None for all of them.
        text: a whole controller that runs in place of the policy with the values in it.
    """

    id: int
    parent: int | None
    values: Mapping[str, Any]
    note: str = ""
    origin: str = "start"
    program: Mapping[str, Any] | None = None
    seeds: tuple[int, ...] | None = None
    text: str = ""

    def to_data(self) -> dict[str, Any]:
        """Return JSON-able data, if the values are, with lists for arrays."""
        return {
            "id": self.id,
            "parent": self.parent,
            "values": {name: plain(value) for name, value in self.values.items()},
            "note": self.note,
            "origin": self.origin,
            "program": None if self.program is None else dict(self.program),
            "seeds": None if self.seeds is None else list(self.seeds),
            "text": self.text,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Candidate:
        """Return the candidate that ``to_data`` wrote."""
        seeds = data.get("seeds")
        return cls(**{**data, "seeds": None if seeds is None else tuple(seeds)})


@dataclass(frozen=True, slots=True)
class Evidence:
    """What each episode of a candidate showed, for prompts by worth.

    Args:
        conditions: a number for each episode; two candidates are compared on the numbers that both have.
        lines: a line of text for each.
        successes: whether each succeeded.
        traced: the place of the episode whose graph the outcome carries, -1 for none.
        why: why that episode was chosen, as text.
        faults: of different errors, several lines each.
        starts: in what the starts of all episodes differ, a line each.
        printed: what the program printed in the traced episode.
        also_printed: what it printed in further failed episodes, each with the episode's number.
        details: of the feedback's level, a line each.
        notes: on all of them together, such as that the candidate overfits, a line each.
        contacts: of the traced episode, what touched when, a line each.
        still: it stood still in all of them, and none succeeded.
    """

    conditions: tuple[int, ...]
    lines: tuple[str, ...]
    successes: tuple[bool, ...]
    traced: int = -1
    why: str = ""
    faults: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    printed: str = ""
    also_printed: tuple[tuple[int, str], ...] = ()
    details: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    contacts: tuple[str, ...] = ()
    still: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a candidate did.

    Args:
        candidate: its id.
        score: larger is better; nan for none.
        feedback: text for a model.
        success: fraction of its episodes that succeeded, 0 to 1.
        scores: one an episode.
        subgraph: of the most informative episode.
        faults: of its episodes that a controller's error ended.
        details: small named numbers, or sequences of them with one entry an episode.
        graph: the same as ``subgraph``, as records, from another process.
        evidence: of each episode, for prompts by worth. The JSON form has neither this nor a graph.
    """

    candidate: int
    score: float
    feedback: str = ""
    success: float = 0.0
    scores: tuple[float, ...] = ()
    subgraph: Subgraph | None = field(default=None, compare=False)
    faults: tuple[Fault, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    graph: tuple[Mapping[str, Any], ...] = field(default=(), compare=False)
    evidence: Evidence | None = field(default=None, compare=False)

    def to_data(self) -> dict[str, Any]:
        """Return JSON-able data without the graph."""
        return {
            "candidate": self.candidate,
            "score": float(self.score),
            "feedback": self.feedback,
            "success": float(self.success),
            "scores": [float(score) for score in self.scores],
            "faults": [
                {"category": f.category, "message": f.message, "line": f.line, "static": f.static}
                for f in self.faults
            ],
            "details": {name: plain(value) for name, value in self.details.items()},
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Outcome:
        """Return the outcome that ``to_data`` wrote."""
        faults = tuple(Fault(**fault) for fault in data.get("faults", ()))
        return cls(**{**data, "scores": tuple(data.get("scores", ())), "faults": faults})

    @property
    def rank(self) -> tuple[int, float, float]:
        """What outcomes are compared by: conditions, success, then score, nan last.

        Where conditions grow (``details["conditions"]``), a candidate is tried on more of them only if it solved all
        before: so the larger number ranks first, and fractions are compared on equal conditions alone.
        """
        score = float(self.score)
        conditions = int(self.details.get(CONDITIONS, 0))
        return conditions, self.success, -math.inf if math.isnan(score) else score

    def outranks(self, other: Outcome) -> bool:
        """Return whether this ranks above another, or equal and cured a failure of it."""
        return self.rank > other.rank or (self.rank == other.rank and bool(self.cured(other)))

    def cured(self, other: Outcome) -> list[int]:
        """Return the episodes, from 1, that this solved and ``other`` failed.

        Empty where the outcomes do not say how many conditions they are over, as those of 0.1.0.
        """
        mine, others = (outcome.details.get("success", ()) for outcome in (self, other))
        if not self.rank[0] or self.rank[0] != other.rank[0] or len(mine) != len(others):
            return []
        return [
            number for number, (now, then) in enumerate(zip(mine, others, strict=True), 1) if now and not then
        ]

    def without_graph(self) -> Outcome:
        """Return the outcome without its graph, which is by far its largest part."""
        return replace(self, subgraph=None, graph=())


@dataclass(frozen=True, slots=True)
class Problem:
    """Parameters, a context, and the trace oracle where one is at hand.

    Args:
        parameters: at least one, with different names.
        context: what is known of the problem, as text.
        objective: what the score measures, as text. A larger score is better.
        enough: fraction of successful episodes at which the problem counts as solved; None for never.
        oracle: evaluates one candidate; None where a loop outside does it.
        facts: what is known of the machine that is controlled, a line each.
        instruction: what to do, in place of the prompt's own words; "" for those.
        beside: source that stands in the same module as trainable code and is not trainable.

    Raises:
        ValueMismatchError: there is no parameter, or two have the same name.
    """

    parameters: tuple[ParameterSpec, ...]
    context: str = ""
    objective: str = ""
    enough: float | None = 1.0
    oracle: Callable[[Candidate], Outcome] | None = field(default=None, compare=False)
    facts: tuple[str, ...] = ()
    instruction: str = ""
    beside: str = ""

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.parameters]
        if not names:
            raise ValueMismatchError("a problem needs at least one parameter, got none")
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueMismatchError(f"parameter names must differ, got {doubled[0]!r} more than once")

    def __getitem__(self, name: str) -> ParameterSpec:
        for spec in self.parameters:
            if spec.name == name:
                return spec
        known = ", ".join(spec.name for spec in self.parameters)
        raise UnknownNameError(f"no parameter {name!r}; known: {known}")

    @property
    def values(self) -> dict[str, Any]:
        """The starting value of every parameter."""
        return {spec.name: spec.value for spec in self.parameters}

    def start(self) -> Candidate:
        """Return candidate 0: the starting values."""
        return Candidate(0, None, self.values, note="the starting values")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One reply of a model, and the candidate or the problems that it led to.

    Args:
        kind: "proposal", "repair" (the second chance of an unusable reply) or "no answer".
        messages: the prompt.
        reply: the reply, empty without an answer.
        problems: why it could not be used; without an answer, the error of the model.
        candidate: the id of the candidate that it suggests, None for one that is unusable or says stop.
        reasoning: why, as the model explains it.
    """

    kind: str
    messages: tuple[Message, ...]
    reply: Reply
    problems: tuple[str, ...] = ()
    candidate: int | None = None
    reasoning: str = ""

    def __getitem__(self, name: str) -> str:
        """Return a text by its published name.

        These are "system_prompt", "user_prompt" and "response".
        """
        if name == "response":
            return self.reply.text
        roles = {"system_prompt": ("system",), "user_prompt": ("user", "assistant")}
        if name not in roles:
            raise KeyError(f"an entry of the log has system_prompt, user_prompt and response, got {name!r}")
        return "\n\n".join(m["content"] for m in self.messages if m["role"] in roles[name])

    def to_data(self) -> dict[str, Any]:
        """Return JSON-able data, as stored in a run's ``attempts.json``."""
        return {
            "kind": self.kind,
            "messages": [dict(message) for message in self.messages],
            "reply": self.reply.to_data(),
            "problems": list(self.problems),
            "candidate": self.candidate,
            "reasoning": self.reasoning,
        }


class Optimizer(Protocol):
    """Ask for candidates, evaluate them, tell the outcomes, until ``done`` says why.

    ``ask`` twice without ``tell`` gives the candidates that still wait for their outcome.
    ``best`` is the best candidate with an outcome. ``done`` is "" while going on, else the reason.
    ``uses_graph``: whether the next outcomes should carry the graph of the most informative episode.
    ``log``: every reply of a model so far, empty where none is asked. A class that derives from this one inherits
    ``uses_graph`` False and an empty ``log``.
    """

    def ask(self) -> list[Candidate]: ...

    def tell(self, outcomes: Sequence[Outcome]) -> None: ...

    @property
    def uses_graph(self) -> bool:
        return False

    @property
    def log(self) -> Sequence[Attempt]:
        return ()

    @property
    def best(self) -> Candidate | None: ...

    @property
    def done(self) -> str: ...


def plain(value: Any) -> Any:
    """Return a value with lists and Python numbers for arrays and numpy numbers."""
    if hasattr(value, "tolist"):  # arrays and numpy scalars alike
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
