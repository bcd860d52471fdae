"""Any OpenAI-compatible chat endpoint, through the ``openai`` package."""

from __future__ import annotations

import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from trace_robot.errors import ContextLengthError, ModelAuthError, ModelError, UnknownModelError
from trace_robot.llm.completion import IN_REASONING, USED_UP, read_completion
from trace_robot.llm.metering import counted
from trace_robot.llm.model import Message, Reply
from trace_robot.llm.refusal import (
    Adjustment,
    RequestFailed,
    adjusted,
    context_limit,
    decode,
    parse_json,
    simpler,
)
from trace_robot.llm.transport import (
    MOST_BYTES,
    check_response,
    create_client,
    failures,
    is_page,
    proxy_for,
    read_body,
    require_sendable,
    split_address,
    without_page,
    without_secrets,
)

log = logging.getLogger("trace_robot.llm")
T = TypeVar("T")

OFFICIAL = "https://api.openai.com/v1"
LONGEST_WAIT = 120.0  # seconds that an endpoint may ask to wait; a spent quota asks for hours
MOST_AT_ONCE = 8  # requests for replies that an endpoint left out
MOST_ADJUSTMENTS = 8  # of one request; each costs a refusal
PROBE_SECONDS = 10.0
PROBE_RETRIES = 2


class OpenAIModel:
    """A chat model behind an OpenAI-compatible endpoint.

    What an endpoint refuses (several replies at once, the system role, a field) is left out and remembered.

    Args:
        model: its name; TRACE_ROBOT_MODEL or OPENAI_MODEL if None. An endpoint that offers a single model needs none.
        base_url: the endpoint; OPENAI_BASE_URL, or OpenAI's, if None. A query in it is sent with every request.
        api_key: the key; OPENAI_API_KEY if None, "" for none. An endpoint other than OpenAI's needs none.
        seconds: a whole answer may take this long, however slowly it trickles in.
        retries: further requests after 408, 409, 429, 5xx and connection errors, with exponential backoff or as
            Retry-After asks. A time-out is retried once.
        parallel: ask for several replies in concurrent requests rather than with ``n``: True for all at once, a number
            for at most that number of them.
        options: further fields of the request, such as temperature.
        sleep: waits the given seconds; tests replace it.

    Attributes:
        adjustments: what is left out of requests because the endpoint refused it.
        notes: what a user should know of the endpoint, a line each.

    Raises:
        ModelError: the base URL is none.
        ModelAuthError: there is neither a key nor a base URL, or the key cannot be sent.
    """

    def __init__(
        self,
        model: str | None = None,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        seconds: float = 600.0,
        retries: int = 5,
        parallel: bool | int = False,
        options: Mapping[str, Any] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        given = base_url or os.environ.get("OPENAI_BASE_URL")
        self.base_url, self.query = split_address(given or OFFICIAL)
        self.model = model or os.environ.get("TRACE_ROBOT_MODEL") or os.environ.get("OPENAI_MODEL") or ""
        key = (os.environ.get("OPENAI_API_KEY") or "") if api_key is None else api_key
        if not key and not given:
            raise ModelAuthError(
                "no key for the model: set OPENAI_API_KEY, or OPENAI_BASE_URL for a server that needs none"
            )
        self._key = require_sendable(key, "api_key" if api_key else "OPENAI_API_KEY")
        self._remedy = (
            "set OPENAI_API_KEY" if api_key is None else "give --base-url to send OPENAI_API_KEY there"
        )
        self.seconds = seconds
        self.retries = retries
        self.parallel = parallel
        self.options = dict(options or {})
        self.adjustments: list[Adjustment] = []
        self.notes: list[str] = []
        self._sleep = sleep
        self._random = random.Random(0)  # of the jitter, so that the global generator stays as it is
        self._client: Any = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"OpenAIModel({self.model!r}, {self.address!r})"

    @property
    def address(self) -> str:
        """The base URL without anything secret in it."""
        return without_secrets(self.base_url, self.query)

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        """Ask for replies.

        Args:
            messages: the prompt.
            n: how many replies to ask for. Those that an endpoint left out are asked for one by one.

        Raises:
            ModelAuthError: the endpoint refuses the key.
            UnknownModelError: the endpoint does not know the model, or none is named and it does not offer just one.
            ContextLengthError: the prompt is longer than the endpoint's context.
            ModelError: no request was answered.
            MissingExtraError: the package ``openai`` is not installed.
        """
        if not self.model:
            self.model = self._only_model()
        answers = [] if self.parallel and n > 1 else [self._request(messages, n)]
        missing = n - sum(map(len, answers))  # some endpoints ignore the field ``n``
        if missing > 0:
            most = MOST_AT_ONCE if isinstance(self.parallel, bool) else self.parallel
            with ThreadPoolExecutor(missing if self.parallel is True else min(missing, most)) as pool:
                answers += pool.map(lambda _: self._request(messages, 1)[:1], range(missing))
        return counted(messages, answers)[:n]

    def models(self) -> list[str]:
        """Return the names of the models that the endpoint offers, [] if it lists none."""
        try:
            return self._offered()
        except RequestFailed:
            return []

    def probe(self, seconds: float = PROBE_SECONDS) -> None:
        """Check address, key and path with GET /models, which costs nothing.

        An endpoint need not list its models, so only what would fail every request is an error. A server that accepts
        the connection and answers late passes: it may be loading the model.

        Args:
            seconds: for each request.

        Raises:
            ModelAuthError: the key is refused.
            UnknownModelError: the path is wrong, or no model is named and not just one is offered.
            ModelError: nothing answers at the address.
        """
        patience, self.seconds = self.seconds, min(self.seconds, seconds)
        try:
            self._probe()
        finally:
            self.seconds = patience

    def learn(self, adjustments: Sequence[Adjustment]) -> None:
        """Leave out what an endpoint has refused before.

        Args:
            adjustments: of an earlier process of the same run.
        """
        with self._lock:
            for adjustment in adjustments:
                if adjustment not in self.adjustments:
                    self.adjustments.append(adjustment)
                    self.notes.append(self._clean(adjustment.note))

    def _probe(self) -> None:
        for attempt in range(min(self.retries, PROBE_RETRIES) + 1):
            try:
                names = self._offered(without_page)
                break
            except RequestFailed as failed:
                reached = failed.status != 0 or failed.read
                lasting = reached or not failed.again or attempt == min(self.retries, PROBE_RETRIES)
                if not lasting:
                    self._sleep(self._pause(attempt))
                    continue
                self._check_probe(failed, attempt + 1)
                names = []
                break
        if not self.model:
            self.model = self._chosen(names)

    def _check_probe(self, failed: RequestFailed, attempts: int) -> None:
        """Raise where a failed GET /models means that every request will fail."""
        # Of a key that may not list models.
        scope = re.search(r"scope|permission", failed.message, re.IGNORECASE)
        refused = failed.status == 401 and not scope
        if refused or (failed.status == 0 and not failed.read) or 300 <= failed.status < 400:
            raise self._error(failed, attempts) from failed
        wrong = failed.status in (404, 405) or failed.page
        if wrong and not self._has_version() and not self._has_path():
            raise self._not_found(failed) from failed
        if not self.model:
            raise self._nameless(failed) from failed

    def _has_path(self) -> bool:
        """Return whether chat completions have their path, by an empty request."""
        name = self.model or "none"
        try:
            text = self._send(lambda client: _completions(client).create(model=name, messages=[]), decode)
        except RequestFailed as failed:
            named = re.search(r"model", failed.message, re.IGNORECASE)
            return failed.status not in (404, 405) or named is not None
        return not is_page(text)

    def _offered(self, read: Callable[[bytes], str] = decode) -> list[str]:
        text = self._send(lambda client: client.models.with_streaming_response.list(), read)
        try:
            data = parse_json(text)
            return sorted(str(item["id"]) for item in (data["data"] if isinstance(data, dict) else data))
        except (ValueError, KeyError, TypeError, RecursionError):
            return []

    def _only_model(self) -> str:
        try:
            names = self._offered()
        except RequestFailed as failed:
            raise self._nameless(failed) from failed
        return self._chosen(names)

    def _nameless(self, failed: RequestFailed) -> ModelError:
        """Return why the name of the model could not be looked up."""
        if failed.status in (0, 401, 403) or failed.status >= 500 or 300 <= failed.status < 400:
            return self._error(failed, 1)
        return UnknownModelError(
            f"no model named: give --model or set OPENAI_MODEL; {self.address} does not list its models "
            f"({failed.status}: {failed.message})"
        )

    def _chosen(self, names: Sequence[str]) -> str:
        if len(names) == 1:
            return names[0]
        offered = f"; {self.address} offers {_listed(names)}" if names else ""
        raise UnknownModelError(f"no model named: give --model or set OPENAI_MODEL{offered}")

    def _request(self, messages: Sequence[Message], n: int) -> list[Reply]:
        fields = {**self.options, "model": self.model, "messages": messages, **({"n": n} if n > 1 else {})}
        slow = False  # a second time-out is final: each may take ten minutes
        attempt = 0
        found: list[Adjustment] = []  # kept once a request with them is answered
        refusal: RequestFailed | None = None  # what a guess did not help against
        while True:
            known = [*self.adjustments, *found]
            sent = adjusted(fields, known)
            try:
                replies = self._answer(sent, compressed=all(a.kind != "identity" for a in known))
                self.learn(found)
                return replies
            except RequestFailed as failed:
                step, guessed = simpler(failed, sent)
                if step is not None and step not in known and len(found) < MOST_ADJUSTMENTS:
                    found.append(step)
                    refusal = (refusal or failed) if guessed else None
                    continue
                # A fault that passes says nothing of the guess: it is waited for, and reported, as any other.
                last = failed if refusal is None or failed.again else refusal
                too_long = last.wait is not None and last.wait > LONGEST_WAIT
                context = context_limit(last)[0]
                if context and refusal is None:
                    self.learn(found)  # what was understood on the way holds for the shorter prompt, too
                if not last.again or context or too_long or (slow and last.slow) or attempt == self.retries:
                    raise self._error(last, attempt + 1) from failed
                slow = slow or failed.slow
                pause = failed.wait if failed.wait is not None else self._pause(attempt)
                attempt += 1
                log.info("retry %d of %d in %.1f s: %s", attempt, self.retries, pause, failed.message)
                self._sleep(pause)

    def _answer(self, sent: Mapping[str, Any], *, compressed: bool) -> list[Reply]:
        body = {name: value for name, value in sent.items() if name not in ("model", "messages")}
        headers = {} if compressed else {"Accept-Encoding": "identity"}
        replies, thoughts = self._send(
            lambda client: _completions(client).create(
                model=sent["model"],
                messages=sent["messages"],
                extra_body=body,
                extra_headers=headers,
                timeout=self.seconds,
            ),
            read_completion,
        )
        if thoughts:
            cut = any(not reply.complete for reply in replies)
            self._note(USED_UP if cut else IN_REASONING)
        return replies

    def _note(self, text: str) -> None:
        with self._lock:
            if text not in self.notes:
                self.notes.append(text)

    def _pause(self, attempt: int) -> float:
        """Return seconds: exponential backoff with jitter."""
        return float(min(2.0**attempt, 30.0) * (0.75 + 0.5 * self._random.random()))

    def _send(self, call: Callable[[Any], Any], read: Callable[[bytes], T]) -> T:
        """Return what ``read`` makes of the body of a successful answer.

        Raises:
            RequestFailed: there is none, or it takes too long or too many bytes, or ``read`` raised it.
        """
        client = self._connect()
        try:
            with failures(self.seconds), call(client) as response:
                body = read_body(response, MOST_BYTES, self.seconds)
            return read(body)
        except RequestFailed as failed:
            # Here and not where messages are made: a traceback shows what they are chained to, too.
            raise replace(failed, message=self._clean(failed.message)) from failed.__cause__

    def _connect(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = create_client(
                    self._key or "none",
                    self.base_url,
                    self.query,
                    seconds=self.seconds,
                    check=lambda response: check_response(response, self.seconds),
                )
            return self._client

    def _clean(self, text: str) -> str:
        if len(self._key) >= 8:  # a short one, such as "none", may be a word of the text
            text = text.replace(self._key, "[key]")
        text = " ".join(text.split())
        # Endpoints quote keys with stars in the middle, which the exact key does not match.
        text = re.sub(r"\b(sk|key)-[\w*.-]{6,}", "[key]", text)
        return text if len(text) <= 300 else text[:300] + "..."

    def _error(self, failed: RequestFailed, attempts: int) -> ModelError:
        tries = f" after {attempts} tries" if attempts > 1 else ""
        status, where = failed.status, self.address
        reason = f"{status}: {failed.message}"
        proxy = proxy_for(self.base_url)
        way = "" if proxy is None else f" through the proxy {proxy.shown}"
        if status in (401, 403) and not self._key:
            return ModelAuthError(f"{where} needs a key ({reason}); {self._remedy}")
        if status in (401, 403) or (status == 400 and "API key" in failed.message):  # 400: Gemini
            return ModelAuthError(f"{where} refused the key ({reason}); check OPENAI_API_KEY")
        too_long, limit = context_limit(failed)
        if too_long:
            return ContextLengthError(f"{where} answered {status}{tries}: {failed.message}", limit)
        if status == 404 or (failed.page and not self._has_version()):
            return self._not_found(failed)
        if status == 0 and failed.slow and failed.read:
            return ModelError(f"{where} gave {failed.message}{tries}; allow more seconds or check the server")
        if status == 0:
            check = "OPENAI_BASE_URL and that the server is running"
            if proxy is not None:
                check = f"the proxy, or unset it, or add {urlsplit(self.base_url).hostname} to NO_PROXY"
            return ModelError(f"cannot reach a model at {where}{way}{tries}: {failed.message}; check {check}")
        if failed.wait is not None and failed.wait > LONGEST_WAIT:
            return ModelError(f"{where} asks to wait {failed.wait:.0f} s ({reason})")
        return ModelError(f"{where} answered {status}{way}{tries}: {failed.message}")

    def _not_found(self, failed: RequestFailed) -> ModelError:
        names = self.models()
        if names and self.model not in names:
            return UnknownModelError(f"no model {self.model!r} at {self.address}; it offers {_listed(names)}")
        if self._has_version():
            check = "check the model's name and that the base URL ends where the API begins, often in /v1"
        else:
            check = f"is /v1 missing at the end of the base URL, as in {urlsplit(self.base_url).path}/v1?"
        return UnknownModelError(
            f"{self.address} answered {failed.status} for model {self.model!r} ({failed.message}); {check}"
        )

    def _has_version(self) -> bool:
        return re.search(r"/v[0-9]", urlsplit(self.base_url).path) is not None


def _completions(client: Any) -> Any:
    return client.chat.completions.with_streaming_response


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")
