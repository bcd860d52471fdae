"""The journal: entries are replayed in order, once, and for the same requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from trace_robot.errors import BudgetExceededError, ChangedRunError, ModelError
from trace_robot.llm.metering import Budget, MeteredModel, Prices
from trace_robot.llm.model import Reply, ScriptedModel
from trace_robot.llm.recording import RecordingModel
from trace_robot.optimizers.problem import Candidate
from trace_robot.run.journaled import JournaledModel
from trace_robot.settings import Settings
from trace_robot.spec import TaskSpec
from trace_robot.store.journal import Journal
from trace_robot.store.writer import RunHeader, Store

SPEC = TaskSpec("nowhere", "", (), (), 0, (), (), 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as opened:
        opened.begin("run", RunHeader(Settings("nowhere"), SPEC, ""))
        yield opened


def journal(store: Store, clock: list[float] | None = None) -> Journal:
    ticks = clock or [0.0]
    return Journal(store._connection, store.path, 1, clock=lambda: ticks[0])


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_entries_come_back_in_their_order_and_then_there_are_none(store: Store) -> None:
    first = journal(store)
    assert not first.replaying
    assert first.take(("replies",), "a") is None
    first.put("replies", "a", b"1")
    first.put("episodes", "b", b"2")
    again = journal(store)
    assert (again.replaying, again.known) == (True, 2)
    assert again.take(("replies", "no answer"), "a").data == b"1"  # type: ignore[union-attr]
    assert again.take(("episodes",), "b").data == b"2"  # type: ignore[union-attr]
    assert not again.replaying
    assert again.take(("replies",), "c") is None
    again.put("replies", "c", b"3")
    assert journal(store).known == 3


@pytest.mark.parametrize(("kind", "request_"), [("replies", "other"), ("episodes", "a")])
def test_a_run_that_asks_for_something_else_than_it_did_is_stopped(
    store: Store, kind: str, request_: str
) -> None:
    journal(store).put("replies", "a", b"1")
    with pytest.raises(ChangedRunError, match="at entry 1 of 1 of its journal it asked for replies"):
        journal(store).take((kind,), request_)  # type: ignore[arg-type]


def test_the_clock_goes_on_from_where_it_was_and_a_replay_costs_no_time(store: Store) -> None:
    clock = [100.0]
    first = journal(store, clock)
    clock[0] = 105.0
    first.put("episodes", "a", b"")
    clock[0] = 107.0
    first.put("episodes", "b", b"")
    assert first.seconds == 7.0
    clock[0] = 5000.0
    again = journal(store, clock)
    again.begin()
    clock[0] = 5010.0
    assert again.seconds == 0.0
    again.take(("episodes",), "a")
    assert again.seconds == 5.0
    assert not again.time_over(6.0)
    again.take(("episodes",), "b")
    clock[0] = 5011.0
    assert again.seconds == 8.0
    assert again.time_over(7.5)


def test_time_that_was_over_once_is_over_at_the_same_place_again(store: Store) -> None:
    clock = [0.0]
    first = journal(store, clock)
    first.put("episodes", "a", b"")
    clock[0] = 61.0
    assert first.time_over(60.0)
    first.put("episodes", "held out", b"")
    again = journal(store, [0.0])
    assert not again.time_over(60.0)
    again.take(("episodes",), "a")
    assert again.time_over(60.0)
    assert again.take(("episodes",), "held out") is not None


def test_answers_are_replayed_with_their_cost_and_no_model_is_asked(store: Store) -> None:
    reply = Reply("half \ud83e of a pair", "stop", 1000, 10)
    meter = MeteredModel(ScriptedModel([reply, "second"]), prices=Prices(1, 2))
    model = JournaledModel(meter, meter.usage, journal(store))
    assert model.chat(ask("a")) == [reply]
    model.chat(ask("b"))
    silent = MeteredModel(ScriptedModel(), Budget(calls=2), prices=Prices(1, 2))
    again = JournaledModel(silent, silent.usage, journal(store))
    assert again.chat(ask("a")) == [reply]
    assert (silent.usage.calls, silent.usage.prompt_tokens) == (1, 1000)
    assert silent.usage.money == pytest.approx(0.00102)
    assert again.chat(ask("b"))[0].text == "second"
    assert silent.usage.to_data() | {"seconds": 0} == meter.usage.to_data() | {"seconds": 0}
    with pytest.raises(BudgetExceededError, match="budget of 2 calls"):
        again.chat(ask("c"))


def test_a_call_without_an_answer_is_replayed_only_if_the_run_went_on_from_it(store: Store) -> None:
    meter = MeteredModel(ScriptedModel([ModelError("busy"), "answer", ModelError("gone")]))
    model = JournaledModel(meter, meter.usage, journal(store))
    for _ in range(3):
        try:
            model.chat(ask("a"))
        except ModelError:
            continue
    scripted = ScriptedModel(["now it is there"])
    again = JournaledModel(scripted, MeteredModel(scripted).usage, journal(store))
    with pytest.raises(ModelError, match="busy"):
        again.chat(ask("a"))
    assert again.chat(ask("a"))[0].text == "answer"
    assert again.chat(ask("a"))[0].text == "now it is there"


def test_an_answer_in_the_store_and_in_a_record_is_given_once(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    recorder = RecordingModel(ScriptedModel(["first"]), path)
    model = JournaledModel(recorder, MeteredModel(recorder).usage, journal(store))
    model.chat(ask("a"))
    recorder = RecordingModel(ScriptedModel(["second"]), path)
    again = JournaledModel(recorder, MeteredModel(recorder).usage, journal(store))
    assert [again.chat(ask("a"))[0].text for _ in range(2)] == ["first", "second"]


def test_an_episode_comes_back_as_it_was_to_the_last_bit(point_mass_trials: object) -> None:
    from trace_robot.store.codec import decode_episodes, encode_episodes

    trials = point_mass_trials
    (trial,) = trials.evaluate([Candidate(0, None, trials.task.policy.values)], graph=True)  # type: ignore[attr-defined]
    again = decode_episodes(encode_episodes(trial.episodes))
    for before, after in zip(trial.episodes, again, strict=True):
        for name in ("seed", "ended", "steps", "fault"):
            assert getattr(before, name) == getattr(after, name)
        assert before.rewards.tobytes() == after.rewards.tobytes()
        assert before.actions.tobytes() == after.actions.tobytes()
        assert before.infos == after.infos
        assert before.observations.shape == after.observations.shape
