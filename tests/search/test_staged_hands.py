"""Programs for any hands: interpreter and text agree, and each new part does what it says."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import fakes
from helpers.staged import Written, programs
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
    code,
    measure,
    run,
    write,
)
from trace_robot.search.staged.controller import numbers_seen
from trace_robot.search.staged.coordination import HandsMutator, HandsPrimitives, SeenRanges
from trace_robot.search.staged.mutation import free, from_vector, simpler, to_vector
from trace_robot.search.staged.primitives import LONGEST
from trace_robot.spec import Array, Field, HandSpec, TaskSpec

PLAIN = fakes.point_mass_spec()
LEFT, RIGHT, BAR, SLOT = "left_position", "right_position", "bar_position", "slot_position"
POSITIONS = (LEFT, RIGHT, BAR, SLOT)


def two_hands(control: str = "raw", *, yaw: bool = True) -> TaskSpec:
    """A spec with two hands that turn, of which the second has a gripper that opens upwards, and a gap."""
    fields = [Field(name, 3 * i, 3 * i + 3, "m") for i, name in enumerate(POSITIONS)]
    fields += [Field("left_yaw", 12, 13, "rad"), Field("bar_yaw", 13, 14, "rad"), Field("lamp", 15, 17)]
    left = HandSpec("left", LEFT, 1, turn=0, yaw="left_yaw" if yaw else "")
    right = HandSpec("right", RIGHT, 5, turn=8, gripper=9, opens=1.0)
    low = (-0.5, -1.0, -1.0, -0.5, -1.0, -1.0, -2.0, -1.0, -0.3, 0.0)
    high = (0.5, 1.0, 1.0, 0.5, 1.0, 1.0, 2.0, 1.0, 0.3, 0.04)
    action = tuple(Field(f"a{i}", i, i + 1) for i in range(10))
    return TaskSpec(
        "two", "", tuple(fields), action, 17, low, high, 60, "", control, POSITIONS, hands=(left, right)
    )


def placed(motion: int, gripper: int, opens: float, size: int) -> TaskSpec:
    """The point mass, its numbers elsewhere in the action."""
    low, high = [-2.0] * size, [2.0] * size
    low[motion : motion + 3], high[motion : motion + 3] = [-1.0] * 3, [1.0] * 3
    if gripper >= 0:
        low[gripper], high[gripper] = -1.0, 1.0
    hand = HandSpec("hand", "hand_position", motion, gripper=gripper, opens=opens)
    action = tuple(Field(f"a{i}", i, i + 1) for i in range(size))
    return replace(PLAIN, action=action, low=tuple(low), high=tuple(high), hands=(hand,))


LAYOUTS = {
    "plain": placed(0, 3, -1.0, 4),
    "no gripper": placed(0, -1, -1.0, 3),
    "turned sign": placed(0, 3, 1.0, 4),
    "elsewhere": placed(2, 0, 1.0, 7),
}
metres = st.floats(-0.3, 0.3).map(lambda number: round(number, 4))
names = st.sampled_from(POSITIONS)
waypoints = st.builds(
    Waypoint,
    anchor=names,
    offset=st.one_of(st.just((0.0, 0.0, 0.0)), st.tuples(metres, metres, metres)),
    when=st.sampled_from(("now", "entry", "start")),
    toward=st.sampled_from(("", *POSITIONS)),
    along=metres,
    lead=st.sampled_from((0.0, 0.0, 3.5)),
)
turns = st.none() | st.builds(
    Turn,
    field=st.sampled_from(("", "bar_yaw")),
    start=st.sampled_from(("", LEFT)),
    end=st.sampled_from(("", BAR)),
    angle=st.floats(-3, 3),
    symmetry=st.sampled_from((math.tau, math.pi, math.pi / 2)),
)
conditions = st.none() | st.one_of(
    st.builds(
        Condition, st.just("lamp"), st.integers(0, 1), st.floats(-0.5, 0.5), st.booleans(), st.booleans()
    ),
    st.builds(
        Condition, st.sampled_from(("left_yaw", "bar_yaw")), st.just(0), st.floats(-1, 1), st.booleans(),
        st.booleans(),
    ),
)  # fmt: skip
grips, speeds = st.sampled_from((-1.0, 1.0, 0.3)), st.floats(0.1, 1)


@st.composite
def coordinated(draw: st.DrawFn) -> StagedProgram:
    """A random program of up to four stages, of one hand or both."""
    stages = []
    for _ in range(draw(st.integers(1, 4))):
        hand = draw(st.sampled_from(("", "left", "right")))
        other = "left" if hand == "right" else "right"
        move = st.builds(Move, st.just(other), names, waypoints, grips, speeds, turns)
        stages.append(
            Stage(
                draw(names), draw(waypoints), draw(grips), draw(speeds),
                draw(st.sampled_from((0.0, 0.01, 0.3))), draw(st.integers(1, 12)),
                draw(st.sampled_from(("", BAR))), draw(st.floats(0.1, 0.6)),
                draw(st.sampled_from((0.0, 0.0, 0.01))),
                hand, draw(turns), tuple(draw(st.lists(move, max_size=1))), draw(conditions),
                draw(conditions), draw(st.integers(0, 3)),
            )
        )  # fmt: skip
    program = draw(programs)
    rest = program.rest and replace(program.rest, tracked=LEFT, place=Waypoint(draw(names)))
    return replace(program, stages=tuple(stages), rest=rest)


class Wandering:
    """A world whose numbers follow the action and noise, for what any program meets."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.state = self.random.uniform(-0.3, 0.3, 17)

    def step(self, action: Array) -> Array:
        self.state[0:3] += 0.02 * action[1:4]
        self.state[3:6] += 0.02 * action[5:8]
        self.state[12] += 0.1 * action[0]
        self.state += 0.01 * self.random.standard_normal(17)
        return self.state.copy()


def agree(program: StagedProgram, spec: TaskSpec, world: Any, observation: Array) -> None:
    first, second = run(program, spec), Written(code(program, spec), spec)
    for _ in range(40):
        action = first(observation)
        assert action.dtype == np.float32
        assert action.shape == (spec.action_size,)
        assert action.tobytes() == second(observation).tobytes()
        observation = world(action)


@settings(max_examples=150, deadline=None)
@given(coordinated(), st.sampled_from(("raw", "pose")), st.booleans(), st.integers(0, 1000))
def test_text_and_interpreter_of_two_hands_give_the_same_bytes(
    program: StagedProgram, control: str, yaw: bool, seed: int
) -> None:
    world = Wandering(seed)
    agree(program, two_hands(control, yaw=yaw), world.step, world.state.copy())


@settings(max_examples=100, deadline=None)
@given(programs, st.sampled_from(sorted(LAYOUTS)), st.integers(0, 1000))
def test_text_and_interpreter_of_one_hand_anywhere_give_the_same_bytes(
    program: StagedProgram, layout: str, seed: int
) -> None:
    spec, world = LAYOUTS[layout], fakes.PointMass(seed)
    first = spec.hands[0].motion

    def step(action: Array) -> Array:
        return world.step(np.array([*action[first : first + 3], 1.0]))[0]

    agree(program, spec, step, world.observe())


@given(coordinated())
def test_a_program_of_two_hands_survives_json(program: StagedProgram) -> None:
    assert StagedProgram.from_data(json.loads(json.dumps(program.to_data()))) == program


@given(coordinated())
@settings(max_examples=30, deadline=None)
def test_the_text_of_two_hands_is_python_with_short_lines(program: StagedProgram) -> None:
    text = write(program, two_hands())
    compile(text, "written", "exec")
    assert max(len(line) for line in text.splitlines()) <= 110


SPEC = two_hands()
HERE = Waypoint(LEFT, when="entry")


def shown(**numbers: float) -> Array:
    """An observation of ``two_hands`` of zeros but for some numbers: yaw, bar, lamp, and x of positions."""
    places = {"left": 0, "right": 3, "bar": 6, "slot": 9, "yaw": 12, "bar_yaw": 13, "lamp": 15}
    seen = np.zeros(17)
    for name, number in numbers.items():
        seen[places[name]] = number
    return seen


def held(*changes: dict[str, Any], gain: float = 1.0) -> Any:
    """The runner of stages that hold the left hand still, each with some changes."""
    still = Stage(LEFT, HERE, 1.0, tolerance=0.0, max_decisions=100)
    return run(StagedProgram(tuple(replace(still, **change) for change in changes), gain), SPEC)


def test_a_hand_turns_the_short_way_modulo_its_symmetry_and_keeps_the_angle() -> None:
    turn = Turn("bar_yaw", angle=0.1, symmetry=math.pi)
    runner = held({"turn": turn, "max_decisions": 1}, {"place": Waypoint(SLOT, (0.5, 0.0, 0.0))})
    assert runner(shown(yaw=0.2, bar_yaw=math.pi))[0] == pytest.approx(-0.1, abs=1e-6)
    assert runner(shown(yaw=0.2, bar_yaw=0.3))[0] == pytest.approx(0.2, abs=1e-6)
    assert runner(shown(yaw=0.2, bar_yaw=9.0))[0] == pytest.approx(0.2, abs=1e-6), "as the last stage left it"


def test_a_hand_is_turned_along_the_line_between_two_positions() -> None:
    runner = held({"turn": Turn(start=BAR, end=SLOT)})
    seen = shown(bar=0.5, slot=0.5)
    seen[10] = 0.3  # the slot lies along y from the bar
    assert runner(seen)[0] == pytest.approx(0.5), "a quarter turn, at the bound of the action"
    seen[12] = math.pi / 2 - 0.2
    assert runner(seen)[0] == pytest.approx(0.2)


def test_without_a_yaw_that_is_seen_a_hand_turns_until_its_actions_add_up() -> None:
    spec = two_hands("pose", yaw=False)
    stage = Stage(LEFT, HERE, turn=Turn(angle=0.8), tolerance=0.0, max_decisions=100)
    runner = run(StagedProgram((stage,)), spec)
    assert [float(runner(shown())[0]) for _ in range(4)] == pytest.approx([0.5, 0.3, 0.0, 0.0], abs=1e-6)


def test_a_stage_ends_when_its_hand_has_also_turned() -> None:
    stage = {"tolerance": 0.05, "turn": Turn(angle=0.3)}
    runner = held(stage, {"hand": "right", "tracked": RIGHT, "place": Waypoint(BAR)})
    assert runner(shown(bar=0.4))[5] == 0.0
    assert runner(shown(bar=0.4, yaw=0.2))[5] == 0.0
    assert runner(shown(bar=0.4, yaw=0.28))[5] == pytest.approx(0.4)


def test_a_hand_without_a_move_stays_and_its_gripper_too_and_unused_numbers_are_zero() -> None:
    close = Stage(RIGHT, Waypoint(BAR), 1.0, tolerance=0.0, max_decisions=1, hand="right")
    away = Stage(LEFT, Waypoint(SLOT), tolerance=0.0, max_decisions=50)
    runner = run(StagedProgram((close, away), 1.0), SPEC)
    first, second = (runner(shown(bar=0.1, slot=0.2)).tolist() for _ in range(2))
    assert first == pytest.approx([0, 0, 0, 0, 0, 0.1, 0, 0, 0, 0.0]), "closed is the lower bound"
    assert second == pytest.approx([0, 0.2, 0, 0, 0, 0, 0, 0, 0, 0.0])
    assert run(StagedProgram((away,), 1.0), SPEC)(shown())[9] == pytest.approx(0.04), "open at first"


def test_a_stage_of_two_hands_ends_when_both_have_arrived() -> None:
    both = Stage(
        LEFT, Waypoint(BAR), max_decisions=100, others=(Move("right", RIGHT, Waypoint(SLOT), speed=0.1),)
    )
    runner = run(StagedProgram((both, replace(both, place=Waypoint(SLOT)))), SPEC)
    assert runner(shown(bar=0.01, slot=0.5))[5] == pytest.approx(0.1), "at the speed of its own move"
    assert runner(shown(bar=0.01, slot=0.5))[1] == pytest.approx(0.1), "the first one waits for the other"
    assert runner(shown(bar=0.01, slot=0.5, right=0.49))[1] == pytest.approx(1.0)


@pytest.mark.parametrize("change", [False, True])
def test_a_stage_waits_until_a_number_is_seen(change: bool) -> None:
    lit = Condition("lamp", 0, 0.5, change=change)
    runner = held({"until": lit}, {"hand": "right", "tracked": RIGHT, "place": Waypoint(BAR)})
    lamps = (0.2, 0.2, 0.6, 0.9)
    moved = [bool(runner(shown(bar=0.3, lamp=lamp))[5]) for lamp in lamps]
    assert moved == [False, False, not change, True], "standing still does not end it"


def test_stages_are_repeated_until_a_number_is_as_expected() -> None:
    to_bar = {"place": Waypoint(BAR), "max_decisions": 1}
    to_slot = {"place": Waypoint(SLOT), "max_decisions": 1}
    dark = Condition("lamp", 0, 0.5, above=False)
    runner = held(to_bar, {**to_slot, "expects": dark, "back": 1}, {"place": Waypoint(RIGHT)})
    lamps = (1, 1, 1, 1, 0, 0)
    seen = [float(runner(shown(bar=0.1, slot=0.2, right=0.3, lamp=lamp))[1]) for lamp in lamps]
    assert seen == pytest.approx([0.1, 0.2, 0.1, 0.2, 0.3, 0.3])


def test_a_moving_target_is_led_by_its_own_motion() -> None:
    runner = held({"place": Waypoint(BAR, lead=5.0)})
    assert runner(shown(bar=0.1))[1] == pytest.approx(0.1), "nothing is known of its motion yet"
    assert runner(shown(bar=0.12))[1] == pytest.approx(0.12 + 5 * 0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hand": "third"}, "once each, got ['third']; known: left, right"),
        ({"others": (Move("left", LEFT, HERE),)}, "once each, got ['left', 'left']"),
        ({"turn": Turn("lamp")}, "no number -1 of a field 'lamp'"),
        ({"until": Condition("lamp", 2, 0.0)}, "no number 2 of a field 'lamp'"),
        ({"expects": Condition("light", 0, 0.0)}, "no number 0 of a field 'light'"),
        ({"turn": Turn(start="lid_position", end=BAR)}, "no position 'lid_position'"),
    ],
)
def test_what_an_environment_does_not_have_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(message)):
        held(change)


@pytest.mark.parametrize(
    "change",
    [
        {"turn": {**asdict(Turn("bar_yaw")), "symmetry": 0.0}},
        {"until": {**asdict(Condition("lamp", 0, 0.0)), "threshold": math.nan}},
        {"others": [{"hand": "right"}]},
        {"back": "far"},
    ],
)
def test_a_later_part_of_a_stage_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    data = StagedProgram((Stage(LEFT, HERE),)).to_data()
    data["stages"][0].update(change)
    with pytest.raises(PolicyError, match="staged program"):
        StagedProgram.from_data(data)


def test_it_suits_where_a_hand_has_something_to_act_on() -> None:
    assert StagedSearch.suits(PLAIN)
    assert StagedSearch.suits(SPEC)
    assert all(StagedSearch.suits(spec) for spec in LAYOUTS.values())
    assert not StagedSearch.suits(replace(LAYOUTS["plain"], positions=("hand_position",)))
    assert not StagedSearch.suits(replace(PLAIN, action=PLAIN.action[:1], low=(-1.0,), high=(1.0,)))


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
    ranges = SeenRanges(spec)
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
