"""button-press-v3: success 0.98 on 50 held-out conditions in worlds that differ (95 % interval 0.90 to 1.00).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 27 training and confirming conditions (success 1.00 there), control raw: 881 candidates,
1,144,808 simulator steps, 0 model calls. Ended: success 0.98, value 2.88 on average and 2.71 in the
worst fifth of 42 worlds, and 1.00 with noise on the constants.

Made with trace-robot 0.2.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks button-press-v3 --protocol robust --steps 1600000 --seeds 0 --zoo policies/robust
"""

import math
from typing import Annotated

import numpy as np

from trace_robot import Bounds, bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN: Annotated[float, Bounds(1.0, 40.0)] = 10.9239  # action per metre of error
ENOUGH: Annotated[float, Bounds(0.0, 1.0)] = 0.0076  # metres that may remain when the program rests
REST = 48  # decisions for which it rests when more remains again
GO_TO_BUTTON: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.0013, 0.0585, -0.0011])  # metres, from button_position
GO_TO_BUTTON_ALONG: Annotated[float, Bounds(-0.5, 0.5)] = -0.0102  # metres, level, towards goal_position
GO_ABOVE_BUTTON: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.0032, -0.0011, 0.1073])  # metres, from button_position
GO_ABOVE_BUTTON_ALONG: Annotated[float, Bounds(-0.5, 0.5)] = -0.0642  # metres, level, towards goal_position
GO_BEHIND_BUTTON: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.0032, -0.0011, -0.0157])  # metres, from button_position
GO_BEHIND_BUTTON_ALONG: Annotated[float, Bounds(-0.5, 0.5)] = -0.0642  # metres, level, towards goal_position
GO_TO_GOAL: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.0032, -0.0011, -0.0157])  # metres, from goal_position
REMAINING: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0, 0.0816, 0.0])  # metres, from button_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def towards(here, there, metres):
    """The level step of so many metres from here towards there (away from it if negative)."""
    east, north = there[0] - here[0], there[1] - here[1]
    length = math.hypot(east, north)
    if length < 1e-6:
        return np.zeros(3)
    return np.array([metres / length * east, metres / length * north, 0.0])


def remaining(observation, memory):
    """From button to where button was at the start + (0, 8.16, 0) cm."""
    target = memory["start"]["button_position"] + REMAINING
    return target - observation["button_position"]


def go_to_button(observation, memory):
    """From hand to button + (-0.13, 5.85, -0.11) cm, 1.02 cm away from goal."""
    here = observation["button_position"]
    step = towards(here, observation["goal_position"], GO_TO_BUTTON_ALONG)
    target = here + GO_TO_BUTTON + step
    return target - observation["hand_position"]


def go_above_button(observation, memory):
    """From hand to button + (-0.32, -0.11, 10.7) cm, 6.42 cm away from goal."""
    here = observation["button_position"]
    step = towards(here, observation["goal_position"], GO_ABOVE_BUTTON_ALONG)
    target = here + GO_ABOVE_BUTTON + step
    return target - observation["hand_position"]


def go_behind_button(observation, memory):
    """From hand to button + (-0.32, -0.11, -1.57) cm, 6.42 cm away from goal."""
    here = observation["button_position"]
    step = towards(here, observation["goal_position"], GO_BEHIND_BUTTON_ALONG)
    target = here + GO_BEHIND_BUTTON + step
    return target - observation["hand_position"]


def go_to_goal(observation, memory):
    """From hand to goal + (-0.32, -0.11, -1.57) cm."""
    target = observation["goal_position"] + GO_TO_GOAL
    return target - observation["hand_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES: Annotated[list, {
    "gripper": Bounds(-1.0, 1.0), "close": Bounds(0.0, 0.1), "speed": Bounds(0.1, 1.0),
    "slack": Bounds(0.01, 0.5)
}] = [
    # 1. hand to button + (-0.13, 5.85, -0.11) cm, 1.02 cm away from goal, gripper open, until within 2 cm or
    # for 57 decisions
    {"go": go_to_button, "gripper": -1.0, "close": 0.02, "patience": 57,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. hand to button + (-0.32, -0.11, 10.7) cm, 6.42 cm away from goal, gripper closed, until within 2 cm
    # or for 55 decisions
    {"go": go_above_button, "gripper": 1.0, "close": 0.02, "patience": 55,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 3. hand to button + (-0.32, -0.11, -1.57) cm, 6.42 cm away from goal, gripper closed, until within 1.5
    # cm or for 27 decisions
    {"go": go_behind_button, "gripper": 1.0, "close": 0.015, "patience": 27,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 4. hand to goal + (-0.32, -0.11, -1.57) cm, gripper closed, until within 1 cm or for 74 decisions
    {"go": go_to_goal, "gripper": 1.0, "close": 0.01, "patience": 74,
     "speed": 0.7476, "hold": "", "slack": 0.1},
]


@bundle(trainable=True)
def act(observation, memory):
    """Return [x, y, z, gripper]: the next motion of the present stage of STAGES.

    A stage ends when it is close enough or its decisions are used up; after the last one, or when the
    object got lost, it starts over. It rests, and stays in its stage, while little remains.
    """
    if not memory:
        memory.update(stage=0, waited=0, rounds=0, start=dict(observation), entry=dict(observation))
        memory.update(rest=0)
    stage = STAGES[memory["stage"]]
    error = stage["go"](observation, memory)
    if math.hypot(*remaining(observation, memory)) <= ENOUGH:
        memory["rest"] = REST
    elif memory["rest"] > 0:
        memory["rest"] -= 1
    if memory["rest"] > 0:
        return [0.0, 0.0, 0.0, stage["gripper"]]
    lost = stage["hold"] and apart(observation[stage["hold"]], observation[HAND]) > stage["slack"]
    if lost or memory["waited"] >= stage["patience"] or math.hypot(*error) <= stage["close"]:
        following = len(STAGES) if lost else memory["stage"] + 1
        if following == len(STAGES):
            following = 0
            memory["rounds"] += 1
        memory.update(stage=following, waited=0, entry=dict(observation))
        stage = STAGES[following]
        error = stage["go"](observation, memory)
    memory["waited"] += 1
    motion = np.clip(GAIN * error, -stage["speed"], stage["speed"])
    return [*motion, stage["gripper"]]
