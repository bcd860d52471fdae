"""peg-unplug-side-v3: success 1.00 on 50 held-out conditions (95 % interval 0.93 to 1.00).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 30 training and confirming conditions (success 1.00 there), control raw: 556 candidates,
195,677 simulator steps, 0 model calls. Ended: every training condition and 25 of 25 more solved,
and 1.00 with noise on the constants.

Made with trace-robot 0.1.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks peg-unplug-side-v3 --steps 1200000 --seeds 0 --zoo policies/zoo
"""

import math

import numpy as np

from trace_robot import bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN = 10.1584  # action per metre of error
GO_ABOVE_PLUG_1 = np.array([-0.0132, -0.0006, 0.1018])  # metres, from plug_position
GO_ABOVE_PLUG_2 = np.array([-0.0132, -0.0006, 0.04])  # metres, from plug_position
BRING_PLUG_TO_GOAL = np.array([0.0205, -0.0553, -0.007])  # metres, from goal_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def go_above_plug_1(observation, memory):
    """From hand to plug + (-1.32, -0.06, 10.2) cm."""
    target = observation["plug_position"] + GO_ABOVE_PLUG_1
    return target - observation["hand_position"]


def go_above_plug_2(observation, memory):
    """From hand to plug + (-1.32, -0.06, 4) cm."""
    target = observation["plug_position"] + GO_ABOVE_PLUG_2
    return target - observation["hand_position"]


def bring_plug_to_goal(observation, memory):
    """From plug to goal + (2.05, -5.53, -0.7) cm."""
    target = observation["goal_position"] + BRING_PLUG_TO_GOAL
    return target - observation["plug_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES = [
    # 1. hand to plug + (-1.32, -0.06, 10.2) cm, gripper open, until within 1.92 cm or for 56 decisions
    {"go": go_above_plug_1, "gripper": -1.0, "close": 0.0192, "patience": 56,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. hand to plug + (-1.32, -0.06, 4) cm, gripper open, until within 1 cm or for 26 decisions
    {"go": go_above_plug_2, "gripper": -1.0, "close": 0.01, "patience": 26,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 3. plug to goal + (2.05, -5.53, -0.7) cm, gripper closed, until within 1 cm or for 72 decisions
    {"go": bring_plug_to_goal, "gripper": 1.0, "close": 0.01, "patience": 72,
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
