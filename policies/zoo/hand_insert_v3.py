"""hand-insert-v3: success 0.98 on 50 held-out conditions (95 % interval 0.90 to 1.00).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 30 training and confirming conditions (success 1.00 there), control raw: 2,418
candidates, 1,208,921 simulator steps, 0 model calls. Ended: 1200000 simulator steps spent.

Made with trace-robot 0.1.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks hand-insert-v3 --steps 1200000 --seeds 0 --zoo policies/zoo
"""

import math

import numpy as np

from trace_robot import bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN = 15.0  # action per metre of error
GO_ABOVE_BLOCK = np.array([0.01, -0.03, 0.1])  # metres, from block_position
GO_ABOVE_BLOCK_ALONG = -0.06  # metres, level, towards goal_position
GO_BEHIND_BLOCK = np.array([0.005, -0.035, 0.02])  # metres, from block_position
GO_BEHIND_BLOCK_ALONG = -0.05  # metres, level, towards goal_position
GO_BEFORE_BLOCK = np.array([0.0, -0.035, 0.01])  # metres, from block_position
GO_BEFORE_BLOCK_ALONG = 0.08  # metres, level, towards goal_position
GO_TO_GOAL = np.array([-0.02, 0.065, -0.015])  # metres, from goal_position


def apart(here, there):
    """Distance in metres."""
    return math.hypot(*(here - there))


def towards(here, there, metres):
    """The level step of so many metres from here towards there (away from it if negative)."""
    east, north = there[0] - here[0], there[1] - here[1]
    length = math.hypot(east, north)
    if length < 1e-6:
        return np.zeros(3)
    return np.array([metres / length * east, metres / length * north, 0.0])


def go_above_block(observation, memory):
    """From hand to block + (1, -3, 10) cm, 6 cm away from goal."""
    here = observation["block_position"]
    step = towards(here, observation["goal_position"], GO_ABOVE_BLOCK_ALONG)
    target = here + GO_ABOVE_BLOCK + step
    return target - observation["hand_position"]


def go_behind_block(observation, memory):
    """From hand to block + (0.5, -3.5, 2) cm, 5 cm away from goal."""
    here = observation["block_position"]
    step = towards(here, observation["goal_position"], GO_BEHIND_BLOCK_ALONG)
    target = here + GO_BEHIND_BLOCK + step
    return target - observation["hand_position"]


def go_before_block(observation, memory):
    """From hand to block + (0, -3.5, 1) cm, 8 cm towards goal."""
    here = observation["block_position"]
    step = towards(here, observation["goal_position"], GO_BEFORE_BLOCK_ALONG)
    target = here + GO_BEFORE_BLOCK + step
    return target - observation["hand_position"]


def go_to_goal(observation, memory):
    """From hand to goal + (-2, 6.5, -1.5) cm."""
    target = observation["goal_position"] + GO_TO_GOAL
    return target - observation["hand_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES = [
    # 1. hand to block + (1, -3, 10) cm, 6 cm away from goal, gripper open, until within 2.2 cm or for 70
    # decisions
    {"go": go_above_block, "gripper": -1.0, "close": 0.022, "patience": 70,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. hand to block + (0.5, -3.5, 2) cm, 5 cm away from goal, gripper open, until within 2.3 cm or for 20
    # decisions
    {"go": go_behind_block, "gripper": -1.0, "close": 0.023, "patience": 20,
     "speed": 0.9, "hold": "", "slack": 0.1},
    # 3. hand to block + (0, -3.5, 1) cm, 8 cm towards goal, gripper open, until within 0.9 cm or for 70
    # decisions
    {"go": go_before_block, "gripper": -1.0, "close": 0.009, "patience": 70,
     "speed": 0.8, "hold": "", "slack": 0.1},
    # 4. hand to goal + (-2, 6.5, -1.5) cm, gripper closed, until within 1.1 cm or for 50 decisions
    {"go": go_to_goal, "gripper": 1.0, "close": 0.011, "patience": 50,
     "speed": 0.3, "hold": "", "slack": 0.1},
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
