"""A run may be somebody else's: its store does not decide where the user's key goes."""

from typing import Any

import pytest

from trace_robot.errors import RunError
from trace_robot.run.optimizers import choose, choose_again
from trace_robot.settings import Settings

SETTINGS = Settings("reach-v3", optimizer="optoprime")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def stored(address: str) -> dict[str, Any]:
    chosen = choose(SETTINGS, model="a-model", base_url=address)
    assert chosen.data is not None
    return {**chosen.data, "base_url": address}


def test_an_endpoint_elsewhere_is_used_again_only_if_the_user_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = stored("http://models.example/v1")
    with pytest.raises(RunError, match=r"'http://models.example/v1'; .* say so with --base-url"):
        choose_again(SETTINGS, "", data)
    assert choose_again(SETTINGS, "why", data, base_url="http://models.example/v1").why == "why"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://models.example/v1")
    assert choose_again(SETTINGS, "why", data).why == "why"


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8000/v1", "http://localhost:1/v1", "https://api.openai.com/v1"]
)
def test_this_machine_and_openai_are_used_again(address: str) -> None:
    assert choose_again(SETTINGS, "why", stored(address)).why == "why"


@pytest.mark.parametrize("address", ["http://127.0.0.1@evil.example/", "http://localhost.evil.example/v1"])
def test_an_address_that_only_looks_like_this_machine_is_not(address: str) -> None:
    with pytest.raises(RunError):
        choose_again(SETTINGS, "", stored(address))
