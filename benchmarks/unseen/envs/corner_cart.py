"""A cart on two wheels that pushes a box around the corner of a wall."""

from trace_robot import Environment, part

from .unseen_parts.corner_cart import CornerCart

ENVIRONMENTS = [
    Environment(
        "corner-cart",
        "Push the box around the corner of the wall onto the mark and leave it there.",
        make=CornerCart,
        observation=[
            part("cart_position", 2, "m", "x, y between the wheels; the two bumpers are 14 cm before it"),
            part("cart_yaw", 1, "rad", "0: it looks along x"),
            part("box_position", 2, "m", "x, y of the middle of the box, 20 cm wide and deep"),
            part("box_yaw", 1, "rad", "-pi/4 to pi/4, as its four sides look the same"),
            part(
                "corner_position",
                2,
                "m",
                "x, y; the wall is at smaller x and larger |y|, another at |y| = 0.55 on the other side",
            ),
            part("mark_position", 2, "m", "x, y"),
        ],
        action=[part("wheel_speeds", 2, "rad/s", "left, right; radius 5 cm, 20 cm apart")],
        success="success",
        success_when="for 0.5 s the box is within 3 cm of the mark, slower than 2 cm/s and not touched by the cart",
        horizon=400,
        facts=("dynamics:",),
    )
]
