from __future__ import annotations

import pytest

from trace_robot.errors import BudgetExceededError, ModelError
from trace_robot.llm import Budget, MeteredModel, Prices, Reply, ScriptedModel, token_bound

ASK = [{"role": "user", "content": "improve"}]


def paid(text: str = "ok") -> Reply:
    return Reply(text, prompt_tokens=1000, completion_tokens=500)


def test_calls_tokens_and_money_add_up() -> None:
    meter = MeteredModel(ScriptedModel([paid(), paid()]), prices=Prices(prompt=2.0, completion=10.0))
    meter.chat(ASK)
    meter.chat(ASK)
    usage = meter.usage
    assert (usage.calls, usage.prompt_tokens, usage.completion_tokens) == (2, 2000, 1000)
    assert usage.money == pytest.approx(0.014)


def test_the_tokens_of_several_replies_are_counted_once() -> None:
    meter = MeteredModel(ScriptedModel([paid("one"), Reply("two " * 50), Reply("three " * 50)]))
    meter.chat(ASK, 3)
    assert (meter.usage.prompt_tokens, meter.usage.completion_tokens) == (1000, 500)
    bounded = MeteredModel(ScriptedModel(["two " * 50, "three " * 50]))
    bounded.chat(ASK, 2)
    assert bounded.usage.completion_tokens == token_bound("two " * 50) + token_bound("three " * 50)


def test_an_endpoint_that_counts_no_tokens_is_counted_from_the_texts() -> None:
    meter = MeteredModel(ScriptedModel(["a longer answer"]))
    meter.chat(ASK)
    assert meter.usage.prompt_tokens > 0
    assert meter.usage.completion_tokens > 0


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(calls=1), "the model budget of 1 calls does not cover another call: 1 used so far"),
        (
            Budget(tokens=1505),
            "the model budget of 1505 tokens does not cover another call: 1500 used so far",
        ),
        (Budget(money=0.007), "the model budget of 0.007 in money does not cover another call: 0.007 used"),
        (Budget(seconds=5), "the model budget of 5 seconds does not cover another call: 6 used so far"),
    ],
)
def test_a_call_beyond_the_budget_is_refused_before_it_is_made(budget: Budget, words: str) -> None:
    times = iter([0.0, 1.0, 2.0, 6.0])
    model = ScriptedModel([paid(), paid()])
    meter = MeteredModel(model, budget, prices=Prices(2.0, 10.0), clock=lambda: next(times))
    meter.chat(ASK)
    with pytest.raises(BudgetExceededError, match=words):
        meter.chat(ASK)
    assert len(model.history) == 1


def test_a_failed_call_counts_as_a_call() -> None:
    meter = MeteredModel(ScriptedModel([ModelError("broken")]))
    with pytest.raises(ModelError, match="broken"):
        meter.chat(ASK)
    assert (meter.usage.calls, meter.usage.failed) == (1, 1)


def test_what_an_earlier_run_used_counts_against_the_budget() -> None:
    first = MeteredModel(ScriptedModel([paid()]))
    first.chat(ASK)
    second = MeteredModel(ScriptedModel([paid()]), Budget(calls=1), used=first.usage.to_data())
    with pytest.raises(BudgetExceededError, match="1 used so far"):
        second.chat(ASK)
