"""An arm of five joints that touches a point."""

from trace_robot import Environment, part

from .robots_parts.touch_arm import TouchArm

ENVIRONMENTS = [
    Environment(
        "touch-arm",
        "Bring the tip of the arm to the target.",
        make=TouchArm,
        observation=[
            part("joint_angles", 5, "rad", "from the base to the tip"),
            part("tip_position", 3, "m", "world frame"),
            part("target_position", 3, "m", "world frame"),
        ],
        action=[part("joint_velocities", 5, "rad/s", "from the base to the tip")],
        success="success",
        success_when="the tip is within 1 cm of the target",
        horizon=150,
    )
]
