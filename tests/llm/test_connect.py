from __future__ import annotations

from typing import Any

import pytest

from trace_robot.errors import ModelError
from trace_robot.llm import Reply, ScriptedModel, configured


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL", "TRACE_ROBOT_MODEL"):
        monkeypatch.delenv(name, raising=False)


def test_without_settings_no_model_is_configured() -> None:
    assert configured() == ""


def test_the_setting_that_names_a_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured(base_url="http://127.0.0.1:1/v1") == "a base URL is given"
    assert configured("some-model") == "a model is named"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    assert configured() == "OPENAI_API_KEY is set"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert configured() == "OPENAI_BASE_URL is set"


def test_a_scripted_model_answers_in_order_and_keeps_what_it_was_asked() -> None:
    model = ScriptedModel(["a", Reply("b", "length"), lambda messages: messages[0]["content"].upper()])
    ask = [{"role": "user", "content": "hello"}]
    assert [model.chat(ask)[0].text for _ in range(3)] == ["a", "b", "HELLO"]
    assert model.history == [ask, ask, ask]
    with pytest.raises(ModelError, match="no answer left for request 4"):
        model.chat(ask)


def test_a_traced_call_of_a_model_is_a_node_and_asks_the_given_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from trace_robot.llm import answer_with
    from trace_robot.trace import node, operator_table, operators

    monkeypatch.setattr(operator_table, "ask_model", list(operator_table.ask_model))
    model = ScriptedModel(["42"])
    answer_with(model)
    prompt = node("Answer with a number.", name="prompt", trainable=True)
    answer = operators.call_llm(prompt, "What is 6 times 7?", temperature=0.0)
    assert answer.data == "42"
    assert answer.parameter_dependencies == {prompt}
    assert model.history[0][0] == {"role": "system", "content": "Answer with a number."}


def test_a_traced_call_asks_the_endpoint_of_the_environment(
    server: Any, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trace_robot.llm.config import _ask_endpoint
    from trace_robot.trace import operator_table, operators

    monkeypatch.setattr(operator_table, "ask_model", [_ask_endpoint])
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_MODEL", "small")
    server.answers.append(answers.says("42"))
    assert operators.call_llm("Answer.", "6 times 7?", temperature=0.5).data == "42"
    assert server.requests[0]["temperature"] == 0.5
