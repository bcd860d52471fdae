"""A gantry with yaw and two fingers that puts a bar into a slot."""

from trace_robot import Environment, part

from .robots_parts.bar_gantry import BarGantry

ENVIRONMENTS = [
    Environment(
        "bar-gantry",
        "Pick the bar up, put it into the slot and let it go.",
        make=BarGantry,
        observation=[
            part("hand_position", 3, "m", "between the fingertips, world frame"),
            part("hand_yaw", 1, "rad", "0: the fingers close along y"),
            part("opening", 1, "m", "between the fingers, 0 closed, 0.08 open"),
            part("bar_position", 3, "m", "its middle, world frame"),
            part("bar_yaw", 1, "rad", "0: it lies along x"),
            part("slot_position", 3, "m", "its middle on the floor, world frame"),
            part("slot_yaw", 1, "rad", "0: it lies along x"),
        ],
        action=[
            part("hand_velocity", 3, "m/s", "along x, y, z"),
            part("yaw_rate", 1, "rad/s"),
            part("fingers", 1, "", "-1 open, 1 close"),
        ],
        success="success",
        success_when="the bar lies at the bottom of the slot and the fingers do not touch it",
        horizon=250,
    )
]
