"""A rotor on a soft bench; its numbers have no names."""

from trace_robot import Environment

from .unseen_parts.hum_rotor import HumRotor

ENVIRONMENTS = [
    Environment(
        "hum-rotor",
        "Bring the rotor to the wanted speed and keep it there while the bench is calm.",
        make=HumRotor,
        success="success",
        horizon=400,
        facts=(),
    )
]
