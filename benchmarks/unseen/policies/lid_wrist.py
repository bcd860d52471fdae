"""Unscrews the lid: presses all the time, closes, turns, opens and turns back until the thread must be over; lifts."""

import numpy as np

CONTROL = "raw"
PRESS, LONGEST = 13.0, 4.1  # N, rad
COUNTS = {"close": 6, "turn": 30, "open": 5, "back": 30}  # decisions at most
STAGES = ["close", "turn", "open", "back"]
END = 0.55  # rad of the wrist


def act(observation, memory):
    """Return the next action."""
    stage, count = memory.get("stage", "open"), memory.get("count", 0) + 1
    wrist, force = observation["wrist_angle"], observation["press_force"]
    height = observation["hand_height"] - observation["lid_height"]
    if stage == "lift":
        return [0.0 if count < 6 and memory.update(count=count) is None else 0.05, 0.0, 12.0]
    if height > 0.004 and force == 0.0:
        down = -min(0.1, max(0.01, 3.0 * height))
    else:
        down = memory.get("down", -PRESS / 400.0) - 0.0003 * (PRESS - force)
        down = memory["down"] = float(np.clip(down, -0.05, 0.0))
    done = count > COUNTS[stage] or (stage == "turn" and wrist > END) or (stage == "back" and wrist < -END)
    if done and force > 3.0:
        stage, count = STAGES[(STAGES.index(stage) + 1) % 4], 0
        if stage == "open" and observation["lid_angle"] > LONGEST:
            stage = "lift"
    memory.update(stage=stage, count=count)
    rate = {"turn": 1.5, "back": -2.5}.get(stage, 0.0)
    return [down, rate, 10.0 if stage in ("close", "turn", "lift") else -4.0]
