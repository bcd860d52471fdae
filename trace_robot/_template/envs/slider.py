"""A cart on a rail that must stop at a mark."""

from trace_robot import Environment, part

from .slider_parts.simulation import Slider

ENVIRONMENTS = [
    Environment(
        "slider",
        "Bring the cart to the mark on the rail and stop there.",
        make=Slider,
        observation=[
            part("position", 1, "m", "of the cart, 0 in the middle"),
            part("velocity", 1, "m/s"),
            part("mark", 1, "m", "where it must stop"),
        ],
        action=[part("force", 1, "N", "along the rail")],
        success="stopped",
        success_when="the cart is within 2 cm of the mark and slower than 5 cm/s",
        horizon=150,
        camera={"distance": 2.6, "azimuth": 90.0, "elevation": -20.0},
    )
]
