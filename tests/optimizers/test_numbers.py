"""CMA-ES, literals in code, and tuning between proposals."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.randomness import global_numbers
from trace_robot.errors import OrderError, ValueMismatchError
from trace_robot.fault import Fault
from trace_robot.llm import ScriptedModel
from trace_robot.optimizers import CMAES, Candidate, OptoPrime, Outcome, ParameterSpec, Problem, Tuned
from trace_robot.optimizers.cma_es import SearchSpace
from trace_robot.optimizers.literals import find_constants, find_literals, is_sentinel, replace_literals
from trace_robot.optimizers.problem import Evidence
from trace_robot.optimizers.strategies import BestFirst, Trial

CODE = '''def act(x):
    """Ignore 3.5 here."""
    LIMIT = 0.05
    low = -0.25 if x[2.0] > 1.0 else 0.0
    return [x * 4.2 ** 2.0, low - LIMIT, 1e-9, 7, f"{0.5:.2f}"]
'''


def test_floats_that_carry_meaning_are_found_and_structure_is_left_out() -> None:
    assert [(literal.value, literal.line) for literal in find_literals(CODE)] == [
        (0.05, 3),
        (-0.25, 4),
        (4.2, 5),
    ]


def test_new_numbers_go_to_the_places_of_the_old() -> None:
    changed = replace_literals(CODE, [0.125, 0.5, -3.0])
    assert "LIMIT = 0.125\n" in changed
    assert "low = 0.5 if x[2.0] > 1.0 else 0.0" in changed
    assert "[x * -3.0 ** 2.0," in changed


def test_places_are_right_behind_letters_of_several_bytes() -> None:
    source = "def act(x):\n    größe = 'ü' ; y = 0.5\n    return y\n"
    assert replace_literals(source, [0.75]) == source.replace("0.5", "0.75")


def test_code_that_cannot_be_parsed_has_no_numbers() -> None:
    assert find_literals("def act(x:\n  return 0.5") == []


@given(st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=3, max_size=3))
def test_code_with_any_new_numbers_runs_with_them(numbers: list[float]) -> None:
    class Observation(float):
        def __getitem__(self, key: float) -> float:
            return key

    names: dict[str, Any] = {}
    exec(replace_literals(CODE, numbers), names)
    limit, low, gain = numbers
    power, difference, *rest = names["act"](Observation(1.0))
    assert power == pytest.approx(math.copysign(gain * gain, gain), rel=1e-4)  # -3.0 ** 2.0 is -9.0
    assert difference == pytest.approx(low - limit, abs=1e-5 * (abs(low) + abs(limit)))
    assert rest == [1e-9, 7, "0.50"]


def sphere(problem: Problem, candidate: Candidate) -> Outcome:
    total = sum(float(((np.asarray(value) - 3.3) ** 2).sum()) for value in candidate.values.values())
    return Outcome(candidate.id, -total)


def run(optimizer: Any, problem: Problem, most: int = 100) -> None:
    for _ in range(most):
        asked = optimizer.ask()
        if not asked:
            return
        optimizer.tell([sphere(problem, candidate) for candidate in asked])


NUMBERS = Problem(
    (
        ParameterSpec("x", "number", 4.0, constraint=(0, 10)),
        ParameterSpec("shape", "array", [1.0, 2.0]),
        ParameterSpec("count", "number", 7),
        ParameterSpec("free", "text", "untouched"),
    )
)


def numeric(problem: Problem, candidate: Candidate) -> Outcome:
    values = {name: value for name, value in candidate.values.items() if name != "free"}
    return sphere(problem, Candidate(candidate.id, None, values))


def test_cma_es_finds_the_optimum_of_numbers_arrays_and_whole_numbers() -> None:
    optimizer = CMAES(NUMBERS, evaluations=600)
    while not optimizer.done:
        optimizer.tell([numeric(NUMBERS, candidate) for candidate in optimizer.ask()])
    assert optimizer.best is not None
    values = optimizer.best.values
    assert values["x"] == pytest.approx(3.3, abs=0.05)
    assert values["shape"] == pytest.approx([3.3, 3.3], abs=0.05)
    assert values["count"] == 3
    assert values["free"] == "untouched"


def test_cma_es_stays_within_bounds_and_leaves_the_global_generator_alone() -> None:
    problem = Problem((ParameterSpec("x", "number", 0.5, constraint=(0, 1)),))
    before = global_numbers()
    optimizer = CMAES(problem, evaluations=60)
    run(optimizer, problem)
    assert all(0 <= trial.candidate.values["x"] <= 1 for trial in optimizer.trials)
    assert optimizer.best is not None
    assert optimizer.best.values["x"] == pytest.approx(1.0, abs=0.02)
    assert global_numbers() == before


def test_one_seed_gives_one_course() -> None:
    courses = []
    for seed in (1, 1, 2):
        optimizer = CMAES(Problem(NUMBERS.parameters[:2]), evaluations=40, seed=seed)
        run(optimizer, NUMBERS)
        courses.append([trial.candidate.to_data() for trial in optimizer.trials])
    assert courses[0] == courses[1] != courses[2]


def test_scores_that_are_no_numbers_rank_last_and_stop_nothing() -> None:
    problem = Problem(NUMBERS.parameters[:1])
    optimizer = CMAES(problem, evaluations=30)
    while not optimizer.done:
        asked = optimizer.ask()
        optimizer.tell([Outcome(c.id, float("nan") if c.id % 3 else -c.values["x"]) for c in asked])
    assert optimizer.best is not None
    assert optimizer.best.id % 3 == 0


def test_numbers_that_make_no_difference_are_given_up_soon() -> None:
    optimizer = CMAES(Problem(NUMBERS.parameters[:2]), evaluations=200)
    while not optimizer.done:
        optimizer.tell([Outcome(candidate.id, 1.0) for candidate in optimizer.ask()])
    assert optimizer.done == f"the numbers made no difference in {optimizer.asked} evaluations"
    assert optimizer.asked < 20


@pytest.mark.parametrize("elitist", [True, False])
def test_the_best_so_far_is_never_evaluated_twice(elitist: bool) -> None:
    problem = Problem(NUMBERS.parameters[:2])
    optimizer = CMAES(problem, evaluations=80, elitist=elitist)
    run(optimizer, problem)
    seen = [repr(trial.candidate.values) for trial in optimizer.trials]
    assert len(set(seen)) == len(seen)


def test_a_problem_without_numbers_is_an_error() -> None:
    with pytest.raises(ValueMismatchError, match="needs a number to change"):
        CMAES(Problem((ParameterSpec("act", "code", CODE),)))


def test_telling_cma_es_what_was_not_asked_is_an_error() -> None:
    with pytest.raises(OrderError, match="no candidate 5 waits for an outcome; waiting: none"):
        CMAES(NUMBERS).tell([Outcome(5, 1.0)])


LINE = "SLOPE = 0.5\n\n\ndef act(x):\n    return SLOPE * x\n"


def slope(candidate: Candidate) -> Outcome:
    """Score by the distance of the code's number from 0.8, and of gain from 2."""
    number = find_literals(str(candidate.values["act"]))
    if not number:
        return Outcome(candidate.id, -100.0, "no slope in it")
    off = abs(number[0].value - 0.8) + abs(candidate.values["gain"] - 2.0)
    return Outcome(candidate.id, -off, f"off by {off:.3f}", success=float(off < 0.02))


def tuned(answers: list[str], **options: Any) -> tuple[Tuned, ScriptedModel]:
    problem = Problem(
        (ParameterSpec("act", "code", "def act(x):\n    return 0\n"), ParameterSpec("gain", "number", 2.5))
    )
    model = ScriptedModel(answers)
    return Tuned(OptoPrime(problem, model), **{"evaluations": 60, **options}), model


def proposal(source: str, change: str = "") -> str:
    return f'<change>{change}</change><variable name="act">\n```python\n{source}\n```\n</variable>'


def test_numbers_of_a_better_proposal_are_tuned_without_the_model() -> None:
    optimizer, model = tuned([proposal(LINE, "a line")], evaluations=300, population=6)
    while not optimizer.done:
        optimizer.tell([slope(candidate) for candidate in optimizer.ask()])
    assert len(model.history) == 1
    assert optimizer.best is not None
    assert find_literals(optimizer.best.values["act"])[0].value == pytest.approx(0.8, abs=0.02)
    assert optimizer.done.startswith("solved")


def parking(candidate: Candidate) -> Outcome:
    """Score as a dense reward with a cost of motion: the slower the better, and nothing succeeds."""
    slopes = [abs(found.value) for found in find_literals(str(candidate.values["act"]))]
    speed = slopes[0] if slopes else 0.0
    still = speed < 0.2
    score = -0.5 if still else -1.0 - speed
    shown = Evidence((1,), ("Episode 1: failed.",), (False,), still=still)
    return Outcome(candidate.id, score, f"speed {speed:.2f}", 0.0, (score,), evidence=shown)


def test_standing_still_is_no_base_for_prompts_and_the_tuner_keeps_what_moves() -> None:
    problem = Problem((ParameterSpec("act", "code", "def act(x):\n    return 0\n"),))
    model = ScriptedModel([proposal(LINE, "a line"), proposal(LINE.replace("0.5", "0.7"), "faster")])
    inner = OptoPrime(problem, model, by_worth=True)
    optimizer = Tuned(inner, evaluations=40)
    while len(model.history) < 2:
        optimizer.tell([parking(candidate) for candidate in optimizer.ask()])
    assert inner.best_trial is not None
    assert inner.best_trial.candidate.origin == "start"  # it scores most, by doing nothing
    parent = inner.strategy.parent(inner.trials)
    assert parent.candidate.origin in ("model", "tuned")
    assert not any(trial.still for trial in inner.trials[1:])
    prompt = model.history[1][-1]["content"]
    shown = prompt.split("\n#Variables\n")[1].split("\n#Constraints\n")[0]
    assert "SLOPE = " in shown
    assert "it stands still and has score -0.5, which is not built on" in prompt
    assert "Trial 0: score -0.5" in prompt  # both are shown


def test_where_only_what_stands_still_runs_without_an_error_it_is_built_on() -> None:
    still = Evidence((1,), ("Episode 1: failed.",), (False,), still=True)
    outcome = Outcome(0, -0.5, "", 0.0, (-0.5,), evidence=still)
    broken = Outcome(
        1, -9.0, "", 0.0, (-9.0,), faults=(Fault("exception", "no", 1),), evidence=replace(still, still=False)
    )
    trials = [Trial.of(Candidate(number, None, {}), each) for number, each in enumerate((outcome, broken))]
    assert BestFirst().parent(trials).candidate.id == 0
    moving = Trial.of(Candidate(2, 0, {}), replace(outcome, candidate=2, score=-3.0, evidence=None))
    assert BestFirst().parent([*trials, moving]).candidate.id == 2
    won = replace(outcome, evidence=replace(still, still=False))
    assert BestFirst().parent([Trial.of(Candidate(0, None, {}), won), moving]).candidate.id == 0


def test_the_model_sees_which_numbers_tuning_changed() -> None:
    optimizer, model = tuned([proposal(LINE, "a line"), proposal(LINE.replace("0.5", "9.5"))], evaluations=8)
    while len(model.history) < 2:
        optimizer.tell([slope(candidate) for candidate in optimizer.ask()])
    prompt = model.history[1][-1]["content"]
    best = optimizer.inner.best_trial
    assert best is not None
    assert best.candidate.origin == "tuned"
    assert "numbers tuned in " in best.candidate.note
    assert "SLOPE: 0.5 to " in best.candidate.note
    tuned_to = find_literals(best.candidate.values["act"])[0].value
    assert f"SLOPE = {tuned_to}\n" in prompt
    remark = next(line for line in prompt.split("\n") if line.startswith(f"- Trial {best.candidate.id}: "))
    assert best.candidate.note in remark
    gain = re.search(r"took it from score (\S+) \(trial \d+\) to score (\S+)$", remark)
    assert gain is not None
    assert float(gain[1]) == pytest.approx(-0.8)
    assert float(gain[2]) == pytest.approx(best.outcome.score, abs=1e-3)


def test_the_model_sees_that_tuning_gained_nothing() -> None:
    optimizer, model = tuned([proposal(LINE, "a line"), proposal(LINE + "# 2\n")], evaluations=8)
    while len(model.history) < 2:
        asked = optimizer.ask()
        optimizer.tell([Outcome(c.id, -9.0 if c.origin == "tuning" else float(c.id)) for c in asked])
    line = r"- Trial \d+: its numbers were varied by CMA-ES in (8|9|10|11) evaluations, without a gain\n"
    assert re.search(line, model.history[1][-1]["content"])


FACTS = """import numpy as np

from trace_robot import fixed

GAIN = 4.5
LINK = fixed(0.31)
NEVER = 1e9
FAR = 999.0
OFFSET = np.array([0.1, fixed(0.2), -0.3])
LOW: float = -0.25
HALF = 0.5 * GAIN
WEIGHTS = {"near": 0.75, "far": [2.5]}
SPEED, REACH = 0.4, fixed(0.9)


class Arm:
    length = 0.6


def act(x, guess=0.35):
    middle = 0.5 * (x + 0.7)
    return fixed(middle)
"""


def test_constants_are_tuned_and_neither_literals_in_functions_nor_facts_nor_sentinels() -> None:
    assert [(constant.name, constant.value) for constant in find_constants(FACTS)] == [
        ("GAIN", 4.5),
        ("OFFSET[0]", 0.1),
        ("OFFSET[1]", -0.3),
        ("LOW", -0.25),
        ("WEIGHTS[0]", 0.75),
        ("WEIGHTS[1]", 2.5),
        ("SPEED", 0.4),
    ]


def test_a_tuned_candidate_differs_from_its_parent_in_constants_alone() -> None:
    problem = Problem((ParameterSpec("act", "code", FACTS),))
    optimizer = CMAES(problem, evaluations=12)
    optimizer.tell([Outcome(candidate.id, 0.0) for candidate in optimizer.ask()])
    changed = [str(candidate.values["act"]).split("\n") for candidate in optimizer.ask()]
    before = FACTS.split("\n")
    different = {
        old.split(" ")[0] for new in changed for old, now in zip(before, new, strict=True) if old != now
    }
    assert different == {"GAIN", "OFFSET", "LOW:", "WEIGHTS", "SPEED,"}
    assert all(line.endswith(", fixed(0.9)") for new in changed for line in new if "REACH" in line)


def test_a_sentinel_stays_in_an_array_and_between_bounds_is_a_quantity() -> None:
    problem = Problem(
        (
            ParameterSpec("cost", "array", [0.5, 1e9, 0.25]),
            ParameterSpec("force", "number", 2e6, constraint=(0, 1e7)),
            ParameterSpec("limit", "number", 1e9),
        )
    )
    space = SearchSpace(problem, problem.values)
    assert [dimension.label for dimension in space.dimensions] == ["cost[0]", "cost[2]", "force"]
    assert space.apply([1.0, 2.0, 3e6]) == {"cost": [1.0, 1e9, 2.0], "force": 3e6, "limit": 1e9}


@pytest.mark.parametrize("value", [1e6, -1e9, 999.0, 9999.0, 99999.9, 1e4, 1e5, float("inf")])
def test_a_number_that_stands_for_no_limit_is_a_sentinel(value: float) -> None:
    assert is_sentinel(value)


@pytest.mark.parametrize("value", [0.5, 9.0, 99.0, 990.0, 1000.0, 12_000.0, 250_000.0, -35.0])
def test_a_quantity_is_no_sentinel(value: float) -> None:
    assert not is_sentinel(value)


def test_0_1_s_tuning_of_all_literals_is_still_there_for_its_runs() -> None:
    inside = LINE.replace("SLOPE = 0.5\n\n\n", "").replace("SLOPE", "0.5")
    optimizer, _ = tuned([proposal(inside)], literals=True)
    while True:
        asked = optimizer.ask()
        if asked[0].origin == "tuning" and find_literals(asked[0].values["act"]):
            break
        optimizer.tell([slope(candidate) for candidate in asked])
    assert any(find_literals(candidate.values["act"])[0].value != 0.5 for candidate in asked)


def test_a_proposal_that_is_no_better_is_not_tuned() -> None:
    optimizer, model = tuned(
        [proposal(LINE), proposal("def act(x):\n    return 1\n"), proposal(LINE + "# 3\n")]
    )
    rounds = []
    while len(model.history) < 3:
        asked = optimizer.ask()
        rounds.append(asked[0].origin)
        optimizer.tell([Outcome(c.id, -10.0 if c.origin == "model" else -20.0 + c.id / 1000) for c in asked])
    last = [origin for origin in rounds if origin not in ("tuning", "tuned")]
    assert last.count("model") == 3
    assert rounds[-1] == "model"


def test_the_same_replies_and_outcomes_give_the_same_tuning() -> None:
    """A journal resumes a run by giving these again."""
    answers = [proposal(LINE), proposal(LINE.replace("0.5", "0.7")), proposal(LINE.replace("0.5", "0.6"))]

    def course() -> list[Any]:
        optimizer, model = tuned(answers, evaluations=20)
        seen = []
        for _ in range(9):
            asked = optimizer.ask()
            seen.append([candidate.to_data() for candidate in asked])
            outcomes = [slope(candidate) for candidate in asked]
            optimizer.tell([Outcome(o.candidate, o.score, o.feedback) for o in outcomes])
        return [*seen, model.history]

    first = course()
    assert {candidate["origin"] for asked in first[:-1] for candidate in asked} == {
        "start",
        "model",
        "tuning",
    }
    assert course() == first


def test_more_numbers_than_covariances_can_be_kept_of_are_tuned_by_their_variances() -> None:
    optimizer = CMAES(Problem((ParameterSpec("w", "array", [0.5] * 15_000),)))
    for _ in range(5):
        asked = optimizer.ask()
        optimizer.tell([Outcome(c.id, score=-float(np.abs(c.values["w"]).sum())) for c in asked])
    assert optimizer.best_trial is not None
    assert optimizer.best_trial.outcome.score > -7_500.0  # that of the start
    kept = [trial for trial in optimizer.trials if trial.candidate.values]
    assert kept == [optimizer.best_trial]  # of the others, only the ranks are needed


def test_more_numbers_than_a_controller_may_hold_are_refused() -> None:
    with pytest.raises(
        ValueMismatchError, match=r"CMA-ES tunes at most 20,000 numbers, got 20,001; make fewer"
    ):
        CMAES(Problem((ParameterSpec("w", "array", [0.5] * 20_001),)))
