"""The checker finds what it is there to find."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest

from trace_robot.env.conformance import run_problems, space_problems, spec_problems, unused
from trace_robot.spec import Field, TaskSpec

GOOD = TaskSpec(
    name="point",
    instruction="Move.",
    observation=(Field("hand_position", 0, 3, "m"), Field("speed", 3, 4)),
    action=(Field("push", 0, 2),),
    observation_size=5,
    low=(-1.0, -1.0),
    high=(1.0, 1.0),
    horizon=4,
    positions=("hand_position",),
)


class Point(gymnasium.Env[Any, Any]):
    observation_space = gymnasium.spaces.Box(-9.0, 9.0, (5,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    reward: float = 1.0
    dtype: Any = np.float64
    noise: Any = None

    def _seen(self) -> Any:
        return np.full(5, 0.0 if self.noise is None else self.noise(), self.dtype)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._seen(), self.reward, False, False, {}


def test_a_good_description_has_no_problems() -> None:
    assert not list(spec_problems(GOOD))
    assert not list(space_problems(GOOD, Point()))
    assert not list(run_problems(GOOD, Point))
    assert unused(GOOD) == [4]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"instruction": " "}, "the instruction is empty"),
        ({"instruction": "Reach \ud83d\ude00."}, "one has half of a surrogate pair"),
        ({"success": "\udfff"}, "one has half of a surrogate pair"),
        ({"low": (2.0, -1.0)}, "low <= high"),
        ({"horizon": 0}, "the horizon must be at least 1, got 0"),
        (
            {"observation": (Field("a", 0, 3), Field("b", 2, 4)), "positions": ()},
            "fields 'a' and 'b' overlap at 2",
        ),
        ({"observation": (Field("a", 0, 3), Field("a", 3, 4)), "positions": ()}, "field 'a' exists twice"),
        ({"observation": (Field("a", 4, 6),), "positions": ()}, "field 'a' at 4:6 does not lie in 0:5"),
        ({"observation": (Field("my hand", 0, 3),), "positions": ()}, "'my hand' must be a Python name"),
        ({"action": (Field("push", 0, 1),)}, "the action's fields must use up its 2 numbers"),
        ({"positions": ("speed",)}, "position 'speed' must be an observation field of 3 numbers"),
    ],
)
def test_a_bad_description_is_named_with_what_is_wrong(changed: dict[str, Any], problem: str) -> None:
    assert any(problem in found for found in spec_problems(replace(GOOD, **changed)))


def test_a_space_of_another_type_is_found() -> None:
    env = Point()
    env.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float64)  # type: ignore[arg-type]
    (found,) = space_problems(GOOD, env)
    assert found.startswith("the action space must be a Box of shape (2,) and float32, got Box(")


@pytest.mark.parametrize(
    ("attribute", "value", "problem"),
    [
        ("reward", float("nan"), "a reward is not finite"),
        ("dtype", np.float32, "an observation must be float64, got float32"),
        ("noise", lambda: np.inf, "not finite at [0 1 2 3 4]"),
        ("noise", np.random.default_rng(0).random, "the same seed and actions gave different observations"),
    ],
)
def test_a_bad_episode_is_named_with_what_is_wrong(attribute: str, value: Any, problem: str) -> None:
    kind = type(
        "Bad",
        (Point,),
        {attribute: staticmethod(value) if callable(value) and attribute == "noise" else value},
    )
    assert any(problem in found for found in run_problems(GOOD, kind))
