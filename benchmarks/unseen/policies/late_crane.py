"""Moves the load as if by a soft spring: an observer with wind, 120 ms ahead, gives the trolley its place."""

import numpy as np

CONTROL = "raw"
STEP, LATE, GRAVITY, HANG = 0.04, 3, 9.81, 1.6
SLOW, FAST = 1.5, 0.45  # rad/s of the spring, m/s


def act(observation, memory):
    """Return the next action."""
    trolley, length = observation["trolley_position"], observation["rope_length"]
    load, pit = observation["load_position"], observation["pit_position"]
    commands = memory.get("commands", [np.zeros(3)] * LATE)
    rate_of_pendulum = GRAVITY / length
    place, speed = memory.get("place", load[:2]), memory.get("speed", np.zeros(2))
    wind = memory.get("wind", np.zeros(2))
    # One step of the model from the last sight, then a correction by this one.
    before = memory.get("trolley", trolley)
    speed = speed + STEP * (rate_of_pendulum * (0.5 * (before + trolley) - place) + wind)
    place = place + STEP * speed
    miss = load[:2] - place
    place, speed, wind = place + 0.6 * miss, speed + 4.0 * miss, wind + 6.0 * miss
    memory.update(place=place, speed=speed, wind=wind, trolley=np.array(trolley))
    at, ahead, fast, rope = np.array(trolley), place, speed, length
    for command in commands:
        at = at + STEP * command[:2]
        rope = rope + STEP * command[2]
        fast = fast + STEP * (GRAVITY / rope * (at - ahead) + wind)
        ahead = ahead + STEP * fast
    way = pit - ahead
    far = np.linalg.norm(way)
    wanted = way / (far + 1e-9) * min(FAST, 1.2 * far)
    pull = np.clip(2.0 * SLOW * (wanted - fast), -0.8, 0.8)
    goal = ahead + (pull - wind) * rope / GRAVITY
    velocity = np.clip(5.0 * (goal - at), -0.6, 0.6)
    calm = far < 0.02 and np.linalg.norm(fast) < 0.04
    lowering = memory["lowering"] = memory.get("lowering", False) or calm
    if lowering and rope < HANG - 0.21 and far > 0.025:
        deep = 1.25
    elif lowering:
        deep = HANG - 0.036
    else:
        deep = 1.2
    lift = np.clip(2.5 * (deep - rope), -0.25, 0.12 if rope > 1.15 else 0.25)
    if rope > HANG - 0.1:
        velocity = 0.3 * velocity
    action = np.array([*velocity, lift])
    memory["commands"] = [*commands[1:], action]
    return list(action)
