"""Tunes the numbers of policies/slider.py: the command ``trace-robot optimize`` from Python."""

from pathlib import Path

from trace_robot.run.optimize import Settings, optimize

settings = Settings("slider", "slider", optimizer="cma", seconds=20.0, episodes=5, held_out=20, video=False)
result = optimize(settings, Path("rollouts/runs/from_python"), overwrite=True)
print(
    f"success on held-out conditions: {result.held_out_success:.2f}; at the start: {result.start_success:.2f}"
)
