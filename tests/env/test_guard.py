"""Values that cannot be right and simulations that exploded end an episode, and are never a success."""

from __future__ import annotations

import time
import types
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.spaces import Box

from trace_robot import Environment, part
from trace_robot.env.declaration import SUCCESS_MISSING
from trace_robot.env.flatten import action_layout, observation_layout
from trace_robot.env.guard import GuardedEnv, guarded, time_limit
from trace_robot.env.recording import StateRecorder
from trace_robot.env.simulation import simulations
from trace_robot.errors import EnvironmentFault, WorkspaceError
from trace_robot.fault import UNSTABLE

from .conftest import echo, plug

MODEL = """<mujoco><option timestep="0.02"/><worldbody><body>
<joint name="h" type="hinge" axis="0 1 0"/><geom type="capsule" fromto="0 0 0 .3 0 0" size=".02" mass=".001"/>
</body></worldbody><actuator><motor joint="h" gear="1e12"/></actuator></mujoco>"""
ONE = np.ones(1, np.float32)
NAN, INFINITE = float("nan"), float("inf")


class Spin(gymnasium.Env[Any, Any]):
    """Any torque makes it explode; MuJoCo then puts it back to angle 0, which is its success."""

    observation_space, action_space = Box(-np.inf, np.inf, (2,), np.float64), Box(-1, 1, (1,), np.float32)

    def __init__(self, hide: Any = None) -> None:
        self.kept = mujoco.MjModel.from_xml_string(MODEL)
        self.hide = hide or (lambda env, data: setattr(env, "data", data))
        self.state = mujoco.MjData(self.kept)
        self.hide(self, self.state)
        del self.state

    def simulation(self) -> Any:
        return found(self)[0]

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        data = self.simulation()
        data.qpos[:], data.qvel[:] = 0.5, 0.0  # not mj_resetData: the counters of the last episode stay
        return self.seen(), {}

    def seen(self) -> Any:
        return np.concatenate([self.simulation().qpos, self.simulation().qvel])

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        data = self.simulation()
        data.ctrl[:] = action
        mujoco.mj_step(self.kept, data, 3)
        return self.seen(), 0.0, False, False, {"success": abs(float(data.qpos[0])) < 0.1}


def found(env: Any) -> list[Any]:
    return [data for _, data in simulations(env)]


class Slotted:
    __slots__ = ("_data",)


def slotted(env: Any, data: Any) -> None:
    env.physics = Slotted()
    env.physics._data = data


PLACES = {
    "data": None,
    "sim.data": lambda env, data: setattr(env, "sim", types.SimpleNamespace(data=data)),
    "_env.physics.data._data": lambda env, data: setattr(
        env,
        "_env",
        types.SimpleNamespace(physics=types.SimpleNamespace(data=types.SimpleNamespace(_data=data))),
    ),
    "in a list": lambda env, data: setattr(env, "robots", [{"data": data}]),
    "in a slot": slotted,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("wrap", [False, True])
def test_a_simulation_that_exploded_is_a_fault_wherever_its_data_lies(place: str, wrap: bool) -> None:
    def make() -> Any:
        env = Spin(PLACES[place])
        return gymnasium.wrappers.OrderEnforcing(env) if wrap else env

    env = plug(Environment("spin", "Turn to 0.", make=make, horizon=9)).make("spin")
    for _ in range(2):
        env.reset(seed=0)
        assert not env.step(0 * ONE)[4]["success"]
        with pytest.raises(EnvironmentFault, match=f"^{UNSTABLE}: Nan, Inf or huge value in Q"):
            env.step(ONE)


def test_it_is_one_too_where_the_data_is_made_again_in_every_reset_and_in_a_plug_ins_own_class() -> None:
    class Again(Spin):
        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            self.data = mujoco.MjData(self.kept)
            return super().reset(seed=seed)

    env = guarded(Again(), "mine.py")
    for _ in range(3):
        env.reset(seed=0)
        env.step(0 * ONE)
        with pytest.raises(EnvironmentFault, match=UNSTABLE):
            env.step(ONE)


def test_a_restored_episode_is_not_that_of_the_explosion_and_too_many_shapes_to_draw_are_none() -> None:
    env = plug(Environment("spin", "Turn to 0.", make=Spin, horizon=9)).make("spin")
    env.reset(seed=0)
    saved = env.snapshot()
    with pytest.raises(EnvironmentFault, match=UNSTABLE):
        env.step(ONE)
    env.restore(saved)
    found(env.inner)[0].warning.number[int(mujoco.mjtWarning.mjWARN_VGEOMFULL)] = 4
    assert env.step(0 * ONE)[4]["steps"] == 1


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"info": {"near": NAN}}, r"^info\['near'\] is not finite: nan; name the entries that count by terms="),
        ({"info": {"near": -INFINITE}}, r"info\['near'\] is not finite: -inf"),
        ({"info": {"near": np.float32("nan")}, "terms": ["near"]}, "is not finite"),
        ({"reward": lambda step: NAN}, "^the reward is not finite: nan$"),
        ({"reward": lambda step: np.float32("inf")}, "^the reward is not finite: inf$"),
        ({"success": lambda step: NAN}, "^success of the plug-in is not finite: nan$"),
        ({"info": {"success": NAN}}, r"^info\['success'\] is not finite: nan$"),
        ({"info": {"is_success": np.array([NAN])}}, r"^info\['is_success'\] is not finite"),
        ({"info": {"done": "False"}, "success": "done"}, r"^info\['done'\] must be true or false, got 'False'$"),
        ({"info": {"success": False, "fell": NAN}, "failure": "fell"}, r"^info\['fell'\] is not finite"),
    ],
)  # fmt: skip
def test_a_number_that_is_not_finite_is_a_fault(what: dict[str, Any], message: str) -> None:
    env = plug(echo(**what)).make("echo")
    env.reset(seed=0)
    with pytest.raises(EnvironmentFault, match=message):
        env.step(ONE)


@pytest.mark.parametrize("threshold", [NAN, INFINITE, -INFINITE])
def test_a_threshold_that_is_not_finite_is_refused(threshold: float) -> None:
    with pytest.raises(WorkspaceError, match=r"return_threshold must be finite, got -?(nan|inf)"):
        echo(return_threshold=threshold)
    with pytest.raises(WorkspaceError, match="return_threshold must be finite"):
        plug(echo()).describe("echo", return_threshold=threshold)


@pytest.mark.parametrize("bad", [{"scale": NAN}, {"low": NAN}, {"high": NAN}])
def test_a_part_with_a_bound_or_scale_that_is_no_number_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(WorkspaceError, match=r"part 'push': .*nan"):
        part("push", **bad)


class Own(gymnasium.Env[Any, Any]):
    """A plug-in's own class, which nothing but ``GuardedEnv`` checks."""

    observation_space, action_space = Box(-9, 9, (2,), np.float64), Box(-1, 1, (1,), np.float32)
    record_states = False

    def __init__(self, result: Any) -> None:
        self.result = result

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(2), {}

    def step(self, action: Any) -> Any:
        return self.result


TWO = np.zeros(2)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ((TWO, 0.0, False, {}), r"^step must return \(observation, .*, got 4 values, as Gym before 0\.26; split done"),
        ((TWO, 0.0, False, False, {}, 1), "got 6 values$"),
        (None, "got NoneType$"),
        ((TWO, NAN, False, False, {}), "the reward is not finite: nan"),
        ((TWO, "1", False, False, {}), "must give a number as the reward"),
        ((TWO, 0.0, False, False, {"success": NAN}), r"info\['success'\] is not finite"),
        ((TWO, 0.0, False, False, {"far": INFINITE}), r"info\['far'\] is not finite"),
        ((np.array([0, NAN]), 0.0, False, False, {}), r"the observation is not finite at \[1\]"),
        ((np.zeros(3), 0.0, False, False, {}), r"must have shape \(2,\), got \(3,\)"),
    ],
)  # fmt: skip
def test_an_environment_of_a_plug_ins_own_is_checked_in_every_step(result: Any, message: str) -> None:
    env = GuardedEnv(Own(result))
    env.reset(seed=0)
    with pytest.raises(EnvironmentFault, match=message):
        env.step(ONE)


def test_a_guarded_environment_has_its_own_attributes() -> None:
    inner = Own((TWO, np.int64(1), False, False, {}))
    env = guarded(inner, "mine.py")
    assert env.result is inner.result
    env.reset(seed=0)
    assert env.step(ONE)[1] == 1.0
    with pytest.raises(
        EnvironmentFault, match=r"^mine\.py: make must return a gymnasium environment, got 3$"
    ):
        guarded(3, "mine.py")


@pytest.mark.parametrize("values", [4, 6])
def test_the_wrong_number_of_values_is_named_when_an_environment_is_described(values: int) -> None:
    class Wrong(Own):
        def __init__(self) -> None:
            super().__init__((TWO, 0.0, False, {}, {}, {})[:values])

    with pytest.raises(EnvironmentFault, match=rf"^Wrong fails in its first step: step must .* got {values}"):
        plug(Environment("wrong", "x", make=Wrong)).describe("wrong")


def test_a_slow_environment_is_not_looked_at_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trace_robot.env.description.LOOK_SECONDS", 0.2)
    steps: list[float] = []

    class Slow(Own):
        def __init__(self) -> None:
            super().__init__((TWO, 0.0, False, False, {}))

        def step(self, action: Any) -> Any:
            time.sleep(0.05)
            steps.append(time.monotonic())
            return super().step(action)

    assert plug(Environment("slow", "x", make=Slow)).describe("slow").success == ""
    assert 1 <= len(steps) <= 5


def late(env: Any) -> dict[str, Any]:
    return {"is_success": True} if len(env.actions) == 9 else {}


def test_success_in_the_last_step_alone_is_found_and_described() -> None:
    environment = echo(info=late, ends=9)
    assert "is_success" in plug(environment).describe("echo").success
    env = plug(environment).make("echo")
    env.reset(seed=0)
    assert [env.step(ONE)[4]["success"] for _ in range(9)] == [False] * 8 + [True]


def test_success_that_is_mentioned_at_a_success_alone_is_found_without_a_description() -> None:
    env = plug(echo(info=lambda env: {"success": 1} if env.actions[-1] > 0.5 else {}, ends=30)).make("echo")
    env.reset(seed=0)
    assert [env.step(k * ONE)[4]["success"] for k in (0, 1)] == [False, True]


def test_an_episode_without_the_declared_entry_says_so_in_its_last_step() -> None:
    env = plug(echo(success="succes", info={"success": False})).make("echo")
    env.reset(seed=0)
    infos = [env.step(ONE)[4] for _ in range(9)]
    assert [SUCCESS_MISSING in info for info in infos] == [False] * 8 + [True]
    env = plug(echo(success="is_success", info=late)).make("echo")
    env.reset(seed=0)
    assert not any(SUCCESS_MISSING in env.step(ONE)[4] for _ in range(9))


def test_a_number_that_cannot_move_is_an_action_like_any_other() -> None:
    space = Box(np.array([-1, 0.5], np.float32), np.array([1, 0.5], np.float32))
    plugin = plug(echo(action_space=space))
    env = plugin.make("echo")
    env.reset(seed=0)
    env.step(np.array([0.0, 9.0], np.float32))
    assert env.inner.unwrapped.actions[-1].tolist() == [0.0, 0.5]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_largest_bounds_stay_finite(dtype: Any) -> None:
    largest = float(np.finfo(dtype).max)
    layout = action_layout(Box(-largest, largest, (1,), dtype), None)
    assert np.isfinite(np.array([layout.low, layout.high], np.float32)).all()
    plugin = plug(echo(action_space=Box(-largest, largest, (1,), dtype)))
    env = plugin.make("echo")
    env.reset(seed=0)
    env.step(np.array(layout.high, np.float32))
    assert np.isfinite(env.inner.unwrapped.actions[-1]).all()


HIDDEN = {
    "a text": spaces.Text(4),
    "a picture": Box(0, 255, (480, 640, 3), np.uint8),
    "a graph": spaces.Graph(Box(0, 1, (1,)), None),
    "a sequence": spaces.Sequence(Box(0, 1, (1,))),
    "numbers": Box(-1, 1, (2,)),
}


@pytest.mark.parametrize("kind", HIDDEN)
def test_a_hidden_part_does_not_count_whatever_its_space(kind: str) -> None:
    space = spaces.Dict({"a": Box(-1, 1, (2,)), "z": HIDDEN[kind]})
    layout = observation_layout(space, {"z": None})
    assert [field.name for field in layout.fields] == ["a"]
    for value in ({"a": [1, 2], "z": "?"}, {"a": [1, 2], "z": [NAN, NAN]}, {"a": [1, 2]}):
        assert layout.flat(value)[:2].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("metadata", "dt", "seconds"),
    [
        ({"render_fps": 10}, 0.01, 0.1),
        ({"render_fps": np.int64(10)}, 0.01, 0.1),
        ({"video.frames_per_second": 50}, 0.01, 0.02),
        ({}, 0.04, 0.04),
        ({"render_fps": None}, 0.04, 0.04),
        ({"render_fps": 0}, 0.04, 0.04),
        ({}, len, 1 / 30),
        ({"render_fps": NAN}, None, 1 / 30),
    ],
)
def test_a_step_lasts_as_long_as_render_fps_says_before_dt(metadata: Any, dt: Any, seconds: float) -> None:
    env = Own(None)
    env.metadata = metadata
    env.dt = dt  # type: ignore[attr-defined]
    assert StateRecorder(env, "", None).dt == pytest.approx(seconds)


def test_what_hangs_in_this_process_is_interrupted() -> None:
    message = r"^reset\(\) hangs: it gave no answer for 0\.05 s$"
    with pytest.raises(EnvironmentFault, match=message), time_limit(0.05, "reset()"):
        time.sleep(30)
    with time_limit(0.05, "reset()"):
        pass
    time.sleep(0.1)
