"""Programs of any hands on MuJoCo robots: what can be written for them, and that the search finds it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from helpers import robots
from helpers.staged import Written
from trace_robot.fault import Fault
from trace_robot.sandbox.protocol import Interface
from trace_robot.sandbox.sandbox import Sandbox
from trace_robot.search import StagedSearch
from trace_robot.search.staged import Condition, Move, Stage, StagedProgram, Turn, Waypoint, code, run, write

SEEDS = range(100, 110)
HAND, LEFT, RIGHT = "hand_position", "left_position", "right_position"
ABOVE = (0.0, 0.0, 0.08)
WAIT = Waypoint(HAND, when="entry")


def successes(robot: robots.Robot, program: StagedProgram) -> int:
    return sum(robots.play(robot, run(program, robot.spec), seed)[0] for seed in SEEDS)


def gantry_program(bar: Turn | None, slot: Turn | None) -> StagedProgram:
    """Grasp the bar, carry it over the slot and set it down there."""
    stages = (
        Stage(HAND, Waypoint("bar_position", ABOVE), tolerance=0.01, turn=bar),
        Stage(HAND, Waypoint("bar_position"), tolerance=0.008),
        Stage(HAND, WAIT, 1.0, tolerance=0.0, max_decisions=10),
        Stage(HAND, Waypoint(HAND, ABOVE, "entry"), 1.0, tolerance=0.01),
        Stage(HAND, Waypoint("slot_position", ABOVE), 1.0, tolerance=0.01, turn=slot),
        Stage(HAND, Waypoint("slot_position"), 1.0, tolerance=0.006, max_decisions=30),
        Stage(HAND, WAIT, tolerance=0.0, max_decisions=10),
    )
    return StagedProgram(stages, gain=15.0)


def tray_program(*, both: bool) -> StagedProgram:
    """Bring the hands under the ends of the tray and lift."""

    def _pair(place: Waypoint, other: Waypoint, speed: float, *, both: bool = True) -> Stage:
        others = (Move("right", RIGHT, other, speed=speed),) if both else ()
        return Stage(LEFT, place, speed=speed, tolerance=0.01, others=others)

    below, up = (0.0, 0.0, -0.05), (0.0, 0.0, 0.2)
    under = _pair(Waypoint("left_end_position", below), Waypoint("right_end_position", below), 1.0)
    lift = _pair(Waypoint(LEFT, up, "entry"), Waypoint(RIGHT, up, "entry"), 0.4, both=both)
    return StagedProgram((under, lift), gain=15.0)


def lamp_program(lit: Condition | None) -> StagedProgram:
    """Press the button until the lamp is on, then go to the lever."""
    stages = (
        Stage(HAND, Waypoint("button_position", ABOVE), tolerance=0.01),
        Stage(HAND, Waypoint("button_position"), tolerance=0.015, max_decisions=20),
        Stage(HAND, Waypoint(HAND, ABOVE, "entry"), tolerance=0.01, expects=lit, back=2 if lit else 0),
        Stage(HAND, Waypoint("lever_position"), tolerance=0.01),
    )
    return StagedProgram(stages, gain=20.0)


def test_a_wrist_that_turns_puts_a_bar_into_a_slot_at_another_angle() -> None:
    robot = robots.Gantry()
    bar, slot = (Turn(name, symmetry=math.pi) for name in ("bar_yaw", "slot_yaw"))
    assert successes(robot, gantry_program(bar, slot)) >= 9
    assert successes(robot, gantry_program(bar, None)) <= 5


def test_two_hands_lift_a_tray_level_and_one_does_not() -> None:
    robot = robots.Tray()
    assert successes(robot, tray_program(both=True)) >= 9
    assert successes(robot, tray_program(both=False)) == 0


def test_pressing_again_until_a_lamp_is_on_needs_the_way_back() -> None:
    robot = robots.Lamp()
    assert successes(robot, lamp_program(Condition("lamp", 0, 0.5))) >= 9
    assert successes(robot, lamp_program(None)) <= 8


@pytest.mark.parametrize(
    ("robot", "program"),
    [
        (robots.Gantry(), gantry_program(Turn("bar_yaw"), Turn(start="bar_position", end="slot_position"))),
        (robots.Tray(), tray_program(both=True)),
        (robots.Lamp(), lamp_program(Condition("lamp", 0, 0.5))),
    ],
    ids=["gantry", "tray", "lamp"],
)
def test_the_text_drives_a_robot_as_the_data_does(robot: robots.Robot, program: StagedProgram) -> None:
    program = replace(program, sight=0.5)
    runner, text = run(program, robot.spec), Written(code(program, robot.spec), robot.spec)
    observation = robot.reset(3)
    for _ in range(robot.spec.horizon):
        action = runner(observation)
        assert action.tobytes() == text(observation).tobytes()
        observation, _, success, failed = robot.step(action)
        if success or failed:
            break
    assert np.isfinite(observation).all()


@pytest.mark.parametrize("traced", [False, True])
def test_the_text_runs_in_the_sandbox_with_its_static_check(traced: bool) -> None:
    robot = robots.Gantry()
    program = gantry_program(Turn("bar_yaw"), Turn("slot_yaw"))
    program = replace(program, stages=(replace(program.stages[0], until=Condition("opening", 0, 9.0)),))
    runner, fields = run(program, robot.spec), {p.name: (p.start, p.stop) for p in robot.spec.observation}
    interface = Interface(robot.spec.observation_size, robot.spec.action_size, fields)
    with Sandbox(interface, preload=("trace_robot.trace",)) as box:
        assert box.load(write(program, robot.spec), trace=traced) is None
        assert box.reset() is None
        observation = robot.reset(0)
        for _ in range(30):
            action = runner(observation)
            (answer,) = box.call(observation[None])
            assert not isinstance(answer, Fault), answer
            assert answer.tobytes() == action.tobytes()
            observation = robot.step(action)[0]


def test_the_search_finds_how_two_hands_lift_a_tray() -> None:
    robot = robots.Tray()
    search = StagedSearch(robot.spec, range(3), seed=0)
    for _ in range(24):
        if search.exploration.solved:
            break
        search.tell([robots.outcome(robot, candidate) for candidate in search.ask()])
    assert search.best is not None
    program = StagedProgram.from_data(search.best.program or {})
    assert any(stage.others for stage in program.stages)
    assert successes(robot, program) >= 8
