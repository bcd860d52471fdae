"""assembly-v3: success 1.00 on 50 held-out conditions (95 % interval 0.93 to 1.00).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 30 training and confirming conditions (success 1.00 there), control raw: 1,476
candidates, 731,727 simulator steps, 0 model calls. Ended: every training condition and 25 of 25
more solved, and 0.63 with noise on the constants.

Made with trace-robot 0.1.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks assembly-v3 --steps 1200000 --seeds 0 --zoo policies/zoo
"""

import math

import numpy as np

from trace_robot import bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN = 12.0  # action per metre of error
GO_TO_WRENCH = np.array([0.0, -0.005, -0.03])  # metres, from wrench_position
BRING_WRENCH_TO_GOAL = np.array([0.15, -0.005, 0.015])  # metres, from goal_position
GO_TO_GOAL = np.array([-0.005, -0.005, 0.01])  # metres, from goal_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def go_to_wrench(observation, memory):
    """From hand to wrench + (0, -0.5, -3) cm."""
    target = observation["wrench_position"] + GO_TO_WRENCH
    return target - observation["hand_position"]


def close_gripper(observation, memory):
    """From hand to where hand was when the stage began."""
    target = memory["entry"]["hand_position"]
    return target - observation["hand_position"]


def bring_wrench_to_goal(observation, memory):
    """From wrench to goal + (15, -0.5, 1.5) cm."""
    target = observation["goal_position"] + BRING_WRENCH_TO_GOAL
    return target - observation["wrench_position"]


def go_to_goal(observation, memory):
    """From hand to goal + (-0.5, -0.5, 1) cm."""
    target = observation["goal_position"] + GO_TO_GOAL
    return target - observation["hand_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES = [
    # 1. hand to wrench + (0, -0.5, -3) cm, gripper open, until within 1.1 cm or for 30 decisions
    {"go": go_to_wrench, "gripper": -1.0, "close": 0.011, "patience": 30,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. hand to where hand was when the stage began, gripper closed, for 9 decisions
    {"go": close_gripper, "gripper": 1.0, "close": 0.0, "patience": 9,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 3. wrench to goal + (15, -0.5, 1.5) cm, gripper closed, until within 1.3 cm or for 65 decisions; starts
    # over if wrench is more than 9 cm from the hand
    {"go": bring_wrench_to_goal, "gripper": 1.0, "close": 0.013, "patience": 65,
     "speed": 1.0, "hold": "wrench_position", "slack": 0.09},
    # 4. hand to goal + (-0.5, -0.5, 1) cm, gripper closed, until within 0.9 cm or for 90 decisions
    {"go": go_to_goal, "gripper": 1.0, "close": 0.009, "patience": 90,
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
