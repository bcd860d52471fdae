"""Two hands that lift a tray and keep it level."""

from trace_robot import Environment, part

from .robots_parts.tray_hands import TrayHands

ENVIRONMENTS = [
    Environment(
        "tray-hands",
        "Take the tray by its two handles and lift it to the height, level all the time.",
        make=TrayHands,
        observation=[
            part("left_hand", 3, "m", "between the fingertips, world frame"),
            part("left_opening", 1, "m", "between the fingers, 0 closed, 0.08 open"),
            part("right_hand", 3, "m", "between the fingertips, world frame"),
            part("right_opening", 1, "m"),
            part("left_handle", 3, "m", "world frame"),
            part("right_handle", 3, "m", "world frame"),
            part("tray_tilt", 2, "rad", "about x and about y"),
            part("height", 1, "m", "where the tray must be"),
        ],
        action=[
            part("left_velocity", 3, "m/s", "along x, y, z"),
            part("left_fingers", 1, "", "-1 open, 1 close"),
            part("right_velocity", 3, "m/s", "along x, y, z"),
            part("right_fingers", 1, "", "-1 open, 1 close"),
        ],
        success="success",
        success_when="the tray is within 2 cm of the height and level to 5 degrees for half a second",
        failure="failed",
        failure_when="the tray tilts by more than 0.5 rad",
        horizon=250,
    )
]
