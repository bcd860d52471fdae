"""bin-picking-v3: success 0.98 on 50 held-out conditions (95 % interval 0.90 to 1.00).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 30 training and confirming conditions (success 1.00 there), control raw: 2,072
candidates, 1,240,629 simulator steps, 0 model calls. Ended: 1200000 simulator steps spent.

Made with trace-robot 0.1.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks bin-picking-v3 --steps 1200000 --seeds 0 --zoo policies/zoo
"""

import math

import numpy as np

from trace_robot import bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN = 19.5914  # action per metre of error
GO_ABOVE_CUBE = np.array([0.0001, -0.0043, 0.0706])  # metres, from cube_position
GO_TO_CUBE_1 = np.array([-0.0023, -0.0128, -0.0242])  # metres, from cube_position
CLOSE_GRIPPER = np.array([0.0013, -0.0015, -0.0011])  # metres, from hand_position
LIFT = np.array([-0.0015, 0.0026, 0.2532])  # metres, from hand_position
GO_ABOVE_GOAL = np.array([0.0147, -0.006, 0.1481])  # metres, from goal_position
GO_TO_GOAL = np.array([0.0175, -0.004, 0.0049])  # metres, from goal_position
GO_TO_CUBE_2 = np.array([0.0744, 0.0168, 0.0328])  # metres, from cube_position
GO_TO_CUBE_3 = np.array([0.072, 0.0164, -0.0732])  # metres, from cube_position
GO_TO_CUBE_4 = np.array([0.0111, 0.0128, -0.0767])  # metres, from cube_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def go_above_cube(observation, memory):
    """From hand to cube + (0.01, -0.43, 7.06) cm."""
    target = observation["cube_position"] + GO_ABOVE_CUBE
    return target - observation["hand_position"]


def go_to_cube_1(observation, memory):
    """From hand to cube + (-0.23, -1.28, -2.42) cm."""
    target = observation["cube_position"] + GO_TO_CUBE_1
    return target - observation["hand_position"]


def close_gripper(observation, memory):
    """From hand to where hand was when the stage began + (0.13, -0.15, -0.11) cm."""
    target = memory["entry"]["hand_position"] + CLOSE_GRIPPER
    return target - observation["hand_position"]


def lift(observation, memory):
    """From hand to where hand was when the stage began + (-0.15, 0.26, 25.3) cm."""
    target = memory["entry"]["hand_position"] + LIFT
    return target - observation["hand_position"]


def go_above_goal(observation, memory):
    """From hand to goal + (1.47, -0.6, 14.8) cm."""
    target = observation["goal_position"] + GO_ABOVE_GOAL
    return target - observation["hand_position"]


def go_to_goal(observation, memory):
    """From hand to goal + (1.75, -0.4, 0.49) cm."""
    target = observation["goal_position"] + GO_TO_GOAL
    return target - observation["hand_position"]


def go_to_cube_2(observation, memory):
    """From hand to cube + (7.44, 1.68, 3.28) cm."""
    target = observation["cube_position"] + GO_TO_CUBE_2
    return target - observation["hand_position"]


def go_to_cube_3(observation, memory):
    """From hand to cube + (7.2, 1.64, -7.32) cm."""
    target = observation["cube_position"] + GO_TO_CUBE_3
    return target - observation["hand_position"]


def go_to_cube_4(observation, memory):
    """From hand to cube + (1.11, 1.28, -7.67) cm."""
    target = observation["cube_position"] + GO_TO_CUBE_4
    return target - observation["hand_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES = [
    # 1. hand to cube + (0.01, -0.43, 7.06) cm, gripper open, until within 1.59 cm or for 53 decisions
    {"go": go_above_cube, "gripper": -1.0, "close": 0.0159, "patience": 53,
     "speed": 0.9863, "hold": "", "slack": 0.1},
    # 2. hand to cube + (-0.23, -1.28, -2.42) cm, gripper open, until within 1.06 cm or for 43 decisions
    {"go": go_to_cube_1, "gripper": -1.0, "close": 0.0106, "patience": 43,
     "speed": 0.9909, "hold": "", "slack": 0.1},
    # 3. hand to where hand was when the stage began + (0.13, -0.15, -0.11) cm, gripper closed, for 10
    # decisions
    {"go": close_gripper, "gripper": 1.0, "close": 0.0, "patience": 10,
     "speed": 0.9828, "hold": "", "slack": 0.1},
    # 4. hand to where hand was when the stage began + (-0.15, 0.26, 25.3) cm, gripper closed, until within
    # 2.17 cm or for 81 decisions; starts over if cube is more than 9.86 cm from the hand
    {"go": lift, "gripper": 1.0, "close": 0.0217, "patience": 81,
     "speed": 0.98, "hold": "cube_position", "slack": 0.0986},
    # 5. hand to goal + (1.47, -0.6, 14.8) cm, gripper closed, until within 2.04 cm or for 40 decisions
    {"go": go_above_goal, "gripper": 1.0, "close": 0.0204, "patience": 40,
     "speed": 1.0, "hold": "", "slack": 0.0859},
    # 6. hand to goal + (1.75, -0.4, 0.49) cm, gripper closed, until within 1.15 cm or for 48 decisions;
    # starts over if cube is more than 9.86 cm from the hand
    {"go": go_to_goal, "gripper": 1.0, "close": 0.0115, "patience": 48,
     "speed": 0.9835, "hold": "cube_position", "slack": 0.0986},
    # 7. hand to cube + (7.44, 1.68, 3.28) cm, gripper open, until within 3 cm or for 81 decisions
    {"go": go_to_cube_2, "gripper": -1.0, "close": 0.03, "patience": 81,
     "speed": 0.9551, "hold": "", "slack": 0.1},
    # 8. hand to cube + (7.2, 1.64, -7.32) cm, gripper open, until within 2.37 cm or for 56 decisions
    {"go": go_to_cube_3, "gripper": -1.0, "close": 0.0237, "patience": 56,
     "speed": 0.9744, "hold": "", "slack": 0.1},
    # 9. hand to cube + (1.11, 1.28, -7.67) cm, gripper open, until within 0.88 cm or for 80 decisions
    {"go": go_to_cube_4, "gripper": -1.0, "close": 0.0088, "patience": 80,
     "speed": 0.9919, "hold": "", "slack": 0.1},
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
