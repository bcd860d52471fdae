"""The search with hands that a spec describes; with others it is as before."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from helpers import fakes
from helpers.staged import BAR, LAYOUTS, LEFT, PLAIN, RIGHT, SLOT, shown, two_hands
from trace_robot.env.registry import describe
from trace_robot.errors import PolicyError
from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.search import StagedSearch
from trace_robot.search.staged import (
    Condition,
    Move,
    Rest,
    Stage,
    StagedProgram,
    Turn,
    Waypoint,
    check,
    measure,
    run,
)
from trace_robot.search.staged.constants import SeenRanges, free, from_vector, to_vector
from trace_robot.search.staged.controller import numbers_seen
from trace_robot.search.staged.coordination import HandsPrimitives
from trace_robot.search.staged.evaluation import ProgramEvaluation, ProgramTrial, RewardScale
from trace_robot.search.staged.mutation import HandsMutator
from trace_robot.search.staged.primitives import LONGEST, MotionPrimitives
from trace_robot.search.staged.tuning import refined, simpler
from trace_robot.spec import Array, Field, TaskSpec

SPEC = two_hands()
HERE = Waypoint(LEFT, when="entry")


def reaching(spec: TaskSpec, candidate: Candidate) -> Outcome:
    """Run a candidate where the hand, wherever its numbers are, must come to the goal."""
    hand, program = spec.hands[0], StagedProgram.from_data(candidate.program or {})
    details: dict[str, list[Any]] = {"success": [], "steps": []}
    for seed in candidate.seeds or ():
        runner = run(program, spec)

        def act(observation: Array, runner: Any = runner) -> Array:
            motion = runner(observation)[hand.motion : hand.motion + 3]
            act.finished = runner.finished  # type: ignore[attr-defined]
            return np.array([*motion, 0.0])

        act.finished = False  # type: ignore[attr-defined]
        episode = fakes.play(act, seed, grasp=False)
        details["success"].append(episode["success"])
        details["steps"].append(episode["steps"])
        for name, number in measure(spec, episode["observations"], episode["rewards"]).items():
            details.setdefault(name, []).append(number)
    return Outcome(candidate.id, 0.0, details=details)


def test_the_search_is_the_same_wherever_the_numbers_are_in_the_action() -> None:
    found = []
    for layout in ("plain", "no gripper", "turned sign", "elsewhere"):
        search, asked = StagedSearch(LAYOUTS[layout], range(3), seed=0), []
        for _ in range(4):
            candidates = search.ask()
            asked += [replace(candidate, values={}) for candidate in candidates]
            search.tell([reaching(LAYOUTS[layout], candidate) for candidate in candidates])
        found.append(asked)
    assert found[0] == found[1] == found[2] == found[3]


def drawn(spec: TaskSpec, seed: int, count: int) -> list[StagedProgram]:
    """Random programs and changes of them, once a lamp was seen to change."""
    ranges = SeenRanges(numbers_seen(spec))
    ranges.add({"seen_low_2": 0.0, "seen_high_2": 1.0})
    mutator = HandsMutator(HandsPrimitives(spec, np.random.default_rng(seed), ranges=ranges))
    pool = [mutator.primitives.program() for _ in range(count)]
    for _ in range(3 * count):
        pool.append(
            mutator.mutate(
                mutator.cross(*(pool[int(mutator.primitives.random.integers(len(pool)))] for _ in range(2)))
            )
        )
    return pool


def test_drawn_and_changed_programs_fit_and_use_every_new_part() -> None:
    pool = drawn(SPEC, 0, 150)
    stages = [stage for program in pool for stage in program.stages]
    for program in pool:
        check(program, SPEC)
        assert StagedProgram.from_data(json.loads(json.dumps(program.to_data()))) == program
        assert 1 <= len(program.stages) <= LONGEST
    parts = {
        "second hand alone": [s for s in stages if s.hand == "right" and not s.others],
        "both hands": [s for s in stages if s.others],
        "turn": [s for s in stages if s.turn],
        "condition": [s for s in stages if s.until],
        "way back": [s for s in stages if s.expects],
        "lead": [s for s in stages if s.place.lead],
    }
    for part, found in parts.items():
        assert len(found) > 0.02 * len(stages), part
    thresholds = [s.until.threshold for s in parts["condition"] if s.until and not s.until.change]
    assert all(0.0 <= threshold <= 1.0 for threshold in thresholds), "drawn from the range that was seen"


def test_constants_of_the_later_parts_survive_the_vector_and_can_be_tuned() -> None:
    move = Move(
        "right", RIGHT, Waypoint(BAR, (0.01, 0.0, 0.02), toward=RIGHT, along=0.05), turn=Turn(angle=0.3)
    )
    stage = Stage(LEFT, Waypoint(SLOT, lead=3.0), turn=Turn("bar_yaw", angle=0.5), others=(move,))
    program = StagedProgram((stage,), rest=Rest(BAR, Waypoint(SLOT)))
    vector = to_vector(program)
    assert len(vector) == len(free(program)) == 7 + 1 + 4 + 2 + 5
    assert from_vector(program, vector) == program
    (moved,) = from_vector(program, vector + 1.0).stages
    assert moved.place.lead == pytest.approx(4.0)
    assert moved.turn == Turn("bar_yaw", angle=0.6)
    assert moved.others[0].place.offset == pytest.approx((0.02, 0.01, 0.03))
    assert moved.others[0].place.along == pytest.approx(0.06)
    assert moved.others[0].turn == Turn(angle=0.4)


def test_each_later_part_can_be_left_out_to_simplify() -> None:
    lit = Condition("lamp", 0, 0.5)
    stage = Stage(
        LEFT, Waypoint(SLOT, lead=3.0), turn=Turn(angle=1.0), others=(Move("right", RIGHT, HERE),),
        until=lit, expects=lit, back=1,
    )  # fmt: skip
    left_out = {what: program.stages[0] for what, program in simpler(StagedProgram((stage, stage)))}
    assert left_out["move of right of stage 1 left out"].others == ()
    assert left_out["turn of stage 1 left out"].turn is None
    assert left_out["condition of stage 1 left out"].until is None
    assert left_out["way back of stage 1 left out"].expects is None
    assert left_out["lead of stage 1 left out"].place.lead == 0.0


def test_a_hand_takes_a_thing_as_it_lies_and_turns_it_as_its_place_lies() -> None:
    fields = (*SPEC.observation[:4], Field("slot_yaw", 12, 13, "rad"), *SPEC.observation[5:])
    spec = replace(SPEC, observation=fields, hands=(replace(SPEC.hands[0], yaw=""), *SPEC.hands[1:]))
    programs = [
        HandsPrimitives(spec, np.random.default_rng(k), ranges=SeenRanges(numbers_seen(spec)))
        for k in range(300)
    ]
    carried = 0
    for primitives in programs:
        stages = primitives.program().stages
        own = {
            stage.place.anchor: stage.turn.field for stage in stages if stage.turn and stage.hand == "left"
        }
        turned = {stage.place.anchor: stage.turn for stage in stages if stage.turn}
        if {BAR, SLOT} <= turned.keys() and len({turn.symmetry for turn in turned.values()}) == 1:
            carried += (turned[BAR].field, turned[SLOT].field) == ("bar_yaw", "slot_yaw")
        assert all(name in ("bar_yaw", "slot_yaw", "") for name in own.values())
    assert carried > 15, "in more than one program of twenty, where chance alone gives one of a hundred"


def test_a_height_that_is_a_number_is_gone_to_and_mostly_one_that_stays_as_it_is() -> None:
    fields = (*SPEC.observation, Field("opening", 17, 18, "m"), Field("height", 18, 19, "m"))
    spec = replace(SPEC, observation=fields, observation_size=19)
    seen = np.zeros((2, 19))
    seen[:, 18] = 0.4
    place = Waypoint(BAR, (0.0, 0.0, 0.05), level="height")
    runner = run(StagedProgram((Stage(LEFT, place, tolerance=0.001),), gain=1.0), spec)
    assert runner(seen[0])[1:4] == pytest.approx([0.0, 0.0, 0.45])
    with pytest.raises(PolicyError, match="has no number -1 of a field 'lamp'"):
        check(StagedProgram((Stage(LEFT, Waypoint(BAR, level="lamp")),)), spec)
    ranges = SeenRanges(numbers_seen(spec))
    seen[1, 17] = 0.08
    ranges.add(measure(spec, seen, np.zeros(1)))
    mutator = HandsMutator(HandsPrimitives(spec, np.random.default_rng(0), ranges=ranges))
    programs = [mutator.primitives.program() for _ in range(200)]
    programs += [mutator.mutate(program) for program in programs]
    levels = [move.place.level for program in programs for stage in program.stages for move in stage.moves]
    assert set(levels) == {"", "height"}, "an opening that changes is no height to go to"
    simple = dict(simpler(StagedProgram((Stage(LEFT, place),))))
    assert simple["level of stage 1 left out"].stages[0].place.level == ""


def test_a_step_of_a_climb_moves_one_stage_and_all_hands_of_it_alike() -> None:
    evaluation = ProgramEvaluation(SPEC, range(2), np.random.default_rng(0))
    move = Move("right", RIGHT, Waypoint(SLOT, (0.1, 0.0, 0.2)))
    program = StagedProgram((Stage(LEFT, Waypoint(BAR)), Stage(LEFT, Waypoint(SLOT), others=(move,))))
    pool = [evaluation.individual(program)]
    steps = refined(
        pool, HandsPrimitives(SPEC, np.random.default_rng(0), ranges=SeenRanges(numbers_seen(SPEC)))
    )
    (lasting, *steps), both = steps, 0
    assert lasting[1].stages[-1].tolerance == 0.0, "one that goes on holding; nothing is held to be let go"
    for parent, other in steps:
        assert parent is pool[0]
        (changed,) = (k for k in range(2) if other.stages[k] != program.stages[k])
        before = [np.array(one.place.offset) for one in program.stages[changed].moves]
        after = [np.array(one.place.offset) for one in other.stages[changed].moves]
        differences = [b - a for a, b in zip(before, after, strict=True)]
        assert np.count_nonzero(differences[0]) == 1
        assert all(np.allclose(each, differences[0]) for each in differences)
        both += len(differences) == 2
    assert 0 < both < len(steps), "the last stages most often, but not alone"
    held = evaluation.individual(StagedProgram((replace(program.stages[1], gripper=1.0),)))
    first = refined(
        [held], HandsPrimitives(SPEC, np.random.default_rng(0), ranges=SeenRanges(numbers_seen(SPEC)))
    )[0][1]
    assert [move.gripper for move in first.stages[1].moves] == [-1.0, -1.0], "both hands let go"
    assert refined(pool, MotionPrimitives(PLAIN, np.random.default_rng(0))) == [], "stored runs stay"


def test_a_climb_brings_what_was_moved_and_tries_again_until_a_number_is_as_expected() -> None:
    evaluation, ranges = (
        ProgramEvaluation(SPEC, range(2), np.random.default_rng(0)),
        SeenRanges({0: (BAR, 0)}),
    )
    ranges.add({"seen_low_0": 0.0, "seen_high_0": 1.0})
    move = Move("right", RIGHT, Waypoint(SLOT), gripper=1.0)
    program = StagedProgram((Stage(LEFT, Waypoint(BAR)), Stage(LEFT, Waypoint(BAR), 1.0, others=(move,))))
    parent = evaluation.individual(program)
    parent.trials[0] = ProgramTrial(False, 1.0, {f"moved_{BAR}": 0.2})
    made = [
        one for _, one in refined([parent], HandsPrimitives(SPEC, np.random.default_rng(0), ranges=ranges))
    ]
    ends = [one.stages[-1] for one in made]
    carried = [end for end in ends if {move.tracked for move in end.moves} == {BAR}]
    assert carried
    assert all(move.place.anchor != BAR for end in carried for move in end.moves)
    assert any(stage.expects and stage.back for one in made for stage in one.stages)


def test_where_rewards_are_costs_a_program_that_ends_at_once_is_not_the_best() -> None:
    evaluation = ProgramEvaluation(SPEC, range(2), np.random.default_rng(0))
    here = Stage(LEFT, Waypoint(BAR))
    idle, worse, better = (evaluation.individual(StagedProgram((here,))) for _ in range(3))
    for costs in (-1.0, 2.0):
        rewards = {worse: -3.0 + costs, better: -0.5 + costs}
        trials = {one: ProgramTrial(False, 0.5, {"best": r, "last": r}) for one, r in rewards.items()}
        trials[idle] = ProgramTrial(False, 0.0, measure(SPEC, np.zeros((1, 17)), np.zeros(0)))
        scale = RewardScale()
        for one, trial in trials.items():
            one.trials[0] = trial
            scale.add(0, trial)
        assert scale.values(better, [0]) == [1.0]
        assert scale.values(idle, [0])[0] < 1.0
        assert scale.values(worse, [0]) == [0.0]
    assert scale.values(idle, [0]) == [pytest.approx(1.0 / 2.5)], "0 counts where rewards are gains"


def test_the_ranges_of_numbers_are_measured_for_described_hands_alone() -> None:
    seen = np.array([shown(lamp=0.2, yaw=-1.0), shown(lamp=0.9), shown(lamp=0.5)])
    numbers = measure(SPEC, seen, np.zeros(2))
    assert (numbers["seen_low_2"], numbers["seen_high_2"]) == (0.2, 0.9)
    assert (numbers["seen_low_0"], numbers["seen_high_0"]) == (-1.0, 0.0)
    assert list(numbers_seen(SPEC).values())[2] == ("lamp", 0)
    assert f"moved_{BAR}" in numbers
    assert f"moved_{RIGHT}" not in numbers
    assert not any(name.startswith("seen_") for name in measure(PLAIN, np.zeros((3, 11)), np.zeros(2)))


@pytest.mark.parametrize(
    ("name", "control", "options", "digest"),
    [
        ("pick-place-v3", "raw", {}, "b64c6a6fceefe689"),
        ("door-open-v3", "pose", {}, "c3ccb7b89592a414"),
        ("push-v3", "raw", {"hold": "end"}, "11ff181429632969"),
    ],
)
def test_meta_world_is_searched_as_before(
    name: str, control: str, options: dict[str, Any], digest: str
) -> None:
    spec = describe(name, control=control, **options)
    search, hashed, asked = StagedSearch(spec, range(5), confirm=range(5, 15), seed=0), sha256(), 0
    while asked < 300:
        outcomes = []
        for each in search.ask():
            seeds = list(each.seeds or ())
            data = json.dumps([each.id, each.parent, each.program, each.note, seeds], sort_keys=True).encode()
            hashed.update(data)
            asked += 1
            # Outcomes that depend on the candidate alone stand for episodes, which would take minutes.
            random = np.random.default_rng(int.from_bytes(sha256(data).digest()[:4], "big"))
            details: dict[str, Any] = {
                "success": random.random(len(seeds)) < 0.05,
                "steps": [50] * len(seeds),
            }
            details |= {measured: random.random(len(seeds)) for measured in ("best", "last", "mean")}
            for thing in spec.positions[1:]:
                details[f"moved_{thing}"] = random.random(len(seeds)) * 0.02
                details[f"raised_{thing}"] = random.random(len(seeds)) * 0.04
            outcomes.append(Outcome(each.id, 0.0, details=details))
        search.tell(outcomes)
    assert hashed.hexdigest().startswith(digest)
