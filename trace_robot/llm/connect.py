"""From settings to a model: endpoint, budget, record and replay in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trace_robot.llm.metering import Budget, MeteredModel, Prices, Usage
from trace_robot.llm.model import ChatModel, Message, Reply
from trace_robot.llm.openai_model import OpenAIModel
from trace_robot.llm.recording import RecordingModel, ReplayModel
from trace_robot.trace import operators
from trace_robot.trace.operator_table import ask_model


@dataclass(slots=True)
class ConnectedModel:
    """A chat model together with its meter.

    Args:
        model: what answers.
        meter: the part of it that counts.
        described: what answers, as text for people.
        name: of the model; empty for a record.
        address: of its endpoint, without anything secret; empty for a record.
    """

    model: ChatModel
    meter: MeteredModel
    described: str
    name: str = ""
    address: str = ""

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        """Ask ``model``.

        Args:
            messages: the prompt.
            n: how many replies to ask for.
        """
        return self.model.chat(messages, n)

    @property
    def usage(self) -> Usage:
        """What was used so far."""
        return self.meter.usage


def configured(model: str | None = None, base_url: str | None = None) -> str:
    """Return which setting names a model, as text, "" if none does.

    Nothing is contacted.

    Args:
        model: a name that was given, or None.
        base_url: an endpoint that was given, or None for that of the environment.
    """
    if base_url or os.environ.get("OPENAI_BASE_URL"):
        return "a base URL is given" if base_url else "OPENAI_BASE_URL is set"
    if os.environ.get("OPENAI_API_KEY"):
        return "OPENAI_API_KEY is set"
    return "a model is named" if model else ""


def connect(
    model: str | None = None,
    base_url: str | None = None,
    *,
    budget: Budget | None = None,
    prices: Prices | None = None,
    used: Mapping[str, Any] | None = None,
    record: Path | str | None = None,
    replay: Path | str | None = None,
    **options: Any,
) -> ConnectedModel:
    """Return a counted model: an endpoint, or a record of one.

    Args:
        model: its name; from the environment, or the endpoint's only one, if None.
        base_url: the endpoint; from the environment if None.
        budget: limits on calls, tokens, money and time.
        prices: of tokens, to count money.
        used: what an earlier part of a run had used, as ``Usage.to_data`` returned it.
        record: a file to which exchanges are appended. Requests that it holds are answered from it; these answers
            cost nothing and are not counted.
        replay: a file to answer from, without an endpoint. Counted is what was paid when it was recorded.
        options: other keyword arguments of OpenAIModel.

    Raises:
        ModelAuthError: there is neither a key nor a base URL.
        ModelError: the base URL is none.
        RunError: the file to replay or to go on with cannot be read.
    """
    if replay is not None:
        source = ReplayModel(replay)
        meter = MeteredModel(source, budget, prices=prices, used=used)
        return ConnectedModel(meter, meter, f"the record {source.path.name} of {source.total} exchanges")
    endpoint = OpenAIModel(model, base_url, **options)
    meter = MeteredModel(endpoint, budget, prices=prices, used=used)
    outer: ChatModel = meter if record is None else RecordingModel(meter, record)
    described = f"{endpoint.model or 'the model'} at {endpoint.address}"
    return ConnectedModel(outer, meter, described, endpoint.model, endpoint.address)


def answer_with(model: ChatModel) -> None:
    """Let the traced operator ``call_llm`` ask ``model``, whatever a call's options."""

    def ask(messages: list[Message], **_: Any) -> str:
        return model.chat(messages)[0].text

    operators.use_model(ask)


def _ask_endpoint(messages: list[Message], **options: Any) -> str:
    return OpenAIModel(options=options).chat(messages)[0].text


# A traced program may call a model without a word of set-up; one that was chosen before this import stays.
if not ask_model:
    operators.use_model(_ask_endpoint)
