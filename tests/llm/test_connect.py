from __future__ import annotations

import pytest

from trace_robot.errors import ModelError
from trace_robot.llm import Reply, ScriptedModel, configured


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL", "TRACE_ROBOT_MODEL"):
        monkeypatch.delenv(name, raising=False)


def test_without_settings_no_model_is_configured() -> None:
    assert configured() == ""


def test_the_setting_that_names_a_model_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
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
