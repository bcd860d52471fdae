"""Gymnasium's Box2D tasks with continuous actions: a walker with a lidar, and a lander with two engines.

They need the extra trace-robot[box2d], which draws them too. Both are solved from the return
that gymnasium registers.
"""

from trace_robot import Environment, Part, part

LEGS = ("left", "right")  # gymnasium's first and second; the walker is in the plane


def _leg(name: str) -> list[Part]:
    return [
        part(f"{name}_hip_angle", 1, "rad", "-0.8 to 1.1, positive forwards"),
        part(f"{name}_hip_velocity", 1, "4 rad/s"),
        part(f"{name}_knee_angle", 1, "rad", "-0.6 fully bent to 0.9 straight"),
        part(f"{name}_knee_velocity", 1, "6 rad/s"),
        part(f"{name}_contact", 1, "", "1 while the foot is on the ground, else 0"),
    ]


def _walker(name: str, ground: str) -> Environment:
    """Declare the walker on one kind of ground.

    Args:
        name: its id.
        ground: what it walks over, as text.
    """
    return Environment(
        name,
        f"Walk to the right over {ground} to its end, on two legs with hips and knees, without falling. The way gives"
        " 300 in all, torque costs a little, a hull that is not level costs while it tilts, and a fall costs 100.",
        make="box2d_parts/walker.py:make",
        arguments={"name": name},
        observation=[
            part("hull_angle", 1, "rad", "0 level, positive tilts back"),
            part("hull_velocity", 1, "25 rad/s"),
            part("forward_velocity", 1, "8.33 m/s"),
            part("vertical_velocity", 1, "12.5 m/s"),
            *(each for leg in LEGS for each in _leg(leg)),
            part(
                "lidar",
                10,
                "",
                "share of its range to the ground: first straight down, last 1.5 rad ahead of that",
            ),
        ],
        action=[
            part(f"{leg}_{joint}", 1, "80 N m", "its sign is the direction of the motor, its size the torque")
            for leg in LEGS
            for joint in ("hip", "knee")
        ],
        failure_when="the hull touches the ground, or the walker goes back beyond its start",
        horizon=2000 if "Hardcore" in name else 1600,
        needs="box2d",
    )


ENVIRONMENTS = [
    _walker("BipedalWalker-v3", "slightly uneven ground"),
    _walker("BipedalWalkerHardcore-v3", "ladders, stumps and pitfalls"),
    Environment(
        "LunarLanderContinuous-v3",
        "Land on the pad at 0, 0, upright and slowly, on both legs. Coming closer, slowing down and leveling give up to"
        " about 140, each leg on the ground 10, coming to rest 100; a crash costs 100, fuel costs a little.",
        observation=[
            part("x", 1, "10 m", "from the middle of the pad, positive to the right"),
            part("y", 1, "6.67 m", "above the height at which the legs stand on the pad"),
            part("x_velocity", 1, "5 m/s"),
            part("y_velocity", 1, "7.5 m/s"),
            part("angle", 1, "rad", "0 upright, positive leans to the left"),
            part("angular_velocity", 1, "2.5 rad/s"),
            # Measured: the leg that gymnasium lists first, and calls the left one, is on the right.
            part("right_contact", 1, "", "1 while the right leg is on the ground, else 0"),
            part("left_contact", 1, "", "likewise for the left leg"),
        ],
        action=[
            part("main_engine", 1, "", "off up to 0; above it from half power to full power at 1"),
            part("side_engine", 1, "", "above 0.5 pushes and turns to the right, below -0.5 to the left, else off"),
        ],
        failure_when="the lander crashes, or leaves the picture sideways",
        needs="box2d",
    ),
]  # fmt: skip
SETS = {"box2d": [declared.env_name for declared in ENVIRONMENTS if "Hardcore" not in declared.env_name]}
