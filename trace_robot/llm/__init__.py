"""The chat client: any OpenAI-compatible endpoint, budgets, record and replay.

Names are imported when they are first used (PEP 562): optimizers need the types of messages, and no client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trace_robot.llm.command_model import CommandModel
    from trace_robot.llm.config import ConnectedModel, ModelConfig, answer_with, configured, connect
    from trace_robot.llm.metering import Budget, MeteredModel, Prices, Usage, message_tokens, token_bound
    from trace_robot.llm.model import CallableModel, ChatModel, Message, Reply, ScriptedModel
    from trace_robot.llm.openai_model import OpenAIModel
    from trace_robot.llm.recording import Exchange, RecordingModel, ReplayModel, read_record

_HOMES = {
    "command_model": ("CommandModel",),
    "config": ("ConnectedModel", "ModelConfig", "answer_with", "configured", "connect"),
    "metering": ("Budget", "MeteredModel", "Prices", "Usage", "message_tokens", "token_bound"),
    "model": ("CallableModel", "ChatModel", "Message", "Reply", "ScriptedModel"),
    "openai_model": ("OpenAIModel",),
    "recording": ("Exchange", "RecordingModel", "ReplayModel", "read_record"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

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

    def __getattr__(name: str) -> Any:
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
