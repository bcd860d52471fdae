"""System identification of observations: which numbers equal which quantities.

An environment is stepped with random actions after several resets. What MuJoCo knows at the same moments (positions of
bodies and sites, joints, velocities, sensors, forces) is compared number by number; names only label what was measured.
Without MuJoCo the numbers are compared with each other: differences, rates, unit quaternions, cosine and sine.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from trace_robot.env.simulation import step_seconds
from trace_robot.env_checker.relations import likely, relations, seen_from_bodies
from trace_robot.env_checker.simulator import Identified, Sample, SimulatedQuantity, Simulator, clipped
from trace_robot.errors import EnvironmentFault
from trace_robot.fault import UNSTABLE
from trace_robot.spec import Array, TaskSpec

EPISODES, STEPS = 8, 30  # of the sample: goals and objects move between resets, joints within an episode
HOLD = 3  # steps with one action, so that heavy links move too
PUSH = 8  # steps with one number of the action at a bound
SECONDS = 8.0  # for the sample, and as long again for the pushes: an engine may be slow
MOST = 1000  # numbers of an observation that are compared
PUSHED = 64  # numbers of an action that are tried one by one
UNITS = {  # of vectors whose differences environments show
    "position": "m",
    "velocity": "m/s",
    "velocity a step": "m a step",
    "angular velocity": "rad/s",
    "angular velocity a step": "rad a step",
}
ALIKE = ("position", "angle", "joint position", "joint velocity", "velocity", "angular velocity")
TOOL = re.compile("tip|grip|hand|tool|tcp|effector|palm", re.IGNORECASE)
LIKENESS = 0.9  # correlation
FLOOR = 1e-5  # meters, radians, ...: what changes less counts as constant
EXACT = 1e-6  # of the largest value: float32 keeps seven digits


def take_sample(env: Any, spec: TaskSpec) -> Sample:
    """Step an environment and record what it shows and what its simulator holds.

    Args:
        env: with flat observations and actions, as ``trace_robot.env.registry.make`` returns it.
        spec: its description.
    """
    simulator = Simulator.of(env)
    low, high = (np.clip(np.array(bound), -1e6, 1e6) for bound in (spec.low, spec.high))
    random, deadline = np.random.default_rng(0), time.monotonic() + SECONDS
    rows: list[tuple[Any, ...]] = []
    for episode in range(EPISODES):
        observation, _ = env.reset(seed=episode)
        action = low
        for step in range(min(STEPS, spec.horizon)):
            if step % HOLD == 0:
                action = random.uniform(low, high).astype(np.float32)
            before = observation
            result = stable_step(env, action)
            if result is None:
                break
            observation, _, terminated, truncated, _ = result
            held = simulator.read() if simulator else np.zeros(0)
            rows.append((before, observation, action, held, episode))
            if terminated or truncated:
                break
        if time.monotonic() > deadline:
            break
    if not rows:
        raise EnvironmentFault(
            f"{spec.name}: no step of {EPISODES} random episodes was stable; limit its action"
        )
    before, after, actions, simulated, episodes = (np.array(column) for column in zip(*rows, strict=True))
    quantities = simulator.quantities if simulator else ()
    simulated, quantities = clipped(after[:, :MOST], simulated, quantities)
    pushed, pushed_simulated = _push(env, spec, simulator, (low, high))
    seconds = simulator.seconds if simulator else step_seconds(getattr(env.unwrapped, "inner", env).unwrapped)
    return Sample(
        before, after, actions, simulated, quantities, episodes, pushed, pushed_simulated, seconds, simulator
    )


def stable_step(env: Any, action: Array) -> Any:
    """Step an environment, and return None where its simulation became unstable.

    Args:
        env: as of ``take_sample``.
        action: (act_dim,) float32.
    """
    try:
        return env.step(action)
    except EnvironmentFault as error:
        if str(error).startswith(UNSTABLE):
            return None
        raise


def _push(
    env: Any, spec: TaskSpec, simulator: Simulator | None, bounds: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Hold each number of the action at both bounds from one condition."""
    width = len(simulator.quantities) if simulator else 0
    pushed = np.zeros((spec.action_size, 2, spec.observation_size))
    pushed_simulated = np.zeros((spec.action_size, 2, width))
    deadline = time.monotonic() + SECONDS
    for number in range(min(spec.action_size, PUSHED)):
        for end, bound in enumerate(bounds):
            action = (bounds[0] + bounds[1]) / 2
            action[number] = bound[number]
            observation, _ = env.reset(seed=0)
            for _ in range(PUSH):
                result = stable_step(env, action.astype(np.float32))
                if result is None:
                    break
                observation, _, terminated, truncated, _ = result
                if terminated or truncated:
                    break
            pushed[number, end] = observation
            pushed_simulated[number, end] = simulator.read() if simulator else np.zeros(0)
        if time.monotonic() > deadline:
            break
    return pushed, pushed_simulated


def identify(
    sample: Sample, keys: Mapping[int, str] | None = None, bounds: tuple[Array, Array] | None = None
) -> list[Identified]:
    """Return what the numbers of an observation are, in order and without gaps.

    Args:
        sample: of the environment.
        keys: the first number of each key of a Dict space, or of each part, and its name; a run stays inside one.
        bounds: (n,) of its space, by which numbers are guessed that nothing else tells of; None for no guess.
    """
    keys = {0: ""} if keys is None else keys
    starts = tuple(keys)
    size = sample.after.shape[1]
    seen = sample.after[:, :MOST]
    found: dict[int, Identified] = {}
    taken = np.zeros(seen.shape[1], bool)

    def add(runs: Iterator[Identified]) -> None:
        for run in runs:
            if not taken[run.start : run.stop].any():
                found[run.start] = run
                taken[run.start : run.stop] = True

    add(_equal_runs(sample, seen, set(starts)))
    for axes in ("xyz", "xy", "xz", "yz"):
        free = _free(taken, starts, len(axes))
        add(_differences(sample, seen, list(found.values()), free, axes))
        add(seen_from_bodies(sample, seen, free, axes))
    add(_fitted(sample, seen, taken))
    add(_constants(seen, taken, starts))
    # Only once the simulator has no answer: cosines and rates of joints are named after these there.
    related = relations(sample.before[:, :MOST], seen, sample.actions, taken.copy(), keys, sample.seconds)
    add(related)
    if bounds is not None and sample.simulator is None:
        add(likely(sample, taken.copy(), starts, bounds))
    add(_most_alike(sample, seen, taken, starts))
    if size > MOST:
        found[MOST] = Identified(
            MOST, size, "unknown", guess=f"numbers after the first {MOST} were not compared"
        )
    return [found[start] for start in sorted(found)]


def _tolerance(seen: Array) -> Array:
    tolerance: Array = EXACT * np.maximum(np.abs(seen).max(0), 0.01)
    return tolerance


def _varies(seen: Array) -> Array:
    # Locked fingers tremble by less than FLOOR, which is no motion to recognize anything by.
    varies: Array = np.ptp(seen, axis=0) > np.maximum(_tolerance(seen), FLOOR)
    return varies


def _equal_runs(sample: Sample, seen: Array, starts: set[int]) -> Iterator[Identified]:
    """Yield the longest runs that equal consecutive quantities of the simulator.

    A number that never changes equals many others, so it counts a hundredth of one that does: it may continue a run, as
    contact forces of a foot that never touched the ground do, and it begins none alone.
    """
    count, width = seen.shape[1], len(sample.quantities)
    if not width:
        return
    tolerance, varies = _tolerance(seen), _varies(seen)
    arrays = [quantity.array for quantity in sample.quantities]
    continues = np.array([a == b for a, b in zip(arrays, [*arrays[1:], ""], strict=True)])
    worth, length = np.zeros((count + 1, width + 1)), np.zeros((count + 1, width + 1), int)
    for i in range(count - 1, -1, -1):
        equal = (np.abs(sample.simulated - seen[:, i : i + 1]) <= tolerance[i]).all(0)
        follows = continues & (i + 1 not in starts)
        worth[i, :-1] = equal * ((1.0 if varies[i] else 0.01) + follows * worth[i + 1, 1:])
        length[i, :-1] = equal * (1 + follows * length[i + 1, 1:])
    i = 0
    while i < count:
        best = _best(sample.quantities, worth[i, :-1], length[i, :-1])
        run = int(length[i, best])
        fixed_point = worth[i, best] < 1 and _is_fixed_point(sample.quantities[best:], seen[0, i : i + run])
        if worth[i, best] >= 1 or fixed_point:
            run = 3 if fixed_point else run
            for part in _parts(i, sample.quantities[best : best + run]):
                # Numbers beside a run that are 0 may equal the simulator's next ones, of something else that is 0.
                fixed = _is_fixed_point(
                    sample.quantities[best + part.start - i :], seen[0, part.start : part.stop]
                )
                if varies[part.start : part.stop].any() or fixed:
                    yield part
            i += run
        else:
            i += 1


def _best(quantities: Sequence[SimulatedQuantity], worth: Array, length: Array) -> int:
    """Return the column whose run is worth most.

    Of equal ones the first that is no single coordinate of a point; of bodies at one place the one called a tool.
    """
    best = np.flatnonzero(worth >= worth.max() - 1e-9).tolist()
    whole = [k for k in best if length[k] > 1 or quantities[k].role != "position" or not quantities[k].axis]
    tools = [k for k in whole if quantities[k].role == "position" and TOOL.search(quantities[k].owner)]
    return int((tools or whole or best)[0])


def _is_fixed_point(quantities: Sequence[SimulatedQuantity], values: Array) -> bool:
    """Whether constant numbers are a fixed point, not zeros and ones by chance."""
    three = quantities[:3]
    if (
        len(values) < 3
        or [each.axis for each in three] != ["x", "y", "z"]
        or len({each.owner for each in three}) > 1
    ):
        return False
    return (
        three[0].role == "position"
        and sum(value not in (-1.0, 0.0, 1.0) for value in values[:3].tolist()) > 1
    )


def _parts(start: int, quantities: Sequence[SimulatedQuantity]) -> Iterator[Identified]:
    """Split a run where its role, unit or the owner of a vector changes."""
    first = 0
    for i in range(1, len(quantities) + 1):
        if i < len(quantities) and quantities[i].group == quantities[first].group:
            continue
        members = quantities[first:i]
        owners = tuple(dict.fromkeys(quantity.owner for quantity in members))
        yield Identified(
            start + first,
            start + i,
            members[0].role,
            owners,
            members[0].unit,
            members[0].note,
            kind=members[0].kind,
            axes="".join(quantity.axis for quantity in members) if len(owners) == 1 else "",
        )
        first = i


def _free(taken: Array, starts: Sequence[int], width: int) -> list[int]:
    """Return where ``width`` numbers lie that nothing is known of yet, inside one key."""
    inner = set(starts)
    return [
        i
        for i in range(len(taken) - width + 1)
        if not taken[i : i + width].any() and not any(i + k in inner for k in range(1, width))
    ]


def _differences(
    sample: Sample, seen: Array, known: Sequence[Identified], places: Sequence[int], axes: str
) -> Iterator[Identified]:
    """Yield vectors of the coordinates ``axes`` that are the difference of two others."""
    observed = {run.owners[0] for run in known if run.role == "position" and run.owners}
    width, columns = len(axes), np.array(["xyz".index(axis) for axis in axes])
    tolerance, varies = _tolerance(seen), _varies(seen)
    groups: dict[str, dict[str, Array]] = {role: {} for role in UNITS}
    for k, quantity in enumerate(sample.quantities):
        if quantity.role in groups and quantity.axis == "x" and k + 2 < len(sample.quantities):
            groups[quantity.role].setdefault(quantity.owner, sample.simulated[:, k + columns])
    for role, vectors in groups.items():
        names = sorted(vectors, key=lambda name: name not in observed)  # points that are observed come first
        if len(names) < 2:
            continue
        values = np.stack([vectors[name] for name in names])
        for place in places:
            if not varies[place : place + width].any():
                continue
            target, limit = seen[:, place : place + width], tolerance[place : place + width].max() * 2
            for first, name in enumerate(names):
                # One row decides nearly all pairs; the others are compared for what it leaves.
                rest = np.flatnonzero((np.abs(values[first, 0] - values[:, 0] - target[0]) <= limit).all(1))
                same = [
                    b
                    for b in rest
                    if b != first and (np.abs(values[first] - values[b] - target) <= limit).all()
                ]
                if same:
                    other = names[same[0]]
                    yield Identified(
                        place,
                        place + width,
                        f"difference of {role}",
                        (name, other),
                        UNITS[role],
                        f"{role} of {name!r} minus that of {other!r}",
                        axes=axes,
                    )
                    break


def _fitted(sample: Sample, seen: Array, taken: Array) -> Iterator[Identified]:
    """Yield numbers that are a linear function of one quantity."""
    if not sample.quantities:
        return
    for i, k, likeness in _correlated(seen, sample.simulated, taken):
        if likeness < 1 - 1e-9:
            continue
        slope, offset = np.polyfit(sample.simulated[:, k], seen[:, i], 1)
        quantity = sample.quantities[k]
        meaning = f"{slope:.6g} times the {quantity.role} of {quantity.owner!r}" + (
            f" plus {offset:.6g}" if abs(offset) > EXACT else ""
        )
        yield Identified(
            i, i + 1, f"scaled {quantity.role}", (quantity.owner,), "", meaning, kind=quantity.kind
        )


def _correlated(seen: Array, others: Array, taken: Array) -> Iterator[tuple[int, int, float]]:
    """Yield the most correlated column for each unknown number that varies."""
    varies = _varies(seen)
    centered = others - others.mean(0)
    norms = np.linalg.norm(centered, axis=0)
    useful = norms > 1e-9
    if not useful.any():
        return
    for i in np.flatnonzero(varies & ~taken):
        own = seen[:, i] - seen[:, i].mean()
        likeness = np.zeros(len(norms))
        likeness[useful] = np.abs(own @ centered[:, useful]) / (norms[useful] * np.linalg.norm(own))
        k = int(likeness.argmax())
        yield int(i), k, float(likeness[k])


def _constants(seen: Array, taken: Array, starts: Sequence[int]) -> Iterator[Identified]:
    """Yield the runs of numbers that were the same after every step of every episode."""
    still, i = ~_varies(seen) & ~taken, 0
    while i < len(still):
        stop = i
        while stop < len(still) and still[stop] and (stop == i or stop not in starts):
            stop += 1
        if stop > i:
            value = f"always {seen[0, i]:.6g}" if stop == i + 1 else "they never changed"
            yield Identified(i, stop, "constant", guess=f"{value} in {len(seen)} random steps")
        i = max(stop, i + 1)


def _most_alike(sample: Sample, seen: Array, taken: Array, starts: Sequence[int]) -> Iterator[Identified]:
    """Yield the rest, with the quantity that each correlates with most.

    A sensor with noise equals nothing, and is most like what it measures."""
    usual = np.array([quantity.role in ALIKE for quantity in sample.quantities], bool)
    alike = {i: (k, r) for i, k, r in _correlated(seen, sample.simulated * usual, taken) if r > LIKENESS}
    run: list[int] = []
    for i in [*np.flatnonzero(~taken).tolist(), -1]:
        same = (
            run
            and i == run[-1] + 1
            and i not in starts
            and _likeness(sample, alike, i) == _likeness(sample, alike, run[-1])
        )
        if run and not same:
            role, kind = _likeness(sample, alike, run[0])
            owners = tuple(sample.quantities[alike[n][0]].owner for n in run if n in alike)
            least = min((alike[n][1] for n in run if n in alike), default=0.0)
            guess = (
                f"it goes with this (correlation {least:.2f})"
                if owners
                else "nothing was found that it equals"
            )
            yield Identified(run[0], run[-1] + 1, role, owners, guess=guess, kind=kind)
            run = []
        run.append(i)


def _likeness(sample: Sample, alike: Mapping[int, tuple[int, float]], i: int) -> tuple[str, str]:
    if i not in alike:
        return "unknown", ""
    quantity = sample.quantities[alike[i][0]]
    return f"like {quantity.role}", quantity.kind
