"""Turns the knob in strokes: all fingers swing back while open, close on the knob, swing over, and open."""

import numpy as np

CONTROL = "raw"
LOW = np.tile([-0.45, -0.3, -0.2, -0.2], 5)  # rad, what the action -1 stands for
HIGH = np.tile([0.45, 0.9, 1.2, 1.2], 5)
OPEN, CLOSED = -0.1, 0.32  # rad of the second joint of a finger
REACH, RATE = 0.12, 0.02  # rad of swing to either side, rad a decision
COUNTS = {"back": 9, "close": 6, "turn": 18, "open": 5}  # decisions
STAGES = ["back", "close", "turn", "open"]


def act(observation, memory):
    """Return the next action."""
    left = observation["observation_62"] - observation["observation_60"]
    stage, count = memory.get("stage", "back"), memory.get("count", 0)
    held = stage == "turn" and abs(left) < 0.07
    if count >= COUNTS[stage] and not held:
        stage, count = STAGES[(STAGES.index(stage) + 1) % 4], 0
    if stage == "back":
        memory["swing"] = -np.sign(left) * min(REACH, 0.5 * abs(left) / 3.3)
    elif stage == "turn":
        step = np.clip(0.06 * left - 0.006 * observation["observation_61"], -RATE, RATE)
        memory["swing"] = np.clip(memory["swing"] + step, -REACH - 0.1, REACH + 0.1)
    memory.update(stage=stage, count=count + 1)
    bend = CLOSED if stage in ("close", "turn") else OPEN
    target = np.tile([memory["swing"], bend, 0.0, 0.0], 5)
    return list(2 * (target - LOW) / (HIGH - LOW) - 1)
