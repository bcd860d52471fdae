"""Picks a thing up and carries it to the goal in four stages; mistuned on purpose, to be optimized."""

import numpy as np

from trace_robot import Bounds, bundle, node

CONTROL = "pose"

hover_height = node(
    0.02, name="hover_height", trainable=True, constraint=Bounds(0.0, 0.3),
    description="metres above the thing where the hand waits before it comes down",
)  # fmt: skip
grasp_height = node(
    0.08, name="grasp_height", trainable=True, constraint=Bounds(-0.05, 0.1),
    description="metres above the thing's centre where the fingers close",
)  # fmt: skip
close_enough = node(
    0.03, name="close_enough", trainable=True, constraint=Bounds(0.005, 0.1),
    description="metres within which a stage counts as reached",
)  # fmt: skip


@bundle(trainable=True)
def choose_stage(observation, memory, hover_height, grasp_height, close_enough):
    """Return the stage: "above", "down", "grasp" or "carry"; memory["stage"] holds the last one."""
    hand, thing = observation["hand_position"], observation["puck_position"]
    stage = memory.get("stage", "above")
    if stage == "above" and np.linalg.norm(hand - thing - [0, 0, hover_height]) < close_enough:
        stage = "down"
    elif stage == "down" and np.linalg.norm(hand - thing - [0, 0, grasp_height]) < close_enough:
        stage = "grasp"
    elif stage == "grasp":
        stage = "carry"
    memory["stage"] = stage
    return stage


@bundle(trainable=True)
def move(observation, stage, hover_height, grasp_height):
    """Return [dx, dy, dz, gripper]: a displacement of the hand in metres, and -1 (open) to 1 (close)."""
    hand, thing = observation["hand_position"], observation["puck_position"]
    if stage == "above":
        return [*(thing + [0, 0, hover_height] - hand), -1.0]
    if stage == "down":
        return [*(thing + [0, 0, grasp_height] - hand), -1.0]
    if stage == "grasp":
        return [0.0, 0.0, 0.0, 1.0]
    return [*(observation["goal_position"] - hand), 0.5]


def act(observation, memory):
    """Return the next action."""
    stage = choose_stage(observation, memory, hover_height, grasp_height, close_enough)
    return move(observation, stage, hover_height, grasp_height)
