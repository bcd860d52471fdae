"""Advice on a declaration: what is measured of its gripper, and what it leaves without a name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from trace_robot.env_checker.checker import Finding, Verdict
from trace_robot.env_checker.relations import Identified, Sample, effect_of
from trace_robot.spec import Field, TaskSpec, hands_of

PLAIN = re.compile(r"(observation|action)(_\d+)?$")  # what numbers without a name are called


def gripper_findings(sample: Sample, runs: Sequence[Identified], spec: TaskSpec) -> Iterator[Finding]:
    """Yield which way each gripper opens, as it is measured.

    Args:
        sample: of the environment, in which each number of the action was held at both bounds.
        runs: of its observation.
        spec: whose hands say which way, or leave it at -1.
    """
    fields = {field.name: field for field in spec.observation}
    single = [run.start for run in runs if run.stop == run.start + 1]
    single += [field.start for field in spec.observation if field.size == 1 and field.start not in single]
    for hand in hands_of(spec):
        if hand.gripper < 0 or hand.gripper >= sample.actions.shape[1]:
            continue
        place = fields[hand.position]
        effect = effect_of(sample, hand.gripper, sample.moved[:, place.start : place.stop], single)
        if effect.kind != "gripper":
            continue
        part = next(each for each in spec.action if each.start <= hand.gripper < each.stop)
        what = f"the gripper of {hand.name!r} opens at {effect.factor:+g} of {part.name}"
        if effect.factor == hand.opens:
            yield Finding("hands", "good", f"{what}, measured by {_by(effect.owner, spec)}")
            continue
        text = f"{what}, measured by {_by(effect.owner, spec)}, and is taken to open at {hand.opens:+g}"
        motion = next((each.name for each in spec.action if each.start == hand.motion), "")
        opens = f"motion={motion!r}, gripper={part.name!r}, opens={effect.factor:+g}"
        # A number of the observation may as well grow while the fingers close.
        verdict: Verdict = "note" if effect.unit == "guess" else "problem"
        remedy = f"say so: hands=[Hand({hand.position!r}, {opens})]"
        yield Finding("hands", verdict, text, "hands", remedy)


def _by(owner: str, spec: TaskSpec) -> str:
    """Return what shows a gripper's width, of which "@7" is seen."""
    if not owner.startswith("@"):
        return owner
    number = int(owner[1:])
    return next(field.name for field in spec.observation if field.start <= number < field.stop)


def name_findings(spec: TaskSpec) -> Iterator[Finding]:
    """Yield what has no name and what may be a point.

    Args:
        spec: of the environment.
    """
    for kind, fields in (("observation", spec.observation), ("action", spec.action)):
        if unnamed := [field for field in fields if PLAIN.match(field.name)]:
            numbers = sum(field.size for field in unnamed)
            text = (
                f"{numbers} number{'s' * (numbers > 1)} of the {kind} {'have' if numbers > 1 else 'has'} no name but"
                f" {unnamed[0].name}{', ...' * (len(unnamed) > 1)}: neither a model nor a reader can tell what"
                f" {'they are' if numbers > 1 else 'it is'}"
            )
            remedy = f"{kind}=[part('name', size, 'unit'), ...]; trace-robot init --env measures a draft"
            yield Finding("names", "note", text, kind, remedy)
    points = [
        field.name for field in spec.observation if _may_be_point(field) and field.name not in spec.positions
    ]
    if points and not spec.positions:
        text = f"{', '.join(points)} may be points, and positions names none: no staged program is searched"
        remedy = f"if they are in the world frame, the hand first: positions={tuple(points)!r}"
        yield Finding("positions", "note", text, "positions", remedy)


def _may_be_point(field: Field) -> bool:
    return field.size == 3 and not PLAIN.match(field.name) and field.unit in ("", "m", "meters", "metres")
