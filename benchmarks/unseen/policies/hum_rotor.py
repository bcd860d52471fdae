"""Spins up with the clamp closed, opens it between the resonances, and goes on to the wanted speed."""

import numpy as np

CONTROL = "raw"
OPENS = 40.0  # rad/s, above the resonance of the open bench and below that of the clamped one


def act(observation, memory):
    """Return the next action."""
    rate, wanted = 100.0 * observation["observation_5"], 100.0 * observation["observation_6"]
    if rate > OPENS:
        memory["open"] = True
    drive = 0.6 * (wanted - rate) + 0.8
    return [float(np.clip(drive, -1.0, 1.0)), 1.0 if memory.get("open") else -1.0]
