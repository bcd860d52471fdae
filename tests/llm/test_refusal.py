"""What endpoints were seen to refuse is asked for in a simpler way, and noted once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from trace_robot.errors import ContextLengthError, ModelAuthError, ModelError
from trace_robot.llm import OpenAIModel
from trace_robot.llm.refusal import (
    Adjustment,
    RequestFailed,
    adjusted,
    context_limit,
    fold_system,
    from_data,
    simpler,
)

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "improve"}
ASK = [SYSTEM, USER]
REPAIR = [*ASK, {"role": "assistant", "content": "bad"}, {"role": "user", "content": "again"}]


def choosy(answers: Any, refuses: Callable[[dict[str, Any]], bool], code: int, body: Any) -> Any:
    """Return an answer that refuses some requests."""

    def answer(handler: Any, request: dict[str, Any]) -> None:
        if refuses(request):
            handler.send(code, json.dumps(body).encode())
        else:
            answers.says(*["better"] * request.get("n", 1))(handler, request)

    return answer


def alternates(request: dict[str, Any]) -> bool:
    roles = [message["role"] for message in request["messages"]]
    return roles == ["user", "assistant", "user", "assistant"][: len(roles)]


ROLES = {
    "Mistral": (400, {"object": "error", "message": "Conversation roles must alternate user/assistant/", "code": 400}),
    "Gemma": (400, {"error": {"message": "System role not supported"}}),
    "Gemma on a 500": (500, {"error": {"message": "TemplateError: System role not supported"}}),
    "o1": (400, {"error": {"message": "Unsupported value: 'messages[0].role' does not support 'system'"}}),
    "MLC": (422, {"detail": "Only user and assistant roles are supported"}),
    "Gemini": (400, [{"error": {"code": 400, "message": "Developer instruction is not enabled for models/gemma-3"}}]),
    "a gateway": (400, {"error": {"message": "role 'system' is not supported on this model"}}),
    "llama.cpp": (500, {"error": {"message": "Jinja Exception: Conversation roles must alternate", "code": 500}}),
    "without a reason": (400, {"error": {"message": "Bad Request"}}),
    "without JSON": (422, "<html><title>422</title></html>"),
}  # fmt: skip


@pytest.mark.parametrize("name", ROLES)
def test_without_a_system_role_its_text_is_put_in_front(server: Any, answers: Any, name: str) -> None:
    code, body = ROLES[name]
    server.answers.extend([choosy(answers, lambda request: not alternates(request), code, body)] * 4)
    model = server.model()
    assert model.chat(ASK)[0].text == "better"
    assert model.chat(REPAIR)[0].text == "better"
    assert [len(request["messages"]) for request in server.requests] == [2, 1, 3], (
        "remembered for the next prompt"
    )
    assert server.requests[1]["messages"] == [{"role": "user", "content": "Be brief.\n\nimprove"}]
    assert server.sleeps == []
    assert len(model.notes) == 1
    assert "refuses the system role" in model.notes[0]


SEVERAL = {
    "Groq": (400, {"error": {"message": "'n' : number must be at most 1", "type": "invalid_request_error"}}),
    "pydantic": (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "n"], "msg": "Extra inputs"}]}),
    "a gateway": (400, {"error": {"message": "the model does not support the n parameter for multiple choices"}}),
    "llama.cpp": (400, {"error": {"message": "Only one completion choice is allowed", "code": 400}}),
    "not implemented": (501, {"error": {"message": "n > 1"}}),
    "a 500": (500, {"error": {"message": "best_of must be 1"}}),
    "without a reason": (422, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL)
def test_without_n_replies_are_asked_for_one_by_one(server: Any, answers: Any, name: str) -> None:
    code, body = SEVERAL[name]
    server.answers.extend([choosy(answers, lambda request: "n" in request, code, body)] * 9)
    model = server.model()
    assert [reply.text for reply in model.chat(ASK, 3)] == ["better"] * 3
    assert [reply.text for reply in model.chat(ASK, 3)] == ["better"] * 3
    assert ["n" in request for request in server.requests] == [True] + [False] * 6
    assert server.sleeps == []
    assert len(model.notes) == 1
    assert model.notes[0].startswith("the endpoint refuses several replies at once (")


FIELDS = {
    "unknown": (400, {"error": {"message": "Unrecognized request argument supplied: chat_template_kwargs"}}),
    "by its inner name": (400, {"error": {"message": "enable_thinking is not supported"}}),
    "pydantic": (422, {"detail": [{"type": "extra", "loc": ["body", "chat_template_kwargs"], "msg": "Extra inputs"}]}),
    "by param": (400, {"error": {"message": "Unsupported parameter", "param": "chat_template_kwargs"}}),
    "without its name": (400, {"error": {"message": "Extra inputs are not permitted"}}),
    "a 500": (500, {"error": {"message": "chat_template_kwargs: unexpected keyword"}}),
    "Pythonic": (500, {"error": "create() got an unexpected keyword argument 'chat_template_kwargs'"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_that_is_refused_is_left_out(server: Any, answers: Any, name: str) -> None:
    code, body = FIELDS[name]
    refuses = choosy(answers, lambda request: "chat_template_kwargs" in request, code, body)
    server.answers.extend([refuses] * 4)
    options = {"temperature": 0.2, "chat_template_kwargs": {"enable_thinking": False}}
    model = server.model(options=options)
    assert model.chat(ASK)[0].text == "better"
    assert model.chat(ASK)[0].text == "better"
    assert ["chat_template_kwargs" in request for request in server.requests] == [True, False, False]
    assert all(request["temperature"] == 0.2 for request in server.requests)
    assert [request["messages"] for request in server.requests] == [ASK] * 3
    assert "refuses the field chat_template_kwargs" in model.notes[0]


def test_a_refusal_that_names_nothing_is_met_by_the_plainest_request(server: Any, answers: Any) -> None:
    server.answers.extend(
        [choosy(answers, lambda request: "seed" in request, 400, {"error": "bad request"})] * 4
    )
    model = server.model(options={"temperature": 0.2, "seed": 1})
    assert model.chat(ASK)[0].text == "better"
    assert model.chat(ASK)[0].text == "better"
    assert ["seed" in request for request in server.requests] == [True, True, False, False]
    assert server.requests[-1]["temperature"] == 0.2


def test_a_field_with_another_name_is_renamed(server: Any, answers: Any) -> None:
    message = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
    body = {"error": {"message": message, "param": "max_tokens", "code": "unsupported_parameter"}}
    server.answers.extend([choosy(answers, lambda request: "max_tokens" in request, 400, body)] * 2)
    model = server.model(options={"max_tokens": 50})
    assert model.chat(ASK)[0].text == "better"
    assert server.requests[1]["max_completion_tokens"] == 50


def test_a_value_out_of_its_range_is_the_users_to_correct(server: Any, answers: Any) -> None:
    server.answers.extend([answers.status(400, "temperature must be between 0 and 2")] * 3)
    with pytest.raises(ModelError, match="temperature must be between 0 and 2"):
        server.model(options={"temperature": 5}).chat(ASK)
    assert len(server.requests) == 1


def test_a_stream_is_asked_for_where_nothing_else_is_given(server: Any, answers: Any) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "better"}, "finish_reason": "stop"}]}

    def streams(handler: Any, request: dict[str, Any]) -> None:
        if request.get("stream") is not True:
            handler.send(400, b'{"detail": "Stream must be set to true"}')
        else:
            handler.send(200, f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode())

    server.answers.extend([streams] * 3)
    model = server.model()
    assert [model.chat(ASK)[0].text for _ in range(2)] == ["better", "better"]
    assert ["stream" in request for request in server.requests] == [False, True, True]


def test_several_refusals_are_met_one_after_the_other(server: Any, answers: Any) -> None:
    def refuses(handler: Any, request: dict[str, Any]) -> None:
        if "n" in request:
            handler.send(422, b'{"detail": "n is not supported"}')
        elif "temperature" in request:
            handler.send(
                400, b'{"error": {"message": "Unsupported value: \'temperature\' does not support 0.2"}}'
            )
        elif request["messages"][0]["role"] == "system":
            handler.send(500, b'{"error": "chat template: System role not supported"}')
        else:
            answers.says("better")(handler, request)

    server.answers.extend([refuses] * 5)
    model = server.model(options={"temperature": 0.2})
    assert [reply.text for reply in model.chat(ASK, 2)] == ["better", "better"]
    assert len(server.requests) == 5
    assert [adjustment.kind for adjustment in model.adjustments] == ["n", "drop", "system"]


def test_what_was_refused_before_a_prompt_was_too_long_is_remembered(server: Any, answers: Any) -> None:
    long = answers.status(400, "maximum context length is 1700 tokens")
    server.answers.extend([answers.status(400, "System role not supported"), long, answers.says("better")])
    model = server.model()
    with pytest.raises(ContextLengthError):
        model.chat(ASK)
    assert model.chat(ASK)[0].text == "better"
    assert [len(request["messages"]) for request in server.requests] == [2, 1, 1]


def test_a_guess_that_does_not_help_is_not_remembered_and_the_reason_kept(server: Any, answers: Any) -> None:
    server.answers.extend(
        [answers.status(400, "you are banned"), answers.status(400, "other"), answers.says("better")]
    )
    model = server.model()
    with pytest.raises(ModelError, match="answered 400: you are banned"):
        model.chat(ASK)
    assert model.adjustments == []
    assert model.chat(ASK)[0].text == "better"
    assert server.requests[2]["messages"] == ASK


@pytest.mark.parametrize("code", [401, 403, 404, 429, 502, 503])
def test_other_statuses_are_not_met_by_simpler_requests(server: Any, answers: Any, code: int) -> None:
    server.answers.extend([answers.status(code, "the system prompt of n is bad")] * 3)
    with pytest.raises(ModelError):
        server.model().chat(ASK, 2)
    assert all(request["n"] == 2 and request["messages"] == ASK for request in server.requests)


def test_an_error_in_a_choice_is_asked_again_in_the_same_request(server: Any, answers: Any) -> None:
    fault = {
        "index": 0,
        "finish_reason": "error",
        "error": {"code": 502, "message": "overloaded"},
        "message": {},
    }
    server.answers.extend([answers.raw(json.dumps({"choices": [fault]}).encode()), answers.says("better")])
    reply = server.model().chat(ASK)[0]
    assert (reply.text, reply.prompt_tokens) == ("better", 100), "counted once"


def test_tokens_that_went_into_reasoning_are_named(server: Any, answers: Any) -> None:
    choice = {"index": 0, "finish_reason": "length", "message": {"content": None, "reasoning": "hm"}}
    server.answers.append(answers.raw(json.dumps({"choices": [choice]}).encode()))
    model = server.model()
    assert not model.chat(ASK)[0].complete
    assert "used up its tokens for reasoning" in model.notes[0]


CONTEXTS = {
    "vLLM": (400, "This model's maximum context length is 1700 tokens. However, you requested 2725 tokens", 1700),
    "SGLang": (400, "The input (61709 tokens) is longer than the model's context length (40960 tokens).", 40960),
    "LM Studio": (400, "the model is loaded with context length of only 7866 tokens, which is not enough", 7866),
    "llama.cpp": (400, "the request exceeds the available context size. try increasing the context size", None),
    "llama-cpp-python": (400, "Requested tokens (516) exceed context window of 512", 512),
    "TGI": (422, "Input validation error: `inputs` must have less than 1024 tokens. Given: 3000", 1024),
    "TGI, both": (422, "`inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3000", 2048),
    "Gemini": (400, "The input token count (9000) exceeds the maximum number of tokens allowed (8192).", 8192),
    "Anthropic": (400, "prompt is too long: 202,095 tokens > 200,000 maximum", 200_000),
    "Groq": (413, "Request too large for model on tokens per minute (TPM): Limit 6000, Requested 7000", 6000),
    "OpenAI, a minute's": (429, "Request too large for gpt on tokens per min: Limit 10000, Requested 12000", 10_000),
    "Groq, messages": (400, "Please reduce the length of the messages or completion.", None),
    "OpenRouter": (400, "This endpoint's maximum context length is 32768 tokens. However, you asked for 42832", 32768),
    "DashScope": (400, "Range of input length should be [1, 6000]", None),
    "a 500": (500, "context length exceeded", None),
    "ours": (400, "context too long", None),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_prompt_that_is_too_long_is_recognized_with_the_context_s_size(
    server: Any, answers: Any, name: str
) -> None:
    code, message, limit = CONTEXTS[name]
    server.answers.append(answers.status(code, message))
    with pytest.raises(ContextLengthError) as caught:
        server.model().chat(ASK)
    assert caught.value.limit == limit
    assert message[:60] in str(caught.value)
    assert len(server.requests) == 1


def test_the_size_of_the_context_is_read_from_its_field_too() -> None:
    error = RequestFailed(400, "the request exceeds the available context size", limit=256)
    assert context_limit(error) == (True, 256)


@pytest.mark.parametrize(
    "message", ["overloaded", "rate limit reached: 60 requests", "You exceeded your quota"]
)
@pytest.mark.parametrize("status", [400, 429, 500])
def test_other_errors_are_not_taken_for_a_small_context(status: int, message: str) -> None:
    assert context_limit(RequestFailed(status, message)) == (False, None)


def test_a_key_that_is_refused_with_400_is_a_refused_key(server: Any, answers: Any) -> None:
    server.answers.extend([answers.status(400, "API key not valid. Please pass a valid API key.")] * 2)
    with pytest.raises(ModelAuthError, match="refused the key"):
        server.model().chat([USER])


def test_adjustments_survive_json_and_odd_ones_are_left_out() -> None:
    found = [Adjustment("n", reason="no"), Adjustment("rename", "max_tokens", "max_completion_tokens", "no")]
    assert from_data(json.loads(json.dumps([a.to_data() for a in found]))) == found
    assert from_data([["n"], ["eval", "", "", ""], 3, None, ["n", "", "", 4]]) == []
    assert from_data("n") == []
    assert from_data([["drop", "messages", "", ""], ["rename", "seed", "model", ""]]) == []
    model = OpenAIModel("m", "http://127.0.0.1:9/v1")
    model.learn(found * 2)
    assert model.adjustments == found


def test_a_step_is_the_same_whatever_the_id_of_the_request_that_was_refused() -> None:
    model = OpenAIModel("m", "http://127.0.0.1:9/v1")
    model.learn([Adjustment("n", reason="no n (request 1)"), Adjustment("n", reason="no n (request 2)")])
    model.learn([Adjustment("system", reason="no n (request 1)")])
    assert [adjustment.kind for adjustment in model.adjustments] == ["n", "system"]
    assert len(model.notes) == 2


def test_messages_of_one_role_that_follow_each_other_become_one() -> None:
    assert fold_system([SYSTEM, USER, USER, REPAIR[2]]) == [
        {"role": "user", "content": "Be brief.\n\nimprove\n\nimprove"},
        REPAIR[2],
    ]


def test_half_a_surrogate_pair_in_a_prompt_is_replaced_before_it_is_sent(server: Any, answers: Any) -> None:
    server.answers.append(answers.says("better"))
    assert server.model().chat([{"role": "user", "content": "a\ud83db"}])[0].text == "better"
    assert server.requests[0]["messages"][0]["content"] == "a\ufffdb"


@pytest.mark.parametrize(
    "text",
    ["system " * 600, "n" * 4000, "unknown " * 500, "exceed" * 700, "tokens " * 570, "stream" * 660, "max" * 1300],
)  # fmt: skip
def test_no_message_takes_long_to_understand(text: str) -> None:
    fields = adjusted({"model": "m", "messages": ASK, "n": 2, "temperature": 1}, [])
    taken = []
    for _ in range(3):  # the least counts: a collection of garbage may fall into one
        started = time.process_time()
        simpler(RequestFailed(400, text), fields)
        taken.append(time.process_time() - started)
    assert min(taken) < 0.05
