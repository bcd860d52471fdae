"""Puts the bar into the slot: stages, each a place, an angle and what the fingers do."""

import numpy as np

CONTROL = "raw"


def fold(angle):
    """Return the angle of a thing that looks the same from behind."""
    return (angle + np.pi / 2) % np.pi - np.pi / 2


def act(observation, memory):
    """Return the next action."""
    hand, bar, slot = (observation[f"{name}_position"] for name in ("hand", "bar", "slot"))
    stage = memory.get("stage", 0)
    up, grip, drop = [0.0, 0.0, 0.12], [0.0, 0.0, 0.015], [0.0, 0.0, 0.042]
    at = memory.get("at", hand)
    goal = [bar + up, bar + grip, at, at + up, slot + drop + up, slot + drop, at, at + up][stage]
    turn = fold((observation["bar_yaw"] if stage < 2 else observation["slot_yaw"]) - observation["bar_yaw"])
    turn = fold(observation["bar_yaw"] - observation["hand_yaw"]) if stage < 2 else turn * (stage in (4, 5))
    memory["waited"] = memory.get("waited", 0) + 1
    there = np.linalg.norm(hand - goal) < 0.005 and abs(turn) < 0.05
    if (memory["waited"] > 8 if stage in (2, 6) else there) and stage < 7:
        memory.update(stage=stage + 1, waited=0, at=np.array(hand))
    return [*(5.0 * (goal - hand)), 5.0 * turn, 1.0 if 2 <= stage <= 5 else -1.0]
