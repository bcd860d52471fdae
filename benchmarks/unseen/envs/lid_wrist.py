"""A wrist of little range that unscrews a lid and lifts it."""

from trace_robot import Environment, part

from .unseen_parts.lid_wrist import LidWrist

ENVIRONMENTS = [
    Environment(
        "lid-wrist",
        "Unscrew the child-proof lid, counterclockwise from above, and lift it off the jar.",
        make=LidWrist,
        observation=[
            part("hand_height", 1, "m", "of the pad in the palm"),
            part("wrist_angle", 1, "rad", "-0.6 to 0.6, counterclockwise from above positive"),
            part("opening", 1, "m", "of the three fingers beside the closed lid's rim, 0.03 at most"),
            part("press_force", 1, "N", "of the pad on the lid"),
            part("lid_height", 1, "m", "of its upper face, 0.14 when screwed on"),
            part(
                "lid_angle",
                1,
                "rad",
                "since the start; the thread is 2 to 4.5 rad long",
            ),
        ],
        action=[
            part("hand_velocity", 1, "m/s", "upwards; up to 40 N"),
            part("wrist_rate", 1, "rad/s", "counterclockwise from above positive"),
            part("finger_force", 1, "N", "of each finger; positive closes, negative opens"),
        ],
        success="success",
        success_when="for 0.4 s the lid is 5 cm or more above where it was screwed on",
        failure="failed",
        failure_when="the jar breaks, as the pad presses by more than 18 N",
        horizon=400,
        facts=("dynamics:",),
    )
]
