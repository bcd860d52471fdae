"""Controllers as data: stored data finds its kind, and all kinds keep a protocol."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from helpers import fakes
from trace_robot.errors import OrderError, PolicyError
from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.search import search_for
from trace_robot.search.base import GeneratorSearch, Steps
from trace_robot.search.controller import KINDS, DataController, load_controller, write_out
from trace_robot.search.feedback_law import Feedback, FeedbackLaw, Quantity, Sum
from trace_robot.search.feedback_law.controller import LawController
from trace_robot.search.feedback_law.search import FeedbackLawSearch
from trace_robot.search.gait.search import GaitSearch
from trace_robot.search.staged import Stage, StagedProgram, Waypoint
from trace_robot.search.staged.controller import StagedController
from trace_robot.search.staged.search import StagedSearch
from trace_robot.spec import Field, TaskSpec

SPEC = fakes.point_mass_spec()
PLAIN = TaskSpec(
    name="plain", instruction="", observation=(Field("x", 0, 2),), action=(Field("u", 0, 1),),
    observation_size=2, low=(-1.0,), high=(1.0,), horizon=5,
)  # fmt: skip
PROGRAM = StagedProgram((Stage("hand_position", Waypoint("block_position")),))
LAW = FeedbackLaw((Quantity("number", 1),), Feedback((Sum(((0,),), (2.0,)),)))
CASES: list[tuple[DataController, TaskSpec]] = [
    (StagedController(PROGRAM), SPEC),
    (LawController(LAW), PLAIN),
    (LawController(LAW, probe=True), PLAIN),
]
# As version 0.1.0 stored them: the keys may never change, for journals hold hashes of this data.
STORED: dict[str, dict[str, Any]] = {
    "staged": {
        "stages": [
            {
                "mover": "hand_position",
                "place": {
                    "anchor": "block_position", "offset": [0.0, 0.0, 0.0], "when": "now", "toward": "", "along": 0.0,
                },
                "gripper": -1.0, "speed": 1.0, "close": 0.02, "patience": 50, "hold": "", "slack": 0.1,
            }
        ],
        "gain": 10.0, "rounds": 0,
    },
    "law": {
        "law": {
            "quantities": [{"kind": "number", "index": 1, "other": -1}],
            "usual": {"pushes": [{"products": [[0]], "weights": [2.0]}], "lack": None},
            "near": None, "nearness": None, "slack": 0.0,
        }
    },
}  # fmt: skip


@pytest.mark.parametrize(("controller", "spec"), CASES)
def test_stored_data_is_loaded_as_the_controller_that_it_was(
    controller: DataController, spec: TaskSpec
) -> None:
    data = json.loads(json.dumps(controller.to_data()))
    assert load_controller(data) == controller
    assert KINDS[controller.kind] is type(controller)


@pytest.mark.parametrize("controller", [StagedController(PROGRAM), LawController(LAW)])
def test_the_stored_form_is_that_of_the_first_version_byte_for_byte(controller: DataController) -> None:
    assert json.dumps(controller.to_data()) == json.dumps(STORED[controller.kind])


def test_a_probe_is_a_law_with_one_more_key() -> None:
    assert LawController(LAW, probe=True).to_data() == {**LawController(LAW).to_data(), "look": True}


@pytest.mark.parametrize(("controller", "spec"), CASES)
def test_a_controller_runs_as_data_and_is_written_out_as_text(
    controller: DataController, spec: TaskSpec
) -> None:
    runner = controller.start(spec)
    action = runner(np.zeros(spec.observation_size))
    assert action.shape == (spec.action_size,)
    assert not runner.finished
    candidate = Candidate(7, 3, {}, "note", "search", controller.to_data(), (1, 2))
    text = write_out(candidate, spec)
    assert (text.id, text.parent, text.program, text.seeds) == (7, 3, None, None)
    assert text.text == controller.write(spec) or "def act(" in text.values["act"]
    assert text.note.startswith("note")


def test_only_a_probe_measures_the_features_of_the_observation() -> None:
    seen, rewards = np.random.default_rng(0).standard_normal((6, 2)), np.zeros(5)
    assert LawController(LAW).measures(PLAIN, seen, rewards, {}) == {}
    assert "size_0" in LawController(LAW, probe=True).measures(PLAIN, seen, rewards, {})


@pytest.mark.parametrize("data", [{}, {"gain": 1.0}])
def test_data_of_no_kind_is_refused_with_its_keys(data: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match=r"of a kind in staged, law, gait, got the keys \["):
        load_controller(data)


def test_which_search_suits_an_environment_is_asked_of_the_searches() -> None:
    assert search_for(SPEC) is StagedSearch
    assert search_for(PLAIN) is FeedbackLawSearch
    asked: list[int] = []

    def conditions(count: int) -> range:
        asked.append(count)
        return range(count)

    for spec in (SPEC, PLAIN):
        search = search_for(spec).begin(spec, conditions, episodes=3, confirm=4, seed=0, budget=None)
        assert type(search) is search_for(spec)
    assert asked == [7, 256]


def test_where_a_place_is_seen_laws_are_searched_and_no_gait() -> None:
    swims = TaskSpec(
        name="anything",
        instruction="do something",
        observation=(Field("seen", 0, 2, "rad"), Field("rates", 2, 4, "rad/s")),
        action=(Field("torques", 0, 2),),
        observation_size=4,
        low=(-1.0, -1.0),
        high=(1.0, 1.0),
        horizon=1000,
        return_threshold=900.0,
    )
    assert search_for(swims) is GaitSearch
    place = (Field("target_from_tip", 0, 2, "m"), Field("rates", 2, 4, "rad/s"))
    assert search_for(replace(swims, observation=place)) is FeedbackLawSearch


def test_an_episode_of_a_law_ends_after_its_decisions_and_the_data_says_so() -> None:
    data: dict[str, Any] = {**STORED["law"], "decisions": 3}
    controller = load_controller(data)
    assert controller.to_data()["decisions"] == 3
    assert "decisions" not in load_controller(STORED["law"]).to_data()
    runner = controller.start(PLAIN)
    finished = []
    for _ in range(3):
        finished.append(runner.finished)
        runner(np.zeros(PLAIN.observation_size))
    assert [*finished, runner.finished] == [False, False, False, True]


def test_running_controllers_as_data_loads_no_search() -> None:
    """A worker only interprets data, and CMA-ES is slow to import."""
    code = (
        "import json, sys\n"
        "from trace_robot.search.controller import load_controller\n"
        "for data in json.load(sys.stdin).values(): load_controller(data)\n"
        "loaded = [name for name in sys.modules if name.startswith('trace_robot.')]\n"
        "print(*[name for name in loaded if name.endswith('search.base') or '.search.search' in name"
        " or name.endswith('.evaluation') or 'optimizers' in name], 'cma' in sys.modules)\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(STORED), capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == "False"


class _Counting(GeneratorSearch[int]):
    """Asks for one candidate, then for two, and is done."""

    @classmethod
    def suits(cls, spec: TaskSpec) -> bool:
        return False

    @classmethod
    def begin(cls, spec: TaskSpec, conditions: Any, **options: Any) -> _Counting:
        return cls()

    def __init__(self) -> None:
        self.scores: list[float] = []
        super().__init__()

    @property
    def champion(self) -> int | None:
        return len(self.scores) if len(self.scores) > 1 else None

    def _candidate(self, champion: int) -> Candidate:
        return Candidate(champion, None, {})

    def _search(self) -> Steps[None]:
        for count in (1, 2):
            outcomes = yield [
                Candidate(10 * count + k, None, {}, "tried", seeds=(1, 2)) for k in range(count)
            ]
            self.scores += [outcome.score for outcome in outcomes]
        self.done = "counted"


def test_a_search_is_sent_outcomes_in_the_order_of_its_candidates() -> None:
    search = _Counting()
    assert search.best is None
    assert search.ask() == search.ask()
    search.tell([Outcome(10, 1.0)])
    assert search.done == ""
    search.tell([Outcome(21, 3.0), Outcome(20, 2.0)])
    assert search.scores == [1.0, 2.0, 3.0]
    assert search.done == "counted"
    assert search.ask() == []
    assert search.best == Candidate(3, None, {})


def test_until_a_search_compares_its_best_is_provisional_and_says_how_well_it_is_known() -> None:
    search = _Counting()
    search.tell([Outcome(10, 1.0)])
    assert search.champion is None
    best = search.best
    assert best is not None
    assert (best.id, best.seeds) == (10, (1, 2))
    assert best.note == "tried: best so far, on 2 conditions alone"
    search.tell([Outcome(20, 9.0), Outcome(21, 9.0)])
    assert search.best == Candidate(3, None, {})


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([Outcome(1, 0.1), Outcome(2, 0.2)], 2),
        ([Outcome(1, 0.9), Outcome(2, 0.2, success=0.5)], 2),
        ([Outcome(1, 0.2), Outcome(2, 0.2)], 1),
        ([Outcome(1, float("nan")), Outcome(2, -5.0)], 2),
        ([Outcome(1, -5.0), Outcome(2, float("nan"))], 1),
    ],
)
def test_a_provisional_best_has_the_highest_success_then_score_and_came_first(
    outcomes: list[Outcome], expected: int
) -> None:
    search = _Counting()
    for outcome in outcomes:
        search._consider(Candidate(outcome.candidate, None, {}), outcome)
    best = search.best
    assert best is not None
    assert best.id == expected


def test_outcomes_that_are_missing_or_too_late_are_errors_that_say_so() -> None:
    search = _Counting()
    with pytest.raises(OrderError, match=r"tell wants an outcome for each .*, got none for \[10\]"):
        search.tell([])
    search.tell([Outcome(10, 0.0)])
    search.tell([Outcome(20, 0.0), Outcome(21, 0.0)])
    with pytest.raises(OrderError, match="but the search is done: counted"):
        search.tell([])
