"""Refused requests: the reason in an error's body, and a simpler request.

Graceful degradation: what an endpoint refuses is left out and asked for in another way. The messages are those of vLLM,
SGLang, llama.cpp, Ollama, LM Studio, text-generation-inference, LiteLLM, OpenRouter, Mistral, Gemini, Azure and OpenAI,
as quoted in their issue trackers.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, astuple, dataclass
from typing import Any

from trace_robot.llm.model import IMAGES, Message, images_of

MOST_TOKENS = 100_000_000  # of one request; a larger count is no count
LONGEST_MESSAGE = 4000  # characters of an error that are looked at
DEEPEST = 8  # levels of details and errors inside each other
PASSING = (408, 409, 425, 429)  # statuses below 500 after which the same request may succeed
NO_REASON = "no reason given"

REFUSALS = (400, 404, 406, 413, 415, 422, 500, 501)
UNEXPLAINED = (400, 422, 501)  # where a simpler request is tried although the reason is not understood
TOKEN_FIELDS = ("max_tokens", "max_completion_tokens")

STREAM = re.compile(
    r"\bstream(ing)?\b.{0,60}\b(true|required|must|only)\b|\b(must|only)\b.{0,60}\bstream", re.IGNORECASE
)
SEVERAL = re.compile(
    r"(?<![\w\\])n(?!\w)|multiple (choices|completions|candidates|generations)"
    r"|only (one|a single|1) (choice|completion)|candidate_?count|num_return_sequences|best_of",
    re.IGNORECASE,
)
ROLES = re.compile(
    r"\bsystem\b.{0,40}\b(role|message|prompt|instruction)|\b(role|prompt|instruction|message)s?\b.{0,60}\bsystem\b"
    r"|roles? must alternate|alternat\w{1,6}.{0,30}\broles?|user and assistant roles|developer instruction"
    r"|(start|begin|first message).{0,40}\buser\b|chat.?template\b|jinja|raise_exception|messages\W{0,2}0\W{0,2}role"
    r"|(unexpected|invalid|unknown|unsupported) (message )?role|\broles?\b.{0,40}\bnot (supported|allowed|valid)",
    re.IGNORECASE,
)
PICTURES = re.compile(
    r"\bimages?\b|image_(url|input)|\bvision\b|multi-?modal|mmproj|content (part|type|block)s?\b"
    r"|\bcontent\b.{0,60}\b(string|str|text)\b",
    re.IGNORECASE,
)
CONTEXT = re.compile(
    r"context[_ -]?(length|size|window|limit)|maximum context|context.{0,20}overflow|too many (input |prompt )?tokens"
    r"|exceed\w{0,5}.{0,60}\b(context|tokens?)\b|\btokens?\b.{0,60}\b(exceed|limit|maximum|must be)"
    r"|\b(prompt|inputs?|request|messages?|conversation|context|text)\b.{0,30}\btoo (long|large|big)\b"
    r"|\b(reduce|shorten)\b.{0,20}\b(length|prompt|inputs?|size|messages)\b|input[_ ]length|max_input"
    r"|\binputs?\b.{0,10} must have less than|longer than the (model|maximum|context)",
    re.IGNORECASE,
)
TOO_LARGE = re.compile(r"too large", re.IGNORECASE)  # for a minute's tokens: no wait makes it smaller
LIMITS = (
    re.compile(r"context[_ -]?(?:length|size|window|limit)\D{0,30}?(\d[\d,]*)", re.IGNORECASE),
    re.compile(
        r"(?:maximum|max|limit|allowed|at most|up to|less than|<=?)\D{0,30}?(\d[\d,]*)", re.IGNORECASE
    ),
    re.compile(r"(\d[\d,]*)\s*(?:maximum|max\b|limit)", re.IGNORECASE),
)
LONG_NAME = 6  # letters; a shorter one inside of a field, such as "type", may be a word of any message
LEAST_CONTEXT = 100  # tokens; a smaller number in a message is no context
VALUE = re.compile(
    r"(must|should|has to|needs to) be (a |an |in |one of|between|less|greater|at |>|<|\d)|out of range|valid (number|"
    r"integer|string|boolean)|less than or equal|greater than or equal",
    re.IGNORECASE,
)
GENERIC = re.compile(
    r"\b(unknown|unsupported|unrecogni[sz]ed|unexpected|extra|additional|invalid)\W+(\w+\W+){0,3}?"
    r"(field|parameter|argument|propert|keyword|option)|extra inputs",
    re.IGNORECASE,
)


@dataclass(eq=False, repr=False)
class RequestFailed(Exception):
    """A request without an answer, a step on the way to a ModelError.

    Args:
        status: of HTTP, or the one that a body with status 200 names; 0 for no answer at all.
        message: the reason, also what ``str`` returns; without the key once it has left ``OpenAIModel``.
        wait: seconds that Retry-After asks for, None where it asks for none.
        again: whether another request may help.
        slow: whether the time was over.
        refused: the fields, codes and types that the endpoint names, as one text.
        limit: tokens of the endpoint's context, where it names them as a field.
        encoded: whether the compression of the answer is broken.
        read: whether the server was reached, for a status of 0.
        page: whether a web page came in place of an answer.
    """

    status: int
    message: str
    wait: float | None = None
    _: KW_ONLY
    again: bool = True
    slow: bool = False
    refused: str = ""
    limit: int | None = None
    encoded: bool = False
    read: bool = False
    page: bool = False

    def __post_init__(self) -> None:
        super().__init__(self.message)  # in place of all arguments, which Exception would keep


def decode(body: bytes) -> str:
    """Return the text of a body, with U+FFFD for invalid UTF-8."""
    return body.decode("utf-8", errors="replace").lstrip("\ufeff").strip()


def whole_characters(text: str) -> str:
    """Return a text that can be encoded.

    Halves of surrogate pairs are joined, lone ones become U+FFFD.
    """
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def parse_json(text: str) -> Any:
    """Parse JSON leniently.

    Line ends inside strings are allowed, and integers beyond all counts become infinite.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deeply.
    """
    return DECODER.decode(text)


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= 30 else float(digits)  # int refuses more than 4,300 digits


DECODER = json.JSONDecoder(strict=False, parse_int=_integer)


def failure(status: int, data: Any, wait: float | None = None) -> RequestFailed:
    """Return the error in a body.

    Args:
        status: of HTTP; where it is 200, the one that the body names takes its place.
        data: the body, parsed.
        wait: seconds that the headers ask to wait.
    """
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
    """Return the message of an error in any of the usual forms.

    ``found`` takes its code, type and parameter.
    """
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
    # OpenRouter: what the provider answered
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return f"{text}: {raw}" if isinstance(raw, str) and raw not in text else text


# --- a simpler request


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A simplification of every further request to an endpoint.

    Attributes:
        kind: a key of NOTES.
        field: of the request, for "drop" and "rename".
        instead: its new name.
        reason: what the endpoint answered. It may hold the request's id, so that equal steps differ in it.
    """

    kind: str
    field: str = ""
    instead: str = ""
    reason: str = dataclasses.field(default="", compare=False)

    @property
    def note(self) -> str:
        """What changes and why, as one line for people."""
        return NOTES[self.kind].format(field=self.field, instead=self.instead, reason=self.reason[:200])

    def to_data(self) -> list[str]:
        """Return JSON-able data, the arguments of an Adjustment."""
        return list(astuple(self))


NOTES = {
    "n": "the endpoint refuses several replies at once ({reason}): they are asked for one by one",
    "system": "the endpoint refuses the system role ({reason}): its text is put in front of the user's",
    "stream": "the endpoint answers as a stream only ({reason}): a stream is asked for",
    "identity": "the endpoint's compressed answers are broken ({reason}): they are asked for without compression",
    "images": "the endpoint refuses pictures ({reason}): prompts are text alone from here on",
    "drop": "the endpoint refuses the field {field} ({reason}): it is left out",
    "rename": "the endpoint refuses the field {field} ({reason}): {instead} is sent in its place",
}


def from_data(rows: Any) -> list[Adjustment]:
    """Return the adjustments that ``to_data`` wrote, without what is none."""
    if not isinstance(rows, list):
        return []
    texts = [
        row
        for row in rows
        if isinstance(row, list) and len(row) == 4 and all(isinstance(t, str) for t in row)
    ]
    return [
        Adjustment(*row) for row in texts if row[0] in NOTES and not {"model", "messages"} & {row[1], row[2]}
    ]


def adjusted(fields: Mapping[str, Any], adjustments: Iterable[Adjustment]) -> dict[str, Any]:
    """Return the fields of a request as its endpoint takes them.

    Args:
        fields: model, messages, and whatever else is sent.
        adjustments: in the order in which they were found.
    """
    changed = dict(fields)
    changed["messages"] = [
        {name: whole_characters(text) for name, text in message.items()} for message in fields["messages"]
    ]
    for adjustment in adjustments:
        if adjustment.kind == "n":
            changed.pop("n", None)
        elif adjustment.kind == "system":
            changed["messages"] = fold_system(changed["messages"])
        elif adjustment.kind == "stream":
            changed["stream"] = True
        elif adjustment.kind == "drop":
            changed.pop(adjustment.field, None)
        elif adjustment.kind == "rename" and adjustment.field in changed:
            changed[adjustment.instead] = changed.pop(adjustment.field)
    seeing = all(adjustment.kind != "images" for adjustment in adjustments)
    return {**changed, "messages": [_in_parts(message, seeing=seeing) for message in changed["messages"]]}


def _in_parts(message: Message, *, seeing: bool) -> Any:
    """Return a message as it is sent, its pictures as content parts behind the text."""
    text = {name: value for name, value in message.items() if name != IMAGES}
    if not seeing or IMAGES not in message:
        return text
    parts: list[dict[str, Any]] = [{"type": "text", "text": message["content"]}]
    for caption, url in images_of(message):
        parts += [{"type": "text", "text": caption}, {"type": "image_url", "image_url": {"url": url}}]
    return {**text, "content": parts}


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """Return messages without the system role.

    Its text is put in front of the user's. Messages of one role that then follow each other become one, as some chat
    templates ask for alternating roles.
    """
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    folded: list[dict[str, str]] = [{"role": "user", "content": system}] if system else []
    for message in messages:
        if message["role"] == "system":
            continue
        if folded and folded[-1]["role"] == message["role"]:
            folded[-1] = {
                **folded[-1],
                **message,
                "content": f"{folded[-1]['content']}\n\n{message['content']}",
            }
        else:
            folded.append(dict(message))
    return list(folded)


def context_limit(failed: RequestFailed) -> tuple[bool, int | None]:
    """Return whether a prompt was too long, and the tokens of the context.

    The number is None where the endpoint does not name it.
    """
    text = f"{failed.message} {failed.refused}"
    large = failed.status == 413 or (failed.status == 429 and TOO_LARGE.search(text))
    if not large and not (failed.status in REFUSALS and CONTEXT.search(text)):
        return False, None
    found = [
        int(m.group(1).replace(",", "")[:9]) for pattern in LIMITS if (m := pattern.search(failed.message))
    ]
    limit = failed.limit or next((number for number in found if number >= LEAST_CONTEXT), None)
    return True, limit


def simpler(failed: RequestFailed, fields: Mapping[str, Any]) -> tuple[Adjustment | None, bool]:
    """Return what to leave out of a request that was refused, None for nothing.

    Args:
        failed: the refusal.
        fields: what was sent.

    Returns:
        The adjustment, and whether it is a guess, as the reason names none of the fields.
    """
    if failed.encoded:
        return Adjustment("identity", reason=failed.message), False
    if failed.status not in REFUSALS:
        return None, False
    text = f"{failed.message} {failed.refused}"
    found = failed.status != 404  # it says that the model is not there, or that no host of it takes a field
    several = found and fields.get("n", 1) != 1
    system = found and any(message["role"] == "system" for message in fields["messages"])
    options = {name: value for name, value in fields.items() if name not in ("model", "messages", "n")}
    kind = ""
    seen = any(not isinstance(message["content"], str) for message in fields["messages"])
    # Pictures go first where a request is too large: the text says more, and the caller can shorten it after.
    if seen and (PICTURES.search(text) or context_limit(failed)[0]):
        return Adjustment("images", reason=failed.message), False
    if STREAM.search(text) and "stream" not in fields:
        kind = "stream"
    elif several and SEVERAL.search(text):
        kind = "n"
    elif tokens := _token_field(failed.message, options):
        return tokens, False
    elif context_limit(failed)[0]:
        return None, False  # the caller's to shorten
    elif system and ROLES.search(text):
        kind = "system"
    elif field := _named(text, options):
        # A value that is out of its range is the user's to correct; a field that is not known cannot be.
        return (None if VALUE.search(text) else Adjustment("drop", field, reason=failed.message)), False
    elif options and GENERIC.search(text):
        return Adjustment("drop", next(reversed(options)), reason=failed.message), False
    elif failed.status in UNEXPLAINED and seen:
        return Adjustment("images", reason=failed.message), True
    elif failed.status in UNEXPLAINED and (several or system):
        return Adjustment("n" if several else "system", reason=failed.message), True
    elif failed.status in UNEXPLAINED and options:
        return Adjustment("drop", next(reversed(options)), reason=failed.message), True
    return (Adjustment(kind, reason=failed.message) if kind else None), False


def _token_field(text: str, options: Mapping[str, Any]) -> Adjustment | None:
    """Return what to do where the field that limits a reply's tokens is refused."""
    for field, other in (TOKEN_FIELDS, TOKEN_FIELDS[::-1]):
        if field not in options or not _mentions(text, field):
            continue
        if _mentions(text, other) and other not in options and "too large" not in text:
            return Adjustment("rename", field, other, text)
        return Adjustment("drop", field, reason=text)
    return None


def _named(text: str, options: Mapping[str, Any]) -> str:
    """Return the field that a refusal names, also by one inside of it, "" for none."""
    for field, value in options.items():
        inner = [str(name) for name in value] if isinstance(value, Mapping) else []
        if any(
            _mentions(text, name) for name in (field, *(name for name in inner if len(name) >= LONG_NAME))
        ):
            return field
    return ""


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None
