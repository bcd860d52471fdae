"""Trials on the point that is pushed about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from trace_robot.policy import load_policy
from trace_robot.rollout import RolloutEngine, training_seeds
from trace_robot.rollout.evaluation import Evaluator
from trace_robot.rollout.task import resolve

WORKSPACE = Path(__file__).parents[1] / "workspace"


@pytest.fixture
def point_mass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' workspace, and no model."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "TRACE_ROBOT_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(WORKSPACE))


@pytest.fixture
def point_mass_trials(point_mass: None) -> Iterator[Evaluator]:
    policy, _, options = resolve("point-mass", load_policy("do_nothing"))
    with RolloutEngine(1) as engine:
        yield Evaluator(engine, policy, "point-mass", options, training_seeds(0, 2), observe=True)
