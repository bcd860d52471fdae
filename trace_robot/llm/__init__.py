"""The chat client: any OpenAI-compatible endpoint, budgets, record and replay."""

from trace_robot.llm.command_model import CommandModel
from trace_robot.llm.config import ConnectedModel, ModelConfig, answer_with, configured, connect
from trace_robot.llm.metering import Budget, MeteredModel, Prices, Usage, message_tokens, token_bound
from trace_robot.llm.model import CallableModel, ChatModel, Message, Reply, ScriptedModel
from trace_robot.llm.openai_model import OpenAIModel
from trace_robot.llm.recording import Exchange, RecordingModel, ReplayModel, read_record

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
