"""The model behind the traced operator ``call_llm``: a given one, else the endpoint that the environment names."""

from __future__ import annotations

from typing import Any

from trace_robot.llm.model import ChatModel, Message
from trace_robot.llm.openai_model import OpenAIModel
from trace_robot.trace import operators
from trace_robot.trace.table import ask_model


def answer_with(model: ChatModel) -> None:
    """Let ``call_llm`` ask ``model``; options given to a call are then left out."""

    def ask(messages: list[Message], **_: Any) -> str:
        return model.chat(messages)[0].text

    operators.use_model(ask)


def _ask_endpoint(messages: list[Message], **options: Any) -> str:
    return OpenAIModel(options=options).chat(messages)[0].text


if not ask_model:
    operators.use_model(_ask_endpoint)
