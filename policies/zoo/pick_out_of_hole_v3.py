"""pick-out-of-hole-v3: success 1.00 on 50 held-out conditions (95 % interval 0.93 to 1.00).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 30 training and confirming conditions (success 1.00 there), control raw: 338 candidates,
139,754 simulator steps, 0 model calls. Ended: every training condition and 25 of 25 more solved,
and 1.00 with noise on the constants.

Made with trace-robot 0.1.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks pick-out-of-hole-v3 --steps 1200000 --seeds 0 --zoo policies/zoo
"""

import math

import numpy as np

from trace_robot import bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN = 9.9181  # action per metre of error
GO_ABOVE_PUCK = np.array([-0.0088, -0.0146, 0.1208])  # metres, from puck_position
GO_TO_PUCK = np.array([-0.0088, -0.0146, 0.0147])  # metres, from puck_position
BRING_PUCK_TO_GOAL = np.array([0.0062, 0.0165, -0.0245])  # metres, from goal_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def go_above_puck(observation, memory):
    """From hand to puck + (-0.88, -1.46, 12.1) cm."""
    target = observation["puck_position"] + GO_ABOVE_PUCK
    return target - observation["hand_position"]


def go_to_puck(observation, memory):
    """From hand to puck + (-0.88, -1.46, 1.47) cm."""
    target = observation["puck_position"] + GO_TO_PUCK
    return target - observation["hand_position"]


def close_gripper(observation, memory):
    """From hand to where hand was when the stage began."""
    target = memory["entry"]["hand_position"]
    return target - observation["hand_position"]


def bring_puck_to_goal(observation, memory):
    """From puck to goal + (0.62, 1.65, -2.45) cm."""
    target = observation["goal_position"] + BRING_PUCK_TO_GOAL
    return target - observation["puck_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES = [
    # 1. hand to puck + (-0.88, -1.46, 12.1) cm, gripper open, until within 1.95 cm or for 64 decisions
    {"go": go_above_puck, "gripper": -1.0, "close": 0.0195, "patience": 64,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. hand to puck + (-0.88, -1.46, 1.47) cm, gripper open, until within 1 cm or for 26 decisions
    {"go": go_to_puck, "gripper": -1.0, "close": 0.01, "patience": 26,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 3. hand to where hand was when the stage began, gripper closed, for 21 decisions
    {"go": close_gripper, "gripper": 1.0, "close": 0.0, "patience": 21,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 4. puck to goal + (0.62, 1.65, -2.45) cm, gripper closed, until within 1 cm or for 46 decisions
    {"go": bring_puck_to_goal, "gripper": 1.0, "close": 0.01, "patience": 46,
     "speed": 1.0, "hold": "", "slack": 0.1},
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
