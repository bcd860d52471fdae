"""Pulls away from the mark harder and harder until the bolt rises, turns the knob to one side or the other, goes.

Numbers 0 and 2 are speeds of sled and knob, 11, 13 and 15 the places of sled, knob and bolt, 33 is the mark.
"""

import numpy as np

CONTROL = "raw"
HALF, UP = 0.0145, 0.029  # m of the bolt
TURN = 0.7  # rad


def act(observation, memory):
    """Return the next action."""
    o = [observation[f"observation_{i}"] for i in range(34)]
    speed, rate, place, turned, bolt, mark = o[0], o[2], o[11], o[13], o[15], o[33]
    side = np.sign(mark)
    if bolt > UP:
        memory["free"] = True
    wanted, pull = 0.0, memory.get("pull", 2.4)
    turn = memory.get("turn", 1.0)
    if memory.get("free", False):
        wanted = turn * TURN if abs(place) < 0.05 else 0.0
        error = mark - place
        if abs(error) < 0.06:
            memory["sum"] = float(np.clip(memory.get("sum", 0.0) + 0.6 * error, -3.0, 3.0))
        goal = float(np.clip(4.0 * error, -0.5, 0.5))
        force = 14.0 * (goal - speed) + memory.get("sum", 0.0) + 1.0 * np.sign(error) * (abs(error) > 0.008)
    else:
        if memory.get("turning", False):
            wanted = turn * TURN
            if bolt < 0.008:  # it fell: the other side
                memory.update(turning=False, turn=-turn)
        elif bolt > HALF:
            memory["turning"] = True
        elif bolt < 0.002 and abs(turned) < 0.15:
            pull = memory["pull"] = pull + 0.06 if pull < 8.5 else 2.4
        force = -side * pull
    aim = memory["aim"] = memory.get("aim", 0.0) + float(
        np.clip(wanted - memory.get("aim", 0.0), -0.05, 0.05)
    )
    held = memory["held"] = float(np.clip(memory.get("held", 0.0) + 0.04 * (aim - turned), -0.8, 0.8))
    torque = held + 0.3 * (aim - turned) - 0.02 * rate
    return [0.0, float(torque / 0.6), 0.0, float(force / 12.0)]
