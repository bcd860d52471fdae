"""A hand of twenty joints that turns a knob; its numbers have no names."""

from trace_robot import Environment

from .unseen_parts.knob_hand import KnobHand

ENVIRONMENTS = [
    Environment(
        "knob-hand",
        "Turn the knob by the wanted angle and hold it there.",
        make=KnobHand,
        success="success",
        horizon=400,
        facts=("dynamics:",),
    )
]
