"""button-press-topdown-wall-v3: success 1.00 on 50 held-out conditions (95 % interval 0.93 to 1.00).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 30 training and confirming conditions (success 1.00 there), control raw: 737 candidates,
324,706 simulator steps, 0 model calls. Ended: every training condition and 25 of 25 more solved,
and 1.00 with noise on the constants.

Made with trace-robot 0.1.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks button-press-topdown-wall-v3 --steps 1200000 --seeds 0 --zoo policies/zoo
"""

import math

import numpy as np

from trace_robot import bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN = 17.9309  # action per metre of error
GO_ABOVE_BUTTON = np.array([-0.0109, -0.0381, 0.0516])  # metres, from button_position
GO_TO_GOAL = np.array([-0.0107, -0.0023, 0.0056])  # metres, from goal_position
BRING_GOAL_TO_BUTTON_1 = np.array([0.1376, 0.0226, 0.142])  # metres, from button_position
BRING_GOAL_TO_BUTTON_2 = np.array([0.1376, 0.0226, 0.0182])  # metres, from button_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def go_above_button(observation, memory):
    """From hand to button + (-1.09, -3.81, 5.16) cm."""
    target = observation["button_position"] + GO_ABOVE_BUTTON
    return target - observation["hand_position"]


def go_to_goal(observation, memory):
    """From hand to goal + (-1.07, -0.23, 0.56) cm."""
    target = observation["goal_position"] + GO_TO_GOAL
    return target - observation["hand_position"]


def bring_goal_to_button_1(observation, memory):
    """From goal to button + (13.8, 2.26, 14.2) cm."""
    target = observation["button_position"] + BRING_GOAL_TO_BUTTON_1
    return target - observation["goal_position"]


def bring_goal_to_button_2(observation, memory):
    """From goal to button + (13.8, 2.26, 1.82) cm."""
    target = observation["button_position"] + BRING_GOAL_TO_BUTTON_2
    return target - observation["goal_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES = [
    # 1. hand to button + (-1.09, -3.81, 5.16) cm, gripper open, until within 2 cm or for 51 decisions
    {"go": go_above_button, "gripper": -1.0, "close": 0.02, "patience": 51,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. hand to goal + (-1.07, -0.23, 0.56) cm, gripper open, until within 1 cm or for 25 decisions
    {"go": go_to_goal, "gripper": -1.0, "close": 0.01, "patience": 25,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 3. goal to button + (13.8, 2.26, 14.2) cm, gripper closed, until within 2 cm or for 41 decisions; starts
    # over if goal is more than 8.31 cm from the hand
    {"go": bring_goal_to_button_1, "gripper": 1.0, "close": 0.02, "patience": 41,
     "speed": 0.8767, "hold": "goal_position", "slack": 0.0831},
    # 4. goal to button + (13.8, 2.26, 1.82) cm, gripper closed, until within 1 cm or for 69 decisions; starts
    # over if goal is more than 8.31 cm from the hand
    {"go": bring_goal_to_button_2, "gripper": 1.0, "close": 0.01, "patience": 69,
     "speed": 0.8767, "hold": "goal_position", "slack": 0.0831},
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
