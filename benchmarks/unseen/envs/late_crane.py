"""A crane with a swinging load that is seen late."""

from trace_robot import Environment, part

from .unseen_parts.late_crane import LateCrane

ENVIRONMENTS = [
    Environment(
        "late-crane",
        "Lower the load into the pit and leave it there at rest.",
        make=LateCrane,
        observation=[
            part(
                "trolley_position",
                2,
                "m",
                "x, y, world frame, 120 ms late; the rope hangs 1.6 m above the floor",
            ),
            part("rope_length", 1, "m", "from the trolley to the middle of the load, 120 ms late"),
            part("load_position", 3, "m", "middle of the load, world frame, 120 ms late"),
            part(
                "pit_position",
                2,
                "m",
                "x, y of its middle, world frame; 12 cm wide, its rim 15 cm above the floor",
            ),
        ],
        action=[
            part("trolley_velocity", 2, "m/s", "along x, y"),
            part("rope_velocity", 1, "m/s", "positive lengthens"),
        ],
        success="success",
        success_when="for 0.4 s the load, 8 cm wide, stands on the floor of the pit, slower than 2 cm/s",
        horizon=280,
        facts=("dynamics:",),
    )
]
