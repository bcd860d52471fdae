"""Every form of a reply that is read, and odd replies that must not end, stall or mislead a run."""

# ruff: noqa: E501  (a form of a reply is easier to read on one line)

from __future__ import annotations

import contextlib
import html
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trace_robot.fault import MOST_CHARACTERS
from trace_robot.llm import Reply, ScriptedModel
from trace_robot.optimizers import OptoPrime, Outcome, ParameterSpec, Problem, Tuned
from trace_robot.optimizers.prompt.reply import UnusableReplyError, fit, parse_reply
from trace_robot.policy import Policy

CODE = "def act(observation, memory):\n    if observation[0] < 1 and 2 > 1:\n        return [1.0]\n    return [2.0]"
START = "def act(observation, memory):\n    return [0.0]\n"
VARIABLE = f'<variable name="act">\n{CODE}\n</variable>'
WRONG = '<variable name="act">\ndef act(observation, memory):\n    return [9.0]\n</variable>'
GAIN = '<variable name="gain">5.0</variable>'
TEXT = "Close your thoughts with </think>, then answer."
NAMES = ("act", "gain", "note", "table")


def tagged(name: str, value: str) -> str:
    return f'<reasoning>r</reasoning>\n<variable name="{name}">\n{value}\n</variable>\n<stop>no</stop>'


ACT, NUMBER = {"act": CODE}, {"gain": "5.0"}
FORMS: list[tuple[str, str, dict[str, Any]]] = [
    ("as asked", f"<reasoning>r</reasoning>\n<change>c</change>\n{VARIABLE}\n<stop>no</stop>", ACT),
    ("an attribute behind the name", VARIABLE.replace('"act"', '"act" type="code"'), ACT),
    ("an attribute before the name", VARIABLE.replace("name", 'type="code" name'), ACT),
    ("three attributes", VARIABLE.replace("name", "lang='py' trainable name").replace('"act"', '"act" v=1'), ACT),
    ("single quotes", VARIABLE.replace('"', "'"), ACT),
    ("no quotes", VARIABLE.replace('"', ""), ACT),
    ("one quote", VARIABLE.replace('name="act"', 'name="act'), ACT),
    ("spaces in the tag", GAIN.replace('name="gain"', ' name = "gain" ').replace("</", "</ "), NUMBER),
    ("upper case", GAIN.replace("variable", "VARIABLE").replace("name", "Name"), NUMBER),
    ("line ends in the tag", GAIN.replace(" name", "\n  name"), NUMBER),
    ("the name alone", GAIN.replace('name="gain"', "gain"), NUMBER),
    ("the name behind an equals sign", GAIN.replace(' name="gain"', "=gain"), NUMBER),
    ("escaped quotes", GAIN.replace('"', '\\"'), NUMBER),
    ("curly quotes", GAIN.replace('"gain"', "“gain”"), NUMBER),
    ("bare code and marks of a chat template", f"<|im_start|>assistant\n{CODE}\n<|im_end|>", ACT),
    ("an id", GAIN.replace("name", "id"), NUMBER),
    ("the type from the prompt", VARIABLE.replace('"act"', '"(code) act"'), ACT),
    ("a value attribute", '<variable name="gain" value="5.0"/>', NUMBER),
    ("a value attribute and a closing tag", '<variable name="gain" value="5.0"></variable>', NUMBER),
    ("parameter tags", GAIN.replace("variable", "parameter"), NUMBER),
    ("parameter tags of function calls", GAIN.replace('variable name="gain"', "parameter=gain").replace("variable", "parameter"), NUMBER),
    ("children", f"<variable>\n<name>act</name>\n<value>\n{CODE}\n</value>\n</variable>\n<stop>no</stop>", ACT),
    ("children on one line", "<variable><name>gain</name><value>5.0</value></variable>", NUMBER),
    ("children, value first", "<variable><value>5.0</value><name>gain</name></variable>", NUMBER),
    ("a name and a bare value", "<variable><name>gain</name>5.0</variable>", NUMBER),
    ("a value child alone", '<variable name="gain"><value>5.0</value></variable>', NUMBER),
    ("two with children", f"<variable><name>gain</name><value>5.0</value></variable><variable><name>act</name><value>{CODE}</value></variable>", {**ACT, **NUMBER}),
    ("a fence in the value child", f"<variable><name>act</name><value>\n```python\n{CODE}\n```\n</value></variable>", ACT),
    ("a code child", f'<variable name="act"><code>{CODE}</code></variable>', ACT),
    ("a CDATA section", f'<variable name="act"><![CDATA[\n{CODE}\n]]></variable>', ACT),
    ("an outer element", f"<answer><variables>{VARIABLE}</variables></answer>", ACT),
    ("all in a fence", f"```xml\n<reasoning>r</reasoning>\n{VARIABLE}\n<stop>no</stop>\n```", ACT),
    ("no line ends between tags", f"<reasoning>r</reasoning><change>c</change>{GAIN}<stop>no</stop>", NUMBER),
    ("a fence without line ends around", f'<variable name="act">```python\n{CODE}\n```</variable><stop>no</stop>', ACT),
    ("no closing tag", '<variable name="gain">5.0\n', NUMBER),
    ("one closing tag is missing", f'<variable name="gain">5.0\n{VARIABLE}', {"gain": "5.0", **ACT}),
    ("code whose closing tag is missing", f'<variable name="act">\n{CODE}\n{GAIN}', {**ACT, **NUMBER}),
    ("windows line ends", VARIABLE.replace("\n", "\r\n"), {"act": CODE.replace("\n", "\r\n")}),
    ("an info string", f'<variable name="act">\n```python title="act.py" {{1,2}}\n{CODE}\n```\n</variable>', ACT),
    ("an info string in braces", f"```{{.python}}\n{CODE}\n```", ACT),
    ("tildes", f"~~~python\n{CODE}\n~~~\n<stop>no</stop>", ACT),
    ("tildes in tags", f'<variable name="act">\n~~~\n{CODE}\n~~~\n</variable>', ACT),
    ("a code block, no tags", f"```python\n{CODE}\n```", ACT),
    ("a code block, then stop no", f"```python\n{CODE}\n```\n<stop>no</stop>", ACT),
    ("a code block between reasoning and stop", f"<reasoning>r</reasoning>\nSo:\n```\n{CODE}\n```\n<stop>no</stop>", ACT),
    ("a code block without its end", f"So:\n```python\n{CODE}", ACT),
    ("two code blocks, the last counts", f"Now it is\n```python\n{START}```\nbetter:\n```python\n{CODE}\n```", ACT),
    ("a code block, the name as a tag", f"<act>\n{CODE}\n</act>\n<stop>no</stop>".replace("act>", "code>"), ACT),
    ("bare code", CODE, ACT),
    ("bare code behind a line of prose", f"Here is the new function\n\n{CODE}\n\n<stop>no</stop>", ACT),
    ("a block without a name", f"<variable>\n```python\n{CODE}\n```\n</variable>", ACT),
    ("JSON", json.dumps({"suggestion": {"act": CODE}}), ACT),
    ("JSON, then stop no", json.dumps({"suggestion": {"act": CODE}}) + "\n<stop>no</stop>", ACT),
    ("JSON in a fence", f"```json\n{json.dumps({'suggestion': {'gain': 5}}, indent=1)}\n```", {"gain": 5}),
    ("JSON in a fence with an info string", f"```json title=x\n{json.dumps({'suggestion': {'gain': 5}})}\n```", {"gain": 5}),
    ("JSON with values", json.dumps({"values": {"gain": 5}}), {"gain": 5}),
    ("JSON with variables", json.dumps({"variables": [{"name": "gain", "value": 5}]}), {"gain": 5}),
    ("JSON of the variables themselves", json.dumps({"gain": 5, "reasoning": "r"}), {"gain": 5}),
    ("JSON behind reasoning tags", '<reasoning>{"a": 1}</reasoning>{"suggestion": {"gain": 5}}', {"gain": 5}),
    ("JSON with a comma too many", '{"suggestion": {"gain": 5,}, "stop": false,}', {"gain": 5}),
    ("JSON with raw line ends", f'{{"suggestion": {{"act": "{CODE}"}}}}', ACT),
    ("a Python literal", str({"suggestion": {"act": CODE}}), ACT),
    ("a Python literal with commas too many", "{'suggestion': {'gain': 5,},}", {"gain": 5}),
    ("JSON that mentions tags", json.dumps({"suggestion": {"act": CODE + '\n# <variable name="gain">'}}), {"act": CODE + '\n# <variable name="gain">'}),
    ("JSON with running numbers", json.dumps({"suggestion": {"gain:0": 5}}), {"gain": 5}),
    *(
        (f"thoughts as {opening}", f"{opening}maybe {WRONG}, or {{'suggestion': {{}}}}? <stop>yes</stop>{closing}\n{VARIABLE}", ACT)
        for opening, closing in [
            ("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<thought>", "</thought>"), ("<THINK>", "</THINK>"),
            ("<reasoning>", "</reasoning>"), ("<reflection>", "</reflection>"), ("<scratchpad>", "</scratchpad>"),
            ("<think id='1'>", "</think>"), ("[THINK]", "[/THINK]"), ("◁think▷", "◁/think▷"), ("<seed:think>", "</seed:think>"),
            ("<|think|>", "<|/think|>"), ("<|begin_of_thought|>", "<|end_of_thought|>"), ("<analysis>", "</analysis>"),
            ("<|START_THINKING|>", "<|END_THINKING|>"), ("<|channel>thought\n", "<channel|>"),
            ("Thinking...\n", "...done thinking.\n"), ("Here is my thought process:", "Here is my response:"),
            ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
            ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final <|constrain|>xml<|message|>"),
            ("analysis", "assistantfinal"), ("", "</think>"), ("", "</reasoning>"), ("", "[/THINK]"),
        ]
    ),
    ("thoughts twice", f"<think>{WRONG}</think>\n<think>{WRONG}</think>\n{VARIABLE}", ACT),
    ("thoughts before and after", f"<think>{WRONG}</think>{VARIABLE}<think>{WRONG}</think><stop>no</stop>", ACT),
    ("thoughts closed twice", f"<think>{WRONG}</think> still {WRONG}</think>{VARIABLE}", ACT),
    ("thoughts that mention an opening tag", f'<think>I write <variable name="act"> next</think>{VARIABLE}', ACT),
    ("unopened thoughts that mention an opening tag", f'I write <variable name="act"> next</think>{VARIABLE}', ACT),
    ("unopened thoughts, then JSON", f'{WRONG} or so</think>{{"suggestion": {{"gain": 5}}}}', {"gain": 5}),
    ("unopened thoughts, then a code block", f"{WRONG} or so</think>\n```python\n{CODE}\n```", ACT),
    ("thoughts that are never closed", f"<think>so be it {VARIABLE}", ACT),
    ("a stray closing tag at the end", f"{VARIABLE}\n</reasoning>\n<change>c</change><stop>no</stop>", ACT),
    ("a tag between backticks", f"I fill `<variable name=\"gain\">` and `<think>`.\n{VARIABLE}", ACT),
    ("a text that mentions thoughts", tagged("note", TEXT), {"note": TEXT}),
    ("a text that mentions blocks", tagged("note", f"Write {GAIN}."), {"note": f"Write {GAIN}."}),
    ("code that mentions tags", tagged("act", CODE + '\n# don\'t\nX = "</variable> <variable name=\'gain\'>"'), {"act": CODE + '\n# don\'t\nX = "</variable> <variable name=\'gain\'>"'}),
    ("escaped as a whole", html.escape(f"<reasoning>r</reasoning>{VARIABLE}<stop>no</stop>"), ACT),
    ("escaped code", f'<variable name="act">\n{html.escape(CODE)}\n</variable>', ACT),
    ("escaped code in a fence", f"```python\n{html.escape(CODE)}\n```", ACT),
    ("an entity in a string of code", tagged("act", 'def act(o):\n    return o == "&lt;"'), {"act": 'def act(o):\n    return o == "&lt;"'}),
    ("an entity beside real signs", tagged("act", 'def act(o):\n    return o < 1 or "&amp;"'), {"act": 'def act(o):\n    return o < 1 or "&amp;"'}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "values"), [form[1:] for form in FORMS], ids=[form[0] for form in FORMS])
def test_every_sensible_form_of_a_reply_is_read(text: str, values: dict[str, Any]) -> None:
    assert dict(parse_reply(Reply(text), {"act": "act"}, NAMES).values) == values


@pytest.mark.parametrize(
    ("text", "stop"),
    [
        ("<stop>yes</stop>", True),
        ("<stop> Yes. </stop>", True),
        ("<stop>\ntrue\n</stop>", True),
        ('<stop reason="solved">yes</stop>', True),
        ("<think>go on? <stop>no</stop></think><stop>yes</stop>", True),
        ("<stop/>", True),
        ('<stop value="yes"/>', True),
        (GAIN + '<stop value="no"/>', False),
        ('{"stop": true}', True),
        ('{"suggestion": {}, "stop": "yes"}', True),
        ("<think>enough</think>TERMINATE", True),
        (GAIN + "<stop>no</stop>", False),
        (GAIN + "<reasoning>then <stop>yes</stop></reasoning>", False),
    ],
)
def test_stop_is_read_in_every_form(text: str, stop: bool) -> None:
    assert parse_reply(Reply(text), {"act": "act"}, NAMES).stop is stop


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I would raise it.", 'no <variable name="..."> block in the reply, and no <stop>yes</stop>'),
        ("All is well. <stop>no</stop>", 'no <variable name="..."> block in the reply, and it says <stop>no</stop>'),
        (f"<think>{VARIABLE}</think>", "the <variable> blocks stand inside the thoughts, which are not read; write them after these"),
        ("<variable>5</variable>", 'a <variable> block has no name; write <variable name="NAME">'),
        ("```python\ndef other(o):\n    return 1\n```", "the code block defines other, and no variable's function (act)"),
        ("```python\ndef act(o)\n    return 1\n```", "the code block cannot be used: syntax error on line 1: expected ':', at 'def act(o)'"),
        ('{"suggestion": {"gain": }}', "the JSON cannot be read: Expecting value at line 1, column 25"),
        ('{"suggestion": {}}', "the suggestion in the JSON is empty; name a variable, or say stop"),
        ("x" * (MOST_CHARACTERS + 1), "the reply has 200,001 characters, at most 200,000 are read"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why(text: str, reason: str) -> None:
    with pytest.raises(UnusableReplyError) as caught:
        parse_reply(Reply(text), {"act": "act"}, NAMES)
    assert reason in caught.value.problems


def test_a_literal_in_a_code_block_is_no_suggestion() -> None:
    source = 'def act(o):\n    plan = {"gain": 2}\n    return {"values": {"gain": 3}}'
    assert parse_reply(Reply(f"```python\n{source}\n```"), {"act": "act"}, NAMES).values == {"act": source}


def test_two_functions_in_one_block_are_asked_for_apart() -> None:
    text = "```python\ndef a(o):\n    return 1\n\n\ndef b(o):\n    return 2\n```"
    with pytest.raises(
        UnusableReplyError, match="one code block defines a and b; write a <variable> block for each"
    ):
        parse_reply(Reply(text), {"a": "a", "b": "b"})


def test_a_reply_with_many_faults_names_some_of_them() -> None:
    text = "".join(f'<variable name="x{i}">1</variable>' for i in range(500))
    values = parse_reply(Reply(text), {"act": "act"}).values
    problems = UnusableReplyError(fit(PROBLEM, values)[1]).problems
    assert len(problems) == 9
    assert problems[-1] == "and 492 more of the kind"


# --- odd values

SPECS = (
    ParameterSpec("act", "code", START),
    ParameterSpec("gain", "number", 1.0),
    ParameterSpec("count", "number", 3),
    ParameterSpec("capped", "number", 3, constraint={"low": 0, "high": 10}),
    ParameterSpec("flag", "bool", False),
    ParameterSpec("mode", "text", "open", constraint={"choices": ["open", "close"]}),
    ParameterSpec("note", "text", "a"),
    ParameterSpec("bias", "array", [0.0, 1.0]),
    ParameterSpec("matrix", "array", np.zeros((2, 2))),
    ParameterSpec("items", "list", ["a", "b"]),
    ParameterSpec("mixed", "list", [1, "b", None]),
    ParameterSpec("table", "dict", {"a": 1.0, "b": "x"}),
)
PROBLEM = Problem(SPECS)
OTHERS = [spec.name for spec in SPECS if spec.kind != "code"]
POLICY = "from trace_robot import bundle, node\n" + "".join(
    f"{spec.name} = node({np.asarray(spec.value).tolist() if spec.kind == 'array' else spec.value!r}, trainable=True)\n"
    for spec in SPECS[1:]
) + "\n\n@bundle(trainable=True)\n" + START  # fmt: skip
DEEP = "[" * 900 + "]" * 900
HEX = "0x" + "f" * 5000
ODD_VALUES = [
    "1" * 400, "1" * 5000, HEX, f"[{HEX}, 1]", f"[{'1' * 400}, 1.0]", f"[{'1' * 5000}]", DEEP, "[" * 90 + "]" * 90,
    "(" * 150 + "1" + ")" * 150, "-" * 9000 + "1", "{[1]}", "{[1]: 2}", "{'a', 1}", "1e999", "-1e999", "[1e999, 1.0]",
    "nan", "[NaN, 1]", "__import__('os').system('true')", "f'{1}'", "'\ud800'", r"['\ud800', 'b']", "1\x002", "\x00",
    "1.5\r2.5", "\r", "[b'a', b'b']", "[1j, 2.0]", "[..., 2.0]", "²", "１２", "", "None", "lambda: 1", "1 if 1 else 2",
    "+".join(["1"] * 3000), "1" + "+1j" * 3000, "1_0", "0o17", "'''a", "#", "{**{}}", "[*[1]]", "1;2", "\\", "\ufeff1",
    f"{{'a': 1.0, 'b': 'x', 'c': {HEX}}}", "{'a': 1.0, 'b': 'x', 3: {4}}", f"{{'a': 1.0, 'b': 'x', 'c': {DEEP}}}",
    "{'a': 1.0, 'b': 'x', (1, 2): 1e999}", "{'a': 1.0, 'b': 'x', 'c': b'x'}", "{'a': 1.0, 'b': '\\ud800'}",
]  # fmt: skip
ODD_JSON = [
    DEEP, "1" * 4000, "1e999", "-Infinity", "NaN", '"\\ud800"', '{"a": [{}]}', "null", "[[1, 2], [3]]", '{"a": {"a": 1}}',
]  # fmt: skip
ODD_CODE = [
    (CODE.replace("1.0", "1.5\r"), True),
    ("def act(observation, memory):\r    x = 1\r    return [1.5]", True),
    ("def act(observation, memory):\n    # a\r    return [1.5]", True),
    (CODE + "\x00", False),
    ("\ufeff" + CODE, True),
    (CODE.replace("1.0", "'\ud800'"), True),
    (CODE.replace("1.0", "+".join(["1.5"] * 900)), True),
    (CODE.replace("1.0", "+".join(["1.5"] * 9000)), False),
    (CODE.replace("1.0", "memory" + ".a" * 900 + "*1.5"), True),
    (CODE.replace("1.0", "(" * 150 + "1.5" + ")" * 150), True),
    (CODE.replace("1.0", "(" * 9000 + "1.5" + ")" * 9000), False),
    (CODE.replace("1.0", "-" * 9000 + "1.5"), False),
    (CODE.replace("1.0", "**".join(["2.5"] * 9000)), False),
    (CODE.replace("1.0", "1" * 5000), False),
    (CODE.replace("1.0", HEX), True),
    (CODE.replace("1.0", "1e400"), True),
    (CODE.replace("memory)", f"memory: {HEX})"), True),
    (CODE.replace("memory)", f"memory={HEX})"), False),
    ("@bundle" + ".a" * 900 + "\n" + CODE, True),
    (f"@({HEX}).bundle\n" + CODE, True),
    (f"@({'+'.join(['a'] * 900)}).bundle\n" + CODE, True),
    ("é = 'ééé'; b = 1.5\n" + CODE, True),
    ("ﬁ = 1.5\n" + CODE, True),
    (CODE.replace("1.0", "1.5, '\u2028\x85'"), True),
    (CODE.replace("1.0", "1.5\x0c"), True),
    (CODE.replace("1.0", "1.5\x0b"), False),
    ("\n" * 5000 + CODE, True),
    ("x = [" + "1.5," * 3000 + "]\n" + CODE, True),
    ("import a" + ".b" * 900 + "\n" + CODE, True),
    ("from " + "." * 9000 + " import x\n" + CODE, True),
    ("def act(observation, memory):\n    if 1: pass\n" + "    elif 1: pass\n" * 90 + "    return [1.5]", True),
    ("def act(observation, memory):\n" + "".join("    " * i + "if 1:\n" for i in range(1, 120)) + " return", False),
    (CODE.replace("1.0", "f'{1.5:{2.5}}'"), True),
    ("async " + CODE, False),
    ("class act:\n    pass", False),
    ("act = lambda observation, memory: [1.5]", False),
    ("gain = 1.5\n" + CODE, False),
    ("# act", False),
    ("", False),
    ("I would act", False),
]  # fmt: skip


def optimized(text: str) -> tuple[OptoPrime, list[Any]]:
    """Give a reply to an optimizer, evaluate what it suggests, and return that."""
    inner = OptoPrime(PROBLEM, ScriptedModel([text] * 9), token_budget=100_000)
    optimizer = Tuned(inner, evaluations=4)
    inner.tell([Outcome(candidate.id, score=0.0) for candidate in inner.ask()])
    taken = optimizer.ask()
    for candidate in taken:
        optimizer.tell([Outcome(candidate.id, score=1.0)])
        json.dumps(candidate.to_data(), allow_nan=False, ensure_ascii=False).encode()
        policy = Policy.from_text(POLICY)
        Policy.from_text(policy.render(candidate.values))
    for candidate in optimizer.ask() if taken else []:  # CMA-ES on the numbers of the reply
        json.dumps(candidate.to_data(), allow_nan=False, ensure_ascii=False).encode()
    for message in inner.messages():
        message["content"].encode()
    for attempt in inner.log:
        json.dumps(attempt.to_data(), ensure_ascii=False).encode()
    return inner, taken


@pytest.mark.parametrize("value", ODD_VALUES, ids=lambda value: ascii(value)[:20])
def test_an_odd_value_is_taken_or_refused_with_the_name_of_its_variable(value: str) -> None:
    for name in OTHERS:
        inner, taken = optimized(tagged(name, value))
        if taken:
            kept = taken[0].values[name]
            assert repr(fit(PROBLEM, {name: kept})) == repr(({name: kept}, []))
        else:
            assert all(
                f"{name}: " in problem or "change something" in problem for problem in inner.log[-1].problems
            )


@pytest.mark.parametrize("value", ODD_JSON, ids=lambda value: value[:20])
def test_an_odd_json_value_is_taken_or_refused(value: str) -> None:
    for name in OTHERS:
        optimized(f'{{"suggestion": {{"{name}": {value}}}}}')


@pytest.mark.parametrize(("source", "is_taken"), ODD_CODE, ids=lambda value: ascii(value)[:20])
def test_odd_code_is_taken_or_refused(source: str, is_taken: bool) -> None:
    inner, taken = optimized(f'<variable name="act">\n```python\n{source}\n```\n</variable>')
    assert bool(taken) is is_taken
    if not taken:
        assert inner.log[-1].problems


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("count", "1" * 400, "count: must be a whole number of at most 308 digits, got '111"),
        ("items", "{[1]}", "items: must be a list, got '{[1]}'"),
        ("mixed", DEEP, "mixed: must be at most 20 lists and dicts in each other, got '<list, nested too deeply to show>'"),
        ("mixed", f"[{HEX}]", "mixed: must be made of numbers below 1e308, got '[<whole number of 20,000 bits>]'"),
        ("mixed", "[1j]", "mixed: must be made of numbers, texts, lists and dicts, got '[1j]'"),
        ("mixed", "[1e999]", "mixed: must be made of finite numbers, got '[inf]'"),
        ("mixed", r"['\ud800']", "mixed: must be text without half a surrogate pair, got \"['\\\\ud800']\""),
        ("flag", HEX, "flag: must be True or False, got '<whole number of 20,000 bits>'"),
    ],
)  # fmt: skip
def test_a_value_that_nothing_could_store_is_refused_with_the_reason(
    name: str, value: str, problem: str
) -> None:
    _, faults = fit(PROBLEM, {name: value})
    assert len(faults) == 1
    assert faults[0].startswith(problem)


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("gain", "`5.0`", 5.0),
        ("gain", "**5.0**", 5.0),
        ("gain", "gain = 5.0  # faster", 5.0),
        ("gain", "(number) gain = 5.0", 5.0),
        ("bias", "[1, 2]  # metres", [1.0, 2.0]),
        ("bias", "`[1, 2]`", [1.0, 2.0]),
        ("bias", "[1,  # x\n 2]  # y", [1.0, 2.0]),
        ("items", "[&quot;#a&quot;]", ["#a"]),
        ("items", "['#a', \"it's\"]", ["#a", "it's"]),
        ("table", '{"a": 2, "b": "&lt;#"}', {"a": 2.0, "b": "&lt;#"}),
        ("mode", '"close"', "close"),
        ("mode", " `close`\n", "close"),
        ("note", '"#close"', '"#close"'),
        ("note", "# &lt; *a*", "# &lt; *a*"),
    ],
)
def test_marks_around_a_value_are_taken_off_unless_it_is_a_text(name: str, raw: str, value: Any) -> None:
    assert fit(PROBLEM, {name: raw}) == ({name: value}, [])


def test_the_order_of_a_set_does_not_depend_on_the_process() -> None:
    assert fit(PROBLEM, {"items": "{'d', 'c', 'b', 'a'}"}) == ({"items": ["a", "b", "c", "d"]}, [])


# --- time

PIECES = [
    '<variable name="act">', '<variable name="table">', "<variable name=", "<variable ", "</variable>", "<variable>",
    "<name>", "</name>", "<value>", "</value>", "```", "```python\n", "~~~\n", "\n```\n", "\n", "def act(o, m):\n    return 1\n",
    '"""', "'''", '"', "'", "\\", "5.0", "1,", "[", "{", "}", "]", "(", ")", "-", "+1", " ", "\t", "\r", "\x00", "a", "é",
    "#", "<stop>", "</stop>", "<stop>no</stop>", "<reasoning>", "</reasoning>", "<change>", "</change>", '{"suggestion": {',
    "{'suggestion': {'act': '", '{"a":', '{"', "{1:", "x = 1\n", "<think>", "</think>", "[THINK]", "[/THINK]",
    "<|channel|>analysis<|message|>", "<|end|>", "&lt;variable", "&lt;", "&", "<![CDATA[", "]]>", "<", ">", 'name="', "=",
    "not ", "lambda:", "1 if 1 else ", "@bundle\n", "x:y\n", "a;", "\ud800", ", ", "1e9", "assistantfinal", "analysis",
]  # fmt: skip
# For 10,000 characters, which take up to 15 ms on an idle machine; here is room for a busy one.
MOST_SECONDS = 0.1


def seconds(text: str) -> float:
    """Return the CPU time that reading a reply takes, the shorter of two for one that took long."""
    taken = []
    for _ in range(2):
        start = time.process_time()
        with contextlib.suppress(UnusableReplyError):
            fit(PROBLEM, parse_reply(Reply(text), {"act": "act"}, OTHERS).values)
        taken.append(time.process_time() - start)
        if taken[0] < MOST_SECONDS:
            break
    return min(taken)


@pytest.mark.parametrize(
    "wrap", ["{}", '<variable name="act">{}</variable>', "{{'suggestion': {{'act': {}", "```\n{}\n```"]
)
def test_no_piece_repeated_takes_long(wrap: str) -> None:
    slow = {}
    for piece in PIECES:
        text = wrap.format(piece * (10_000 // len(piece)))
        if (taken := seconds(text)) > MOST_SECONDS:
            slow[piece] = taken
    assert slow == {}


@pytest.mark.parametrize(
    "make",
    [
        lambda n: "<variable name=" + " " * n,
        lambda n: "```" + " " * n + "!",
        lambda n: '<variable name="act">)</variable>' * (n // 33),
        lambda n: ("```\n" + "x=(1,2,3)\n" * (n // 400) + ")\n") * 41,
        lambda n: "{" * 50 + "1:1," * (n // 4),
        lambda n: '{"suggestion": ' * (n // 15),
        lambda n: "&lt;variable " + "&lt;" * (n // 4),
        lambda n: (
            '<variable name="act">\n'
            + "x = 1.5\n" * (n // 8)
            + "def act(observation, memory):\n    return [1.0]"
        ),
    ],
)
def test_the_longest_reply_takes_twenty_times_as_long_as_10_000_characters(
    make: Callable[[int], str],
) -> None:
    assert seconds(make(190_000)) < 20 * MOST_SECONDS


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    head=st.lists(st.sampled_from(PIECES), max_size=4),
    repeated=st.lists(st.sampled_from(PIECES), min_size=1, max_size=6),
    tail=st.lists(st.sampled_from(PIECES), max_size=4),
    length=st.sampled_from([0, 100, 10_000]),
)
def test_any_reply_is_read_or_refused_in_time(
    head: list[str], repeated: list[str], tail: list[str], length: int
) -> None:
    middle = "".join(repeated)
    text = "".join(head) + middle * (1 + length // len(middle)) + "".join(tail)
    assert seconds(text) < MOST_SECONDS


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([*PIECES, *(form[1] for form in FORMS)]), max_size=8).map("".join))
def test_any_reply_leaves_the_optimizer_in_order(text: str) -> None:
    optimized(text)


READ = """
import random
from tests.optimizers.test_reply_forms import PIECES, OTHERS, UnusableReplyError, Reply, fit, parse_reply
from trace_robot.errors import PolicyError
from trace_robot.optimizers import ParameterSpec, Problem
from trace_robot.policy import Policy

choose = random.Random(0)
for _ in range(200):
    try:
        print(ascii(parse_reply(Reply("".join(choose.choices(PIECES, k=12))), {"act": "act"}, OTHERS)))
    except UnusableReplyError as error:
        print(ascii(str(error)))
odd = "['\\\\ud83d', 1e999, %s]" % ("9" * 400)
print(ascii(fit(Problem((ParameterSpec("table", "list", ["x", 1.0]),)), {"table": odd})[1]))
try:
    Policy.from_text(f"from trace_robot import node\\nx = node({odd}, trainable=True)")
except PolicyError as error:
    print(ascii(str(error)))
"""


def test_replies_are_read_and_values_refused_the_same_in_every_process() -> None:
    outputs = []
    for seed in "1234":  # of the order of sets
        process = subprocess.run(
            [sys.executable, "-c", READ],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            check=False,
        )
        assert not process.returncode, process.stderr
        outputs.append(process.stdout)
    assert "table: must be made of finite numbers, got" in outputs[0]
    assert "must be made of numbers below 1e308, got ['" in outputs[0]
    assert len(set(outputs)) == 1
