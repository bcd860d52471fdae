"""Controllers as text that the tests of several rooms run."""

from __future__ import annotations

# Two bundles, one with a branch that the other reads; its last steps divide by what may be 0.
STAGED = '''
import numpy as np
from trace_robot import bundle, node

gain = node(2.0, name="gain", trainable=True)

@bundle(trainable=True)
def choose(observation, memory):
    """Choose a stage."""
    memory["stage"] = "near" if np.linalg.norm(observation["goal"] - observation["hand"]) < 1 else "far"
    return memory["stage"]

@bundle(trainable=True)
def move(observation, stage, gain):
    """Move."""
    step = gain * (observation["goal"] - observation["hand"])
    return np.clip(step, -1, 1) if stage == "far" else step * (1 / observation["hand"][0])

def act(observation, memory):
    return move(observation, choose(observation, memory), gain)
'''
