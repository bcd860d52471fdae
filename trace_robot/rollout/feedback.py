"""Feedback as text: what an optimizer reads about the episodes of a candidate.

Level "outcome", the default, has success, reward, how each episode ended, and an error with its line. What the
controller observed is in the graph. "terms" adds the reward's named terms, "hindsight" what came closer or moved apart,
"expert" what the scripted expert would have done; each is help that a real task may not offer.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_robot.env.declaration import SUCCESS_MISSING
from trace_robot.env.envelope import LOGGED
from trace_robot.fault import Fault
from trace_robot.optimizers.prompt.values import program_text
from trace_robot.rollout.episode import (
    Episode,
    is_drawn,
    needed_text,
    not_held_text,
    number_text,
    world_text,
)
from trace_robot.settings import EXPERT
from trace_robot.spec import MEASURES, Array, TaskSpec

if TYPE_CHECKING:
    from trace_robot.rollout.episode import Job


CONTEXT_LINES = 2
MESSAGE_CHARS = 400
DETAILED = 3  # episodes with details at a level above "outcome", at most: a prompt is to stay small


def feedback(episodes: Sequence[Episode], controller: str = "", level: str = "outcome") -> str:
    """Return the feedback on a candidate's episodes as text.

    Args:
        episodes: of jobs of this level.
        controller: the candidate's full text, to mark the failing line in.
        level: "outcome", "terms", "hindsight" or "expert".
    """
    wins = sum(episode.success for episode in episodes)
    rewards = [episode.total_reward for episode in episodes]
    lines = [
        f"Success in {wins} of {len(episodes)} episodes."
        f" Total reward of an episode: mean {number_text(statistics.fmean(rewards))}"
        + (f", from {number_text(min(rewards))} to {number_text(max(rewards))}." if len(rewards) > 1 else ".")
    ]
    lines += [
        f"Episode {number}: {_ending(episode)}{world_text(episode)}"
        for number, episode in enumerate(episodes, 1)
    ]
    faults = {(f.category, f.message, f.line): f for f in (e.fault for e in episodes) if f is not None}
    lines += [line for fault in list(faults.values())[:3] for line in ("", describe(fault, controller))]
    return "\n".join([*lines, *details(episodes, level)])


SURVIVAL = ("survive", "alive", "healthy")  # in the names of reward terms: a bonus for staying alive
MOTION = ("distance_from_origin", "x_position")  # entries of info, meters; an episode begins within 0.1 of 0
ALL_BUT = 0.1  # of the bonus: the most that all other terms add where a robot stands; 0.1 m/s for Hopper


def standing_still(episodes: Sequence[Episode]) -> str:
    """Return a line on episodes that earn a survival bonus without motion.

    It is "" where most of them move. Episodes of environments whose info names no such term or no motion do not
    count: of a pole on a cart, staying up is the task.
    """
    still: list[tuple[float, Episode]] = []
    for episode in episodes:
        bonus = sum(value for name, value in episode.infos.items() if _is_bonus(name)) * episode.decisions
        moved = next((abs(episode.infos[name]) for name in MOTION if name in episode.infos), None)
        whole = episode.ended in ("time", "success") and moved is not None
        if whole and bonus > 0 and episode.total_reward <= (1 + ALL_BUT) * bonus:
            still.append((moved or 0.0, episode))
    if 2 * len(still) <= len(episodes):
        return ""
    moved, episode = statistics.median(moved for moved, _ in still), still[0][1]
    name = next(name for name in episode.infos if _is_bonus(name))
    returns = statistics.fmean(episode.total_reward for _, episode in still)
    return (
        f"it stands still: in {len(still)} of {len(episodes)} episodes the return, {number_text(returns)}, is the bonus"
        f" for staying alive ({name}), and the robot moves {number_text(moved)} m in {episode.steps:,} steps"
    )


def _is_bonus(name: str) -> bool:
    return name.startswith("reward") and any(word in name for word in SURVIVAL)


def details(episodes: Sequence[Episode], level: str) -> list[str]:
    """Return the level's lines on the representative episode, then on failed ones.

    Args:
        episodes: of jobs of this level.
        level: of the feedback; "outcome" has none.
    """
    if level == "outcome":
        return []
    shown = representative(episodes)
    failing = [i for i, episode in enumerate(episodes) if i != shown and not episode.success]
    lines = []
    for index in [shown, *failing][:DETAILED]:
        found = words(level, episodes[index])
        lines += [f"\nEpisode {index + 1}, {level}:", *found] if found else []
    return lines


def describe(fault: Fault, controller: str = "") -> str:
    """Return a fault as text, its line marked.

    Args:
        fault: of a controller.
        controller: its full text; "" where it is not known.
    """
    text = f"Error ({fault.category}): {program_text(fault.message, MESSAGE_CHARS)}"
    lines = controller.split("\n")
    if fault.line is None or not 0 < fault.line <= len(lines):
        return text
    first = max(0, fault.line - 1 - CONTEXT_LINES)
    shown = [
        f"{'>>>' if number == fault.line else '   '} {number:4d} | {_printable(line)}"
        for number, line in enumerate(lines[first : fault.line + CONTEXT_LINES], first + 1)
    ]
    return "\n".join([text, *shown])


def _printable(line: str) -> str:
    """Return a line of source without carriage returns, form feeds and the like."""
    return "".join(sign if sign.isprintable() or sign == "\t" else "?" for sign in line)


def representative(episodes: Sequence[Episode]) -> int:
    """Return the index of the episode to learn from.

    It is the first with an error; else, of those that failed, the median by reward, so that one outlier does not
    decide; else the slowest success.
    """
    faulty = [index for index, episode in enumerate(episodes) if episode.ended == "error"]
    if faulty:
        return faulty[0]
    failing = sorted(
        (index for index, episode in enumerate(episodes) if not episode.success),
        key=lambda index: episodes[index].total_reward,
    )
    if failing:
        return failing[(len(failing) - 1) // 2]
    return max(range(len(episodes)), key=lambda index: episodes[index].steps)


def _ending(episode: Episode) -> str:
    took = f"{episode.decisions} decisions ({episode.steps} simulator steps)"
    if episode.ended == "success":
        return f"success after {took}; total reward {number_text(episode.total_reward)}."
    if episode.ended == "error":
        category = episode.fault.category if episode.fault else "error"
        total = number_text(episode.total_reward)
        return f"error ({category}) at decision {episode.decisions + 1}; total reward {total}."
    why = "the environment ended it" if episode.ended == "terminated" else "time ran out"
    return f"failed, {why} after {took}; {_rewards(episode)}{needed_text(episode)}{not_held_text(episode)}."


def _rewards(episode: Episode) -> str:
    """Say how the reward of a decision went: its start, its best and its end."""
    best = int(episode.rewards.argmax())
    first, last = episode.rewards[0], episode.rewards[-1]
    return (
        f"total reward {number_text(episode.total_reward)}; reward of a decision: {number_text(first)} at the first,"
        f" {number_text(episode.rewards[best])} at best (decision {best + 1}), {number_text(last)} at the last"
    )


NOT_TERMS = ("success", "steps", SUCCESS_MISSING, "unscaled_reward")  # known already; the last is the reward
# Entries that say how well an episode was done, at its end. Whole names: an environment's own terms may begin alike.
EQUIPMENT = (*MEASURES, "first_success_step", "longest_success_steps")
STILL = 0.002  # metres a decision below which a distance counts as unchanged
PHASES = 5  # phases of closer and farther in the feedback, at most
COMPARED = 12  # decisions that are compared with the expert's, at most


MakeExpert = Callable[..., Callable[[Array], Array]]


class FeedbackRecorder:
    """Collects the series of a job's feedback level while its episode runs."""

    def __init__(self, job: Job, spec: TaskSpec, make_expert: MakeExpert | None = None) -> None:
        """Prepare the series.

        Args:
            job: whose level decides what is recorded.
            spec: of the environment.
            make_expert: gives the scripted expert for a name and options; needed at level "expert" only.
        """
        self._series: dict[str, list[Any]] = {}
        self._terms = job.level == "terms"
        self._pairs = _pairs(spec) if job.level == "hindsight" else {}
        self._expert: Callable[[Array], Array] | None = None
        if job.level == EXPERT and make_expert is not None:
            self._expert = make_expert(job.env, **job.options)

    @property
    def is_idle(self) -> bool:
        """Whether the level asks for no series."""
        return not (self._terms or self._pairs) and self._expert is None

    def observed(self, observation: Array) -> None:
        for name, (first, second) in self._pairs.items():
            between = observation[first : first + 3] - observation[second : second + 3]
            self._series.setdefault(name, []).append(float(np.linalg.norm(between)))

    def acted(self, observation: Array, info: Mapping[str, Any]) -> None:
        """Record one decision.

        Args:
            observation: on which it was taken, (obs_dim,).
            info: of the step that it led to.
        """
        if self._terms:
            for name, value in info.items():
                if name in NOT_TERMS or _is_equipment(name):
                    continue
                if isinstance(value, bool | int | float | np.number):
                    self._series.setdefault(name, []).append(float(value))
        if self._expert is not None:
            self._series.setdefault(EXPERT, []).append(self._expert(observation.copy()))

    def series(self) -> dict[str, Array]:
        """Return the series by name.

        (T,) for a term, (T + 1,) for a distance, (T, act_dim) for the expert.
        """
        return {name: np.array(values) for name, values in self._series.items()}


def _is_equipment(name: str) -> bool:
    return name in EQUIPMENT or is_drawn(name) or name.startswith(LOGGED)


def words(level: str, episode: Episode) -> list[str]:
    """Return the level's lines on one episode, none at level "outcome".

    Args:
        level: of the feedback.
        episode: with the series of that level.
    """
    if level == "terms":
        return [_term(name, values) for name, values in episode.series.items()]
    if level == "hindsight":
        return [_distance(name, values) for name, values in episode.series.items()]
    if level == EXPERT and EXPERT in episode.series:
        return _comparison(episode.actions, episode.series[EXPERT])
    return []


def _pairs(spec: TaskSpec) -> dict[str, tuple[int, int]]:
    """Return the distances between named positions.

    Each is two indices: where the positions start in the flat observation.
    """
    starts = {part.name: part.start for part in spec.observation}
    names = {name: name.removesuffix("_position") for name in spec.positions}
    return {
        f"{names[first]} to {names[second]}": (starts[first], starts[second])
        for first, second in combinations(spec.positions, 2)
    }


def _term(name: str, values: Array) -> str:
    low, high = int(values.argmin()), int(values.argmax())
    if f"{values[low]:.4g}" == f"{values[high]:.4g}":
        return f"- {name}: {values[0]:.4g} all the time"
    return (
        f"- {name}: {values[0]:.4g} at first, lowest {values[low]:.4g} (decision {low + 1}),"
        f" highest {values[high]:.4g} (decision {high + 1}), {values[-1]:.4g} at the end"
    )


def _distance(name: str, values: Array) -> str:
    closest = int(values.argmin())
    change = values[-1] - values[0]
    verdict = "closer than" if change < -STILL else "farther than" if change > STILL else "as far as"
    return (
        f"- {name}: {values[0]:.3f} m at the start, {values[closest]:.3f} m at the closest (after decision {closest}),"
        f" {values[-1]:.3f} m at the end, {verdict} at the start{_course(values)}"
    )


def _course(values: Array) -> str:
    """Describe when a distance shrank and grew: the longest phases only, in order."""
    kinds = np.sign(np.where(np.abs(np.diff(values)) < STILL, 0.0, np.diff(values)))
    runs, start = [], 1
    for kind, group in groupby(kinds.tolist()):
        length = len(list(group))
        runs.append((length, start, kind))
        start += length
    moving = sorted((run for run in runs if run[2]), reverse=True)[:PHASES]
    phases = [
        f"{'closer' if kind < 0 else 'farther'} in {_span(start, start + length - 1)}"
        for length, start, kind in sorted(moving, key=lambda run: run[1])
    ]
    return f"; {', '.join(phases)}" if phases else ""


def _span(first: int, last: int) -> str:
    return f"decision {first}" if first == last else f"decisions {first}-{last}"


def _comparison(actions: Array, expert: Array) -> list[str]:
    """Compare actions at decisions spread over the episode, without repetitions."""
    count = min(len(actions), len(expert))
    decisions = np.linspace(0, count - 1, min(count, COMPARED)).round().astype(int).tolist()
    lines, last = [], ""
    for i in decisions:
        line = f"the action was {_vector(actions[i])}, the expert's would be {_vector(expert[i])}"
        if line != last:
            lines.append(f"- decision {i + 1}: {line}")
        last = line
    return lines


def _vector(values: Array) -> str:
    return "[" + ", ".join(f"{round(float(value), 3) + 0.0:g}" for value in values) + "]"
