"""Touches the point: damped least squares on the arm's own kinematics."""

import numpy as np

CONTROL = "raw"
LINKS = [(0.05, "z"), (0.1, "y"), (0.24, "y"), (0.2, "y"), (0.06, "z")]  # meters along the last link, axis
TIP = np.array([0.03, 0.0, 0.09])


def kinematics(angles):
    """Return the tip, and how it moves with each joint, (3, 5)."""
    place, turn, axes, places = np.zeros(3), np.eye(3), [], []
    for angle, (length, axis) in zip(angles, LINKS, strict=True):
        place = place + turn @ [0.0, 0.0, length]
        c, s = np.cos(angle), np.sin(angle)
        axes.append(turn[:, 2] if axis == "z" else turn[:, 1])
        places.append(place)
        about = {"z": [[c, -s, 0], [s, c, 0], [0, 0, 1]], "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]]}
        turn = turn @ np.array(about[axis])
    tip = place + turn @ TIP
    return tip, np.cross(axes, tip - np.array(places)).T


def act(observation):
    """Return the next action."""
    _, jacobian = kinematics(observation["joint_angles"])
    error = observation["target_position"] - observation["tip_position"]
    wanted = error * min(6.0, 0.6 / (np.linalg.norm(error) + 1e-9))
    away = -0.3 * observation["joint_angles"]  # from the joints' limits, where it costs the tip nothing
    inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + 1e-3 * np.eye(3))
    return list(inverse @ wanted + (np.eye(5) - inverse @ jacobian) @ away)
