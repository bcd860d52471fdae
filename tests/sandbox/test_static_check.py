"""The static check lets ordinary controllers through and survives any text."""

import ast
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trace_robot.sandbox import check
from trace_robot.sandbox.static_check.check import modules_of

ACT = "def act(observation):\n    return [0.0]\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("x = 1\nimport os", 2, "module 'os' is not for controllers"),
        ("from subprocess import run", 1, "module 'subprocess' is not for controllers"),
        ("import numpy as np\n\nnp.load('x')", 3, "numpy.load is not for controllers"),
        ("from numpy import memmap", 1, "numpy.memmap is not for controllers"),
        ("import random\nrandom._os", 2, "random._os is not for controllers"),
        ("open('x')", 1, "open is not for controllers"),
        ("().__class__", 1, "__class__ is not for controllers: use type(x)"),
        ("x.gi_frame", 1, "attribute 'gi_frame' is not for controllers"),
        ("getattr(x, y)", 1, "getattr must be called with the attribute's name in quotes"),
        ("f = getattr", 1, "getattr must be called with the attribute's name in quotes"),
        ("t.format(x)", 1, "a text that is formatted must be a literal: write an f-string"),
        ("class A:\n    def __del__(self): pass", 2, "__del__ is not for controllers"),
        ("from . import x", 1, "an import must name its module in full"),
        ("from random import *", 1, "import the names that are needed from random, not *"),
        ("from trace_robot import load_env", 1, "trace_robot.load_env is not for controllers"),
        ("globals()", 1, "globals is not for controllers: look up one name in quotes"),
    ],
)
def test_a_refusal_names_the_line_and_the_reason(text: str, line: int, message: str) -> None:
    first = check(f"{text}\n")[0]
    assert (first.category, first.line, first.message, first.static) == ("blocked", line, message, True)


def test_refusals_come_in_the_order_of_their_lines() -> None:
    assert [fault.line for fault in check("import os\nx = 1\nimport sys, socket\nopen('x')\n")] == [1, 3, 4]


def test_a_syntax_error_is_an_exception_with_its_line() -> None:
    (fault,) = check("x = 1\ndef act(o)\n    return 1\n")
    assert (fault.category, fault.line, fault.static) == ("exception", 2, True)
    assert fault.message.startswith("SyntaxError: ")


@pytest.mark.parametrize(
    "text",
    [
        "dir = 1\ninput = dir\nprint(input)",
        "def format(x): return x\nprint(format(1))",
        "class A:\n    def load(self): return self._x\n    _x = 1",
        "import numpy as np\nnp.random.default_rng(0); np.linalg.norm([1]); np.copy([1]); np.select([[True]], [[1]])",
        "T = 'a {:.2f}'\nprint(T.format(1.0), 'b {x}'.format(x=2))",
        "import operator\nsorted([], key=operator.attrgetter('cost.total'))",
        "class A:\n    def go(self, k): return getattr(self, f'do_{k}')()",
        "if 'n' not in globals():\n    n = globals()['n'] if 'n' in globals() else 0",
        "class A:\n    def __repr__(self): return self.__class__.__name__",
        "from trace_robot import Bounds, bundle, node",
        "from __future__ import annotations\nimport dataclasses, enum, typing, abc, re, json, math, cmath, time",
        "import scipy.optimize as so\nfrom scipy.spatial.transform import Rotation as R\nso.minimize; R.from_euler",
        "import sys\nprint(sys.float_info.epsilon, file=sys.stderr)",
    ],
)
def test_ordinary_python_passes(text: str) -> None:
    assert check(f"{text}\n{ACT}") == []


def test_the_modules_to_import_are_those_that_the_text_names() -> None:
    text = "import scipy\nimport numpy as np\nfrom scipy.spatial import transform\nimport os\nscipy.optimize.minimize\n"
    assert modules_of(text) == [
        "numpy",
        "scipy",
        "scipy.optimize",
        "scipy.spatial",
        "scipy.spatial.transform",
    ]
    assert "trace_robot.trace" in modules_of("from trace_robot import node")
    assert modules_of("def act(:") == []


@given(st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_any_text_is_answered(text: str) -> None:
    for fault in check(text):
        assert fault.message
        assert "\n" not in fault.message


TOKENS = [
    *"()[]{}:,.=-+~_@*#",
    *(
        "not ",
        "lambda x:",
        "if ",
        "else ",
        "for ",
        "in ",
        "x",
        "1",
        "'a'",
        "f'{x}'",
        "def ",
        "class ",
        "return ",
    ),
    *(
        "yield ",
        "await ",
        "match ",
        "case ",
        "**",
        ":=",
        "import ",
        "from ",
        "as ",
        "with ",
        "try",
        "except ",
    ),
    *("__class__", "getattr", "format", "\n", "\t", "\\", " "),
]


@given(st.lists(st.sampled_from(TOKENS), max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_pile_of_tokens_is_answered(tokens: list[str]) -> None:
    text = "".join(tokens)
    faults = check(text)
    lines = [fault.line for fault in faults if fault.line is not None]
    assert lines == sorted(lines)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines)
    if is_python(text):
        assert {fault.category for fault in faults} <= {"blocked"}
    else:
        assert len(faults) == 1
        assert faults[0].message.startswith(
            ("SyntaxError: ", "IndentationError: ", "TabError: ", "the source is nested")
        )


def is_python(text: str) -> bool:
    """Return whether Python parses the text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True
