"""A model whose answers are given beforehand, for tests and examples."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from trace_robot.errors import ModelError
from trace_robot.llm.model import Message, Reply

Answer = str | Reply | ModelError | Callable[[Sequence[Message]], str]


class ScriptedModel:
    """Answers from a queue; ``history`` holds every list of messages it was asked with.

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
