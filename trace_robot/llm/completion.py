"""Chat completions read leniently: JSON, event streams, parts, any usage.

Endpoints that call themselves OpenAI-compatible differ in nearly every field of an answer. Whatever can be read is
read here; what cannot is a RequestFailed with the reason, and never another exception.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from trace_robot.llm.model import CUT_OFF, DECLINED, Reply
from trace_robot.llm.refusal import (
    DECODER,
    MOST_TOKENS,
    NO_REASON,
    RequestFailed,
    decode,
    failure,
    parse_json,
    whole_characters,
)
from trace_robot.llm.transport import is_page

DEEPEST = 8  # levels of parts, details and errors inside each other
OUTAGE = re.compile(r"overload|unavailable|network|time.?out|rate.?limit", re.I)  # also with "exceeded"
FAILED = re.compile(r"error|fail|abort|cancel|insufficient", re.I)
THINKING = re.compile(r"think|reason|thought", re.I)
THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
LINE_END = re.compile(r"\r\n|\n|\r")  # str.splitlines also cuts at U+2028, which may stand in a JSON string
IN_REASONING = "the model's text is empty and its answer in the reasoning, which is read in its place"
USED_UP = (
    "the model used up its tokens for reasoning and gave no answer: allow more with --request max_tokens=N, or turn"
    " reasoning off, for many servers with --request chat_template_kwargs.enable_thinking=false"
)


def read_completion(body: bytes) -> tuple[list[Reply], bool]:
    """Parse a chat completion, with U+FFFD for invalid UTF-8 and lone surrogates.

    A whole answer, an event stream of pieces, JSON lines, and JSON with "data: [DONE]" behind it are read.

    Returns:
        The replies, the tokens of the request on the first of them, and whether one has only a model's reasoning.
        Choices that are errors are left out while there is another.

    Raises:
        RequestFailed: there is no reply.
    """
    data = _unwrapped(_answer(decode(body)))
    replies: list[Reply] = []
    thoughts = False
    problem: RequestFailed | None = None
    for choice in _choices(data):
        try:
            reply, only_thoughts = _reply(choice)
        except RequestFailed as failed:
            problem = failed
            continue
        replies.append(reply)
        thoughts = thoughts or only_thoughts
    if not replies and problem is not None:
        raise problem
    replies = replies or [Reply("", "empty")]
    prompt, completion = _usage(data)
    replies[0] = Reply(replies[0].text, replies[0].finish_reason, prompt, completion)
    return replies, thoughts


# --- the body as one answer


def _answer(text: str) -> Any:
    """Return the one JSON document that a body amounts to."""
    if not text:
        raise RequestFailed(200, "the answer is empty")
    try:
        return parse_json(text)
    except (ValueError, RecursionError):
        pass
    documents, done = _documents(text)
    if not documents:
        raise RequestFailed(200, f"the answer is not JSON: {text[:80]!r}", page=is_page(text))
    whole = [data for data in documents if _is_whole(data)]
    return whole[-1] if whole else _joined(documents, done=done)


def _unwrapped(data: Any) -> Any:
    """Return an answer out of what a list of one, or some gateways, wrap it in."""
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    for name in ("data", "result", "response") if isinstance(data, dict) else ():
        inner = data.get(name)
        if "choices" not in data and isinstance(inner, dict) and "choices" in inner:
            data = {**inner, "usage": inner.get("usage") or data.get("usage")}
    return data


def _documents(text: str) -> tuple[list[Any], bool]:
    """Return the documents of an event stream or of JSON lines, and whether it ended."""
    documents: list[Any] = []
    done = False
    for lines in _events(text):
        pieces = [_decoded(line) for line in lines if not _is_end(line)]
        done = done or len(pieces) < len(lines)
        # Some servers leave out the blank line between events; others cut one document into several lines.
        documents += (
            [data for piece in pieces for data in piece] if all(pieces) else _decoded("\n".join(lines))
        )
    return documents, done


def _events(text: str) -> Iterator[list[str]]:
    """Yield the data lines of each server-sent event.

    What stands outside of events comes as one line.
    """
    outside: list[str] = []
    data: list[str] = []
    for line in LINE_END.split(text):
        name, colon, value = line.partition(":")
        if colon and name in ("data", "event", "id", "retry", ""):
            if any(outside):
                yield ["\n".join(outside)]
            outside = []
            data += [value] if name == "data" else []
        else:
            if not line.strip() and data:
                yield data
                data = []
            outside.append(line.strip())
    yield data
    if any(outside):
        yield ["\n".join(outside)]


def _is_end(line: str) -> bool:
    return line.strip().startswith("[DONE]")


def _decoded(text: str) -> list[Any]:
    """Return the JSON documents that follow each other in a text, up to what is none."""
    documents, position = [], 0
    text = text.strip()
    while position < len(text):
        try:
            document, position = DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            break
        documents.append(document)
        while position < len(text) and text[position].isspace():
            position += 1
    return documents


def _is_whole(data: Any) -> bool:
    choices = data.get("choices") if isinstance(data, dict) else None
    if not isinstance(choices, list):
        return False
    return any(isinstance(choice, dict) and isinstance(choice.get("message"), dict) for choice in choices)


def _joined(documents: Sequence[Any], *, done: bool) -> dict[str, Any]:
    """Return the answer that the chunks of a stream make."""
    parts: dict[Any, dict[str, Any]] = {}
    usage: Any = None
    for data in documents:
        if not isinstance(data, dict):
            continue
        if data.get("error") or data.get("object") == "error":
            raise failure(200, data)
        usage = data.get("usage") or usage
        chunks = data.get("choices")
        for chunk in chunks if isinstance(chunks, list) else [data]:
            if isinstance(chunk, dict):
                _add_chunk(parts, chunk)
                done = done or data.get("done") is True
    if not parts:
        raise RequestFailed(200, "the answer has no choices")
    if not done and not any(part["finish_reason"] for part in parts.values()):
        raise RequestFailed(200, "the stream ended before the answer did")
    choices = [
        {**part, "message": {name: "".join(text) for name, text in part["message"].items()}}
        for part in parts.values()
    ]
    return {"choices": choices, "usage": usage}


def _add_chunk(parts: dict[Any, dict[str, Any]], chunk: dict[str, Any]) -> None:
    index = chunk.get("index")
    index = index if isinstance(index, int) else 0
    part = parts.setdefault(index, {"finish_reason": None, "message": {}, "error": None})
    delta = chunk.get("delta", chunk.get("message"))
    delta = (
        delta if isinstance(delta, dict) else {"content": delta if delta is not None else chunk.get("text")}
    )
    for name in ("content", "refusal", *THOUGHTS):
        value = _text(delta.get(name), thoughts=name in THOUGHTS)
        if value:
            part["message"].setdefault(name, []).append(value)
    part["finish_reason"] = chunk.get("finish_reason") or chunk.get("done_reason") or part["finish_reason"]
    part["error"] = chunk.get("error") or part["error"]


# --- the answer's choices


def _choices(data: Any) -> list[Any]:
    """Return the choices of an answer, those of other dialects too.

    Raises:
        RequestFailed: it is an error, or has none.
    """
    if not isinstance(data, dict):
        raise RequestFailed(200, f"the answer has no choices: {json.dumps(data)[:80]!r}")
    choices = data.get("choices")
    if isinstance(choices, dict):
        return [choices]
    if isinstance(choices, list) and (choices or not data.get("error")):
        return choices
    # Ollama's own dialect has the message beside the choices, Anthropic's the parts of its content.
    if isinstance(data.get("message"), dict):
        return [{**data, "finish_reason": data.get("done_reason")}]
    if data.get("role") == "assistant" and "content" in data:
        return [{"message": data, "finish_reason": data.get("stop_reason")}]
    failed = failure(200, data)
    if failed.message == NO_REASON:
        failed = replace(failed, message=f"the answer has no choices: {json.dumps(data)[:80]!r}")
    raise failed


def _message(choice: Any) -> dict[str, Any]:
    if not isinstance(choice, dict):
        return {}
    message = choice.get("message", choice.get("delta"))
    if isinstance(message, dict):
        return message
    return {"content": message if message is not None else choice.get("text")}


def _reply(choice: Any) -> tuple[Reply, bool]:
    """Return a choice as a reply, and whether that is only a model's reasoning.

    Raises:
        RequestFailed: it is an error, which another request may not meet.
    """
    if not isinstance(choice, dict):
        return Reply("", "empty"), False
    reason = choice.get("finish_reason") or choice.get("stop_reason")
    # text-generation-inference once gave details.
    reason = reason.get("type") if isinstance(reason, dict) else reason
    reason = str(reason) if reason else ""
    message = _message(choice)
    text = _text(message.get("content"))
    error = choice.get("error") or message.get("error")
    if error or OUTAGE.search(reason) or (FAILED.search(reason) and not CUT_OFF.search(reason)):
        raise failure(200, {"error": error or f"the reply ended with {reason!r}"})
    if message.get("refusal"):
        return Reply(whole_characters(_text(message["refusal"])), "refusal"), False
    thoughts = "" if text.strip() else _thoughts(message)
    text = thoughts or text
    if not message or not (text or reason):
        return Reply("", "empty"), False
    kind = "length" if CUT_OFF.search(reason) else "content_filter" if DECLINED.search(reason) else reason
    return Reply(whole_characters(text), kind or "stop"), bool(thoughts.strip())


def _thoughts(message: dict[str, Any]) -> str:
    """Return the reasoning beside an empty text.

    Some servers put the whole answer there.
    """
    for name in THOUGHTS:
        text = _text(message.get(name), thoughts=True)
        if text.strip():
            return text
    return _text(message.get("content"), thoughts=True)


def _text(content: Any, depth: int = 0, *, thoughts: bool = False) -> str:
    """Return the text of a content: a string, parts of several forms, or nothing.

    Parts that hold a model's reasoning are left out unless ``thoughts`` asks for them.
    """
    if isinstance(content, str):
        return content
    if content is None or isinstance(content, bool) or depth > DEEPEST:
        return ""
    if isinstance(content, list):
        return "".join(_text(part, depth + 1, thoughts=thoughts) for part in content)
    if not isinstance(content, dict):
        return str(content)
    if not thoughts and THINKING.search(str(content.get("type") or "")):
        return ""
    names = (
        "text",
        "content",
        "value",
        "output_text",
        *(("thinking", "summary", "reasoning") if thoughts else ()),
    )
    value = next((content[name] for name in names if content.get(name) is not None), None)
    return _text(value, depth + 1, thoughts=thoughts)


# --- its numbers


def _usage(data: Any) -> tuple[int, int]:
    """Return the tokens of the prompt and of the replies, 0 for what is no count."""
    usage = data.get("usage") if isinstance(data, dict) else None
    if not isinstance(usage, dict):
        return 0, 0
    prompt = next((usage[name] for name in ("prompt_tokens", "input_tokens") if name in usage), 0)
    completion = next((usage[name] for name in ("completion_tokens", "output_tokens") if name in usage), 0)
    return _count(prompt), _count(completion)


def _count(value: Any) -> int:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return math.ceil(value) if 0 < value <= MOST_TOKENS else 0  # NaN fails the comparison
