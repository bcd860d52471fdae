"""Findings on an environment's saved state, its grippers as measured, and what has no name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from trace_robot.env_checker.checker import Finding, Verdict, error_text
from trace_robot.env_checker.relations import Identified, Sample, effect_of
from trace_robot.spec import Field, TaskSpec, hands_of

SEED = 0  # of the episode that is saved and restored
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


def saved_state(make: Callable[[], Any], actions: Sequence[Any]) -> Finding:
    """Try to save and restore an environment that nothing else uses.

    A client of a physics server may end its connection when a copy of it is dropped, as PyBullet's does.

    Args:
        make: returns the environment.
        actions: to take, at least 9.
    """
    try:
        env = make()
    except Exception as error:
        return Finding("state", "note", f"its state cannot be saved: {error_text(error)}")
    finding = _snapshot(env, actions)
    with suppress(Exception):  # close() is tried on the other one
        env.close()
    return finding


def _snapshot(env: Any, actions: Sequence[Any]) -> Finding:
    """Try whether an episode that is continued from a saved state goes on as it did."""
    if not hasattr(env, "snapshot"):
        return Finding("state", "note", "its state cannot be saved: it has no snapshot and restore")
    try:
        env.reset(seed=SEED)
        env.step(actions[0])
        saved = env.snapshot()
        first = _trajectory(env, actions[1:9])
        env.restore(saved)
        again = _trajectory(env, actions[1:9])
    except Exception as error:
        return Finding("state", "note", f"its state cannot be saved and restored: {error_text(error)}")
    if first != again:
        text = "its state cannot be saved exactly: a restored episode goes on otherwise"
        return Finding("state", "note", text)
    text = "its state can be saved, and a restored episode goes on exactly as it did"
    return Finding("state", "good", text)


def _trajectory(env: Any, actions: Sequence[Any]) -> list[tuple[bytes, float]]:
    seen = []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        seen.append((observation.tobytes(), float(reward)))
        if terminated or truncated:
            break
    return seen
