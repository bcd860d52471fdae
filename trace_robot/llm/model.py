"""What a chat model is: messages in, replies out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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
    """``messages`` are dicts with "role" ("system", "user", "assistant") and "content".

    ``chat`` returns ``n`` replies. Raises ModelError where there is no answer.
    """

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]: ...


def user(content: str) -> Message:
    return {"role": "user", "content": content}


def system(content: str) -> Message:
    return {"role": "system", "content": content}


def assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}
