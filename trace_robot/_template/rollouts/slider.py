"""Tunes the numbers of policies/slider.py: the command ``trace-robot optimize`` from Python."""

from trace_robot import optimize

result = optimize(
    "slider",
    policy="slider",
    optimizer="cma",
    seconds=20.0,
    held_out=20,
    video=False,
    out="rollouts/runs/from_python",
    overwrite=True,
)
print(
    f"success on held-out conditions: {result.held_out_success:.2f}; at the start: {result.start_success:.2f}"
)
