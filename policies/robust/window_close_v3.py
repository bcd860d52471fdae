"""window-close-v3: success 1.00 on 50 held-out conditions in worlds that differ (95 % interval 0.93 to 1.00).

Found by the optimizer search at feedback level outcome, starting from the policy do_nothing, with
seed 0 and 27 training and confirming conditions (success 1.00 there), control raw: 744 candidates,
1,042,526 simulator steps, 0 model calls. Ended: success 0.98, value 2.80 on average and 2.53 in the
worst fifth of 42 worlds, and 1.00 with noise on the constants.

Made with trace-robot 0.2.0, metaworld 3.1.1, mujoco 3.3.0, gymnasium 1.4.0, numpy 2.4.6, cma 4.5.0,
by:

    trace-robot bench --tasks window-close-v3 --protocol robust --steps 1600000 --seeds 0 --zoo policies/robust
"""

import math
from typing import Annotated

import numpy as np

from trace_robot import Bounds, bundle

CONTROL = "raw"


HAND = "hand_position"
GAIN: Annotated[float, Bounds(1.0, 40.0)] = 15.1245  # action per metre of error
AVERAGED = ('window_handle_position', 'goal_position')
SIGHT: Annotated[float, Bounds(0.01, 1.0)] = 0.5617  # weight of what is new in the average
GO_ABOVE_WINDOW_HANDLE: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.0075, -0.0233, 0.0754])  # metres, from window_handle_position
GO_ABOVE_WINDOW_HANDLE_ALONG: Annotated[float, Bounds(-0.5, 0.5)] = -0.0496  # metres, level, towards goal_position
GO_TO_WINDOW_HANDLE_1: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.0075, -0.0233, 0.0027])  # metres, from window_handle_position
GO_TO_GOAL: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0066, -0.0233, 0.0027])  # metres, from goal_position
GO_TO_WINDOW_HANDLE_2: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([-0.0268, -0.0922, 0.0202])  # metres, from window_handle_position
MOVE_BACK: Annotated[np.ndarray, Bounds(-0.5, 0.5)] = np.array([0.0, -0.0969, 0.0])  # metres, from hand_position


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


def averaged(observation, memory):
    """The observation with moving averages of the positions in AVERAGED."""
    seen, before = dict(observation), memory.get("seen", observation)
    for name in AVERAGED:
        seen[name] = before[name] + SIGHT * (observation[name] - before[name])
    memory["seen"] = seen
    return seen


def go_above_window_handle(observation, memory):
    """From hand to window_handle + (-0.75, -2.33, 7.54) cm, 4.96 cm away from goal."""
    here = observation["window_handle_position"]
    step = towards(here, observation["goal_position"], GO_ABOVE_WINDOW_HANDLE_ALONG)
    target = here + GO_ABOVE_WINDOW_HANDLE + step
    return target - observation["hand_position"]


def go_to_window_handle_1(observation, memory):
    """From hand to window_handle + (-0.75, -2.33, 0.27) cm."""
    target = observation["window_handle_position"] + GO_TO_WINDOW_HANDLE_1
    return target - observation["hand_position"]


def go_to_goal(observation, memory):
    """From hand to goal + (0.66, -2.33, 0.27) cm."""
    target = observation["goal_position"] + GO_TO_GOAL
    return target - observation["hand_position"]


def go_to_window_handle_2(observation, memory):
    """From hand to window_handle + (-2.68, -9.22, 2.02) cm."""
    target = observation["window_handle_position"] + GO_TO_WINDOW_HANDLE_2
    return target - observation["hand_position"]


def move_back(observation, memory):
    """From hand to where hand was when the stage began + (0, -9.69, 0) cm."""
    target = memory["entry"]["hand_position"] + MOVE_BACK
    return target - observation["hand_position"]


# gripper: -1 open, 1 closed; close: metres, 0 never; patience: decisions;
# speed: share of the action's bounds; hold: what must stay within slack metres of the hand
STAGES: Annotated[list, {
    "gripper": Bounds(-1.0, 1.0), "close": Bounds(0.0, 0.1), "speed": Bounds(0.1, 1.0),
    "slack": Bounds(0.01, 0.5)
}] = [
    # 1. hand to window_handle + (-0.75, -2.33, 7.54) cm, 4.96 cm away from goal, gripper closed, until within
    # 2 cm or for 35 decisions
    {"go": go_above_window_handle, "gripper": 1.0, "close": 0.02, "patience": 35,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 2. hand to window_handle + (-0.75, -2.33, 0.27) cm, gripper closed, until within 1.5 cm or for 27
    # decisions
    {"go": go_to_window_handle_1, "gripper": 1.0, "close": 0.015, "patience": 27,
     "speed": 1.0, "hold": "", "slack": 0.1},
    # 3. hand to goal + (0.66, -2.33, 0.27) cm, gripper closed, until within 1 cm or for 56 decisions
    {"go": go_to_goal, "gripper": 1.0, "close": 0.01, "patience": 56,
     "speed": 0.6713, "hold": "", "slack": 0.1},
    # 4. hand to window_handle + (-2.68, -9.22, 2.02) cm, gripper closed, until within 1 cm or for 93
    # decisions
    {"go": go_to_window_handle_2, "gripper": 1.0, "close": 0.01, "patience": 93,
     "speed": 0.9787, "hold": "", "slack": 0.1},
    # 5. hand to where hand was when the stage began + (0, -9.69, 0) cm, gripper closed, until within 1 cm or
    # for 33 decisions
    {"go": move_back, "gripper": 1.0, "close": 0.01, "patience": 33,
     "speed": 0.4472, "hold": "", "slack": 0.1},
]


@bundle(trainable=True)
def act(observation, memory):
    """Return [x, y, z, gripper]: the next motion of the present stage of STAGES.

    A stage ends when it is close enough or its decisions are used up; after the last one, or when the
    object got lost, it starts over.
    """
    observation = averaged(observation, memory)
    if "stage" not in memory:
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
