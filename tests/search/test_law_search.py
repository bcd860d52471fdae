"""The search over laws solves small plants, always the same way, and knows none."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import trace_robot.search.feedback_law
from trace_robot.errors import OrderError, PolicyError
from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.search.base import POOL
from trace_robot.search.feedback_law import FeedbackLaw, Quantity
from trace_robot.search.feedback_law.catalog import structures
from trace_robot.search.feedback_law.evaluation import Judge, LawEvaluation, LawScore
from trace_robot.search.feedback_law.features import Features
from trace_robot.search.feedback_law.restarts import CmaRestart
from trace_robot.search.feedback_law.search import LARGEST, FeedbackLawSearch
from trace_robot.search.feedback_law.structures import Structure
from trace_robot.spec import Field

Run = Callable[..., list[Candidate]]
Play = Callable[..., tuple[Any, float, bool]]
ROOMS = [Path(trace_robot.search.feedback_law.__path__[0])]


def score(returns: list[float], successes: list[bool], *, faulty: bool = False) -> LawScore:
    return LawScore(np.array(returns), np.array(successes), faulty)


def test_a_mass_is_brought_to_rest_on_conditions_it_was_not_tried_on(
    mass: Any, run: Run, episode: Play
) -> None:
    search = FeedbackLawSearch(mass.spec, range(POOL), seed=1)
    asked = run(mass, search)
    assert search.done.startswith("solved on conditions that it was not tuned on: mean return")
    assert len(asked) < 1500
    law = FeedbackLaw.from_data(search.best.program)  # type: ignore[union-attr, arg-type]
    assert law.inner is None, "a plain law is enough"
    played = [episode(mass, law, seed) for seed in range(5000, 5050)]
    assert np.mean([total for _, total, _ in played]) > -12.0


def test_a_pendulum_with_a_weak_motor_is_swung_up_and_held(swing: Any, run: Run, episode: Play) -> None:
    search = FeedbackLawSearch(swing.spec, range(POOL), seed=0)
    run(swing, search)
    assert search.done.startswith("solved")
    law = FeedbackLaw.from_data(search.best.program)  # type: ignore[union-attr, arg-type]
    for seed in range(5000, 5010):
        seen, _, _ = episode(swing, law, seed)
        assert seen[0, 0] < -0.9, "it hangs at the start"
        assert (seen[-10:, 0] > 0.8).all(), "it stands at the end"


def test_a_cart_that_steers_comes_to_its_target_before_a_dense_law_is_tried(
    cart: Any, run: Run, episode: Play
) -> None:
    search = FeedbackLawSearch(cart.spec, range(POOL), seed=0)
    asked = run(cart, search, rounds=80)
    assert search.done.startswith("solved"), "linear feedback, which knows no heading, goes nowhere"
    assert {len(candidate.seeds or ()) for candidate in asked[24:152]} == {1}, "many on one condition"
    law = FeedbackLaw.from_data(search.best.program)  # type: ignore[union-attr, arg-type]
    assert {quantity.kind for quantity in law.quantities} == {"difference", "cosine", "sine"}
    assert sum(episode(cart, law, seed)[2] for seed in range(5000, 5050)) >= 48


def test_same_seed_and_outcomes_give_the_same_search(mass: Any, run: Run) -> None:
    first, second, other = (FeedbackLawSearch(mass.spec, range(POOL), seed=seed) for seed in (3, 3, 4))
    asked = [[each.to_data() for each in run(mass, search, rounds=12)] for search in (first, second, other)]
    assert asked[0] == asked[1]
    assert first.ask() == second.ask()
    assert first.best == second.best
    assert asked[0] != asked[2]


def test_telling_what_was_not_asked_for_is_an_error(mass: Any) -> None:
    search = FeedbackLawSearch(mass.spec, range(POOL))
    with pytest.raises(
        OrderError, match="tell wants an outcome for each candidate of the last ask, got none for"
    ):
        search.tell([])


def test_success_counts_first_and_the_return_where_it_is_what_decides() -> None:
    good, quick = score([-1.0, -9.0], [True, False]), score([-20.0, -21.0], [True, True])
    assert Judge().value(quick) > Judge().value(good) > Judge().value(score([-0.1, -0.1], [False, False]))
    assert Judge(-5.0).value(good) > Judge(-5.0).value(quick)


def test_to_fail_early_is_no_better_than_to_go_on_as_badly() -> None:
    """A ball that is thrown off its plate at once had the best return of those without a success."""
    details = {"success": [False, False, True], "reward": [-4.0, -40.0, -4.0], "steps": [50, 500, 50]}
    outcome = Outcome(1, 0.0, details=details)
    assert LawEvaluation(None, 500).returns(outcome) == [-40.0, -40.0, -4.0]
    assert LawEvaluation(-10.0, 500).returns(outcome) == details["reward"], "a return that counts stays"
    gains = Outcome(1, 0.0, details={"success": [False], "reward": [30.0], "steps": [50]})
    assert LawEvaluation(None, 500).returns(gains) == [30.0], "to end a gain early costs what it brings"


def test_the_best_that_was_seen_is_not_a_law_that_failed_at_once(mass: Any) -> None:
    spec = replace(mass.spec, return_threshold=None, horizon=100)
    search = FeedbackLawSearch(spec, range(POOL), seed=0)
    first, second, *others = search.ask()
    quick = {"success": [False] * 2, "reward": [-6.0] * 2, "steps": [5] * 2}
    steady = {"success": [False] * 2, "reward": [-50.0] * 2, "steps": [100] * 2}
    outcomes = [Outcome(first.id, 0.0, details=quick), Outcome(second.id, 0.0, details=steady)]
    search.consider(outcomes)
    assert search.best is not None
    assert search.best.id == second.id
    assert others


def test_a_vector_in_other_units_or_of_a_richer_structure_builds_the_same_law() -> None:
    features = Features(sizes={0: 1.0, 1: 2.0, 2: 4.0}, rates=(2,), rest=(0, 1))
    finer = replace(features, sizes={0: 0.5, 1: 0.1, 2: 8.0})
    (plain, *_), found = (
        structures(features, 2),
        {structure.name: structure for structure in structures(finer, 2)},
    )
    vector = np.arange(1.0, 1.0 + plain.count)
    again = found[plain.name]
    assert again.build(again.vector_of(plain, vector)) == plain.build(vector)
    richer = next(structure for structure in found.values() if structure.plainer == plain.name)
    law = richer.build(richer.vector_of(plain, vector))
    assert law.outer == plain.build(vector).outer
    assert law.switching_function is not None
    assert not any(law.switching_function.weights), "never near"


@pytest.mark.parametrize("threshold", [None, -5.0])
def test_a_law_that_breaks_the_simulation_is_worth_nothing(threshold: float | None) -> None:
    judge = Judge(threshold)
    broken = score([100.0], [True], faulty=True)
    assert judge.value(broken) < judge.value(score([-1e6], [False]))
    assert not judge.solves(broken, 0.0)


def test_solved_means_that_the_mean_return_is_clearly_above_the_threshold() -> None:
    judge = Judge(-10.0)
    assert judge.solves(score([-9.0, -9.5, -10.5, -8.0], [True, True, False, True]), 1.0)
    assert not judge.solves(score([-1.0, -18.0, -10.5, -8.0], [True, False, False, True]), 1.0)
    assert not Judge().solves(score([-1.0, -1.0], [True, False]), 1.0)


def test_no_environment_is_named_in_the_search() -> None:
    sources = [path for room in ROOMS for path in room.rglob("*.py")]
    assert len(sources) > 6
    families = {  # of packages: other tests may have registered their own
        name.partition("/")[-1].rpartition("-v")[0] or name.rpartition("-v")[0]
        for name, spec in gymnasium.registry.items()
        if isinstance(spec.entry_point, str)
    }
    assert {"CartPole", "Pendulum", "Reacher", "Acrobot"} <= families
    for path in sources:
        words = {word.lower() for word in names_in(path)}
        assert not {family for family in families if family.lower() in words}, path
        assert not words & {"cartpole", "mountaincar", "metaworld", "gymnasium", "pole", "cart", "pendulum"}


def names_in(path: Path) -> set[str]:
    """Every identifier of a module and every word of its texts."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        for text in (getattr(node, "id", ""), getattr(node, "attr", ""), getattr(node, "value", "")):
            if isinstance(text, str):
                found |= set(text.replace("-", " ").replace(".", " ").replace("_", " ").split())
    return found


def wide(mass: Any, actions: int, numbers: int) -> Any:
    """The mass, with a long observation and an action of which the first number counts."""

    class Wide(type(mass)):  # type: ignore[misc]
        spec = replace(
            mass.spec,
            observation=(Field("all", 0, numbers),),
            observation_size=numbers,
            action=(Field("force", 0, actions),),
            low=(-1.0,) * actions,
            high=(1.0,) * actions,
            horizon=7,  # too short for rates to be found, so that no structure of few numbers fits
        )

        def _long(self, seen: Any) -> Any:
            return np.concatenate([seen, np.sin(np.arange(numbers - 2) + seen[0] * 9)])

        def reset(self, seed: int) -> Any:
            return self._long(super().reset(seed))

        def step(self, action: Any) -> Any:
            seen, reward, over = super().step(action)
            return self._long(seen), reward, over

    return Wide()


def test_a_search_whose_every_law_would_be_too_large_races_sparse_ones(
    mass: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trace_robot.search.feedback_law.catalog.MOST", 20)
    monkeypatch.setattr("trace_robot.search.feedback_law.catalog.SPARSE", 2)
    plant = wide(mass, actions=5, numbers=9)
    search = FeedbackLawSearch(plant.spec, range(POOL), seed=1)
    run(plant, search, rounds=12)  # beyond the first rung, where there was an IndexError
    assert search.champion is not None
    assert "choice" in search.champion.name
    assert search.best is not None
    FeedbackLaw.from_data(search.best.program or {})


def test_an_action_with_too_many_numbers_is_refused_in_one_line(mass: Any) -> None:
    spec = wide(mass, actions=LARGEST + 1, numbers=3).spec
    with pytest.raises(
        PolicyError, match="of at most 1000 actions, and 'mass' has 1001; use --optimizer cma"
    ):
        FeedbackLawSearch(spec, range(POOL))


def test_between_two_rungs_a_law_with_a_better_return_than_the_champion_contends(
    mass: Any, played: Callable[..., Outcome]
) -> None:
    search = FeedbackLawSearch(mass.spec, range(POOL), seed=1)
    while search.champion is None:
        assert search.contender is None
        search.tell([played(mass, candidate) for candidate in search.ask()])
    while len(search.ask()[0].seeds or ()) < 4:  # probes
        search.tell([played(mass, candidate) for candidate in search.ask()])
    first, second, *others = search.ask()
    good = Outcome(first.id, 0.0, details={"success": [True] * 4, "reward": [100.0] * 4, "steps": [1] * 4})
    poor = replace(good, candidate=second.id, details={**good.details, "reward": [-100.0] * 4})
    search.consider([poor])
    assert search.contender is None
    search.consider([good])
    assert search.contender is not None
    assert (search.contender.id, search.contender.seeds) == (first.id, first.seeds)
    assert search.contender.note.endswith("best so far, on 4 conditions alone")
    assert [each.id for each in search.finalists_to_score] == [search.best.id, first.id]
    assert search.ask() == [first, second, *others], "the search does not go on"


def test_sparse_laws_do_not_take_the_places_of_others_in_a_race(mass: Any) -> None:
    search = FeedbackLawSearch(mass.spec, range(POOL))
    linear = Structure("", (Quantity("number", 0),), (1.0,), 1, ((0,),))
    sparse = [CmaRestart(replace(linear, name=f"sparse {k}", sparse=True), k) for k in range(5)]
    others = [CmaRestart(replace(linear, name=f"other {k}"), k) for k in range(5)]
    assert search._kept([*sparse, *others], 1) == [*others[:4], sparse[0]]
    assert search._kept([*sparse, *others], 3) == [others[0], sparse[0]]
    assert search._kept(others, 9) == others[:1]
