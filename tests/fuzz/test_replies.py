"""What a model answers: no text may end a run, or stall it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from fuzz.inputs import texts
from fuzz.loop import ROOT, Case, Target, execute
from trace_robot.llm.model import Reply, ScriptedModel
from trace_robot.llm.recording import read_record
from trace_robot.optimizers import OPRO, OptoPrime, Outcome, ParameterSpec, Problem
from trace_robot.optimizers.literals import find_literals, replace_literals
from trace_robot.optimizers.prompt.reply import fit, parse_reply
from trace_robot.optimizers.tuned import Tuned
from trace_robot.sandbox.static_check.check import check

START = 'def act(observation, memory):\n    """Keep still."""\n    return [0.25, -0.5]\n'
BETTER = START.replace("0.25", "3.5 * observation['x']")
PROBLEM = Problem(
    (
        ParameterSpec("act", "code", START, "the controller"),
        ParameterSpec("__code0", "code", "def helper(x):\n    return x * 2.5\n", entry="helper"),
        ParameterSpec("gain", "number", 2.5, "action per metre", (0.0, 10.0)),
        ParameterSpec("count", "number", 3),
        ParameterSpec("word", "text", "near"),
        ParameterSpec("choice", "text", "left", constraint=["left", "right"]),
        ParameterSpec("open", "bool", True),
        ParameterSpec("offsets", "array", [0.1, 0.2, 0.3]),
        ParameterSpec("stages", "list", ["near", 1, 2.5]),
        ParameterSpec("table", "dict", {"near": 0.5}),
    ),
    context="A point on a line.",
    objective="larger is better",
)
NAMES = [spec.name for spec in PROBLEM.parameters]
ANSWER = f'<reasoning>r</reasoning>\n<change>c</change>\n<variable name="act">\n{BETTER}</variable>\n<stop>no</stop>'
OTHERS = "".join(f'<variable name="{name}">\n{{}}\n</variable>\n' for name in NAMES[2:])
VALUES = (
    "3.5",
    "-2",
    "0x10",
    "1e3",
    "far",
    "right",
    "False",
    "[1, 2, 3]",
    "[[1.5]]",
    "{'near': 0.75}",
    "{1, 2}",
    "None",
)
ATOMS = (
    "<variable ", "<variable name=", '<variable name="act">', "<variable name='gain'>", "</variable>",
    "</variable >",
    "<reasoning>", "</reasoning>", "<change>", "</change>", "<stop>", "</stop>", "<stop>yes</stop>",
    "<stop>no</stop>",
    "<think>", "</think>", "<thinking>", "</thinking>", "```", "```python", "```json\n", "~~~",
    "\n```\n", '{"reasoning": "',
    '{"suggestion": {', '"suggestion": {"act": "', "{", "}", "{'suggestion': {'gain': ",
    '{"stop": true}', "TERMINATE",
    "1:1,", "x=(1,2,3)\n", ")\n", "def act(observation, memory):\n", "    return [1.5, 2.5]\n",
    "@bundle(trainable=True)\n",
    "act = ", "gain = ", "0.25", "0.5\r0.75", "lambda: ", "x" * 50,
    *(f'<variable name="{name}">' for name in NAMES),
    *VALUES,
)  # fmt: skip


def replies() -> list[str]:
    """Return the recorded replies of models, and one of each form."""
    recorded = [
        reply.text
        for path in sorted((ROOT / "rollouts" / "recordings").glob("*.jsonl"))
        for exchange in read_record(path)
        for reply in exchange.replies
    ]
    forms = [
        ANSWER,
        OTHERS.format(*VALUES),
        f"Here it is:\n```python\n{BETTER}```\nand\n```\ndef helper(x):\n    return x\n```\n",
        '{"reasoning": "r", "answer": "", "suggestion": {"gain": 3.5, "open": "False", "offsets": [1, 2, 3]}}',
        "<think>should I?</think><stop>yes</stop>",
        "TERMINATE",
    ]
    return [*forms, *recorded]


INPUTS = st.tuples(
    texts(replies(), ATOMS), st.sampled_from(("stop", "stop", "stop", "length", "content_filter", ""))
)


def read(case: Case, _: Path) -> Callable[[], Any]:
    text, reason = case

    def call() -> None:
        suggestion = parse_reply(Reply(text, reason), {"act": "act", "__code0": "helper"})
        values, _ = fit(PROBLEM, suggestion.values, lambda code: [f.message for f in check(code)])
        for name in ("act", "__code0"):
            if name in values:
                literals = find_literals(values[name])
                replace_literals(values[name], [literal.value * 1.1 for literal in literals], literals)

    return call


def improve(case: Case, _: Path) -> Callable[[], Any]:
    """Return whole rounds of every optimizer that asks a model: its reply, its repair, the next prompt, the tuning."""
    text, reason = case

    def call() -> None:
        for make in (OptoPrime, OPRO):
            model = ScriptedModel([Reply(text, reason)] * 8)
            inner = make(PROBLEM, model, check_code=lambda code: [fault.message for fault in check(code)])
            optimizer = Tuned(inner, evaluations=4)
            for turn in range(3):
                outcomes = [
                    Outcome(c.id, float(turn), f"Success in {turn} of 5 episodes.", turn / 5)
                    for c in optimizer.ask()
                ]
                if outcomes:
                    optimizer.tell(outcomes)
            inner.prompt()

    return call


def test_a_reply_is_read_or_refused_in_linear_time(tmp_path: Path) -> None:
    execute(Target("replies", INPUTS, read, constant=0.02), tmp_path)


def test_a_reply_ends_no_optimizer(tmp_path: Path) -> None:
    # Eight prompts of up to 6,000 tokens are built around one reply, which may stand in all of them.
    execute(Target("optimizers", INPUTS, improve, constant=1.0), tmp_path)
