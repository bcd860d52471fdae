"""The source of a function as a parameter."""

import copy
import linecache
import sys
from typing import Any

import pytest

from trace_robot.trace import (
    Node,
    bundle,
    node,
)

OFFSET = 100


@bundle()
def scaled(x, factor=2, *rest, shift=0, **options):  # type: ignore[no-untyped-def]
    """Scale x."""
    return x * factor + shift + sum(rest) + sum(options.values())


@bundle(trainable=True)
def learned(x, y=1):  # type: ignore[no-untyped-def]
    """Add.

    More words.
    """
    return x + y + OFFSET


def test_info_has_the_source_below_the_decorator() -> None:
    info = learned.info
    assert info["source"].startswith("def learned(x, y=1):")
    assert linecache.getline(__file__, info["line_number"]).startswith("def learned")
    assert info["doc"].startswith("[learned] Add.")


def test_the_source_is_a_parameter_with_the_signature_as_its_constraint() -> None:
    parameter = learned.parameter
    assert parameter.data.startswith('def learned(x, y=1):  # type: ignore[no-untyped-def]\n    """Add.')
    assert parameter.data.endswith("return x + y + OFFSET")
    assert "def learned(x, y=1):" in parameter.constraint
    assert "More words." in parameter.constraint
    assert parameter.base_name == "__code"
    assert parameter.key == "learned"
    assert learned.parameters() == [parameter]
    assert scaled.parameters() == []


def test_a_trainable_call_has_its_code_among_the_inputs() -> None:
    result = learned(1)
    assert result == 102
    assert result.inputs["__code"] is learned.parameter


def test_a_new_source_counts_from_the_next_call_on_and_is_compiled_once() -> None:
    function = learned.detach()
    before = function.fun
    assert function.fun is before
    function.parameter.data = function.parameter.data.replace("x + y", "x - y")
    assert function(5) == 104
    after = function.fun
    assert after is not before
    function(5)
    assert function.fun is after
    assert learned(5) == 106


def test_code_may_bring_imports_helpers_constants_and_classes() -> None:
    function = learned.detach()
    function.parameter.data = (
        "from __future__ import annotations\n"
        "import math as m\n"
        "LIMIT = 2\n"
        "class Box:\n    size = LIMIT\n"
        "def learned(x, y=1):\n    return helper(x) + Box.size + OFFSET\n"
        "def helper(x):\n    return m.floor(x)\n"
    )
    assert function(1.5) == 103
    assert "helper" not in globals()
    assert "LIMIT" not in globals()


def test_code_sees_what_the_module_holds_now(monkeypatch: pytest.MonkeyPatch) -> None:
    assert learned(1) == 102
    monkeypatch.setattr(sys.modules[__name__], "OFFSET", 0)
    assert learned(1) == 2


def test_code_sees_and_changes_the_variables_around_it() -> None:
    calls = 0
    step = 10
    helper = abs

    @bundle(trainable=True)
    def count(x: Any) -> Any:
        nonlocal calls
        calls += step
        return x

    count(1)
    step = 5
    count(1)
    assert calls == 15
    count.parameter.data = "def count(x):\n    return helper(x) + step"
    assert count(-3) == 8
    assert helper(1) == 1


def test_names_that_the_code_defines_itself_win_over_those_around_it() -> None:
    def helper(x: Any) -> Any:
        return x

    counter = 0

    @bundle(trainable=True)
    def uses(x: Any) -> Any:
        return helper(x) + counter

    assert uses(1) == 1
    uses.parameter.data = (
        "def helper(x):\n    return -x\n"
        "def uses(x):\n    global counter_of_the_module\n"
        "    counter_of_the_module = x\n    return helper(x) + counter\n"
    )
    counter = 10
    assert uses(1) == 9
    assert globals().pop("counter_of_the_module") == 1


def test_recursion_in_code_stays_within_one_node() -> None:
    @bundle(trainable=True)
    def factorial(n: Any) -> Any:
        assert not isinstance(n, Node)
        return 1 if n == 0 else n * factorial(n - 1)

    result = factorial(node(5))
    assert result == 120
    assert len(result.parents) == 2


def test_source_registered_with_linecache_is_found_without_a_file() -> None:
    text = (
        "from trace_robot import bundle\n\n"
        "@bundle(trainable=True)\n"
        "def act(x):\n    text = '''\n  kept\n'''\n    return len(text) + x\n"
    )
    name = "<policy of a test>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    module: dict[str, Any] = {"__name__": "policy"}
    exec(compile(text, name, "exec"), module)
    assert module["act"].parameter.data.startswith("def act(x):\n    text = '''\n  kept\n'''")
    assert module["act"](1) == 9


def test_a_method_source_is_dedented_but_its_texts_are_not() -> None:
    class Prompt:
        @bundle(trainable=True)
        def text(self) -> str:
            """Docstring
            goes on."""
            return """first
            second
    third"""

    expected = "first\n            second\n    third"
    assert Prompt().text() == expected
    assert Prompt.text.parameter.data.startswith('def text(self) -> str:\n    """Docstring\n    goes on."""')


def test_a_trainable_function_without_source_is_refused() -> None:
    namespace: dict[str, Any] = {}
    exec("def ghost(x): return x", namespace)
    with pytest.raises(TypeError, match=r"the source of .*ghost.* is not known"):
        bundle(trainable=True)(namespace["ghost"])
    with pytest.raises(TypeError, match="bundle takes a function, got 5"):
        bundle()(5)  # type: ignore[arg-type]
    assert bundle()(namespace["ghost"])(3) == 3


def test_detached_copies_have_their_own_parameters() -> None:
    for made in (learned.detach(), copy.deepcopy(learned), copy.copy(learned)):
        assert made.parameter is not learned.parameter
        assert made.parameter == learned.parameter
