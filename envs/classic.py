"""Gymnasium's classic control, and its small MuJoCo arms and pendulums.

Classic control is drawn with the extra trace-robot[classic]. A controller of most of these succeeds by the sum of its
rewards, at the threshold that counts as solved.
"""

import numpy as np

from trace_robot import Environment, JointTracking, part

SIDE = {"azimuth": 90.0, "elevation": -10.0, "x": 0.0, "y": 0.0}

ENVIRONMENTS = [
    Environment(
        "CartPole-v1",
        "Keep the pole upright and the cart near the middle by pushing the cart left or right.",
        observation=[
            part("cart_position", 1, "m", "the track ends at -2.4 and 2.4"),
            part("cart_velocity", 1, "m/s"),
            part("pole_angle", 1, "rad", "0 upright, positive to the right"),
            part("pole_velocity", 1, "rad/s"),
        ],
        action=[part("push", 1, "", "0 pushes the cart to the left, 1 to the right")],
        return_threshold=475.0,
        failure_when="the pole leans more than 0.21 rad (12 degrees), or the cart leaves the track",
    ),
    Environment(
        "Pendulum-v1",
        "Swing the pendulum up and keep it upright, with a torque too weak to lift it at once.",
        observation=[
            part("cosine", 1, "", "of the angle, 1 upright"),
            part("sine", 1, "", "of the angle, positive to the left"),
            part("velocity", 1, "rad/s", "from -8 to 8"),
        ],
        action=[part("torque", 1, "N m")],
        return_threshold=-200.0,
    ),
    Environment(
        "MountainCarContinuous-v0",
        "Drive the car out of the valley to the flag on the right, with an engine too weak to climb at once and"
        " as little force as possible.",
        observation=[
            part("position", 1, "", "the valley is at -0.52, the flag at 0.45"),
            part("velocity", 1, "", "a step, from -0.07 to 0.07"),
        ],
        action=[part("force", 1, "", "positive to the right")],
        return_threshold=90.0,
    ),
    Environment(
        "Acrobot-v1",
        "Swing the free end of two links that hang from a joint above the line, by the torque between them.",
        observation=[
            part("first_cosine", 1, "", "of the first link's angle, 1 hanging down"),
            part("first_sine"),
            part("second_cosine", 1, "", "of the second link's angle to the first"),
            part("second_sine"),
            part("first_velocity", 1, "rad/s"),
            part("second_velocity", 1, "rad/s"),
        ],
        action=[part("torque", 1, "", "0 for -1 N m, 1 for none, 2 for 1 N m")],
        return_threshold=-100.0,
    ),
    Environment(
        "InvertedPendulum-v5",
        "Keep the pole on the cart upright by pushing the cart.",
        observation=[
            part("cart_position", 1, "m"),
            part("pole_angle", 1, "rad", "0 upright"),
            part("cart_velocity", 1, "m/s"),
            part("pole_velocity", 1, "rad/s"),
        ],
        action=[part("force", 1, "", "a hundredth of a newton")],
        return_threshold=950.0,
        failure_when="the pole leans more than 0.2 rad",
        camera={**SIDE, "distance": 2.4, "z": 0.3},
    ),
    Environment(
        "InvertedDoublePendulum-v5",
        "Keep two poles, one on the other, upright on the cart by pushing the cart.",
        observation=[
            part("cart_position", 1, "m"),
            part("sines", 2, "", "of the angles of the lower pole and of the upper to the lower, 0 upright"),
            part("cosines", 2),
            part("cart_velocity", 1, "m/s"),
            part("pole_velocities", 2, "rad/s"),
            part("constraint_force", 1, "N", "on the cart's joint"),
        ],
        action=[part("force")],
        return_threshold=9100.0,
        failure_when="the tip is lower than 1 m",
        camera={**SIDE, "distance": 3.6, "z": 0.6},
    ),
    Environment(
        "Reacher-v5",
        "Bring the fingertip of the arm of two links to the target in the plane, and keep it there.",
        observation=[
            part("cosines", 2, "", "of the angles of shoulder and elbow"),
            part("sines", 2),
            part("target", 2, "m", "x and y"),
            part("joint_velocities", 2, "rad/s"),
            part("fingertip_from_target", 2, "m", "x and y; both must become 0"),
        ],
        action=[part("torques", 2, "", "of shoulder and elbow")],
        camera={"distance": 0.8, "azimuth": 90.0, "elevation": -89.0, "x": 0.0, "y": 0.0, "z": 0.0},
        return_threshold=-5.0,
    ),
    Environment(
        "Pusher-v5",
        "Push the cylinder over the table to the goal with the tip of the arm.",
        observation=[
            part("joint_angles", 7, "rad"),
            part("joint_velocities", 7, "rad/s"),
            part("fingertip_position", 3, "m"),
            part("object_position", 3, "m"),
            part("goal_position", 3, "m"),
        ],
        action=[part("torques", 7, "", "of the seven joints")],
        positions=("fingertip_position", "object_position", "goal_position"),
        camera={"distance": 2.0, "azimuth": 160.0, "elevation": -35.0, "x": 0.3, "y": -0.2, "z": -0.2},
        success=lambda e: np.linalg.norm(e.observation["object_position"] - e.observation["goal_position"]) < 0.05,
        success_when="the cylinder is within 5 cm of the goal",
        pose=JointTracking("joint_angles", "joint_velocities", stiffness=4.0, damping=0.5, low=-2.0, high=2.0),
        facts=("distances of reward and success are in space, of origins: the goal's is 4.8 cm below the object's",),
    ),
]  # fmt: skip
SETS = {"classic": [declared.env_name for declared in ENVIRONMENTS]}
