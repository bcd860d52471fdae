"""drawer-close-v3: success 1.00 on 50 held-out conditions in worlds that differ (95 % interval 0.93 to 1.00).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 27 training and confirming conditions (success 1.00 there), control raw: 667 candidates,
622,094 simulator steps, 0 model calls. Ended: success 1.00, value 2.97 on average and 2.96 in the
worst fifth of 42 worlds, and 1.00 with noise on the constants.

Made with trace-robot 0.2.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks drawer-close-v3 --protocol robust --steps 1600000 --seeds 0 --zoo policies/robust
"""

import math
from typing import Annotated

import numpy as np

from trace_robot import Bounds, bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN: Annotated[float, Bounds(1.0, 40.0)] = 19.6373  # action per metre of error
GO_TO_GOAL: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0511, 0.0156, 0.042])  # metres, from goal_position
MOVE_GOAL_LEFT: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.1794, 0.0, 0.0])  # metres, from goal_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def go_to_goal(observation, memory):
    """From hand to goal + (5.11, 1.56, 4.2) cm."""
    target = observation["goal_position"] + GO_TO_GOAL
    return target - observation["hand_position"]


def move_goal_left(observation, memory):
    """From goal to where goal was at the start + (-17.9, 0, 0) cm."""
    target = memory["start"]["goal_position"] + MOVE_GOAL_LEFT
    return target - observation["goal_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES: Annotated[list, {
    "gripper": Bounds(-1.0, 1.0), "close": Bounds(0.0, 0.1), "speed": Bounds(0.1, 1.0),
    "slack": Bounds(0.01, 0.5)
}] = [
    # 1. hand to goal + (5.11, 1.56, 4.2) cm, gripper open, until within 2 cm or for 52 decisions
    {"go": go_to_goal, "gripper": -1.0, "close": 0.02, "patience": 52,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. goal to where goal was at the start + (-17.9, 0, 0) cm, gripper open, until within 1 cm or for 65
    # decisions
    {"go": move_goal_left, "gripper": -1.0, "close": 0.01, "patience": 65,
     "speed": 0.942, "hold": "", "slack": 0.1},
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
