from __future__ import annotations

import json
import socket
import traceback
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest

from trace_robot.errors import ModelAuthError, ModelError, UnknownModelError
from trace_robot.llm import OpenAIModel, message_tokens

ASK = [{"role": "user", "content": "improve"}]


def test_a_reply_carries_text_finish_reason_and_tokens(server: Any, answers: Any) -> None:
    server.answers.append(answers.says("better"))
    reply = server.model().chat(ASK)[0]
    assert (reply.text, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens) == (
        "better",
        "stop",
        100,
        10,
    )
    assert server.requests[0]["messages"] == ASK
    assert server.keys == [f"Bearer {answers.key}"]


def test_options_reach_the_endpoint(server: Any, answers: Any) -> None:
    server.answers.append(answers.says("better"))
    server.model(options={"temperature": 0.3}).chat(ASK)
    assert server.requests[0]["temperature"] == 0.3


def test_endpoint_key_and_model_come_from_the_environment(
    server: Any, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", answers.key)
    monkeypatch.setenv("OPENAI_MODEL", "large")
    server.answers.append(answers.says("better"))
    assert OpenAIModel().chat(ASK)[0].text == "better"
    assert server.requests[0]["model"] == "large"


def test_several_replies_come_from_one_request_where_the_endpoint_can(server: Any, answers: Any) -> None:
    server.answers.append(answers.says("a", "b", "c"))
    assert [reply.text for reply in server.model().chat(ASK, 3)] == ["a", "b", "c"]
    assert server.requests[0]["n"] == 3


def test_replies_that_an_endpoint_left_out_are_asked_for_one_by_one(server: Any, answers: Any) -> None:
    server.answers.extend([answers.says("a"), answers.says("b"), answers.says("c")])
    assert sorted(reply.text for reply in server.model().chat(ASK, 3)) == ["a", "b", "c"]
    assert "n" not in server.requests[1]


def test_tokens_that_only_some_of_the_requests_report_are_bounded_for_the_others(
    server: Any, answers: Any
) -> None:
    unpriced = json.loads(answers.completion("word " * 40))
    del unpriced["usage"]
    server.answers.extend([answers.says("a", "b"), answers.raw(json.dumps(unpriced).encode())])
    first, second, third = server.model().chat(ASK, 3)
    assert (first.prompt_tokens, first.completion_tokens) == (100, 20)
    assert (second.prompt_tokens, second.completion_tokens) == (0, 0), "those of the first are of both"
    assert (third.prompt_tokens, third.completion_tokens) == (message_tokens(ASK), 40)


def test_parallel_requests_run_at_the_same_time(server: Any, answers: Any) -> None:
    import threading

    both = threading.Barrier(2, timeout=60)

    def together(handler: Any, request: Any) -> None:
        both.wait()
        answers.says("met")(handler, request)

    server.answers.extend([together, together])
    assert [reply.text for reply in server.model(parallel=True).chat(ASK, 2)] == ["met", "met"]


@pytest.mark.parametrize("code", [408, 409, 429, 500, 502, 503])
def test_passing_troubles_are_retried_with_growing_pauses(server: Any, answers: Any, code: int) -> None:
    server.answers.extend([answers.status(code), answers.status(code), answers.says("better")])
    assert server.model().chat(ASK)[0].text == "better"
    assert len(server.sleeps) == 2
    assert 0 < server.sleeps[0] < server.sleeps[1]


def test_retry_after_in_seconds_is_obeyed(server: Any, answers: Any) -> None:
    server.answers.extend([answers.status(429, Retry_After="7"), answers.says("better")])
    server.model().chat(ASK)
    assert server.sleeps == [7.0]


def test_retry_after_as_a_date_is_obeyed(server: Any, answers: Any) -> None:
    then = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=40), usegmt=True)
    server.answers.extend([answers.status(429, Retry_After=then), answers.says("better")])
    server.model().chat(ASK)
    assert 30 < server.sleeps[0] <= 40


def test_a_wait_of_an_hour_is_an_error_and_not_waited_for(server: Any, answers: Any) -> None:
    server.answers.append(answers.status(429, "slow down", Retry_After="3600"))
    model = server.model()
    with pytest.raises(ModelError, match=r"asks to wait 3600 s \(429: slow down\)"):
        model.chat(ASK)
    assert server.sleeps == []


def test_a_spent_quota_is_not_retried(server: Any, answers: Any) -> None:
    body = b'{"error": {"message": "quota is spent", "code": "insufficient_quota"}}'
    server.answers.append(lambda handler, _: handler.send(429, body))
    with pytest.raises(ModelError, match="answered 429: quota is spent"):
        server.model().chat(ASK)
    assert len(server.requests) == 1


def test_a_server_that_stays_broken_is_an_error_after_the_retries(server: Any, answers: Any) -> None:
    server.answers.extend([answers.status(500, "oops")] * 3)
    with pytest.raises(ModelError) as caught:
        server.model().chat(ASK)
    assert str(caught.value) == f"{server.url} answered 500 after 3 tries: oops"


def test_a_refused_connection_names_the_base_url_and_what_to_check() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = OpenAIModel("m", f"http://127.0.0.1:{port}/v1", retries=1, sleep=lambda _: None)
    with pytest.raises(ModelError) as caught:
        model.chat(ASK)
    text = str(caught.value)
    assert text.startswith(f"cannot reach a model at http://127.0.0.1:{port}/v1 after 2 tries: ")
    assert text.endswith("check OPENAI_BASE_URL and that the server is running")
    assert "\n" not in text


def test_a_hang_ends_with_the_time_limit_and_is_retried_once(server: Any, answers: Any) -> None:
    server.answers.extend([answers.hangs] * 5)
    with pytest.raises(ModelError, match=r"no answer within 0.2 s after 2 tries; allow more seconds"):
        server.model(seconds=0.2, retries=5).chat(ASK)
    assert len(server.requests) == 2


def test_an_answer_that_trickles_in_for_ever_ends_with_the_time_limit(server: Any, answers: Any) -> None:
    server.answers.extend([answers.trickles] * 2)
    with pytest.raises(ModelError, match="no complete answer within"):
        server.model(seconds=1.0, retries=1).chat(ASK)


def test_a_connection_cut_in_the_middle_is_retried(server: Any, answers: Any) -> None:
    server.answers.extend([answers.hangs_up, answers.says("better")])
    assert server.model().chat(ASK)[0].text == "better"


def test_a_wrong_key_is_named_without_showing_it(server: Any, answers: Any) -> None:
    server.answers.append(answers.status(401, f"Incorrect API key provided: {answers.key}"))
    with pytest.raises(ModelAuthError) as caught:
        server.model().chat(ASK)
    assert answers.key not in str(caught.value)
    assert "refused the key (401: Incorrect API key provided: [key]); check OPENAI_API_KEY" in str(
        caught.value
    )
    assert len(server.requests) == 1


@pytest.mark.parametrize("ask", ["chat", "probe"])
@pytest.mark.parametrize("status", [200, 401, 404])
def test_no_traceback_shows_the_key(server: Any, answers: Any, ask: str, status: int) -> None:
    quoted = f"Incorrect API key provided: {answers.key}"
    body = json.dumps({"error": {"message": quoted, "code": 401}}).encode()
    server.listing = (status, body if status != 200 else f"<html>{answers.key}</html>".encode())
    code = 404 if ask == "probe" else status
    server.answers.extend([lambda handler, _: handler.send(code, body)] * 3)
    model = server.model()
    model.base_url = model.base_url.removesuffix("/v1") if ask == "probe" else model.base_url
    with pytest.raises(ModelError) as caught:
        model.probe() if ask == "probe" else model.chat(ASK)
    shown = "".join(traceback.format_exception(caught.value))
    assert "[key]" in shown
    assert answers.key not in shown


def test_a_fault_that_passes_is_waited_for_after_a_guess_too(server: Any, answers: Any) -> None:
    refused, busy = answers.status(400, "you are banned"), answers.status(503, "busy", Retry_After="3")
    system = [{"role": "system", "content": "Be brief."}, *ASK]
    server.answers.extend([refused, busy, answers.says("better")])
    model = server.model()
    assert model.chat(system)[0].text == "better"
    assert server.sleeps == [3.0]
    server.answers.extend([refused, busy, busy, busy])
    with pytest.raises(ModelError, match="answered 503 after 3 tries: busy"):
        server.model().chat(system)


def test_no_key_and_no_endpoint_is_an_error_that_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ModelAuthError, match="set OPENAI_API_KEY, or OPENAI_BASE_URL"):
        OpenAIModel("m")


def test_an_unknown_model_lists_those_that_there_are(server: Any, answers: Any) -> None:
    server.answers.append(answers.status(404, "model not found"))
    server.models = ["tiny", "large"]
    model = server.model()
    with pytest.raises(UnknownModelError) as caught:
        model.chat(ASK)
    assert str(caught.value) == f"no model 'small' at {server.url}; it offers large, tiny"


def test_a_404_without_a_list_of_models_says_what_to_check(server: Any, answers: Any) -> None:
    server.models = []
    server.answers.append(answers.status(404, "no such path"))
    with pytest.raises(
        UnknownModelError, match=r"404 for model 'small' \(no such path\); check the model's name"
    ):
        server.model().chat(ASK)


def test_the_only_model_of_an_endpoint_needs_no_name(
    server: Any, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_MODEL", raising=False)
    monkeypatch.delenv("TRACE_ROBOT_MODEL", raising=False)
    server.models = ["alone"]
    server.answers.append(answers.says("better"))
    OpenAIModel(base_url=server.url).chat(ASK)
    assert server.requests[0]["model"] == "alone"


def test_several_models_and_no_name_is_an_error_that_lists_them(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_MODEL", raising=False)
    monkeypatch.delenv("TRACE_ROBOT_MODEL", raising=False)
    with pytest.raises(UnknownModelError, match=r"give --model or set OPENAI_MODEL; .* offers large, small"):
        OpenAIModel(base_url=server.url).chat(ASK)


def test_a_bad_request_is_not_retried_and_quotes_the_reason(server: Any, answers: Any) -> None:
    server.answers.append(answers.status(400, "context too long"))
    with pytest.raises(ModelError, match="answered 400: context too long"):
        server.model().chat(ASK)
    assert len(server.requests) == 1


def test_credentials_in_the_base_url_stay_out_of_errors(server: Any, answers: Any) -> None:
    server.answers.append(answers.status(400))
    url = server.url.replace("http://", "http://name:pass@")
    with pytest.raises(ModelError) as caught:
        OpenAIModel("m", url, api_key=answers.key).chat(ASK)
    assert "pass" not in str(caught.value)
    assert "pass" not in repr(OpenAIModel("m", url, api_key=answers.key))


def test_invalid_utf8_becomes_replacement_characters(server: Any, answers: Any) -> None:
    server.answers.append(answers.raw(answers.completion("good XX end").replace(b"XX", b"\xff\xfe")))
    assert server.model().chat(ASK)[0].text == "good \ufffd\ufffd end"


def test_an_answer_that_is_not_json_is_retried_and_then_quoted(server: Any, answers: Any) -> None:
    server.answers.extend([answers.raw(b"<html>hello</html>")] * 3)
    with pytest.raises(ModelError, match=r"the answer is not JSON: '<html>hello</html>'"):
        server.model().chat(ASK)
    assert len(server.requests) == 3


def test_an_error_inside_a_good_status_is_quoted(server: Any, answers: Any) -> None:
    server.answers.extend([answers.raw(b'{"error": {"message": "overloaded"}}')] * 3)
    with pytest.raises(ModelError, match="overloaded"):
        server.model().chat(ASK)


@pytest.mark.parametrize(
    "body", [b'{"choices": []}', b'{"choices": [{}]}', b'{"choices": [{"message": {}}]}']
)
def test_an_answer_without_text_is_an_empty_reply(server: Any, answers: Any, body: bytes) -> None:
    server.answers.append(answers.raw(body))
    assert server.model().chat(ASK)[0].text == ""


def test_a_refusal_is_no_answer(server: Any, answers: Any) -> None:
    server.answers.append(answers.says("", refusal="I cannot help with that."))
    reply = server.model().chat(ASK)[0]
    assert reply.declined
    assert reply.text == "I cannot help with that."


def test_a_cut_off_reply_says_so(server: Any, answers: Any) -> None:
    server.answers.append(answers.says("half", finish="length"))
    assert not server.model().chat(ASK)[0].complete


def test_a_megabyte_of_text_arrives_whole(server: Any, answers: Any) -> None:
    server.answers.append(answers.says("word " * 200_000))
    assert len(server.model().chat(ASK)[0].text) == 1_000_000


def test_an_endless_answer_is_cut_off(server: Any, answers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import trace_robot.llm.openai_model as module

    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    server.answers.append(answers.says("word " * 1000))
    with pytest.raises(ModelError, match="longer than 1,000 bytes"):
        server.model().chat(ASK)
