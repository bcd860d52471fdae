"""button-press-v3: success 1.00 on 50 held-out conditions (95 % interval 0.93 to 1.00).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 30 training and confirming conditions (success 1.00 there), control raw: 582 candidates,
177,165 simulator steps, 0 model calls. Ended: every training condition and 25 of 25 more solved,
and 1.00 with noise on the constants.

Made with trace-robot 0.1.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks button-press-v3 --steps 1200000 --seeds 0 --zoo policies/zoo
"""

import math

import numpy as np

from trace_robot import bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN = 18.4823  # action per metre of error
GO_TO_GOAL_1 = np.array([0.0044, 0.1291, 0.0271])  # metres, from goal_position
GO_TO_BUTTON = np.array([0.0121, -0.0085, -0.0044])  # metres, from button_position
GO_ABOVE_GOAL = np.array([0.0303, 0.0138, 0.1811])  # metres, from goal_position
GO_TO_GOAL_2 = np.array([0.0303, 0.0138, -0.0178])  # metres, from goal_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def go_to_goal_1(observation, memory):
    """From hand to goal + (0.44, 12.9, 2.71) cm."""
    target = observation["goal_position"] + GO_TO_GOAL_1
    return target - observation["hand_position"]


def go_to_button(observation, memory):
    """From hand to button + (1.21, -0.85, -0.44) cm."""
    target = observation["button_position"] + GO_TO_BUTTON
    return target - observation["hand_position"]


def go_above_goal(observation, memory):
    """From hand to goal + (3.03, 1.38, 18.1) cm."""
    target = observation["goal_position"] + GO_ABOVE_GOAL
    return target - observation["hand_position"]


def go_to_goal_2(observation, memory):
    """From hand to goal + (3.03, 1.38, -1.78) cm."""
    target = observation["goal_position"] + GO_TO_GOAL_2
    return target - observation["hand_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES = [
    # 1. hand to goal + (0.44, 12.9, 2.71) cm, gripper open, until within 1 cm or for 39 decisions
    {"go": go_to_goal_1, "gripper": -1.0, "close": 0.01, "patience": 39,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. hand to button + (1.21, -0.85, -0.44) cm, gripper open, until within 1 cm or for 40 decisions
    {"go": go_to_button, "gripper": -1.0, "close": 0.01, "patience": 40,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 3. hand to goal + (3.03, 1.38, 18.1) cm, gripper closed, until within 2 cm or for 57 decisions; starts
    # over if button is more than 14 cm from the hand
    {"go": go_above_goal, "gripper": 1.0, "close": 0.02, "patience": 57,
     "speed": 1.0, "hold": "button_position", "slack": 0.1404},
    # 4. hand to goal + (3.03, 1.38, -1.78) cm, gripper closed, until within 1 cm or for 75 decisions; starts
    # over if button is more than 14 cm from the hand
    {"go": go_to_goal_2, "gripper": 1.0, "close": 0.01, "patience": 75,
     "speed": 1.0, "hold": "button_position", "slack": 0.1404},
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
