"""The chat model: a protocol of one method, its messages and replies."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from trace_robot.errors import ModelError, OrderError

Message = Mapping[str, str]

# Names of one thing: length (OpenAI), MAX_TOKENS (Gemini), max_tokens (Anthropic), model_length (Mistral, TGI).
CUT_OFF = re.compile(r"length|max|limit|truncat|incomplete|exceed|window|cut.?off", re.IGNORECASE)
DECLINED = re.compile(r"refus|filter|safety|block|prohibit|recitation|sensitive|guardrail", re.IGNORECASE)


def is_encodable(text: str) -> bool:
    """Return whether UTF-8 can hold a text, which has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a model.

    Args:
        text: the answer; half a surrogate pair in it becomes a question mark.
        finish_reason: "stop" when complete, "length" when cut off, "refusal" or "content_filter" when declined (or
            another endpoint's name for these), otherwise as the endpoint gave it.
        prompt_tokens: of the whole request, on its first reply only; 0 where the endpoint counts none.
        completion_tokens: as the endpoint counts them, for all replies to a request on the first of them.
    """

    text: str
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __post_init__(self) -> None:
        # JSON may escape half a surrogate pair, which no file or database takes.
        if not is_encodable(self.text):
            joined = self.text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            object.__setattr__(self, "text", joined.encode(errors="replace").decode())

    @property
    def complete(self) -> bool:
        """False where the text was cut off, so that its end cannot be trusted."""
        return not CUT_OFF.search(self.finish_reason)

    @property
    def declined(self) -> bool:
        """True where the model or a filter refused an answer."""
        return bool(DECLINED.search(self.finish_reason))

    def to_data(self) -> dict[str, Any]:
        """Return JSON-able data, the keyword arguments of a Reply."""
        return {
            "text": self.text,
            "finish_reason": self.finish_reason,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
        }


class ChatModel(Protocol):
    """Anything with this method ``chat`` is a chat model."""

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        """Answer a prompt.

        Args:
            messages: dicts with "role" ("system", "user" or "assistant") and "content", the last one from the user.
            n: how many replies to give.

        Returns:
            ``n`` replies.

        Raises:
            ModelError: there is no answer.
        """
        ...


IMAGES = "images"  # of a message: its pictures as JSON, a caption and a data URL each
IMAGE_TOKENS = 800  # of one picture of at most 512 by 512 pixels: OpenAI counts 255, Anthropic 350, Qwen 334


def with_images(messages: Sequence[Message], pictures: Sequence[tuple[str, str]]) -> list[Message]:
    """Return messages of which the first of the user has pictures.

    Args:
        messages: the prompt.
        pictures: of each a caption and a data URL.
    """
    changed = list(messages)
    for index, message in enumerate(changed):
        if message["role"] == "user" and pictures:
            changed[index] = {**message, IMAGES: json.dumps([list(picture) for picture in pictures])}
            break
    return changed


def images_of(message: Message) -> list[tuple[str, str]]:
    """Return the pictures of a message, a caption and a data URL each."""
    return [(str(caption), str(url)) for caption, url in json.loads(message.get(IMAGES, "[]"))]


def user(content: str) -> Message:
    """Return a message of the user."""
    return {"role": "user", "content": content}


def system(content: str) -> Message:
    """Return a message that sets the model's task."""
    return {"role": "system", "content": content}


def assistant(content: str) -> Message:
    """Return a message that quotes an earlier reply of the model."""
    return {"role": "assistant", "content": content}


Answer = str | Reply | ModelError | Callable[[Sequence[Message]], str]


class ScriptedModel:
    """A chat model for tests that answers from a queue.

    Args:
        answers: texts, Replies, functions of the messages that return a text, or ModelErrors to raise.

    Attributes:
        history: every list of messages that it was asked with.
    """

    def __init__(self, answers: Iterable[Answer] = ()) -> None:
        self.answers: deque[Answer] = deque(answers)
        self.history: list[list[Message]] = []

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        """Return the next answers of the queue.

        Args:
            messages: kept in ``history``, and given to answers that are functions.
            n: how many answers to take.

        Raises:
            ModelError: the queue is empty, or the next answer is this error.
        """
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


class CallableModel:
    """A chat model around a function in the form of OpenAI's client.

    Args:
        function: called with the keywords ``messages`` and ``max_tokens``; what it returns has the text in
            ``choices[0].message.content``, as attributes or as items, or is the text.
        max_tokens: of a reply.
    """

    def __init__(self, function: Callable[..., Any], *, max_tokens: int = 4096) -> None:
        self.function, self.max_tokens = function, max_tokens

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        """Call the function ``n`` times.

        Args:
            messages: the prompt.
            n: how many replies to give.

        Raises:
            ModelError: the function raised, or returned no text.
        """
        return [self._ask([dict(message) for message in messages]) for _ in range(n)]

    def _ask(self, messages: list[dict[str, str]]) -> Reply:
        try:
            response = self.function(messages=messages, max_tokens=self.max_tokens)
        except ModelError:
            raise
        except Exception as error:  # of a user's function, which may raise anything
            raise ModelError(f"the model's function raised {type(error).__name__}: {error}") from error
        if isinstance(response, str):
            return Reply(response)
        with suppress(KeyError, IndexError, TypeError, AttributeError):
            choice = _part(response, "choices")[0]
            text = _part(_part(choice, "message"), "content")
            if isinstance(text, str):
                return Reply(text, str(_part(choice, "finish_reason", "stop") or "stop"))
        raise ModelError(
            f"the model's function must return a text in choices[0].message.content, got {response!r:.200}"
        )


def _part(holder: Any, name: str, *default: str) -> Any:
    """Return an item of a mapping or an attribute of an object."""
    if isinstance(holder, Mapping):
        return holder.get(name, *default) if default else holder[name]
    return getattr(holder, name, *default)


def configured_model(name: str | None = None, **options: Any) -> ChatModel:
    """Return the model that the environment variables name.

    Args:
        name: of the model; None for OPENAI_MODEL, or the endpoint's only one.
        options: further fields of every request; one that is None is left out.

    Raises:
        OrderError: neither OPENAI_API_KEY nor OPENAI_BASE_URL is set.
    """
    # By name, and only here: it loads the client, which a scripted model does not need, and stands above this module.
    config = import_module("trace_robot.llm.config")
    if not config.configured():
        raise OrderError(
            "asking for a proposal needs a model; give one to the optimizer, or set OPENAI_API_KEY or OPENAI_BASE_URL"
        )
    request = {field: value for field, value in options.items() if value is not None}
    model: ChatModel = config.connect(name, options=request)
    return model
