"""Relations between measured numbers: of an observation with each other, and of an action with what it moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import numpy as np

from trace_robot.env_checker.simulator import Effect, Identified, Sample
from trace_robot.spec import Array

EXACT = 1e-4  # of the largest value, for what an integrator computes
RELATED = 60  # numbers of an observation that are compared in threes
PAIRED = 200  # and in twos
RATE = 0.98  # likeness (cosine) of a number to the change of another whose rate it may be


def relations(
    before: Array, after: Array, actions: Array, taken: Array, keys: Mapping[int, str], seconds: float | None
) -> Iterator[Identified]:
    """Yield what numbers are by algebra.

    Looked for are repetitions, differences, unit vectors, rates and time.

    Args:
        before: (T, n) observations before the steps.
        after: (T, n) observations after them.
        actions: (T, act_dim).
        taken: (n,) whether a number is known already.
        keys: the first number of each key of a Dict space, and its name.
        seconds: of a step, None where unknown.
    """
    free = ~taken
    searches = (
        _goals(after, free, keys),
        _vectors(after, free, keys, 3),
        _vectors(after, free, keys, 2),
        _unit_vectors(after, free, keys),
        _rates(before, after, free, seconds),
        _clocks(before, after, free, seconds),
        _last_actions(after, actions, free),
    )
    for relation in chain.from_iterable(searches):  # generators: each sees what those before it have taken
        if free[relation.start : relation.stop].all():
            free[relation.start : relation.stop] = False
            yield relation


def seen_from_bodies(sample: Sample, seen: Array, places: Sequence[int], axes: str) -> Iterator[Identified]:
    """Yield targets that the simulator does not hold, and their differences to a body.

    A target is the same in all of an episode and another in the next; what it is seen from moves.

    Args:
        sample: of the environment.
        seen: (T, n) observations after the steps.
        places: where as many numbers as there are ``axes`` lie that nothing is known of.
        axes: such as "xz" of a planar robot.
    """
    columns, size = np.array(["xyz".index(axis) for axis in axes]), len(axes)
    points = {
        (quantity.kind, quantity.owner): sample.simulated[:, k + columns]
        for k, quantity in enumerate(sample.quantities[:-2])
        if (quantity.role, quantity.axis) == ("position", "x")
    }
    same = np.diff(sample.episode) == 0
    still = [
        not np.diff(seen[:, i], axis=0)[same].any() and bool(np.ptp(seen[:, i])) for i in range(seen.shape[1])
    ]
    fixed = [i for i in places if all(still[i : i + size])]
    for place in places:
        part = seen[:, place : place + size]
        if any(still[place : place + size]) or not np.ptp(part, axis=0).all():
            continue
        for target in fixed:
            point = seen[:, target : target + size]
            for (kind, owner), values in points.items():
                for sign in (1, -1):
                    if np.ptp(values, axis=0).any() and _same(sign * (point - values), part):
                        names = ("target", owner)[::sign]
                        meaning = f"position of {names[0]!r} minus that of {names[1]!r}"
                        guess = f"a point in meters? another part is its difference to {kind} {owner!r}"
                        yield Identified(
                            target, target + size, "position", ("target",), "m", "", guess, "numbers", axes
                        )
                        yield Identified(
                            place, place + size, "difference of position", names, "m", meaning, axes=axes
                        )


def _same(a: Array, b: Array) -> bool:
    return bool(np.abs(a - b).max() <= 1e-6 * max(float(np.abs(a).max()), 0.01))


def _goals(after: Array, free: Array, keys: Mapping[int, str]) -> Iterator[Identified]:
    """Yield the goals of a goal environment, and the point that is achieved."""
    starts = {name: start for start, name in keys.items()}
    achieved, desired = starts.get("achieved_goal"), starts.get("desired_goal")
    ends = [*sorted(keys)[1:], len(free)]
    sizes = {start: end - start for start, end in zip(sorted(keys), ends, strict=True)}
    if achieved is None or desired is None or sizes[achieved] != 3 or sizes[desired] != 3:
        return
    goal = after[:, achieved : achieved + 3]
    for i in range(len(free) - 2):
        if i not in (achieved, desired) and np.ptp(goal) > 0 and _same(goal, after[:, i : i + 3]):
            guess = "in meters? it equals achieved_goal"
            yield Identified(i, i + 3, "position", ("achieved_goal",), "m", "", guess, "key", "xyz")
            yield Identified(
                achieved, achieved + 3, "repeated position", (f"@{i}",), "m", "the same numbers again"
            )
    for start, name in ((achieved, "achieved_goal"), (desired, "goal")):
        guess = "in meters? its key says that it is a goal"
        yield Identified(
            start, start + 3, "position", (name,), "m", "a point by its key", guess, "key", "xyz"
        )


def _vectors(after: Array, free: Array, keys: Mapping[int, str], size: int) -> Iterator[Identified]:
    """Yield vectors that are the difference of two others, and these two as points.

    Of two numbers each must vary: among the pairs of a longer observation some have a 0 in common.
    """
    axes, inner = "xyz" if size == 3 else "", range(1, size)
    varies = np.ptp(after, axis=0) > 1e-9
    places = [
        i
        for i in range(min(len(free), RELATED) - size + 1)
        if (varies[i : i + size].any() if size == 3 else varies[i : i + size].all())
        and not any(i + k in keys for k in inner)
    ]
    rows = np.stack([after[0, i : i + size] for i in places]) if places else np.zeros((0, size))
    for a in places:
        for b in places:
            if abs(a - b) < size:
                continue
            difference = after[:, a : a + size] - after[:, b : b + size]
            near = np.flatnonzero(np.abs(rows - difference[0]).max(1) <= 1e-5)
            for c in (places[k] for k in near):
                apart = min(abs(c - a), abs(c - b)) >= size and c > min(a, b)
                if apart and free[c : c + size].all() and _same(difference, after[:, c : c + size]):
                    guess = "a point in meters? another part is its difference to a second point"
                    yield Identified(
                        c, c + size, "difference of position", (f"@{a}", f"@{b}"), "m", "", "", "", axes
                    )
                    for point in (a, b):
                        yield Identified(point, point + size, "position", (), "m", "", guess, "numbers", axes)


def _unit_vectors(after: Array, free: Array, keys: Mapping[int, str]) -> Iterator[Identified]:
    """Yield unit quaternions, and cosine and sine of one angle.

    These stand beside each other or a few numbers apart."""
    moves = np.ptp(after, axis=0) > 1e-6
    for i in range(len(free) - 3):
        four = after[:, i : i + 4]
        inside = not any(i + k in keys for k in (1, 2, 3))
        pairs = any(
            _same(np.square(after[:, [i + a, i + b]]).sum(1), np.ones(1)) for a, b in ((0, 1), (2, 3), (0, 2))
        )
        if inside and moves[i : i + 4].sum() > 1 and not pairs and _same(np.square(four).sum(1), np.ones(1)):
            yield Identified(
                i,
                i + 4,
                "quaternion",
                (),
                "",
                "a unit vector of four",
                "which number comes first?",
                axes="wxyz",
            )
    for apart in (1, 2, 3, 4):
        for i in range(len(free) - apart):
            pair = after[:, [i, i + apart]]
            if moves[[i, i + apart]].all() and _same(np.square(pair).sum(1), np.ones(1)):
                guess = "cosine and sine of one angle; which is which?"
                yield Identified(i, i + 1, "cosine", (), "", "", guess)
                yield Identified(i + apart, i + apart + 1, "sine", (f"@{i}",), "", "", guess)


def _rates(before: Array, after: Array, free: Array, seconds: float | None) -> Iterator[Identified]:
    """Yield numbers that another one changes by in a step, times a constant.

    The rate before or after the step, as integrators differ; of an angle that is seen as cosine and sine as well.
    """
    change = after - before
    columns = {f"@{i}": change[:, i] for i in range(min(after.shape[1], PAIRED))}
    for i in range(min(after.shape[1] - 1, PAIRED)):
        if _same(np.square(after[:, i : i + 2]).sum(1), np.ones(1)):
            turn = np.arctan2(after[:, i + 1], after[:, i]) - np.arctan2(before[:, i + 1], before[:, i])
            columns[f"@{i}"] = (turn + np.pi) % (2 * np.pi) - np.pi
    found: dict[str, str] = {}
    for owner, changes in columns.items():
        if np.ptp(changes) < 1e-9:
            continue
        for j in np.flatnonzero(free)[:PAIRED]:
            if found.get(owner) == f"@{j}":  # of an oscillator each is the rate of the other
                continue
            for rate in (after[:, j], before[:, j]):
                size = float(rate @ rate)
                slope = float(rate @ changes) / size if size > 0 and f"@{j}" != owner else 0.0
                if (
                    abs(slope) > 1e-9
                    and np.abs(changes - slope * rate).max() <= EXACT * np.abs(changes).max()
                ):
                    timed = seconds is not None and abs(abs(slope) / seconds - 1) < 0.01
                    meaning = "" if timed else f"a step changes the number by {slope:.4g} times it"
                    unit, guess = ("/s", "") if timed else ("", "in which unit?")
                    found[f"@{j}"] = owner
                    yield Identified(int(j), int(j) + 1, "rate", (owner,), unit, meaning, guess)


def _clocks(before: Array, after: Array, free: Array, seconds: float | None) -> Iterator[Identified]:
    """Yield numbers that grow, or fall, by the same amount in every step."""
    for i in np.flatnonzero(free):
        change = (after - before)[:, i]
        if abs(change[0]) > 1e-9 and np.ptp(change) <= EXACT * abs(change[0]):
            timed = seconds is not None and abs(abs(change[0]) / seconds - 1) < 0.01
            role, more = ("time", "more") if change[0] > 0 else ("time left", "less")
            meaning = f"{abs(change[0]):.4g} {more} after every step"
            yield Identified(int(i), int(i) + 1, role, (), "s" if timed else "", meaning)


def likely(
    sample: Sample, taken: Array, starts: Sequence[int], bounds: tuple[Array, Array]
) -> Iterator[Identified]:
    """Yield what numbers may be by how they move: angles, their rates, goals.

    Unlike ``relations`` it is guessed, each with its reason; numbers of one kind that follow each other are one run.

    Args:
        sample: of the environment.
        taken: (n,) whether a number is known already.
        starts: the first number of each key or part, inside of which a run stays.
        bounds: (n,) lowest and highest values, of the observation's space.
    """
    count = min(len(taken), PAIRED)
    before, after = sample.before[:, :count], sample.after[:, :count]
    change, same = after - before, np.diff(sample.episode) == 0
    still = ~np.diff(after, axis=0)[same].any(0) & (np.ptp(after, axis=0) > 0)
    # Where a number jumps by more than half a turn, an angle was wrapped.
    bounded = np.all([np.abs(np.abs(bound[:count]) - np.pi) < 1e-2 for bound in bounds], axis=0)
    bounded |= (np.abs(after).max(0) <= np.pi + 1e-3) & (np.abs(change).max(0) > np.pi)
    change = np.where(bounded, (change + np.pi) % (2 * np.pi) - np.pi, change)
    owners = _rate_owners(change, (before + after) / 2, ~taken[:count] & ~still)

    def kind(i: int) -> tuple[str, int]:
        if taken[i]:
            return "", 0
        if i in owners:
            return "rate", owners[i] - i
        return ("goal", 0) if still[i] else ("angle", 0) if bounded[i] else ("", 0)

    first = 0
    for stop in range(1, count + 1):
        if stop < count and stop not in starts and kind(stop) == kind(first):
            continue
        role, apart = kind(first)
        guess = {"rate": "it goes as another number changes", "angle": "within half a turn: in rad?"}.get(
            role, "the same in all of an episode, another in the next: what is to be reached?"
        )
        if role:
            of = (f"@{first + apart}",) if role == "rate" else ()
            unit = {"angle": "rad", "rate": "/s"}.get(role, "")
            yield Identified(first, stop, role, of, unit, "", guess)
        first = stop


def _rate_owners(change: Array, rate: Array, free: Array) -> dict[int, int]:
    """Return of which number each is the rate, each the likeliest to the other."""
    norms = np.maximum(np.linalg.norm(change, axis=0), 1e-12), np.maximum(np.linalg.norm(rate, axis=0), 1e-12)
    likeness = (change / norms[0]).T @ (rate / norms[1])
    np.fill_diagonal(likeness, -1.0)
    likeness[~free], likeness[:, ~free] = -1.0, -1.0
    best, owner = likeness.argmax(1), likeness.argmax(0)
    return {
        int(j): int(i)
        for j, i in enumerate(owner)
        if best[i] == j and likeness[i, j] > RATE and owner[i] != j
    }


def _last_actions(after: Array, actions: Array, free: Array) -> Iterator[Identified]:
    for i in np.flatnonzero(free):
        for j in range(actions.shape[1]):
            if np.ptp(actions[:, j]) > 0 and _same(after[:, i], actions[:, j].astype(float)):
                yield Identified(
                    int(i), int(i) + 1, "last action", (), "", f"number {j} of the action before it"
                )


def effect_of(sample: Sample, number: int, moved: Array, single: Sequence[int]) -> Effect:
    """Return what a number of an action does.

    Args:
        sample: of the environment, in which each number was held at both bounds.
        number: of the action.
        moved: (act_dim, 3) by how much each number moves the hand.
        single: the observed numbers that are a part each, of which one may be the width of a gripper.
    """
    return _grip(sample, number, moved, single) or _drive(sample, number) or _motion(sample, number, moved)


def _drive(sample: Sample, number: int) -> Effect | None:
    """Return the actuator whose control is a linear function of a number."""
    if sample.simulator is None or np.ptp(sample.actions[:, number]) == 0:
        return None
    model, own = sample.simulator.model, sample.actions[:, number].astype(float)
    controls = [k for k, quantity in enumerate(sample.quantities) if quantity.array == "ctrl"]
    for actuator, k in enumerate(controls):
        control = sample.simulated[:, k]
        slope, offset = np.polyfit(own, control, 1)
        if abs(slope) < 1e-9 or np.abs(control - slope * own - offset).max() > 1e-5 * np.abs(control).max():
            continue
        joint = (
            int(model.actuator_trnid[actuator, 0]) if int(model.actuator_trntype[actuator]) in (0, 1) else -1
        )
        owner = model.actuator(actuator).name or (sample.simulator.name("joint", joint) if joint >= 0 else "")
        slides = joint >= 0 and int(model.jnt_type[joint]) == 2
        gain, gear = float(model.actuator_gainprm[actuator, 0]), float(model.actuator_gear[actuator, 0])
        factor = float(slope)
        if int(model.actuator_biastype[actuator]) == 0:
            kind, unit = ("force", "N") if slides else ("torque", "N m")
            return Effect(kind, unit, factor * gain * gear, owner)
        if model.actuator_biasprm[actuator, 1] < 0:  # a spring towards the control: a position servo
            kind, unit = ("target position", "m") if slides else ("target angle", "rad")
            return Effect(kind, unit, factor / gear, owner)
        return Effect("target velocity", "m/s" if slides else "rad/s", factor / gear, owner)
    return None


def _grip(sample: Sample, number: int, moved: Array, single: Sequence[int]) -> Effect | None:
    """Return whether a number opens (1) or closes (-1) fingers, by their distance.

    Fingers are two bodies on one parent whose joints this number alone moves, while the hand stays where it is.
    """
    reach = np.linalg.norm(moved, axis=1)
    if reach[number] >= 0.1 * reach.max():  # it moves the hand, or no hand was found
        return None
    if sample.simulator is None:
        return _width(sample, number, single)
    model, ends = sample.simulator.model, sample.pushed_simulated[number]
    columns = [k for k, q in enumerate(sample.quantities) if q.array == "qpos" and q.kind == "joint"]
    shifts = {sample.quantities[k].owner: abs(float(ends[1, k] - ends[0, k])) for k in columns}
    largest = max(shifts.values(), default=0.0)
    joints = [
        i
        for i in range(model.njnt)
        if shifts.get(sample.simulator.name("joint", i), 0.0) > max(0.2 * largest, 1e-3)
    ]
    bodies = [int(model.jnt_bodyid[i]) for i in joints]
    if len(set(bodies)) != 2 or model.body_parentid[bodies[0]] != model.body_parentid[bodies[1]]:
        return None
    first = next(k for k, quantity in enumerate(sample.quantities) if quantity.array == "body positions")
    at = [ends[:, first + 3 * body : first + 3 * body + 3] for body in bodies]
    shut, wide = np.linalg.norm(at[0] - at[1], axis=1)
    if abs(wide - shut) <= 1e-3:
        return None
    return Effect("gripper", "", float(np.sign(wide - shut)), "the distance of the fingers")


def _width(sample: Sample, number: int, single: Sequence[int]) -> Effect | None:
    """Return the same without a simulator, by an observed width.

    It is a small number that this number of the action alone moves."""
    for i in single:
        shift = sample.moved[:, i]
        others = np.abs(np.delete(shift, number)).max(initial=0.0)
        small = sample.after[:, i].min() >= -1e-3 and sample.after[:, i].max() < 0.5
        alone = abs(shift[number]) > 1e-3 and others < 0.05 * abs(shift[number])
        if small and alone:
            return Effect("gripper", "guess", float(np.sign(shift[number])), f"@{i}")
    return None


def _motion(sample: Sample, number: int, moved: Array) -> Effect:
    """Return the axis along which a number moves the hand, if it moves it along one."""
    shift = moved[number]
    length = float(np.linalg.norm(shift))
    if length < 1e-4:
        observed = np.abs(sample.moved[number])
        if observed.max() <= 1e-4:
            return Effect("nothing", "", 0.0, "")
        # In units of how much each varies at all: a velocity is in larger numbers than a position.
        most = int((observed / np.maximum(sample.after.std(0), 1e-6)).argmax())
        return Effect("unknown", "", 0.0, f"@{most}")
    axis = int(np.abs(shift).argmax())
    if abs(shift[axis]) < 0.9 * length:
        return Effect("unknown", "hand", length, "")
    return Effect("motion", "", float(shift[axis]), "xyz"[axis])
