"""button-press-wall-v3: success 1.00 on 50 held-out conditions (95 % interval 0.93 to 1.00).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 30 training and confirming conditions (success 1.00 there), control raw: 927 candidates,
499,937 simulator steps, 0 model calls. Ended: every training condition and 25 of 25 more solved,
and 0.91 with noise on the constants.

Made with trace-robot 0.1.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks button-press-wall-v3 --steps 1200000 --seeds 0 --zoo policies/zoo
"""

import math

import numpy as np

from trace_robot import bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN = 12.0316  # action per metre of error
GO_ABOVE_BUTTON_1 = np.array([-0.0052, 0.0213, 0.0778])  # metres, from button_position
BRING_BUTTON_TO_GOAL = np.array([-0.0076, 0.0174, 0.0709])  # metres, from goal_position
MOVE_GOAL_BACK = np.array([0.0, -0.0583, 0.0583])  # metres, from goal_position
GO_ABOVE_BUTTON_2 = np.array([-0.0186, 0.0194, 0.1543])  # metres, from button_position
GO_ABOVE_BUTTON_2_ALONG = -0.0463  # metres, level, towards goal_position
GO_BEHIND_BUTTON = np.array([-0.0186, 0.0194, 0.0071])  # metres, from button_position
GO_BEHIND_BUTTON_ALONG = -0.0463  # metres, level, towards goal_position
GO_BEFORE_BUTTON = np.array([-0.0186, 0.0194, 0.0071])  # metres, from button_position
GO_BEFORE_BUTTON_ALONG = 0.0899  # metres, level, towards goal_position


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


def go_above_button_1(observation, memory):
    """From hand to button + (-0.52, 2.13, 7.78) cm."""
    target = observation["button_position"] + GO_ABOVE_BUTTON_1
    return target - observation["hand_position"]


def bring_button_to_goal(observation, memory):
    """From button to goal + (-0.76, 1.74, 7.09) cm."""
    target = observation["goal_position"] + BRING_BUTTON_TO_GOAL
    return target - observation["button_position"]


def move_goal_back(observation, memory):
    """From goal to where goal was at the start + (0, -5.83, 5.83) cm."""
    target = memory["start"]["goal_position"] + MOVE_GOAL_BACK
    return target - observation["goal_position"]


def go_above_button_2(observation, memory):
    """From hand to button + (-1.86, 1.94, 15.4) cm, 4.63 cm away from goal."""
    here = observation["button_position"]
    step = towards(here, observation["goal_position"], GO_ABOVE_BUTTON_2_ALONG)
    target = here + GO_ABOVE_BUTTON_2 + step
    return target - observation["hand_position"]


def go_behind_button(observation, memory):
    """From hand to button + (-1.86, 1.94, 0.71) cm, 4.63 cm away from goal."""
    here = observation["button_position"]
    step = towards(here, observation["goal_position"], GO_BEHIND_BUTTON_ALONG)
    target = here + GO_BEHIND_BUTTON + step
    return target - observation["hand_position"]


def go_before_button(observation, memory):
    """From hand to button + (-1.86, 1.94, 0.71) cm, 8.99 cm towards goal."""
    here = observation["button_position"]
    step = towards(here, observation["goal_position"], GO_BEFORE_BUTTON_ALONG)
    target = here + GO_BEFORE_BUTTON + step
    return target - observation["hand_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES = [
    # 1. hand to button + (-0.52, 2.13, 7.78) cm, gripper open, until within 2.53 cm or for 74 decisions
    {"go": go_above_button_1, "gripper": -1.0, "close": 0.0253, "patience": 74,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. button to goal + (-0.76, 1.74, 7.09) cm, gripper closed, until within 2 cm or for 31 decisions
    {"go": bring_button_to_goal, "gripper": 1.0, "close": 0.02, "patience": 31,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 3. goal to where goal was at the start + (0, -5.83, 5.83) cm, gripper closed, until within 1 cm or for
    # 61 decisions
    {"go": move_goal_back, "gripper": 1.0, "close": 0.01, "patience": 61,
     "speed": 0.6667, "hold": "", "slack": 0.1},
    # 4. hand to button + (-1.86, 1.94, 15.4) cm, 4.63 cm away from goal, gripper closed, until within 2 cm or
    # for 69 decisions
    {"go": go_above_button_2, "gripper": 1.0, "close": 0.02, "patience": 69,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 5. hand to button + (-1.86, 1.94, 0.71) cm, 4.63 cm away from goal, gripper closed, until within 1.5 cm
    # or for 37 decisions
    {"go": go_behind_button, "gripper": 1.0, "close": 0.015, "patience": 37,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 6. hand to button + (-1.86, 1.94, 0.71) cm, 8.99 cm towards goal, gripper closed, until within 1 cm or
    # for 76 decisions
    {"go": go_before_button, "gripper": 1.0, "close": 0.01, "patience": 76,
     "speed": 0.634, "hold": "", "slack": 0.1},
]


@bundle(trainable=True)
def act(observation, memory):
    """Return [x, y, z, gripper]: the next motion of the present stage of STAGES.

    A stage ends when it is close enough or its decisions are used up; after the last one, or when the
    object got lost, it starts over.
    """
    if not memory:
        memory.update(stage=0, waited=0, rounds=0, start=dict(observation), entry=dict(observation))
    stage = STAGES[memory["stage"]]
    error = stage["go"](observation, memory)
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
