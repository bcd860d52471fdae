"""reach-v3: success 1.00 on 50 held-out conditions in worlds that differ (95 % interval 0.93 to 1.00).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 27 training and confirming conditions (success 1.00 there), control raw: 740 candidates,
855,874 simulator steps, 0 model calls. Ended: success 1.00, value 2.94 on average and 2.91 in the
worst fifth of 42 worlds, and 1.00 with noise on the constants.

Made with trace-robot 0.2.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks reach-v3 --protocol robust --steps 1600000 --seeds 0 --zoo policies/robust
"""

import math
from typing import Annotated

import numpy as np

from trace_robot import Bounds, bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN: Annotated[float, Bounds(1.0, 40.0)] = 11.47  # action per metre of error
ENOUGH: Annotated[float, Bounds(0.0, 1.0)] = 0.0526  # metres that may remain when the program rests
REST = 49  # decisions for which it rests when more remains again
GO_TO_GOAL: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0029, 0.0061, 0.0195])  # metres, from goal_position
REMAINING: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0085, -0.0059, 0.037])  # metres, from goal_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def remaining(observation, memory):
    """From hand to goal + (0.85, -0.59, 3.7) cm."""
    target = observation["goal_position"] + REMAINING
    return target - observation["hand_position"]


def go_to_goal(observation, memory):
    """From hand to goal + (0.29, 0.61, 1.95) cm."""
    target = observation["goal_position"] + GO_TO_GOAL
    return target - observation["hand_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES: Annotated[list, {
    "gripper": Bounds(-1.0, 1.0), "close": Bounds(0.0, 0.1), "speed": Bounds(0.1, 1.0),
    "slack": Bounds(0.01, 0.5)
}] = [
    # 1. hand to goal + (0.29, 0.61, 1.95) cm, gripper open, until within 1.5 cm or for 58 decisions
    {"go": go_to_goal, "gripper": -1.0, "close": 0.015, "patience": 58,
     "speed": 1.0, "hold": "", "slack": 0.1},
]


@bundle(trainable=True)
def act(observation, memory):
    """Return [x, y, z, gripper]: the next motion of the present stage of STAGES.

    A stage ends when it is close enough or its decisions are used up; after the last one, or when the
    object got lost, it starts over. It rests, and stays in its stage, while little remains.
    """
    if not memory:
        memory.update(stage=0, waited=0, rounds=0, start=dict(observation), entry=dict(observation))
        memory.update(rest=0)
    stage = STAGES[memory["stage"]]
    error = stage["go"](observation, memory)
    if math.hypot(*remaining(observation, memory)) <= ENOUGH:
        memory["rest"] = REST
    elif memory["rest"] > 0:
        memory["rest"] -= 1
    if memory["rest"] > 0:
        motion = np.clip(GAIN * error, -stage["speed"], stage["speed"])
        return [*motion, stage["gripper"]]
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
