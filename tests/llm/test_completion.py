"""Bodies that endpoints were seen to send, each with the one right reading."""

from __future__ import annotations

import contextlib
import json
import math
import random
import time
from typing import Any

import pytest

from trace_robot.llm import Reply
from trace_robot.llm.completion import read_completion
from trace_robot.llm.refusal import RequestFailed


def whole(content: Any = "hello", finish: Any = "stop", usage: Any = None, **message: Any) -> dict[str, Any]:
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": content, **message},
    }
    return {"choices": [choice], **({} if usage is None else {"usage": usage})}


def chunk(finish: str | None = None, **delta: Any) -> str:
    return (
        "data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}) + "\n\n"
    )


def read(body: Any) -> Reply:
    data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    return read_completion(data)[0][0]


PRETTY = json.dumps(whole(), indent=2)
STREAMS = {
    "chunks": chunk(role="assistant", content="")
    + chunk(content="hel")
    + chunk(content="lo")
    + "data: [DONE]\n\n",
    "chunks without DONE": chunk(content="hello") + chunk(finish="stop"),
    "chunks with CR LF": (chunk(content="hello") + "data: [DONE]\n\n").replace("\n", "\r\n"),
    "no blank lines": (chunk(content="hel") + chunk(content="lo", finish="stop")).replace("\n\n", "\n"),
    "comments and event names": ": ping\n\nevent: message\n" + chunk(content="hello", finish="stop"),
    "no space after the colon": chunk(content="hello", finish="stop").replace("data: ", "data:"),
    "JSON, then DONE": json.dumps(whole()) + "\n\ndata: [DONE]\n\n",
    "JSON in lines, then DONE": PRETTY + "\n\ndata: [DONE]\n\n",
    "JSON in data lines": "".join(f"data: {line}\n" for line in PRETTY.split("\n")) + "\n",
    "a whole answer as an event": f"data: {json.dumps(whole())}\n\ndata: [DONE]\n\n",
    "chunks, then the whole": chunk(content="hel") + f"data: {json.dumps(whole())}\n\n",
    "content in parts": chunk(content=[{"type": "text", "text": "hello"}], finish="stop"),
    "usage in a last chunk": chunk(content="hello", finish="stop")
    + 'data: {"choices": [], "usage": {"prompt_tokens": 7}}\n\n',
    "JSON lines of Ollama": '{"message": {"role": "assistant", "content": "hel"}, "done": false}\n'
    '{"message": {"content": "lo"}, "done": true, "done_reason": "stop"}\n',
    "a byte order mark": "\ufeff" + json.dumps(whole()),
}


@pytest.mark.parametrize("name", STREAMS)
def test_an_answer_in_pieces_is_joined(name: str) -> None:
    reply = read(STREAMS[name])
    assert (reply.text, reply.finish_reason) == ("hello", "stop")


def test_tokens_of_a_stream_come_from_the_chunk_that_has_them() -> None:
    assert read(STREAMS["usage in a last chunk"]).prompt_tokens == 7


def test_the_choices_of_a_stream_stay_apart() -> None:
    events = [
        {"index": i, "delta": {"content": text}} for i, text in [(1, "b"), (0, "a"), (1, "B"), (0, "A")]
    ]
    lines = "".join(f"data: {json.dumps({'choices': [event]})}\n\n" for event in events) + "data: [DONE]\n\n"
    replies, _ = read_completion(lines.encode())
    assert sorted(reply.text for reply in replies) == ["aA", "bB"]


CONTENTS = {
    "a part without text": ([{"type": "text", "text": None}, {"type": "text", "text": "hello"}], "hello"),
    "strings as parts": (["hel", "lo"], "hello"),
    "one part without a list": ({"type": "text", "text": "hello"}, "hello"),
    "a value inside of a part": ([{"type": "text", "text": {"value": "hello"}}], "hello"),
    "thinking beside the text": (
        [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
            {"type": "text", "text": "hello"},
        ],
        "hello",
    ),
    "null": (None, ""),
    "a number": (42, "42"),
    "an image": (
        [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "hello"}],
        "hello",
    ),
    "half a surrogate pair": ("hel\ud83dlo", "hel\ufffdlo"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_content_of_any_form_is_text(name: str) -> None:
    content, text = CONTENTS[name]
    reply = read(whole(content))
    assert reply.text == text
    reply.text.encode()


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
@pytest.mark.parametrize("content", [None, "", " \n"])
def test_an_answer_in_the_reasoning_is_read_where_there_is_no_text(field: str, content: str | None) -> None:
    replies, thoughts = read_completion(json.dumps(whole(content, **{field: "hello"})).encode())
    assert (replies[0].text, thoughts) == ("hello", True)


def test_reasoning_beside_a_text_is_left_out() -> None:
    replies, thoughts = read_completion(json.dumps(whole("hello", reasoning="hm")).encode())
    assert (replies[0].text, thoughts) == ("hello", False)


def test_only_a_reply_that_is_read_from_the_reasoning_is_noted() -> None:
    def noted(**message: Any) -> bool:
        return read_completion(json.dumps(whole("", reasoning="hm", **message)).encode())[1]

    assert noted()
    assert not noted(refusal="I must not.")
    failed = {**FAULT, "message": {"content": "", "reasoning": "hm"}}
    body = {"choices": [failed, *whole("hello")["choices"]]}
    assert not read_completion(json.dumps(body).encode())[1]


def test_reasoning_details_are_read_too() -> None:
    details = [{"type": "reasoning.text", "text": "hel"}, {"type": "reasoning.text", "text": "lo"}]
    assert read(whole(None, reasoning_details=details)).text == "hello"


CUT = ["length", "max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens", "token_limit", "truncated",
       "incomplete", "model_context_window_exceeded", {"type": "length"}]  # fmt: skip
DECLINED = ["content_filter", "SAFETY", "refusal", "PROHIBITED_CONTENT", "RECITATION", "sensitive", "blocked"]
ENDED = ["stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE", "tool_calls", None, ""]


@pytest.mark.parametrize("reason", CUT, ids=str)
def test_cut_off_is_recognized_under_any_name(reason: Any) -> None:
    reply = read(whole("half", reason))
    assert (reply.text, reply.finish_reason, reply.complete) == ("half", "length", False)


@pytest.mark.parametrize("reason", DECLINED)
def test_declined_is_recognized_under_any_name(reason: str) -> None:
    assert read(whole("", reason)).declined


@pytest.mark.parametrize("reason", ENDED, ids=str)
def test_an_ordinary_end_is_complete(reason: Any) -> None:
    reply = read(whole("all", reason))
    assert reply.complete
    assert not reply.declined


def test_a_reply_of_ones_own_model_may_name_the_end_as_it_likes() -> None:
    assert not Reply("half", "MAX_TOKENS").complete
    assert Reply("", "safety").declined


COUNTS = {
    "12": 12, '"12"': 12, '" 12 "': 12, "12.0": 12, "2.5": 3, "0": 0, "-3": 0, "null": 0, "Infinity": 0, "NaN": 0,
    "1e999": 0, "9" * 6000: 0, '"many"': 0, '"inf"': 0, "true": 0, "[12]": 0, '{"a": 1}': 0, "1e30": 0,
}  # fmt: skip


@pytest.mark.parametrize("text", COUNTS, ids=lambda text: text[:12])
def test_tokens_are_counted_where_the_count_is_one(text: str) -> None:
    body = json.dumps(whole())[:-1] + f', "usage": {{"prompt_tokens": {text}, "completion_tokens": {text}}}}}'
    reply = read(body)
    assert (reply.prompt_tokens, reply.completion_tokens) == (COUNTS[text], COUNTS[text])


@pytest.mark.parametrize("usage", ["none", 7, [], None, {}, {"prompt_tokens_details": {}}])
def test_usage_that_is_none_costs_no_answer(usage: Any) -> None:
    reply = read({**whole(), "usage": usage})
    assert (reply.text, reply.prompt_tokens) == ("hello", 0)


@pytest.mark.parametrize("name", ["data", "result", "response"])
def test_tokens_are_counted_inside_and_beside_what_an_answer_is_wrapped_in(name: str) -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 3}
    inside, beside = {name: whole(usage=usage)}, {name: whole(), "usage": usage}
    for body in (inside, [inside], beside):
        assert (read(body).prompt_tokens, read(body).completion_tokens) == (12, 3)


OTHER = {
    "wrapped": {"code": 0, "data": whole()},
    "a list of one": [whole()],
    "one choice without a list": {"choices": whole()["choices"][0]},
    "a completion": {"choices": [{"text": "hello", "finish_reason": "stop"}]},
    "Ollama": {"message": {"role": "assistant", "content": "hello"}, "done": True, "done_reason": "stop"},
    "Anthropic": {
        "role": "assistant",
        "content": [{"type": "text", "text": "hello"}],
        "stop_reason": "end_turn",
    },
    "an error that is null": {**whole(), "error": None},
}


@pytest.mark.parametrize("name", OTHER)
def test_an_answer_of_another_dialect_is_read(name: str) -> None:
    assert read(OTHER[name]).text == "hello"


FAULT = {"index": 0, "finish_reason": "error", "error": {"code": 502, "message": "overloaded"}, "message": {}}
FAILURES = {
    "empty": ("", 200, "the answer is empty", True),
    "a page": ("<html>hello</html>", 200, "the answer is not JSON: '<html>hello</html>'", True),
    "no UTF-8": (b"\xff\xfe\x00", 200, "the answer is not JSON: ", True),
    "nested": ("[" * 100_000, 200, "the answer is not JSON: ", True),
    "null": ("null", 200, "the answer has no choices: 'null'", True),
    "a number": ("1e999", 200, "the answer has no choices: 'Infinity'", True),
    "an object": ({}, 200, "the answer has no choices: '{}'", True),
    "an error": ({"error": {"message": "overloaded"}}, 200, "overloaded", True),
    "an error as text": ({"error": "overloaded"}, 200, "overloaded", True),
    "an error with a code": ({"error": {"message": "no key", "code": 401}}, 401, "no key", False),
    "an error of vLLM": ({"object": "error", "message": "no", "code": 400}, 400, "no", False),
    "an error beside no choices": ({"choices": [], "error": {"message": "no"}}, 200, "no", True),
    "an error in the choice": ({"choices": [FAULT]}, 502, "overloaded", True),
    "an end by an error": (whole("half", "error"), 200, "the reply ended with 'error'", True),
    "an end by the network": (whole("half", "network_error"), 200, "the reply ended with 'network_error'", True),
    "an end by abort": (whole("half", "abort"), 200, "the reply ended with 'abort'", True),
    "a rate limit": (whole("half", "rate_limit"), 200, "the reply ended with 'rate_limit'", True),
    "a rate limit exceeded": (
        whole("half", "rate_limit_exceeded"), 200, "the reply ended with 'rate_limit_exceeded'", True),
    "a time-out exceeded": (
        whole("half", "timeout_exceeded"), 200, "the reply ended with 'timeout_exceeded'", True),
    "an error in a stream": (chunk(content="a") + 'data: {"error": {"message": "gone"}}\n\n', 200, "gone", True),
    "a stream without its end": (chunk(content="hello"), 200, "the stream ended before the answer did", True),
    "details": ({"detail": [{"loc": ["body", "n"], "msg": "not permitted"}]}, 200, "body.n: not permitted", True),
    "OpenRouter": (
        {"error": {"code": 502, "message": "Provider returned error", "metadata": {"raw": "busy"}}},
        502,
        "Provider returned error: busy",
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_what_is_no_answer_is_a_failure_with_its_reason(name: str) -> None:
    body, status, message, again = FAILURES[name]
    with pytest.raises(RequestFailed) as caught:
        read(body)
    assert (caught.value.status, caught.value.again) == (status, again)
    assert caught.value.message.startswith(message)


def test_choices_that_are_errors_are_left_out_where_another_is_none() -> None:
    replies, _ = read_completion(json.dumps({"choices": [FAULT, *whole()["choices"]]}).encode())
    assert [reply.text for reply in replies] == ["hello"]


def test_no_body_raises_anything_but_a_failed_request() -> None:
    """Random documents with the names of the format, and pieces of the samples above."""
    draw = random.Random(0)
    names = ["choices", "message", "content", "text", "usage", "error", "delta", "finish_reason", "prompt_tokens",
             "completion_tokens", "index", "data", "type", "reasoning", "code", "detail", "loc", "refusal"]  # fmt: skip
    leaves: list[Any] = [
        None,
        True,
        0,
        -1,
        1.5,
        math.inf,
        math.nan,
        10**40,
        "",
        "stop",
        "x" * 50,
        "\ud800",
        [],
        {},
    ]

    def value(depth: int) -> Any:
        if depth == 0 or draw.random() < 0.3:
            return draw.choice(leaves)
        if draw.random() < 0.4:
            return [value(depth - 1) for _ in range(draw.randrange(4))]
        return {draw.choice(names): value(depth - 1) for _ in range(draw.randrange(5))}

    samples = list(STREAMS.values())
    for number in range(4000):
        body = json.dumps({"choices": value(5), **value_of(value(3))}) if number % 2 else draw.choice(samples)
        if number % 4 > 1:
            cut, length = draw.randrange(len(body)), draw.randrange(20)
            body = body[:cut] + body[cut + length :]
        try:
            replies, _ = read_completion(body.encode("utf-8", "surrogatepass"))
        except RequestFailed:
            continue
        for reply in replies:
            reply.text.encode()
            assert 0 <= reply.prompt_tokens <= 100_000_000


def value_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


@pytest.mark.parametrize(
    "body",
    ["data: {" * 40_000, "data: \n" * 40_000, chunk(content="a") * 4000, "<title" * 40_000, "{" * 300_000,
     "<" * 300_000, "data: [DONE]\n" * 20_000, '{"a":1}' * 40_000],
    ids=lambda body: body[:12],
)  # fmt: skip
def test_reading_takes_time_in_proportion_to_the_body(body: str) -> None:
    taken = []
    for _ in range(3):  # the least counts: a collection of garbage may fall into one
        started = time.process_time()
        with contextlib.suppress(RequestFailed):
            read_completion(body.encode())
        taken.append(time.process_time() - started)
    assert min(taken) < 0.05 * len(body) / 10_000 + 0.05
