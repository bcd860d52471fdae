"""peg-insert-side-v3: success 0.94 on 50 held-out conditions (95 % interval 0.84 to 0.98).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 30 training and confirming conditions (success 1.00 there), control raw: 691 candidates,
270,787 simulator steps, 0 model calls. Ended: every training condition and 25 of 25 more solved,
and 0.93 with noise on the constants.

Made with trace-robot 0.1.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks peg-insert-side-v3 --steps 1200000 --seeds 0 --zoo policies/zoo
"""

import math

import numpy as np

from trace_robot import bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN = 11.0  # action per metre of error
GO_TO_PEG = np.array([0.025, -0.005, 0.035])  # metres, from peg_position
LIFT = np.array([0.0, 0.0, 0.14])  # metres, from hand_position
GO_ABOVE_GOAL = np.array([-0.015, 0.015, 0.04])  # metres, from goal_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def go_to_peg(observation, memory):
    """From hand to peg + (2.5, -0.5, 3.5) cm."""
    target = observation["peg_position"] + GO_TO_PEG
    return target - observation["hand_position"]


def close_gripper(observation, memory):
    """From hand to where hand was when the stage began."""
    target = memory["entry"]["hand_position"]
    return target - observation["hand_position"]


def lift(observation, memory):
    """From hand to where hand was when the stage began + (0, 0, 14) cm."""
    target = memory["entry"]["hand_position"] + LIFT
    return target - observation["hand_position"]


def go_above_goal(observation, memory):
    """From hand to goal + (-1.5, 1.5, 4) cm."""
    target = observation["goal_position"] + GO_ABOVE_GOAL
    return target - observation["hand_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES = [
    # 1. hand to peg + (2.5, -0.5, 3.5) cm, gripper open, until within 1 cm or for 40 decisions
    {"go": go_to_peg, "gripper": -1.0, "close": 0.01, "patience": 40,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. hand to where hand was when the stage began, gripper closed, for 15 decisions
    {"go": close_gripper, "gripper": 1.0, "close": 0.0, "patience": 15,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 3. hand to where hand was when the stage began + (0, 0, 14) cm, gripper closed, until within 2 cm or for
    # 55 decisions
    {"go": lift, "gripper": 1.0, "close": 0.02, "patience": 55,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 4. hand to goal + (-1.5, 1.5, 4) cm, gripper closed, until within 1 cm or for 60 decisions
    {"go": go_above_goal, "gripper": 1.0, "close": 0.01, "patience": 60,
     "speed": 0.9, "hold": "", "slack": 0.1},
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
