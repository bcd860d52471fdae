"""A context that is too small is met by shorter prompts, the same ones in every resume and replay."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.kills import Killed, killing
from trace_robot.errors import BudgetExceededError, ContextLengthError, ModelError, RunError
from trace_robot.llm import (
    ModelConfig,
    RecordingModel,
    ReplayModel,
    ScriptedModel,
    message_tokens,
    read_record,
    token_bound,
)
from trace_robot.optimizers import OPRO, OptoPrime, Outcome, ParameterSpec, Problem
from trace_robot.optimizers.tuned import Tuned
from trace_robot.run.loop import Event, Iterated, Noted
from trace_robot.run.optimize import first_prompt, optimize, resume

CODE = "def act(observation, memory):\n    return [0]\n"
PROBLEM = Problem((ParameterSpec("act", "code", CODE),), context="word " * 1500)
REPLY = (
    '<change>{0}</change><variable name="act">\ndef act(observation, memory):\n    return [{0}]\n</variable>'
)


class Small:
    """A chat model whose context holds some characters; ``asked`` has the bounds of the prompts' tokens."""

    def __init__(self, characters: int, *replies: str, limit: int | None = None) -> None:
        self.characters, self.replies, self.limit = characters, list(replies), limit
        self.asked: list[int] = []

    def chat(self, messages: Any, n: int = 1) -> Any:
        self.asked.append(message_tokens(messages))
        if sum(len(message["content"]) for message in messages) > self.characters:
            raise ContextLengthError("the context is full", self.limit)
        return ScriptedModel([self.replies.pop(0)]).chat(messages)


def started(model: Any, kind: type[OptoPrime] = OptoPrime) -> OptoPrime:
    optimizer = kind(PROBLEM, model)
    optimizer.tell([Outcome(optimizer.ask()[0].id, 0.0, "too far " * 200)])
    return optimizer


@pytest.mark.parametrize("kind", [OptoPrime, OPRO])
@pytest.mark.parametrize("limit", [None, 2000, 6000])
def test_a_prompt_that_is_too_long_is_asked_again_shorter(kind: type[OptoPrime], limit: int | None) -> None:
    model = Small(5500 if kind is OptoPrime else 3500, REPLY.format(1), REPLY.format(2), limit=limit)
    optimizer = started(model, kind)
    candidate = optimizer.ask()[0]
    assert candidate.note == "1"
    assert model.asked == sorted(model.asked, reverse=True)
    assert len(model.asked) <= 5
    tries, budget = len(model.asked), optimizer.token_budget
    optimizer.tell([Outcome(candidate.id, 1.0, "too far " * 200)])
    assert optimizer.ask()[0].note == "2"
    assert len(model.asked) == tries + 1, "remembered"
    assert optimizer.token_budget == budget
    assert len(optimizer.notes) == tries - 1
    assert f"prompts have at most {budget:,} tokens from here on: the context is full" in optimizer.notes[-1]
    assert [attempt.kind for attempt in optimizer.log] == ["no answer"] * (tries - 1) + ["proposal"] * 2


def test_a_repair_that_is_too_long_is_asked_again_shorter() -> None:
    prompt = started(None).messages()
    model = Small(sum(len(m["content"]) for m in prompt) - 200, "no form " * 200, REPLY.format(1))
    optimizer = started(model)
    assert optimizer.ask()[0].note == "1"
    assert optimizer.counts["repaired"] == 1


def test_a_context_that_not_even_the_shortest_prompt_fits_is_the_error() -> None:
    with pytest.raises(ContextLengthError, match="the context is full"):
        started(Small(100)).ask()
    model = Small(10_000_000, REPLY.format(1))
    optimizer = started(model)
    optimizer.tell([Outcome(optimizer.ask()[0].id, 1.0)])
    model.characters = 100
    assert optimizer.ask() == []
    assert optimizer.done.startswith("no usable reply in 3 requests in a row: the context is full")
    assert optimizer.best is not None


def test_values_as_large_as_the_starting_ones_are_taken_in_any_context() -> None:
    def code(number: int, lines: int) -> str:
        return (
            "def act(observation, memory):\n" + f"    memory['count'] = {number}\n" * lines + "    return [0]"
        )

    reply = '<variable name="act">\n{0}\n</variable>'
    replies = [reply.format(code(1, 100)), reply.format(code(2, 300)), reply.format(code(3, 100))]
    problem = Problem((ParameterSpec("act", "code", code(0, 100)),), context="word " * 1500)
    model = Small(6500, *replies, limit=3000)
    optimizer = OptoPrime(problem, model)
    optimizer.tell([Outcome(optimizer.ask()[0].id, 0.0)])
    assert optimizer.ask()[0].values["act"] == code(1, 100) + "\n"
    assert token_bound(code(0, 100)) > optimizer.token_budget // 2, "the case that is meant"
    optimizer.tell([Outcome(1, 0.5)])
    assert optimizer.ask()[0].values["act"] == code(3, 100) + "\n"
    assert "the values take about" in optimizer.log[-2].problems[0]


@pytest.mark.parametrize("narrowed", [False, True])
def test_a_budget_of_the_user_s_that_leaves_no_room_is_an_error(narrowed: bool) -> None:
    model = Small(5500 if narrowed else 10_000_000, REPLY.format(1))
    optimizer = started(model)
    optimizer.tell([Outcome(optimizer.ask()[0].id, 1.0)])
    model.replies = [REPLY.format(2), REPLY.format(3)]
    budget, asked = optimizer.token_budget, len(model.asked)
    for strict in (True, False):  # False: as in the journals of earlier versions, which asked nevertheless
        model.chat = Asked(model, ContextLengthError("asked for", prompt=100, strict=strict))  # type: ignore[method-assign]
        if strict:
            with pytest.raises(BudgetExceededError, match=r"alone take \d+ of 100 tokens; give a larger"):
                optimizer.ask()
            assert (optimizer.token_budget, len(model.asked)) == (budget, asked)
        else:
            assert optimizer.ask()[0].note == "2"


class Asked:
    """A method ``chat`` that first raises an error."""

    def __init__(self, model: Small, error: Exception) -> None:
        self.model, self.errors = model, [error]

    def __call__(self, messages: Any, n: int = 1) -> Any:
        if self.errors:
            raise self.errors.pop()
        return Small.chat(self.model, messages, n)


def test_tuning_passes_the_notes_on() -> None:
    inner = started(Small(5500, REPLY.format(1)))
    inner.ask()
    assert Tuned(inner).notes == inner.notes != []


def test_a_record_replays_what_was_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    notes = []
    made: list[Any] = [
        lambda: RecordingModel(Small(5500, REPLY.format(1)), path),
        lambda: ReplayModel(path),
        lambda: RecordingModel(Small(0), path),
    ]
    for make in made:
        optimizer = started(make())
        notes.append((optimizer.ask()[0].note, optimizer.token_budget, optimizer.notes))
    assert notes[0] == notes[1] == notes[2]
    assert [bool(exchange.refused) for exchange in read_record(path)] == [*[True] * len(notes[0][2]), False]


def test_a_record_without_refusals_has_the_same_bytes_as_before(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    RecordingModel(ScriptedModel(["a"]), path).chat([{"role": "user", "content": "b"}])
    assert set(json.loads(path.read_text())) == {"number", "messages", "replies"}


# --- whole runs

LITTLE: dict[str, Any] = {"optimizer": "optoprime", "iterations": 3, "episodes": 2, "held_out": 2, "workers": 0,
                          "tune": False, "video": False, "control": "raw"}  # fmt: skip
GAIN = """<change>gain {0}</change>
<variable name="act">
def act(observation, memory):
    return {0} * observation["goal_position"]
</variable>"""


def refusing(answers: Any, gains: list[float]) -> Any:
    """Answer as an endpoint without a system role, whose context holds most of the first prompt."""
    first: list[int] = []

    def answer(handler: Any, request: dict[str, Any]) -> None:
        size = sum(len(message["content"]) for message in request["messages"])
        first.append(size)
        if request["messages"][0]["role"] == "system":
            body = {"error": {"message": "System role not supported"}}
            handler.send(400, json.dumps(body).encode())
        elif size > 0.85 * first[0]:
            body = {"error": {"message": f"maximum context length is 2500 tokens, you have {size}"}}
            handler.send(400, json.dumps(body).encode())
        else:
            answers.says(GAIN.format(gains.pop(0)))(handler, request)

    return answer


def attempts_of(run: Path) -> list[dict[str, Any]]:
    pages = sorted(run.glob("iterations/*/attempts.json"))
    return [attempt for page in pages for attempt in json.loads(page.read_text())["attempts"]]


@pytest.mark.usefixtures("point_mass")
def test_a_resumed_run_knows_what_was_refused_and_asks_for_nothing_twice(
    server: Any, answers: Any, tmp_path: Path
) -> None:
    gains = [0.01, 0.02, 0.03]
    server.answers.extend([refusing(answers, gains)] * 30)
    config = ModelConfig("m", server.url, retries=0)
    events: list[Event] = []

    def observe(event: Event) -> None:
        events.append(event)
        if sum(isinstance(event, Iterated) for event in events) == 3:
            raise Killed

    with pytest.raises(Killed):
        optimize("point-mass", model=config, out=tmp_path / "run", on_event=observe, **LITTLE)
    noted = [event.text for event in events if isinstance(event, Noted)]
    assert any("refuses the system role" in text for text in noted)
    assert any("tokens from here on" in text for text in noted)
    assert len(noted) == len(set(noted))
    before = len(server.requests)
    again: list[Event] = []
    result = resume(tmp_path / "run", on_event=again.append)
    assert result.iterations == 3
    assert len(server.requests) == before + 1, (
        "one answer was missing, and was asked for in the way that works"
    )
    assert server.requests[-1]["messages"][0]["role"] == "user"
    assert [event.text for event in again if isinstance(event, Noted)] == noted
    assert "maximum context length is 2500" in attempts_of(tmp_path / "run")[0]["problems"][0]


@pytest.mark.usefixtures("point_mass")
@pytest.mark.parametrize("budget", [2000, 9000])
def test_a_resumed_run_may_have_another_model_request_and_budget(
    server: Any, answers: Any, tmp_path: Path, budget: int
) -> None:
    server.answers.extend([answers.says(GAIN.format(gain)) for gain in (0.01, 0.02, 0.03)])
    config = ModelConfig("m", server.url, retries=0, request={"temperature": 0.2, "seed": 1})
    with pytest.raises(Killed):
        optimize("point-mass", model=config, out=tmp_path / "run", on_event=killing(Iterated, 2), **LITTLE)
    changes = {"model": "other", "request": {"temperature": 0.9}, "token_budget": budget, "parallel": None}
    with pytest.raises(Killed):
        resume(tmp_path / "run", changes=changes, on_event=killing(Iterated, 3))
    result = resume(tmp_path / "run")  # the budget is in the journal, and holds
    assert (result.iterations, len(server.requests)) == (3, 3)
    asked = [(request["model"], request["temperature"], request["seed"]) for request in server.requests]
    assert asked == [("m", 0.2, 1), ("other", 0.9, 1), ("m", 0.2, 1)]
    sizes = [message_tokens(request["messages"]) for request in server.requests]
    assert all(size <= budget for size in sizes[1:])
    attempts = attempts_of(tmp_path / "run")
    assert f"a token budget of {budget} was asked for" in attempts[1]["problems"][0]


@pytest.mark.usefixtures("point_mass")
def test_a_resumed_run_refuses_a_budget_without_room_and_takes_a_larger_one(
    server: Any, answers: Any, tmp_path: Path
) -> None:
    server.answers.extend([answers.says(GAIN.format(gain)) for gain in (0.01, 0.02, 0.03)])
    config = ModelConfig("m", server.url, retries=0)
    with pytest.raises(Killed):
        optimize("point-mass", model=config, out=tmp_path / "run", on_event=killing(Iterated, 2), **LITTLE)
    asked = len(server.requests)
    for _ in range(2):
        with pytest.raises(BudgetExceededError, match=r"alone take \d+ of 100 tokens; give a larger"):
            resume(tmp_path / "run", changes={"token_budget": 100})
    assert len(server.requests) == asked
    with pytest.raises(Killed):
        resume(tmp_path / "run", changes={"token_budget": 2000}, on_event=killing(Iterated, 3))
    assert len(server.requests) == asked + 1
    assert resume(tmp_path / "run").iterations == 3, "the budget that was taken is in the journal"


@pytest.mark.usefixtures("point_mass")
def test_a_run_that_asks_no_model_is_given_none(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        optimize(
            "point-mass",
            out=tmp_path / "run",
            on_event=killing(Iterated, 1),
            **{**LITTLE, "optimizer": "search", "steps": 300},
        )
    with pytest.raises(
        RunError, match="the run's optimizer search asks no model; leave the options of the model out"
    ):
        resume(tmp_path / "run", changes={"model": "other"})


@pytest.mark.usefixtures("point_mass")
def test_an_endpoint_that_cannot_be_asked_ends_a_run_before_it_begins(tmp_path: Path) -> None:
    for optimizer in ("optoprime", "opro"):
        with pytest.raises(ModelError, match="cannot reach a model at"):
            optimize(
                "point-mass",
                model=ModelConfig("m", "http://127.0.0.1:9/v1", retries=0),
                out=tmp_path / "run",
                **{**LITTLE, "optimizer": optimizer},
            )
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("point_mass")
def test_the_first_prompt_keeps_to_a_given_budget() -> None:
    prompts = [
        first_prompt("point-mass", token_budget=budget, workers=0, episodes=1) for budget in (None, 1800)
    ]
    assert len(prompts[1]) < len(prompts[0])


def test_settings_of_the_model_survive_the_store_and_others_leave_it_as_it_was(server: Any) -> None:
    plain = ModelConfig("m", server.url)
    assert set(plain.to_data(plain.connect())) == {
        "model",
        "base_url",
        "retries",
        "proposals",
        "budget",
        "prices",
        "record",
        "replay",
    }
    config = ModelConfig("m", server.url, request={"a": {"b": False}}, token_budget=3000, parallel=2)
    stored = json.loads(json.dumps(config.to_data(config.connect())))
    assert ModelConfig.from_data(stored) == replace(config, send_key=False)  # the server is on this machine
    changed = ModelConfig.from_data(stored, changes={"request": {"c": 1}, "parallel": 1, "model": None})
    assert (changed.model, changed.request, changed.parallel) == ("m", {"a": {"b": False}, "c": 1}, 1)


def test_replies_are_asked_for_in_as_many_requests_as_wanted(server: Any, answers: Any) -> None:
    server.answers.extend([answers.says("a")] * 3)
    connected = ModelConfig("m", server.url, parallel=1).connect()
    assert len(connected.chat([{"role": "user", "content": "b"}], 3)) == 3
    assert ["n" in request for request in server.requests] == [False] * 3
