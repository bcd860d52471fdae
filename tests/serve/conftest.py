"""Fixtures: served runs of the point mass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.agents import Agent, served

WORKSPACE = Path(__file__).parents[1] / "workspace"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    """An agent whose requests must not spend anything: the tests of a module share it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACE_ROBOT_WORKSPACE", str(WORKSPACE))
        with served(tmp_path_factory.mktemp("served") / "run") as agent:
            yield agent
