"""Pushes towards the mark; too weakly, and without braking: its numbers are to be optimized."""

from trace_robot import Bounds, bundle, node

stiffness = node(
    0.5,
    name="stiffness",
    trainable=True,
    constraint=Bounds(0.0, 50.0),
    description="newtons per meter from the mark",
)
damping = node(
    0.0,
    name="damping",
    trainable=True,
    constraint=Bounds(0.0, 20.0),
    description="newtons per meter a second",
)


@bundle()
def push(position, velocity, mark, stiffness, damping):
    """Return the force along the rail."""
    return stiffness * (mark - position) - damping * velocity


def act(observation):
    """Return the next action."""
    seen = observation["position"], observation["velocity"], observation["mark"]
    return [push(*seen, stiffness, damping)]
