"""Suggested values: converted by type, checked, never silently changed."""

import math
import time
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trace_robot.errors import ValueMismatchError
from trace_robot.trace import Bounds, Choices, bundle, convert, node
from trace_robot.trace.builtins import equal
from trace_robot.trace.constraints import check_code, convert_for
from trace_robot.trace.shortening import shorten

Point = namedtuple("Point", "x y")

FITTING: list[tuple[Any, Any, Any]] = [
    ("False", True, False),
    ("true", False, True),
    (0, True, False),
    (np.True_, False, True),
    ("7", 1, 7),
    (7.0, 1, 7),
    ("-2.0", 1, -2),
    (3, 1.5, 3.0),
    ("1e-3", 1.5, 1e-3),
    (" 2.5 ", 1.5, 2.5),
    (np.array(2.5), 1.5, 2.5),
    ("inf", math.inf, math.inf),
    (2.5, np.float32(1), np.float32(2.5)),
    (5, np.int8(1), np.int8(5)),
    ("1+2j", 1j, 1 + 2j),
    ("free text", "old", "free text"),
    ("True", "old", "True"),
    (5, "old", "5"),
    ("[1, 2]", [0.5], [1.0, 2.0]),
    ("[1, 2]", [], [1, 2]),
    ((1, 2), [1], [1, 2]),
    ("(1, 2)", (0,), (1, 2)),
    ([1, 2], {0}, {1, 2}),
    (["True", False], [True], [True, False]),
    ([1, "a"], [1, "b"], [1, "a"]),
    ([3, 4], Point(1, 2), Point(3, 4)),
    ('{"a": 1, "b": true}', {"a": 0.5}, {"a": 1.0, "b": True}),
    ("{'a': '2'}", {"a": 0.5}, {"a": 2.0}),
    ("[1, 2]", np.zeros(2), np.array([1.0, 2.0])),
    ("array([1., 2.], dtype=float32)", np.zeros(2, np.float32), np.array([1, 2], np.float32)),
    ("[[1. 2.]\n [3. 4.]]", np.zeros((2, 2)), np.array([[1.0, 2.0], [3.0, 4.0]])),
    ([1.0, 2.0], np.zeros(2, np.int64), np.array([1, 2])),
    ([True, False], np.zeros(2, bool), np.array([True, False])),
    ("None", None, None),
    ("anything", None, "anything"),
    (5, None, 5),
    (node(5), node(1.5), 5.0),
]

MISFITS: list[tuple[Any, Any, str]] = [
    ("maybe", True, "the value must be True or False, got 'maybe'"),
    (2, True, "the value must be True or False, got '2'"),
    (2.5, 1, "the value must be a whole number, got '2.5'"),
    (True, 1, "the value must be a whole number, got 'True'"),
    ("seven", 1, "the value must be a whole number, got 'seven'"),
    ("inf", 1, "the value must be a whole number, got 'inf'"),
    (None, 1.5, "the value must be a number, got 'None'"),
    ("nan", 1.5, "the value must be a finite number, got 'nan'"),
    (10**400, 1.5, "the value must be a finite number"),
    ([1], 1.5, "the value must be a number, got '[1]'"),
    (300, np.int8(1), "the value must be between -128 and 127, got '300'"),
    ("x", 1j, "the value must be a complex number, got 'x'"),
    (["a"], "old", "the value must be text, got \"['a']\""),
    (True, "old", "the value must be text, got 'True'"),
    ("1, 2", {1: 2}, "the value must be a dict, got '1, 2'"),
    ({"b": 1}, {"a": 1}, "the value must be a dict with a, got \"{'b': 1}\""),
    (5, [1], "the value must be a list, got '5'"),
    (["a"], [1.5], "the value must be a number, got 'a'"),
    ([1], Point(1, 2), "the value must be a Point of 2 items, got '[1]'"),
    ([1, 2, 3], np.zeros(2), "the value must be an array of shape (2,), not (3,), got '[1, 2, 3]'"),
    ([[1], [2, 3]], np.zeros(2), "the value must be an array of shape (2,), got '[[1], [2, 3]]'"),
    (["a", "b"], np.zeros(2), "the value must be an array of numbers of shape (2,), got \"['a', 'b']\""),
    ([1.0, math.nan], np.zeros(2), "the value must be an array of finite numbers, got '[1.0, nan]'"),
    ([1.5, 2], np.zeros(2, int), "the value must be an array of int64, got '[1.5, 2]'"),
    ([1e300, 0], np.zeros(2, np.float32), "the value must be an array of float32, got '[1e+300, 0]'"),
    ([1j, 0], np.zeros(2), "the value must be an array of numbers of shape (2,)"),
    (5, object(), "the value must be of type object, got '5'"),
]


@pytest.mark.parametrize(("value", "like", "expected"), FITTING)
def test_a_value_that_fits_gets_the_type_of_the_one_it_replaces(value: Any, like: Any, expected: Any) -> None:
    made = convert(value, like)
    assert equal(made, expected)
    assert type(made) is type(expected)
    if isinstance(expected, np.ndarray):
        assert made.dtype == expected.dtype


@pytest.mark.parametrize(
    ("value", "like", "message"), [each for each in MISFITS if type(each[1]) is not object]
)
def test_a_value_that_does_not_fit_is_refused_with_the_reason(value: Any, like: Any, message: str) -> None:
    with pytest.raises(ValueMismatchError) as caught:
        convert(value, like)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("value", "constraint", "message"),
    [
        (21.0, Bounds(0, 20), "the value must be between 0 and 20, got 21.0"),
        (-1.0, Bounds(low=0), "the value must be at least 0, got -1.0"),
        (1.0, Bounds(high=0), "the value must be at most 0, got 1.0"),
        ([0.0, 3.0], Bounds(0, 2), "the value must be between 0 and 2, got [0.0, 3.0]"),
        ("c", Choices("a", "b"), "the value must be one of 'a', 'b', got c"),
        (1, Choices([True, 2]), "the value must be one of True, 2, got 1"),
        ("x", Bounds(0, 1), "the value must be a number between 0 and 1, got x"),
    ],
)
def test_constraints_are_enforced_not_applied(value: Any, constraint: Any, message: str) -> None:
    with pytest.raises(ValueMismatchError) as caught:
        convert(value, like=value, constraint=constraint)
    assert str(caught.value) == message


def test_values_on_the_bounds_fit() -> None:
    assert convert(20, 1.0, Bounds(0, 20)) == 20.0
    assert convert("b", "a", Choices("a", "b")) == "b"
    assert equal(convert([0, 20], np.zeros(2), Bounds(0, 20)), np.array([0.0, 20.0]))
    assert str(Bounds()) == "any number"
    assert convert(1e9, 1.0, Bounds()) == 1e9


def test_a_constraint_that_is_text_is_for_the_reader() -> None:
    assert convert(-5, 1.0, "must be positive") == -5.0


def test_a_constraint_of_ones_own_is_asked() -> None:
    class Even:
        def check(self, value: Any) -> str:
            return "" if value % 2 == 0 else "even"

    assert convert("4", 2, Even()) == 4
    with pytest.raises(ValueMismatchError, match="the value must be even, got 3"):
        convert("3", 2, Even())


def test_a_parameter_says_how_its_values_are_converted() -> None:
    gain = node(4.0, trainable=True, constraint=Bounds(0, 20))
    assert convert_for(gain, "5") == 5.0
    with pytest.raises(ValueMismatchError, match="between 0 and 20"):
        convert_for(gain, "50")


@bundle(trainable=True)
def act(x: Any) -> Any:
    return x


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def act(x) return x", "the code of act is not Python in line 1: expected ':'"),
        ("def other(x): return x", "the code must define the function act, it defines other"),
        ("x = 1", "the code must define the function act, it defines no function"),
        (5, "the code of act must be text, got 5"),
        ("def act(x):\n  return '\0'", "the code of act is not Python"),
    ],
)
def test_code_must_be_python_that_defines_the_function(text: Any, message: str) -> None:
    with pytest.raises(ValueMismatchError) as caught:
        convert_for(act.parameter, text)
    assert str(caught.value).startswith(message)


def test_code_that_fits_comes_back_as_it_is() -> None:
    text = "import math\n\ndef act(x):\n    return math.pi"
    assert convert_for(act.parameter, text) is text
    assert check_code("async def act(): ...", "act") == "async def act(): ..."


numbers = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.one_of(st.booleans(), st.integers(-(10**9), 10**9), numbers, st.none()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(plain)
def test_what_a_value_writes_itself_as_converts_back_to_it(value: Any) -> None:
    made = convert(repr(value), like=value)
    assert equal(made, value)
    assert type(made) is type(value)


@settings(deadline=None)
@given(plain, plain)
def test_conversion_gives_the_type_of_the_old_value_or_an_error(value: Any, like: Any) -> None:
    try:
        made = convert(value, like)
    except ValueMismatchError:
        return
    assert like is None or type(made) is type(like)


HEX = int("f" * 5000, 16)
ODD: list[tuple[Any, Any]] = [
    ("1" * 400, 1),
    (10**400, 1),
    (HEX, True),
    (HEX, "text"),
    (HEX, 1j),
    ("1e999", 1j),
    ("{[1]}", [1]),
    ("{[1]: 2}", {1: 2}),
    ([[1]], {1}),
    ([10**400, 1.0], np.zeros(2)),
    ("[" * 900 + "]" * 900, np.zeros(2)),
    ("[" * 900 + "]" * 900, {1: 2}),
    (["[" * 900], [1.0]),
    ("-" * 9000 + "1", [1]),
]


@pytest.mark.parametrize(("value", "like"), ODD, ids=range(len(ODD)))
def test_an_odd_value_is_a_mismatch_and_nothing_else(value: Any, like: Any) -> None:
    with pytest.raises(ValueMismatchError):
        convert(value, like, Bounds(0, 1))


def test_bounds_take_ragged_and_huge_numbers_for_what_they_are() -> None:
    assert Bounds(0, 1).check([[1], [1, 2]]) == "a number between 0 and 1"
    assert Bounds(0, 1).check([10**400, 1.0]) == "a number between 0 and 1"


def test_code_that_exhausts_the_parser_is_a_mismatch() -> None:
    for source in ("x = " + "-" * 9000 + "1", "x = a" + ".b" * 9000, "\0", "x = '\ud800'"):
        with pytest.raises(ValueMismatchError, match="the code of f is not Python"):
            check_code(source, "f")


@pytest.mark.parametrize(
    "text", ["import a{}\n", "from a{} import b\n", "import a{}", "x = 1; import \\\n a{}"]
)
def test_a_name_of_many_parts_is_refused_before_the_parser_joins_them_one_by_one(text: str) -> None:
    assert check_code(text.format(".a" * 900) + "\ndef f(): pass\n", "f")
    before = time.process_time()
    for parts in (".a" * 90_000, " . \\\n a" * 20_000):
        with pytest.raises(
            ValueMismatchError, match="the code of f is not Python: a name has more than 1000 parts"
        ):
            check_code(text.format(parts) + "\ndef f(): pass\n", "f")
    assert time.process_time() - before < 2, "ten seconds and more without the bound"


def test_what_is_shown_of_a_value_is_bounded_in_every_way() -> None:
    deep: Any = []
    for _ in range(2000):
        deep = [deep]
    assert shorten(deep) == "<list, nested too deeply to show>"
    assert shorten(HEX) == "<whole number of 20,000 bits>"
    assert shorten({"a": [HEX]}) == "{'a': [<whole number of 20,000 bits>]}"
