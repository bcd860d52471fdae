"""A sled on a rail that is held until it is freed; its numbers have no names."""

from trace_robot import Environment

from .unseen_parts.stuck_sled import StuckSled

ENVIRONMENTS = [
    Environment(
        "stuck-sled",
        "Free the sled, bring it to the mark and keep it there.",
        make=StuckSled,
        success="success",
        horizon=400,
        facts=("dynamics:",),
    )
]
