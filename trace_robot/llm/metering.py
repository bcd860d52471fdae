"""Counting what a model costs, and stopping in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trace_robot.errors import BudgetExceededError
from trace_robot.llm.model import ChatModel, Message, Reply
from trace_robot.llm.tokens import message_tokens, token_bound


@dataclass(frozen=True, slots=True)
class Prices:
    """Money for a million tokens, in one currency."""

    prompt: float
    completion: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits.

    None for no limit. seconds: wall clock since the meter was made.
    """

    calls: int | None = None
    tokens: int | None = None
    money: float | None = None
    seconds: float | None = None


@dataclass(slots=True)
class Usage:
    """What was used so far.

    ``failed`` calls got no answer. money stays 0 without prices.
    """

    calls: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: float = 0.0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def to_data(self) -> dict[str, Any]:
        return asdict(self)


class MeteredModel:
    """A model with counted use and a budget, checked before each call.

    used: what an earlier part of the run had used (``Usage.to_data``). Where an endpoint counts no tokens,
    the upper bound of the texts is counted. Several threads may share it.
    """

    def __init__(
        self,
        model: ChatModel,
        budget: Budget | None = None,
        *,
        prices: Prices | None = None,
        used: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self.budget = budget or Budget()
        self.prices = prices
        self.usage = Usage(**(used or {}))
        self._clock = clock
        self._started = clock() - self.usage.seconds
        self._lock = threading.Lock()

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        expected = message_tokens(messages)
        with self._lock:
            self._check(expected)
            self.usage.calls += 1
        try:
            replies = self.model.chat(messages, n)
        except BaseException:
            with self._lock:
                self.usage.failed += 1
            raise
        with self._lock:
            self._count(replies, expected)
        return replies

    def _check(self, expected: int) -> None:
        usage, budget = self.usage, self.budget
        usage.seconds = self._clock() - self._started
        price = self.prices.of(expected, 0) if self.prices else 0.0
        for name, limit, after, unit in (
            ("calls", budget.calls, usage.calls + 1, "calls"),
            ("tokens", budget.tokens, usage.tokens + expected, "tokens"),
            ("money", budget.money, usage.money + price, "in money"),
            ("time", budget.seconds, usage.seconds, "seconds"),
        ):
            if limit is not None and after > limit:
                used = {"calls": usage.calls, "tokens": usage.tokens, "money": round(usage.money, 4)}
                spent = used.get(name, round(usage.seconds, 1))
                raise BudgetExceededError(
                    f"the model budget of {limit:g} {unit} does not cover another call: {spent:g} used so far"
                )

    def _count(self, replies: Sequence[Reply], expected: int) -> None:
        prompt = sum(reply.prompt_tokens for reply in replies) or expected
        completion = sum(reply.completion_tokens or token_bound(reply.text) for reply in replies)
        self.usage.prompt_tokens += prompt
        self.usage.completion_tokens += completion
        if self.prices:
            self.usage.money += self.prices.of(prompt, completion)
        self.usage.seconds = self._clock() - self._started
