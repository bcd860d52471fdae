"""panda-gym's Franka arm in PyBullet: reach, push, slide, pick and place, stack.

They need the extra trace-robot[panda], or another interpreter with panda-gym (``--python``). The gripper's center is
moved, not the joints. Their sparse reward is -1 a step until the goal is reached.
"""

from trace_robot import Environment, Hand, Part, part

HAND = part("gripper_position", 3, "m", "between the fingers, world frame; the table's top is at z 0")
HAND_VELOCITY = part("gripper_velocity", 3, "m/s")
FINGERS = part("finger_width", 1, "m", "between the fingers, 0 closed, 0.08 open; closed at the start")
MOTION = part("motion", 3, "5 cm", "where the gripper is sent in this step, from where it is")
GRIP = part("gripper", 1, "20 cm", "how far the fingers are sent apart in this step: 1 opens, -1 closes")

WORDS = {
    "Reach": "Bring the gripper to the goal.",
    "Push": "Push the cube over the table to the goal.",
    "Slide": "Hit the puck so that it slides over the table and comes to rest at the goal, out of reach.",
    "PickAndPlace": "Bring the cube to the goal, which lies on the table or in the air above it.",
    "Stack": "Bring block 1 to its goal on the table, and put block 2 on top of it.",
}
THINGS = {"Reach": (), "Stack": ("object1", "object2")}
GRIPS = ("PickAndPlace", "Stack")  # the others keep the fingers closed
STACKED = (
    "the root of the summed squares of both blocks' distances to their goals is less than 10 cm, which block 2 meets on"
    " the table as well, close beside block 1"
)


def _observed(thing: str) -> tuple[Part, ...]:
    return (
        part(f"{thing}_position", 3, "m", "its center, world frame"),
        part(f"{thing}_rotation", 3, "rad", "Euler angles"),
        part(f"{thing}_velocity", 3, "m/s"),
        part(f"{thing}_rotation_velocity", 3, "rad/s"),
    )


def _environment(task: str) -> Environment:
    things, grips = THINGS.get(task, ("object",)), task in GRIPS
    goals = tuple(thing.replace("object", "goal") + "_position" for thing in things or ("object",))
    moved = "object" if things else "gripper"
    return Environment(
        f"Panda{task}-v3",
        WORDS[task],
        make="panda_gym_parts/simulator.py:make",
        arguments={"name": f"Panda{task}-v3"},
        observation={
            "observation": (
                HAND,
                HAND_VELOCITY,
                *((FINGERS,) if grips else ()),
                *(observed for thing in things for observed in _observed(thing)),
            ),
            "achieved_goal": None,  # the objects' positions again, or the gripper's
            "desired_goal": tuple(part(goal, 3, "m", "world frame") for goal in goals),
        },
        action=[MOTION, GRIP] if grips else [MOTION],
        positions=("gripper_position", *(f"{thing}_position" for thing in things), *goals),
        hands=[Hand("gripper_position", motion="motion", gripper="gripper" if grips else "", opens=1)],
        success="is_success",
        success_when=STACKED if task == "Stack" else f"the {moved} is within 5 cm of the goal",
        horizon=100 if task == "Stack" else 50,
        needs="panda",
    )


ENVIRONMENTS = [_environment(task) for task in WORDS]
