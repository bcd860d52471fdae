"""A fingertip that drags a slippery puck by pressing on it from above."""

from trace_robot import Environment, part

from .unseen_parts.slip_puck import SlipPuck

ENVIRONMENTS = [
    Environment(
        "slip-puck",
        "Bring the puck to the mark and leave it there at rest, the fingertip clear of it.",
        make=SlipPuck,
        observation=[
            part("tip_position", 3, "m", "lowest point of the fingertip, a ball; world frame, the table is at z = 0"),
            part("puck_position", 3, "m", "middle of the puck's upper face, world frame"),
            part("puck_yaw", 1, "rad"),
            part("mark_position", 2, "m", "x, y on the table, world frame"),
        ],
        action=[part("tip_force", 3, "N", "on the fingertip along x, y, z; its weight is compensated")],
        success="success",
        success_when="for 0.2 s the puck is within 1.2 cm of the mark, slower than 1 cm/s and not touched",
        horizon=400,
    )
]
