"""Failed requests: the reason in an error's body, whatever form it has."""

from __future__ import annotations

import json
import re
from typing import Any

MOST_TOKENS = 100_000_000  # of one request; a larger count is no count
LONGEST_MESSAGE = 4000  # characters of an error that are looked at
DEEPEST = 8  # levels of details and errors inside each other
TAG = re.compile(r"<[^<>]*>")
TITLE = re.compile(r"<title[^<>]*>([^<]*)", re.I)
PASSING = (408, 409, 425, 429)  # statuses below 500 after which the same request may succeed
NO_REASON = "no reason given"


class RequestFailed(Exception):
    """A request without an answer, a step on the way to a ModelError.

    Args:
        status: of HTTP, or the one that a body with status 200 names; 0 for no answer at all.
        message: the reason, without the key.
        wait: seconds that Retry-After asks for, None where it asks for none.
        again: whether another request may help.
        slow: whether the time was over.
        refused: the fields, codes and types that the endpoint names, as one text.
        limit: tokens of the endpoint's context, where it names them as a field.
        encoded: whether the compression of the answer is broken.
        read: whether the server was reached, for a status of 0.
        page: whether a web page came in place of an answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        wait: float | None = None,
        *,
        again: bool = True,
        slow: bool = False,
        refused: str = "",
        limit: int | None = None,
        encoded: bool = False,
        read: bool = False,
        page: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.wait = wait
        self.again = again
        self.slow = slow
        self.refused = refused
        self.limit = limit
        self.encoded = encoded
        self.read = read
        self.page = page


def decode(body: bytes) -> str:
    """Return the text of a body, with U+FFFD for invalid UTF-8."""
    return body.decode("utf-8", errors="replace").lstrip("\ufeff").strip()


def whole_characters(text: str) -> str:
    """Return a text that can be encoded: halves of surrogate pairs joined, lone ones as U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def failure_of(status: int, text: str, wait: float | None = None) -> RequestFailed:
    """Return what an error's body tells.

    Args:
        status: of HTTP.
        text: the body.
        wait: seconds that the headers ask to wait.
    """
    try:
        data = parse_json(text)
    except (ValueError, RecursionError):
        page = plain_page(text) if is_page(text) else text
        data = {"message": page}
    return failure(status, data, wait)


def is_page(text: str) -> bool:
    """Return whether a body is a web page."""
    return text.lstrip()[:200].lower().startswith(("<!doctype", "<html", "<head", "<body", "<?xml"))


def plain_page(text: str) -> str:
    """Return the title of a web page, or the beginning of its text."""
    title = TITLE.search(text)
    words = title.group(1) if title and title.group(1).strip() else TAG.sub(" ", text[:4000])
    return " ".join(words.split())[:200]


def parse_json(text: str) -> Any:
    """Parse JSON; line ends inside strings are allowed, and integers beyond all counts become infinite.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deeply.
    """
    return DECODER.decode(text)


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= 30 else float(digits)  # int refuses more than 4,300 digits


DECODER = json.JSONDecoder(strict=False, parse_int=_integer)


def failure(status: int, data: Any, wait: float | None = None) -> RequestFailed:
    """Return the error in a body, with the status that it names where HTTP's is 200."""
    found: dict[str, Any] = {}
    message = _explained(data, found) or NO_REASON
    code = found.get("code")
    if status == 200 and re.fullmatch("[45][0-9][0-9]", str(code)):
        status = int(str(code))
    spent = "insufficient_quota" in f"{found.get('code')} {found.get('type')}"
    # 429 is both "slow down" and "your money is used up"; only the first passes.
    again = (status < 400 or status >= 500 or status in PASSING) and not spent
    names = " ".join(str(found[name]) for name in ("code", "type", "param") if found.get(name) is not None)
    limit = found.get("n_ctx")
    return RequestFailed(
        status,
        whole_characters(message[:LONGEST_MESSAGE]),
        wait,
        again=again,
        refused=names[:300],
        limit=int(limit) if isinstance(limit, int) and 0 < limit <= MOST_TOKENS else None,
    )


def _explained(data: Any, found: dict[str, Any], depth: int = 0) -> str:
    """Return the message of an error in any of the usual forms; ``found`` takes its code, type and parameter."""
    if isinstance(data, str):
        return data.strip()
    if depth > DEEPEST:
        return ""
    if isinstance(data, list):
        return "; ".join(filter(None, (_explained(item, found, depth + 1) for item in data[:5])))
    if not isinstance(data, dict):
        return ""
    for name in ("code", "type", "param", "n_ctx", "status"):
        if isinstance(data.get(name), str | int):
            found["code" if name == "status" and "code" not in found else name] = data[name]
    names = ("message", "msg", "detail", "error", "errors", "error_description", "title", "reason")
    texts = (_explained(data[name], found, depth + 1) for name in names if data.get(name))
    text = next(filter(None, texts), "")
    place = data.get("loc")
    if text and isinstance(place, list):  # pydantic names the field beside the message
        text = f"{'.'.join(str(part) for part in place[:8])}: {text}"
    metadata = data.get("metadata")
    raw = (
        metadata.get("raw") if isinstance(metadata, dict) else None
    )  # OpenRouter: what the provider answered
    return f"{text}: {raw}" if isinstance(raw, str) and raw not in text else text
