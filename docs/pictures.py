"""Draw the README's picture: ``python docs/pictures.py rollouts/runs/demo docs/images/rewrite.png``."""

from __future__ import annotations

import argparse
from pathlib import Path

from trace_robot import evaluate
from trace_robot.policy import load_policy
from trace_robot.render.video import clip_of, render_picture
from trace_robot.store.folder import read_result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument("out", type=Path, help="the PNG to write")
    options = parser.parse_args()
    result = read_result(options.run)
    task, episodes = result["task"], result["held_out_episodes"]
    clips = []
    for when, file in (("before", "iterations/000/controller.py"), ("after", "best.py")):
        report = evaluate(
            task, load_policy(options.run / file), episodes=episodes, seed=result["seed"], keep_states=True
        )
        caption = f"{task}, {when}: success {report.success:.2f} of {episodes}"
        clips.append(clip_of(report.episodes[0], caption))
    render_picture(clips, options.out, moments=(0.0, 0.35, 0.7, 1.0), size=(320, 240), quality="high")


if __name__ == "__main__":
    main()
