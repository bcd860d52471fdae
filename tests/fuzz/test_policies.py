"""A policy file of a model or a stranger: parsed, checked, described and rewritten, never executed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from fuzz.inputs import mutated, texts
from fuzz.loop import ROOT, Case, Target, execute
from helpers.synthetic import SPEC
from trace_robot.optimizers.cma_es import SearchSpace
from trace_robot.optimizers.literals import find_literals
from trace_robot.optimizers.prompt.reply import describe
from trace_robot.policy.policy import load_policy, problem_of
from trace_robot.sandbox.static_check.check import check, modules_of

ATOMS = (
    "def act(observation):\n", "def act(observation, memory):\n", "    return [0.0, 0.0]\n",
    "@bundle(trainable=True)\n",
    "@bundle(trainable=True, description='x')\n", "from trace_robot import bundle, node\n",
    "gain = node(1.0, trainable=True)\n",
    "gain = node([1, 2], trainable=True, name='gain', constraint=(0, 1))\n", "CONTROL = 'pose'\n",
    "import numpy as np\n",
    "class A:\n", "    pass\n", "lambda x: ", "if x:\n", " ", "    ", "(", ")", "[", "]", "{", "}",
    "x = 1\n", "x = 1; ", "x.",
    "f'{x}'", "f'{", "not ", "-", "~", "await ", "x if x else ", "x, ", "x and ", "**", "@x\n",
    "global x\n", "match x:\n",
    "    case [1, *_]:\n", "\\\n", "# comment\n", '"""', "'", "0x", "1e999", "async ", "yield ",
    "x: int = ", ":=", "b'x'",
)  # fmt: skip


TRAINABLE = "from trace_robot import bundle\n@bundle(trainable=True)\ndef act("


def policies() -> list[str]:
    """Return the shipped policies, some of the zoo's, and the controllers of all collections."""
    paths = [
        *sorted((ROOT / "policies").glob("*.py")),
        *sorted((ROOT / "policies" / "zoo").glob("*.py"))[::10],
    ]
    found = [path.read_text(encoding="utf-8") for path in paths]
    for path in sorted((ROOT / "tests" / "sandbox").glob("*.json")):
        found += _sources(json.loads(path.read_text(encoding="utf-8")))
    return found + [text.replace("def act(", TRAINABLE, 1) for text in found if "trainable" not in text]


def _sources(data: Any) -> list[str]:
    """Return every text in JSON data that looks like a controller."""
    if isinstance(data, dict | list):
        return [
            text for value in (data.values() if isinstance(data, dict) else data) for text in _sources(value)
        ]
    return [data] if isinstance(data, str) and "def act" in data else []


def load(case: Case, folder: Path) -> Callable[[], Any]:
    path = folder / "policy.py"
    path.write_bytes(case if isinstance(case, bytes) else case.encode("utf-8", "surrogatepass"))

    def call() -> None:
        policy = load_policy(path)
        check(policy.text)
        modules_of(policy.text, trace=True)
        find_literals(policy.text)
        policy.render(policy.values)
        named = policy.require_act().with_control("pose").with_names().with_action_size(3)
        problem = problem_of(named.require_trainable(), SPEC)
        for spec in problem.parameters:
            describe(spec.constraint)
        SearchSpace(problem, problem.values, literals=True)
        named.parameters()

    return call


INPUTS = st.one_of(
    texts(policies(), ATOMS),
    mutated(policies()).map(lambda text: text.encode("utf-16", "surrogatepass")),
    st.binary(max_size=500),
)


def test_a_policy_is_loaded_or_refused_in_linear_time(tmp_path: Path) -> None:
    execute(Target("policies", INPUTS, load, constant=0.2), tmp_path)
