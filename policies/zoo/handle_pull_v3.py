"""handle-pull-v3: success 1.00 on 50 held-out conditions (95 % interval 0.93 to 1.00).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 30 training and confirming conditions (success 1.00 there), control raw: 1,047
candidates, 542,824 simulator steps, 0 model calls. Ended: every training condition and 25 of 25
more solved, and 0.92 with noise on the constants.

Made with trace-robot 0.1.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks handle-pull-v3 --steps 1200000 --seeds 0 --zoo policies/zoo
"""

import math

import numpy as np

from trace_robot import bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN = 7.0  # action per metre of error
GO_ABOVE_HANDLE = np.array([0.01, 0.015, 0.045])  # metres, from handle_position
GO_TO_HANDLE = np.array([0.01, 0.01, -0.025])  # metres, from handle_position
CLOSE_GRIPPER = np.array([0.0, -0.005, 0.0])  # metres, from hand_position
GO_TO_GOAL_1 = np.array([-0.035, -0.005, -0.02])  # metres, from goal_position
GO_BEHIND_HANDLE = np.array([-0.01, -0.005, 0.02])  # metres, from handle_position
GO_BEHIND_HANDLE_ALONG = -0.105  # metres, level, towards goal_position
GO_TO_GOAL_2 = np.array([-0.015, -0.005, 0.015])  # metres, from goal_position


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


def go_above_handle(observation, memory):
    """From hand to handle + (1, 1.5, 4.5) cm."""
    target = observation["handle_position"] + GO_ABOVE_HANDLE
    return target - observation["hand_position"]


def go_to_handle(observation, memory):
    """From hand to handle + (1, 1, -2.5) cm."""
    target = observation["handle_position"] + GO_TO_HANDLE
    return target - observation["hand_position"]


def close_gripper(observation, memory):
    """From hand to where hand was when the stage began + (0, -0.5, 0) cm."""
    target = memory["entry"]["hand_position"] + CLOSE_GRIPPER
    return target - observation["hand_position"]


def go_to_goal_1(observation, memory):
    """From handle to goal + (-3.5, -0.5, -2) cm."""
    target = observation["goal_position"] + GO_TO_GOAL_1
    return target - observation["handle_position"]


def go_behind_handle(observation, memory):
    """From hand to handle + (-1, -0.5, 2) cm, 10.5 cm away from goal."""
    here = observation["handle_position"]
    step = towards(here, observation["goal_position"], GO_BEHIND_HANDLE_ALONG)
    target = here + GO_BEHIND_HANDLE + step
    return target - observation["hand_position"]


def go_to_goal_2(observation, memory):
    """From hand to goal + (-1.5, -0.5, 1.5) cm."""
    target = observation["goal_position"] + GO_TO_GOAL_2
    return target - observation["hand_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES = [
    # 1. hand to handle + (1, 1.5, 4.5) cm, gripper open, until within 2.8 cm or for 80 decisions
    {"go": go_above_handle, "gripper": -1.0, "close": 0.028, "patience": 80,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. hand to handle + (1, 1, -2.5) cm, gripper open, until within 0.9 cm or for 30 decisions
    {"go": go_to_handle, "gripper": -1.0, "close": 0.009, "patience": 30,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 3. hand to where hand was when the stage began + (0, -0.5, 0) cm, gripper closed, for 15 decisions
    {"go": close_gripper, "gripper": 1.0, "close": 0.0, "patience": 15,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 4. handle to goal + (-3.5, -0.5, -2) cm, gripper closed, until within 1.2 cm or for 35 decisions; starts
    # over if handle is more than 13 cm from the hand
    {"go": go_to_goal_1, "gripper": 1.0, "close": 0.012, "patience": 35,
     "speed": 1.0, "hold": "handle_position", "slack": 0.13},
    # 5. hand to handle + (-1, -0.5, 2) cm, 10.5 cm away from goal, gripper open, until within 1.6 cm or for
    # 25 decisions
    {"go": go_behind_handle, "gripper": -1.0, "close": 0.016, "patience": 25,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 6. hand to goal + (-1.5, -0.5, 1.5) cm, gripper open, until within 0.9 cm or for 50 decisions
    {"go": go_to_goal_2, "gripper": -1.0, "close": 0.009, "patience": 50,
     "speed": 0.3, "hold": "", "slack": 0.1},
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
