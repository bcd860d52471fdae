"""Follows the target: an observer that looks 40 ms ahead, and feedback of the error and its rate."""

import numpy as np

CONTROL = "raw"
STEP, LATE = 0.02, 2  # seconds, decisions
SLOPE = 5.0 / 7.0 * 9.81  # m/s2 of a rolling ball for each rad


def act(observation, memory):
    """Return the next action."""
    ball, target = observation["ball_position"], observation["target_position"]
    about_x, about_y = observation["plate_angles"]
    pulls = [*memory.get("pulls", [np.zeros(2)] * LATE), SLOPE * np.array([about_y, -about_x])]
    place, rate = memory.get("place", ball), memory.get("rate", np.zeros(2))
    place, rate = place + STEP * rate, rate + STEP * pulls[0]
    miss = ball - place
    place, rate = place + 0.25 * miss, rate + 1.8 * miss
    speed = (target - memory.get("target", target)) / STEP
    memory.update(pulls=pulls[1:], place=place, rate=rate, target=np.array(target))
    for pull in pulls[1:]:
        place, rate = place + STEP * rate, rate + STEP * pull
    pull = (6.0 * (target - place) + 3.5 * (speed - rate)) / SLOPE
    return [-pull[1], pull[0]]
