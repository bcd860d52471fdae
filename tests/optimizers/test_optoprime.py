from __future__ import annotations

from typing import Any

import pytest

from trace_robot.errors import (
    BudgetExceededError,
    ModelAuthError,
    ModelError,
    OrderError,
    ReplayMismatchError,
    UnknownModelError,
)
from trace_robot.llm import Reply, ScriptedModel
from trace_robot.llm.metering import message_tokens
from trace_robot.optimizers import Latest, OptoPrime, Outcome, ParameterSpec, Problem

CODE = 'def act(observation):\n    """Return the speed."""\n    return 0.0\n'
PROBLEM = Problem(
    (ParameterSpec("act", "code", CODE), ParameterSpec("gain", "number", 4.0, "speed per metre", (0, 10))),
    context="A cart on a rail.",
    objective="metres covered",
)


def gain(value: float, change: str = "") -> str:
    return f'<change>{change}</change><variable name="gain">{value}</variable><stop>no</stop>'


def act(body: str) -> str:
    return f'<variable name="act">\n```python\ndef act(observation):\n    {body}\n```\n</variable>'


def scores(optimizer: Any, *values: float, feedback: str = "It ran.") -> None:
    for value in values:
        asked = optimizer.ask()
        optimizer.tell([Outcome(candidate.id, value, feedback) for candidate in asked])


def test_the_starting_values_are_evaluated_first_and_cost_no_call() -> None:
    model = ScriptedModel()
    optimizer = OptoPrime(PROBLEM, model)
    assert optimizer.ask()[0].values == {"act": CODE, "gain": 4.0}
    assert model.history == []


def test_a_proposal_is_built_on_its_parent_and_says_what_it_changed() -> None:
    optimizer = OptoPrime(PROBLEM, ScriptedModel([gain(5, "a little faster")]))
    scores(optimizer, 1.0)
    candidate = optimizer.ask()[0]
    assert candidate.values == {"act": CODE, "gain": 5.0}
    assert (candidate.parent, candidate.note, candidate.origin) == (0, "a little faster", "model")


def test_asking_twice_gives_the_same_candidates_and_asks_the_model_once() -> None:
    model = ScriptedModel([gain(5)])
    optimizer = OptoPrime(PROBLEM, model)
    scores(optimizer, 1.0)
    assert optimizer.ask() == optimizer.ask()
    assert len(model.history) == 1


def test_the_best_is_kept_when_later_ones_are_worse() -> None:
    optimizer = OptoPrime(PROBLEM, ScriptedModel([gain(5), gain(6), gain(7)]))
    scores(optimizer, 1.0, 9.0, 3.0, float("nan"))
    assert optimizer.best is not None
    assert optimizer.best.values["gain"] == 5.0


def test_the_next_proposal_is_made_from_the_best_and_shows_the_failure() -> None:
    model = ScriptedModel([gain(5), gain(6, "much faster"), gain(7)])
    optimizer = OptoPrime(PROBLEM, model)
    scores(optimizer, 1.0, 9.0, 3.0)
    assert optimizer.ask()[0].parent == 1
    prompt = model.history[-1][-1]["content"]
    assert "(number) gain = 5.0" in prompt
    assert "Trial 2, from trial 1: score 3 (no better than 9); much faster" in prompt


def test_several_proposals_come_from_one_request() -> None:
    model = ScriptedModel([gain(5), gain(6), gain(7)])
    optimizer = OptoPrime(PROBLEM, model, proposals=3)
    scores(optimizer, 1.0)
    assert [candidate.values["gain"] for candidate in optimizer.ask()] == [5.0, 6.0, 7.0]
    assert len(model.history) == 1


def test_outcomes_may_come_one_by_one_in_any_order() -> None:
    optimizer = OptoPrime(PROBLEM, ScriptedModel([gain(5), gain(6)]), proposals=2)
    scores(optimizer, 1.0)
    first, second = optimizer.ask()
    optimizer.tell([Outcome(second.id, 3.0)])
    assert optimizer.ask() == [first]
    optimizer.tell([Outcome(first.id, 2.0)])
    assert optimizer.best == second


def test_telling_what_was_not_asked_is_an_error() -> None:
    optimizer = OptoPrime(PROBLEM)
    optimizer.ask()
    with pytest.raises(OrderError, match="no candidate 7 waits for an outcome; waiting: 0"):
        optimizer.tell([Outcome(7, 1.0)])


def test_success_ends_the_search_early() -> None:
    optimizer = OptoPrime(PROBLEM, ScriptedModel([gain(5)]))
    scores(optimizer, 1.0)
    optimizer.tell([Outcome(optimizer.ask()[0].id, 2.0, success=1.0)])
    assert optimizer.done == "solved: candidate 1 has success 1"
    assert optimizer.ask() == []


def test_the_model_may_say_that_nothing_can_be_improved() -> None:
    optimizer = OptoPrime(PROBLEM, ScriptedModel(["<reasoning>It is right.</reasoning><stop>yes</stop>"]))
    scores(optimizer, 1.0)
    assert optimizer.ask() == []
    assert optimizer.done == "the model sees nothing to improve"


UNUSABLE: dict[str, tuple[str | Reply, str]] = {
    "empty": ("", "the reply is empty"),
    "no form": ("I would go faster.", 'no <variable name="..."> block in the reply, and no <stop>yes</stop>'),
    "cut off": (Reply(gain(5), "length"), "the reply was cut off before its end; answer more briefly"),
    "refusal": (Reply("I cannot do that.", "refusal"), "the model declined: I cannot do that."),
    "megabyte": ("word " * 200_000, "the reply has 999,999 characters, at most 200,000 are read"),
    "syntax error": (
        act("return (1"),
        "act: syntax error on line 2: '(' was never closed, at 'return (1'",
    ),
    "renamed function": (
        act("return 1").replace("def act", "def move"),
        "act: must define a function named 'act', got move; keep its name",
    ),
    "changed signature": (
        act("return 1").replace("(observation)", "(observation, speed)"),
        "act: must keep the signature act(observation), got act(observation, speed)",
    ),
    "extra parameter": (
        gain(5) + '<variable name="speed">3</variable>',
        "no variable 'speed'; the variables are act, gain",
    ),
    "out of bounds": (gain(50.5), "gain: must be between 0 and 10, got 50.5"),
    "no number": (
        '<variable name="gain">fast</variable>',
        "gain: must be a number, got 'fast'",
    ),
    "blocked": (act("import os"), "act: line 2: import of 'os' is not allowed"),
    "unchanged": (gain(4), "these are the values of trial 0; change something"),
}


def check(source: str) -> list[str]:
    return ["line 2: import of 'os' is not allowed"] if "import os" in source else []


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_reply_is_kept_and_shown_to_the_model_once_for_repair(name: str) -> None:
    reply, problem = UNUSABLE[name]
    model = ScriptedModel([reply, gain(5)])
    optimizer = OptoPrime(PROBLEM, model, check_code=check)
    scores(optimizer, 1.0)
    assert optimizer.ask()[0].values["gain"] == 5.0
    request = model.history[1][-1]["content"]
    assert f"Your reply cannot be used:\n- {problem}\n" in request
    first, second = optimizer.log
    assert (first.kind, first.problems, first.candidate) == ("proposal", (problem,), None)
    assert (second.kind, second.problems, second.candidate) == ("repair", (), 1)
    assert optimizer.counts["rejected"] == optimizer.counts["repaired"] == 1


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_reply_that_stays_unusable_is_dropped_and_the_run_goes_on(name: str) -> None:
    reply, problem = UNUSABLE[name]
    model = ScriptedModel([reply, reply, gain(5)])
    optimizer = OptoPrime(PROBLEM, model, check_code=check)
    scores(optimizer, 1.0)
    assert optimizer.ask()[0].values == {"act": CODE, "gain": 5.0}
    assert optimizer.counts["rejected"] == 2
    assert f"#Rejected\n- {problem}" in model.history[2][-1]["content"]
    assert optimizer.done == ""


def test_nested_quotes_and_backticks_in_code_arrive_unharmed() -> None:
    body = 'text = """a \'quoted\' ``` "fence" </variable>"""\n    return len(text)'
    optimizer = OptoPrime(PROBLEM, ScriptedModel([act(body)]))
    scores(optimizer, 1.0)
    source = optimizer.ask()[0].values["act"]
    assert source == f"def act(observation):\n    {body}\n"
    scores(optimizer, 2.0)
    assert source.strip() in optimizer.prompt()


def test_only_unusable_replies_end_the_search_with_the_reason() -> None:
    optimizer = OptoPrime(PROBLEM, ScriptedModel(["nothing"] * 6))
    scores(optimizer, 1.0)
    assert optimizer.ask() == []
    assert optimizer.done.startswith("no usable reply in 3 requests in a row: no <variable")
    assert optimizer.best is not None


def test_a_model_that_never_answered_is_an_error_and_nothing_is_lost() -> None:
    model = ScriptedModel([ModelError("cannot reach a model"), gain(5)])
    optimizer = OptoPrime(PROBLEM, model)
    scores(optimizer, 1.0)
    with pytest.raises(ModelError, match="cannot reach a model"):
        optimizer.ask()
    assert optimizer.ask()[0].values["gain"] == 5.0


def test_a_failed_call_in_the_middle_is_kept_and_asked_again() -> None:
    model = ScriptedModel([gain(5), ModelError("answered 500"), gain(6)])
    optimizer = OptoPrime(PROBLEM, model)
    scores(optimizer, 1.0, 2.0)
    assert optimizer.ask()[0].values["gain"] == 6.0
    failed = optimizer.log[1]
    assert (failed.kind, failed.problems) == ("no answer", ("answered 500",))
    assert optimizer.counts["unanswered"] == 1


def test_a_model_that_stops_answering_ends_the_search_with_the_reason() -> None:
    model = ScriptedModel([gain(5), *[ModelError("answered 500")] * 3])
    optimizer = OptoPrime(PROBLEM, model)
    scores(optimizer, 1.0, 2.0)
    assert optimizer.ask() == []
    assert optimizer.done == "no usable reply in 3 requests in a row: answered 500"
    assert optimizer.best is not None
    assert optimizer.best.values["gain"] == 5.0


def test_a_spent_budget_ends_the_search_with_the_reason() -> None:
    model = ScriptedModel([BudgetExceededError("the model budget of 1 calls is spent")])
    optimizer = OptoPrime(PROBLEM, model)
    scores(optimizer, 1.0)
    assert optimizer.ask() == []
    assert optimizer.done == "the model budget of 1 calls is spent"


@pytest.mark.parametrize("kind", [ModelAuthError, UnknownModelError, ReplayMismatchError])
def test_wrong_settings_are_errors_at_any_time(kind: type[ModelError]) -> None:
    optimizer = OptoPrime(PROBLEM, ScriptedModel([gain(5), kind("wrong")]))
    scores(optimizer, 1.0, 2.0)
    with pytest.raises(kind, match="wrong"):
        optimizer.ask()


def test_without_a_model_prompt_and_start_work_and_a_proposal_says_what_is_missing() -> None:
    optimizer = OptoPrime(PROBLEM)
    assert "not been tried" in optimizer.prompt()
    scores(optimizer, 1.0)
    assert "Trial 0: score 1" in optimizer.prompt()
    with pytest.raises(OrderError, match="needs a model"):
        optimizer.ask()


def test_a_repair_stays_within_the_token_budget() -> None:
    model = ScriptedModel(["word " * 30_000, gain(5)])
    optimizer = OptoPrime(PROBLEM, model, token_budget=2000)
    scores(optimizer, 1.0, feedback="long " * 5000)
    optimizer.ask()
    assert all(message_tokens(messages) <= 2000 for messages in model.history)


def test_after_children_that_are_no_better_another_parent_gets_its_turn() -> None:
    model = ScriptedModel([gain(1 + i / 10) for i in range(8)])
    optimizer = OptoPrime(PROBLEM, model)
    scores(optimizer, 5.0, 4.0, 1.0, 1.0, 1.0)
    assert optimizer.ask()[0].parent == 1


def test_a_single_chain_goes_on_from_the_last_as_published() -> None:
    optimizer = OptoPrime(PROBLEM, ScriptedModel([gain(5), gain(6)]), strategy=Latest())
    scores(optimizer, 5.0, 1.0)
    assert optimizer.ask()[0].parent == 1


def test_a_trial_made_elsewhere_is_learned_from() -> None:
    optimizer = OptoPrime(PROBLEM, ScriptedModel([gain(5)]))
    scores(optimizer, 1.0)
    from trace_robot.optimizers import Candidate

    tuned = Candidate(optimizer.new_id(), 0, {"act": CODE, "gain": 8.5}, "found by hand", "given")
    optimizer.learn(tuned, Outcome(tuned.id, 4.0))
    assert "(number) gain = 8.5" in optimizer.prompt()
    assert optimizer.ask()[0].parent == tuned.id
