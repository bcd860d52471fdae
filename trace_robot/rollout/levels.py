"""Feedback levels above "outcome": what the worker notes on the way, and how it reads in words.

terms: the named reward terms and progress that the environment reports. hindsight: which named positions came
closer or went farther, from the observations alone. expert: what the environment's scripted expert would have
done, for comparison with the literature only; nothing else ever asks for the expert.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations, groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_robot.errors import UnknownNameError
from trace_robot.spec import Array, EnvSpec

if TYPE_CHECKING:
    from trace_robot.rollout.episode import Episode, Job

LEVELS = ("outcome", "terms", "hindsight", "expert")
NOT_TERMS = ("success", "steps", "unscaled_reward")  # told already: the last is the reward again
STILL = 0.002  # metres a decision below which a distance counts as unchanged
PHASES = 5  # at most so many runs of closer and farther are told
COMPARED = 12  # at most so many decisions are compared with the expert's
EXPERT = "expert"


def require_level(level: str) -> str:
    """Return ``level``; raise UnknownNameError unless it is one of LEVELS."""
    if level not in LEVELS:
        raise UnknownNameError(f"no feedback level {level!r}; known: {', '.join(LEVELS)}")
    return level


class Watch:
    """Collects what a job's feedback level asks for while its episode runs; at level "outcome" nothing."""

    def __init__(self, job: Job, about: EnvSpec) -> None:
        self._series: dict[str, list[Any]] = {}
        self._terms = job.level == "terms"
        self._pairs = _pairs(about) if job.level == "hindsight" else {}
        self._expert: Callable[[Array], Array] | None = None
        if job.level == EXPERT:
            from trace_robot.workspace import expert

            self._expert = expert(job.env, **job.options)

    def observed(self, observation: Array) -> None:
        for name, (first, second) in self._pairs.items():
            between = observation[first : first + 3] - observation[second : second + 3]
            self._series.setdefault(name, []).append(float(np.linalg.norm(between)))

    def acted(self, observation: Array, info: Mapping[str, Any]) -> None:
        """Note one decision: the observation it was taken on, the information it led to."""
        if self._terms:
            for name, value in info.items():
                if name not in NOT_TERMS and isinstance(value, bool | int | float | np.number):
                    self._series.setdefault(name, []).append(float(value))
        if self._expert is not None:
            self._series.setdefault(EXPERT, []).append(self._expert(observation.copy()))

    def series(self) -> dict[str, Array]:
        """Return the series by name: (T,) for a term, (T + 1,) for a distance, (T, act_dim) for the expert."""
        return {name: np.array(values) for name, values in self._series.items()}


def words(level: str, episode: Episode) -> list[str]:
    """Return the level's lines on one episode."""
    if level == "terms":
        return [_term(name, values) for name, values in episode.series.items()]
    if level == "hindsight":
        return [_distance(name, values) for name, values in episode.series.items()]
    if level == EXPERT and EXPERT in episode.series:
        return _comparison(episode.actions, episode.series[EXPERT])
    return []


def _pairs(about: EnvSpec) -> dict[str, tuple[int, int]]:
    """Return the distances to watch: where the two positions of each pair start in the flat observation."""
    starts = {part.name: part.start for part in about.observation}
    names = {name: name.removesuffix("_position") for name in about.positions}
    return {
        f"{names[first]} to {names[second]}": (starts[first], starts[second])
        for first, second in combinations(about.positions, 2)
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
    """Say in which decisions a distance shrank and grew, the longest runs only, in order."""
    kinds = np.sign(np.where(np.abs(np.diff(values)) < STILL, 0.0, np.diff(values)))
    runs, start = [], 1
    for kind, group in groupby(kinds.tolist()):
        length = len(list(group))
        runs.append((length, start, kind))
        start += length
    moving = sorted((run for run in runs if run[2]), reverse=True)[:PHASES]
    told = [
        f"{'closer' if kind < 0 else 'farther'} in {_span(start, start + length - 1)}"
        for length, start, kind in sorted(moving, key=lambda run: run[1])
    ]
    return f"; {', '.join(told)}" if told else ""


def _span(first: int, last: int) -> str:
    return f"decision {first}" if first == last else f"decisions {first}-{last}"


def _comparison(actions: Array, expert: Array) -> list[str]:
    """Set actions side by side, at decisions spread over the episode; what repeats itself is told once."""
    count = min(len(actions), len(expert))
    chosen = np.linspace(0, count - 1, min(count, COMPARED)).round().astype(int).tolist()
    lines, told = [], ""
    for i in chosen:
        words = f"the action was {_vector(actions[i])}, the expert's would be {_vector(expert[i])}"
        if words != told:
            lines.append(f"- decision {i + 1}: {words}")
        told = words
    return lines


def _vector(values: Array) -> str:
    return "[" + ", ".join(f"{round(float(value), 3) + 0.0:g}" for value in values) + "]"
