"""An arm of six joints with two fingers that puts a cube on a disk."""

from trace_robot import Environment, part

from .robots_parts.cube_arm import CubeArm

ENVIRONMENTS = [
    Environment(
        "cube-arm",
        "Pick the cube up, put it on the disk and let it go.",
        make=CubeArm,
        observation=[
            part("joint_angles", 6, "rad", "from the base to the hand"),
            part("opening", 1, "m", "between the fingers, 0 closed, 0.08 open"),
            part("hand_position", 3, "m", "between the fingertips, world frame"),
            part("cube_position", 3, "m", "world frame"),
            part("cube_quaternion", 4, "", "w, x, y, z"),
            part("disk_position", 3, "m", "the middle of its upper face, world frame"),
        ],
        action=[
            part("joint_increments", 6, "rad", "from the base to the hand"),
            part("fingers", 1, "", "-1 open, 1 close"),
        ],
        success="success",
        success_when="the cube lies on the disk, the fingers do not touch it, and it is at rest",
        horizon=250,
    )
]
