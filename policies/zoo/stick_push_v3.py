"""stick-push-v3: success 1.00 on 50 held-out conditions (95 % interval 0.93 to 1.00).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 30 training and confirming conditions (success 1.00 there), control raw: 684 candidates,
382,341 simulator steps, 0 model calls. Ended: every training condition and 25 of 25 more solved,
and 0.93 with noise on the constants.

Made with trace-robot 0.1.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks stick-push-v3 --steps 1200000 --seeds 0 --zoo policies/zoo
"""

import math

import numpy as np

from trace_robot import bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN = 16.6435  # action per metre of error
GO_TO_STICK = np.array([0.0054, -0.0225, 0.0203])  # metres, from stick_position
BRING_STICK_TO_GOAL = np.array([-0.0406, 0.0045, -0.0256])  # metres, from goal_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def go_to_stick(observation, memory):
    """From hand to stick + (0.54, -2.25, 2.03) cm."""
    target = observation["stick_position"] + GO_TO_STICK
    return target - observation["hand_position"]


def close_gripper(observation, memory):
    """From hand to where hand was when the stage began."""
    target = memory["entry"]["hand_position"]
    return target - observation["hand_position"]


def bring_stick_to_goal(observation, memory):
    """From stick to goal + (-4.06, 0.45, -2.56) cm."""
    target = observation["goal_position"] + BRING_STICK_TO_GOAL
    return target - observation["stick_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES = [
    # 1. hand to stick + (0.54, -2.25, 2.03) cm, gripper open, until within 1 cm or for 38 decisions
    {"go": go_to_stick, "gripper": -1.0, "close": 0.01, "patience": 38,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. hand to where hand was when the stage began, gripper closed, for 8 decisions
    {"go": close_gripper, "gripper": 1.0, "close": 0.0, "patience": 8,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 3. stick to goal + (-4.06, 0.45, -2.56) cm, gripper closed, until within 1 cm or for 65 decisions;
    # starts over if stick is more than 11.2 cm from the hand
    {"go": bring_stick_to_goal, "gripper": 1.0, "close": 0.01, "patience": 65,
     "speed": 1.0, "hold": "stick_position", "slack": 0.1115},
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
