"""Count what a model costs, bound the tokens of a text, and stop at a budget.

Tokens are bounded from above without a tokenizer.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from trace_robot.errors import BudgetExceededError
from trace_robot.llm.model import IMAGE_TOKENS, ChatModel, Message, Reply, images_of

PIECE = re.compile(
    r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+|[^\S\n]+|\n+|[\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e]+|[^\x00-\x7f]+"
)
MESSAGE_TOKENS = 8  # for its role and its ends
LONG_WORD = 16  # letters; what is longer is no word, such as base64


def token_bound(text: str) -> int:
    """Return an upper bound of the tokens of common byte-pair encodings.

    Counted is one token for every four letters begun (two in runs too long to be words), for every digit and the space
    before it, for every punctuation character, and for every byte of other scripts. On prompts, code and prose this is
    1.3 to 1.9 times what cl100k and o200k count, which keep three digits together.

    The bound of a text without empty lines is the sum over its lines and line ends.
    """
    tokens, space = 0, False
    for match in PIECE.finditer(text):
        piece = match.group()
        tokens += _tokens(piece) + (space and piece[0].isdigit())
        space = piece == " "
    return tokens


def message_tokens(messages: Iterable[Message]) -> int:
    """Return an upper bound of the tokens of a prompt."""
    return sum(
        token_bound(message["content"])
        + MESSAGE_TOKENS
        + sum(IMAGE_TOKENS + token_bound(caption) for caption, _ in images_of(message))
        for message in messages
    )


def require_room(needed: int, budget: int) -> None:
    """Raise BudgetExceededError where variables take more tokens than a prompt has.

    Args:
        needed: by the variables.
        budget: of the prompt.
    """
    if needed > budget:
        raise BudgetExceededError(
            f"the variables alone take {needed} of {budget} tokens; give a larger token_budget"
            f" (--token-budget {needed}), or tune numbers without a model: --optimizer cma"
        )


def _tokens(piece: str) -> int:
    first = piece[0]
    if first.isascii() and first.isalpha():
        return -(-len(piece) // (4 if len(piece) <= LONG_WORD else 2))
    if first.isspace():
        return 0 if piece == " " else 1 + len(piece) // 16
    return len(piece.encode("utf-8", "surrogatepass"))  # a reply may hold half a pair


def shorten(text: str, tokens: int) -> str:
    """Return a text within some tokens, with a note for its middle if it is longer.

    Args:
        text: any text.
        tokens: most tokens of the result, by the upper bound.

    Returns:
        The text itself if it fits, else its head (two thirds of what is kept), a note and its tail. It is "" where not
        even the note fits.
    """
    if token_bound(text) <= tokens:
        return text
    note = f"\n[... {len(text):,} characters, shortened ...]\n"
    room = tokens - token_bound(note)
    if room <= 0:
        return ""
    low, high = 0, min(len(text), room * 16)  # no token is counted for more characters
    while low < high:  # bisection over the number of characters kept
        middle = (low + high + 1) // 2
        if token_bound(_ends(text, middle, note)) <= tokens:
            low = middle
        else:
            high = middle - 1
    return _ends(text, low, note)


def _ends(text: str, keep: int, note: str) -> str:
    size = keep // 3
    tail = text[len(text) - size :] if size else ""
    # The tail stands at the start of a line now, where "#Word" would begin a section of the prompt.
    if tail.startswith("#") and not tail.startswith("# "):
        tail = f" {tail}"
    return text[: keep - size] + note + tail


@dataclass(frozen=True, slots=True)
class Prices:
    """Money for a million tokens, in one currency.

    Args:
        prompt: for a million tokens of prompts.
        completion: for a million tokens of replies.
    """

    prompt: float
    completion: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the money for a request.

        Args:
            prompt_tokens: of its prompt.
            completion_tokens: of all its replies.
        """
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of a meter, None for no limit.

    Args:
        calls: requests, those without an answer included.
        tokens: of prompts and replies together.
        money: in the currency of the prices, without which there is no such limit.
        seconds: of wall clock since the meter was made.
    """

    calls: int | None = None
    tokens: int | None = None
    money: float | None = None
    seconds: float | None = None


@dataclass(slots=True)
class Usage:
    """What was used so far.

    Args:
        calls: requests, those without an answer included.
        failed: requests without an answer.
        prompt_tokens: of all prompts.
        completion_tokens: of all replies.
        money: 0 without prices.
        seconds: of wall clock.
    """

    calls: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: float = 0.0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """Those of prompts and of replies together."""
        return self.prompt_tokens + self.completion_tokens

    def to_data(self) -> dict[str, Any]:
        """Return JSON-able data, for the argument ``used`` of a meter."""
        return asdict(self)


def counted(messages: Sequence[Message], answers: Iterable[Sequence[Reply]]) -> list[Reply]:
    """Return the replies to several requests, all with tokens where one has them.

    Where none has, the meter counts the bounds.

    Args:
        messages: the prompt of each request.
        answers: the replies to each request, the tokens of all of them on the first.

    Returns:
        The replies, with upper bounds in place of the tokens that only some of the requests report.
    """
    requests = [list(replies) for replies in answers if replies]
    for replies in requests:
        first = replies[0]
        if not first.prompt_tokens and any(others[0].prompt_tokens for others in requests):
            replies[0] = replace(replies[0], prompt_tokens=message_tokens(messages))
        if not first.completion_tokens and any(others[0].completion_tokens for others in requests):
            replies[0] = replace(replies[0], completion_tokens=_bound(replies))
    return [reply for replies in requests for reply in replies]


def _bound(replies: Iterable[Reply]) -> int:
    return sum(token_bound(reply.text) for reply in replies)


class MeteredModel:
    """A chat model with counted use and a budget, checked before each call.

    Where an endpoint counts no tokens, the upper bound of the texts is counted. Several threads may share a meter.

    Args:
        model: what answers.
        budget: limits; none if None.
        prices: of tokens, to count money.
        used: what an earlier part of a run had used, as ``Usage.to_data`` returned it.
        clock: returns seconds.
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
        self._started = clock() - self.usage.seconds  # a resumed run goes on counting
        self._lock = threading.Lock()

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        """Ask ``model`` if the budget covers the prompt, and count the replies.

        Args:
            messages: the prompt.
            n: how many replies to ask for.

        Raises:
            BudgetExceededError: the budget does not cover another call. The model is not asked.
        """
        expected = message_tokens(messages)
        with self._lock:
            self._check(expected)
            self.usage.calls += 1
        try:
            replies = self.model.chat(messages, n)
        except BaseException:  # an interruption by the user is a call without an answer, too
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
        # Some endpoints report no usage: then the bounds stand in for it.
        prompt = sum(reply.prompt_tokens for reply in replies) or expected
        completion = sum(reply.completion_tokens for reply in replies) or _bound(replies)
        self.usage.prompt_tokens += prompt
        self.usage.completion_tokens += completion
        if self.prices:
            self.usage.money += self.prices.of(prompt, completion)
        self.usage.seconds = self._clock() - self._started
