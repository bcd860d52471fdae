"""The chat client: any OpenAI-compatible endpoint, budgets, record and replay."""

from trace_robot.llm.connect import Connection, answer_with, configured, connect
from trace_robot.llm.metering import Budget, Metered, Prices, Usage
from trace_robot.llm.model import ChatModel, Message, Reply, ScriptedModel
from trace_robot.llm.openai_model import OpenAIModel
from trace_robot.llm.recording import Exchange, Recorder, Replay, read_record
from trace_robot.llm.tokens import message_tokens, token_bound

__all__ = [
    "Budget",
    "ChatModel",
    "Connection",
    "Exchange",
    "Message",
    "Metered",
    "OpenAIModel",
    "Prices",
    "Recorder",
    "Replay",
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
