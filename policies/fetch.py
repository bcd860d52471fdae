"""For the Fetch arm: a hand that goes to the thing, takes it and carries it; mistuned on purpose, to be optimized.

Where nothing can be taken, as in FetchReach, it goes to the goal.
"""

import numpy as np

from trace_robot import Bounds, bundle, node

CONTROL = "raw"

hover_height = node(
    0.02, name="hover_height", trainable=True, constraint=Bounds(0.0, 0.2),
    description="metres above the thing where the hand waits before it comes down",
)  # fmt: skip
close_enough = node(
    0.05, name="close_enough", trainable=True, constraint=Bounds(0.005, 0.1),
    description="metres within which a stage counts as reached",
)  # fmt: skip
gain = node(
    5.0, name="gain", trainable=True, constraint=Bounds(1.0, 25.0),
    description="action per metre of error",
)  # fmt: skip


@bundle(trainable=True)
def choose_stage(observation, memory, hover_height, close_enough):
    """Return the stage: "above", "down", "grasp" or "carry"; memory["stage"] holds the last one."""
    if "object_position" not in observation:
        return "carry"
    hand, thing = observation["gripper_position"], observation["object_position"]
    stage = memory.get("stage", "above")
    if stage == "above" and np.linalg.norm(hand - thing - [0, 0, hover_height]) < close_enough:
        stage = "down"
    elif stage == "down" and np.linalg.norm(hand - thing) < close_enough:
        stage = "grasp"
    elif stage == "grasp":
        memory["waited"] = memory.get("waited", 0) + 1
        stage = "grasp" if memory["waited"] < 2 else "carry"
    memory["stage"] = stage
    return stage


@bundle(trainable=True)
def move(observation, stage, hover_height, gain):
    """Return [dx, dy, dz, gripper]: a motion of the hand, 1 for 5 cm, and -1 (open) to 1 (close)."""
    hand, goal = observation["gripper_position"], observation["goal_position"]
    thing = observation.get("object_position", goal)
    if stage == "above":
        return [*(gain * (thing + [0, 0, hover_height] - hand)), -1.0]
    if stage == "down":
        return [*(gain * (thing - hand)), -1.0]
    if stage == "grasp":
        return [0.0, 0.0, 0.0, 1.0]
    return [*(gain * (goal - hand)), 1.0]


def act(observation, memory):
    """Return the next action."""
    stage = choose_stage(observation, memory, hover_height, close_enough)
    return move(observation, stage, hover_height, gain)
