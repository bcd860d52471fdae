"""Writes a feedback law as a controller that a person can read and go on with: every number a trainable constant.

The text does the same float64 arithmetic in the same order as the interpreter, so that both give the same
float32 actions.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass, field

from trace_robot.search.feedback_law.law import (
    Feedback,
    FeedbackLaw,
    Sum,
    check,
    expression,
    names,
    numbered,
    sentence,
)
from trace_robot.search.feedback_law.law import product as product_name
from trace_robot.search.feedback_law.law import said as describe_product
from trace_robot.spec import TaskSpec

WIDTH = 100
ROOM = 10.0  # a constant may grow to so many times its size
CLIP = '''\
def clip(push):
    """No more than the actuator can do: 1 is all of it one way, -1 all of it the other way."""
    return min(max(push, -1.0), 1.0)
'''
CHOOSE = '''\
@bundle()
def choose(near, hold, otherwise):
    """The action of hold while near, else the other one."""
    return hold if near else otherwise
'''


@dataclass(slots=True)
class _Constant:
    name: str
    value: float
    description: str


@dataclass(slots=True)
class _Page:
    """What has been written: functions, and the constants that they take."""

    law: FeedbackLaw
    spec: TaskSpec
    names: list[str] = field(default_factory=list)
    constants: list[_Constant] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)

    def constant(self, name: str, value: float, description: str) -> str:
        taken = {each.name for each in self.constants} | set(self.names)
        while name in taken:
            name += "_"
        self.constants.append(_Constant(name, value, description))
        return name


def write(law: FeedbackLaw, spec: TaskSpec) -> str:
    """Return the text of a policy file.

    Raises PolicyError if the law does not fit the environment.
    """
    check(law, spec)
    page = _Page(law, spec, names(law, spec))
    usual = "pump" if law.usual.lack is not None else "steer"
    calls = [_feedback(page, usual, law.usual, "" if law.near is None else f"{usual}_")]
    if law.near is not None and law.nearness is not None:
        near = _nearness(page, law.nearness)
        calls = [near, _feedback(page, "hold", law.near, "hold_"), *calls]
        page.functions.append(CHOOSE.rstrip())
    title = textwrap.fill(f"Found by search for {spec.name}: {sentence(law)}.", WIDTH)
    angles = any(quantity.kind == "angle" for quantity in law.quantities)
    imports = ("import math\n\n" if angles else "") + "from trace_robot import Bounds, bundle, node"
    head = f'"""{title}"""\n\n{imports}\n\nCONTROL = "{spec.control}"'
    constants = "\n".join(_node(each) for each in page.constants)
    return "\n\n\n".join([f"{head}\n\n{constants}", CLIP.rstrip(), *page.functions, _act(calls)]) + "\n"


def _feedback(page: _Page, title: str, feedback: Feedback, prefix: str) -> str:
    """Write the function of one feedback; return the call of it."""
    spec = page.spec
    first = len(page.constants)
    sums = [*feedback.pushes, *([] if feedback.lack is None else [feedback.lack])]
    body = _readings(page, sums)
    if feedback.lack is not None:
        body += _sum(page, "lack", feedback.lack, f"{prefix}lack", "energy that is lacking")
    actions = []
    for j, push in enumerate(feedback.pushes):
        action = numbered(j, spec.action)
        alone = len(feedback.pushes) == 1
        start = prefix if alone else f"{prefix}{action}_"
        body += _sum(page, "push" if alone else f"push_{j + 1}", push, f"{start}gain", action)
        wanted = ("push" if alone else f"push_{j + 1}") + ("" if feedback.lack is None else " * lack")
        actions.append(_scaled(f"clip({wanted})", spec.low[j], spec.high[j]))
    body.append(f"return [{', '.join(actions)}]")
    taken = [each.name for each in page.constants[first:]]
    says = {
        "pump": "Push along with the motion while energy is lacking, against it when there is too much.",
        "steer": "Push by what is seen, each number with its gain.",
        "hold": "Keep it there: push by what is seen, each number with its gain.",
    }[title]
    page.functions.append(_function(title, ["observation", *taken], says, body))
    return _call(title, ["observation", *taken])


def _nearness(page: _Page, nearness: Sum) -> str:
    first = len(page.constants)
    body = _readings(page, [nearness])
    body += _sum(page, "nearness", nearness, "nearness", "nearness")
    slack = page.constant("slack", page.law.slack, "how far nearness must fall below 0 to be far again")
    body += [
        f'memory["near"] = nearness > (-{slack} if memory.get("near") else 0.0)',
        'return memory["near"]',
    ]
    taken = [each.name for each in page.constants[first:]]
    says = "Say whether to hold: while nearness is positive, and then until it is clearly negative."
    page.functions.append(_function("is_near", ["observation", "memory", *taken], says, body))
    return _call("is_near", ["observation", "memory", *taken])


def _readings(page: _Page, sums: list[Sum]) -> list[str]:
    used = sorted({i for total in sums for product in total.products for i in product})
    return [f"{page.names[i]} = {expression(page.law.quantities[i], page.spec)}" for i in used]


def _sum(page: _Page, target: str, total: Sum, prefix: str, what: str) -> list[str]:
    """Return the lines that add up a sum, a constant for each of its weights."""
    terms = []
    for product, weight in zip(total.products, total.weights, strict=True):
        name = product_name(product, page.names)
        if name:
            told = describe_product(product, page.law, page.spec)
            constant = page.constant(f"{prefix}_of_{name}", weight, f"{what} for each unit of {told}")
        else:
            constant = page.constant(f"{prefix}_offset", weight, f"{what} whatever is seen")
        terms.append(" * ".join([constant, *(page.names[i] for i in product)]))
    line = f"{target} = {' + '.join(terms) or '0.0'}"
    if len(line) + 4 <= WIDTH:
        return [line]
    return [f"{target} = (", f"    {terms[0]}", *(f"    + {term}" for term in terms[1:]), ")"]


def _scaled(push: str, low: float, high: float) -> str:
    middle, reach = (low + high) / 2, (high - low) / 2
    scaled = push if reach == 1.0 else f"{reach!r} * {push}"
    return scaled if middle == 0.0 else f"{middle!r} + {scaled}"


def _function(name: str, arguments: list[str], says: str, body: list[str]) -> str:
    lines = [f'"""{says}"""', *body]
    indented = "\n".join(f"    {line}" for line in lines)
    return f"@bundle(trainable=True)\n{_listed(f'def {name}', arguments, ':')}\n{indented}"


def _call(name: str, arguments: list[str]) -> str:
    return _listed(name, arguments, "")


def _listed(head: str, arguments: list[str], tail: str) -> str:
    line = f"{head}({', '.join(arguments)}){tail}"
    if len(line) + 14 <= WIDTH:
        return line
    wrapped = textwrap.fill(
        ", ".join(arguments),
        WIDTH - 4,
        initial_indent="    ",
        subsequent_indent="    ",
        break_long_words=False,
    )
    return f"{head}(\n{wrapped},\n){tail}"


def _node(constant: _Constant) -> str:
    bound = float(f"{ROOM * abs(constant.value):.1g}") or 1.0
    low = 0.0 if constant.name == "slack" else -bound
    description = json.dumps(constant.description, ensure_ascii=False)
    first = f'    {constant.value!r}, name="{constant.name}", trainable=True,'
    constraint = f"constraint=Bounds({low!r}, {bound!r}),"
    apart = " " if len(first) + len(constraint) < WIDTH else "\n    "
    return (
        f"{constant.name} = node(\n{first}{apart}{constraint}\n    description={description},\n)  # fmt: skip"
    )


def _act(calls: list[str]) -> str:
    head = 'def act(observation, memory):\n    """Return the next action."""\n'
    if len(calls) == 1:
        return f"{head}    return {_indented(calls[0])}"
    near, hold, otherwise = calls
    return (
        f"{head}    near = {_indented(near)}\n    held = {_indented(hold)}\n"
        f"    moved = {_indented(otherwise)}\n    return choose(near, held, moved)"
    )


def _indented(call: str) -> str:
    return call.replace("\n", "\n    ")
