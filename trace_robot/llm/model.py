"""What a chat model is: messages in, replies out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from trace_robot.errors import ModelError

Message = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a model.

    finish_reason: "stop" when complete, "length" when cut off, "refusal" or "content_filter" when declined;
    otherwise as the endpoint gave it. prompt_tokens: of the whole request, on its first reply only.
    """

    text: str
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def complete(self) -> bool:
        """False where the text was cut off, so that its end cannot be trusted."""
        return self.finish_reason != "length"

    @property
    def declined(self) -> bool:
        return self.finish_reason in ("refusal", "content_filter")

    def to_data(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "finish_reason": self.finish_reason,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }


class ChatModel(Protocol):
    """A chat model: messages in, replies out.

    ``messages`` are dicts with "role" ("system", "user", "assistant") and "content".

    ``chat`` returns ``n`` replies. Raises ModelError where there is no answer.
    """

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]: ...


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def system(content: str) -> Message:
    return {"role": "system", "content": content}


def assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}


Answer = str | Reply | ModelError | Callable[[Sequence[Message]], str]


class ScriptedModel:
    """Answers from a queue.

    ``history`` holds every list of messages it was asked with.

    An answer is a text, a Reply, a function of the messages, or a ModelError to raise.
    """

    def __init__(self, answers: Iterable[Answer] = ()) -> None:
        self.answers: deque[Answer] = deque(answers)
        self.history: list[list[Message]] = []

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        self.history.append([dict(message) for message in messages])
        return [self._next(messages) for _ in range(n)]

    def _next(self, messages: Sequence[Message]) -> Reply:
        if not self.answers:
            raise ModelError(f"the scripted model has no answer left for request {len(self.history)}")
        answer = self.answers.popleft()
        if isinstance(answer, ModelError):
            raise answer
        if isinstance(answer, Reply):
            return answer
        return Reply(answer if isinstance(answer, str) else answer(messages))
