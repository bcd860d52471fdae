"""A hopper on a rail with a spring and one servo; its numbers have no names."""

from trace_robot import Environment

from .unseen_parts.spring_hop import SpringHop

ENVIRONMENTS = [
    Environment(
        "spring-hop",
        "Hop so that three tops of the flight in a row are within 2 cm of the wanted height.",
        make=SpringHop,
        success="success",
        horizon=400,
        facts=("dynamics:",),
    )
]
