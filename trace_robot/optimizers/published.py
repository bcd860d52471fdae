"""The interface of trace-opt 0.1.3: options, summaries and models.

Programs that were written for it run with other import lines; docs/trace.md has these, and what differs.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from trace_robot.errors import ModelError, UsageError
from trace_robot.llm.model import CallableModel, ChatModel, Message, Reply, configured_model
from trace_robot.trace.backward import Named, Subgraph

# Options of the published constructors that have one meaning here, and why no other.
ONLY: Mapping[str, tuple[Any, str]] = {
    "include_example": (False, "prompts have no worked example"),
    "ignore_extraction_error": (
        True,
        "a value that does not fit is sent back to the model once, then left out",
    ),
    "log": (True, "every reply is kept in the attribute log"),
    "prompt_symbols": (None, "the names of the parts of a prompt are fixed"),
    "filter_dict": (None, "filter the entries of config_list before"),
}
TAKEN = ("llm", "config_list", "propagator", "max_tokens")
MISSING: Mapping[str, str] = {
    "summary_log": "graphs are not kept; use summarize() before step(), and log after it",
    "construct_prompt": "use messages(), which returns what the model is asked next",
    "call_llm": "use model.chat(messages)",
    "extract_llm_suggestion": "replies are read within step(); log has them with their problems",
    "construct_update_dict": "use propose(), which returns {node: value}",
    "replace_symbols": "the names of the parts of a prompt are fixed",
    "memory": "use trials; memory_size is how many a prompt shows",
    "default_propagator": "feedback is handed on as whole graphs; use propagator",
    "representation_prompt": "use messages(), which returns what the model is asked next",
    "output_format_prompt": "use messages(), which returns what the model is asked next",
}
# Keys of an entry of ``config_list`` that reach the endpoint in no request.
ENTRY = ("model", "api_key", "base_url", "api_base", "api_type", "tags")


@dataclass(frozen=True, slots=True)
class PublishedOptions:
    """What the published options of a constructor mean here.

    Attributes:
        model: what answers, None for the model that was given by position, or the configured one.
        max_tokens: of a reply of the configured model; None for the endpoint's limit.
    """

    model: ChatModel | None
    max_tokens: int | None = None


def read_options(model: Any, published: Mapping[str, Any], known: Collection[str]) -> PublishedOptions:
    """Return published options of a constructor as they are meant here.

    Args:
        model: the second argument: a chat model, or a function as the published package calls one.
        published: the options that the constructor does not know itself.
        known: the names of those that it knows.

    Raises:
        UsageError: an option is misspelt, or asks for what is not there.
    """
    for name, value in published.items():
        if name in ONLY and (value is None or value == ONLY[name][0]):
            continue
        if name in ONLY:
            raise UsageError(f"{name} must be {ONLY[name][0]!r}, got {value!r}: {ONLY[name][1]}")
        if name not in TAKEN:
            near = difflib.get_close_matches(name, [*known, *TAKEN, *ONLY], 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"the optimizer has no option {name!r}{hint}")
    given = {
        name: value
        for name, value in (("model", model), *((name, published.get(name)) for name in TAKEN[:2]))
        if value is not None
    }
    if len(given) > 1:
        raise UsageError(f"the optimizer takes one model, got {' and '.join(given)}; leave one out")
    most = published.get("max_tokens")
    if most is not None and (type(most) is not int or most < 1):
        raise UsageError(f"max_tokens must be a whole number from 1 on, got {most!r}")
    if "config_list" in given:
        return PublishedOptions(model_of_entries(given["config_list"], most))
    if not given:
        return PublishedOptions(None, most)
    return PublishedOptions(as_chat_model(next(iter(given.values())), most))


def as_chat_model(model: Any, max_tokens: int | None = None) -> ChatModel:
    """Return a chat model for one of ours or a function of the published package.

    Args:
        model: an object with ``chat``, or a function that is called with the keywords ``messages`` and ``max_tokens``.
        max_tokens: of a reply; for a function 4,096 if None, as published.

    Raises:
        UsageError: it is neither, or an object with ``chat`` that ``max_tokens`` cannot reach.
    """
    if callable(getattr(model, "chat", None)):
        if max_tokens is not None:
            raise UsageError(f"max_tokens cannot reach {type(model).__name__}; give it to that model")
        return model  # type: ignore[no-any-return]
    if callable(model):
        return CallableModel(model, max_tokens=max_tokens or 4096)
    raise UsageError(
        f"a model must have a method chat or be callable with messages=..., got {model!r:.80};"
        " trace_robot.llm.connect(name) returns the model of a name"
    )


def model_of_entries(entries: Any, max_tokens: int | None = None) -> ChatModel:
    """Return the model of a published ``config_list``.

    Args:
        entries: dicts with "model" and, where it is needed, "api_key", "base_url", and fields of every request.
        max_tokens: of a reply; None for the endpoint's limit.

    Raises:
        UsageError: it is no list of such dicts, or names an interface that is not OpenAI's.
    """
    from trace_robot.llm.openai_model import (
        OpenAIModel,
    )  # loads the client, which scripted models do not need

    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise UsageError(f"config_list must be a list of dicts with 'model', got {entries!r:.80}")
    models: list[ChatModel] = []
    for entry in entries:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("model"), str):
            raise UsageError(
                f"an entry of config_list must be a dict with 'model', got {type(entry).__name__}"
            )
        if entry.get("api_type", "openai") not in ("openai", "open_ai"):
            raise UsageError(
                f"config_list can name OpenAI's interface only, got api_type {entry['api_type']!r}"
            )
        request = {name: value for name, value in entry.items() if name not in ENTRY}
        if max_tokens is not None:
            request["max_tokens"] = max_tokens
        base_url = entry.get("base_url") or entry.get("api_base")
        models.append(OpenAIModel(entry["model"], base_url, api_key=entry.get("api_key"), options=request))
    return models[0] if len(models) == 1 else FallbackModel(models)


class FallbackModel:
    """A chat model that asks the next one where one does not answer.

    Args:
        models: in the order in which they are asked; the error of the last is the one that is raised.
    """

    def __init__(self, models: Sequence[ChatModel]) -> None:
        self.models = tuple(models)

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        """Return the answers of the first model that gives some.

        Args:
            messages: the prompt.
            n: how many replies to ask for.
        """
        for model in self.models[:-1]:
            try:
                return model.chat(messages, n)
            except ModelError:
                continue
        return self.models[-1].chat(messages, n)


class LLM:
    """The configured model as the published package calls it: a function of messages.

    Args:
        model: its name; None for what OPENAI_MODEL says, or the endpoint's only one.
    """

    def __init__(self, model: str | None = None) -> None:
        self.name = model

    def __call__(self, *, messages: Sequence[Message], **options: Any) -> SimpleNamespace:
        """Ask, and return ``choices`` as OpenAI's client does.

        Args:
            messages: the prompt.
            options: further fields of the request, such as ``max_tokens``.
        """
        reply = configured_model(self.name, **options).chat(messages)[0]
        message = SimpleNamespace(role="assistant", content=reply.text)
        choice = SimpleNamespace(index=0, message=message, finish_reason=reply.finish_reason)
        return SimpleNamespace(choices=[choice])


@dataclass(slots=True)
class FunctionFeedback:
    """A graph with its feedback as the published optimizers read it.

    Every value comes as (value, constraint or None), by the node's name.

    Attributes:
        graph: (level, ``name = operator(argument=name, ...)``) of every operation, parents first.
        documentation: operator -> what it does.
        others: intermediate results.
        roots: what the code uses, parameters too.
        output: what got feedback.
        user_feedback: as it was given, or the text of several.
        variables: the roots that are trainable parameters.
        inputs: the other roots.
    """

    graph: list[tuple[int, str]]
    documentation: dict[str, str]
    others: Named
    roots: Named
    output: Named
    user_feedback: Any
    variables: Named = field(default_factory=dict)
    inputs: Named = field(default_factory=dict)

    @property
    def code(self) -> tuple[str, ...]:
        """The lines of ``graph``."""
        return tuple(line for _, line in self.graph)

    @property
    def outputs(self) -> Named:
        """As ``output``, the name in a ``Summary``."""
        return self.output

    @property
    def feedback(self) -> str:
        """The feedback as text."""
        return str(self.user_feedback)


def node_to_function_feedback(node_feedback: Subgraph) -> FunctionFeedback:
    """Return a graph as code and values.

    Args:
        node_feedback: what ``node.backward`` left in the feedback of a parameter, or the union of several.
    """
    summary = node_feedback.summary()
    levels = {id(node): level for level, node in node_feedback.graph}
    graph = [
        (levels[id(node)], line) for node, line in zip(node_feedback.operations, summary.code, strict=True)
    ]
    return FunctionFeedback(
        sorted(graph, key=lambda pair: pair[0]),
        summary.documentation,
        summary.others,
        {**summary.variables, **summary.inputs},
        summary.outputs,
        node_feedback.user_feedback,
        summary.variables,
        summary.inputs,
    )


@dataclass(frozen=True, slots=True)
class ProblemText:
    """The parts of a published problem instance, which ``str`` joins."""

    instruction: str
    code: str
    documentation: str
    variables: str
    constraints: str
    inputs: str
    others: str
    outputs: str
    feedback: str

    def __str__(self) -> str:
        parts = ((name, getattr(self, name)) for name in self.__slots__)
        return "\n\n".join(f"#{name.capitalize()}\n{text}" for name, text in parts)


def problem_text(summary: FunctionFeedback, instruction: str, mask: Collection[str] = ()) -> ProblemText:
    """Return a summary as the parts of a problem instance.

    Args:
        summary: of ``summarize``.
        instruction: what to do.
        mask: names of parts that are left empty, such as "#Others".
    """
    texts = {
        "instruction": instruction,
        "code": "\n".join(summary.code),
        "documentation": "\n".join(summary.documentation.values()),
        "variables": _values(summary.variables),
        "constraints": "\n".join(
            f"({_type(value)}) {name}: {constraint}"
            for name, (value, constraint) in summary.variables.items()
            if constraint is not None
        ),
        "inputs": _values(summary.inputs),
        "others": _values(summary.others),
        "outputs": _values(summary.output),
        "feedback": summary.feedback,
    }
    return ProblemText(
        **{name: "" if f"#{name.capitalize()}" in mask else text for name, text in texts.items()}
    )


def _values(named: Named) -> str:
    return "\n".join(f"({_type(value)}) {name} = {value}" for name, (value, _) in named.items())


def _type(value: Any) -> str:
    return (
        "code"
        if isinstance(value, str) and value.lstrip().startswith(("def ", "@"))
        else type(value).__name__
    )


def require_verbose(verbose: Any) -> bool | str:
    """Return how much ``step`` prints, or refuse it.

    True stands for prompts and replies, "output" for replies.

    Raises:
        UsageError: it is anything else.
    """
    if verbose in (False, True, "output"):
        return bool(verbose) if verbose != "output" else "output"
    raise UsageError(f"verbose must be True, False or 'output', got {verbose!r}")


class PrintingModel:
    """A chat model that prints prompts and replies, for ``step(verbose=True)``.

    Args:
        model: what answers.
        verbose: True, or "output" for the answers alone.
        write: takes each text.
    """

    def __init__(self, model: ChatModel, verbose: bool | str, write: Callable[[str], None]) -> None:
        self.model, self.verbose, self.write = model, verbose, write

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        """Ask ``model``.

        Args:
            messages: the prompt, which is printed unless ``verbose`` is "output".
            n: how many replies to ask for.
        """
        if self.verbose != "output":
            self.write("Prompt\n" + "\n\n".join(message["content"] for message in messages))
        replies = self.model.chat(messages, n)
        for reply in replies:
            self.write("LLM response:\n" + reply.text)
        return replies
