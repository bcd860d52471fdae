"""Turns the dial past both marks and back, which measures ratio and play; then goes to angles by the motor.

A mark's middle is the motor's angle between its edges, less what the reader is late, one for either direction.
"""

import numpy as np

CONTROL = "raw"
FORTH, BACK, STEP = 2.0, 1.2, 0.05  # rad/s of the motor while it measures, seconds of a decision
DELAY = 0.125  # s from an edge to when it is seen, of which half a decision is the mean wait
APART = 2.2  # rad from the index mark to the second one


def act(observation, memory):
    """Return the next action."""
    motor, mark = observation["motor_angle"], int(observation["mark"])
    before, last = memory.get("mark", 0), memory.get("motor", motor)
    edge = motor - (motor - last) / STEP * DELAY
    forth, back = memory.setdefault("forth", {}), memory.setdefault("back", {})
    middles = forth if len(forth) < 2 else back
    if mark and not before and "motor" in memory:
        memory["began"] = edge
    elif before and not mark and memory.get("began") is not None:
        middles[before] = (memory.pop("began") + edge) / 2
    memory.update(mark=mark, motor=motor)
    if len(forth) < 2:
        return [FORTH]
    if not back:
        return [-BACK]
    if "ratio" not in memory:
        ahead = forth[2] - forth[1]
        memory["ratio"] = APART / ahead if ahead > 0 else (2 * np.pi - APART) / -ahead
        (seen,) = back
        memory["play"] = forth[seen] - back[seen]
    if memory.get("goal_of") != observation["rested"]:
        memory["goal_of"] = observation["rested"]
        turn = 2 * np.pi / memory["ratio"]
        rest = forth[1] - observation["wanted_angle"] / memory["ratio"]  # coming from below
        goals = [rest + k * turn for k in range(-4, 5)]
        # The dial rests where it is until the play is taken up.
        above = motor + memory["play"] if memory.get("down", True) else motor
        ways = [goal for goal in goals if goal > above] + [
            goal - memory["play"] for goal in goals if goal < above
        ]
        memory["goal"] = min(ways, key=lambda goal: abs(goal - motor))
        memory["down"] = memory["goal"] < motor
    return [float(np.clip(6.0 * (memory["goal"] - motor), -8.0, 8.0))]
