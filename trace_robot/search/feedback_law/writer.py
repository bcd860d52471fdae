"""The writer of feedback laws: Python whose numbers are trainable constants.

The text does the same float64 arithmetic in the same order as the interpreter, so that both give the same
float32 actions. Journals hold hashes of these texts: where one changes, stored runs cannot resume.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from trace_robot.search.feedback_law.law import (
    Feedback,
    FeedbackLaw,
    Product,
    Quantity,
    Sum,
    check,
    field_of,
    name_of,
    seen_text,
)
from trace_robot.spec import TaskSpec

WIDTH = 100
ROOM = 10.0  # times its size that a constant may grow to, either way
TRIGONOMETRY = re.compile(r"(^|_)(cosines?|sines?|cos|sin)(_of)?(?=_|\d|$)")
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
KEEP = '''\
@bundle()
def keep(action, memory):
    """Keep the action for the next decision."""
    memory["action"] = action
    return action
'''
SAYS = {
    "pump": "Push along with the motion while energy is lacking, against it when there is too much.",
    "steer": "Push by what is seen, each number with its gain.",
    "remember": "Return changes since the last decision and averages, both smoothed.",
    "combine": "Add up what is seen into a few numbers, of which all controls are made.",
    "hold": "Keep it there: push by what is seen, each number with its gain.",
}


@dataclass(slots=True)
class _Constant:
    name: str
    value: float
    description: str


@dataclass(slots=True)
class _Page:
    """A text that grows: functions, and the constants that they take."""

    law: FeedbackLaw
    spec: TaskSpec
    names: list[str] = field(default_factory=list)
    constants: list[_Constant] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)

    def constant(self, name: str, value: float, description: str) -> str:
        """Add a constant and return its name, which is made to differ from all others.

        Args:
            name: wanted.
            value: at first; it may grow to ROOM times that.
            description: for people and models.
        """
        taken = {constant.name for constant in self.constants} | set(self.names)
        while name in taken:
            name += "_"
        self.constants.append(_Constant(name, value, description))
        return name


def write(law: FeedbackLaw, spec: TaskSpec) -> str:
    """Return the text of a policy file.

    Args:
        law: what the policy does.
        spec: the environment that it is for, whose fields name the constants.

    Raises:
        PolicyError: if the law does not fit the environment.
    """
    check(law, spec)
    page = _Page(law, spec, _names(law, spec))
    before = _state(page) + _synergies(page)
    outer = "pump" if law.outer.energy_gain is not None else "steer"
    calls = [_feedback(page, outer, law.outer, "" if law.inner is None else f"{outer}_")]
    if law.inner is not None and law.switching_function is not None:
        switch = _switch(page, law.switching_function)
        calls = [switch, _feedback(page, "hold", law.inner, "hold_"), *calls]
        page.functions.append(CHOOSE.rstrip())
    if keeps := any(quantity.kind == "action" for quantity in law.quantities):
        page.functions.append(KEEP.rstrip())
    title = textwrap.fill(f"Found by search for {spec.name}: {_title(law)}.", WIDTH)
    imports = (
        "import math\n\n" if any(one.kind in ("angle", "cosine", "sine") for one in law.quantities) else ""
    )
    imports += "from trace_robot import Bounds, bundle, node"
    head = f'"""{title}"""\n\n{imports}\n\nCONTROL = "{spec.control}"'
    constants = "\n".join(_node(constant) for constant in page.constants)
    return (
        "\n\n\n".join([f"{head}\n\n{constants}", CLIP.rstrip(), *page.functions, _act(before, calls, keeps)])
        + "\n"
    )


def _feedback(page: _Page, title: str, feedback: Feedback, prefix: str) -> str:
    """Write the function of one feedback and return the call of it."""
    spec = page.spec
    first = len(page.constants)
    gain = feedback.energy_gain
    body = _readings(page, [*feedback.controls, *([] if gain is None else [gain])])
    if gain is not None:
        body += _sum(page, "lack", gain, f"{prefix}lack", "energy that is lacking")
    actions = []
    for j, control in enumerate(feedback.controls):
        action = name_of(j, spec.action)
        alone = len(feedback.controls) == 1
        start = prefix if alone else f"{prefix}{action}_"
        body += _sum(page, "push" if alone else f"push_{j + 1}", control, f"{start}gain", action)
        wanted = ("push" if alone else f"push_{j + 1}") + ("" if gain is None else " * lack")
        actions.append(_scaled(f"clip({wanted})", spec.low[j], spec.high[j]))
    body.append(f"return [{', '.join(actions)}]")
    taken = [constant.name for constant in page.constants[first:]]
    arguments = [*_inputs(page), *taken]
    page.functions.append(function_text(title, arguments, SAYS[title], body))
    return listed(title, arguments)


def _switch(page: _Page, function: Sum) -> str:
    """Write the function that chooses between the feedbacks, return the call of it."""
    first = len(page.constants)
    body = _readings(page, [function])
    body += _sum(page, "nearness", function, "nearness", "nearness")
    slack = page.constant("slack", page.law.hysteresis, "how far nearness must fall below 0 to be far again")
    body += [
        f'memory["near"] = nearness > (-{slack} if memory.get("near") else 0.0)',
        'return memory["near"]',
    ]
    taken = [constant.name for constant in page.constants[first:]]
    says = "Say whether to hold: while nearness is positive, and then until it is clearly negative."
    arguments = [*dict.fromkeys([*_inputs(page)[:1], "memory", *_inputs(page)[1:]]), *taken]
    page.functions.append(function_text("is_near", arguments, says, body))
    return listed("is_near", arguments)


def _state(page: _Page) -> list[str]:
    """Write the function of low-pass filters and return the assignment of its call."""
    quantities = [(i, quantity) for i, quantity in enumerate(page.law.quantities) if quantity.memory]
    if not quantities:
        return []
    first, shares, body = len(page.constants), dict[float, str](), []
    meaning = "share of what is new in what is kept, of a low-pass filter"
    for i, quantity in quantities:
        if quantity.factor not in shares:
            shares[quantity.factor] = page.constant("smoothing", quantity.factor, meaning)
        name, share, now = page.names[i], shares[quantity.factor], _expression(quantity, page.spec)
        body.append(f"now = {now}")
        if quantity.memory == "average":
            body += [f'{name} = memory.get("{name}", now)', f"{name} += {share} * (now - {name})"]
        else:
            body.append(f'step = now - memory.get("before_{name}", now)')
            if quantity.kind == "angle":
                body.append("step = math.remainder(step, math.tau)")
            body.append(f'{name} = memory.get("{name}", 0.0)')
            body.append(f"{name} += {share} * (step - {name})")
            body.append(f'memory["before_{name}"] = now')
        body.append(f'memory["{name}"] = {name}')
    body.append(_returned([page.names[i] for i, _ in quantities]))
    arguments = ["observation", "memory", *(constant.name for constant in page.constants[first:])]
    page.functions.append(function_text("remember", arguments, SAYS["remember"], body))
    return [f"kept = {listed('remember', arguments)}"]


def _synergies(page: _Page) -> list[str]:
    """Write the function of the synergies, return the assignment of its call."""
    law, first = page.law, len(page.constants)
    if not law.synergies:
        return []
    body = _readings(page, list(law.synergies))
    for k, synergy in enumerate(law.synergies):
        name = page.names[len(law.quantities) + k]
        body += _sum(page, name, synergy, f"{name}_share", name.replace("_", " "))
    body.append(_returned(page.names[len(law.quantities) :]))
    arguments = [*_inputs(page), *(constant.name for constant in page.constants[first:])]
    page.functions.append(function_text("combine", arguments, SAYS["combine"], body))
    return [f"synergies = {listed('combine', arguments)}"]


def _inputs(page: _Page) -> list[str]:
    """Return the arguments from which a function reads quantities."""
    takes_action = any(one.kind == "action" and not one.memory for one in page.law.quantities)
    written = "".join(page.functions)
    found = {
        "memory": takes_action,
        "kept": "def remember(" in written,
        "synergies": "def combine(" in written,
    }
    return ["observation", *(name for name, there in found.items() if there)]


def _readings(page: _Page, sums: list[Sum]) -> list[str]:
    quantities = page.law.quantities
    kept = [i for i, quantity in enumerate(quantities) if quantity.memory]
    readings = []
    for i in sorted({i for total in sums for product in total.products for i in product}):
        if i >= len(quantities):
            source = f"synergies[{i - len(quantities)}]"
        elif quantities[i].memory:
            source = f"kept[{kept.index(i)}]"
        else:
            source = _expression(quantities[i], page.spec)
        readings.append(f"{page.names[i]} = {source}")
    return readings


def _sum(page: _Page, target: str, total: Sum, prefix: str, what: str) -> list[str]:
    """Return the lines that add up a sum, with a new constant for each of its weights."""
    terms = []
    for product, weight in zip(total.products, total.weights, strict=True):
        name = _product_name(product, page.names)
        if name:
            unit = _description(product, page.law, page.spec)
            constant = page.constant(f"{prefix}_of_{name}", weight, f"{what} for each unit of {unit}")
        else:
            constant = page.constant(f"{prefix}_offset", weight, f"{what} whatever is seen")
        terms.append(" * ".join([constant, *(page.names[i] for i in product)]))
    line = f"{target} = {' + '.join(terms) or '0.0'}"
    if len(line) + 4 <= WIDTH:
        return [line]
    return [f"{target} = (", f"    {terms[0]}", *(f"    + {term}" for term in terms[1:]), ")"]


def _scaled(control: str, low: float, high: float) -> str:
    middle, reach = (low + high) / 2, (high - low) / 2
    scaled = control if reach == 1.0 else f"{reach!r} * {control}"
    return scaled if middle == 0.0 else f"{middle!r} + {scaled}"


def _returned(parts: Sequence[str]) -> str:
    line = f"return [{', '.join(parts)}]"
    return (
        line if len(line) + 4 <= WIDTH else "return [\n" + "".join(f"    {part},\n" for part in parts) + "]"
    )


def function_text(name: str, arguments: list[str], says: str, body: list[str]) -> str:
    lines = [f'"""{says}"""', *body]
    indented = textwrap.indent("\n".join(lines), "    ")
    return f"@bundle(trainable=True)\n{listed(f'def {name}', arguments, ':')}\n{indented}"


def listed(head: str, arguments: list[str], tail: str = "") -> str:
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
    low, high = -bound, bound
    if constant.name == "slack":
        low = 0.0
    elif constant.name.rstrip("_") == "smoothing":
        low, high = min(0.01, constant.value), 1.0
    description = json.dumps(constant.description, ensure_ascii=False)
    first = f'    {constant.value!r}, name="{constant.name}", trainable=True,'
    constraint = f"constraint=Bounds({low!r}, {high!r}),"
    apart = " " if len(first) + len(constraint) < WIDTH else "\n    "
    return (
        f"{constant.name} = node(\n{first}{apart}{constraint}\n    description={description},\n)  # fmt: skip"
    )


def _act(before: list[str], calls: list[str], keeps: bool) -> str:
    lines = ["def act(observation, memory):", '    """Return the next action."""']
    lines += [f"    {_indented(line)}" for line in before]
    *choice, action = (_indented(call) for call in calls)
    if choice:
        near, hold = choice
        lines += [f"    near = {near}", f"    held = {hold}", f"    moved = {action}"]
        action = "choose(near, held, moved)"
    if keeps:
        lines.append(f"    action = {action}")
        action = "keep(action, memory)"
    return "\n".join([*lines, f"    return {action}"])


def _indented(call: str) -> str:
    return call.replace("\n", "\n    ")


def _names(law: FeedbackLaw, spec: TaskSpec) -> list[str]:
    """Return a Python name for each quantity of the law, all different."""
    plain = [_name(quantity, spec) for quantity in law.quantities]
    plain += [f"synergy_{k + 1}" for k in range(len(law.synergies))]
    return [
        f"{name}_{plain[:i].count(name) + 1}" if plain.count(name) > 1 else name
        for i, name in enumerate(plain)
    ]


def _expression(quantity: Quantity, spec: TaskSpec) -> str:
    """Return what reads the quantity from the observation by name, without its filter."""
    if quantity.kind == "action":
        return f'memory.get("action", [0.0] * {spec.action_size})[{quantity.index}]'
    if quantity.kind == "angle":
        return f"math.atan2({seen_text(quantity.other, spec)}, {seen_text(quantity.index, spec)})"
    if quantity.kind == "difference":
        return f"{seen_text(quantity.index, spec)} - {seen_text(quantity.other, spec)}"
    if quantity.kind in ("cosine", "sine"):
        return f"math.{quantity.kind[:3]}({seen_text(quantity.index, spec)})"
    return seen_text(quantity.index, spec)


def _product_name(factors: Product, names: Sequence[str]) -> str:
    """Return a name such as ``rate_squared``, "" for a product of no factors."""
    parts = []
    for i in dict.fromkeys(factors):
        power = {1: "", 2: "_squared", 3: "_cubed"}.get(factors.count(i), f"_to_the_{factors.count(i)}")
        parts.append(f"{names[i]}{power}")
    return "_times_".join(parts)


def _description(factors: Product, law: FeedbackLaw, spec: TaskSpec) -> str:
    """Return what a product is made of, by what the environment says of its parts."""
    count = len(law.quantities)
    meanings = (
        _meaning(law.quantities[i], spec) if i < count else f"synergy {i - count + 1}" for i in factors
    )
    return " times ".join(meanings)


def _title(law: FeedbackLaw) -> str:
    """Return what kind of law it is."""
    kind = "energy shaping" if law.outer.energy_gain is not None else "linear feedback"
    products = (product for control in law.outer.controls for product in control.products)
    if law.outer.energy_gain is None and any(len(product) > 1 for product in products):
        kind = "feedback on products"
    return kind if law.inner is None else f"{kind}, and linear feedback when near"


def _name(quantity: Quantity, spec: TaskSpec) -> str:
    prefix = {"": "", "change": "change_of_", "average": "average_"}[quantity.memory]
    if quantity.kind == "action":
        return f"{prefix}last_{name_of(quantity.index, spec.action)}"
    name = name_of(quantity.index, spec.observation)
    if quantity.kind == "difference":
        return f"{prefix}{name}_from_{name_of(quantity.other, spec.observation)}"
    if quantity.kind == "number":
        return f"{prefix}{name}"
    if quantity.kind in ("cosine", "sine"):
        return f"{prefix}{quantity.kind}_of_{name}"
    # Named by what is left without the sine or cosine, so that it reads as the angle that it is.
    rest = TRIGONOMETRY.sub("", name).strip("_")
    angle = rest if "angle" in rest else f"angle_of_{rest}" if rest and not rest.isdigit() else f"angle{rest}"
    return f"{prefix}{angle}"


def _meaning(quantity: Quantity, spec: TaskSpec) -> str:
    fields, index = (spec.action if quantity.kind == "action" else spec.observation), quantity.index
    field, _ = field_of(index, fields)
    name = name_of(index, fields)
    unit = f", {field.unit}" if field.unit else ""
    number = f"{name} ({field.meaning}{unit})" if field.meaning else f"{name}{unit}"
    words = {"number": "", "angle": "the angle of ", "action": "the last "}
    words |= {kind: f"the {kind} of " for kind in ("cosine", "sine")}
    base = f"{words[quantity.kind]}{number}" if quantity.kind in words else ""
    base = base or f"{number} less {name_of(quantity.other, spec.observation)}"
    return {"": base, "change": f"the change of {base}", "average": f"the average of {base}"}[quantity.memory]
