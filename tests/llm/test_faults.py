"""A search over a real connection goes on, whatever the server does, and keeps what happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trace_robot.errors import ModelAuthError, ModelError
from trace_robot.llm import Budget, MeteredModel, OpenAIModel, RecordingModel, ReplayModel, read_record
from trace_robot.optimizers import OptoPrime, Outcome, ParameterSpec, Problem

CODE = "def act(observation):\n    return 0.0\n"
PROBLEM = Problem(
    (ParameterSpec("act", "code", CODE), ParameterSpec("gain", "number", 4.0, "", (0, 10))), context="A cart."
)
GOOD = '<variable name="gain">5</variable><stop>no</stop>'


def act(body: str, head: str = "def act(observation)") -> str:
    return f'<variable name="act">\n```python\n{head}:\n    {body}\n```\n</variable>'


def started(model: Any) -> OptoPrime:
    optimizer = OptoPrime(PROBLEM, model)
    optimizer.tell([Outcome(optimizer.ask()[0].id, 1.0, "It ran.")])
    return optimizer


TRANSPORT = ["429", "429 with Retry-After", "500", "hang", "trickle", "hang up", "not JSON"]


def misbehaving(answers: Any, name: str) -> Any:
    return {
        "429": answers.status(429, "slow down"),
        "429 with Retry-After": answers.status(429, "slow down", Retry_After="3"),
        "500": answers.status(500),
        "hang": answers.hangs,
        "trickle": answers.trickles,
        "hang up": answers.hangs_up,
        "not JSON": answers.raw(b"<html>\xff"),
    }[name]


@pytest.mark.parametrize("name", TRANSPORT)
def test_a_passing_fault_of_the_connection_costs_no_proposal(server: Any, answers: Any, name: str) -> None:
    server.answers.extend([misbehaving(answers, name), answers.says(GOOD)])
    model: Any = server.model(seconds=0.3, sleep=lambda _: setattr(model, "seconds", 20.0))
    optimizer = started(model)
    assert optimizer.ask()[0].values["gain"] == 5.0
    assert [attempt.kind for attempt in optimizer.log] == ["proposal"]


@pytest.mark.parametrize("name", TRANSPORT)
def test_a_lasting_fault_in_the_middle_ends_the_search_and_keeps_the_best(
    server: Any, answers: Any, name: str
) -> None:
    server.answers.append(answers.says(GOOD))
    server.answers.extend([misbehaving(answers, name)] * 9)
    model = server.model(seconds=20.0, retries=0)
    optimizer = started(model)
    optimizer.tell([Outcome(optimizer.ask()[0].id, 2.0, "Better.")])
    model.seconds = 0.2
    assert optimizer.ask() == []
    assert optimizer.done.startswith("no usable reply in 3 requests in a row: ")
    assert server.url in optimizer.done
    assert optimizer.best is not None
    assert optimizer.best.values["gain"] == 5.0
    assert [attempt.kind for attempt in optimizer.log] == ["proposal", "no answer", "no answer", "no answer"]


def test_a_refused_connection_at_the_start_is_one_clear_error() -> None:
    optimizer = started(OpenAIModel("m", "http://127.0.0.1:9/v1", retries=1, sleep=lambda _: None))
    with pytest.raises(ModelError, match=r"cannot reach a model at http://127.0.0.1:9/v1 after 2 tries"):
        optimizer.ask()


def test_a_wrong_key_is_one_clear_error_without_the_key(server: Any, answers: Any) -> None:
    server.answers.append(answers.status(401, f"no such key {answers.key}"))
    with pytest.raises(ModelAuthError) as caught:
        started(server.model()).ask()
    assert answers.key not in str(caught.value)


REPLIES = {
    "empty": ("", {}, "the reply is empty"),
    "truncated": (GOOD, {"finish": "length"}, "the reply was cut off before its end"),
    "megabyte": ("word " * 200_000, {}, "characters, at most 200,000 are read"),
    "refusal": ("", {"refusal": "I must not."}, "the model declined: I must not."),
    "syntax error": (act("return (1"), {}, "act: syntax error on line 2: '(' was never closed"),
    "renamed": (act("return 1", "def move(observation)"), {}, "must define a function named 'act', got move"),
    "signature": (
        act("return 1", "def act(o, speed)"),
        {},
        "keep the signature act(observation), got act(o, speed)",
    ),
    "extra parameter": (
        '<variable name="speed">1</variable>',
        {},
        "no variable 'speed'; the variables are act, gain",
    ),
    "out of bounds": (GOOD.replace("5", "50.5"), {}, "gain: must be between 0 and 10, got 50.5"),
    "prose": ("Let us TERMINATE the old gain.", {}, 'no <variable name="..."> block in the reply'),
}


@pytest.mark.parametrize("name", REPLIES)
def test_an_unusable_reply_is_shown_to_the_model_and_kept(
    server: Any, answers: Any, name: str, tmp_path: Path
) -> None:
    text, how, problem = REPLIES[name]
    server.answers.extend([answers.says(text, **how), answers.says(GOOD)])
    optimizer = started(RecordingModel(server.model(), tmp_path / "record.jsonl"))
    assert optimizer.ask()[0].values == {"act": CODE, "gain": 5.0}
    assert problem in server.requests[1]["messages"][-1]["content"]
    assert problem in optimizer.log[0].problems[0]
    recorded = read_record(tmp_path / "record.jsonl")
    assert recorded[0].replies[0].text == (how.get("refusal") or text)
    assert optimizer.counts["rejected"] == optimizer.counts["repaired"] == 1


def test_invalid_utf8_in_a_reply_is_replaced_and_the_rest_is_used(server: Any, answers: Any) -> None:
    body = answers.completion("<change>XX</change>" + GOOD).replace(b"XX", b"caf\xe9")
    server.answers.append(answers.raw(body))
    candidate = started(server.model()).ask()[0]
    assert candidate.note == "caf\ufffd"
    assert candidate.values["gain"] == 5.0


def test_nested_quotes_and_backticks_in_code_arrive_unharmed(server: Any, answers: Any) -> None:
    body = 'text = """a \'quoted\' ``` "fence" \\\\n </variable>"""\n    return len(text)'
    server.answers.append(answers.says(act(body)))
    assert started(server.model()).ask()[0].values["act"] == f"def act(observation):\n    {body}\n"


def test_a_budget_of_calls_ends_the_search_with_the_reason(server: Any, answers: Any) -> None:
    server.answers.extend([answers.says("no form"), answers.says(GOOD)])
    optimizer = started(MeteredModel(server.model(), Budget(calls=1)))
    assert optimizer.ask() == []
    assert optimizer.done == "the model budget of 1 calls does not cover another call: 1 used so far"


def test_a_recorded_search_replays_to_the_same_candidates(server: Any, answers: Any, tmp_path: Path) -> None:
    server.answers.extend([answers.says("no form"), answers.says(GOOD), answers.says(act("return 1.0"))])
    path = tmp_path / "record.jsonl"
    values = []
    for source in (lambda: RecordingModel(server.model(), path), lambda: ReplayModel(path)):
        optimizer = started(source())
        optimizer.tell([Outcome(optimizer.ask()[0].id, 2.0, "Better.")])
        values.append([candidate.to_data() for candidate in optimizer.ask()])
    assert values[0] == values[1]
