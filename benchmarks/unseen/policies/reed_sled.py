"""Stops a swinging reed: an observer of what was seen late, a model up to when a drive obeys, LQR on each axis."""

import numpy as np

CONTROL = "raw"
STEP, LATE, AFTER = 0.04, 3, 5  # seconds, decisions until the tip is seen and until a drive obeys
SLED, TOP, LENGTH, DRAG = 4.02, 0.255, 0.6, 4.0  # kg, kg, m, N s/m
FORCE = (5.0, -3.5)  # N, of full power along x, y
SPRING = (4.1 - 1.53, 6.8 - 1.53)  # N m/rad, less what the weight takes
FAR, FULL = 0.35, 0.8  # m, the most of the error that is looked at, and the most power


def model(force, spring):
    """Return how a decision changes sled, bend and their speeds, (4, 4), and what the drive adds, (4,)."""
    inertia = np.array([[SLED + TOP, TOP * LENGTH], [TOP * LENGTH, TOP * LENGTH**2]])
    pull = np.linalg.solve(inertia, np.array([[0, 0, -DRAG, 0, force], [0, -spring, 0, 0, 0]]))
    rates = np.zeros((5, 5))
    rates[:2, 2:4] = np.eye(2)
    rates[2:4] = pull
    change = np.linalg.matrix_power(np.eye(5) + rates * STEP / 1024, 1024)
    return change[:4, :4], change[:4, 4]


def riccati(change, into, cost, price):
    """Return the gain of the linear quadratic regulator."""
    value = cost
    for _ in range(400):
        gain = np.linalg.solve(price + into.T @ value @ into, into.T @ value @ change)
        value = cost + change.T @ value @ (change - into @ gain)
    return gain


def design(force, spring):
    """Return the matrices of an axis: change, drive, observer, prediction from state and drives, feedback."""
    change, drive = model(force, spring)
    seen = np.array([[1.0, 0, 0, 0], [1.0, LENGTH, 0, 0]])
    observer = riccati(change.T, seen.T, np.diag([1e-6, 1e-6, 1e-3, 1e-2]), 1e-4 * np.eye(2)).T
    powers = [np.linalg.matrix_power(change, LATE + AFTER - 1 - i) @ drive for i in range(LATE + AFTER)]
    ahead = np.column_stack([np.linalg.matrix_power(change, LATE + AFTER), *powers])
    feedback = riccati(change, drive[:, None], np.diag([10.0, 10.0, 1.0, 1.0]), np.array([[3.0]]))[0]
    return change, drive, seen, observer, ahead, feedback


AXES = [design(force, spring) for force, spring in zip(FORCE, SPRING, strict=True)]


def act(observation, memory):
    """Return the next action."""
    sled, tip, mark = (np.array(observation[name + "_position"]) for name in ("sled", "tip", "mark"))
    places = memory["places"] = [*memory.get("places", [sled] * (LATE + 1))[-LATE:], sled]
    drives = memory.get("drives", [[0.0, 0.0]] * (LATE + AFTER + 1))  # the oldest acted before the last sight
    states = memory.get("states", [np.array([sled[k], (tip[k] - sled[k]) / LENGTH, 0, 0]) for k in (0, 1)])
    action, after = [], []
    for k, (change, drive, seen, observer, ahead, feedback) in enumerate(AXES):
        state = change @ states[k] + drive * drives[0][k] if "states" in memory else states[k]
        state = state + observer @ (np.array([places[0][k], tip[k]]) - seen @ state)
        after.append(state)
        error = ahead @ np.array([*state, *(old[k] for old in drives[1:])])
        error[0] = np.clip(error[0] - mark[k], -FAR, FAR)
        action.append(float(np.clip(-feedback @ error, -FULL, FULL)))
    memory["states"] = after
    memory["drives"] = [*drives[1:], action]
    return action
