"""Gymnasium's MuJoCo robots that move: swim, hop, walk, run, stand up (Todorov et al. 2012; v5 of the tasks).

Angles are those of the model's joints, 0 in the pose of the model file. A torque of 1 is the unit of its part. The
entries of info that begin with "reward" are the terms that a reward is the sum of, with their weights in them. Swimmer,
HalfCheetah, Hopper and Ant are solved from the return that gymnasium registers; the other three have no such figure,
and results show their mean return.
"""

from collections.abc import Mapping, Sequence

from trace_robot import Environment, Part, part, skip

FORWARD_AND_CONTROL = ("reward_forward", "reward_ctrl", "x_velocity", "x_position")
WITH_SURVIVAL = ("reward_forward", "reward_ctrl", "reward_survive", "x_velocity", "x_position")
WITH_CONTACT = (
    "reward_forward",
    "reward_ctrl",
    "reward_contact",
    "reward_survive",
    "x_velocity",
    "x_position",
)
COUNTS = "The sum of the rewards is what counts."

# In the order of the model's actuators; with each what a torque of 1 is in N m (the gear of the motor).
CHEETAH = {
    "back_thigh": 120,
    "back_shin": 90,
    "back_foot": 60,
    "front_thigh": 120,
    "front_shin": 60,
    "front_foot": 30,
}
HOPPER = {"hip": 200, "knee": 200, "ankle": 200}
WALKER = {
    "right_hip": 100,
    "right_knee": 100,
    "right_ankle": 100,
    "left_hip": 100,
    "left_knee": 100,
    "left_ankle": 100,
}
SWIMMER = {"front_joint": 150, "back_joint": 150}
# The model names its legs for a robot that heads along y; the task is to run along x, and so are these named.
ANT = {
    "front_right_hip": 150, "front_right_ankle": 150, "front_left_hip": 150, "front_left_ankle": 150,
    "back_left_hip": 150, "back_left_ankle": 150, "back_right_hip": 150, "back_right_ankle": 150,
}  # fmt: skip
HUMANOID = {
    "abdomen_y": 100, "abdomen_z": 100, "abdomen_x": 100,
    "right_hip_x": 100, "right_hip_z": 100, "right_hip_y": 300, "right_knee": 200,
    "left_hip_x": 100, "left_hip_z": 100, "left_hip_y": 300, "left_knee": 200,
    "right_shoulder_1": 25, "right_shoulder_2": 25, "right_elbow": 25,
    "left_shoulder_1": 25, "left_shoulder_2": 25, "left_elbow": 25,
}  # fmt: skip
# The order of angles in an observation where it is not that of the actuators.
ANT_JOINTS = [
    *(name for name in ANT if not name.startswith("front_right")),
    "front_right_hip",
    "front_right_ankle",
]
HUMANOID_JOINTS = [
    "abdomen_z",
    "abdomen_y",
    *(name for name in HUMANOID if name not in ("abdomen_z", "abdomen_y")),
]


def _angles(joints: Sequence[str] | Mapping[str, float]) -> list[Part]:
    return [part(f"{joint}_angle", 1, "rad") for joint in joints]


def _velocities(joints: Sequence[str] | Mapping[str, float], meaning: str = "") -> list[Part]:
    return [part(f"{joint}_velocity", 1, "rad/s", meaning) for joint in joints]


def _torques(motors: Mapping[str, float]) -> list[Part]:
    return [part(f"{joint}_torque", 1, f"{torque} N m") for joint, torque in motors.items()]


def _planar(joints: Mapping[str, float], height: str, clipped: str = "") -> list[Part]:
    """Return the observation of a robot in the plane: torso, joints, and their velocities.

    Args:
        joints: names, the torso's left out.
        height: what the torso's height is measured from.
        clipped: how velocities are bounded, as text.
    """
    return [
        part("torso_height", 1, "m", height),
        part("torso_pitch", 1, "rad", "0 upright, positive leans forward"),
        *_angles(joints),
        part("forward_velocity", 1, "m/s", "of the torso, to the right"),
        part("vertical_velocity", 1, "m/s", "of the torso, upwards"),
        part("torso_pitch_velocity", 1, "rad/s", clipped),
        *_velocities(joints, clipped),
    ]


# What gymnasium adds after position and velocity, contact forces and inertias of every body, is hidden: 78 of Ant's
# 105 numbers and 303 of the humanoids' 348. A linear law over all of them has 5,916 gains for Humanoid instead of 765.
def _free(joints: Sequence[str], hidden: int) -> list[Part]:
    """Return the observation of a robot in space: torso, joints, and their velocities.

    Args:
        joints: names in the model's order.
        hidden: how many numbers follow.
    """
    return [
        part("torso_height", 1, "m", "above the ground"),
        part("torso_rotation", 4, "", "quaternion, w first; 1, 0, 0, 0 upright and heading for x"),
        *_angles(joints),
        part("torso_velocity", 3, "m/s", "x forward, y to the left, z up; world frame"),
        part("torso_turn", 3, "rad/s", "angular velocity about the torso's x, y, z"),
        *_velocities(joints),
        skip(hidden),
    ]


ENVIRONMENTS = [
    Environment(
        "HalfCheetah-v5",
        "Run to the right as fast as you can on two legs in the plane, without much torque. Each step of 0.05 s gives"
        " the forward velocity in m/s, minus 0.1 times the sum of the squared torques. An episode never ends early,"
        f" even if the cheetah lies on its back. {COUNTS}",
        observation=_planar(CHEETAH, "of the torso above where it starts, 0.7 m above the ground"),
        action=_torques(CHEETAH),
        terms=FORWARD_AND_CONTROL,
        camera="track",
    ),
    Environment(
        "Hopper-v5",
        "Hop to the right as fast as you can on one leg in the plane, without falling. Each step of 0.008 s gives 1 for"
        " staying upright, plus the forward velocity in m/s, minus 0.001 times the sum of the squared torques; so that"
        f" standing still for a whole episode gives 1,000, and hopping must give more. {COUNTS}",
        observation=_planar(HOPPER, "above the ground, 1.25 at the start", "from -10 to 10"),
        action=_torques(HOPPER),
        terms=WITH_SURVIVAL,
        failure_when="the torso is lower than 0.7 m or leans more than 0.2 rad",
        camera="track",
    ),
    Environment(
        "Walker2d-v5",
        "Walk or run to the right as fast as you can on two legs in the plane, without falling. Each step of 0.008 s"
        " gives 1 for staying upright, plus the forward velocity in m/s, minus 0.001 times the sum of the squared"
        f" torques; so that standing still for a whole episode gives 1,000. {COUNTS}",
        observation=_planar(WALKER, "above the ground, 1.25 at the start", "from -10 to 10"),
        action=_torques(WALKER),
        terms=WITH_SURVIVAL,
        failure_when="the torso is lower than 0.8 m, higher than 2 m, or leans more than 1 rad",
        camera="track",
    ),
    Environment(
        "Swimmer-v5",
        "Swim to the right as fast as you can through a viscous liquid with three links and two joints in the plane."
        " Each step of 0.04 s gives the forward velocity in m/s, minus 0.0001 times the sum of the squared torques."
        f" {COUNTS}",
        observation=[
            part("heading", 1, "rad", "of the front link, 0 to the right, positive to the left"),
            *_angles(SWIMMER),
            part("tip_velocity", 2, "m/s", "x and y of the tip in front, world frame"),
            part("heading_velocity", 1, "rad/s"),
            *_velocities(SWIMMER),
        ],
        action=_torques(SWIMMER),
        terms=FORWARD_AND_CONTROL,
        camera="track",
    ),
    Environment(
        "Ant-v5",
        "Run along x as fast as you can on four legs, without rolling over. Each step of 0.05 s gives 1 for a torso"
        " between 0.2 and 1 m high, plus the forward velocity in m/s, minus 0.5 times the sum of the squared torques,"
        f" minus 0.0005 times that of the contact forces; so that standing still gives 1,000. {COUNTS}",
        observation=_free(ANT_JOINTS, 78),
        action=_torques(ANT),
        terms=WITH_CONTACT,
        failure_when="the torso is lower than 0.2 m or higher than 1 m",
        camera="track",
    ),
    Environment(
        "Humanoid-v5",
        "Walk or run along x as fast as you can on two legs, without falling. Each step of 0.015 s gives 5 for a torso"
        " between 1 and 2 m high, plus 1.25 times the forward velocity in m/s, minus 0.1 times the sum of the squared"
        f" torques, minus at most 10 for contact forces; so that standing still gives 5,000. {COUNTS}",
        observation=_free(HUMANOID_JOINTS, 303),
        action=_torques(HUMANOID),
        terms=WITH_CONTACT,
        failure_when="the torso is lower than 1 m or higher than 2 m",
        camera="track",
    ),
    Environment(
        "HumanoidStandup-v5",
        "Stand up from lying on the back, and stay up. Each step of 0.015 s gives the torso's height in m divided by"
        " 0.003, plus 1, minus 0.1 times the sum of the squared torques, minus at most 10 for contact forces."
        f" {COUNTS}",
        observation=_free(HUMANOID_JOINTS, 303),
        action=_torques(HUMANOID),
        terms=("reward_linup", "reward_quadctrl", "reward_impact"),
        camera="track",
    ),
]  # fmt: skip
SETS = {"locomotion": [declared.env_name for declared in ENVIRONMENTS]}
