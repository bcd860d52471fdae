"""disassemble-v3: success 0.98 on 50 held-out conditions (95 % interval 0.90 to 1.00).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 30 training and confirming conditions (success 1.00 there), control raw: 551 candidates,
307,425 simulator steps, 0 model calls. Ended: every training condition and 25 of 25 more solved,
and 0.98 with noise on the constants.

Made with trace-robot 0.1.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks disassemble-v3 --steps 1200000 --seeds 0 --zoo policies/zoo
"""

import math

import numpy as np

from trace_robot import bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN = 18.4296  # action per metre of error
GO_ABOVE_WRENCH = np.array([-0.007, -0.0088, 0.1322])  # metres, from wrench_position
GO_TO_WRENCH = np.array([-0.007, -0.0088, 0.0354])  # metres, from wrench_position
LIFT = np.array([0.0, 0.0, 0.1854])  # metres, from hand_position
GO_TO_GOAL = np.array([0.0466, -0.0232, 0.0434])  # metres, from goal_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def go_above_wrench(observation, memory):
    """From hand to wrench + (-0.7, -0.88, 13.2) cm."""
    target = observation["wrench_position"] + GO_ABOVE_WRENCH
    return target - observation["hand_position"]


def go_to_wrench(observation, memory):
    """From hand to wrench + (-0.7, -0.88, 3.54) cm."""
    target = observation["wrench_position"] + GO_TO_WRENCH
    return target - observation["hand_position"]


def close_gripper(observation, memory):
    """From hand to where hand was when the stage began."""
    target = memory["entry"]["hand_position"]
    return target - observation["hand_position"]


def lift(observation, memory):
    """From hand to where hand was when the stage began + (0, 0, 18.5) cm."""
    target = memory["entry"]["hand_position"] + LIFT
    return target - observation["hand_position"]


def go_to_goal(observation, memory):
    """From hand to goal + (4.66, -2.32, 4.34) cm."""
    target = observation["goal_position"] + GO_TO_GOAL
    return target - observation["hand_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES = [
    # 1. hand to wrench + (-0.7, -0.88, 13.2) cm, gripper open, until within 2.24 cm or for 54 decisions
    {"go": go_above_wrench, "gripper": -1.0, "close": 0.0224, "patience": 54,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. hand to wrench + (-0.7, -0.88, 3.54) cm, gripper open, until within 1 cm or for 32 decisions
    {"go": go_to_wrench, "gripper": -1.0, "close": 0.01, "patience": 32,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 3. hand to where hand was when the stage began, gripper closed, for 19 decisions
    {"go": close_gripper, "gripper": 1.0, "close": 0.0, "patience": 19,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 4. hand to where hand was when the stage began + (0, 0, 18.5) cm, gripper closed, until within 2 cm or
    # for 69 decisions; starts over if wrench is more than 10.4 cm from the hand
    {"go": lift, "gripper": 1.0, "close": 0.02, "patience": 69,
     "speed": 1.0, "hold": "wrench_position", "slack": 0.1038},
    # 5. hand to goal + (4.66, -2.32, 4.34) cm, gripper closed, until within 1.5 cm or for 32 decisions
    {"go": go_to_goal, "gripper": 1.0, "close": 0.015, "patience": 32,
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
