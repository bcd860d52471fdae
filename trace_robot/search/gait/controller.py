"""Gaits as a kind of controller, and their writer.

A gait is written as Python whose numbers are trainable constants.

The text does the same float64 arithmetic in the same order as the interpreter, so that both give the same float32
actions. Journals hold hashes of these texts: where one changes, stored runs cannot resume.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from trace_robot.search.feedback_law.law import field_of, name_of, seen_text
from trace_robot.search.feedback_law.writer import CLIP, WIDTH, function_text, listed
from trace_robot.search.gait.gait import (
    KEY,
    WHOLE,
    Balance,
    Gait,
    GaitRunner,
    Joint,
    Truncation,
    check,
)
from trace_robot.search.gait.identify import PROBE, SIZES, probe_notes, size_notes
from trace_robot.spec import Array, TaskSpec

if TYPE_CHECKING:
    from trace_robot.optimizers.problem import Candidate

ROOM = 4.0  # times its size that a constant may grow to
FEW = 12  # gains of the feedback up to which each is a constant by itself, and not in a table
MOTOR = re.compile(r"_(torque|motor|force|effort|actuator|control)$")
UNMOVED = Joint(0.0, 0.0, 0.0)
TRIAL = "trial"
WEIGH = '''\
def weigh(gains, deviations):
    """The sum of the products, one after the other."""
    total = 0.0
    for gain, deviation in zip(gains, deviations):
        total += gain * deviation
    return total
'''


@dataclass(frozen=True, slots=True)
class GaitController:
    """A gait behind the protocol ``search.controller.DataController``.

    trial: how its episodes are cut short. probe: what an episode brings back beside its reward, ALL or SIZES of
    ``identify``; None for nothing.
    """

    gait: Gait
    trial: Truncation = WHOLE
    probe: int | None = None
    kind: ClassVar[str] = "gait"

    @classmethod
    def recognizes(cls, data: Mapping[str, Any]) -> bool:
        """Return whether the data holds a gait."""
        return KEY in data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> GaitController:
        """Return the controller, or raise PolicyError."""
        trial = data.get(TRIAL)
        cut = WHOLE if trial is None else Truncation(int(trial["decisions"]), bool(trial["still"]))
        return cls(Gait.from_data(data), cut, data.get(PROBE))

    def to_data(self) -> dict[str, Any]:
        """Return the gait's data, with one more key for a trial and for a probe."""
        data = self.gait.to_data()
        if self.trial != WHOLE:
            data[TRIAL] = {"decisions": self.trial.decisions, "still": self.trial.still}
        return data if self.probe is None else {**data, PROBE: self.probe}

    def start(self, spec: TaskSpec) -> GaitRunner:
        """Begin an episode, or raise PolicyError."""
        return GaitRunner(self.gait, spec, self.trial)

    def measures(
        self, spec: TaskSpec, observations: Array, rewards: Array, infos: Mapping[str, float]
    ) -> dict[str, float]:
        """Return what a probe shows, nothing of other episodes.

        Args:
            spec: the environment.
            observations: (T + 1, observation_size), flat.
            rewards: (T,), not used: their sum is in every outcome.
            infos: of the last step.
        """
        if self.probe is None:
            return {}
        if self.probe == SIZES:
            return size_notes(spec, observations)
        return probe_notes(spec, observations, infos)

    def write(self, spec: TaskSpec) -> str:
        """Return a whole policy file."""
        return write(self.gait, spec)

    def write_out(self, candidate: Candidate, spec: TaskSpec) -> Candidate:
        """Return the candidate with the gait's text as the whole controller.

        Args:
            candidate: one whose ``program`` is this one as data.
            spec: the environment that the text is for.
        """
        return replace(candidate, text=self.write(spec), program=None, seeds=None)


@dataclass(slots=True)
class _Page:
    """A text that grows: constants, each with what stands above it, and functions."""

    spec: TaskSpec
    constants: dict[str, str] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)

    def number(self, name: str, value: float, low: float, high: float, description: str) -> str:
        """Add a constant and return its name.

        Args:
            name: in Python, made to differ from all others.
            value: at first.
            low: least value.
            high: largest value.
            description: with its unit, for people and models.
        """
        low, high = (float(f"{min(low, value):.4g}"), float(f"{max(high, value):.4g}"))
        while name in self.constants:
            name += "_"
        text = json.dumps(description, ensure_ascii=False)
        self.constants[name] = (
            f'{name} = node({value!r}, name="{name}", trainable=True, constraint=Bounds({low!r}, {high!r}),\n'
            f"    description={text})  # fmt: skip"
        )
        return name

    def table(self, rows: Sequence[Sequence[float]], columns: Sequence[str], labels: Sequence[str]) -> str:
        """Add a table of gains and return its name.

        Args:
            rows: for each number seen, of one number for each control.
            columns: names of the controls.
            labels: of the rows.
        """
        width = max(len(repr(number)) for row in rows for number in row)
        lines = []
        for row, label in zip(rows, labels, strict=True):
            numbers = f"[{', '.join(f'{number!r:>{width}}' for number in row)}],"
            if len(numbers) > WIDTH:
                lines += [f"# {label}", *textwrap.wrap(numbers, WIDTH - 8, subsequent_indent=" ")]
            else:
                lines.append(f"{numbers}  # {label}")
        head = f"Rows are what is seen, columns the controls: {', '.join(columns)}."
        self.constants["gains"] = (
            textwrap.fill(head, WIDTH, initial_indent="# ", subsequent_indent="# ")
            + f"\ngains = node(\n    [\n{textwrap.indent(chr(10).join(lines), ' ' * 8)}\n    ],\n"
            + '    name="gains", trainable=True,\n'
            + '    description="control, 1 is all that the actuator can do, for each usual spread of what is seen",\n'
            + ")  # fmt: skip"
        )
        return "gains"

    def function(self, name: str, inputs: Sequence[str], before: int, says: str, body: list[str]) -> str:
        """Add a trainable function and return the call of it.

        Args:
            name: in Python.
            inputs: its arguments beside constants.
            before: how many constants there were before its own.
            says: its docstring.
            body: its lines.
        """
        arguments = [*inputs, *list(self.constants)[before:]]
        self.functions.append(function_text(name, arguments, says, body))
        return listed(name, arguments)


def write(gait: Gait, spec: TaskSpec) -> str:
    """Return the text of a policy file.

    Args:
        gait: what the policy does.
        spec: the environment that it is for, whose fields name the constants.

    Raises:
        PolicyError: if the gait does not fit the environment.
    """
    check(gait, spec)
    page, names, lines = _Page(spec), joint_names(spec), []
    if gait.swings:
        lines.append(f"phase = {_advance(page, gait)}")
    balance = gait.balance if gait.balance is not None and gait.balance.indices else None
    placed = balance is None or gait.follows or any(joint != UNMOVED for joint in gait.joints)
    if placed:
        lines.append(f"{'targets' if gait.follows else 'controls'} = {_targets(page, gait, names)}")
    if gait.follows:
        lines.append(f"controls = {_follow(page, gait)}")
    if balance is not None:
        lines.append(f"deviations = {_deviate(page, balance)}")
        lines.append(f"controls = {_balance(page, balance, names, placed=placed)}")
    lines.append(f"return {_limit(page)}")
    title = textwrap.fill(f"Found by search for {spec.name}: {title_of(gait)}.", WIDTH)
    seconds = f"\nSTEP_SECONDS = {gait.step_seconds!r}  # between two decisions" if gait.swings else ""
    imports = ("import math\n\n" if gait.swings else "") + "from trace_robot import Bounds, bundle, node"
    if not any("Bounds" in text for text in page.constants.values()):
        imports = imports.replace("Bounds, ", "")
    head = f'"""{title}"""\n\n{imports}\n\nCONTROL = "{spec.control}"{seconds}'
    act = "\n".join(
        ["def act(observation, memory):", '    """Return the next action."""']
        + [textwrap.indent(line, "    ") for line in lines]
    )
    helpers = [CLIP.rstrip()] + [WEIGH.rstrip()] * ("gains" in page.constants)
    parts = ["\n".join([head, "", *page.constants.values()]), *helpers, *page.functions, act]
    return "\n\n\n".join(parts) + "\n"


def title_of(gait: Gait) -> str:
    """Return what kind of gait it is."""
    parts = []
    if gait.swings:
        known = gait.step_seconds != 1.0
        parts.append(f"a rhythm of {gait.frequency:.3g} strides a {'second' if known else 'decision'}")
    if gait.balance is not None:
        parts.append("linear feedback")
    return ", with ".join(parts) or "a posture that is kept"


def _advance(page: _Page, gait: Gait) -> str:
    hertz = page.number("stride_hz", gait.frequency, 0.0, ROOM * gait.frequency, "strides a second, Hz")
    share = page.number(
        "stance_share", gait.stance, 0.1, 0.9, "share of a stride that the first half of it lasts"
    )
    body = [
        'count = memory.get("decisions", 0)',
        'memory["decisions"] = count + 1',
        f"turn = count * ({hertz} * STEP_SECONDS) % 1.0",
        f"if turn < {share}:",
        f"    return math.pi * turn / {share}",
        f"return math.pi + math.pi * (turn - {share}) / (1.0 - {share})",
    ]
    return page.function("advance", ["memory"], 0, "Return the phase of the stride, 0 to 2 pi.", body)


def joint_names(spec: TaskSpec) -> list[str]:
    """Return a name for each number of the action, without its motor suffix if clear."""
    names = [name_of(j, spec.action) for j in range(spec.action_size)]
    short = [MOTOR.sub("", name) for name in names]
    return short if len({*short}) == len(names) and all(short) else names


def _called(followers: Mapping[int, int], names: Sequence[str]) -> dict[int, str]:
    """Return a name for each leading number: knee of left_knee and right_knee."""
    common = {
        first: "_".join(part for part in names[first].split("_") if part in names[second].split("_"))
        for second, first in followers.items()
    }
    clear = all(name and name not in names for name in common.values())
    return dict(enumerate(names)) | (common if clear and len({*common.values()}) == len(common) else {})


def _targets(page: _Page, gait: Gait, names: Sequence[str]) -> str:
    """Write the function of where each joint is to be, return the call of it."""
    before, body, followers = len(page.constants), [], gait.followers
    called = _called(followers, names)
    swings: dict[int, tuple[str, list[tuple[str, str, str]]]] = {}
    for j, (joint, name) in enumerate(zip(gait.joints, names, strict=True)):
        late = j in followers
        swings[j] = swings[followers[j]] if late else _swing(page, joint, called[j])
        offset, waves = swings[j]
        terms = [offset] if offset else []
        for amplitude, phase, lag in waves:
            turns = f"({lag} + 0.5) % 1.0" if late and phase == "phase" else lag
            terms.append(f"{amplitude} * math.sin({phase} + {turns} * math.tau)")
        body.append(f"{name} = {' + '.join(terms) or '0.0'}")
    body.append(_list(names))
    where = "where each joint is to be, rad" if gait.follows else "what each control does"
    half = "; the second of a pair does the same half a stride later" if followers else ""
    inputs = ["phase"] if gait.swings else []
    return page.function("swing", inputs, before, f"Return {where}{half}.", body)


def _swing(page: _Page, joint: Joint, name: str) -> tuple[str, list[tuple[str, str, str]]]:
    """Add a joint's constants, return the texts of its offset and harmonics."""
    unit = "rad" if joint.angle >= 0 else "1 is all that the actuator can do"
    offset, waves = "", []
    if joint.offset or not (joint.amplitude or joint.second):
        room = max(ROOM * abs(joint.offset), 1.0)
        offset = page.number(f"{name}_offset", joint.offset, -room, room, f"middle of its swing, {unit}")
    for size, lag, prefix, what, phase in (
        (joint.amplitude, joint.lag, "", "of its swing", "phase"),
        (joint.second, joint.second_lag, "second_", "of its swing at twice the rate", "2.0 * phase"),
    ):
        if size:
            says = f"half the width {what}, {unit}"
            high = page.number(f"{name}_{prefix}amplitude", size, 0.0, ROOM * size, says)
            says = "how far it is ahead of the clock, turns"
            waves.append((high, phase, page.number(f"{name}_{prefix}lag", lag, 0.0, 1.0, says)))
    return offset, waves


def _follow(page: _Page, gait: Gait) -> str:
    """Write proportional-derivative feedback of the targets, return the call of it."""
    before = len(page.constants)
    says = "control, 1 is all that the actuator can do, for each"
    stiff = page.number(
        "stiffness", gait.stiffness, 0.0, ROOM * gait.stiffness, f"{says} rad from the target"
    )
    damp = page.number("damping", gait.damping, 0.0, ROOM * gait.damping, f"{says} rad/s of the joint")
    parts = []
    for j, joint in enumerate(gait.joints):
        part = f"targets[{j}]"
        if joint.angle >= 0:
            part = f"{stiff} * ({part} - {seen_text(joint.angle, page.spec)})"
        if joint.rate >= 0:
            part += f" - {damp} * {seen_text(joint.rate, page.spec)}"
        parts.append(part)
    says = "Follow the targets: pull to them as springs do, and brake."
    return page.function("follow", ["observation", "targets"], before, says, [_list(parts)])


def _deviate(page: _Page, balance: Balance) -> str:
    """Write the function of what the feedback sees, return the call of it."""
    parts = [
        f"({seen_text(index, page.spec)} {'-' if mean >= 0.0 else '+'} {abs(mean)!r}) / {spread!r}"
        for index, mean, spread in zip(balance.indices, balance.means, balance.spreads, strict=True)
    ]
    says = "Return what is seen, less what it usually is, in units of its usual spread."
    page.functions.append(
        f'@bundle()\ndef deviate(observation):\n    """{says}"""\n' + textwrap.indent(_list(parts), "    ")
    )
    return "deviate(observation)"


def _balance(page: _Page, balance: Balance, names: Sequence[str], *, placed: bool) -> str:
    """Write the feedback, return the call of it.

    Args:
        page: grows.
        balance: the feedback.
        names: of the controls.
        placed: whether it is added to controls.
    """
    before, parts = len(page.constants), []
    seen = [name_of(index, page.spec.observation) for index in balance.indices]
    if len(seen) * len(names) <= FEW:
        for j, (name, gains) in enumerate(zip(names, balance.gains, strict=True)):
            terms = []
            for k, (what, gain) in enumerate(zip(seen, gains, strict=True)):
                room = max(ROOM * abs(gain), 1.0)
                says = f"control, 1 is all that the actuator can do, for each usual spread of {what}"
                constant = page.number(f"{name}_gain_of_{what}", gain, -room, room, says)
                terms.append(f"{constant} * deviations[{k}]")
            parts.append(f"controls[{j}] + ({' + '.join(terms)})" if placed else " + ".join(terms))
        result = _list(parts)
    else:
        units = [field_of(index, page.spec.observation)[0].unit for index in balance.indices]
        labels = [f"{what}, {unit}" if unit else what for what, unit in zip(seen, units, strict=True)]
        page.table(list(zip(*balance.gains, strict=True)), names, labels)
        result = "return [weigh(column, deviations) for column in zip(*gains)]"
        if placed:
            result = (
                "return [\n    control + weigh(column, deviations)"
                "\n    for control, column in zip(controls, zip(*gains))\n]"
            )
    inputs = [*["controls"] * placed, "deviations"]
    says = f"{'Add' if placed else 'Return'} what keeps the balance: what is seen, each number with its gain."
    return page.function("balance", inputs, before, says, [result])


def _limit(page: _Page) -> str:
    parts = []
    for j, (low, high) in enumerate(zip(page.spec.low, page.spec.high, strict=True)):
        middle, reach = (low + high) / 2, (high - low) / 2
        scaled = f"clip(controls[{j}])" if reach == 1.0 else f"{reach!r} * clip(controls[{j}])"
        parts.append(scaled if middle == 0.0 else f"{middle!r} + {scaled}")
    alike = all(part == f"clip(controls[{j}])" for j, part in enumerate(parts))
    result = "return [clip(control) for control in controls]" if alike else _list(parts)
    page.functions.append(
        '@bundle()\ndef limit(controls):\n    """Return the action: no more than the actuators can do."""\n'
        + textwrap.indent(result, "    ")
    )
    return "limit(controls)"


def _list(parts: Sequence[str]) -> str:
    line = f"return [{', '.join(parts)}]"
    if len(line) + 4 <= WIDTH:
        return line
    return "return [\n" + "".join(f"    {part},\n" for part in parts) + "]"
