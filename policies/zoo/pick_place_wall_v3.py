"""pick-place-wall-v3: success 0.96 on 50 held-out conditions (95 % interval 0.87 to 0.99).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 30 training and confirming conditions (success 1.00 there), control raw: 897 candidates,
463,608 simulator steps, 0 model calls. Ended: every training condition and 25 of 25 more solved,
and 0.92 with noise on the constants.

Made with trace-robot 0.1.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks pick-place-wall-v3 --steps 1200000 --seeds 0 --zoo policies/zoo
"""

import math

import numpy as np

from trace_robot import bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN = 15.0  # action per metre of error
GO_ABOVE_PUCK = np.array([0.01, 0.005, 0.15])  # metres, from puck_position
GO_TO_PUCK = np.array([0.0, 0.005, 0.035])  # metres, from puck_position
CLOSE_GRIPPER = np.array([-0.005, 0.0, 0.0])  # metres, from hand_position
BRING_PUCK_TO_GOAL_1 = np.array([-0.04, 0.005, 0.05])  # metres, from goal_position
BRING_PUCK_TO_GOAL_2 = np.array([-0.035, 0.005, -0.03])  # metres, from goal_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def go_above_puck(observation, memory):
    """From hand to puck + (1, 0.5, 15) cm."""
    target = observation["puck_position"] + GO_ABOVE_PUCK
    return target - observation["hand_position"]


def go_to_puck(observation, memory):
    """From hand to puck + (0, 0.5, 3.5) cm."""
    target = observation["puck_position"] + GO_TO_PUCK
    return target - observation["hand_position"]


def close_gripper(observation, memory):
    """From hand to where hand was when the stage began + (-0.5, 0, 0) cm."""
    target = memory["entry"]["hand_position"] + CLOSE_GRIPPER
    return target - observation["hand_position"]


def bring_puck_to_goal_1(observation, memory):
    """From puck to goal + (-4, 0.5, 5) cm."""
    target = observation["goal_position"] + BRING_PUCK_TO_GOAL_1
    return target - observation["puck_position"]


def bring_puck_to_goal_2(observation, memory):
    """From puck to goal + (-3.5, 0.5, -3) cm."""
    target = observation["goal_position"] + BRING_PUCK_TO_GOAL_2
    return target - observation["puck_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES = [
    # 1. hand to puck + (1, 0.5, 15) cm, gripper open, until within 1.7 cm or for 60 decisions
    {"go": go_above_puck, "gripper": -1.0, "close": 0.017, "patience": 60,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. hand to puck + (0, 0.5, 3.5) cm, gripper open, until within 1.3 cm or for 20 decisions
    {"go": go_to_puck, "gripper": -1.0, "close": 0.013, "patience": 20,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 3. hand to where hand was when the stage began + (-0.5, 0, 0) cm, gripper closed, for 8 decisions
    {"go": close_gripper, "gripper": 1.0, "close": 0.0, "patience": 8,
     "speed": 0.9, "hold": "", "slack": 0.1},
    # 4. puck to goal + (-4, 0.5, 5) cm, gripper closed, until within 2 cm or for 75 decisions; starts over if
    # puck is more than 11 cm from the hand
    {"go": bring_puck_to_goal_1, "gripper": 1.0, "close": 0.02, "patience": 75,
     "speed": 1.0, "hold": "puck_position", "slack": 0.11},
    # 5. puck to goal + (-3.5, 0.5, -3) cm, gripper closed, until within 0.9 cm or for 60 decisions; starts
    # over if puck is more than 11 cm from the hand
    {"go": bring_puck_to_goal_2, "gripper": 1.0, "close": 0.009, "patience": 60,
     "speed": 1.0, "hold": "puck_position", "slack": 0.11},
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
