"""An arm of two joints with a cup that flings a ball into a bin."""

from trace_robot import Environment, part

from .unseen_parts.cup_sling import CupSling

ENVIRONMENTS = [
    Environment(
        "cup-sling",
        "Fling the ball out of the cup into the bin.",
        make=CupSling,
        observation=[
            part(
                "joint_angles",
                2,
                "rad",
                "shoulder from the vertical, elbow from the upper arm; forward positive",
            ),
            part("joint_velocities", 2, "rad/s"),
            part("ball_position", 2, "m", "x forward, z up; the shoulder is at (0, 0.5)"),
            part("bin_position", 2, "m", "x, z of the middle of its floor; 20 cm wide inside, 12 cm deep"),
        ],
        action=[part("torques", 2, "N m", "shoulder, elbow")],
        success="success",
        success_when="the ball stays in the bin for 0.2 s",
        failure="failed",
        failure_when="the ball falls to the ground",
        horizon=400,
        facts=("dynamics:",),
    )
]
