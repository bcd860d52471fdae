"""Fast engine, resets and snapshots equal upstream bit for bit on all tasks."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trace_robot.spec import Array

from .conftest import TASKS, part

STEPS = 64
pytestmark = pytest.mark.filterwarnings("ignore:Constant.s. may be too high")  # the experts' own
Step = tuple[bytes, float, Any]


@dataclass
class Pair:
    """One task twice, by upstream and by the fast engine, and an episode of upstream.

    taken: the actions, (STEPS, 4); expected: observation bytes, reward and terms, after the reset and each.
    """

    name: str
    task: Any
    reference: Any
    quick: Any
    taken: list[Array]
    expected: list[Step]

    @property
    def variation(self) -> Array:
        return self.task.variation(0)  # type: ignore[no-any-return]

    def fast(self, rewards: bool) -> Any:
        self.quick._stepper = part("fast").FastStep(self.name, self.quick.upstream, rewards)
        return self.quick


@pytest.fixture(scope="module", params=TASKS)
def pair(request: pytest.FixtureRequest, upstream: SimpleNamespace) -> Iterator[Pair]:
    name, task = request.param, part("task").tasks()[request.param]
    kinds = upstream.classes[name], part("rewards").quick_class(upstream.classes[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference, quick = (part("simulation").Simulation(kind()) for kind in kinds)
        expert = upstream.experts[name]()
        taken, expected = demonstrated(reference, task.variation(0), expert)
    yield Pair(name, task, reference, quick, taken, expected)
    reference.upstream.close()
    quick.upstream.close()


def demonstrated(simulation: Any, variation: Array, expert: Any) -> tuple[list[Array], list[Step]]:
    """Let the scripted expert act with noise, so that things are touched and moved."""
    generator, taken = np.random.default_rng(1), []
    observation = simulation.reset(variation)
    steps: list[Step] = [(observation.tobytes(), 0.0, {})]
    for _ in range(STEPS):
        wanted = expert.get_action(observation) + generator.normal(scale=0.1, size=4)
        taken.append(np.clip(wanted, -1, 1).astype(np.float32))
        observation, reward, terms = simulation.step(taken[-1])
        steps.append((observation.tobytes(), reward, terms))
    return taken, steps


def run(simulation: Any, variation: Array, taken: list[Array]) -> list[Step]:
    first = simulation.reset(variation).tobytes()
    return [(first, 0.0, {}), *go_on(simulation, taken)]


def go_on(simulation: Any, taken: list[Array]) -> list[Step]:
    rest = [simulation.step(action) for action in taken]
    return [(seen.tobytes(), reward, terms) for seen, reward, terms in rest]


def test_the_fast_engine_gives_upstreams_observations_rewards_and_terms(pair: Pair) -> None:
    found = run(pair.fast(rewards=True), pair.variation, pair.taken)
    assert found == pair.expected
    types = [{name: type(value) for name, value in terms.items()} for _, _, terms in pair.expected]
    assert [{name: type(value) for name, value in terms.items()} for _, _, terms in found] == types


def test_without_rewards_observations_and_success_are_still_upstreams(pair: Pair) -> None:
    found = run(pair.fast(rewards=False), pair.variation, pair.taken)
    assert [seen for seen, _, _ in found] == [seen for seen, _, _ in pair.expected]
    assert [terms["success"] for _, _, terms in found[1:]] == [
        bool(terms["success"]) for _, _, terms in pair.expected[1:]
    ]


def test_a_cached_reset_is_the_reset_it_was_whatever_happened_between(pair: Pair) -> None:
    for simulation in (pair.fast(rewards=True), pair.reference):
        run(simulation, pair.variation, [])
        run(simulation, pair.task.variation(3), pair.taken[:15])
        assert run(simulation, pair.variation, pair.taken[:20]) == pair.expected[:21]


def test_a_snapshot_continues_bit_for_bit_also_in_another_object(pair: Pair) -> None:
    simulation = pair.fast(rewards=True)
    run(simulation, pair.variation, pair.taken[:25])
    snapshot = simulation.snapshot()
    run(simulation, pair.task.variation(5), pair.taken[:3])
    for each in (simulation, pair.reference):
        assert each.restore(snapshot).tobytes() == snapshot.observation.tobytes()
        assert go_on(each, pair.taken[25:40]) == pair.expected[26:41]


def test_a_snapshot_holds_all_that_upstream_changes_in_an_episode(pair: Pair) -> None:
    simulation = pair.reference
    simulation.reset(pair.variation)
    before = simulation._attributes()
    go_on(simulation, pair.taken[:40])
    after = simulation._attributes()
    changed = {name for name in after if not np.array_equal(before.get(name), after[name])}
    assert changed <= set(part("simulation").CHANGES_IN_EPISODE)


def test_the_goal_is_where_upstream_measures_from_the_first_observation_on(pair: Pair) -> None:
    simulation = pair.reference
    for seed in range(3):
        seen = simulation.reset(pair.task.variation(seed))
        assert np.array_equal(seen[36:39], simulation.upstream._target_pos)
        seen = simulation.step(np.zeros(4, np.float32))[0]
        assert np.array_equal(seen[36:39], simulation.upstream._target_pos)


def test_the_text_of_success_is_the_rule_that_is_applied(pair: Pair) -> None:
    rule = part("layout").RULES[pair.name]
    named = re.search(r"(?:within|more than) ([\d.]+) cm", pair.task.success)
    if named:
        assert float(named.group(1)) / 100 == pytest.approx(rule.radius)
    else:
        assert pair.name in ("disassemble-v3", "lever-pull-v3")


def test_positions_start_where_the_description_says(pair: Pair) -> None:
    fields = {field.name: field for field in pair.task.observation}
    assert set(pair.task.starts) == set(pair.task.positions) - {"hand_position"}
    for seed in range(3, 7):
        seen = pair.quick.reset(pair.task.variation(seed))
        for name, (low, high) in pair.task.starts.items():
            place = fields[name].of(seen)
            assert np.all(place >= low), name
            assert np.all(place <= high), name


def test_ranges_and_the_rule_of_distance_are_upstreams(pair: Pair) -> None:
    env = pair.reference.upstream
    assert pair.task.low == tuple(env._random_reset_space.low.tolist())
    assert pair.task.high == tuple(env._random_reset_space.high.tolist())
    assert pair.task.hand == (tuple(env.mocap_low.tolist()), tuple(env.mocap_high.tolist()))
    generator, taken, refused = np.random.default_rng(0), [], []
    drawn: list[Array] = []

    def draw() -> Array:
        drawn.append(generator.uniform(env._random_reset_space.low, env._random_reset_space.high))
        return drawn[-1]

    env._get_state_rand_vec = draw
    env._reset_hand = lambda steps=0: setattr(env, "init_tcp", env.tcp_center)
    for _ in range(25):
        drawn.clear()
        env.reset_model()
        taken.append(drawn[-1])
        refused.extend(drawn[:-1])
    del env._get_state_rand_vec, env._reset_hand
    assert all(pair.task.accepts(each) for each in taken)
    assert not any(pair.task.accepts(each) for each in refused)


def test_upstream_is_as_it_was_for_everybody_else(upstream: SimpleNamespace) -> None:
    from metaworld.utils import reward_utils

    for name in TASKS:
        part("rewards").quick_class(upstream.classes[name])
    for kind in upstream.classes.values():
        for owner in kind.__mro__[:-1]:
            for member in vars(owner).values():
                module = getattr(member, "__module__", "") or ""
                assert "trace_robot" not in module
                assert getattr(member, "__globals__", {}).get("np", np) is np
    assert reward_utils.tolerance.__module__ == "metaworld.utils.reward_utils"


def test_upstreams_way_of_reading_a_matrix_is_taken_where_scipy_rounds_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = part("exact")
    assert exact.matrix_reader() is exact.quaternion
    exact.matrix_reader.cache_clear()
    monkeypatch.setattr(exact, "quaternion", lambda matrix: (0.0, 0.0, 0.0, 1.0))
    reader = exact.matrix_reader()
    exact.matrix_reader.cache_clear()
    turned = np.array([0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    assert np.allclose(reader(turned), (0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)))
