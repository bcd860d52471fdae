"""Choosing among programs that solve the training conditions: on further conditions first, then under noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from helpers import fakes
from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.search import StagedSearch
from trace_robot.search.base import Steps
from trace_robot.search.staged import Stage, StagedProgram, Waypoint
from trace_robot.search.staged.evaluation import FIRST, SPARED, Individual, ProgramEvaluation
from trace_robot.search.staged.tuning import Tuning

SPEC = fakes.point_mass_spec()
TRAINING, CONFIRM = tuple(range(5)), tuple(range(5, 30))
Solves = Callable[[StagedProgram, int], bool]


def drive(step: Steps[Any], solves: Solves) -> list[Candidate]:
    """Answer everything that ``step`` asks; return what it asked."""
    asked: list[Candidate] = []
    try:
        candidates = next(step)
        while True:
            asked += candidates
            candidates = step.send([_outcome(candidate, solves) for candidate in candidates])
    except StopIteration:
        return asked


def _outcome(candidate: Candidate, solves: Solves) -> Outcome:
    program = StagedProgram.from_data(candidate.program or {})
    success = [solves(program, condition) for condition in candidate.seeds or ()]
    details = {"success": success, "steps": [10] * len(success), "simulator_steps": [30] * len(success)}
    return Outcome(candidate.id, 0.0, details=details)


def reaching(gain: float) -> StagedProgram:
    """A program that its gain tells from others, also when its constants are shaken."""
    stage = Stage("hand_position", Waypoint("goal_position"), max_decisions=30)
    return StagedProgram((stage,), gain, passes=1)


def evaluation() -> ProgramEvaluation:
    return ProgramEvaluation(SPEC, TRAINING, np.random.default_rng(0), CONFIRM)


def solved(evaluation: ProgramEvaluation, program: StagedProgram) -> Individual:
    one = evaluation.individual(program)
    drive(evaluation.run([one]), lambda program, condition: True)
    return one


def test_first_is_what_does_best_undisturbed_and_under_noise_taken_together() -> None:
    known = evaluation()
    tuning = Tuning(known)
    stage = reaching(10.0).stages
    programs = [StagedProgram(stage * count, passes=1) for count in (1, 2, 3)]
    brittle, sound, lucky = (solved(known, program) for program in programs)

    def solves(program: StagedProgram, condition: int) -> bool:
        """The brittle one bears no noise, the lucky one fails on a condition without it."""
        if program.passes == 0:
            return len(program.stages) < 3 or condition != CONFIRM[-1]
        return len(program.stages) > 2

    drive(tuning.screen([brittle, sound, lucky]), solves)
    assert [finalist.individual for finalist in tuning.finalists] == [sound, lucky, brittle]
    assert [finalist.confirmed for finalist in tuning.finalists] == [25, 24, 25]


def test_a_program_that_fails_often_is_spared_the_other_conditions_and_the_noise() -> None:
    known = evaluation()
    tuning = Tuning(known)
    poor, good = solved(known, reaching(30.0)), solved(known, reaching(5.0))
    asked = drive(tuning.screen([poor, good]), lambda program, condition: program.gain < 15)
    tried = [c for candidate in asked if candidate.parent == poor.id for c in candidate.seeds or ()]
    assert sorted(tried) == list(CONFIRM[:FIRST])
    assert SPARED < FIRST
    assert [finalist.individual for finalist in tuning.finalists] == [good]
    assert known.value(poor) < known.value(good)


def test_noise_comes_with_every_condition_in_turn() -> None:
    known = evaluation()
    asked: list[Candidate] = []
    for _ in range(2):
        asked += drive(known.robustness([reaching(5.0)], (0.8, 1.6, 3.0), 1), lambda program, condition: True)
    assert sorted(c for candidate in asked for c in candidate.seeds or ()) == [*TRAINING, *CONFIRM]


def test_what_was_measured_under_noise_before_counts_as_much_as_what_is_measured_now() -> None:
    known = evaluation()
    tuning = Tuning(known)
    drive(tuning.screen([solved(known, reaching(5.0))]), lambda program, condition: True)
    drive(tuning.measure_again(), lambda program, condition: False)
    (finalist,) = tuning.finalists
    assert finalist.episodes == 15 + 30
    assert abs(finalist.success - 15 / 45) < 1e-9


def test_a_budget_of_simulator_steps_ends_in_time_to_make_the_program_plainer() -> None:
    search = StagedSearch(SPEC, TRAINING, confirm=CONFIRM, budget=60_000)
    phases = []
    while not search.done:
        phases.append(search.phase)
        solves = lambda program, condition: condition != CONFIRM[0]  # noqa: E731
        search.tell([_outcome(candidate, solves) for candidate in search.ask()])
    assert phases[-1] == "simplify"
    assert search.evaluation.spent >= 0.85 * 60_000
    assert "24 of 25 more solved" in search.done
