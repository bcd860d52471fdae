"""Draft of a plug-in: what the child process measured of an environment, as plain data."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from trace_robot.child_process import workspace_root
from trace_robot.env.declaration import SUCCESS_FLAGS, SUCCESS_MISSING, Environment, part
from trace_robot.env.declared import DeclaredPlugin, registration
from trace_robot.env.description import describe_env
from trace_robot.env.plugins import plugin_of_id
from trace_robot.env.spaces import leaves_of
from trace_robot.env.tracking import ancestors, joints_drawn
from trace_robot.env_checker.identify import identify, stable_step, take_sample
from trace_robot.env_checker.plugin_writer import LISTED, DraftPart, action_part, observation_parts
from trace_robot.env_checker.relations import effect_of
from trace_robot.env_checker.simulator import Effect, Identified, Sample
from trace_robot.errors import WorkspaceError
from trace_robot.spec import Array, TaskSpec

LEVEL = 1e-4  # meters by which the height of a planar point may change
EPISODES, SECONDS = 5, 6.0  # whole random episodes for rewards, ends and success, and the time for them


def with_goals(runs: Sequence[Identified], sample: Sample, keys: Mapping[int, str]) -> list[Identified]:
    """Return runs with the desired goal named and repeated points marked.

    Args:
        runs: as ``identify`` returns them.
        sample: of the environment.
        keys: the first number of each key of a Dict space, and its name.
    """
    unit = "" if sample.simulator else "in meters? its key says that it is a goal"
    runs = _desired(runs, keys, sample.after.shape[1], unit)
    starts = sorted(keys)

    def is_achieved(run: Identified) -> bool:
        return keys[max(start for start in starts if start <= run.start)] == "achieved_goal"

    kept: list[Identified] = []
    for run in sorted(
        runs, key=lambda run: (is_achieved(run), run.start)
    ):  # it repeats what has names elsewhere
        values = sample.after[:, run.start : run.stop]
        twin = next(
            (
                each
                for each in kept
                if each.is_point
                and run.is_point
                and run.kind != "goal"
                and np.abs(sample.after[:, each.start : each.stop] - values).max() <= 1e-6
            ),
            None,
        )
        kept.append(run if twin is None else run._replace(owners=twin.owners, role="repeated position"))
    return sorted(kept)


def _desired(runs: Sequence[Identified], keys: Mapping[int, str], size: int, unit: str) -> list[Identified]:
    """Give the desired goal the form of the achieved one, as GoalEnv defines it."""
    starts, ends = {name: start for start, name in keys.items()}, sorted([*keys, size])
    at, to = starts.get("achieved_goal"), starts.get("desired_goal")
    if at is None or to is None:
        return list(runs)
    length = ends[ends.index(at) + 1] - at
    if ends[ends.index(to) + 1] - to != length:
        return list(runs)
    achieved = [run for run in runs if at <= run.start < at + length]
    meaning = "where it must be, in the form of achieved_goal"
    goals = []
    for run in achieved:
        owners = ("goal",) if len(achieved) == 1 else tuple(f"goal_{owner}" for owner in run.owners)
        moved = run._replace(start=run.start + to - at, stop=run.stop + to - at)
        role = run.role.removeprefix("repeated ")
        guess = run.guess or (unit if role == "position" else "")
        goals.append(moved._replace(role=role, kind="goal", owners=owners, meaning=meaning, guess=guess))
    return sorted([*(run for run in runs if not to <= run.start < to + length), *goals])


def hand_of(sample: Sample, runs: Sequence[Identified]) -> Identified | None:
    """Return the observed point that the action moves most, None where it moves none.

    Args:
        sample: of the environment.
        runs: of its observation.
    """
    moved = {run: float(np.abs(sample.moved[:, run.start : run.stop]).sum()) for run in runs if run.is_point}
    best = max(moved, key=lambda run: moved[run], default=None)
    return best if best is not None and moved[best] > 1e-3 else None


def points_of(sample: Sample, runs: Sequence[Identified]) -> list[Identified]:
    """Return the points for ``positions``: the hand, bodies, and goals last.

    Points of the robot itself are left out: bodies of the kinematic tree that the hand belongs to.

    Args:
        sample: of the environment.
        runs: of its observation.
    """
    hand = hand_of(sample, runs)
    if hand is None:
        return []
    tree = _tree(sample, hand)
    others = [
        run for run in runs if run.is_point and run != hand and (tree is None or _tree(sample, run) != tree)
    ]
    return [hand, *sorted(others, key=lambda run: (_is_goal(sample, run), run.start))]


def planar_of(sample: Sample, runs: Sequence[Identified]) -> dict[Identified, float]:
    """Return planar points for ``positions``, the hand first, and their heights.

    There are none where a whole point is moved by the action, or where no planar one is.

    Args:
        sample: of the environment.
        runs: of its observation.
    """
    if hand_of(sample, runs) is not None:
        return {}
    planar = {
        run: height
        for run in runs
        if run.role == "position" and run.axes == "xy" and (height := _height(sample, run)) is not None
    }
    moved = {run: float(np.abs(sample.moved[:, run.start : run.stop]).sum()) for run in planar}
    hand = max(planar, key=lambda run: moved[run], default=None)
    if hand is None or moved[hand] <= 1e-3 or not _is_driven(sample, hand):
        return {}
    tree = _tree(sample, hand)
    others = [run for run in planar if run != hand and (tree is None or _tree(sample, run) != tree)]
    ordered = [hand, *sorted(others, key=lambda run: (_is_goal(sample, run), run.start))]
    return {run: planar[run] for run in ordered}


def _is_driven(sample: Sample, run: Identified) -> bool:
    """Return whether actuators move joints that carry a point, unlike a cart's."""
    if sample.simulator is None or (body := sample.simulator.body_of(run.kind, run.owners[0])) is None:
        return False
    model = sample.simulator.model
    driven = {joint for actuator in range(model.nu) for joint in joints_drawn(model, actuator)}
    return any(int(model.jnt_bodyid[joint]) in ancestors(model, body) for joint in driven)


def _height(sample: Sample, run: Identified) -> float | None:
    """Return the height of what a planar point is of, None where it changes."""
    for k, quantity in enumerate(sample.quantities):
        same = (quantity.role, quantity.kind, quantity.axis) == ("position", run.kind, "z")
        if same and quantity.owner == run.owners[0]:
            column = sample.simulated[:, k]
            return round(float(column[0]), 6) + 0.0 if np.ptp(column) < LEVEL else None
    return None


def _tree(sample: Sample, run: Identified) -> int | None:
    body = sample.simulator.body_of(run.kind, run.owners[0]) if sample.simulator and run.owners else None
    return None if body is None or sample.simulator is None else int(sample.simulator.model.body_rootid[body])


def _is_goal(sample: Sample, run: Identified) -> bool:
    """Whether a point is a goal, by key or name or because it has no joint."""
    if run.kind == "goal" or any(word in " ".join(run.owners).lower() for word in ("goal", "target")):
        return run.owners != ("achieved_goal",)
    body = sample.simulator.body_of(run.kind, run.owners[0]) if sample.simulator and run.owners else None
    return (
        body is not None
        and sample.simulator is not None
        and int(sample.simulator.model.body_weldid[body]) == 0
    )


def effects_of(sample: Sample, runs: Sequence[Identified]) -> list[Effect]:
    """Return what each number of an action does, by system identification.

    It drives an actuator, moves the hand, or opens the gripper.

    Args:
        sample: of the environment, in which each number was held at both bounds.
        runs: of its observation.
    """
    hand, count = hand_of(sample, runs), sample.actions.shape[1]
    moved = np.zeros((count, 3)) if hand is None else sample.moved[:, hand.start : hand.stop]
    single = [run.start for run in runs if run.stop == run.start + 1]
    return [effect_of(sample, number, moved, single) for number in range(count)]


def with_width(runs: Sequence[Identified], effects: Sequence[Effect]) -> list[Identified]:
    """Return runs in which the number that shows a gripper's width is called so.

    Args:
        runs: of the observation.
        effects: of the action's numbers.
    """
    widths = {effect.owner for effect in effects if effect.kind == "gripper"}
    guess = "in meters? one number of the action alone moves it"
    return [
        run._replace(role="gripper width", owners=(), guess=guess) if f"@{run.start}" in widths else run
        for run in runs
    ]


def action_parts(
    effects: Sequence[Effect],
    observed: Mapping[Identified, DraftPart],
    hand: Identified | None,
    bounds: tuple[Array, Array],
) -> list[DraftPart]:
    """Return the parts of an action: consecutive numbers of one kind are one.

    Args:
        effects: of its numbers.
        observed: the parts of the observation, by what was found.
        hand: the point that motions move.
        bounds: lowest and highest value of each number, in the controller's numbers.
    """
    names = {f"@{i}": part.name for run, part in observed.items() for i in range(run.start, run.stop)}
    parts: list[DraftPart] = []
    taken: set[str] = set()
    first = 0
    for stop in range(1, len(effects) + 1):
        going_on = stop < len(effects) and effects[stop][:2] == effects[first][:2]
        if not going_on or effects[first].kind == "gripper":
            ends = tuple(float(np.abs(bound[first:stop]).max()) for bound in bounds)
            parts.append(action_part(effects[first:stop], first, hand, ends == (1.0, 1.0), names, taken))
            first = stop
    return parts


def draft(name: str, options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the draft of a plug-in for a gymnasium id.

    A message ``{"stage": ...}`` comes before each stage, and ``{"draft": ...}`` at the end.

    Args:
        name: the id, with "module:" before it where a module registers it; or "FILE.py:NAME" of what makes it.
        options: of the environment.

    Raises:
        TraceRobotError: the id is not known, or the environment cannot be made or stepped.
    """
    root = workspace_root()
    yield {"stage": "make"}
    python = str(options.get("python") or "")
    options = {"task": "any", **options}
    plugin, guessed = _plugin_of(name, options, root), 0.0
    own = plugin.environments[0].env_name
    try:
        spec = plugin.describe(own, **options)
    except WorkspaceError as error:
        if "has no bounds in its space" not in str(error):
            raise
        plugin, guessed = _bounded(plugin, options), 1.0
        spec = plugin.describe(own, **options)
    env = plugin.make(own, **options)
    # The stand-in of a remote environment carries what the registry over there says.
    registered = env.inner if python else None if plugin.environments[0].make else registration(name)
    layout = describe_env(plugin.environments[0], env.inner, "raw", {}, registered)
    yield {"stage": "identify"}
    leaves = layout.observation.leaves
    names = {leaf.start: leaf.name for leaf in leaves}
    sample = take_sample(env, spec)
    low, high = (np.concatenate(ends) for ends in zip(*(leaf.bounds for leaf in leaves), strict=True))
    runs = with_goals(identify(sample, names, (low, high)), sample, names)
    yield {"stage": "episodes"}
    facts = _whole_episodes(env, spec)
    known = bool(options.get("horizon") or getattr(registered, "max_episode_steps", None))
    seen = _horizon(spec.horizon, facts.pop("cut"), sample, runs)
    horizon, unsure = (spec.horizon, "") if known else seen
    env.close()
    space = env.inner.observation_space
    mapped = type(space).__name__ == "Dict"
    keys = {leaf.start: leaf.path[0] if leaf.path else "" for leaf in leaves}
    effects = effects_of(sample, runs)
    runs = with_width(runs, effects)
    observed = observation_parts(runs, keys, mapped)
    planar = planar_of(sample, runs)
    observed |= {run: replace(observed[run], height=height) for run, height in planar.items()}
    points = points_of(sample, runs) or list(planar)
    ends = np.array(spec.low), np.array(spec.high)
    box = all(not leaf.path and leaf.space.dtype.kind == "f" for leaf in layout.action.leaves)
    actions = action_parts(effects, observed, hand_of(sample, runs), ends) if box else []
    yield {
        "draft": {
            "mapped": mapped,
            "observation": [asdict(observed[run]) for run in runs],
            "action": [asdict(_with_bounds(each, guessed)) for each in actions],
            "positions": [observed[run].name for run in points],
            "hand_measured": bool(points) and not points[0].guess,
            "flag": layout.declaration.success or "",
            "threshold": spec.return_threshold,
            "horizon": horizon,
            "horizon_guess": unsure,
            "physics": sample.simulator is not None,
            **facts,
        }
    }


def _plugin_of(name: str, options: Mapping[str, Any], root: str) -> DeclaredPlugin:
    """Return a plug-in for a gymnasium id, or for what "FILE.py:NAME" makes."""
    place, _, own = name.rpartition(":")
    if not place.endswith(".py"):
        return plugin_of_id(name, options, root)
    path = Path(root, place).resolve()
    return DeclaredPlugin(str(path), (Environment(own, "any", make=f"{path}:{own}", name=own),), root)


def _bounded(plugin: DeclaredPlugin, options: Mapping[str, Any]) -> DeclaredPlugin:
    """Return a plug-in that bounds every number of an action by -1 and 1."""
    (declared,) = plugin.environments
    env = plugin.make_bare(declared.env_name, options)
    size = sum(int(np.prod(leaf.space.shape)) for leaf in leaves_of(env.action_space, "action"))
    env.close()
    parts = [part("action", size, low=-1.0, high=1.0)]
    return DeclaredPlugin(plugin.file, (replace(declared, action=parts),), plugin.root)


def _with_bounds(part: DraftPart, bounds: float) -> DraftPart:
    if not bounds:
        return part
    guess = "; ".join(filter(None, (part.guess, "its space has no bounds")))
    return replace(part, bounds=bounds, guess=guess)


def _horizon(usual: int, cut: Sequence[int], sample: Sample, runs: Sequence[Identified]) -> tuple[int, str]:
    """Return the steps of an episode as they were observed, and why that may be wrong.

    Args:
        usual: what is taken where nothing was observed.
        cut: after how many steps each whole episode was truncated.
        sample: of the environment.
        runs: of its observation, of which one may count the steps that are left.
    """
    if len(cut) > 1 and len(set(cut)) == 1 and cut[0] < usual:
        return cut[0], f"all of {len(cut)} random episodes were cut off after that"
    for run in (run for run in runs if run.role == "time left"):
        left, lost = sample.before[0, run.start], sample.before[0, run.start] - sample.after[0, run.start]
        if (steps := round(left / lost)) > 1:
            return steps, "as a number of the observation counts them down to 0"
    return usual, "gymnasium knows no limit of this id"


def _whole_episodes(env: Any, spec: TaskSpec) -> dict[str, Any]:
    """Play whole random episodes for rewards, ends and truth values of info."""
    random, deadline = np.random.default_rng(1), time.monotonic() + SECONDS
    low, high = (np.clip(np.array(bound), -1e6, 1e6) for bound in (spec.low, spec.high))
    rewards: list[float] = []
    returns: list[float] = []
    ended: list[int] = []
    cut: list[int] = []
    seen: dict[str, set[float]] = {}
    for seed in range(EPISODES):
        env.reset(seed=seed)
        total, steps, terminated, truncated = 0.0, 0, False, False
        while not terminated and not truncated and time.monotonic() < deadline:
            result = stable_step(env, random.uniform(low, high).astype(np.float32))
            if result is None:
                break
            _, reward, terminated, truncated, info = result
            rewards.append(float(reward))
            total, steps = total + rewards[-1], steps + 1
            for entry, value in info.items():
                if isinstance(value, bool | int | float | np.number) and entry not in (
                    "steps",
                    SUCCESS_MISSING,
                ):
                    seen.setdefault(str(entry), set()).add(float(value))
        if terminated or truncated:
            returns.append(total)
            if terminated and not info.get("success"):
                ended.append(steps)
            elif truncated and not terminated:
                cut.append(steps)
    truths = [
        entry
        for entry, values in seen.items()
        if values <= {0.0, 1.0} and entry not in SUCCESS_FLAGS and "reward" not in entry
    ]
    return {
        "rewards": _ends(rewards),
        "returns": _ends(returns),
        "episodes": len(returns),
        "ended": ended,
        "cut": cut,
        "truths": truths[:LISTED],
    }


def _ends(numbers: Sequence[float]) -> list[float]:
    return [min(numbers), max(numbers)] if numbers else []
