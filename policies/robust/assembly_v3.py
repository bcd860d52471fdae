"""assembly-v3: success 0.64 on 50 held-out conditions in worlds that differ (95 % interval 0.50 to 0.76).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 12 training and confirming conditions (success 0.75 there), control raw: 1,338
candidates, 1,594,000 simulator steps, 0 model calls. Ended: 1600000 simulator steps spent.

Made with trace-robot 0.2.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks assembly-v3 --protocol robust --steps 1600000 --seeds 0 --zoo policies/robust
"""

import math
from typing import Annotated

import numpy as np

from trace_robot import Bounds, bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN: Annotated[float, Bounds(1.0, 40.0)] = 8.7646  # action per metre of error
ENOUGH: Annotated[float, Bounds(0.0, 1.0)] = 0.0771  # metres that may remain when the program rests
REST = 8  # decisions for which it rests when more remains again
GO_ABOVE_GOAL_1: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0156, -0.0328, 0.1985])  # metres, from goal_position
GO_ABOVE_GOAL_2: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0255, -0.0353, 0.0496])  # metres, from goal_position
LOWER_GOAL: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.001, 0.0038, -0.2267])  # metres, from goal_position
GO_ABOVE_WRENCH: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.0104, 0.0083, 0.1485])  # metres, from wrench_position
GO_TO_WRENCH_1: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0004, 0.004, 0.0287])  # metres, from wrench_position
CLOSE_GRIPPER: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0016, 0.0003, 0.007])  # metres, from hand_position
GO_TO_GOAL_1: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.1272, -0.0095, 0.1156])  # metres, from goal_position
GO_TO_GOAL_2: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.1245, -0.0092, 0.0153])  # metres, from goal_position
GO_TO_WRENCH_2: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.1078, 0.0066, -0.0237])  # metres, from wrench_position
REMAINING: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.1267, -0.0046, -0.0149])  # metres, from goal_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def remaining(observation, memory):
    """From wrench to goal + (12.7, -0.46, -1.49) cm."""
    target = observation["goal_position"] + REMAINING
    return target - observation["wrench_position"]


def go_above_goal_1(observation, memory):
    """From hand to goal + (1.56, -3.28, 19.9) cm."""
    target = observation["goal_position"] + GO_ABOVE_GOAL_1
    return target - observation["hand_position"]


def go_above_goal_2(observation, memory):
    """From hand to goal + (2.55, -3.53, 4.96) cm."""
    target = observation["goal_position"] + GO_ABOVE_GOAL_2
    return target - observation["hand_position"]


def lower_goal(observation, memory):
    """From goal to where goal was at the start + (0.1, 0.38, -22.7) cm."""
    target = memory["start"]["goal_position"] + LOWER_GOAL
    return target - observation["goal_position"]


def go_above_wrench(observation, memory):
    """From hand to wrench + (-1.04, 0.83, 14.8) cm."""
    target = observation["wrench_position"] + GO_ABOVE_WRENCH
    return target - observation["hand_position"]


def go_to_wrench_1(observation, memory):
    """From hand to wrench + (0.04, 0.4, 2.87) cm."""
    target = observation["wrench_position"] + GO_TO_WRENCH_1
    return target - observation["hand_position"]


def close_gripper(observation, memory):
    """From hand to where hand was when the stage began + (0.16, 0.03, 0.7) cm."""
    target = memory["entry"]["hand_position"] + CLOSE_GRIPPER
    return target - observation["hand_position"]


def go_to_goal_1(observation, memory):
    """From hand to goal + (12.7, -0.95, 11.6) cm."""
    target = observation["goal_position"] + GO_TO_GOAL_1
    return target - observation["hand_position"]


def go_to_goal_2(observation, memory):
    """From hand to goal + (12.4, -0.92, 1.53) cm."""
    target = observation["goal_position"] + GO_TO_GOAL_2
    return target - observation["hand_position"]


def go_to_wrench_2(observation, memory):
    """From hand to wrench + (10.8, 0.66, -2.37) cm."""
    target = observation["wrench_position"] + GO_TO_WRENCH_2
    return target - observation["hand_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES: Annotated[list, {
    "gripper": Bounds(-1.0, 1.0), "close": Bounds(0.0, 0.1), "speed": Bounds(0.1, 1.0),
    "slack": Bounds(0.01, 0.5)
}] = [
    # 1. hand to goal + (1.56, -3.28, 19.9) cm, gripper open, until within 2.17 cm or for 50 decisions
    {"go": go_above_goal_1, "gripper": -1.0, "close": 0.0217, "patience": 50,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. hand to goal + (2.55, -3.53, 4.96) cm, gripper open, until within 1.54 cm or for 32 decisions
    {"go": go_above_goal_2, "gripper": -1.0, "close": 0.0154, "patience": 32,
     "speed": 0.9889, "hold": "", "slack": 0.1},
    # 3. goal to where goal was at the start + (0.1, 0.38, -22.7) cm, gripper open, until within 1.18 cm or
    # for 72 decisions
    {"go": lower_goal, "gripper": -1.0, "close": 0.0118, "patience": 72,
     "speed": 0.7246, "hold": "", "slack": 0.1},
    # 4. hand to wrench + (-1.04, 0.83, 14.8) cm, gripper open, until within 1.68 cm or for 40 decisions
    {"go": go_above_wrench, "gripper": -1.0, "close": 0.0168, "patience": 40,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 5. hand to wrench + (0.04, 0.4, 2.87) cm, gripper open, until within 1.08 cm or for 38 decisions
    {"go": go_to_wrench_1, "gripper": -1.0, "close": 0.0108, "patience": 38,
     "speed": 0.9808, "hold": "", "slack": 0.1},
    # 6. hand to where hand was when the stage began + (0.16, 0.03, 0.7) cm, gripper closed, for 22 decisions
    {"go": close_gripper, "gripper": 1.0, "close": 0.0, "patience": 22,
     "speed": 0.9574, "hold": "", "slack": 0.1},
    # 7. hand to goal + (12.7, -0.95, 11.6) cm, gripper closed, until within 1.9 cm or for 53 decisions
    {"go": go_to_goal_1, "gripper": 1.0, "close": 0.019, "patience": 53,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 8. hand to goal + (12.4, -0.92, 1.53) cm, gripper closed, until within 1.19 cm or for 71 decisions
    {"go": go_to_goal_2, "gripper": 1.0, "close": 0.0119, "patience": 71,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 9. hand to wrench + (10.8, 0.66, -2.37) cm, gripper closed, until within 0.74 cm or for 64 decisions
    {"go": go_to_wrench_2, "gripper": 1.0, "close": 0.0074, "patience": 64,
     "speed": 0.3769, "hold": "", "slack": 0.1},
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
