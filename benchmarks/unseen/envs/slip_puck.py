"""A fingertip that drags a slippery puck by pressing on it from above."""

from trace_robot import Environment, part

from .unseen_parts.slip_puck import SlipPuck

ENVIRONMENTS = [
    Environment(
        "slip-puck",
        "Bring the puck to the mark and leave it there at rest, the fingertip clear of it.",
        make=SlipPuck,
        observation=[
            part("tip_position", 2, "m", "x, y of the fingertip, a ball"),
            part("tip_height", 1, "m", "of the lowest point of the fingertip above the table"),
            part("puck_position", 2, "m", "x, y of the middle of the puck, 9 cm wide and 1.2 cm high"),
            part("puck_yaw", 1, "rad"),
            part("mark_position", 2, "m", "x, y on the table"),
        ],
        action=[part("tip_force", 3, "N", "on the fingertip along x, y, z; its weight is compensated")],
        success="success",
        success_when="for 0.2 s the puck is within 1.2 cm of the mark, slower than 1 cm/s and not touched",
        horizon=400,
        facts=("dynamics:",),
    )
]
