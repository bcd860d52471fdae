"""Gaits as a kind of controller, and their writer.

A gait is written as Python whose numbers are trainable constants.

The text does the same float64 arithmetic in the same order as the interpreter, so that both give the same float32
actions. Journals hold hashes of these texts: where one changes, stored runs cannot resume.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from trace_robot.search.feedback_law.law import name_of, seen_text
from trace_robot.search.feedback_law.writer import CLIP, WIDTH, function_text, listed
from trace_robot.search.gait.gait import KEY, WHOLE, Balance, Gait, GaitRunner, Joint, Truncation, check
from trace_robot.search.gait.identify import PROBE, SIZES, probe_notes, size_notes
from trace_robot.spec import Array, TaskSpec

if TYPE_CHECKING:
    from trace_robot.optimizers.problem import Candidate

ROOM = 4.0  # times its size that a constant may grow to
FEW = 6  # numbers of the feedback for which each gain is a constant by itself
TRIAL = "trial"


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
    """A text that grows: constants, functions, and the names of what the action moves."""

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
        constraint = f"constraint=Bounds({low!r}, {high!r}),"
        return self._node(name, repr(value), constraint, description)

    def row(self, name: str, values: Sequence[float], description: str) -> str:
        """Add a list of numbers and return its name.

        Args:
            name: in Python.
            values: at first.
            description: for people and models.
        """
        numbers = textwrap.fill(f"[{', '.join(map(repr, values))}]", WIDTH - 4, subsequent_indent="     ")
        return self._node(name, numbers, "", description)

    def _node(self, name: str, value: str, constraint: str, description: str) -> str:
        while name in self.constants:
            name += "_"
        first = f'    {value},\n    name="{name}", trainable=True, {constraint}'.rstrip()
        text = json.dumps(description, ensure_ascii=False)
        self.constants[name] = f"{name} = node(\n{first}\n    description={text},\n)  # fmt: skip"
        return name

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
    page = _Page(spec)
    names = [name_of(j, spec.action) for j in range(spec.action_size)]
    lines = []
    if gait.swings:
        lines.append(f"phase = {_advance(page, gait)}")
    lines.append(f"controls = {_targets(page, gait, names)}")
    if gait.follows:
        lines.append(f"controls = {_follow(page, gait)}")
    if gait.balance is not None and gait.balance.indices:
        lines.append(f"deviations = {_deviate(page, gait.balance)}")
        lines.append(f"controls = {_balance(page, gait.balance, names)}")
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
    parts = [head, *page.constants.values()]
    return "\n\n\n".join(["\n".join([parts[0], "", *parts[1:]]), CLIP.rstrip(), *page.functions, act]) + "\n"


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


def _targets(page: _Page, gait: Gait, names: Sequence[str]) -> str:
    """Write the function of where each joint is to be, return the call of it."""
    before = len(page.constants)
    body = [
        f"{name} = {' + '.join(_swing(page, joint, name)) or '0.0'}"
        for joint, name in zip(gait.joints, names, strict=True)
    ]
    body.append(_list(names))
    inputs = ["phase"] if gait.swings else []
    where = (
        "Where each joint is to be, in the unit of its angle." if gait.follows else "What each control does."
    )
    return page.function("swing", inputs, before, where, body)


def _swing(page: _Page, joint: Joint, name: str) -> list[str]:
    unit = "rad" if joint.angle >= 0 else "1 is all that the actuator can do"
    terms = []
    if joint.offset or not (joint.amplitude or joint.second):
        room = max(ROOM * abs(joint.offset), 1.0)
        terms.append(page.number(f"{name}_offset", joint.offset, -room, room, f"middle of {name}, {unit}"))
    for size, lag, prefix, what, phase in (
        (joint.amplitude, joint.lag, "", "swing", "phase"),
        (joint.second, joint.second_lag, "second_", "swing at twice the rate", "2.0 * phase"),
    ):
        if size:
            high = page.number(
                f"{name}_{prefix}amplitude", size, 0.0, ROOM * size, f"{what} of {name}, {unit}"
            )
            late = page.number(
                f"{name}_{prefix}lag", lag, 0.0, 1.0, "how far ahead of the clock that is, turns of a stride"
            )
            terms.append(f"{high} * math.sin({phase} + {late} * math.tau)")
    return terms


def _follow(page: _Page, gait: Gait) -> str:
    """Write proportional-derivative feedback of the targets, return the call of it."""
    before = len(page.constants)
    stiff = page.number(
        "stiffness", gait.stiffness, 0.0, ROOM * gait.stiffness, "control for each rad from the target"
    )
    damp = page.number(
        "damping", gait.damping, 0.0, ROOM * gait.damping, "control for each rad/s of the joint"
    )
    parts = []
    for j, joint in enumerate(gait.joints):
        part = f"controls[{j}]"
        if joint.angle >= 0:
            part = f"{stiff} * ({part} - {seen_text(joint.angle, page.spec)})"
        if joint.rate >= 0:
            part += f" - {damp} * {seen_text(joint.rate, page.spec)}"
        parts.append(part)
    says = "Follow the targets: pull to them as springs do, and brake."
    return page.function("follow", ["observation", "controls"], before, says, [_list(parts)])


def _deviate(page: _Page, balance: Balance) -> str:
    """Write the function of what the feedback sees, return the call of it."""
    parts = [
        f"({seen_text(index, page.spec)} - {mean!r}) / {spread!r}"
        for index, mean, spread in zip(balance.indices, balance.means, balance.spreads, strict=True)
    ]
    says = "Return what is seen, less what it usually is, in units of its usual spread."
    page.functions.append(
        f'@bundle()\ndef deviate(observation):\n    """{says}"""\n' + textwrap.indent(_list(parts), "    ")
    )
    return "deviate(observation)"


def _balance(page: _Page, balance: Balance, names: Sequence[str]) -> str:
    """Write the feedback, return the call of it."""
    before, parts = len(page.constants), []
    seen = [name_of(index, page.spec.observation) for index in balance.indices]
    few = len(seen) <= FEW
    for j, (name, gains) in enumerate(zip(names, balance.gains, strict=True)):
        if few:
            terms = []
            for k, (what, gain) in enumerate(zip(seen, gains, strict=True)):
                room = max(ROOM * abs(gain), 1.0)
                says = f"control of {name} for each spread of {what}"
                constant = page.number(f"{name}_gain_of_{what}", gain, -room, room, says)
                terms.append(f"{constant} * deviations[{k}]")
            total = f"sum([{', '.join(terms)}])"
        else:
            says = f"control of {name} for each spread of {', '.join(seen)}"
            row = page.row(f"{name}_gains", gains, says)
            total = f"sum(gain * deviation for gain, deviation in zip({row}, deviations))"
        parts.append(f"controls[{j}] + {total}")
    says = "Add what keeps the balance: what is seen, each number with its gain."
    return page.function("balance", ["controls", "deviations"], before, says, [_list(parts)])


def _limit(page: _Page) -> str:
    parts = []
    for j, (low, high) in enumerate(zip(page.spec.low, page.spec.high, strict=True)):
        middle, reach = (low + high) / 2, (high - low) / 2
        scaled = f"clip(controls[{j}])" if reach == 1.0 else f"{reach!r} * clip(controls[{j}])"
        parts.append(scaled if middle == 0.0 else f"{middle!r} + {scaled}")
    page.functions.append(
        '@bundle()\ndef limit(controls):\n    """Return the action: no more than the actuators can do."""\n'
        + textwrap.indent(_list(parts), "    ")
    )
    return "limit(controls)"


def _list(parts: Sequence[str]) -> str:
    line = f"return [{', '.join(parts)}]"
    if len(line) + 4 <= WIDTH:
        return line
    return "return [\n" + "".join(f"    {part},\n" for part in parts) + "]"
