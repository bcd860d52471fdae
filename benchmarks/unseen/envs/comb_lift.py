"""Eight rods and eight drives; its numbers have no names."""

from trace_robot import Environment

from .unseen_parts.comb_lift import CombLift

ENVIRONMENTS = [
    Environment(
        "comb-lift",
        "Bring the rods to their wanted heights, those of the front row first, then all of them at once.",
        make=CombLift,
        success="success",
        horizon=400,
        facts=(),
    )
]
