"""Findings on an environment's saved state, its grippers as measured, and what has no name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trace_robot.env.declaration import Environment, Hand
from trace_robot.env.description import describe_env
from trace_robot.env.tracking import JointTracking
from trace_robot.env_checker.checker import Finding, Verdict, error_text
from trace_robot.env_checker.draft import planar_of, points_of, with_goals
from trace_robot.env_checker.identify import identify, take_sample
from trace_robot.env_checker.plugin_writer import HEAD, LISTED
from trace_robot.env_checker.relations import effect_of
from trace_robot.env_checker.simulator import Identified, Sample
from trace_robot.errors import WorkspaceError
from trace_robot.search import StagedSearch
from trace_robot.spec import Field, TaskSpec, hands_of

SEED = 0  # of the episode that is saved and restored
MOVES = 1e-6  # meters by which a hand must move along an axis
UNREACHED = 0.005  # meters from a hand that does not, as far as a decision of mode "pose" may end
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


def name_findings(spec: TaskSpec, file: str = "") -> Iterator[Finding]:
    """Yield what has no name and what may be a point.

    Args:
        spec: of the environment.
        file: of its plug-in; one that ``init --env`` wrote holds what can be measured already.
    """
    plugin = _text(file)
    measured = plugin.startswith(HEAD.partition("\n")[0])
    if guesses := plugin.count("# ?"):
        text = f"{Path(file).name} has guesses of init --env that were not looked at: {guesses}"
        yield Finding("guesses", "note", text, "", "correct each line with # ?, and take the mark away")
    for kind, fields in (("observation", spec.observation), ("action", spec.action)):
        if unnamed := [field for field in fields if PLAIN.match(field.name)]:
            numbers = sum(field.size for field in unnamed)
            text = (
                f"{numbers} number{'s' * (numbers > 1)} of the {kind} {'have' if numbers > 1 else 'has'} no name but"
                f" {unnamed[0].name}{', ...' * (len(unnamed) > 1)}: neither a model nor a reader can tell what"
                f" {'they are' if numbers > 1 else 'it is'}"
            )
            remedy = f"{kind}=[part('name', size, 'unit'), ...]; " + (
                "init --env could not tell what it is; its source or its documentation does"
                if measured
                else "trace-robot init --env measures a draft"
            )
            yield Finding("names", "note", text, kind, remedy)
    points = [
        field.name for field in spec.observation if _may_be_point(field) and field.name not in spec.positions
    ]
    if points and not spec.positions:
        text = f"{', '.join(points)} may be points, and positions names none: no staged program is searched"
        remedy = f"if they are in the world frame, the hand first: positions={tuple(points)!r}"
        yield Finding("positions", "note", text, "positions", remedy)


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):  # the name of a package, or nothing
        return ""


def _may_be_point(field: Field) -> bool:
    return field.size == 3 and not PLAIN.match(field.name) and field.unit in ("", "m", "meters", "metres")


def position_findings(env: Any, spec: TaskSpec, used: TaskSpec) -> Iterator[Finding]:
    """Yield findings about positions and the searches that they enable.

    Args:
        env: as ``trace_robot.env.registry.make`` returns it.
        spec: its description.
        used: its description in the control mode that ``optimize`` takes.
    """
    sample = take_sample(env, spec)
    runs = identify(sample, {0: "", **{field.start: field.name for field in spec.observation}})
    found = {run.start: run for run in runs if run.is_point and not run.guess}
    fields = {field.name: field for field in spec.observation}
    words = []
    for name in spec.positions:
        run = found.get(fields[name].start)
        words.append(f"{name} ({run.kind} {run.owners[0]!r})" if run is not None else name)
    if words:
        yield Finding("positions", "good", f"{', '.join(words)}; the first is the hand")
    named = {fields[name].start for name in spec.positions}
    # Points of the robot's own body are no further positions, nor those that an earlier part shows already.
    others = [run for run in points_of(sample, with_goals(runs, sample, {0: ""})) if run.start not in named]
    if others and sample.simulator is not None:
        listed = ", ".join(
            f"{_field_at(spec, run)} is {run.kind} {run.owners[0]!r}" for run in others[:LISTED]
        )
        yield Finding("positions", "note", f"points that positions does not name: {listed}", "positions")
    planar = {} if spec.positions else planar_of(sample, runs)
    if len(planar) > 1:
        listed = ", ".join(
            f"{_field_at(spec, run)} (x and y of {run.kind} {run.owners[0]!r})" for run in planar
        )
        parts = ", ".join(
            f"part({_field_at(spec, run)!r}, 2, 'm', height={z:g})" for run, z in planar.items()
        )
        text = f"{listed} are planar points, and positions names none: no staged program is searched"
        remedy = f"observation=[..., {parts}], positions={tuple(_field_at(spec, run) for run in planar)!r}"
        yield Finding("positions", "note", text, "positions", f"give them a height: {remedy}")
    yield from height_findings(sample, spec, used)
    yield from gripper_findings(sample, runs, spec)
    staged = StagedSearch.suits(used)
    # Of an adapter; a plug-in's own environment has none.
    declared = getattr(env.unwrapped, "declaration", None)
    # Where joints are tracked as declared, positions are for feedback laws, and there is nothing to mend.
    joints = declared is not None and isinstance(declared.pose, JointTracking)
    if spec.positions and not staged and not joints:
        hands = hands_of(used)
        reason = "" if declared is None or hands else _why_no_hand(declared, env.unwrapped.inner)
        text = f"no search uses positions ({', '.join(spec.positions)}): " + (
            f"there is nothing beside {hands[0].position} that it can act on"
            if hands
            else f"{spec.positions[0]} is no hand that the search can move: {reason}"
            if reason
            else "there is no hand that an action moves"
        )
        # A reason says what to do where anything can be done: a cart with wheels has no hand.
        remedy = (
            f"name that too: positions=({hands[0].position!r}, ...)"
            if hands
            else ""
            if reason
            else "say what moves it: hands=[Hand(...)]"
        )
        yield Finding("positions", "note", f"{text}; feedback laws remain", "positions", remedy)
    count = len(hands_of(used))
    mode = f" (--control {used.control}, which optimize takes)" if used.control != spec.control else ""
    programs = (
        f"staged programs for {'one hand' if count == 1 else f'{count} hands'}{mode}; " if staged else ""
    )
    yield Finding("enables", "good", f"{programs}feedback laws")


def height_findings(sample: Sample, spec: TaskSpec, used: TaskSpec) -> Iterator[Finding]:
    """Yield positions that are out of reach along an axis.

    Args:
        sample: of the environment.
        spec: its description.
        used: its description in the control mode of the search, which has the hands.
    """
    starts = {field.name: field.start for field in spec.observation}
    names = [name for name in used.positions if name in starts]
    for hand in (hand for hand in hands_of(used) if hand.position in starts):
        here = starts[hand.position]
        step, push = np.abs(sample.after - sample.before).max(0), np.abs(sample.moved).max(0)
        still = np.flatnonzero(np.maximum(step, push)[here : here + 3] < MOVES)
        place = sample.after[:, here : here + 3]
        for name in (name for name in names if name != hand.position):
            apart = np.abs(sample.after[:, starts[name] : starts[name] + 3] - place).min(0)
            for axis in (axis for axis in still.tolist() if apart[axis] > UNREACHED):
                along, away = "xyz"[axis], float(apart[axis])
                text = (
                    f"{name} is {100 * away:.3g} cm or more from {hand.position} along {along}, and no action moves"
                    f" {hand.position} along {along}: no controller brings one to the other"
                )
                remedy = f"if both are meant to meet, give them the same {along}"
                remedy += ": part(..., 2, 'm', height=...)" * (axis == 2)
                yield Finding("positions", "note", text, "positions", remedy)


def _why_no_hand(declaration: Environment, env: Any) -> str:
    """Return why the first position of an environment is no hand, "" if it is.

    Args:
        declaration: of which ``with_found_hands`` has found no hand.
        env: the gymnasium environment, which is stepped.
    """
    if declaration.hands or declaration.pose is not None or not declaration.positions:
        return ""
    hand = Hand(declaration.positions[0])
    try:
        describe_env(replace(declaration, hands=[hand]), env, "pose", {})
    except WorkspaceError as error:
        return str(error).removeprefix("hands: ").removeprefix(f"{hand.name!r}: ")
    return ""


def _field_at(spec: TaskSpec, run: Identified) -> str:
    field = next((field for field in spec.observation if field.start <= run.start < field.stop), None)
    whole = field is not None and (field.start, field.stop) == (run.start, run.stop)
    return field.name if field is not None and whole else f"observation[{run.start}:{run.stop}]"


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
        return _unsaved(error_text(error))
    finding = _snapshot(env, actions)
    with suppress(Exception):  # close() is tried on the other one
        env.close()
    return finding


def _snapshot(env: Any, actions: Sequence[Any]) -> Finding:
    """Try whether an episode that is continued from a saved state goes on as it did."""
    if not hasattr(env, "snapshot"):
        return _unsaved("it has no snapshot and restore")
    try:
        env.reset(seed=SEED)
        env.step(actions[0])
        saved = env.snapshot()
        first = _trajectory(env, actions[1:9])
        env.restore(saved)
        again = _trajectory(env, actions[1:9])
    except Exception as error:
        return _unsaved(error_text(error))
    if first != again:
        return _unsaved("a restored episode goes on otherwise")
    text = "its state can be saved, and a restored episode goes on exactly as it did"
    return Finding("state", "good", text)


def _unsaved(reason: str) -> Finding:
    # No note: there is nothing to mend, as every episode of a run is begun by a reset.
    return Finding("state", "good", f"its state cannot be saved ({reason}), which no command needs")


def _trajectory(env: Any, actions: Sequence[Any]) -> list[tuple[bytes, float]]:
    seen = []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        seen.append((observation.tobytes(), float(reward)))
        if terminated or truncated:
            break
    return seen
