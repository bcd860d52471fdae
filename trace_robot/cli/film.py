"""``trace-robot render RUN``: what a run's iterations looked like, from the states in the store."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from trace_robot.cli.find import find, iteration_of, runs_folder
from trace_robot.cli.screen import console, write_json
from trace_robot.errors import RunError
from trace_robot.render.job import Clip
from trace_robot.store.history import EpisodeInfo, History, IterationInfo, RunInfo

MOST_TILES = 48


def run(options: argparse.Namespace) -> int:
    from trace_robot.render.video import render, render_picture, render_side_by_side

    history, info = find(options.task, runs_folder(options))
    with history:
        iterations = history.iterations(info)
        sheet = options.contact_sheet
        chosen = _chosen(info, iterations, options)
        path = Path(options.out or (f"{info.name}.png" if sheet else f"{info.name}.mp4"))
        if path.suffix != (".png" if sheet else ".mp4"):
            raise RunError(f"--out must name {'a .png' if sheet else 'an .mp4'} file, got {options.out!r}")
        clips = [clip for each in chosen if (clip := _clip(history, info, each)) is not None]
    if not clips:
        raise RunError(
            f"the run {info.name!r} has no recorded states to draw: its environment has no pictures"
        )
    make = render_picture if sheet else render_side_by_side if options.first_and_best else render
    made = make(clips, path, quality=options.quality)
    if options.json:
        write_json(
            {"file": str(path), "iterations": [each.number for each in chosen], "backend": made.backend}
        )
    else:
        numbers = ", ".join(str(each.number) for each in chosen)
        console(quiet=options.quiet).print(
            f"{escape(str(path))}: iteration {numbers}, {made.frames} frames, drawn with {made.backend}"
        )
    return 0


def _chosen(
    info: RunInfo, iterations: Sequence[IterationInfo], options: argparse.Namespace
) -> list[IterationInfo]:
    best = iteration_of(info, iterations, options.iteration)
    if options.first_and_best:
        return [iterations[0], best]
    if not options.contact_sheet:
        return [best]
    if len(iterations) <= MOST_TILES:
        return list(iterations)
    better = [each for each in iterations if each.better]
    return [iterations[0], *better[-(MOST_TILES - 1) :]]


def _clip(history: History, info: RunInfo, iteration: IterationInfo) -> Clip | None:
    recording = history.recording(info, iteration.number)
    if recording is None or recording.scene is None or recording.states is None:
        return None
    if not Path(recording.scene.model_path).is_file():
        raise RunError(
            f"the model file {recording.scene.model_path!r}, which iteration {iteration.number} of {info.name!r} was"
            " recorded with, is not there; install what the run was made with"
        )
    episode = next(each for each in iteration.episodes if each.seed == recording.seed)
    caption = (f"{info.task}, iteration {iteration.number}", f"condition {episode.seed}")
    return Clip(recording.scene, recording.states, caption, _outcome(episode), episode.success)


def _outcome(episode: EpisodeInfo) -> str:
    if episode.success:
        return f"success after {episode.steps} steps"
    if episode.fault is not None:
        return f"error: {episode.fault['category']}"
    return f"no success in {episode.steps} steps"
