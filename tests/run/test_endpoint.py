"""A run may come from another person: its store cannot redirect the user's key."""

from typing import Any

import pytest

from trace_robot.errors import RunError
from trace_robot.llm import ModelConfig


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def stored(address: str) -> dict[str, Any]:
    config = ModelConfig("a-model", address)
    return {**config.to_data(config.connect()), "base_url": address}


def test_an_endpoint_elsewhere_is_used_again_only_if_the_user_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = "http://models.example/v1"
    data = stored(elsewhere)
    with pytest.raises(RunError, match=r"'http://models.example/v1'; .* say so with --base-url"):
        ModelConfig.from_data(data)
    assert ModelConfig.from_data(data, base_url=elsewhere).base_url == elsewhere
    monkeypatch.setenv("OPENAI_BASE_URL", elsewhere)
    assert ModelConfig.from_data(data).base_url == elsewhere


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8000/v1", "http://localhost:1/v1", "https://api.openai.com/v1"]
)
def test_this_machine_and_openai_are_used_again(address: str) -> None:
    assert ModelConfig.from_data(stored(address)).base_url == address


@pytest.mark.parametrize("address", ["http://127.0.0.1@evil.example/", "http://localhost.evil.example/v1"])
def test_an_address_that_only_looks_like_this_machine_is_not(address: str) -> None:
    with pytest.raises(RunError):
        ModelConfig.from_data(stored(address))
