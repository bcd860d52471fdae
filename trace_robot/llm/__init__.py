"""The chat client: any OpenAI-compatible endpoint, budgets, record and replay.

Names are imported when they are first used (PEP 562): optimizers need the types of messages, and no client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trace_robot.lazy_names import lazy_names

if TYPE_CHECKING:
    from trace_robot.llm.command_model import CommandModel
    from trace_robot.llm.config import ConnectedModel, ModelConfig, answer_with, configured, connect
    from trace_robot.llm.metering import Budget, MeteredModel, Prices, Usage, message_tokens, token_bound
    from trace_robot.llm.model import CallableModel, ChatModel, Message, Reply, ScriptedModel
    from trace_robot.llm.openai_model import OpenAIModel
    from trace_robot.llm.recording import Exchange, RecordingModel, ReplayModel, read_record

_HOMES = {
    "llm.command_model": ("CommandModel",),
    "llm.config": ("ConnectedModel", "ModelConfig", "answer_with", "configured", "connect"),
    "llm.metering": ("Budget", "MeteredModel", "Prices", "Usage", "message_tokens", "token_bound"),
    "llm.model": ("CallableModel", "ChatModel", "Message", "Reply", "ScriptedModel"),
    "llm.openai_model": ("OpenAIModel",),
    "llm.recording": ("Exchange", "RecordingModel", "ReplayModel", "read_record"),
}

__all__ = [
    "Budget",
    "CallableModel",
    "ChatModel",
    "CommandModel",
    "ConnectedModel",
    "Exchange",
    "Message",
    "MeteredModel",
    "ModelConfig",
    "OpenAIModel",
    "Prices",
    "RecordingModel",
    "ReplayModel",
    "Reply",
    "ScriptedModel",
    "Usage",
    "answer_with",
    "configured",
    "connect",
    "message_tokens",
    "read_record",
    "token_bound",
]


if not TYPE_CHECKING:  # a type checker that saw it would take any name for one of the package
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
