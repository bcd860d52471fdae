"""Hands of environments that show no model: what moves them is measured, and followed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from trace_robot import Environment, Hand, HandSpec, part
from trace_robot.env import registry
from trace_robot.env.declared import DeclaredPlugin
from trace_robot.errors import WorkspaceError
from trace_robot.search import StagedSearch

from .conftest import plug

AXES = np.linalg.qr(np.array([[1.0, 2.0, 0.3], [-0.5, 1.0, 2.0], [1.5, -1.0, 1.0]]))[0]  # rotated by far


class Plant(gymnasium.Env[Any, Any]):
    """A hand, a goal and what shows the posture; ``move`` says what an action does to the state."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, size: int, start: Callable[[Any], Any], move: Any, hand: Any, seen: int) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (6 + seen,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (size,), np.float32)
        self._start, self._move, self._hand, self._seen = start, move, hand, seen

    def _observed(self) -> Any:
        return np.concatenate([self._hand(self.state), self.goal, self.state[: self._seen]])

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = self._start(self.np_random)
        self.goal = self._hand(self._start(self.np_random))
        return self._observed(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.state = self._move(self.state, np.asarray(action, float), self.np_random)
        near = float(np.linalg.norm(self._hand(self.state) - self.goal))
        return self._observed(), -near, False, False, {"success": near < 0.01}


def tip(state: Any) -> Any:
    """The tip of a planar arm of two joints, 0.3 and 0.2 m."""
    one, both = state[0], state[0] + state[1]
    return np.array([0.3 * np.cos(one) + 0.2 * np.cos(both), 0.3 * np.sin(one) + 0.2 * np.sin(both), 0.1])


def posture(random: Any) -> Any:
    return np.array([random.uniform(-2.0, 2.0), random.uniform(0.6, 2.2)])


def arm(seen: int = 2) -> Plant:
    return Plant(2, posture, lambda q, a, _: q + 0.1 * a, tip, seen)


def blind_arm() -> Plant:
    """Its angles are not observed, so that only what the hand does tells how it is bent."""
    return arm(0)


def slow_arm() -> Plant:
    """Joints that go on for some steps after each increment; the reset leaves them at rest."""

    def move(state: Any, action: Any, _: Any) -> Any:
        speed = 0.6 * state[2:] + 0.04 * action
        return np.concatenate([state[:2] + speed, speed])

    return Plant(2, lambda random: np.append(posture(random), [0.0, 0.0]), move, tip, 2)


def noisy_arm() -> Plant:
    return Plant(2, posture, lambda q, a, random: q + 0.1 * a + random.normal(0.0, 0.002, 2), tip, 2)


def point() -> Plant:
    """An absolute target, which is there after a few steps; the reset leaves it anywhere."""
    return Plant(3, anywhere, lambda p, a, _: p + 0.6 * (0.5 * AXES @ a - p), lambda p: p, 0)


def anywhere(random: Any) -> Any:
    return random.uniform(-0.3, 0.3, 3)


def mass(spring: float = 0.0) -> Plant:
    """A force on a mass without damping, and on one that swings."""

    def move(state: Any, action: Any, _: Any) -> Any:
        place, speed = state[:3], state[3:]
        return np.concatenate([place + 0.05 * speed, speed + 0.1 * action - spring * place])

    return Plant(3, lambda random: np.append(anywhere(random), np.zeros(3)), move, lambda s: s[:3], 0)


def declared(make: Callable[[], Plant], **more: Any) -> Environment:
    env = make()
    seen = env.observation_space.shape or (6,)
    observed = [part("tip_position", 3, "m"), part("goal_position", 3, "m")]
    observed += [part("angles", seen[0] - 6, "rad")] if seen[0] > 6 else []
    more = {"positions": ("tip_position", "goal_position"), "horizon": 200, **more}
    return Environment("plant", "Reach.", make=lambda **_: make(), observation=observed, **more)


def away(plugin: DeclaredPlugin, seeds: range, decisions: int = 6) -> list[float]:
    """Return how far from the goal each episode ends that aims at it, meters."""
    env = plugin.make("plant", control="pose")
    ends = []
    for seed in seeds:
        seen, _ = env.reset(seed=seed)
        for _ in range(decisions):
            seen, _, ended, over, _ = env.step(np.clip(seen[3:6] - seen[:3], -0.5, 0.5))
            if ended or over:
                break
        ends.append(float(np.linalg.norm(seen[3:6] - seen[:3])))
    return ends


@pytest.mark.parametrize("make", [arm, blind_arm, slow_arm, noisy_arm, point])
def test_a_measured_hand_reaches_its_goal_from_any_start(make: Callable[[], Plant]) -> None:
    plugin = plug(declared(make))
    assert plugin.solves("plant", {})
    assert max(away(plugin, range(100, 120))) < 0.01


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (arm, "2 numbers (action_0, action_1), which are increments of its motion; 100%"),
        (slow_arm, "2 numbers (action_0, action_1), which are increments of its motion, 5 steps late; 100%"),
        (
            point,
            "3 numbers (action_0, action_1, action_2), which are targets of its motion, 3 steps late; 100%",
        ),
    ],
)
def test_increments_targets_and_lag_are_distinguished(make: Callable[[], Plant], kind: str) -> None:
    env = plug(declared(make)).make("plant", control="pose")
    assert env.hands == (f"hand 'hand': a measured Jacobian over {kind} of it is explained",)
    field = env.task_spec.action[0]
    assert f"measured: {kind.partition('(')[2].partition(')')[0]} are" in field.meaning


def gantry(axes: Any = None, start: Any = anywhere, size: int = 3) -> Plant:
    """A hand that three velocities move along x, y and z, after a lag of some steps."""
    turned = np.eye(3) if axes is None else axes

    def move(state: Any, action: Any, _: Any) -> Any:
        speed = 0.5 * state[3:] + 0.01 * turned @ action[:3]
        return np.concatenate([state[:3] + speed, speed])

    return Plant(size, lambda random: np.append(start(random), np.zeros(3)), move, lambda s: s[:3], 0)


def usual(make: Callable[[], Plant], preferred: str, monkeypatch: pytest.MonkeyPatch, **more: Any) -> str:
    plugin = plug(declared(make, **more))
    monkeypatch.setattr(registry, "_lookup", lambda name, options: (plugin, name))
    return registry.usual_control("plant", preferred)


def test_a_hand_that_its_own_action_moves_is_searched_in_that_action(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usual(gantry, "raw", monkeypatch) == "raw"
    assert usual(gantry, "pose", monkeypatch) == "pose", "as a model is asked"
    spec = plug(declared(gantry)).describe("plant", control="raw")
    assert spec.hands == (HandSpec("hand", "tip_position", 0),)
    assert StagedSearch.suits(spec)
    # The same whatever was described before, as a worker describes one mode alone.
    plugin = plug(declared(gantry, positions=("goal_position", "tip_position")))
    assert plugin.solves("plant", {})
    raw = plugin.describe("plant", control="raw")
    assert (raw.hands, raw.positions) == (spec.hands, ("tip_position", "goal_position"))
    assert plugin.describe("plant", control="pose").action[0].name == "displacement"


@pytest.mark.parametrize(
    "make",
    [arm, point, mass, lambda: gantry(AXES), lambda: gantry(-np.eye(3)), lambda: gantry(size=4)],
    ids=["joints", "targets", "force", "turned axes", "backwards", "a fourth number"],
)
def test_no_other_action_is_taken_for_a_hands_own(make: Callable[[], Plant]) -> None:
    assert plug(declared(make)).describe("plant", control="raw").hands == ()


def test_an_arm_is_still_searched_by_places(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usual(arm, "raw", monkeypatch) == "pose"


def dead() -> Plant:
    return Plant(2, posture, lambda q, a, _: q, tip, 2)


def unseeded() -> Plant:
    random = np.random.default_rng()
    return Plant(2, posture, lambda q, a, _: q + 0.1 * a + random.normal(0.0, 0.01, 2), tip, 2)


def whole() -> Plant:
    env = Plant(1, anywhere, lambda p, a, _: p + 0.01 * a, lambda p: p, 0)
    env.action_space = spaces.Discrete(3)
    return env


def wild() -> Plant:
    """What the action does depends on a number that is not observed."""
    return Plant(
        2,
        lambda random: np.append(posture(random), random.uniform(0.0, 6.0)),
        lambda s, a, _: np.append(s[:2] + 0.1 * np.cos(s[2]) * a, (s[2] + 2.4) % 6.3),
        tip,
        2,
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (dead, "'hand': no action number moves 'tip_position' within 24 steps; name the part"),
        (mass, "'hand' is still moving 16 steps after a push of one step, so its action is a force without damping"),
        (lambda: mass(0.3), "'hand' is still moving 16 steps after a push of one step"),
        (unseeded, "one seed with the same actions gives two different episodes"),
        (whole, "an action of whole numbers is not measured"),
        (wild, "what the action does to 'hand' is not understood: no Jacobian"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_refused_in_one_line(make: Callable[[], Plant], message: str) -> None:
    with pytest.raises(WorkspaceError) as caught:
        plug(declared(make, hands=[Hand("tip_position")])).describe("plant", control="pose")
    assert f"mine.py: plant: hands: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)
    # Without hands nothing was promised, and the environment keeps its own action.
    assert not plug(declared(make)).solves("plant", {})


def test_an_episode_is_repeated_exactly_and_continues_from_a_snapshot() -> None:
    plugin = plug(declared(slow_arm))
    one, other = (plugin.make("plant", control="pose") for _ in range(2))
    actions = np.random.default_rng(0).uniform(-0.2, 0.2, (8, 3))
    other.reset(seed=9)
    other.step(actions[3])  # another episode before it
    for env in (one, other):
        env.reset(seed=5)
    for action in actions[:4]:
        np.testing.assert_array_equal(one.step(action)[0], other.step(action)[0])
    saved = one.snapshot()
    first = [one.step(action)[0] for action in actions[4:]]
    one.restore(saved)
    for seen, action in zip(first, actions[4:], strict=True):
        np.testing.assert_array_equal(one.step(action)[0], seen)
        np.testing.assert_array_equal(other.step(action)[0], seen)


def gripping(sign: float = 1.0, axes: Any = AXES) -> Plant:
    """A hand of three velocities, and a gripper whose width is shown."""

    def move(state: Any, action: Any, _: Any) -> Any:
        width = np.clip(state[3] + 0.01 * sign * action[3], 0.0, 0.08)
        return np.append(state[:3] + 0.03 * axes @ action[:3], width)

    env = Plant(4, lambda random: np.append(anywhere(random), 0.04), move, lambda s: s[:3], 4)
    env.observation_space = spaces.Box(-np.inf, np.inf, (7,), np.float64)
    env._observed = lambda: np.concatenate([env.state[:3], env.goal, env.state[3:]])  # type: ignore[method-assign]
    return env


def with_width(sign: float, axes: Any = AXES) -> DeclaredPlugin:
    observed = [part("tip_position", 3, "m"), part("goal_position", 3, "m"), part("width", 1, "m")]
    task = replace(declared(lambda: gripping(sign, axes)), observation=observed)
    return plug(task)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_gripper_stays_apart_and_its_opening_is_measured(sign: float) -> None:
    env = with_width(sign).make("plant", control="pose")
    (hand,) = env.task_spec.hands
    assert (hand.motion, hand.gripper, hand.opens) == (0, 3, sign)
    env.reset(seed=0)
    assert env.step(np.array([0.1, 0.0, 0.0, sign]))[0][6] > 0.04


def test_an_action_that_moves_the_hand_along_its_axes_stays_as_it_is() -> None:
    assert not with_width(1.0, np.eye(3)).solves("plant", {})
