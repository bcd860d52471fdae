"""The translated controller acts as the original, bit for bit; what cannot be translated is refused with its line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import deploy as bench
from helpers import fakes
from helpers.staged import coordinated, programs, two_hands
from trace_robot.deploy import OutsideSubsetError
from trace_robot.deploy.ir import StraightCode
from trace_robot.deploy.python_code import write_python
from trace_robot.deploy.translate import translate
from trace_robot.search.feedback_law import Feedback, FeedbackLaw, Quantity, Sum
from trace_robot.search.feedback_law import write as write_law
from trace_robot.search.staged import StagedProgram, write
from trace_robot.spec import Array, Field, TaskSpec

SPEC = TaskSpec(
    name="bench",
    instruction="",
    observation=(Field("p", 0, 3, "m"), Field("q", 3, 6, "m"), Field("a", 6, 7, "rad"), Field("b", 7, 8)),
    action=(Field("u", 0, 2),),
    observation_size=8,
    low=(-math.inf,) * 2,
    high=(math.inf,) * 2,
    horizon=10,
)
HEAD = "import math\nimport numpy as np\nfrom trace_robot import Bounds, bundle, node\n"


def translated(text: str, spec: TaskSpec = SPEC) -> StraightCode:
    return translate([text], {part.name: part.size for part in spec.observation}, spec.action_size)


def names_of(text: str, spec: TaskSpec) -> dict[str, Any]:
    """Return the names of the Python that is written for a controller."""
    code = translated(text, spec)
    about = {
        "title": "t", "version": "0", "task": "t", "contract": "", "rate": None, "unused": [],
        "fields": {name: (size, "") for name, size in code.inputs.items()},
        "low": spec.low, "high": spec.high, "whole": [False] * spec.action_size,
    }  # fmt: skip
    names: dict[str, Any] = {"__name__": "written"}
    exec(compile(write_python(code, about), "written", "exec"), names)
    return names


def agree(text: str, spec: TaskSpec, observations: Array) -> None:
    """Assert that original and translation give the same float64 numbers, step by step."""
    act, names = bench.original(text), names_of(text, spec)
    controller, memory = names["Controller"](), dict[str, Any]()
    for row in observations:
        seen = spec.named(row)
        given = {name: np.asarray(seen[name]).tolist() for name in names["FIELDS"]}
        found = controller.decide(*names["numbers_of"](given))
        assert found == bench.flattened(act(seen, memory))


def wandering(seed: int, steps: int, size: int) -> Array:
    random = np.random.default_rng(seed)
    return random.uniform(-0.3, 0.3, size) + np.cumsum(0.02 * random.standard_normal((steps, size)), axis=0)


quick = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@quick
@given(programs, st.sampled_from(("raw", "pose")), st.integers(0, 1000))
def test_a_staged_program_acts_as_before(program: StagedProgram, control: str, seed: int) -> None:
    spec = fakes.point_mass_spec(control)
    agree(write(program, spec), spec, wandering(seed, 60, 11))


@quick
@given(coordinated(), st.sampled_from(("raw", "pose")), st.booleans(), st.integers(0, 1000))
def test_a_program_of_two_hands_acts_as_before(
    program: StagedProgram, control: str, yaw: bool, seed: int
) -> None:
    spec = two_hands(control, yaw=yaw)
    agree(write(program, spec), spec, wandering(seed, 60, 17))


def test_a_law_with_filters_a_switch_and_synergies_acts_as_before() -> None:
    quantities = (
        Quantity("number", 0), Quantity("angle", 6, 7), Quantity("difference", 1, 4), Quantity("action", 1),
        Quantity("number", 2, -1, "change", 0.3), Quantity("angle", 6, 7, "change", 0.7),
        Quantity("action", 0, -1, "average", 0.5),
    )  # fmt: skip
    synergies = (Sum(((0,), (1, 4)), (1.5, -2.0)),)
    outer = Feedback(
        (Sum(((7,), (5,)), (3.0, -1.0)), Sum(((3,), ()), (0.5, 0.1))), Sum(((1, 1), ()), (1.0, -1.0))
    )
    inner = Feedback((Sum(((2,),), (-4.0,)), Sum(((6,),), (2.0,))))
    law = FeedbackLaw(quantities, outer, inner, Sum(((0,), ()), (1.0, -0.1)), 0.05, synergies)
    spec = TaskSpec(
        "law",
        "",
        tuple(Field(f"n{i}", i, i + 1) for i in range(8)),
        SPEC.action,
        8,
        (-1.0, 0.0),
        (1.0, 5.0),
        10,
    )
    agree(write_law(law, spec), spec, wandering(1, 200, 8))


BODIES = {
    "a loop that leaves early": """
    total = 0.0
    for i, (x, y) in enumerate(zip(observation["p"], observation["q"])):
        if x > y:
            continue
        if i == 2 and x > 0:
            break
        total += x * (i + 1)
    return [total, len(observation["p"])]""",
    "a return in a loop": """
    for x in observation["p"]:
        if x > 0.1:
            return [x, 1.0]
    return [-1.0, 0.0]""",
    "a list that grows by one of two lengths": """
    found = []
    if observation["a"] > 0:
        found.append(observation["a"])
    found.append(observation["b"])
    return [found[0], len(found)]""",
    "an array that is filled": """
    action = np.zeros(2)
    if observation["a"] > 0:
        action[0] = observation["b"]
    action[1:] = [0.5]
    return action""",
    "texts and None in memory": """
    mode, mark = memory.get("mode", "search"), memory.get("mark")
    if mode == "search" and observation["a"] > 0:
        mode, memory["mark"] = "hold", observation["p"]
    elif mode == "hold" and mark is not None and np.linalg.norm(observation["p"] - mark) > 0.05:
        mode, memory["mark"] = "search", None
    memory["mode"] = mode
    return [1.0 if mode == "hold" else 0.0, 0.0 if memory.get("mark") is None else memory["mark"][2]]""",
    "a dict in memory that gets keys later": """
    seen = memory.setdefault("seen", {})
    if observation["a"] > 0:
        seen["first"] = observation["b"]
    if observation["a"] < -0.1 and "first" in seen:
        seen["second"] = seen["first"] + 1
    return [seen.get("second", 7.0), len(memory)]""",
    "integers": """
    memory["n"] = n = memory.get("n", -5) + 1
    return [n // 3 + n % 3 * 10, int(observation["a"] * 10) + round(observation["b"] * 10) + n ** 2]""",
    "math and numpy": """
    p, q = observation["p"], observation["q"]
    turn = math.remainder(math.atan2(q[1] - p[1], q[0] - p[0]) - observation["a"], math.pi)
    level = np.clip(np.sin(p) * 3 - np.abs(q), [-0.5, -0.2, -0.1], 0.4)
    return [turn + math.hypot(*p[:2]) + np.cross(p, q)[2], level.sum() + max(p) - min(*q) + np.max(q)]""",
    "all, any and comprehensions": """
    p = observation["p"]
    near = all(abs(x - y) < 0.2 for x, y in zip(p, observation["q"], strict=True))
    far = any(x > 0.3 for x in p if x > 0.1)
    return [sum([x * x for x in p]) + near, {"a": 2.0, "b": far}["b"]]""",
    "a function chosen by a table": """
    table = [{"do": math.sin, "by": 2.0}, {"do": lambda x: x + 1, "by": 3}]
    row = table[memory.get("i", 0)]
    memory["i"] = (memory.get("i", 0) + 1) % 2
    return [row["do"](observation["a"]) * row["by"], 0]""",
    "and and or as values": """
    a = observation["a"] > 0 and observation["b"]
    return [a or 3.0, (observation["a"] < 0 or None) is None]""",
    "a comparison in a chain": """
    return [-0.1 < observation['a'] <= observation['b'] < 0.3, not observation['a'] > 0]""",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_part_of_python_does_what_python_does(body: str) -> None:
    text = f"{HEAD}\ndef act(observation, memory):{'' if body.startswith(chr(10)) else chr(10)}{body}\n"
    agree(text, SPEC, wandering(3, 150, 8))


def test_the_data_of_a_parameter_is_its_number() -> None:
    head = f'{HEAD}gain = node(2.5, name="gain", trainable=True)\nends = node([0.25, 1.0], trainable=True)\n'
    body = 'def act(observation, memory):\n    return [gain.data * observation["a"], ends.data[0] * gain]\n'
    names = names_of(f"{head}\n\n{body}", SPEC)
    given = {"a": 0.4}
    assert names["Controller"]().decide(*names["numbers_of"](given)) == [1.0, 0.625]


def test_a_dot_product_and_a_norm_agree_to_the_last_bits() -> None:
    """numpy leaves them to BLAS, which may fuse multiplication and addition."""
    body = "return [observation['p'] @ observation['q'], np.linalg.norm(observation['p'] - observation['q'])]"
    text = f"{HEAD}\ndef act(observation):\n    {body}\n"
    act, names = bench.original(text), names_of(text, SPEC)
    for row in wandering(4, 100, 8):
        seen = SPEC.named(row)
        given = {name: np.asarray(seen[name]).tolist() for name in names["FIELDS"]}
        assert names["Controller"]().act(given) == pytest.approx(act(seen, {}), rel=1e-12, abs=1e-15)


REFUSED = {
    "    while observation['a'] > 0:\n        pass\n    return [0, 0]": "line 5: a while loop has no bound",
    "    return [observation['c'], 0]": "line 5: the observation has no field 'c'; it has: p, q, a, b",
    "    return [0, 0, 0]": "line 4: act must return 2 numbers, got 3",
    "    import os\n    return [0, 0]": "line 5: os cannot be translated; only math and numpy can",
    "    return [np.random.rand(), 0]": "line 5: numpy.random cannot be translated",
    "    memory.setdefault('all', []).append(1.0)\n    return [0, 0]": "what memory holds differs in every step",
    "    return act(observation, memory)": "line 5: functions call each other too deeply",
    "    print(1)\n    return [0, 0]": "line 5: 'print' has no value on every path to here",
    "    for i in range(int(observation['a'])):\n        pass\n    return [0, 0]": "line 5: the bounds of a range must",
    "    try:\n        pass\n    except ValueError:\n        pass\n    return [0, 0]": "line 5: try cannot be translat",
    "    p = observation['p']\n    p += 1.0\n    return [p[0], 0]": "line 6: an array is changed in place",
    "    x = 9 ** 9 ** 9\n    return [x, 0]": "line 5: an integer can be raised to a constant power from 0 to 8",
    "    x = [0] * 10 ** 8\n    return [x[0], 0]": "line 5: a list can be added to a list, or repeated",
    "    raise ValueError(1)": "line 5: the controller always fails here: the controller raises",
    "    return [f'{1}', 0]": "line 5: JoinedStr cannot be translated",
    "    global x\n    return [0, 0]": "line 5: state must be kept in memory",
    "    memory['f'] = math.sin\n    return [0, 0]": "memory can hold numbers, texts, None",
    "    return (": "line 5: not valid Python",
}


@pytest.mark.parametrize(("body", "reason"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_cannot_be_translated_is_refused_with_line_and_reason(body: str, reason: str) -> None:
    with pytest.raises(OutsideSubsetError) as caught:
        translated(f"{HEAD}def act(observation, memory):\n{body}\n")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "open(__file__ + '.out', 'w')\n",
        "__import__('os').system('touch hacked')\n",
        "@bundle\ndef f():\n    pass\nf.__globals__['x'] = 1\n",
        "x = " + "[" * 5000 + "]" * 5000 + "\n",
        "x = " + "-" * 5000 + "1\n",
        "x = " + "+".join(["1"] * 30000) + "\n",
        "for i in range(4000):\n    for j in range(4000):\n        for k in range(4000):\n            x = i\n",
    ],
    ids=["open", "import", "globals", "brackets", "minus", "sum", "loops"],
)
def test_nothing_of_a_controller_runs_and_no_text_is_too_much(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutsideSubsetError, match=r"^line "):
        translated(f"{HEAD}{text}\ndef act(observation):\n    return [0, 0]\n")
    assert list(tmp_path.iterdir()) == []


def test_what_nothing_depends_on_is_neither_read_nor_remembered() -> None:
    code = translated(
        "def act(observation, memory):\n    memory['last'] = observation['p']\n    return [observation['a'], 0]\n"
    )
    assert code.inputs == {"a": 1}
    assert code.slots == {}


def test_the_worst_case_is_that_of_the_longest_branch() -> None:
    body = "    a = observation['a']\n    if a > 0:\n        a = a * a * a + a\n    return [a, 0]\n"
    counts = translated(f"def act(observation):\n{body}").counts
    assert counts == {"comparisons": 1, "branches": 1, "additions and multiplications": 3}
