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
    """A chat model with its meter.

    ``described`` names what answers.

    name, address: of the model and its endpoint, without anything secret; empty for a record.
    """

    model: ChatModel
    meter: MeteredModel
    described: str
    name: str = ""
    address: str = ""

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        return self.model.chat(messages, n)

    @property
    def usage(self) -> Usage:
        return self.meter.usage


def configured(model: str | None = None, base_url: str | None = None) -> str:
    """Return which setting names a model, as text, contacting none.

    Args:
        model: a name that the caller has.
        base_url: an endpoint that the caller has.

    Returns:
        The reason, such as "OPENAI_BASE_URL is set", "" if no model is configured.
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
    """Return a metered model of an endpoint, or of a record.

    Args:
        model: its name; None for the setting OPENAI_MODEL, or the only one that the endpoint offers.
        base_url: of the endpoint; None for OPENAI_BASE_URL, else OpenAI's.
        budget: limits; the call beyond one raises BudgetExceededError.
        prices: what a token costs.
        used: usage of an earlier session that counts against the budget.
        record: a file to which exchanges are appended. Answers that are in it already cost nothing.
        replay: a file that answers in place of an endpoint. It counts what was paid when it was recorded.
        options: keyword arguments of OpenAIModel.

    Raises:
        ModelError: the settings of the endpoint cannot be used, or the file cannot be read.
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
    """Let ``call_llm`` ask ``model``.

    Options given to a call are then left out.
    """

    def ask(messages: list[Message], **_: Any) -> str:
        return model.chat(messages)[0].text

    operators.use_model(ask)


def _ask_endpoint(messages: list[Message], **options: Any) -> str:
    return OpenAIModel(options=options).chat(messages)[0].text


if not ask_model:
    operators.use_model(_ask_endpoint)
