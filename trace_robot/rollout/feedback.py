"""What happened, in words: the feedback that an optimizer reads.

Level "outcome" is the default and the honest one: success, reward, how each episode ended, and the error
with its line where there was one. What the controller saw on the way is in the graph. The other levels
(``trace_robot.rollout.levels``) say more.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from trace_robot.rollout.episode import Episode
from trace_robot.rollout.levels import words
from trace_robot.sandbox.types import Fault

CONTEXT_LINES = 2
DETAILED = 3  # episodes that a level above "outcome" tells of at most


def feedback(episodes: Sequence[Episode], controller: str = "", level: str = "outcome") -> str:
    """Return the feedback at ``level`` on a candidate's episodes, which were run with jobs of that level.

    controller: the candidate's full text, to mark the failing line in.
    """
    wins = sum(episode.success for episode in episodes)
    rewards = [episode.total_reward for episode in episodes]
    lines = [
        f"Success in {wins} of {len(episodes)} episodes."
        f" Total reward of an episode: mean {_number(statistics.fmean(rewards))}"
        + (f", from {_number(min(rewards))} to {_number(max(rewards))}." if len(rewards) > 1 else ".")
    ]
    lines += [f"Episode {number}: {_ending(episode)}" for number, episode in enumerate(episodes, 1)]
    faults = {(f.category, f.message, f.line): f for f in (e.fault for e in episodes) if f is not None}
    lines += [line for fault in list(faults.values())[:3] for line in ("", describe(fault, controller))]
    return "\n".join([*lines, *_details(episodes, level)])


def _details(episodes: Sequence[Episode], level: str) -> list[str]:
    """Return what the level adds: on the most telling episode, then on others that failed."""
    if level == "outcome":
        return []
    telling = most_telling(episodes)
    failing = [i for i, episode in enumerate(episodes) if i != telling and not episode.success]
    lines = []
    for index in [telling, *failing][:DETAILED]:
        told = words(level, episodes[index])
        lines += [f"\nEpisode {index + 1}, {level}:", *told] if told else []
    return lines


def describe(fault: Fault, controller: str = "") -> str:
    """Return a fault in words, its line marked in the controller's text."""
    text = f"Error ({fault.category}): {fault.message}"
    lines = controller.split("\n")
    if fault.line is None or not 0 < fault.line <= len(lines):
        return text
    first = max(0, fault.line - 1 - CONTEXT_LINES)
    shown = [
        f"{'>>>' if number == fault.line else '   '} {number:4d} | {line}"
        for number, line in enumerate(lines[first : fault.line + CONTEXT_LINES], first + 1)
    ]
    return "\n".join([text, *shown])


def most_telling(episodes: Sequence[Episode]) -> int:
    """Return the index of the episode to look at: a failing one, with an error first, else the slowest.

    Among episodes that ran out of time the median one by reward, so that one odd case does not decide.
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
        return f"success after {took}; total reward {_number(episode.total_reward)}."
    if episode.ended == "error":
        category = episode.fault.category if episode.fault else "error"
        return f"error ({category}) at decision {episode.decisions + 1}; total reward {_number(episode.total_reward)}."
    why = "the environment ended it" if episode.ended == "terminated" else "time ran out"
    return f"failed, {why} after {took}; {_rewards(episode)}{_needed(episode)}."


def _needed(episode: Episode) -> str:
    threshold = episode.return_threshold
    return "" if threshold is None else f"; a total of {_number(threshold)} is a success"


def _rewards(episode: Episode) -> str:
    """Say how the reward of a decision went: its start, its best and its end."""
    best = int(episode.rewards.argmax())
    first, last = episode.rewards[0], episode.rewards[-1]
    return (
        f"total reward {_number(episode.total_reward)}; reward of a decision: {_number(first)} at the first,"
        f" {_number(episode.rewards[best])} at best (decision {best + 1}), {_number(last)} at the last"
    )


def _number(value: float) -> str:
    return f"{value:.4g}"
