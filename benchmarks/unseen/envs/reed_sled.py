"""A sled on two axes that carries an upright reed."""

from trace_robot import Environment, part

from .unseen_parts.reed_sled import ReedSled

ENVIRONMENTS = [
    Environment(
        "reed-sled",
        "Bring the sled to the mark with the reed upright and leave both there at rest.",
        make=ReedSled,
        observation=[
            part("sled_position", 2, "m", "x, y, world frame"),
            part("tip_position", 2, "m", "x, y of the top of the reed, world frame, seen late"),
            part("mark_position", 2, "m", "x, y, world frame"),
        ],
        action=[part("drives", 2, "share of full power", "of the drive along x, of the drive along y")],
        success="success",
        success_when="for 0.8 s the sled is within 1.5 cm of the mark, the tip within 1.2 cm of being above it",
        failure="failed",
        failure_when="the reed bends so far that its tip is more than 8 cm from being above the sled",
        horizon=250,
        facts=("dynamics:",),
    )
]
