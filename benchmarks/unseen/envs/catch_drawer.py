"""A drawer that is pushed to unlatch, and a hook with play that pushes and pulls it."""

from trace_robot import Environment, part

from .unseen_parts.catch_drawer import CatchDrawer

ENVIRONMENTS = [
    Environment(
        "catch-drawer",
        "Open the drawer, which has a push latch, as far as wanted, and leave it there at rest.",
        make=CatchDrawer,
        observation=[
            part("hook_position", 1, "m", "along the way of the drawer, positive outwards"),
            part("gauge_force", 1, "N", "of the hook on the drawer, positive outwards"),
            part("drawer_position", 1, "m", "0 where it is latched, positive outwards"),
            part("wanted_position", 1, "m", "of the drawer"),
        ],
        action=[part("hook_force", 1, "N", "on the hook, positive outwards")],
        success="success",
        success_when="for 0.4 s the drawer is within 8 mm of the wanted position, slower than 1 cm/s",
        failure="failed",
        failure_when="the latch breaks, as it is pushed too hard",
        horizon=400,
        facts=("dynamics:", "joint drawer:", "body drawer:"),
    )
]
