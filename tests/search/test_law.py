"""Laws: the written text does what the data says, in the sandbox too."""

from __future__ import annotations

import json
import linecache
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trace_robot.errors import PolicyError
from trace_robot.policy import Policy
from trace_robot.sandbox import Interface, Limits, Sandbox
from trace_robot.search.feedback_law import Feedback, FeedbackLaw, LawRunner, Quantity, Sum, write
from trace_robot.spec import Field, TaskSpec
from trace_robot.trace import stop_tracing

SPEC = TaskSpec(
    name="arm",
    instruction="reach",
    observation=(
        Field("cosine_of_elbow", 0, 1, "", "of the angle between the links"),
        Field("sine_of_elbow", 1, 2),
        Field("goal", 2, 4, "m", "where to go"),
        Field("rate", 4, 5, "rad/s"),
        Field("forces", 5, 9, "N"),
    ),
    action=(Field("torque", 0, 2, "N m"),),
    observation_size=9,
    low=(-1.0, 0.0),
    high=(1.0, 5.0),
    horizon=10,
)
QUANTITIES = (*(Quantity("number", i) for i in range(9)), Quantity("angle", 0, 1))
STATEFUL = (
    *QUANTITIES[:5],
    Quantity("difference", 2, 6),
    Quantity("action", 1),
    Quantity("number", 4, -1, "change", 0.3),
    Quantity("angle", 0, 1, "change", 0.7),
    Quantity("difference", 3, 7, "change"),
    Quantity("number", 5, -1, "average", 0.3),
    Quantity("action", 0, -1, "average", 0.5),
    Quantity("action", 0, -1, "change", 1.0),
    Quantity("cosine", 3),
    Quantity("sine", 3, -1, "average", 0.4),
)
numbers = st.floats(-30, 30).map(lambda number: float(f"{number:.4g}"))


@st.composite
def sums(draw: st.DrawFn, count: int = 10) -> Sum:
    products = st.lists(st.integers(0, count - 1), max_size=2).map(lambda found: tuple(sorted(found)))
    found = tuple(draw(st.lists(products, max_size=6, unique=True)))
    return Sum(found, tuple(draw(numbers) for _ in found))


def feedbacks(count: int = 10) -> st.SearchStrategy[Feedback]:
    terms = sums(count)
    return st.builds(Feedback, controls=st.tuples(terms, terms), energy_gain=st.none() | terms)


plain_laws = st.builds(FeedbackLaw, quantities=st.just(QUANTITIES), outer=feedbacks())
switched = st.builds(
    FeedbackLaw,
    st.just(QUANTITIES),
    feedbacks(),
    inner=feedbacks(),
    switching_function=sums(),
    hysteresis=st.floats(0, 3).map(abs),
)


@st.composite
def stateful(draw: st.DrawFn) -> FeedbackLaw:
    """A law of changes, averages and the last action, some with synergies or a switch."""
    synergies = draw(st.lists(sums(len(STATEFUL)), max_size=2).map(tuple))
    count = len(STATEFUL) + len(synergies)
    outer = draw(feedbacks(count))
    if draw(st.booleans()):
        return FeedbackLaw(STATEFUL, outer, synergies=synergies)
    return FeedbackLaw(STATEFUL, outer, draw(feedbacks(count)), draw(sums(count)), 0.5, synergies)


laws = st.one_of(plain_laws, switched, stateful())
PLAIN = FeedbackLaw((Quantity("number", 4),), Feedback((Sum(((0,),), (1.0,)), Sum(((),), (0.5,)))))


def observations(seed: int, count: int = 12) -> Any:
    random = np.random.default_rng(seed)
    seen = random.standard_normal((count, 9)) * 10 ** random.uniform(-2, 1, (1, 9))
    turn = random.uniform(-np.pi, np.pi, count)
    seen[:, 0], seen[:, 1] = np.cos(turn), np.sin(turn)
    return seen


@settings(deadline=None)
@given(laws)
def test_law_survives_json(law: FeedbackLaw) -> None:
    assert FeedbackLaw.from_data(json.loads(json.dumps(law.to_data()))) == law


@settings(max_examples=100, deadline=None)
@given(laws, st.integers(0, 1000))
def test_written_controller_and_interpreter_give_the_same_actions(law: FeedbackLaw, seed: int) -> None:
    names: dict[str, Any] = {"__name__": "written"}
    text = write(law, SPEC)
    linecache.cache["written"] = (len(text), None, text.splitlines(True), "written")
    exec(compile(text, "written", "exec"), names)
    runner, memory = LawRunner(law, SPEC), {}  # type: ignore[var-annotated]
    for observation in observations(seed):
        action = runner(observation)
        assert action.dtype == np.float32
        with stop_tracing():
            answer = names["act"](SPEC.named(observation), memory)
        written = np.asarray([float(number) for number in answer.data], np.float32)
        assert np.array_equal(action, written)
        assert (action >= SPEC.low).all()
        assert (action <= SPEC.high).all()


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    fields = {field.name: (field.start, field.stop) for field in SPEC.observation}
    limits = Limits(call_seconds=5.0, load_seconds=10.0)
    with Sandbox(Interface(9, 2, fields), limits, preload=("trace_robot.trace",)) as box:
        yield box


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(switched, stateful()), st.booleans())
def test_written_controller_gives_the_same_actions_in_the_sandbox(
    box: Sandbox, law: FeedbackLaw, traced: bool
) -> None:
    assert box.load(write(law, SPEC), trace=traced) is None
    assert box.reset() is None
    runner = LawRunner(law, SPEC)
    for observation in observations(3):
        (answer,) = box.call(observation[None])
        assert isinstance(answer, np.ndarray), answer
        assert np.array_equal(answer, runner(observation))


@settings(max_examples=60, deadline=None)
@given(laws)
def test_written_controller_is_a_policy_with_a_named_bounded_constant_for_each_number(
    law: FeedbackLaw,
) -> None:
    text = write(law, SPEC)
    places = Policy.from_text(text).places
    constants = [place for place in places if place.kind == "number"]
    filters = {quantity.factor for quantity in law.quantities if quantity.memory}
    expected = sum(len(each.weights) for each in law.sums) + (law.inner is not None) + len(filters)
    assert len(constants) == len({place.name for place in constants}) == expected
    assert all(place.description for place in constants)
    assert all(place.constraint["low"] <= place.value <= place.constraint["high"] for place in constants)
    functions = {"steer", "pump", "hold", "is_near", "remember", "combine"}
    assert {place.name for place in places if place.kind == "code"} <= functions
    code = [line for line in text.splitlines() if "description=" not in line and ' name="' not in line]
    assert max(len(line) for line in code) <= (110 if law.quantities == QUANTITIES else 160)


def test_constants_are_described_by_what_the_environment_says_of_its_fields() -> None:
    law = FeedbackLaw(
        (QUANTITIES[9], QUANTITIES[2]), Feedback((Sum(((0,), (1, 1)), (2.0, 3.0)), Sum((), ())))
    )
    text = write(law, SPEC)
    assert "torque_1_gain_of_angle_of_elbow = node(" in text
    assert "torque_1_gain_of_goal_x_squared * goal_x * goal_x" in text
    assert 'angle_of_elbow = math.atan2(observation["sine_of_elbow"], observation["cosine_of_elbow"])' in text
    assert "(of the angle between the links)" in text


def test_a_law_that_is_near_stays_so_until_the_slack_is_used_up() -> None:
    still, push = Sum((), ()), Sum(((),), (1.0,))
    far, near = Feedback((still, still)), Feedback((push, push))
    law = FeedbackLaw((Quantity("number", 4),), far, near, Sum(((0,),), (1.0,)), hysteresis=0.5)
    runner, seen = LawRunner(law, SPEC), np.zeros(9)
    pushed = []
    for value in (-0.2, 0.1, -0.4, -0.6, -0.4):
        seen[4] = value
        pushed.append(bool(runner(seen)[0] > 0))
    assert pushed == [False, True, True, False, False]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"law": {}},
        {"law": {**PLAIN.to_data()["law"], "slack": float("nan")}},
        {"law": {**PLAIN.to_data()["law"], "near": PLAIN.to_data()["law"]["usual"]}},
        {"law": {**PLAIN.to_data()["law"], "quantities": []}},
        {"law": {**PLAIN.to_data()["law"], "synergies": [{"products": [[1]], "weights": [1.0]}]}},
        *(
            {
                "law": {
                    **PLAIN.to_data()["law"],
                    "quantities": [{"kind": "number", "index": 4, "other": -1, **more}],
                }
            }
            for more in ({"memory": "sum"}, {"memory": "change", "factor": 0.0}, {"factor": 1.5})
        ),
        {"law": {**PLAIN.to_data()["law"], "usual": {"pushes": [], "lack": None}}},
    ],
)
def test_what_is_no_law_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match="a feedback law must be what"):
        FeedbackLaw.from_data(data)


def test_a_law_for_another_environment_is_refused() -> None:
    with pytest.raises(PolicyError, match="the action of 'arm' has 2 numbers, the law gives 1"):
        LawRunner(FeedbackLaw((), Feedback((Sum((), ()),))), SPEC)
    with pytest.raises(PolicyError, match="no field of 'arm' shows observation 11, which the law reads"):
        LawRunner(FeedbackLaw((Quantity("number", 11),), PLAIN.outer), SPEC)
