"""basketball-v3: success 0.76 on 50 held-out conditions in worlds that differ (95 % interval 0.63 to 0.86).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 12 training and confirming conditions (success 0.92 there), control raw: 1,041
candidates, 1,594,466 simulator steps, 0 model calls. Ended: 1600000 simulator steps spent.

Made with trace-robot 0.2.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks basketball-v3 --protocol robust --steps 1600000 --seeds 0 --zoo policies/robust
"""

import math
from typing import Annotated

import numpy as np

from trace_robot import Bounds, bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN: Annotated[float, Bounds(1.0, 40.0)] = 7.7975  # action per metre of error
ENOUGH: Annotated[float, Bounds(0.0, 1.0)] = 0.0402  # metres that may remain when the program rests
REST = 31  # decisions for which it rests when more remains again
GO_ABOVE_BALL: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0079, -0.0017, 0.0999])  # metres, from ball_position
GO_TO_BALL: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0023, 0.0008, -0.0067])  # metres, from ball_position
CLOSE_GRIPPER: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.0054, 0.008, 0.0017])  # metres, from hand_position
LIFT: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.0044, 0.0012, 0.2207])  # metres, from hand_position
BRING_BALL_TO_GOAL_1: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0172, -0.0062, 0.1482])  # metres, from goal_position
BRING_BALL_TO_GOAL_2: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0145, 0.0021, 0.0133])  # metres, from goal_position
MOVE_GOAL_FORWARD: Annotated[np.ndarray, Bounds(-1.1, 1.1)] = np.array([-0.0009, 0.5189, 0.0007])  # metres, from goal_position
LOWER_GOAL: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.0049, 0.0091, -0.0752])  # metres, from goal_position
REMAINING: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0048, 0.0082, 0.0363])  # metres, from goal_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def stuck(stage, observation, memory):
    """Whether what a stage moves has come no further than its guard for 5 decisions."""
    here = observation[stage["moves"]]
    if memory["mark"] is None or apart(here, memory["mark"]) > stage["guard"]:
        memory.update(mark=here, stalled=0)
    else:
        memory["stalled"] += 1
    return memory["stalled"] >= 5


def remaining(observation, memory):
    """From ball to goal + (0.48, 0.82, 3.63) cm."""
    target = observation["goal_position"] + REMAINING
    return target - observation["ball_position"]


def go_above_ball(observation, memory):
    """From hand to ball + (0.79, -0.17, 9.99) cm."""
    target = observation["ball_position"] + GO_ABOVE_BALL
    return target - observation["hand_position"]


def go_to_ball(observation, memory):
    """From hand to ball + (0.23, 0.08, -0.67) cm."""
    target = observation["ball_position"] + GO_TO_BALL
    return target - observation["hand_position"]


def close_gripper(observation, memory):
    """From hand to where hand was when the stage began + (-0.54, 0.8, 0.17) cm."""
    target = memory["entry"]["hand_position"] + CLOSE_GRIPPER
    return target - observation["hand_position"]


def lift(observation, memory):
    """From hand to where hand was when the stage began + (-0.44, 0.12, 22.1) cm."""
    target = memory["entry"]["hand_position"] + LIFT
    return target - observation["hand_position"]


def bring_ball_to_goal_1(observation, memory):
    """From ball to goal + (1.72, -0.62, 14.8) cm."""
    target = observation["goal_position"] + BRING_BALL_TO_GOAL_1
    return target - observation["ball_position"]


def bring_ball_to_goal_2(observation, memory):
    """From ball to goal + (1.45, 0.21, 1.33) cm."""
    target = observation["goal_position"] + BRING_BALL_TO_GOAL_2
    return target - observation["ball_position"]


def move_goal_forward(observation, memory):
    """From goal to where goal was at the start + (-0.09, 51.9, 0.07) cm."""
    target = memory["start"]["goal_position"] + MOVE_GOAL_FORWARD
    return target - observation["goal_position"]


def lower_goal(observation, memory):
    """From goal to where goal was at the start + (-0.49, 0.91, -7.52) cm."""
    target = memory["start"]["goal_position"] + LOWER_GOAL
    return target - observation["goal_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
# guard: metres that what it moves must come further, else the stage ends; 0 for no guard
STAGES: Annotated[list, {
    "gripper": Bounds(-1.0, 1.0), "close": Bounds(0.0, 0.1), "speed": Bounds(0.1, 1.0),
    "slack": Bounds(0.01, 0.5), "guard": Bounds(0.0, 0.1)
}] = [
    # 1. hand to ball + (0.79, -0.17, 9.99) cm, gripper open, until within 2.14 cm or for 64 decisions
    {"go": go_above_ball, "gripper": -1.0, "close": 0.0214, "patience": 64,
     "speed": 0.9843, "hold": "", "slack": 0.1,
     "moves": "hand_position", "guard": 0.0},
    # 2. hand to ball + (0.23, 0.08, -0.67) cm, gripper open, until within 1 cm or for 46 decisions
    {"go": go_to_ball, "gripper": -1.0, "close": 0.01, "patience": 46,
     "speed": 0.9703, "hold": "", "slack": 0.1,
     "moves": "hand_position", "guard": 0.0},
    # 3. hand to where hand was when the stage began + (-0.54, 0.8, 0.17) cm, gripper closed, for 8 decisions
    {"go": close_gripper, "gripper": 1.0, "close": 0.0, "patience": 8,
     "speed": 0.9797, "hold": "", "slack": 0.1,
     "moves": "hand_position", "guard": 0.0},
    # 4. hand to where hand was when the stage began + (-0.44, 0.12, 22.1) cm, gripper closed, until within
    # 2.1 cm or for 48 decisions
    {"go": lift, "gripper": 1.0, "close": 0.021, "patience": 48,
     "speed": 0.597, "hold": "", "slack": 0.1,
     "moves": "hand_position", "guard": 0.0},
    # 5. ball to goal + (1.72, -0.62, 14.8) cm, gripper closed, until within 1.93 cm or for 33 decisions
    {"go": bring_ball_to_goal_1, "gripper": 1.0, "close": 0.0193, "patience": 33,
     "speed": 0.6164, "hold": "", "slack": 0.1,
     "moves": "ball_position", "guard": 0.0},
    # 6. ball to goal + (1.45, 0.21, 1.33) cm, gripper closed, until within 1.08 cm or for 50 decisions
    {"go": bring_ball_to_goal_2, "gripper": 1.0, "close": 0.0108, "patience": 50,
     "speed": 0.6642, "hold": "", "slack": 0.1,
     "moves": "ball_position", "guard": 0.0},
    # 7. goal to where goal was at the start + (-0.09, 51.9, 0.07) cm, gripper closed, until within 1.18 cm or
    # for 86 decisions, or until it no longer moves
    {"go": move_goal_forward, "gripper": 1.0, "close": 0.0118, "patience": 86,
     "speed": 0.5989, "hold": "", "slack": 0.1,
     "moves": "goal_position", "guard": 0.0029},
    # 8. goal to where goal was at the start + (-0.49, 0.91, -7.52) cm, gripper closed, until within 0.95 cm
    # or for 63 decisions
    {"go": lower_goal, "gripper": 1.0, "close": 0.0095, "patience": 63,
     "speed": 0.6992, "hold": "", "slack": 0.1,
     "moves": "goal_position", "guard": 0.0},
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
        memory.update(mark=None, stalled=0)
    stage = STAGES[memory["stage"]]
    error = stage["go"](observation, memory)
    if math.hypot(*remaining(observation, memory)) <= ENOUGH:
        memory["rest"] = REST
    elif memory["rest"] > 0:
        memory["rest"] -= 1
    if memory["rest"] > 0:
        return [0.0, 0.0, 0.0, stage["gripper"]]
    lost = stage["hold"] and apart(observation[stage["hold"]], observation[HAND]) > stage["slack"]
    used = memory["waited"] >= stage["patience"] or math.hypot(*error) <= stage["close"]
    if lost or used or (stage["guard"] and stuck(stage, observation, memory)):
        following = len(STAGES) if lost else memory["stage"] + 1
        if following == len(STAGES):
            following = 0
            memory["rounds"] += 1
        memory.update(stage=following, waited=0, entry=dict(observation), mark=None)
        stage = STAGES[following]
        error = stage["go"](observation, memory)
    memory["waited"] += 1
    motion = np.clip(GAIN * error, -stage["speed"], stage["speed"])
    return [*motion, stage["gripper"]]
