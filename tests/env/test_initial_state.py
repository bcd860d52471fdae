"""Episodes that begin elsewhere: what is moved, what is seen of it, and that nothing of it is left."""

from __future__ import annotations

from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

from trace_robot.env import registry
from trace_robot.env.equipment import Equipment, equip
from trace_robot.env.guard import StateObserver
from trace_robot.env.initial_state import begin_elsewhere
from trace_robot.env.world import World
from trace_robot.errors import EnvironmentFault, TraceRobotError
from trace_robot.rollout import Job
from trace_robot.rollout.env_runner import EnvRunner
from trace_robot.rollout.episode import drawn_text, is_drawn
from trace_robot.spec import Array, Field, TaskSpec

CHEETAH, FETCH, PICK = "HalfCheetah-v5", "FetchPush-v4", "pick-place-v3"
NOISE = {CHEETAH: {"driven": 0.1}, FETCH: {"free": 0.03}, PICK: {"free": 0.02, "mocap": [0.01, 0.03]}}


def make(name: str, noise: Any = None, **options: Any) -> Any:
    return registry.make(name, **options, **({} if noise is None else {"world": {"reset_noise": noise}}))


def data_of(env: Any) -> Any:
    inner = env.unwrapped
    return inner.simulation.data if hasattr(inner, "simulation") else inner.inner.unwrapped.data


def parts(env: Any, observation: Array) -> dict[str, Array]:
    return {part.name: observation[part.start : part.stop] for part in env.unwrapped.task_spec.observation}


def rollout(env: Any, seed: int, actions: Array) -> Array:
    seen = [env.reset(seed=seed)[0]]
    for action in actions:
        observation, _, terminated, truncated, _ = env.step(action)
        seen.append(observation)
        if terminated or truncated:  # FetchPush-v4 begins with the object at the goal now and then
            break
    return np.array(seen)


def differing(env: Any, first: Array, second: Array) -> set[str]:
    both = parts(env, first), parts(env, second)
    return {name for name in both[0] if not np.allclose(both[0][name], both[1][name], atol=1e-9)}


def test_noise_on_driven_joints_is_seen_in_the_first_observation_in_the_size_that_was_asked_for() -> None:
    plain, noisy = make(CHEETAH), make(CHEETAH, {"driven": 0.02})
    off = []
    for seed in range(300):
        before, after = plain.reset(seed=seed)[0], noisy.reset(seed=seed)[0]
        off.append(after - before)
        joints = data_of(noisy).qpos - data_of(plain).qpos
        assert np.array_equal(
            after[:8], before[:8] + joints[1:]
        )  # the observation leaves out the place along x
    sizes = np.array(off).std(axis=0)
    assert sizes[2:8] == pytest.approx(np.full(6, 0.02), rel=0.15)
    assert not np.array(off)[:, :2].any()  # height and pitch of the torso, which nothing drives
    assert not np.array(off)[:, 8:].any()  # velocities stay
    assert len({round(float(each[2]), 9) for each in off}) == 300


def test_what_a_joint_gets_depends_on_no_other_joint() -> None:
    alone, all_of_them = make(CHEETAH, {"bfoot": 0.02}), make(CHEETAH, {"bfoot": 0.02, "all": 0.005})
    for seed in range(5):
        alone.reset(seed=seed)
        all_of_them.reset(seed=seed)
        assert data_of(alone).qpos[5] == data_of(all_of_them).qpos[5]
        assert data_of(alone).qpos[6] != data_of(all_of_them).qpos[6]


def test_the_object_of_fetch_is_moved_on_the_table_and_turned_about_z() -> None:
    plain, noisy = make(FETCH, control="raw"), make(FETCH, {"object0:joint": 0.03}, control="raw")
    for seed in range(5):
        before, after = plain.reset(seed=seed)[0], noisy.reset(seed=seed)[0]
        moved = differing(noisy, before, after)
        assert moved == {"object_position", "object_from_gripper", "object_rotation"}
        seen = parts(noisy, after)
        assert np.array_equal(seen["object_position"], data_of(noisy).site("object0").xpos)
        off = data_of(noisy).qpos[-7:] - data_of(plain).qpos[-7:]
        assert off[:2].all()
        assert off[2] == 0.0
        upright = mujoco_turn(data_of(plain).qpos[-4:], data_of(noisy).qpos[-4:])
        assert np.allclose(upright[:2], 0.0, atol=1e-9)
        assert upright[2] != 0.0


def mujoco_turn(before: Array, after: Array) -> Array:
    """Return the rotation vector between two quaternions in the world's frame, (3,)."""
    inverse, between, vector = np.zeros(4), np.zeros(4), np.zeros(3)
    mujoco.mju_negQuat(inverse, before)
    mujoco.mju_mulQuat(between, after, inverse)
    mujoco.mju_quat2Vel(vector, between, 1.0)
    return vector


def test_the_object_of_meta_world_is_moved_and_both_engines_see_it_there() -> None:
    plain = make(PICK, control="raw")
    noisy = make(PICK, {"objjoint": 0.03}, control="raw")
    other = make(PICK, {"objjoint": 0.03}, control="raw", engine="reference")
    for seed in (1, 2, 1):
        before, after = plain.reset(seed=seed)[0], noisy.reset(seed=seed)[0]
        assert differing(noisy, before, after) == {"puck_position", "puck_quaternion"}
        assert np.array_equal(after[4:7], data_of(noisy).body("obj").xpos)
        assert np.array_equal(
            after[18:36], after[:18]
        )  # what was seen before is seen now, as after every reset
        assert np.array_equal(other.reset(seed=seed)[0], after)
        for action in np.random.default_rng(0).uniform(-1, 1, (10, 4)).astype(np.float32):
            assert np.array_equal(noisy.step(action)[0], other.step(action)[0])


def test_the_hand_of_meta_world_is_moved_with_its_mocap_body_and_stays_there() -> None:
    plain, noisy = make(PICK, control="raw"), make(PICK, {"mocap": 0.03}, control="raw")
    for seed in range(4):
        before, after = plain.reset(seed=seed)[0], noisy.reset(seed=seed)[0]
        assert np.array_equal(before[4:7], after[4:7])  # the puck
        wanted = data_of(noisy).mocap_pos[0] - data_of(plain).mocap_pos[0]
        off = after[:3] - before[:3]
        assert np.linalg.norm(wanted) > 0.005
        # Meta-World's own reset leaves the hand 5 mm from where it is still settling.
        assert np.linalg.norm(off - wanted) < 0.006
        assert noisy.unwrapped._equipped.drawn == {"began_m_mocap": pytest.approx(np.linalg.norm(off))}
        for _ in range(20):
            later, still = plain.step(np.zeros(4))[0], noisy.step(np.zeros(4))[0]
        assert np.linalg.norm(still[:3] - later[:3] - wanted) < 0.003


def test_a_mocap_body_stays_where_meta_world_keeps_it() -> None:
    env = make("button-press-v3", {"mocap": 1.0}, control="raw")
    low, high = env.unwrapped.simulation.upstream.mocap_low, env.unwrapped.simulation.upstream.mocap_high
    env.reset(seed=0)
    place = data_of(env).mocap_pos[0]
    assert (place >= low).all()
    assert (place <= high).all()


@pytest.mark.parametrize(("name", "control"), [(CHEETAH, None), (FETCH, "pose"), (PICK, "pose")])
def test_an_episode_that_begins_elsewhere_leaves_nothing_to_the_next(name: str, control: str | None) -> None:
    options = {} if control is None else {"control": control}
    worlds = [{"name": "nominal"}, {"name": "elsewhere", "reset_noise": NOISE[name]}]
    plain, mixed = make(name, **options), registry.make(name, world=worlds, **options)
    actions = np.random.default_rng(0).uniform(-1, 1, (2, *plain.action_space.shape)).astype(np.float32)
    same: list[bool] = []
    first: dict[int, Array] = {}
    for seed in [*range(6), *reversed(range(6))]:
        nominal, found = rollout(plain, seed, actions), rollout(mixed, seed, actions)
        same.append(np.array_equal(nominal, found))
        assert same[-1] or not np.array_equal(nominal[0], found[0])
        assert np.array_equal(found, first.setdefault(seed, found))
    assert same[:6] == same[:5:-1]
    assert 1 < sum(same[:6]) < 5


@pytest.mark.parametrize(("name", "control"), [(CHEETAH, "raw"), (FETCH, "pose"), (PICK, "pose")])
def test_lock_step_is_the_same_as_alone(name: str, control: str) -> None:
    size = len(registry.describe(name, control=control).low)
    controller = f"def act(observation):\n    return [0.2] * {size}\n"
    options = {"control": control, "horizon": 12, "world": {"reset_noise": NOISE[name], "action_delay": 0.1}}
    jobs = [Job(name, seed, options, controller=controller, observe=True) for seed in (3, 4, 5)]
    found = []
    for width in (1, 3):
        runner = EnvRunner(lock_step=width)
        found.append([episode for _, episode in runner.run(jobs)])
        runner.close()
    for alone, together in zip(*found, strict=True):
        assert alone.ended == "time"
        assert np.array_equal(alone.observations, together.observations)
        assert np.array_equal(alone.rewards, together.rewards)
        assert alone.infos == together.infos
        assert "began with " in drawn_text(alone.infos)


@pytest.mark.parametrize("name", [CHEETAH, PICK])
def test_a_recording_begins_where_the_episode_does(name: str) -> None:
    env = make(name, NOISE[name], control="raw").unwrapped
    env.record_states = True
    env.reset(seed=2)
    start = data_of(env).qpos.copy()
    env.step(env.action_space.sample())
    assert np.array_equal(env.recorded().qpos[0], start)


def test_feedback_names_the_joints_that_are_off() -> None:
    infos = {"world_began_rad_knee": -0.0412, "world_began_m_object0:joint": 0.02, "world_mass": 2.0}
    assert drawn_text(infos) == "began with knee -0.041 rad off, object0:joint 0.02 m off, masses times 2.00"
    assert all(map(is_drawn, infos))


BODIES = """<mujoco><compiler angle="radian"/><worldbody>{still}
<body name="ball">{joint}<geom type="sphere" size=".1" mass="1"/></body>
</worldbody></mujoco>"""
SLIDE = "<joint name='rail' type='slide' axis='1 0 0' {}/>"


def begun(joint: str, noise: Any, seed: int = 0, still: str = "") -> tuple[dict[str, float], Any]:
    """Begin an episode of a ball, and return what was drawn and the data."""
    model = mujoco.MjModel.from_xml_string(BODIES.format(joint=joint, still=still))
    data = mujoco.MjData(model)
    observer = StateObserver(lambda: data.qpos.copy())
    world = World.from_data({"name": "off", "reset_noise": noise})
    return begin_elsewhere(world, seed, "ball", (model, data), observer), data


def test_joints_stay_in_their_ranges_and_ball_joints_turn() -> None:
    limited = [
        begun(SLIDE.format("range='-.1 .05' limited='true'"), {"rail": 1.0}, seed)[1].qpos[0]
        for seed in range(20)
    ]
    assert set(limited) == {-0.1, 0.05}
    free = [begun(SLIDE.format(""), {"rail": 1.0}, seed)[1].qpos[0] for seed in range(20)]
    assert max(free) > 0.5
    turned = []
    for seed in range(20):
        drawn, data = begun("<joint type='ball' range='0 .3' limited='true'/>", {"ball": 0.2}, seed)
        turned.append(drawn["began_rad_ball"])  # a joint without a name is called as its body
        assert 2 * np.arccos(data.qpos[0]) == pytest.approx(turned[-1])
    assert max(turned) == pytest.approx(0.3)
    assert 0.0 < min(turned) < 0.29


def test_a_state_in_which_shapes_interpenetrate_is_drawn_again() -> None:
    # Half of all places are in a wall that begins 1 mm from the ball.
    wall = "<geom type='plane' pos='.101 0 0' zaxis='-1 0 0' size='1 1 .1'/>"
    places = [begun(SLIDE.format(""), {"rail": 0.5}, seed, wall)[1].qpos[0] for seed in range(40)]
    assert max(places) <= 0.011
    assert min(places) < -0.5
    assert places == [begun(SLIDE.format(""), {"rail": 0.5}, seed, wall)[1].qpos[0] for seed in range(40)]
    other = "<geom type='plane' pos='-.101 0 0' zaxis='1 0 0' size='1 1 .1'/>"
    with pytest.raises(
        EnvironmentFault, match="world 'off' found no initial state of ball in which shapes inter"
    ):
        begun(SLIDE.format(""), {"rail": 1e6}, 0, wall + other)


@pytest.mark.parametrize(
    ("name", "noise", "message"),
    [
        (CHEETAH, {"bfot": 0.1}, "no joint of HalfCheetah-v5 'bfot'; did you mean 'bfoot'"),
        (CHEETAH, {"bfoot": -0.1}, "reset_noise of 'bfoot' must be 0 or more, got -0.1"),
        (CHEETAH, {"bfoot": float("nan")}, "reset_noise of 'bfoot' must be a finite number"),
        (CHEETAH, 0.1, "reset_noise must give a number by joint, such as {'all': 0.01}, got 0.1"),
        (
            CHEETAH,
            {"free": 0.1},
            "HalfCheetah-v5 has no free joints .*; possible are rootx, rootz, rooty, bthigh",
        ),
        (
            PICK,
            {"right_j0": 0.1},
            "'right_j0' of pick-place-v3 hangs on the mocap body 'mocap', and would snap back",
        ),
        (PICK, {"right_j0": 0.1}, "possible are r_close, l_close, objjoint, mocap, all, driven, free"),
        (
            FETCH,
            {"robot0:elbow_flex_joint": 0.1},
            "hangs on the mocap body 'robot0:mocap', and would snap back",
        ),
        (
            FETCH,
            {"robot0:mocap": 0.1},
            "no joint of FetchPush-v4 'robot0:mocap'; known: all, driven, free, object0",
        ),
        ("CartPole-v1", {"all": 0.1}, "CartPole-v1 shows no MuJoCo model, .* nor where its episodes begin"),
    ],
)
def test_what_cannot_be_is_one_line_that_says_what_can(name: str, noise: Any, message: str) -> None:
    with pytest.raises(TraceRobotError, match=message) as caught:
        make(name, noise)
    assert "\n" not in str(caught.value)


class Ball(gymnasium.Env[Any, Any]):
    """A ball on a rail, whose observation is its place."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
    dt = 0.1

    def __init__(self) -> None:
        self.model = mujoco.MjModel.from_xml_string(BODIES.format(joint=SLIDE.format(""), still=""))
        self.data = mujoco.MjData(self.model)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_forward(self.model, self.data)
        return self.seen(), {}

    def seen(self) -> Array:
        return np.array([self.data.qpos[0], self.data.xpos[1][0]])

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        mujoco.mj_step(self.model, self.data)
        return self.seen(), 0.0, False, False, {"success": False}


class Seen(Ball):
    """Has a function of its state."""

    def _get_obs(self) -> Array:
        return self.seen()


class Remembers(Ball):
    """Returns what it saw before too, which a changed state would make an observation of two states."""

    def __init__(self) -> None:
        super().__init__()
        self.before = 0.0

    def _get_obs(self) -> Array:
        now, before = float(self.data.qpos[0]), self.before
        self.before = now
        return np.array([now, before])

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self.before = 0.0
        return self._get_obs(), {}


class Other(Ball):
    """Has a function of that name with another meaning."""

    def _get_obs(self) -> Array:
        return np.zeros(2) + 7.0


class Asks(Ball):
    """Has a function that wants an argument, as gymnasium-robotics' mazes do."""

    def _get_obs(self, point: Array) -> Array:
        return point


def on_rail(env: Any) -> Any:
    fields = (Field("x", 0, 1, "m", "place"), Field("again", 1, 2, "m", "place"))
    spec = TaskSpec("ball", "wait", fields, (Field("u", 0, 1, "N", "force"),), 2, (-1.0,), (1.0,), 50)
    equipment, _ = Equipment.split({"world": {"reset_noise": {"rail": 0.1}}})
    assert equipment is not None
    return equip(env, spec, equipment)


@pytest.mark.parametrize("make_env", [Ball, Asks])
def test_an_environment_without_a_function_of_its_state_is_refused(make_env: Any) -> None:
    with pytest.raises(
        TraceRobotError, match=r"ball has no method _get_obs\(\) that gives the observation of its"
    ):
        on_rail(make_env())


@pytest.mark.parametrize("make_env", [Other, Remembers])
def test_an_observation_that_may_be_stale_is_a_fault(make_env: Any) -> None:
    with pytest.raises(
        EnvironmentFault, match=r"_get_obs\(\) of ball does not give the observation of its reset"
    ):
        on_rail(make_env()).reset(seed=0)


def test_wrappers_around_an_environment_change_the_new_observation_too() -> None:
    doubled = gymnasium.wrappers.TransformObservation(Seen(), lambda seen: 2 * seen, Seen.observation_space)
    plain, wrapped = on_rail(Seen()).reset(seed=5)[0], on_rail(doubled).reset(seed=5)[0]
    assert plain[0] == plain[1] != 0.0
    assert np.array_equal(wrapped, 2 * plain)
