"""What an exception leaves behind."""

import json
from typing import Any

import pytest

from trace_robot.errors import TraceRobotError
from trace_robot.trace import ExceptionNode, ExecutionError, backward, bundle, node, stop_tracing


def helper(x: Any) -> Any:
    return 1 / x


@bundle()
def inverted(x: Any) -> Any:
    y = helper(x)
    return [y]


@bundle(trainable=True)
def learned(x: Any) -> Any:
    y = x + 1
    return y / 0


def error_of(function: Any, *args: Any) -> ExecutionError:
    with pytest.raises(ExecutionError) as caught:
        function(*args)
    return caught.value


def test_an_exception_becomes_a_node_with_the_inputs_as_parents() -> None:
    x = node(0)
    error = error_of(inverted, x)
    assert isinstance(error, TraceRobotError)
    assert isinstance(error.exception_node, ExceptionNode)
    assert error.exception_node.inputs == {"x": x}
    assert error.exception_node.data == "(ZeroDivisionError) division by zero"
    assert error.exception_node.create_feedback() == error.exception_node.data
    assert isinstance(error.__cause__, ZeroDivisionError)
    with pytest.raises(ValueError, match="style must be 'simple' or 'full', got 'odd'"):
        error.exception_node.create_feedback("odd")


def test_every_line_on_the_way_is_marked_in_its_function() -> None:
    marked = error_of(inverted, node(0)).exception_node.create_feedback("full")
    assert "    y = helper(x) <--- error raised in this call, see below" in marked
    assert "    return 1 / x <--- (ZeroDivisionError) division by zero" in marked
    assert marked.index("y = helper") < marked.index("return 1 / x")
    assert marked.endswith("\n(ZeroDivisionError) division by zero")


def test_the_failing_line_of_a_parameter_is_marked_in_its_text() -> None:
    error = error_of(learned, 1)
    marked = error.exception_node.create_feedback("full")
    assert marked.startswith("def learned(x: Any) -> Any:\n    y = x + 1\n    return y / 0 <--- (Zero")
    assert "trace_robot" not in marked
    assert error.exception_node.inputs["__code"] is learned.parameter
    assert str(error) == marked


def test_a_helper_in_the_parameter_is_marked_in_the_same_text() -> None:
    function = learned.detach()
    function.parameter.data = (
        "def inner(x):\n    assert x\n    return x\n\ndef learned(x):\n    return inner(x)"
    )
    marked = error_of(function, 0).exception_node.create_feedback("full")
    assert marked.count("def learned") == 1
    assert "    assert x <--- (AssertionError)\n" in marked
    assert "    return inner(x) <--- error raised in this call, see below" in marked


def test_code_that_is_not_python_is_marked_where_it_stops_being_so() -> None:
    function = learned.detach()
    function.parameter.data = "def learned(x):\n    return x +\n"
    error = error_of(function, 1)
    assert isinstance(error.__cause__, SyntaxError)
    assert error.exception_node.inputs == {"__code": function.parameter}
    assert "    return x + <--- (SyntaxError) invalid syntax" in str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "(SyntaxError) the code must define 'learned', it defines no function"),
        ("def a(x): pass\ndef b(x): pass", "(SyntaxError) the code must define 'learned', it defines a, b"),
        (
            "import absent_module\ndef learned(x): return x",
            "(ModuleNotFoundError) No module named 'absent_module'",
        ),
        ("def learned(x=1/0): return x", "(ZeroDivisionError) division by zero"),
        (5, "(TypeError) code must be text, got 5"),
        ("def learned(x): return x\nif True:\n    return 5", "(SyntaxError) 'return' outside function"),
    ],
)
def test_code_that_gives_no_function_says_why(text: Any, message: str) -> None:
    function = learned.detach()
    function.parameter.data = text
    assert error_of(function, 1).exception_node.data == message


def test_a_function_of_another_name_is_taken_if_it_is_the_only_one() -> None:
    function = learned.detach()
    function.parameter.data = "def renamed(x):\n    return x"
    assert function(3) == 3


class Odd(Exception):
    def __str__(self) -> str:
        return "two\nlines"


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (AssertionError(), "(AssertionError)"),
        (StopIteration(), "(StopIteration)"),
        (KeyError("key"), "(KeyError) 'key'"),
        (ValueError(1, 2), "(ValueError) (1, 2)"),
        (RecursionError("deep"), "(RecursionError) deep"),
        (Odd(), "(Odd) two lines"),
        (OSError(2, "gone"), "(FileNotFoundError) [Errno 2] gone"),
    ],
)
def test_an_exception_of_any_kind_is_one_line_and_kept_as_the_cause(raised: Exception, message: str) -> None:
    @bundle()
    def fails() -> None:
        raise raised

    error = error_of(fails)
    assert error.exception_node.data == message
    assert error.__cause__ is raised


def test_keyboard_interrupts_are_not_caught() -> None:
    @bundle()
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert inverted(1) == [1.0]


def test_infinite_recursion_is_an_execution_error() -> None:
    @bundle(trainable=True)
    def endless(x: Any) -> Any:
        return endless(x)

    error = error_of(endless, 1)
    assert isinstance(error.__cause__, RecursionError)
    assert len(str(error)) < 1000


def test_an_error_inside_an_inner_bundle_keeps_the_first_cause_and_all_marks() -> None:
    @bundle()
    def outer(x: Any) -> Any:
        return learned(x)

    x = node(1)
    error = error_of(outer, x)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert "return learned(x) <--- error raised in this call, see below" in str(error)
    assert "return y / 0 <--- (ZeroDivisionError)" in str(error)
    assert backward(error.exception_node, "fix").parameters == (learned.parameter,)


def test_a_failing_operator_is_an_execution_error_with_its_operands() -> None:
    x, y = node(1, trainable=True), node(0)
    error = error_of(lambda: x / y)
    assert error.exception_node.parents == [x, y]
    summary = backward(error.exception_node, "no").summary()
    (line,) = summary.code
    assert line.endswith(f"= divide(x={x.py_name}, y={y.py_name})")
    assert list(summary.outputs.values()) == [("(ZeroDivisionError) division by zero", None)]


def test_frames_of_libraries_are_not_shown() -> None:
    @bundle()
    def parses(text: Any) -> Any:
        return json.loads(text)

    marked = str(error_of(parses, "{"))
    assert "return json.loads(text) <--- (JSONDecodeError)" in marked
    assert "def decode" not in marked


def test_exceptions_pass_as_they_are_without_catch_execution_error() -> None:
    @bundle(catch_execution_error=False)
    def fails() -> None:
        raise KeyError("key")

    with pytest.raises(KeyError):
        fails()
    with stop_tracing(), pytest.raises(KeyError):
        fails()


def test_without_tracing_an_exception_node_has_no_parents() -> None:
    with stop_tracing():
        error = error_of(inverted, node(0))
        assert error.exception_node.parents == []
        assert "<--- (ZeroDivisionError)" in str(error)
        assert error_of(lambda: node(1) / 0).exception_node.parents == []
        assert "return y / 0 <---" in str(error_of(learned, 1))
