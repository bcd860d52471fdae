"""door-unlock-v3: success 1.00 on 50 held-out conditions (95 % interval 0.93 to 1.00).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 30 training and confirming conditions (success 1.00 there), control raw: 497 candidates,
163,853 simulator steps, 0 model calls. Ended: every training condition and 25 of 25 more solved,
and 1.00 with noise on the constants.

Made with trace-robot 0.1.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks door-unlock-v3 --steps 1200000 --seeds 0 --zoo policies/zoo
"""

import math

import numpy as np

from trace_robot import bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN = 11.0  # action per metre of error
GO_ABOVE_LOCK = np.array([-0.01, -0.02, 0.06])  # metres, from lock_position
GO_TO_LOCK_1 = np.array([-0.01, -0.02, -0.095])  # metres, from lock_position
GO_TO_LOCK_2 = np.array([-0.03, -0.005, 0.035])  # metres, from lock_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def go_above_lock(observation, memory):
    """From hand to lock + (-1, -2, 6) cm."""
    target = observation["lock_position"] + GO_ABOVE_LOCK
    return target - observation["hand_position"]


def go_to_lock_1(observation, memory):
    """From hand to lock + (-1, -2, -9.5) cm."""
    target = observation["lock_position"] + GO_TO_LOCK_1
    return target - observation["hand_position"]


def go_to_lock_2(observation, memory):
    """From hand to lock + (-3, -0.5, 3.5) cm."""
    target = observation["lock_position"] + GO_TO_LOCK_2
    return target - observation["hand_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES = [
    # 1. hand to lock + (-1, -2, 6) cm, gripper closed, until within 2 cm or for 55 decisions
    {"go": go_above_lock, "gripper": 1.0, "close": 0.02, "patience": 55,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. hand to lock + (-1, -2, -9.5) cm, gripper closed, until within 1 cm or for 45 decisions
    {"go": go_to_lock_1, "gripper": 1.0, "close": 0.01, "patience": 45,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 3. hand to lock + (-3, -0.5, 3.5) cm, gripper open, until within 2 cm or for 70 decisions
    {"go": go_to_lock_2, "gripper": -1.0, "close": 0.02, "patience": 70,
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
