"""Puts the cube on the disk: stages, and damped least squares on the arm's own kinematics."""

import numpy as np

CONTROL = "raw"
LINKS = [(0.1, "z"), (0.1, "y"), (0.28, "y"), (0.13, "z"), (0.13, "y"), (0.03, "z")]  # meters, axis
HAND = 0.09


def kinematics(angles):
    """Return the hand, its rotation, and how both change with each joint, (6, 6)."""
    place, turn, axes, places = np.zeros(3), np.eye(3), [], []
    for angle, (length, axis) in zip(angles, LINKS, strict=True):
        place = place + turn @ [0.0, 0.0, length]
        c, s = np.cos(angle), np.sin(angle)
        axes.append(turn[:, 2] if axis == "z" else turn[:, 1])
        places.append(place)
        about = {"z": [[c, -s, 0], [s, c, 0], [0, 0, 1]], "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]]}
        turn = turn @ np.array(about[axis])
    hand = place + turn @ [0.0, 0.0, HAND]
    return hand, turn, np.vstack([np.cross(axes, hand - np.array(places)).T, np.array(axes).T])


def towards(aims, goal, yaw):
    """Return increments that bring the hand to a goal, its fingers down and closing along ``yaw`` + 90 degrees."""
    hand, turn, jacobian = kinematics(aims)
    c, s = np.cos(yaw), np.sin(yaw)
    wanted = np.array([[c, s, 0], [s, -c, 0], [0, 0, -1]])
    spin = 0.5 * np.cross(turn.T, wanted.T).sum(axis=0)
    error = goal - hand
    error = error * min(1.0, 0.025 / (np.linalg.norm(error) + 1e-9))
    change = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-3 * np.eye(6), [*error, *(0.3 * spin)])
    return np.clip(change, -0.06, 0.06)


def act(observation, memory):
    """Return the next action."""
    aims = memory.setdefault("aims", np.array(observation["joint_angles"]))
    hand, cube, disk = (observation[f"{name}_position"] for name in ("hand", "cube", "disk"))
    w, _, _, z = observation["cube_quaternion"]
    yaw = memory.setdefault("yaw", (2 * np.arctan2(z, w) + np.pi / 4) % (np.pi / 2) - np.pi / 4)
    stage = memory.get("stage", 0)
    place = disk + [0.0, 0.0, 0.025]
    goals = [
        cube + [0, 0, 0.08],
        cube,
        hand,
        [*memory.get("at", cube)[:2], 0.15],
        place + [0, 0, 0.1],
        place,
        hand,
    ]
    goals.append(place + [0, 0, 0.1])
    goal = np.array(memory["at"] if stage in (2, 6) else goals[stage])
    close = 2 <= stage <= 5
    memory["waited"] = memory.get("waited", 0) + 1
    arrived = np.linalg.norm(hand - goal) < (0.006 if stage in (1, 5) else 0.015)
    if (memory["waited"] > 8 if stage in (2, 6) else arrived) and stage < 7:
        memory.update(stage=stage + 1, waited=0, at=np.array(hand))
    change = towards(aims, goal, yaw)
    memory["aims"] = aims + change
    return [*change, 1.0 if close else -1.0]
