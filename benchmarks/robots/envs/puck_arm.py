"""An arm of seven joints with torques that pushes a puck."""

from trace_robot import Environment, part

from .robots_parts.puck_arm import PuckArm

ENVIRONMENTS = [
    Environment(
        "puck-arm",
        "Push the puck to the goal and leave it there.",
        make=PuckArm,
        observation=[
            part("joint_angles", 7, "rad", "from the base to the hand"),
            part("joint_velocities", 7, "rad/s"),
            part("hand_position", 3, "m", "world frame"),
            part("puck_position", 3, "m", "world frame"),
            part("goal_position", 3, "m", "on the floor, world frame"),
        ],
        action=[part("torques", 7, "N m", "from the base to the hand; gravity is compensated")],
        success="success",
        success_when="the puck is within 2.5 cm of the goal and slower than 3 cm/s",
        horizon=400,
    )
]
