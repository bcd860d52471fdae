"""``trace-robot render``."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.markup import escape

from trace_robot.cli.options.shared import environment_options
from trace_robot.cli.screen import console, write_json
from trace_robot.errors import RunError
from trace_robot.policy import load_policy
from trace_robot.rollout.evaluate import evaluate


def run(options: argparse.Namespace) -> int:
    from trace_robot.render.video import clip_of, render

    if options.policy is None:
        from trace_robot.cli.film import run as render_run

        return render_run(options)
    if options.first_and_best or options.contact_sheet or options.iteration is not None:
        raise RunError(
            "--iteration, --first-and-best and --contact-sheet are for a run, which has no --policy"
        )
    out = console(quiet=options.quiet, json=options.json)
    path = Path(options.out or "episode.mp4")
    if path.suffix != ".mp4":
        raise RunError(f"--out must name an .mp4 file, got {options.out!r}")
    report = evaluate(
        options.task, load_policy(options.policy), episodes=options.episodes, seed=options.seed,
        control=options.control, workers=options.workers, trusted=options.trust, keep_states=True,
        options=environment_options(options),
    )  # fmt: skip
    caption = f"{options.task}, {report.policy}"
    shown = [episode for episode in report.episodes if episode.states is not None and len(episode.states)]
    clips = [clip_of(episode, caption, f"condition {episode.seed}") for episode in shown]
    info = render(clips, path, quality=options.quality)
    if options.json:
        write_json(
            {"video": str(path), "success": report.success, "frames": info.frames, "backend": info.backend}
        )
    else:
        made = f"{len(clips)} episodes, success {report.success:.2f}, {info.frames} frames, drawn with {info.backend}"
        out.print(f"{escape(str(path))}: {made}")
    return 0
