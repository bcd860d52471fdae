"""Keeps a pole upright on a cart: a linear law, mistuned on purpose; for CartPole-v1 and InvertedPendulum-v5."""

from trace_robot import Bounds, bundle, node

CONTROL = "raw"

angle_gain = node(
    1.0, name="angle_gain", trainable=True, constraint=Bounds(-50.0, 50.0),
    description="action per radian that the pole leans",
)  # fmt: skip
velocity_gain = node(
    0.0, name="velocity_gain", trainable=True, constraint=Bounds(-20.0, 20.0),
    description="action per radian a second at which it falls",
)  # fmt: skip
cart_gain = node(
    0.0, name="cart_gain", trainable=True, constraint=Bounds(-10.0, 10.0),
    description="action per metre of the cart from the middle",
)  # fmt: skip
cart_velocity_gain = node(
    0.0, name="cart_velocity_gain", trainable=True, constraint=Bounds(-10.0, 10.0),
    description="action per metre a second of the cart",
)  # fmt: skip
middle = node(
    0.5, name="middle", trainable=True, constraint=Bounds(-1.0, 1.0),
    description="the action when all is still; between the two pushes of CartPole, none for a force",
)  # fmt: skip


@bundle(trainable=True)
def law(observation, angle_gain, velocity_gain, cart_gain, cart_velocity_gain, middle):
    """Return [push]."""
    lean = angle_gain * observation["pole_angle"] + velocity_gain * observation["pole_velocity"]
    drift = cart_gain * observation["cart_position"] + cart_velocity_gain * observation["cart_velocity"]
    return [middle + lean + drift]


def act(observation):
    """Return the next action."""
    return law(observation, angle_gain, velocity_gain, cart_gain, cart_velocity_gain, middle)
