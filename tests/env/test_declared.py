"""What a plug-in file declares is what controllers, searches and prompts get."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from trace_robot import Environment, JointTracking, part
from trace_robot.env.conformance import space_problems, spec_problems
from trace_robot.errors import (
    ActionError,
    EnvironmentFault,
    OrderError,
    ValueMismatchError,
    WorkspaceError,
)
from trace_robot.rollout.episode import Job
from trace_robot.rollout.episode_loop import run_episodes

from .conftest import Echo, echo, plug

ZERO = np.zeros(1, np.float32)


class Still:
    """A controller that gives the same action again and again."""

    def __init__(self, action: Any = ZERO) -> None:
        self.action = action

    def reset(self, episodes: int) -> None:
        return None

    def act(self, numbers: Any, observations: Any) -> list[Any]:
        return [self.action for _ in numbers]


def episode(environment: Environment, **options: Any) -> Any:
    plugin = plug(environment)
    spec = plugin.describe(environment.env_name, **options)
    env = plugin.make(environment.env_name, **options)
    (done,) = run_episodes([env], spec, Still(np.zeros(spec.action_size, np.float32)), [Job(spec.name, 0)])
    return done


def test_everything_but_the_task_has_a_default() -> None:
    spec = plug(echo()).describe("echo")
    assert spec.instruction == "Say it again."
    assert [field.name for field in spec.observation] == ["observation_0", "observation_1"]
    assert [field.name for field in spec.action] == ["action"]
    assert (spec.low, spec.high, spec.horizon, spec.success, spec.return_threshold) == (
        (-1.0,), (1.0,), 1000, "", None
    )  # fmt: skip
    assert not [*spec_problems(spec), *space_problems(spec, plug(echo()).make("echo"))]


@pytest.mark.parametrize("flag", ["success", "is_success"])
def test_a_flag_of_info_is_success_where_nothing_else_is_declared(flag: str) -> None:
    done = episode(echo(info=lambda env: {flag: len(env.actions) == 4}))
    assert (done.ended, done.decisions) == ("success", 4)


def test_a_function_decides_what_success_is_from_named_values() -> None:
    environment = echo(
        see=lambda env: np.array([len(env.actions), 0.5]),
        observation=[part("count"), part("rest")],
        success=lambda e: e.observation["count"] == 3 and e.observation["rest"] == 0.5 and e.reward == 3.0,
        success_when="three were counted",
    )
    assert (episode(environment).ended, episode(environment).decisions) == ("success", 3)
    assert plug(environment).describe("echo").success == "three were counted"


def test_a_return_threshold_is_looked_at_when_the_episode_is_over_and_ends_none() -> None:
    reached, missed = episode(echo(return_threshold=45.0)), episode(echo(return_threshold=46.0))
    assert (reached.ended, reached.decisions, reached.total_reward) == ("success", 9, 45.0)
    assert (missed.ended, missed.decisions) == ("terminated", 9)


def test_an_episode_that_the_environment_ends_without_success_ends_by_failure() -> None:
    assert episode(echo(ends=5)).ended == "terminated"
    assert episode(echo(ends=50), horizon=7).ended == "time"


def test_a_failure_ends_the_episode() -> None:
    done = episode(echo(failure=lambda e: e.reward == 2.0))
    assert (done.ended, done.decisions) == ("terminated", 2)


def test_a_reward_of_the_plug_in_takes_the_place_of_the_environments() -> None:
    assert episode(echo(reward=lambda e: -e.reward)).rewards.tolist() == [-float(i) for i in range(1, 10)]


def test_info_has_the_declared_terms_only() -> None:
    env = plug(echo(info={"near": 0.5, "far": 1, "label": "x"}, terms=["near"])).make("echo")
    env.reset(seed=0)
    assert env.step(ZERO)[4] == {"near": 0.5, "success": False, "steps": 1}
    env = plug(echo(info={"near": 0.5, "far": 1, "label": "x", "flag": True})).make("echo")
    env.reset(seed=0)
    assert env.step(ZERO)[4] == {"near": 0.5, "far": 1.0, "flag": 1.0, "success": False, "steps": 1}


def test_the_environment_gets_an_action_that_is_in_its_space() -> None:
    env = plug(
        echo(action_space=spaces.Dict({"move": spaces.Discrete(3), "turn": spaces.MultiBinary(2)}))
    ).make("echo")
    env.reset(seed=0)
    env.step(np.array([1.7, 0.2, 9.0], np.float32))
    (action,) = env.inner.unwrapped.actions
    assert env.inner.action_space.contains(action)
    assert (int(action["move"]), action["turn"].tolist()) == (2, [0, 1])


def test_an_action_that_cannot_be_is_an_error_and_an_ended_episode_must_begin_again() -> None:
    env = plug(echo(ends=1)).make("echo")
    with pytest.raises(OrderError, match="step before the first reset"):
        env.step(ZERO)
    env.reset(seed=0)
    with pytest.raises(ActionError, match=r"^action must have shape \(1,\), got \(2,\)$"):
        env.step(np.zeros(2, np.float32))
    with pytest.raises(ActionError, match="must be finite"):
        env.step(np.array([np.nan], np.float32))
    env.step(ZERO)
    with pytest.raises(OrderError, match="the episode is over"):
        env.step(ZERO)


@pytest.mark.parametrize(
    ("see", "message"),
    [(lambda env: np.array([0.0, np.inf]), "^the observation is not finite at observation_1$"),
     (lambda env: np.zeros(3), "^the observation must have 2 numbers, as its space says, got 3$")],
)  # fmt: skip
def test_an_observation_that_cannot_be_is_a_fault(see: Any, message: str) -> None:
    with pytest.raises(EnvironmentFault, match=message):
        plug(echo(see=see)).make("echo").reset(seed=0)


def test_options_change_the_task_the_horizon_and_the_threshold_and_the_rest_goes_to_the_environment() -> None:
    given: dict[str, Any] = {}

    def make(**arguments: Any) -> Echo:
        given.update(arguments)
        return Echo()

    plugin = plug(Environment("echo", "Say it.", make=make, arguments={"loud": True, "far": 1}))
    spec = plugin.describe("echo", task="Whisper it.", horizon=5, return_threshold=2.0, far=2)
    assert (spec.instruction, spec.horizon, spec.return_threshold) == ("Whisper it.", 5, 2.0)
    assert given == {"loud": True, "far": 2}


def test_an_unknown_argument_of_the_environment_is_an_error_that_names_the_known_ones() -> None:
    plugin = plug(Environment("echo", "Say it.", make=Echo))
    with pytest.raises(
        ValueMismatchError,
        match=r"^mine\.py: echo: the environment refuses its arguments: .*'lod'.*; it takes obs",
    ):
        plugin.describe("echo", lod=True)


def test_pose_control_needs_a_tracking_controller() -> None:
    with pytest.raises(
        ValueMismatchError, match=r"^control of echo must be 'raw', got 'pose'; it has no tracking controller"
    ):
        plug(echo()).describe("echo", control="pose")


def test_joints_are_brought_to_the_angles_of_an_action() -> None:
    state = {"angle": 0.0, "velocity": 0.0}

    def advance(env: Echo) -> Any:
        if env.actions:
            state["velocity"] += 0.1 * float(env.actions[-1][0]) - 0.05 * state["velocity"]
            state["angle"] += 0.1 * state["velocity"]
        return np.array([state["angle"], state["velocity"]])

    environment = echo(
        observation_space=spaces.Box(-9.0, 9.0, (2,), np.float64),
        action_space=spaces.Box(-5.0, 5.0, (1,), np.float32),
        see=advance,
        ends=500,
        observation=[part("angle"), part("velocity")],
        pose=JointTracking("angle", "velocity", stiffness=8.0, damping=3.0, low=-1.0, high=1.0, steps=80),
    )
    plugin = plug(environment)
    spec = plugin.describe("echo", control="pose")
    assert (spec.low, spec.high, spec.control, spec.action[0].name) == ((-1.0,), (1.0,), "pose", "angles")
    env = plugin.make("echo", control="pose")
    env.reset(seed=0)
    observation, _, _, _, info = env.step(np.array([0.5], np.float32))
    assert abs(observation[0] - 0.5) < 0.02
    assert 1 < info["steps"] <= 80


def test_a_tracking_controller_that_does_not_fit_is_an_error_that_names_the_file() -> None:
    environment = echo(pose=JointTracking("angle", "speed", stiffness=1.0, damping=1.0))
    with pytest.raises(
        WorkspaceError, match=r"^mine\.py: echo: pose: JointTracking needs one angle and one velocity"
    ):
        plug(environment).describe("echo", control="pose")


def test_a_snapshot_continues_exactly_where_the_environment_allows_it() -> None:
    env = plug(echo(see=lambda env: env.np_random.random(2))).make("echo")
    env.reset(seed=0)
    saved = env.snapshot()
    first = [env.step(ZERO)[0].tobytes() for _ in range(4)]
    env.restore(saved)
    assert [env.step(ZERO)[0].tobytes() for _ in range(4)] == first


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task": " "}, "task must be a text that says what a controller must do, got ' '"),
        ({"id": ""}, "id must be a gymnasium id such as 'Pusher-v5', or a name, got ''"),
        ({"make": 3}, "make must be a class or a function that returns the environment, got 3"),
        ({"success": 1.0}, "success must name an entry of info or be a function of a step, got 1.0"),
        (
            {"success": "won", "return_threshold": 3.0},
            "success and return_threshold both say what success is",
        ),
        ({"return_threshold": "high"}, "return_threshold must be a number, got 'high'"),
        ({"horizon": 0}, "horizon must be a whole number of at least 1, got 0"),
        ({"positions": "hand"}, "positions must be a tuple of names, got 'hand'"),
        ({"observation": "angle"}, "observation must be a list of parts"),
        ({"observation": ["angle"]}, r"each part must be part(name, size, unit, meaning), got 'angle'"),
        ({"observation": [part("angle", scale=2.0)]}, "which are for actions only"),
        ({"reward": 2}, "reward must be a function of a step, got 2"),
    ],
)
def test_a_declaration_that_cannot_be_right_is_an_error_at_once(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkspaceError, match=re.escape(message)):
        Environment(**{"id": "echo", "task": "Say it.", **fields})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("joint angles",), "must be a Python name such as 'joint_angles', got 'joint angles'"),
        (("angle", 0), "part 'angle': the size must be a whole number of at least 1, got 0"),
        (("angle", "rad"), "the size must be a whole number of at least 1, got 'rad'"),
    ],
)
def test_a_part_that_cannot_be_is_an_error_at_once(arguments: Any, message: str) -> None:
    with pytest.raises(WorkspaceError, match=re.escape(message)):
        part(*arguments)
