"""Pushes the puck: the hand is pulled by a spring behind the puck, then through it; torques by the own Jacobian."""

import numpy as np

CONTROL = "raw"
LINKS = [
    (0.12, "z"),
    (0.13, "y"),
    (0.15, "z"),
    (0.15, "y"),
    (0.14, "z"),
    (0.14, "y"),
    (0.04, "z"),
]  # meters, axis
HAND = 0.08
POSTURE = np.array([0.0, 0.1, 0.0, 1.9, 0.0, 1.1, 0.0])


def jacobian(angles):
    """Return how the hand moves with each joint, (3, 7)."""
    place, turn, axes, places = np.zeros(3), np.eye(3), [], []
    for angle, (length, axis) in zip(angles, LINKS, strict=True):
        place = place + turn @ [0.0, 0.0, length]
        c, s = np.cos(angle), np.sin(angle)
        axes.append(turn[:, 2] if axis == "z" else turn[:, 1])
        places.append(place)
        about = {"z": [[c, -s, 0], [s, c, 0], [0, 0, 1]], "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]]}
        turn = turn @ np.array(about[axis])
    hand = place + turn @ [0.0, 0.0, HAND]
    return np.cross(axes, hand - np.array(places)).T


def act(observation, memory):
    """Return the next action."""
    hand, puck, goal = (observation[f"{name}_position"] for name in ("hand", "puck", "goal"))
    way = (goal - puck)[:2]
    far = np.linalg.norm(way)
    way = way / (far + 1e-9)
    offset = (hand - puck)[:2]
    behind, beside = -(offset @ way), abs(offset[0] * way[1] - offset[1] * way[0])
    low = memory.get("low", False)
    if not low:
        low = behind > 0.065 and behind < 0.11 and beside < 0.012 and hand[2] < 0.045
    elif beside > 0.03 or behind < 0.02:
        low = False
    memory["low"] = low
    place = puck[:2] - 0.085 * way
    over = np.linalg.norm(hand[:2] - place) < 0.02 or (
        hand[2] < 0.06 and np.linalg.norm(hand[:2] - place) < 0.03
    )
    aim = np.array([*place, 0.03 if over else 0.1])
    if not over and hand[2] < 0.075:
        aim[:2] = hand[:2]
    if low:
        aim = np.array([*(puck[:2] - 0.06 * way + way * min(0.3 * far, 0.03)), 0.03])
    at = memory.get("at", np.array(hand))
    step = aim - at
    memory["at"] = at = at + step * min(1.0, (0.003 if low else 0.008) / (np.linalg.norm(step) + 1e-9))
    moves, rates = jacobian(observation["joint_angles"]), observation["joint_velocities"]
    force = 400.0 * (at - hand) - 15.0 * (moves @ rates)
    rest = 3.0 * (POSTURE - observation["joint_angles"]) - 0.6 * rates
    free = np.eye(7) - moves.T @ np.linalg.solve(
        moves @ moves.T + 1e-4 * np.eye(3), moves
    )  # not felt at the hand
    return list(moves.T @ force + free @ rest)
