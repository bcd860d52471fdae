"""Flings the ball: computed torques follow a planned swing, whose speed at the stop the ballistics ask for."""

import numpy as np

CONTROL = "raw"
STEP, GRAVITY = 0.01, 9.81  # seconds, m/s2
UPPER, FORE = 0.34, 0.27  # meters
SWING, FOREARM, RELEASE = (
    1.05,
    0.3,
    -0.85,
)  # rad: of the shoulder, the elbow, the shoulder at the end of the swing
FASTER = [0.1074, 0.1995, 1.8015]  # polynomial of the speed, fitted: the ball leaves the cup late in the stop
INERTIA = 0.45 * UPPER**2 / 3 + 0.29 * UPPER**2 + 0.005
MOMENT = 0.2 * 0.12 + 0.09 * FORE  # kg m, of forearm, cup and ball about the elbow
FOREARM_INERTIA = 0.2 * 0.24**2 / 3 + 0.09 * FORE**2


def torques(angles, rates, accelerations):
    """Return the torques that give these accelerations, (2,)."""
    a, b = angles[0], angles[0] + angles[1]
    c, s = np.cos(angles[1]), np.sin(angles[1])
    cross = FOREARM_INERTIA + UPPER * MOMENT * c
    first = INERTIA + FOREARM_INERTIA + 2 * UPPER * MOMENT * c
    inertia = np.array([[first, cross], [cross, FOREARM_INERTIA + 0.005]])
    turning = UPPER * MOMENT * s * np.array([-(2 * rates[0] + rates[1]) * rates[1], rates[0] ** 2])
    second = GRAVITY * MOMENT * np.sin(b)
    weight = np.array([GRAVITY * (0.45 * 0.17 + 0.29 * UPPER) * np.sin(a) + second, second])
    return inertia @ accelerations + turning - weight + 0.05 * rates


def launch(bin_position):
    """Return the shoulder's speed at the release that lets the ball fall through the middle of the rim, rad/s."""
    a, b = RELEASE, RELEASE + FOREARM
    arm = UPPER * np.array([np.sin(a), np.cos(a)]) + FORE * np.array([np.sin(b), np.cos(b)])
    across = np.array([np.cos(b), -np.sin(b)])
    place = np.array([0.0, 0.5]) + arm + 0.024 * across
    way = np.array([arm[1], -arm[0]])  # velocity of the cup for 1 rad/s
    dx, dz = bin_position + [0.0, 0.1] - place
    slope = way[1] / way[0]
    along = np.sqrt(0.5 * GRAVITY * dx**2 / (slope * dx - dz))
    return np.polyval(FASTER, along / way[0])


def act(observation, memory):
    """Return the next action."""
    angles, rates = observation["joint_angles"], observation["joint_velocities"]
    plan = memory.setdefault("plan", np.array(angles))
    wanted = memory.get("rates", np.zeros(2))
    stage = memory.get("stage", "ready")
    speed = launch(observation["bin_position"])
    count = round(2 * SWING / (speed * STEP))  # decisions of the swing, which ends at one
    ready = np.array([RELEASE - 0.5 * speed * count * STEP, FOREARM])
    if stage == "ready":
        rate = np.clip(6.0 * (ready - plan), -1.5, 1.5)
        change = np.clip((rate - wanted) / STEP, -15.0, 15.0)
        if np.abs(ready - plan).max() < 0.002 and np.abs(rates).max() < 0.02:
            memory.update(stage="swing", left=count)
    elif stage == "swing":
        change = np.array([speed / (count * STEP), 0.0])
        memory["left"] -= 1
        if memory["left"] == 0:
            memory["stage"] = "stop"
    else:
        change = np.clip(-wanted / STEP, -70.0, 70.0)
    memory["rates"] = wanted + STEP * change
    memory["plan"] = plan + STEP * wanted + 0.5 * STEP**2 * change
    feedback = 300.0 * (plan - angles) + 25.0 * (wanted - rates)
    return list(torques(angles, rates, change + feedback))
