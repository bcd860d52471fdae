"""Any OpenAI-compatible chat endpoint, through the ``openai`` package."""

from __future__ import annotations

import email.utils
import json
import logging
import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from trace_robot.errors import MissingExtraError, ModelAuthError, ModelError, UnknownModelError
from trace_robot.llm.model import Message, Reply

log = logging.getLogger("trace_robot.llm")

OFFICIAL = "https://api.openai.com/v1"
LONGEST_WAIT = 120.0
MOST_BYTES = 16_000_000


class _Failed(Exception):
    """A request without an answer. status 0: no answer at all.

    Wait: what Retry-After asks for, seconds.
    """

    def __init__(
        self, status: int, message: str, wait: float | None = None, *, again: bool = True, slow: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.wait = wait
        self.again = again
        self.slow = slow


class OpenAIModel:
    """A chat model behind ``base_url``.

    Arguments left out come from OPENAI_BASE_URL, OPENAI_API_KEY and TRACE_ROBOT_MODEL or OPENAI_MODEL; an
    endpoint that offers a single model needs no name. seconds: a whole answer may take this long, however
    slowly it trickles in. retries: after 408, 409, 429, 5xx and connection errors, with growing pauses or
    as Retry-After says; a time-out is retried once. parallel: ask for several replies in concurrent requests
    rather than with ``n``. options: further fields of the request, such as temperature.
    """

    def __init__(
        self,
        model: str | None = None,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        seconds: float = 600.0,
        retries: int = 5,
        parallel: bool = False,
        options: Mapping[str, Any] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        given = base_url or os.environ.get("OPENAI_BASE_URL")
        self.base_url = (given or OFFICIAL).rstrip("/")
        self.model = model or os.environ.get("TRACE_ROBOT_MODEL") or os.environ.get("OPENAI_MODEL") or ""
        try:
            parts = urlsplit(self.base_url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ModelError(f"the base URL must look like http://host:port/v1, got {self.base_url!r}")
        self._key = api_key or os.environ.get("OPENAI_API_KEY") or ("none" if given else "")
        if not self._key:
            raise ModelAuthError(
                "no key for the model: set OPENAI_API_KEY, or OPENAI_BASE_URL for a server that needs none"
            )
        self.seconds = seconds
        self.retries = retries
        self.parallel = parallel
        self.options = dict(options or {})
        self._sleep = sleep
        self._random = random.Random(0)
        self._client: Any = None

    def __repr__(self) -> str:
        return f"OpenAIModel({self.model!r}, {self.address!r})"

    @property
    def address(self) -> str:
        """The base URL without anything secret in it."""
        parts = urlsplit(self.base_url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
        """Ask the model, again after a failure that may pass.

        Args:
            messages: the conversation.
            n: how many replies to ask for.

        Returns:
            At least one reply, at most ``n``.

        Raises:
            ModelAuthError: the endpoint refused the key.
            UnknownModelError: it does not know the model.
            ModelError: every retry failed.
        """
        if not self.model:
            self.model = self._only_model()
        replies = [] if self.parallel and n > 1 else self._request(messages, n)
        missing = n - len(replies)
        if missing > 0:
            with ThreadPoolExecutor(missing) as pool:
                answers = pool.map(lambda _: self._request(messages, 1)[0], range(missing))
                replies.extend(answers)
        return replies[:n]

    def models(self) -> list[str]:
        """The names of the models that the endpoint offers.

        Empty where it does not say.
        """
        try:
            return self._offered()
        except _Failed:
            return []

    def _offered(self) -> list[str]:
        data = self._send(lambda client: client.models.with_streaming_response.list())
        try:
            return sorted(str(item["id"]) for item in json.loads(data)["data"])
        except (ValueError, KeyError, TypeError):
            return []

    def _only_model(self) -> str:
        try:
            names = self._offered()
        except _Failed as failed:
            if failed.status in (401, 403):
                raise self._error(failed, 1) from failed
            names = []
        if len(names) == 1:
            return names[0]
        offered = f"; {self.address} offers {_listed(names)}" if names else ""
        raise UnknownModelError(f"no model named: give --model or set OPENAI_MODEL{offered}")

    def _request(self, messages: Sequence[Message], n: int) -> list[Reply]:
        fields: dict[str, Any] = {"model": self.model, "messages": [dict(m) for m in messages]}
        fields["extra_body"] = {**self.options, **({"n": n} if n > 1 else {})}
        slow = False
        for attempt in range(self.retries + 1):
            try:
                return _replies(
                    self._send(lambda client: _completions(client).create(**fields, timeout=self.seconds))
                )
            except _Failed as failed:
                too_long = failed.wait is not None and failed.wait > LONGEST_WAIT
                if not failed.again or too_long or (slow and failed.slow) or attempt == self.retries:
                    raise self._error(failed, attempt + 1) from failed
                slow = slow or failed.slow
                pause = failed.wait if failed.wait is not None else self._pause(attempt)
                log.info("retry %d of %d in %.1f s: %s", attempt + 1, self.retries, pause, failed.message)
                self._sleep(pause)
        raise AssertionError("unreachable")

    def _pause(self, attempt: int) -> float:
        return float(min(2.0**attempt, 30.0) * (0.75 + 0.5 * self._random.random()))

    def _send(self, call: Callable[[Any], Any]) -> bytes:
        """Return the body of a successful answer.

        Raises _Failed.
        """
        client = self._connect()
        deadline = time.monotonic() + self.seconds
        body = bytearray()
        with self._failures(), call(client) as response:
            for chunk in response.iter_bytes():
                body += chunk
                if time.monotonic() > deadline:
                    raise _Failed(0, f"no complete answer within {self.seconds:g} s", slow=True)
                if len(body) > MOST_BYTES:
                    raise _Failed(200, f"the answer is longer than {MOST_BYTES:,} bytes", again=False)
        return bytes(body)

    def _connect(self) -> Any:
        if self._client is None:
            try:
                import openai
            except ImportError as error:
                raise MissingExtraError(
                    "language models need the openai package: pip install openai"
                ) from error
            self._client = openai.OpenAI(
                api_key=self._key, base_url=self.base_url, timeout=self.seconds, max_retries=0
            )
        return self._client

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn the client's exceptions into _Failed, with the key taken out of the text."""
        import openai

        try:
            yield
        except openai.APIStatusError as error:
            raise self._status(error.status_code, error.body, error.response.headers) from error
        except openai.APITimeoutError as error:
            raise _Failed(0, f"no answer within {self.seconds:g} s", slow=True) from error
        except _transport_errors() as error:
            slow = "Timeout" in type(error).__name__
            cause = error.__cause__ or error
            raise _Failed(0, self._clean(str(cause) or type(cause).__name__), slow=slow) from error
        except (openai.OpenAIError, UnicodeError) as error:
            raise _Failed(0, self._clean(str(error)), again=False) from error

    def _status(self, status: int, body: Any, headers: Mapping[str, str]) -> _Failed:
        inner = body.get("error", body) if isinstance(body, dict) else body
        message = inner.get("message", inner) if isinstance(inner, dict) else inner
        code = inner.get("code") if isinstance(inner, dict) else None
        again = (status in (408, 409, 429) or status >= 500) and code != "insufficient_quota"
        return _Failed(
            status, self._clean(str(message or "no reason given")), _retry_after(headers), again=again
        )

    def _clean(self, text: str) -> str:
        text = (
            " ".join(text.replace(self._key, "[key]").split())
            if len(self._key) >= 8
            else " ".join(text.split())
        )
        text = re.sub(r"\b(sk|key)-[\w*.-]{6,}", "[key]", text)
        return text if len(text) <= 300 else text[:300] + "..."

    def _error(self, failed: _Failed, attempts: int) -> ModelError:
        tries = f" after {attempts} tries" if attempts > 1 else ""
        failed.message = self._clean(failed.message)
        status, where = failed.status, self.address
        if status in (401, 403):
            reason = f"{status}: {failed.message}"
            return ModelAuthError(f"{where} refused the key ({reason}); check OPENAI_API_KEY")
        if status == 404:
            return self._not_found(failed)
        if status == 0 and failed.slow:
            return ModelError(f"{where} gave {failed.message}{tries}; allow more seconds or check the server")
        if status == 0:
            return ModelError(
                f"cannot reach a model at {where}{tries}: {failed.message}; "
                "check OPENAI_BASE_URL and that the server is running"
            )
        if failed.wait is not None and failed.wait > LONGEST_WAIT:
            return ModelError(f"{where} asks to wait {failed.wait:.0f} s ({status}: {failed.message})")
        return ModelError(f"{where} answered {status}{tries}: {failed.message}")

    def _not_found(self, failed: _Failed) -> ModelError:
        names = self.models()
        if not names:
            return UnknownModelError(
                f"{self.address} answered 404 for model {self.model!r} ({failed.message}); "
                "check the model's name and that the base URL ends where the API begins, often in /v1"
            )
        return UnknownModelError(f"no model {self.model!r} at {self.address}; it offers {_listed(names)}")


def _completions(client: Any) -> Any:
    return client.chat.completions.with_streaming_response


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _transport_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of a broken connection.

    They are openai's, and those of the HTTP library under it, which has two names.
    """
    import openai

    modules = [sys.modules.get(name) for name in ("httpx", "httpx2")]
    return (openai.APIConnectionError, *(module.HTTPError for module in modules if module is not None))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = (headers.get("retry-after") or "").strip()
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        date = email.utils.parsedate_tz(text)
        return None if date is None else max(0.0, email.utils.mktime_tz(date) - time.time())


def _replies(body: bytes) -> list[Reply]:
    """Read a chat completion.

    Invalid UTF-8 becomes U+FFFD. Raises _Failed if it is none.
    """
    text = body.decode("utf-8", errors="replace")
    try:
        data = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        raise _Failed(200, f"the answer is not JSON: {text[:80]!r}") from None
    if not isinstance(data, dict) or not isinstance(data.get("choices"), list):
        error = data.get("error") if isinstance(data, dict) else None
        reason = error.get("message", error) if isinstance(error, dict) else error
        raise _Failed(200, str(reason or f"the answer has no choices: {text[:80]!r}"))
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    replies = [_reply(choice) for choice in data["choices"]] or [Reply("", "empty")]
    first = replies[0]
    spent = int(usage.get("completion_tokens") or 0)
    replies[0] = Reply(first.text, first.finish_reason, int(usage.get("prompt_tokens") or 0), spent)
    return replies


def _reply(choice: Any) -> Reply:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return Reply("", "empty")
    if message.get("refusal"):
        return Reply(str(message["refusal"]), "refusal")
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return Reply(str(content or ""), str(choice.get("finish_reason") or "stop"))
