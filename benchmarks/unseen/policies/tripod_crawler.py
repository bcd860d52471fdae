"""Rows: all three legs go forward in the air while the hull lies, then sweep back while they carry it."""

import numpy as np

CONTROL = "raw"
AZIMUTHS = np.array([0.0, 2.0943951, 4.1887902])
PERIOD, SWEEP = 16, 0.75  # decisions, rad
HIGH, DEEP, FLAT = 0.35, -0.45, 0.0  # rad of the lift joints


def act(observation, memory):
    """Return the next action."""
    o = np.array([observation[f"observation_{i}"] for i in range(27)])
    w, x, y, z = o[3:7]
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    heading = np.arctan2(o[26], o[25])
    beside = o[25] * o[1] - o[26] * o[0]
    yaw0 = memory.setdefault("yaw", yaw)
    turned = (yaw - yaw0 + np.pi) % (2 * np.pi) - np.pi
    way = heading - yaw - np.clip(1.5 * beside, -0.6, 0.6)
    tick = memory["tick"] = memory.get("tick", -1) + 1
    part = (tick % PERIOD) / PERIOD
    sides = -np.sin(AZIMUTHS) * np.cos(way) + np.cos(AZIMUTHS) * np.sin(way)
    amplitude = np.clip(SWEEP * sides - np.clip(0.6 * turned, -0.3, 0.3), -0.78, 0.78)
    if part < 0.25:
        swing, lift = amplitude, HIGH
    elif part < 0.375:
        swing, lift = amplitude, DEEP
    elif part < 0.875:
        swing, lift = amplitude * (1 - 2 * min(1.0, (part - 0.375) / 0.4)), DEEP
    else:
        swing, lift = -amplitude, HIGH
    action = np.zeros(6)
    action[0::2] = swing / 0.8
    action[1::2] = (lift + 1.0) / 0.9 - 1.0
    return list(action)
