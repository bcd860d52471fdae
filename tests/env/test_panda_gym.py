"""panda-gym's plug-in: what it declares, and that no episode depends on the one before."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trace_robot.env import registry
from trace_robot.errors import MissingExtraError, TraceRobotError

NAMES = ("PandaReach-v3", "PandaPush-v3", "PandaSlide-v3", "PandaPickAndPlace-v3", "PandaStack-v3")
FILE = Path(__file__).parents[2] / "envs" / "panda_gym.py"
# Another interpreter, where panda-gym shall not be installed in this one.
PYTHON = os.environ.get("PANDA_GYM_PYTHON", "")
OPTIONS: dict[str, Any] = {"python": PYTHON} if PYTHON else {}
INSTALLED = bool(PYTHON) or importlib.util.find_spec("panda_gym") is not None
with_panda_gym = pytest.mark.skipif(
    not INSTALLED,
    reason="panda-gym is not installed: pip install 'trace-robot[panda]', or PANDA_GYM_PYTHON=ENV/bin/python",
)


def test_all_five_are_listed_without_panda_gym() -> None:
    listed = [entry for entry in registry.catalogue() if entry.file == str(FILE)]
    assert tuple(entry.name for entry in listed) == NAMES
    assert all(entry.instruction and entry.success for entry in listed)
    assert "panda_gym" not in sys.modules


@pytest.mark.skipif(importlib.util.find_spec("panda_gym") is not None, reason="panda-gym is installed")
def test_without_panda_gym_the_error_names_the_extra() -> None:
    with pytest.raises(
        MissingExtraError,
        match=r"^[^\n]*panda_gym[^\n]*: pip install 'trace-robot\[panda\]', or run it in another",
    ):
        registry.describe("PandaPush-v3")


@pytest.mark.skipif(os.name != "posix", reason="other interpreters need Linux or macOS")
@pytest.mark.skipif(importlib.util.find_spec("panda_gym") is not None, reason="panda-gym is installed")
def test_an_interpreter_without_it_is_named_with_the_remedy() -> None:
    with pytest.raises(TraceRobotError, match=r"lacks .*panda_gym.* -m pip install panda_gym"):
        registry.describe("PandaPush-v3", python=sys.executable)


@with_panda_gym
@pytest.mark.parametrize("name", NAMES)
def test_the_declaration_fits(name: str) -> None:
    spec = registry.describe(name, **OPTIONS)
    (hand,) = spec.hands
    assert (hand.gripper >= 0, hand.opens) == (name in NAMES[3:], 1.0)
    assert spec.horizon == (100 if name == "PandaStack-v3" else 50)


@with_panda_gym
@pytest.mark.parametrize("name", NAMES)
def test_an_episode_does_not_depend_on_the_ones_before(name: str) -> None:
    spec = registry.describe(name, **OPTIONS)

    def episode(env: Any, seed: int) -> list[list[float]]:
        generator = np.random.default_rng(seed)
        seen = [env.reset(seed=seed)[0]]
        for step in range(40):
            action = generator.uniform(spec.low, spec.high)
            named = spec.named(seen[-1])
            hand, thing = (named[point] for point in spec.positions[:2])
            if step % 4:  # into the first object, as only contacts were kept
                action[:3] = np.clip(15 * (thing - hand), -1, 1)
            observation, _, terminated, _, _ = env.step(action.astype(np.float32))
            seen.append(observation)
            if terminated:
                break
        return [row.tolist() for row in seen]

    env, other = registry.make(name, **OPTIONS), registry.make(name, **OPTIONS)
    first = episode(env, 1)
    for seed in (0, 2, 3, 4, 1, 2):
        episode(other, seed)
    again = episode(other, 1)
    env.close()
    other.close()
    assert again == first
