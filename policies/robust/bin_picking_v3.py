"""bin-picking-v3: success 0.70 on 50 held-out conditions in worlds that differ (95 % interval 0.56 to 0.81).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 12 training and confirming conditions (success 0.83 there), control raw: 1,325
candidates, 1,594,330 simulator steps, 0 model calls. Ended: 1600000 simulator steps spent.

Made with trace-robot 0.2.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks bin-picking-v3 --protocol robust --steps 1600000 --seeds 0 --zoo policies/robust
"""

import math
from typing import Annotated

import numpy as np

from trace_robot import Bounds, bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN: Annotated[float, Bounds(1.0, 40.0)] = 8.2761  # action per metre of error
ENOUGH: Annotated[float, Bounds(0.0, 1.0)] = 0.0231  # metres that may remain when the program rests
REST = 53  # decisions for which it rests when more remains again
GO_ABOVE_CUBE_1: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0076, 0.012, 0.0404])  # metres, from cube_position
GO_TO_CUBE_1: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0076, 0.012, -0.0185])  # metres, from cube_position
GO_TO_CUBE_2: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0059, 0.0053, 0.0022])  # metres, from cube_position
LIFT: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0, 0.0, 0.2093])  # metres, from hand_position
BRING_CUBE_TO_GOAL_1: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.0249, -0.022, 0.108])  # metres, from goal_position
BRING_CUBE_TO_GOAL_2: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.0249, -0.022, 0.007])  # metres, from goal_position
BRING_CUBE_TO_GOAL_3: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.0249, -0.022, 0.108])  # metres, from goal_position
BRING_CUBE_TO_GOAL_4: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.0249, -0.022, 0.007])  # metres, from goal_position
GO_ABOVE_CUBE_2: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.0065, 0.0156, 0.0667])  # metres, from cube_position
REMAINING: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.0108, -0.0118, 0.03])  # metres, from goal_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def remaining(observation, memory):
    """From cube to goal + (-1.08, -1.18, 3) cm."""
    target = observation["goal_position"] + REMAINING
    return target - observation["cube_position"]


def go_above_cube_1(observation, memory):
    """From hand to cube + (0.76, 1.2, 4.04) cm."""
    target = observation["cube_position"] + GO_ABOVE_CUBE_1
    return target - observation["hand_position"]


def go_to_cube_1(observation, memory):
    """From hand to cube + (0.76, 1.2, -1.85) cm."""
    target = observation["cube_position"] + GO_TO_CUBE_1
    return target - observation["hand_position"]


def go_to_cube_2(observation, memory):
    """From hand to cube + (0.59, 0.53, 0.22) cm."""
    target = observation["cube_position"] + GO_TO_CUBE_2
    return target - observation["hand_position"]


def close_gripper(observation, memory):
    """From hand to where hand was when the stage began."""
    target = memory["entry"]["hand_position"]
    return target - observation["hand_position"]


def lift(observation, memory):
    """From hand to where hand was when the stage began + (0, 0, 20.9) cm."""
    target = memory["entry"]["hand_position"] + LIFT
    return target - observation["hand_position"]


def bring_cube_to_goal_1(observation, memory):
    """From cube to goal + (-2.49, -2.2, 10.8) cm."""
    target = observation["goal_position"] + BRING_CUBE_TO_GOAL_1
    return target - observation["cube_position"]


def bring_cube_to_goal_2(observation, memory):
    """From cube to goal + (-2.49, -2.2, 0.7) cm."""
    target = observation["goal_position"] + BRING_CUBE_TO_GOAL_2
    return target - observation["cube_position"]


def bring_cube_to_goal_3(observation, memory):
    """From cube to goal + (-2.49, -2.2, 10.8) cm."""
    target = observation["goal_position"] + BRING_CUBE_TO_GOAL_3
    return target - observation["cube_position"]


def bring_cube_to_goal_4(observation, memory):
    """From cube to goal + (-2.49, -2.2, 0.7) cm."""
    target = observation["goal_position"] + BRING_CUBE_TO_GOAL_4
    return target - observation["cube_position"]


def go_above_cube_2(observation, memory):
    """From hand to cube + (-0.65, 1.56, 6.67) cm."""
    target = observation["cube_position"] + GO_ABOVE_CUBE_2
    return target - observation["hand_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES: Annotated[list, {
    "gripper": Bounds(-1.0, 1.0), "close": Bounds(0.0, 0.1), "speed": Bounds(0.1, 1.0),
    "slack": Bounds(0.01, 0.5)
}] = [
    # 1. hand to cube + (0.76, 1.2, 4.04) cm, gripper open, until within 2.46 cm or for 75 decisions
    {"go": go_above_cube_1, "gripper": -1.0, "close": 0.0246, "patience": 75,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. hand to cube + (0.76, 1.2, -1.85) cm, gripper open, until within 1 cm or for 33 decisions
    {"go": go_to_cube_1, "gripper": -1.0, "close": 0.01, "patience": 33,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 3. hand to cube + (0.59, 0.53, 0.22) cm, gripper open, until within 1 cm or for 30 decisions
    {"go": go_to_cube_2, "gripper": -1.0, "close": 0.01, "patience": 30,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 4. hand to where hand was when the stage began, gripper closed, for 10 decisions
    {"go": close_gripper, "gripper": 1.0, "close": 0.0, "patience": 10,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 5. hand to where hand was when the stage began + (0, 0, 20.9) cm, gripper closed, until within 2 cm or
    # for 65 decisions; starts over if cube is more than 8.14 cm from the hand
    {"go": lift, "gripper": 1.0, "close": 0.02, "patience": 65,
     "speed": 1.0, "hold": "cube_position", "slack": 0.0814},
    # 6. cube to goal + (-2.49, -2.2, 10.8) cm, gripper closed, until within 2 cm or for 47 decisions; starts
    # over if cube is more than 8.14 cm from the hand
    {"go": bring_cube_to_goal_1, "gripper": 1.0, "close": 0.02, "patience": 47,
     "speed": 1.0, "hold": "cube_position", "slack": 0.0814},
    # 7. cube to goal + (-2.49, -2.2, 0.7) cm, gripper closed, until within 1 cm or for 48 decisions; starts
    # over if cube is more than 8.14 cm from the hand
    {"go": bring_cube_to_goal_2, "gripper": 1.0, "close": 0.01, "patience": 48,
     "speed": 1.0, "hold": "cube_position", "slack": 0.0814},
    # 8. cube to goal + (-2.49, -2.2, 10.8) cm, gripper closed, until within 2 cm or for 47 decisions; starts
    # over if cube is more than 8.14 cm from the hand
    {"go": bring_cube_to_goal_3, "gripper": 1.0, "close": 0.02, "patience": 47,
     "speed": 1.0, "hold": "cube_position", "slack": 0.0814},
    # 9. cube to goal + (-2.49, -2.2, 0.7) cm, gripper closed, until within 1 cm or for 48 decisions; starts
    # over if cube is more than 8.14 cm from the hand
    {"go": bring_cube_to_goal_4, "gripper": 1.0, "close": 0.01, "patience": 48,
     "speed": 1.0, "hold": "cube_position", "slack": 0.0814},
    # 10. hand to cube + (-0.65, 1.56, 6.67) cm, gripper open, until within 2.01 cm or for 61 decisions
    {"go": go_above_cube_2, "gripper": -1.0, "close": 0.0201, "patience": 61,
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
