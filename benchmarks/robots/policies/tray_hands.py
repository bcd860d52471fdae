"""Lifts the tray: both hands go to the handles, close, and rise together."""

import numpy as np

CONTROL = "raw"


def act(observation, memory):
    """Return the next action."""
    stage, action, arrived = memory.get("stage", 0), [], True
    fingers = -1.0 if stage < 2 else 1.0
    memory["waited"] = memory.get("waited", 0) + 1
    above = [0.0, 0.0, 0.07 if stage == 0 else 0.0]
    level = observation["height"] + 0.05  # handles are that much above the tray
    for side in ("left", "right"):
        hand, handle = observation[f"{side}_hand"], observation[f"{side}_handle"]
        if stage < 2:
            velocity = 5.0 * (handle + above - hand)
            arrived = arrived and bool(np.linalg.norm(handle + above - hand) < 0.01)
        else:
            velocity = np.array([0.0, 0.0, np.clip(4.0 * (level - handle[2]), -0.12, 0.12) * (stage == 3)])
        action += [*velocity, fingers]
    if (memory["waited"] > 10 if stage == 2 else arrived) and stage < 3:
        memory.update(stage=stage + 1, waited=0)
    return action
