"""What the numbers of an observation are to one another is found in what they do."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from trace_robot.search.feedback_law.catalog import MOST, left_out, structures
from trace_robot.search.feedback_law.controller import LawRunner, probe_features
from trace_robot.search.feedback_law.features import Features, comparable_parts
from trace_robot.search.feedback_law.law import Feedback, FeedbackLaw, Sum
from trace_robot.search.feedback_law.structures import LowRank, Structure, Synergic
from trace_robot.spec import Array, Field, TaskSpec

SPEC = TaskSpec(
    name="anything",
    instruction="do something",
    observation=(Field("a", 0, 4), Field("b", 4, 7)),
    action=(Field("c", 0, 2),),
    observation_size=8,
    low=(-1.0, -1.0),
    high=(1.0, 1.0),
    horizon=50,
)


def track(seed: int) -> Array:
    """Return random motion of an angle and a place.

    0 rate, 1 goal, 2 cosine, 3 sine, 4 a place, 5 always 0, 6 its rate, 7 hidden.
    """
    random = np.random.default_rng(seed)
    turning = np.cumsum(random.standard_normal(50)) * 0.3
    moving = np.cumsum(random.standard_normal(50)) * 0.2
    angle, place = random.uniform(-3, 3) + np.cumsum(turning) * 0.1, 2.0 + np.cumsum(moving) * 0.1
    goal = np.full(50, random.uniform(-1, 1))
    return np.stack(
        [turning, goal, np.cos(angle), np.sin(angle), place, 0 * goal, moving, random.standard_normal(50)],
        axis=1,
    )


def features(count: int = 8) -> Features:
    return Features.of(SPEC, [probe_features(SPEC, track(seed)) for seed in range(count)])


def test_angles_rates_goals_and_sizes_are_found() -> None:
    found = features()
    assert found.pairs == ((2, 3),)
    assert found.rates == (0, 6)
    assert found.still == (1, 5)
    assert found.rest == (4,)
    assert 1.0 < found.sizes[4] < 6.0
    assert found.sizes[5] == 1.0, "what is always 0 has no size"
    assert 7 not in found.numbers, "what no field shows is not used"


def test_two_numbers_that_are_on_the_circle_only_once_are_no_angle() -> None:
    other = track(3)
    other[:, 3] *= 1.1
    found = Features.of(SPEC, [probe_features(SPEC, track(0)), probe_features(SPEC, other)])
    assert found.pairs == ()


def test_structures_come_simple_ones_first_and_each_number_of_one_is_a_number_of_its_laws() -> None:
    found = structures(features(), 2)
    counts = [structure.count for structure in found]
    assert counts[0] == 2 * 8
    assert len({structure.name for structure in found}) == len(found) >= 5
    random = np.random.default_rng(0)
    for structure in found:
        vector = random.standard_normal(structure.count)
        law = structure.build(vector)
        weights = sum(len(each.weights) for each in law.sums)
        assert weights + (law.inner is not None) == structure.count
        assert law.to_data() != structure.build(vector + 0.1).to_data()


def test_a_richer_structure_begins_with_the_numbers_of_its_plainer_one() -> None:
    found = {structure.name: structure for structure in structures(features(), 2)}
    richer = [structure for structure in found.values() if structure.plainer]
    assert len(richer) == 2
    for structure in richer:
        vector = np.random.default_rng(0).standard_normal(structure.count)
        plainer = found[structure.plainer]
        law, part = structure.build(vector), plainer.build(vector[: plainer.count])
        assert [each.weights for each in law.outer.controls] == [each.weights for each in part.outer.controls]
        gains = [
            feedback.energy_gain and feedback.energy_gain.weights for feedback in (law.outer, part.outer)
        ]
        assert gains[0] == gains[1]
        assert law.inner is not None


def test_a_long_observation_is_identified_in_less_than_a_second_and_as_a_short_one() -> None:
    count = 350
    numbers = np.random.default_rng(0).standard_normal((40, count)).cumsum(axis=0)
    numbers[:, :8] = np.pad(track(0), ((0, 0), (0, 0)))[:40]
    long = replace(SPEC, observation=(Field("a", 0, count),), observation_size=count)
    began = time.process_time()
    found = probe_features(long, numbers)
    assert time.process_time() - began < 1.0, "6 s pair by pair"
    short = probe_features(replace(SPEC, observation=(Field("a", 0, 8),)), numbers[:, :8])
    assert {name: found[name] for name in short} == short
    assert {name for name in short if name.startswith(("rate_0", "circle_2"))} >= {"circle_2_3", "rate_0_2_3"}


def test_an_episode_without_observations_shows_nothing() -> None:
    assert probe_features(SPEC, np.zeros((0, 8))) == {}


@pytest.mark.parametrize(("numbers", "actions"), [(348, 17), (59, 9), (39, 30), (5, 200), (1, 161), (105, 8)])
def test_an_observation_too_long_for_every_structure_gives_sparse_ones(numbers: int, actions: int) -> None:
    sizes = {i: 1.0 + i for i in range(numbers)}
    found = Features(sizes=sizes, still=(0,) if numbers > 1 else (), rest=tuple(range(1, numbers)))
    made = structures(found, actions)
    assert made
    assert all(structure.count <= max(MOST, actions) for structure in made)
    assert made == structures(found, actions), "the same ones each time"
    assert len({structure.name for structure in made}) == len(made)
    used = {q.index for structure in made for q in structure.build(np.ones(structure.count)).quantities}
    assert 0 not in used or numbers == 1, "what never moves is left out"
    law = made[-1].build(np.ones(made[-1].count))
    assert len(law.outer.controls) == actions


BALL = TaskSpec(
    name="ball",
    instruction="follow",
    observation=(
        Field("ball", 0, 2, "m"), Field("target", 2, 4, "m"), Field("tilt", 4, 6, "rad"), Field("a", 6, 7, "m"),
    ),
    action=(Field("angles", 0, 2),),
    observation_size=7,
    low=(-1.0, -1.0),
    high=(1.0, 1.0),
    horizon=50,
)  # fmt: skip


def noisy(seed: int) -> Array:
    """Return places of a ball and a target, that are seen with so much noise that no speed could be found."""
    random = np.random.default_rng(seed)
    return random.standard_normal((50, 7)) + [1.0, 0.0, -2.0, 0.0, 0.0, 0.0, 0.0]


def test_parts_of_one_unit_and_size_are_subtracted_axis_by_axis() -> None:
    assert comparable_parts(BALL) == (((0, 1), (2, 3)),)
    unnamed = replace(BALL, observation=tuple(Field(f"o{i}", i, i + 1) for i in range(7)))
    assert comparable_parts(unnamed) == (), "numbers without a unit are not compared"
    found = Features.of(BALL, [probe_features(BALL, noisy(seed)) for seed in range(8)])
    assert found.errors == (((0, 1), (2, 3)),)
    assert found.unrated == tuple(range(7))
    assert found.apart[0, 2] == pytest.approx(np.sqrt(9.0 + 2.0), rel=0.1)
    assert found.steps[0] == pytest.approx(np.sqrt(2.0), rel=0.15)
    assert found.means[2] == pytest.approx(-2.0, abs=0.2)
    assert found.spreads[2] == pytest.approx(1.0, rel=0.15)


def test_what_has_a_rate_gets_no_changes_and_no_target_that_rests_is_led() -> None:
    assert features().unrated == ()
    assert not any("changes" in structure.name for structure in structures(features(), 2))
    seen = [noisy(seed) for seed in range(8)]
    for each in seen:
        each[:, 2:4] = each[0, 2:4]
    found = Features.of(BALL, [probe_features(BALL, each) for each in seen])
    law = structures(found, 2)[0].build(np.ones(6))
    assert {(one.kind, one.memory) for one in law.quantities} == {
        ("difference", ""),
        ("difference", "change"),
    }


def test_a_target_that_circles_is_not_the_rate_of_its_other_axis() -> None:
    """On a circle x changes as y does, and a ball had no error to a target of which one axis was a rate."""

    def circling(seed: int) -> Array:
        random = np.random.default_rng(seed)
        angle = 0.8 * 0.02 * np.arange(200) + random.uniform(0, 6)
        ball, tilt = 0.1 * np.cumsum(random.standard_normal((2, 200, 2)) * 0.1, axis=1)
        target = 0.06 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return np.hstack([ball, target, tilt, np.zeros((200, 1))])

    episodes = [probe_features(BALL, circling(seed)) for seed in range(6)]
    assert any("rate_2_3" in episode for episode in episodes), "it does look like one"
    found = Features.of(BALL, episodes)
    assert found.rates == ()
    assert found.errors == (((0, 1), (2, 3)),)
    without = replace(BALL, observation=(*BALL.observation[:1], Field("target", 2, 4), *BALL.observation[2:]))
    assert Features.of(without, [probe_features(without, circling(seed)) for seed in range(6)]).rates != ()


def test_only_an_angle_that_turns_far_is_a_heading() -> None:
    seen = [noisy(seed) for seed in range(8)]
    found = Features.of(BALL, [probe_features(BALL, each) for each in seen])
    assert found.angles == (4, 5)
    for each in seen:
        each[:, 5] *= 0.1
    found = Features.of(BALL, [probe_features(BALL, each) for each in seen])
    assert found.angles == (4,)
    made = [one.name for one in structures(found, 2) if "as the robot sees it" in one.name]
    assert made == ["feedback of an error as the robot sees it"]


def test_an_error_is_turned_into_the_frame_of_what_has_a_heading() -> None:
    found = Features.of(BALL, [probe_features(BALL, noisy(seed)) for seed in range(8)])
    every = [one for one in structures(found, 2) if isinstance(one, Synergic)]
    made = next(one for one in every if one.name.endswith("as the robot sees it, angle 1"))
    ahead = LawRunner(made.build(0.1 * np.array([made.scales[0], 0.0, 0.0, made.scales[0]])), BALL)
    heading = 0.7
    seen = np.array([0.5, -0.2, 0.1, 0.4, heading, 0.0, 0.0])
    east, north = seen[:2] - seen[2:4]
    cos, sin = np.cos(heading), np.sin(heading)
    forward, left = cos * east + sin * north, cos * north - sin * east
    np.testing.assert_allclose(ahead(seen), [0.1 * forward, 0.1 * left], atol=1e-4)


def test_errors_come_first_and_alike_axes_have_gains_that_are_products() -> None:
    found = Features.of(BALL, [probe_features(BALL, noisy(seed)) for seed in range(8)])
    alike, each, full, *turned, linear, _, _ = structures(found, 2)
    assert [one.sparse for one in (alike, each, full, *turned, linear)] == [*[True] * 5, False]
    assert [one.count for one in turned] == [4, 4], "of what is ahead and to the left, by either angle"
    assert (alike.count, each.count, full.count) == (4 + 2 + 1, 3 * 2 + 1, 2 * 10 + 1)
    law = alike.build([0.0, 1.0, -2.0, 0.0, 3.0, 0.5, 0.85])
    gains = np.array([control.weights for control in law.outer.controls]).reshape(2, 3, 2)
    assert gains[:, 1] * found.steps[0] == pytest.approx(3.0 * gains[:, 0] * found.apart[0, 2], rel=0.5)
    assert (gains[0, :, 0] == 0.0).all()
    assert (gains[1, :, 1] == 0.0).all()
    assert {one.factor for one in law.quantities if one.memory} == {0.5}
    drawn = alike.drawn(np.random.default_rng(0), 40)
    assert ((drawn[:, :4] != 0.0).sum(axis=1) == 2).all(), "an axis for each control"
    assert {tuple(row) for row in np.sign(drawn[:, :4])} == {
        tuple(row) for a in (-1.0, 1.0) for b in (-1.0, 1.0) for row in ([a, 0.0, 0.0, b], [0.0, a, b, 0.0])
    }


def hook(seed: int) -> Array:
    """Return an episode of a hook, (30, 4): where it is, and how far its target is from there."""
    random = np.random.default_rng(seed)
    place = np.cumsum(random.normal(0.0, 0.02, (30, 2)), axis=0)
    return np.concatenate((place, random.uniform(-1.0, 1.0, 2) - place), axis=1)


HOOK = replace(
    BALL,
    observation=(Field("hook", 0, 2, "m"), Field("target_from_hook", 2, 4, "m")),
    observation_size=4,
)


def test_what_changes_as_a_place_does_is_an_error_by_itself_and_not_subtracted() -> None:
    found = Features.of(HOOK, [probe_features(HOOK, hook(seed)) for seed in range(8)])
    assert found.errors == (((0, 1), ()), ((2, 3), ()))
    laws = [one for one in structures(found, 2) if one.name.startswith("linear feedback of an error")]
    kinds = {quantity.kind for one in laws for quantity in one.build(np.ones(one.count)).quantities}
    assert kinds == {"number"}
    assert any(quantity.memory for quantity in laws[0].build(np.ones(laws[0].count)).quantities), "damping"


def test_what_is_drawn_for_feedback_of_errors_has_few_gains_of_errors() -> None:
    found = Features.of(HOOK, [probe_features(HOOK, hook(seed)) for seed in range(8)])
    full = next(one for one in structures(found, 2) if one.name == "linear feedback of errors")
    assert isinstance(full, Structure)
    drawn = full.drawn(np.random.default_rng(0), 50)[:, : 2 * len(full.controls)].reshape(50, 2, -1)
    used = (drawn[:, :, 1 : 1 + full.leading] != 0.0).sum(axis=2)
    assert used.min() >= 1
    assert (drawn[:, :, 0] == 0.0).all(), "no constant"
    alike = [bool(((one[0] != 0) == (one[1] != 0)).all()) for one in drawn]
    assert 0 < sum(alike) < 50, "some are drawn for sum and difference"


def test_each_structure_builds_the_same_law_in_other_units() -> None:
    found = Features.of(BALL, [probe_features(BALL, noisy(seed)) for seed in range(8)])
    finer = replace(
        found,
        sizes={i: 3.0 + i for i in found.sizes},
        apart=dict.fromkeys(found.apart, 0.2),
        steps=dict.fromkeys(found.steps, 7.0),
    )
    for old, new in zip(structures(found, 2), structures(finer, 2), strict=True):
        vector = np.random.default_rng(0).standard_normal(old.count)
        law, again = old.build(vector), new.build(new.vector_of(old, vector))
        assert law.quantities == again.quantities
        for before, after in zip(law.sums, again.sums, strict=True):
            assert before.products == after.products
            assert after.weights == pytest.approx(before.weights, rel=2e-3)


@pytest.mark.parametrize(("numbers", "actions"), [(348, 17), (39, 30), (105, 8)])
def test_low_rank_gains_take_off_the_mean_and_let_every_number_count(numbers: int, actions: int) -> None:
    shown = range(numbers)
    found = Features(
        sizes=dict.fromkeys(shown, 2.0), rest=tuple(shown),
        means={i: float(i) for i in shown}, spreads={i: 1.0 + i for i in shown},
    )  # fmt: skip
    ranked = [one for one in structures(found, actions) if isinstance(one, LowRank)]
    assert ranked
    for structure in ranked:
        law = structure.build(np.random.default_rng(1).standard_normal(structure.count))
        assert len(law.quantities) == numbers
        assert len(law.synergies) == structure.rank
        for synergy in law.synergies:  # at the mean of all numbers it is 0
            seen = {0: 1.0} | {
                k + 1: float(law.quantities[product[0]].index)
                for k, product in enumerate(synergy.products[1:])
            }
            terms = [weight * seen[k] for k, weight in enumerate(synergy.weights)]
            assert abs(sum(terms)) < 2e-3 * np.abs(terms).sum()
    assert left_out(found, actions).startswith("left out, having more than 160 numbers: linear feedback")


PLANAR = TaskSpec(
    name="planar",
    instruction="bring the tip to the goal",
    observation=(
        Field("cosines", 0, 2),
        Field("sines", 2, 4),
        Field("goal", 4, 6, "m"),
        Field("velocities", 6, 8, "rad/s"),
        Field("tip_from_goal", 8, 10, "m"),
    ),
    action=(Field("torques", 0, 2),),
    observation_size=10,
    low=(-1.0, -1.0),
    high=(1.0, 1.0),
    horizon=50,
)
LINKS = 0.3, 0.2


def planar(seed: int) -> Array:
    """Return what an arm of two links shows that moves at random, and its angles."""
    random = np.random.default_rng(seed)
    velocities = np.cumsum(random.standard_normal((50, 2)), axis=0) * 0.3
    angles = random.uniform(-2, 2, 2) + np.cumsum(velocities, axis=0) * 0.1
    goal = np.tile(random.uniform(-0.4, 0.4, 2), (50, 1))
    return np.hstack([np.cos(angles), np.sin(angles), goal, velocities, tip(angles) - goal])


def tip(angles: Array) -> Array:
    one, both = angles[..., 0], angles.sum(-1)
    x, y = (LINKS[0] * of(one) + LINKS[1] * of(both) for of in (np.cos, np.sin))
    return np.stack([x, y], axis=-1)


def arm(seed: int, *, angles: bool = True, third: float = 0.0) -> Array:
    """Return random motion of a planar arm of two links of 0.3 and 0.2 m, the second one bent by 90 degrees.

    0, 1 cosines and 2, 3 sines of its joints, or their angles in 0 and 1; 4, 5 the goal seen from the tip. ``third``:
    by how much the goal moves.
    """
    random = np.random.default_rng(seed)
    joints = (
        random.uniform(-2, 2, 2) + np.cumsum(np.cumsum(random.standard_normal((200, 2)), axis=0), 0) * 0.003
    )
    first, second = joints[:, 0], joints[:, 0] + joints[:, 1]
    tip = np.stack(
        (0.3 * np.cos(first) - 0.2 * np.sin(second), 0.3 * np.sin(first) + 0.2 * np.cos(second)), axis=1
    )
    else_moved = np.cumsum(random.standard_normal(200)) * third
    shown = joints if angles else np.concatenate((np.cos(joints), np.sin(joints)), axis=1)
    goal = random.uniform(-0.3, 0.3, 2) + np.stack((else_moved, 0 * else_moved), axis=1)
    return np.concatenate((np.pad(shown, ((0, 0), (0, 4 - shown.shape[1]))), goal - tip), axis=1)


def arm_spec(angles: bool) -> TaskSpec:
    shown = (Field("joints", 0, 2, "rad"),) if angles else (Field("cosines", 0, 2), Field("sines", 2, 4))
    return replace(SPEC, observation=(*shown, Field("goal_from_tip", 4, 6, "m")), observation_size=6)


@pytest.mark.parametrize("angles", [True, False])
def test_the_links_of_a_planar_arm_are_found_and_pull_its_tip_to_the_goal(angles: bool) -> None:
    spec = arm_spec(angles)
    episodes = [probe_features(spec, arm(seed, angles=angles)) for seed in range(4)]
    (chain,) = Features.of(spec, episodes).chains
    assert chain.vector == (4, 5)
    assert np.allclose(chain.links, [(-0.3, 0.0), (0.0, -0.2)], atol=0.01), "of the goal seen from the tip"
    quantities, pulls = chain.pulls()
    joints, error = np.array([0.4, 1.1]), np.array([0.05, -0.02])
    observation = np.array([*joints, 0, 0, *error] if angles else [*np.cos(joints), *np.sin(joints), *error])
    law = FeedbackLaw(
        quantities,
        Feedback(tuple(Sum(((len(quantities) + k,),), (10.0,)) for k in range(2))),
        synergies=pulls,
    )
    pulled = LawRunner(law, spec)(observation) / 10.0

    def far(joints: Array) -> float:
        first, second = joints[0], joints[0] + joints[1]
        tip = np.array(
            [0.3 * np.cos(first) - 0.2 * np.sin(second), 0.3 * np.sin(first) + 0.2 * np.cos(second)]
        )
        return float(np.sum((tip - start - error) ** 2)) / 2

    start = np.array([0.3 * np.cos(0.4) - 0.2 * np.sin(1.5), 0.3 * np.sin(0.4) + 0.2 * np.cos(1.5)])
    slopes = [(far(joints + step) - far(joints - step)) / 2e-4 for step in np.eye(2) * 1e-4]
    assert np.allclose(pulled, -np.array(slopes), rtol=0.05), "down the slope of the squared distance"


def test_a_vector_that_something_else_moves_as_well_is_no_end_of_a_chain() -> None:
    spec = arm_spec(True)
    episodes = [probe_features(spec, arm(seed, third=0.05)) for seed in range(4)]
    assert Features.of(spec, episodes).chains == ()


@pytest.mark.parametrize(("unit", "axes"), [("rad", 2), ("rad", 3), ("", 2)])
def test_a_tip_and_a_goal_seen_apart_are_an_error_through_a_chain_that_spins(unit: str, axes: int) -> None:
    fields = [("joints", 2, unit), ("rates", 2, ""), ("goal", axes, "m"), ("tip", axes, "m")]
    observation, at = [], 0
    for name, size, of in fields:
        observation.append(Field(name, at, at := at + size, of))
    spec = replace(
        SPEC, observation=tuple(observation), observation_size=at, action=(Field("torques", 0, 2),)
    )

    def episode(seed: int) -> Array:
        random = np.random.default_rng(seed)
        rates = np.cumsum(random.standard_normal((200, 2)), axis=0)
        joints = np.cumsum(rates, axis=0) * 0.1  # about a radian a decision
        goal = np.tile(random.uniform(-0.3, 0.3, 2), (200, 1))
        flat = ((0, 0), (0, axes - 2))
        return np.hstack([joints, rates, np.pad(goal, flat), np.pad(tip(joints), flat)])

    found = Features.of(spec, [probe_features(spec, episode(seed)) for seed in range(8)])
    chain = found.chains[0]
    assert (chain.vector, chain.goal) == ((4 + axes, 5 + axes), (4, 5))
    assert np.allclose(chain.links, [(LINKS[0], 0.0), (LINKS[1], 0.0)], atol=1e-3)
    laws = [one for one in structures(found, 2) if "through a chain, vector 1" in one.name]
    gains = laws[0].drawn(np.random.default_rng(0), 100).reshape(100, 2, 4)[::2]
    assert (gains[:, [0, 1], [0, 1]] > 0).all(), "each joint is pulled"
    assert (gains[:, [0, 1], [2, 3]] < 0).all(), "and damped by its rate"


@pytest.mark.parametrize("order", [(2, 3), (3, 2)])
def test_odd_feedback_gives_the_opposite_control_in_a_mirror(order: tuple[int, int]) -> None:
    spec = replace(SPEC, observation=(Field("rates", 0, 2), Field("angle", 2, 4), Field("place", 4, 5)))
    cosine, sine = order

    def episode(seed: int) -> Array:
        rows = track(seed)
        return np.stack([rows[:, 0], rows[:, 6], *rows[:, [cosine, sine]].T, rows[:, 4]], axis=1)

    found = Features.of(spec, [probe_features(spec, episode(seed)) for seed in range(8)])
    odd = [one for one in structures(found, 2) if one.name.startswith("odd")]
    assert [bool(one.switch) for one in odd] == [False, False, True]
    mirror = np.array([-1.0, -1.0, 1.0, -1.0, -1.0])[[0, 1, cosine, sine, 4]]
    for one in odd:
        law = one.build(np.random.default_rng(1).standard_normal(one.count) * 0.1)
        for row in episode(9)[::7]:
            once, again = LawRunner(law, spec)(row), LawRunner(law, spec)(row * mirror)
            np.testing.assert_allclose(again, -once, atol=1e-6)
            assert np.abs(once).max() > 0.0
