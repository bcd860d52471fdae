"""A ball on a tilting plate that follows a target."""

from trace_robot import Environment, part

from .robots_parts.ball_plate import BallPlate

ENVIRONMENTS = [
    Environment(
        "ball-plate",
        "Tilt the plate so that the ball follows the target.",
        make=BallPlate,
        observation=[
            part("ball_position", 2, "m", "on the plate from its middle, 40 ms late and noisy"),
            part("plate_angles", 2, "rad", "about x and about y"),
            part("target_position", 2, "m", "on the plate from its middle; it moves"),
        ],
        action=[part("servo_angles", 2, "rad", "where the servos turn the plate, about x and about y")],
        success="success",
        success_when="the ball stays within 2 cm of the target for 2 s",
        failure="failed",
        failure_when="the ball leaves the plate",
        horizon=500,
    )
]
