"""dm_control's suite through shimmy: poles, pendulums, planar arms and fingers (Tassa et al. 2018).

They need the extra trace-robot[dm-control], or an interpreter with shimmy and dm_control (``--python``). A reward is
0 to 1 a step and an episode has 1,000 steps, so 1,000 is the most; an episode succeeds here from 900 on.
"""

from collections.abc import Mapping, Sequence

from trace_robot import Environment, Part, part

Parts = Sequence[Part]

CARTPOLE: Mapping[str, Parts] = {
    "position": [
        part("cart_position", 1, "m", "the track ends at -1.8 and 1.8"),
        part("cosine", 1, "", "of the pole's angle, 1 upright"),
        part("sine", 1, "", "of the pole's angle, positive to the right"),
    ],
    "velocity": [part("cart_velocity", 1, "m/s"), part("pole_velocity", 1, "rad/s")],
}
REACHER: Mapping[str, Parts] = {
    "position": [part("joint_angles", 2, "rad", "of shoulder and wrist")],
    "to_target": [part("target_from_finger", 2, "m", "x and y; both must become 0")],
    "velocity": [part("joint_velocities", 2, "rad/s")],
}
FINGER: Mapping[str, Parts] = {
    "position": [
        part("joint_angles", 2, "rad", "of the finger's proximal and distal joint"),
        part("tip_position", 2, "m", "x and z of the tip of the spinner, relative to the spinner's hinge"),
    ],
    "touch": [part("touch", 2, "", "log(1 + force in N) at the top and bottom of the fingertip")],
    "velocity": [
        part("joint_velocities", 2, "rad/s"),
        part("spinner_velocity", 1, "rad/s", "of the spinner on its hinge"),
    ],
}
TURN: Mapping[str, Parts] = {
    "dist_to_target": [
        part("target_distance", 1, "m", "from the tip to the edge of the target; inside below 0")
    ],
    "target_position": [part("target_position", 2, "m", "x and z, relative to the spinner's hinge")],
}
BALL_IN_CUP: Mapping[str, Parts] = {
    "position": [
        part("cup_position", 2, "m", "x and z, 0 where it starts"),
        part("ball_position", 2, "m", "x and z; in the middle of the cup at cup_position plus 0 and 0.35"),
    ],
    "velocity": [part("cup_velocity", 2, "m/s"), part("ball_velocity", 2, "m/s")],
}
MANIPULATOR: Mapping[str, Parts] = {
    "arm_pos": [
        part("joint_sines_cosines", 16, "", "sine and cosine by turns: root, shoulder, elbow, wrist, finger, fingertip,"
             " thumb, thumbtip"),
    ],
    "arm_vel": [part("joint_velocities", 8, "rad/s", "in the same order")],
    "hand_pos": [
        part("hand_position", 2, "m", "x and z, world frame"),
        part("hand_rotation", 2, "", "w and y of its quaternion"),
    ],
    "object_pos": [
        part("ball_position", 2, "m", "x and z, world frame"),
        part("ball_rotation", 2, "", "w and y of its quaternion"),
    ],
    "object_vel": [part("ball_velocity", 2, "m/s"), part("ball_rotation_velocity", 1, "rad/s")],
    "target_pos": [
        part("target_position", 2, "m", "x and z, world frame"),
        part("target_rotation", 2, "", "w and y of its quaternion"),
    ],
    "touch": [part("touch", 5, "", "log(1 + force in N): palm, finger, thumb, fingertip, thumbtip")],
}  # fmt: skip
PUSH = [part("force", 1, "10 N", "on the cart, positive to the right")]


def _environment(suite_name: str, task: str, observation: Mapping[str, Parts], action: Parts) -> Environment:
    """Declare one task of the suite.

    Args:
        suite_name: domain and task, such as "cartpole-swingup".
        task: what to do, as text.
        observation: the parts in each key.
        action: its parts, all from -1 to 1.
    """
    return Environment(
        f"shimmy:dm_control/{suite_name}-v0",
        task,
        observation=observation,
        action=action,
        return_threshold=900.0,
        horizon=1000,  # dm_control ends the episode itself; gymnasium knows no limit of these ids
        needs="dm-control",
    )


ENVIRONMENTS = [
    _environment(
        "cartpole-balance",
        "Keep the pole upright and the cart near the middle of the track, with little force.",
        CARTPOLE,
        PUSH,
    ),
    _environment(
        "cartpole-swingup",
        "Swing up the pole, which hangs down from the cart, then keep it upright, with the cart near the middle of the"
        " track and little force.",
        CARTPOLE,
        PUSH,
    ),
    _environment(
        "cartpole-balance_sparse",
        "Keep the pole upright and the cart near the middle of the track; the reward is 1 while the cosine is at least"
        " 0.995 and the cart within 25 cm, else 0.",
        CARTPOLE,
        PUSH,
    ),
    _environment(
        "cartpole-swingup_sparse",
        "Swing up the pole, which hangs from the cart, then keep it upright; the reward is 1 while the cosine is at"
        " least 0.995 and the cart within 25 cm of the middle, else 0.",
        CARTPOLE,
        PUSH,
    ),
    _environment(
        "pendulum-swingup",
        "Swing the pendulum up and keep it within 8 degrees of upright, with a torque too weak to lift it at once.",
        {
            "orientation": [
                part("cosine", 1, "", "of the angle, 1 upright"),
                part("sine", 1, "", "of the angle, positive to the right"),
            ],
            "velocity": [part("velocity", 1, "rad/s")],
        },
        [part("torque", 1, "N m")],
    ),
    _environment(
        "acrobot-swingup",
        "Swing up two links that hang from a joint, by the torque between them, and hold the tip at the target straight"
        " above the joint.",
        {
            "orientations": [
                part("sines", 2, "", "of the angles of the upper and the lower link to the vertical"),
                part("cosines", 2, "", "of the same angles, 1 upright"),
            ],
            "velocity": [part("joint_velocities", 2, "rad/s", "of shoulder and elbow")],
        },
        [part("torque", 1, "2 N m", "at the elbow")],
    ),
    *(
        _environment(
            f"reacher-{size}",
            "Bring the finger of the arm of two links into the target in the plane, and keep it there; the reward is 1"
            f" while their centers are closer than {reach}.",
            REACHER,
            [part("torques", 2, "0.05 N m", "of shoulder and wrist")],
        )
        for size, reach in (("easy", "6 cm"), ("hard", "2.5 cm"))
    ),
    _environment(
        "ball_in_cup-catch",
        "Swing the ball, which hangs on a string from the cup, up into the cup, and keep it there.",
        BALL_IN_CUP,
        [part("forces", 2, "5 N", "on the cup along x and z")],
    ),
    _environment(
        "finger-spin",
        "Make the spinner turn on its hinge with the finger, so that spinner_velocity stays at -15 rad/s or below.",
        FINGER,
        [part("torques", 2, "", "of the proximal and distal joint, 1 is 30 N m and 15 N m")],
    ),
    *(
        _environment(
            f"finger-turn_{size}",
            "Turn the spinner with the finger so that its tip is in the target, and keep it there.",
            {**FINGER, **TURN},
            [part("torques", 2, "", "of the proximal and distal joint, 1 is 30 N m and 15 N m")],
        )
        for size in ("easy", "hard")
    ),
    *(
        _environment(
            f"point_mass-{size}",
            "Move the mass to the target at 0, 0 and keep it there, with little force.",
            {
                "position": [part("position", 2, "m", "x and y; the target's radius is 1.5 cm")],
                "velocity": [part("velocity", 2, "m/s")],
            },
            [part("forces", 2, "", directions)],
        )
        for size, directions in (
            ("easy", "along x and y, through tendons of gear 0.1"),
            ("hard", "along two directions that differ in each episode, through tendons of gear 0.1"),
        )
    ),
    _environment(
        "manipulator-bring_ball",
        "Grasp the ball with the hand of the planar arm, bring it to the target and hold it there.",
        MANIPULATOR,
        [
            part("torques", 4, "", "of root, shoulder, elbow and wrist, 1 is 12, 8, 4 and 2 N m"),
            part("grasp", 1, "", "torque on the fingers' tendon, 1 is 2 N m"),
        ],
    ),
]
