"""Gymnasium-Robotics' Fetch arm: reach, push, slide, pick and place.

They need the extra trace-robot[fetch]. The ids without "Dense" give their sparse reward: -1 a step until the goal is
reached.
"""

from trace_robot import Environment, HandTracking, part

GRIPPER_OBSERVED = (
    part("gripper_position", 3, "m", "between the fingers, world frame; the table's top is at z 0.4"),
    part("finger_positions", 2, "m", "how far each finger is from the middle, 0 closed, 0.05 open"),
    part("gripper_velocity", 3, "m a step"),
    part("finger_velocities", 2, "m a step"),
)
HAND, FINGERS, HAND_VELOCITY, FINGER_VELOCITIES = GRIPPER_OBSERVED
OBJECT_OBSERVED = (
    HAND,
    part("object_position", 3, "m", "its centre, world frame"),
    part("object_from_gripper", 3, "m", "object_position minus gripper_position"),
    FINGERS,
    part("object_rotation", 3, "rad", "Euler angles"),
    part("object_velocity", 3, "m a step", "relative to the gripper's"),
    part("object_rotation_velocity", 3, "rad a step"),
    HAND_VELOCITY,
    FINGER_VELOCITIES,
)
MOTION = part("motion", 3, "5 cm", "how far the hand's target moves in this step")
GRIP = part("gripper", 1, "", "-1 opens, 1 closes", scale=-1.0)  # upstream opens with +1, Meta-World closes
LOCKED = part("gripper", 1, "", "without effect: the fingers stay closed", scale=-1.0)

WORDS = {
    "FetchReach": "Bring the gripper to the goal.",
    "FetchPush": "Push the block over the table to the goal.",
    "FetchSlide": "Hit the puck so that it slides over the long table and comes to rest at the goal, out of reach.",
    "FetchPickAndPlace": "Bring the block to the goal, which lies on the table or in the air above it.",
}


def _environment(task: str, reward: str) -> Environment:
    moved = task != "FetchReach"
    return Environment(
        f"gymnasium_robotics:{task}{reward}-v4",
        WORDS[task],
        observation={
            "observation": OBJECT_OBSERVED if moved else GRIPPER_OBSERVED,
            "achieved_goal": None,  # the object's position again, or the gripper's
            "desired_goal": part("goal_position", 3, "m", "world frame"),
        },
        action=[MOTION, GRIP if task == "FetchPickAndPlace" else LOCKED],
        positions=("gripper_position", *(("object_position",) if moved else ()), "goal_position"),
        success="is_success",
        success_when=f"the {'object' if moved else 'gripper'} is within 5 cm of the goal",
        pose=HandTracking("gripper_position", gain=20.0, near=0.01, still="finger_positions"),
        camera={"distance": 1.6 if task != "FetchSlide" else 2.5, "elevation": -25.0},
        marks=lambda env: {"target0": env.goal},
        needs="fetch",
    )


ENVIRONMENTS = [_environment(task, reward) for task in WORDS for reward in ("", "Dense")]
SETS = {"fetch": [f"{task}-v4" for task in WORDS]}  # rewarded when the goal is reached alone
