"""Worlds: what is drawn, what it changes exactly, and that nothing of it is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest

from trace_robot.env import registry
from trace_robot.env.equipment import Equipment, equip
from trace_robot.env.world import World, WorldSet
from trace_robot.env.world_episode import EpisodeWorld, WorldPhysics, numbers_of
from trace_robot.errors import EnvironmentFault, TraceRobotError, UnknownNameError, ValueMismatchError
from trace_robot.rollout import Job, RolloutEngine
from trace_robot.spec import Array, Field, TaskSpec

SPEC = TaskSpec(
    name="arm",
    instruction="",
    observation=(
        Field("tip_position", 0, 3, "m"),
        Field("speed", 3, 4, "m/s"),
        Field("goal_position", 4, 7, "m"),
    ),
    action=(Field("motion", 0, 2),),
    observation_size=8,
    low=(-1.0, -2.0),
    high=(1.0, 2.0),
    horizon=100,
    positions=("tip_position", "goal_position"),
)
EVERYTHING: dict[str, Any] = {
    "observation_error": {"positions": [0.0, 0.01]},
    "observation_noise": {"hand_position": 0.005},
    "observation_delay": [0.0, 0.05],
    "observation_loss": 0.2,
    "action_delay": 0.05,
    "action_noise": 0.1,
    "action_gain": [0.7, 1.3],
    "mass": [0.5, 2.0],
    "friction": [0.5, 2.0],
    "damping": [0.5, 2.0],
    "armature": [0.5, 2.0],
    "actuator_gain": [0.8, 1.2],
    "gravity_tilt": [1.0, 5.0],
    "push_force": 5.0,
    "push_period": 0.2,
    "reset_noise": {"free": [0.0, 0.03], "mocap": 0.01},
}
CONTROLLER = """
def act(observation):
    return [*(10 * (observation["goal_position"] - observation["hand_position"])).clip(-1, 1), 0.0]
"""


def world_of(seed: int = 0, seconds: float = 0.1, **data: Any) -> EpisodeWorld:
    return EpisodeWorld(World.from_data(data), SPEC, seed, np.array(SPEC.low), np.array(SPEC.high), seconds)


def ramp(step: int) -> Array:
    return np.full(8, float(step))


def rollout(
    actions: Array, env: str = "push-v3", seed: int = 3, control: str = "raw", **options: Any
) -> Array:
    made = registry.make(env, control=control, **options)
    seen = [made.reset(seed=seed)[0]]
    for action in actions:
        seen.append(made.step(action)[0])
    made.close()
    return np.array(seen)


@pytest.fixture
def actions() -> Array:
    return np.random.default_rng(0).uniform(-1, 1, (25, 4)).astype(np.float32)


@pytest.mark.parametrize("control", ["raw", "pose"])
def test_a_world_of_zero_strength_is_bit_for_bit_the_nominal_one(actions: Array, control: str) -> None:
    nothing = {"observation_error": {"positions": 0}, "action_delay": 0, "mass": 1, "action_gain": [1, 1]}
    nothing |= {"reset_noise": {"all": 0, "mocap": [0, 0]}}
    nominal = rollout(actions, control=control)
    assert np.array_equal(rollout(actions, control=control, world=nothing), nominal)
    # Nor does a set in which this condition's world is nominal differ there.
    worlds = [{"name": "nominal"}, {"name": "late", "action_delay": 0.1}]
    seeds = [seed for seed in range(20) if WorldSet.from_data(worlds).of(seed).name == "nominal"]
    assert 3 < len(seeds) < 17
    first = rollout(actions, seed=seeds[0], control=control)
    assert np.array_equal(rollout(actions, seed=seeds[0], control=control, world=worlds), first)


@pytest.mark.parametrize("late", [1, 4, 8])
def test_a_delay_of_k_steps_shifts_actions_by_exactly_k(actions: Array, late: int) -> None:
    delayed = rollout(actions, world={"action_delay": late / 80})
    shifted = np.concatenate([np.zeros((late, 4), np.float32), actions[: len(actions) - late]])
    assert np.array_equal(delayed, rollout(shifted))
    assert not np.array_equal(delayed, rollout(actions))


@pytest.mark.parametrize("late", [1, 3])
def test_observations_that_are_k_steps_late_are_those_of_k_steps_ago(actions: Array, late: int) -> None:
    nominal, delayed = rollout(actions), rollout(actions, world={"observation_delay": late / 80})
    assert np.array_equal(delayed[late:], nominal[:-late])
    assert np.array_equal(delayed[:late], np.repeat(nominal[:1], late, axis=0))


def test_a_constant_error_stays_for_an_episode_and_differs_between_conditions(actions: Array) -> None:
    data = {"observation_error": {"positions": 0.01}}
    errors = []
    for seed in (3, 4):
        off = rollout(actions, seed=seed, world=data) - rollout(actions, seed=seed)
        assert np.allclose(off, off[0], atol=1e-12)
        places = numbers_of(registry.describe("push-v3"), "positions")
        assert (off[0][places] != 0).all()
        assert not np.delete(off[0], places).any()
        errors.append(off[0][places])
    assert not np.allclose(*errors)


def test_sizes_of_errors_and_noise_are_those_that_were_asked_for() -> None:
    still = np.zeros(8)
    first = np.array(
        [world_of(seed, observation_error={"tip_position": 0.02}).see(still) for seed in range(2000)]
    )
    assert first[:, :3].std() == pytest.approx(0.02, rel=0.05)
    assert not first[:, 3:].any()
    noisy = world_of(observation_noise={"speed": 0.5})
    seen = np.array([noisy.see(still) for _ in range(4000)])
    assert seen[:, 3].std() == pytest.approx(0.5, rel=0.05)
    assert abs(float(np.corrcoef(seen[:-1, 3], seen[1:, 3])[0, 1])) < 0.1
    assert not np.delete(seen, 3, axis=1).any()


def test_a_missing_observation_leaves_the_last_one() -> None:
    world = world_of(observation_loss=0.5)
    seen = [world.see(ramp(step))[0] for step in range(4000)]
    assert seen[0] == 0.0
    fresh = [step for step, value in enumerate(seen) if value == step]
    assert len(fresh) / len(seen) == pytest.approx(0.5, abs=0.03)
    assert all(value == max(one for one in fresh if one <= step) for step, value in enumerate(seen[:200]))


def test_observations_at_a_slower_rate_stay_between_two_of_them() -> None:
    world = world_of(observation_period=0.3)
    assert [world.see(ramp(step))[0] for step in range(7)] == [0, 0, 0, 3, 3, 3, 6]


def test_actions_are_scaled_lost_and_noisy_within_their_bounds() -> None:
    doubled = world_of(action_gain=2.0)
    assert doubled.act(np.array([0.25, 0.5], np.float32)).tolist() == [0.5, 1.0]
    assert doubled.act(np.array([0.9, 0.9], np.float32)).tolist() == pytest.approx([1.0, 1.8])
    lossy = world_of(action_loss=0.5)
    done = [float(lossy.act(np.array([step / 4000, 0.0], np.float64))[0]) for step in range(4000)]
    assert np.mean([done[i] == i / 4000 for i in range(4000)]) == pytest.approx(0.5, abs=0.03)
    noisy = world_of(action_noise=0.05)
    values = np.array([noisy.act(np.zeros(2)) for _ in range(4000)])
    assert values.std(axis=0) == pytest.approx([0.05, 0.1], rel=0.06)


def test_more_noise_changes_neither_delays_nor_errors() -> None:
    data: dict[str, Any] = {"observation_error": {"positions": 0.01}, "action_delay": [0.0, 1.0]}
    one, two = world_of(5, **data), world_of(5, **data, observation_noise={"speed": 0.1})
    assert one.drawn == two.drawn
    assert np.array_equal(one.see(np.zeros(8))[[0, 1, 2, 4, 5, 6]], two.see(np.zeros(8))[[0, 1, 2, 4, 5, 6]])


def test_an_episode_in_a_world_is_the_same_in_every_worker_and_lock_step() -> None:
    jobs = [
        Job("push-v3", seed, {"control": "raw", "world": EVERYTHING}, controller=CONTROLLER, observe=True)
        for seed in range(4)
    ]
    with RolloutEngine(0) as engine:
        alone = engine.run(jobs)
    with RolloutEngine(2) as engine:
        apart = engine.run([*jobs, *jobs])
    assert [episode.ended for episode in alone] != ["error"] * 4
    for number, episode in enumerate(apart):
        assert np.array_equal(episode.observations, alone[number % 4].observations)
        assert np.array_equal(episode.rewards, alone[number % 4].rewards)


def numbers_of_model(model: Any) -> dict[str, bytes]:
    names = [name for name in dir(model) if not name.startswith("_")]
    arrays = {name: getattr(model, name) for name in names}
    found = {name: value.tobytes() for name, value in arrays.items() if isinstance(value, np.ndarray)}
    return {**found, "gravity": model.opt.gravity.tobytes()}


def test_physics_is_changed_for_an_episode_and_then_bit_for_bit_as_before(actions: Array) -> None:
    env = registry.make("push-v3", control="raw", world=EVERYTHING)
    env.reset(seed=0)
    inner = env.unwrapped
    inner._equipped.before_reset()
    model = inner.simulation.model
    before, mass = numbers_of_model(model), model.body_mass.copy()
    factors = []
    for seed in range(30):
        env.reset(seed=seed)
        factors.append(float(model.body_mass[5] / mass[5]))
        for action in actions[:6]:
            env.step(action)
    assert 0.5 <= min(factors) < 0.8
    assert 1.2 < max(factors) <= 2.0
    assert numbers_of_model(model) != before
    inner._equipped.before_reset()
    after = numbers_of_model(model)
    changed = [name for name in before if after[name] != before[name]]
    # Meta-World's own reset moves the goal; the world's part is gone.
    assert changed in ([], ["body_pos"], ["site_pos"], ["body_pos", "site_pos"])
    assert not inner.simulation.data.xfrc_applied.any()


def test_derived_masses_are_those_that_mujoco_computes() -> None:
    import mujoco

    xml = """<mujoco><worldbody><body name="a"><joint name="joint" axis="0 1 0"/><geom size=".1" mass="{first}"/>
    <body name="b" pos="0 0 .5"><joint axis="0 1 0"/><geom size=".1" mass="{second}"/></body></body></worldbody>
    <actuator><motor joint="joint" gear="3"/></actuator></mujoco>"""
    model = mujoco.MjModel.from_xml_string(xml.format(first=2, second=1))
    wanted = mujoco.MjModel.from_xml_string(xml.format(first=4, second=2))
    physics = WorldPhysics(model, mujoco.MjData(model))
    before = numbers_of_model(model)
    physics.start(World.from_data({"mass": 2.0}), 0, 0.01)
    for name in (
        "body_mass",
        "body_inertia",
        "body_subtreemass",
        "dof_M0",
        "dof_invweight0",
        "actuator_acc0",
    ):
        assert getattr(model, name) == pytest.approx(getattr(wanted, name)), name
    physics.restore()
    assert numbers_of_model(model) == before


def test_pushes_begin_and_end_at_their_steps() -> None:
    import mujoco

    model = mujoco.MjModel.from_xml_string(
        """<mujoco><worldbody><body name="ball"><freejoint/><geom size=".1"/></body>
        <body name="wall"><geom size="1"/></body></worldbody></mujoco>"""
    )
    data = mujoco.MjData(model)
    physics = WorldPhysics(model, data)
    world = World.from_data({"push_force": 3.0, "push_seconds": 0.02, "push_period": 0.05})
    physics.start(world, 0, 0.01)
    forces = []
    for _ in range(12):
        physics.step()
        forces.append(float(np.linalg.norm(data.xfrc_applied[1])))
    assert forces == pytest.approx([0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 3, 3])
    assert not data.xfrc_applied[2].any()  # what cannot move is not pushed
    physics.restore()
    assert not data.xfrc_applied.any()
    with pytest.raises(UnknownNameError, match="did you mean 'ball'"):
        physics.start(World.from_data({"push_force": 1, "push_period": 1, "push_bodies": ["bal"]}), 0, 0.01)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"observation_error": {"puk_position": 0.01}}, "did you mean 'puck_position'"),
        ({"action_delay": -0.1}, "action_delay must be from 0 to 10, got -0.1"),
        ({"mass": 0}, "mass must be above 0, got 0"),
        ({"mass": [2, 1]}, r"mass must be \[low, high\] with low at most high"),
        ({"observation_loss": 1.5}, "observation_loss must be from 0 to 1, got 1.5"),
        ({"observation_noise": 0.01}, "observation_noise must give a number by field"),
        ({"action_dely": 0.1}, "did you mean 'action_delay'"),
        ({"action_delay": float("nan")}, "must be a finite number"),
        ({"action_delay": "50 ms"}, "must be a finite number"),
        ({"name": "a\nb"}, "a line of at most 60 characters"),
        ([], "at least one"),
        ("late", "a mapping or a list"),
    ],
)
def test_what_cannot_be_right_is_one_line(data: Any, message: str) -> None:
    with pytest.raises((ValueMismatchError, UnknownNameError), match=message) as caught:
        registry.make("push-v3", world=data)
    assert "\n" not in str(caught.value)


def test_physics_of_an_environment_without_a_model_is_refused_and_sight_works(point_mass: None) -> None:
    with pytest.raises(TraceRobotError, match="shows no MuJoCo model"):
        registry.make("point-mass", world={"mass": 2.0})
    with pytest.raises(TraceRobotError, match="does not say how long a step is"):
        registry.make("point-mass", world={"action_delay": 0.1})
    nominal = registry.make("point-mass")
    off = registry.make("point-mass", world={"observation_error": {"hand_position": 0.1}})
    seen, true = off.reset(seed=1)[0], nominal.reset(seed=1)[0]
    assert (seen[:3] != true[:3]).all()
    assert np.array_equal(seen[3:], true[3:])


def test_worlds_are_the_same_after_json() -> None:
    worlds = WorldSet.from_data([EVERYTHING, {"name": "late", "action_delay": 0.1}])
    assert WorldSet.from_data(json.loads(json.dumps(worlds.to_data()))) == worlds


HOLDING = """
def act(observation):
    return [*(10 * (observation["goal_position"] - observation["hand_position"])).clip(-1, 1), 0.0]
"""
PASSING = """
memory = {"left": False}
def act(observation):
    away = observation["goal_position"] - observation["hand_position"]
    if (away**2).sum() < 0.0004:
        memory["left"] = True
    return [*((-10 if memory["left"] else 10) * away).clip(-1, 1), 0.0]
"""


@pytest.mark.parametrize(
    ("controller", "hold", "success"),
    [
        (HOLDING, None, True),
        (HOLDING, 0.25, True),
        (HOLDING, "end", True),
        (PASSING, None, True),
        (PASSING, 0.5, False),
        (PASSING, "end", False),
    ],
)
def test_success_that_must_last(controller: str, hold: Any, success: bool) -> None:
    options = {"control": "raw", "horizon": 200, **({} if hold is None else {"hold": hold})}
    with RolloutEngine(0) as engine:
        (episode,) = engine.run([Job("reach-v3", 0, options, controller=controller)])
    assert episode.fault is None
    assert episode.success is success
    if hold == "end":
        assert episode.steps == 200
    if hold == 0.25:
        assert episode.infos["longest_success_steps"] == 20
    if hold is not None:
        assert episode.infos["first_success_step"] > 0


@pytest.fixture
def make_reach() -> Callable[..., Any]:
    return lambda **options: registry.make("reach-v3", control="raw", **options)


@pytest.mark.parametrize("hold", [-1, "ever", True, float("inf")])
def test_a_hold_that_cannot_be_is_refused(make_reach: Callable[..., Any], hold: Any) -> None:
    with pytest.raises(ValueMismatchError, match="hold must be seconds, 0 or more, or 'end'"):
        make_reach(hold=hold)


def test_a_snapshot_in_a_world_continues_bit_for_bit(actions: Array) -> None:
    env = registry.make("push-v3", control="raw", world=EVERYTHING, hold=0.25, quality=True).unwrapped
    env.reset(seed=7)
    for action in actions[:10]:
        env.step(action)
    saved = env.snapshot()
    first = [env.step(action)[0] for action in actions[10:]]
    env.restore(saved)
    again = [env.step(action)[0] for action in actions[10:]]
    assert np.array_equal(first, again)


def test_a_controller_that_gives_up_leaves_word_of_its_success_where_it_must_last() -> None:
    place = {"anchor": "goal_position", "offset": (0, 0, 0), "when": "now", "toward": "", "along": 0.0}
    stage = {"mover": "hand_position", "place": place, "gripper": 1.0, "speed": 1.0, "close": 0.01}
    stage |= {"patience": 60, "hold": "", "slack": 0.1}
    program = {"stages": [stage], "gain": 10.0, "rounds": 1}
    jobs = [
        Job("reach-v3", 3, {"control": "raw", **hold}, program=program, measure=True)
        for hold in ({}, {"hold": "end"})
    ]
    with RolloutEngine(0) as engine:
        plain, held = engine.run(jobs)
    assert plain.success
    assert not any(name.startswith("rest_") for name in plain.measures)
    assert not held.success
    assert held.decisions < 500
    assert held.infos["first_success_step"] == plain.steps
    assert held.measures["rest_first"] == pytest.approx(plain.steps / 500)


@pytest.mark.parametrize("name", ["point-mass", "reach-v3", "CartPole-v1"])
def test_every_kind_of_environment_says_in_each_step_when_success_came(point_mass: None, name: str) -> None:
    for options, lasting in (({}, False), ({"hold": "end"}, True)):
        env = registry.make(name, **options)
        env.reset(seed=1)
        info = env.step(np.zeros(env.action_space.shape, np.float32))[4]
        assert ("first_success_step" in info) is lasting
        assert ("longest_success_steps" in info) is lasting
        env.close()


class Loose(gymnasium.Env[Any, Any]):
    """Uses one array for all observations, and makes a new model in each reset."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    dt = 0.1

    def __init__(self, actions: int = 1) -> None:
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (actions,))
        self._seen = np.zeros(2)
        self.model: Any = None
        self.data: Any = None
        self._make()

    def _make(self) -> None:
        import mujoco

        body = "<body><joint type='slide' axis='1 0 0'/><geom size='.1' mass='1'/></body>"
        self.model = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{body}</worldbody></mujoco>")
        self.data = mujoco.MjData(self.model)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self._make()
        self._seen[:] = 0.0
        return self._seen, {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        self._seen[0] += 1.0
        return self._seen, 0.0, False, False, {"success": False}


LOOSE = TaskSpec(
    "loose",
    "wait",
    (Field("x", 0, 2, "m", "place"),),
    (Field("u", 0, 1, "N", "force"),),
    2,
    (-1.0,),
    (1.0,),
    50,
)


def equipped(env: Any, spec: TaskSpec = LOOSE, **options: Any) -> Any:
    found, rest = Equipment.split(options)
    assert found is not None
    assert rest == {}
    return equip(env, spec, found)


def test_an_environment_that_uses_its_array_again_is_seen_late_all_the_same() -> None:
    env = equipped(Loose(), world={"observation_delay": 0.3}, quality=True)
    seen = [float(env.reset(seed=0)[0][0])] + [float(env.step(np.zeros(1))[0][0]) for _ in range(6)]
    assert seen == [0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0]


def test_a_model_that_is_made_in_a_reset_is_changed_too() -> None:
    env = equipped(Loose(), world={"mass": 10.0})
    for seed in range(3):
        env.reset(seed=seed)
        assert env.unwrapped.model.body_mass[1] == pytest.approx(10.0)


def test_resets_without_a_seed_draw_other_worlds() -> None:
    env = equipped(Loose(), world={"action_gain": [0.5, 2.0]})
    env.reset(seed=3)
    gains = [env.reset()[0] is not None and env._equipped.drawn["action_gain_0"] for _ in range(5)]
    env.reset(seed=3)
    assert len(set(gains)) == 5
    assert gains == [env.reset()[0] is not None and env._equipped.drawn["action_gain_0"] for _ in range(5)]


def test_an_action_may_have_any_number_of_parts() -> None:
    fields = (Field("u", 0, 70, "N", "forces"),)
    spec = replace(LOOSE, action=fields, low=(-1.0,) * 70, high=(1.0,) * 70)
    env = equipped(Loose(70), spec, world={"action_gain": [0.5, 2.0]})
    env.reset(seed=0)
    assert env.step(np.ones(70, np.float32))[1] == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"world": {"push_force": 500.0}}, "needs both push_force and push_period"),
        ({"world": {"push_period": 0.5}}, "needs both push_force and push_period"),
        ({"world": {"push_bodies": 5}}, "push_bodies must be a list"),
        ({"world": {"push_bodies": None}}, "push_bodies must be a list"),
        ({"world": {"mass": 10**400}}, "mass must be a finite number"),
        ({"world": {"mass": float("nan")}}, "mass must be a finite number"),
        ({"quality": "no"}, "quality must be True or False"),
        ({"world": [{"mass": 2.0}, {"mas": 2.0}]}, "did you mean 'mass'"),
    ],
)
def test_an_option_that_cannot_be_right_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TraceRobotError, match=message):
        Equipment.split(options)


class Rough(Loose):
    """Has friction near the largest number."""

    def _make(self) -> None:
        super()._make()
        self.model.geom_friction[:] = 1e300


def test_a_factor_that_makes_a_model_infinite_ends_the_episode() -> None:
    env = equipped(Rough(), world={"name": "rougher", "friction": 1e12})
    with pytest.raises(EnvironmentFault, match="world 'rougher' makes the model invalid: geom_friction"):
        env.reset(seed=0)


def test_a_muscle_is_stronger_and_keeps_the_shape_of_its_curve() -> None:
    import mujoco

    xml = """<mujoco><worldbody><body name="a"><joint name="joint" axis="0 1 0" range="-1 1" limited="true"/>
    <geom size=".1" mass="1"/></body></worldbody>
    <actuator><muscle joint="joint" force="{force}"/><motor joint="joint" gear="3"/></actuator></mujoco>"""
    model = mujoco.MjModel.from_xml_string(xml.format(force=100))
    wanted = mujoco.MjModel.from_xml_string(xml.format(force=150))
    physics = WorldPhysics(model, mujoco.MjData(model))
    before = numbers_of_model(model)
    physics.start(World.from_data({"actuator_gain": 1.5}), 0, 0.01)
    for name in ("actuator_gainprm", "actuator_biasprm"):
        muscle, motor = getattr(model, name)
        # The scale (number 3) serves where the force is negative only; the compiler leaves it at its default.
        assert np.delete(muscle, 3) == pytest.approx(np.delete(getattr(wanted, name)[0], 3)), name
        assert motor[0] == pytest.approx(1.5 * getattr(wanted, name)[1][0]), name
    physics.restore()
    assert numbers_of_model(model) == before
