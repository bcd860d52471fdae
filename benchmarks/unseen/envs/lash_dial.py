"""A dial behind a gear that is not seen, but for two marks."""

from trace_robot import Environment, part

from .unseen_parts.lash_dial import LashDial

ENVIRONMENTS = [
    Environment(
        "lash-dial",
        "Turn the dial so that it rests at the first wanted angle, then so that it rests at the second one.",
        make=LashDial,
        observation=[
            part("motor_angle", 1, "rad", "counterclockwise positive, 0 at the start"),
            part("motor_torque", 1, "N m", "of the motor on the gear"),
            part(
                "mark",
                1,
                "1",
                "1 while the index mark is at the reader, 2 while the second mark is, 2.2 rad on",
            ),
            part(
                "wanted_angle",
                1,
                "rad",
                "of the dial, counterclockwise, 0 where the index mark is at the reader",
            ),
            part("rested", 1, "1", "how many wanted angles the dial has rested at"),
        ],
        action=[
            part("motor_rate", 1, "rad/s", "counterclockwise positive; the gear is a reduction to the dial")
        ],
        success="success",
        success_when="for 0.4 s each the dial has rested within 0.04 rad of the first, then of the second wanted angle",
        horizon=400,
        facts=("dynamics:", "joint dial:", "body dial:", "joint motor:"),
    )
]
