"""Pushes harder and harder until the drawer gives way with a step, lets go slowly, and pulls slowly.

How far a push moves the latched drawer says how stiff it is: it clicks where a small rise moves it by more.
"""

import numpy as np

CONTROL = "raw"
STEP = 0.04  # s of a decision
RISE, FALL = 0.2, 0.35  # N a decision
CLICK = 0.0008  # m of a step inwards that is no longer the latch's spring
SPEED = 0.035  # m/s, slower than any catch


def act(observation, memory):
    """Return the next action."""
    drawer = observation["drawer_position"]
    speed = (drawer - memory.get("drawer", drawer)) / STEP
    memory["drawer"] = drawer
    stage, push = memory.get("stage", "push"), memory.get("push", 0.0)
    if stage == "push":
        push -= RISE if push < -5.0 else 0.6
        if speed * STEP < -CLICK and push < -8.0:
            stage = "release"
    elif stage == "release":
        push += FALL
        if push >= 0.0 and drawer > -0.001:
            stage, memory["pull"] = "pull", 0.0
    if stage == "pull":
        miss = observation["wanted_position"] - drawer
        wanted = float(np.clip(1.5 * miss, -SPEED, SPEED))
        pull = memory["pull"] = float(np.clip(memory["pull"] + 12.0 * (wanted - speed), -6.0, 6.0))
        if abs(miss) < 0.004:
            pull = memory["pull"] = 0.0
        push = pull + 20.0 * (wanted - speed)
        stuck = memory["stuck"] = memory.get("stuck", 0) + 1 if abs(speed) < 0.002 and miss > 0.01 else 0
        if stuck > 40:
            stage, memory["stuck"], memory["tries"] = "push", 0, memory.get("tries", 0) + 1
            push = 0.0
    memory.update(stage=stage, push=push)
    return [push]
