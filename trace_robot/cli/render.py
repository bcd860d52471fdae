"""Videos: ``render`` new episodes, or the ``video`` of a run's recorded ones."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trace_robot.cli.arguments import (
    add_control,
    add_environment,
    add_episodes,
    add_output,
    add_run,
    add_workers,
    environment_options,
    non_negative_integer,
)
from trace_robot.cli.console import console, counted, escape, write_json
from trace_robot.cli.parser import Commands, add_command
from trace_robot.cli.runs import find_run, runs_folder, select_iteration
from trace_robot.errors import RenderError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from trace_robot.bench.stress import StressReport
    from trace_robot.render.job import Clip, VideoInfo
    from trace_robot.store.history import EpisodeInfo, History, IterationInfo, RunInfo

# Tiles of a contact sheet. Of a longer run the first iteration and the latest improvements are drawn.
MAX_TILES = 48


def add_render(commands: Commands) -> None:
    """Add ``render``."""
    command = add_command(
        commands,
        "render",
        "roll out a controller and make a video of its episodes",
        "Roll out a controller and make a video of its episodes, one after the other. Of episodes that a run has\n"
        "recorded: trace-robot video RUN.",
        examples=[
            (
                "trace-robot render reach-v3 --policy zoo/reach_v3 --out reach.mp4",
                "a new episode of a controller",
            ),
        ],
    )
    command.set_defaults(execute=execute_render)
    add_environment(command)
    command.add_argument("--policy", metavar="NAME|FILE", help="the controller (required)")
    add_episodes(command, 1, "episodes to show, one after the other")
    add_control(command)
    add_workers(command)
    command.add_argument("--out", metavar="FILE", help="an .mp4 file (default episode.mp4)")
    _add_quality(command)
    add_output(command)


def _add_quality(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--quality",
        choices=("fast", "high"),
        default="fast",
        help="high: larger, with shadows (default fast)",
    )


def execute_render(options: argparse.Namespace) -> int:
    """Roll out a controller on held-out conditions and draw its episodes."""
    from trace_robot.policy import load_policy
    from trace_robot.render.video import clip_of, render
    from trace_robot.rollout.evaluate import evaluate

    if options.policy is None:
        raise UsageError(f"render {options.task} needs --policy NAME|FILE; for a run: trace-robot video RUN")
    path = _output_path(options.out or "episode.mp4", ".mp4")  # refused before anything is rolled out
    report = evaluate(
        options.task,
        load_policy(options.policy),
        episodes=options.episodes,
        seed=options.seed,
        control=options.control,
        workers=options.workers,
        trusted=options.trust,
        keep_states=True,
        options=environment_options(options),
    )
    caption = f"{options.task}, {report.policy}"
    # An environment without a model that can be drawn records no states.
    recorded = [episode for episode in report.episodes if episode.states is not None and len(episode.states)]
    clips = [
        clip_of(episode, caption, f"condition {episode.seed}", measure=report.measure) for episode in recorded
    ]
    info = render(clips, path, quality=options.quality)
    if options.json:
        write_json(
            {"video": str(path), "success": report.success, "frames": info.frames, "backend": info.backend}
        )
    else:
        score = report.score.brief
        score = score if score.startswith("return") else f"success {score}"
        summary = f"{counted(len(clips), 'episode')}, {score}, {counted(info.frames, 'frame')}"
        out = console(quiet=options.quiet)
        out.print(f"{escape(str(path))}: {summary}; drawn by {info.backend}")
        _print_notes(out, info)
    return 0


def add_video(commands: Commands) -> None:
    """Add ``video``, which 0.1.0 spelled ``render RUN``."""
    command = add_command(
        commands,
        "video",
        "make a video of episodes that a run recorded",
        "Make a video, or a picture, of episodes that a run recorded; nothing is rolled out again.",
        examples=[
            ("trace-robot video demo --first-and-best", "before and after, side by side"),
            (
                "trace-robot video demo --contact-sheet --out demo.png",
                "the end of every iteration in one picture",
            ),
        ],
    )
    command.set_defaults(execute=execute_video)
    add_run(command)
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--iteration", type=non_negative_integer, metavar="I", help="this one (default: the best)"
    )
    which.add_argument("--first-and-best", action="store_true", help="both, side by side")
    which.add_argument("--contact-sheet", action="store_true", help="the end of every iteration, a .png")
    command.add_argument("--out", metavar="FILE", help="default RUN.mp4, or RUN.png for a contact sheet")
    _add_quality(command)
    add_output(command)


def execute_video(options: argparse.Namespace) -> int:
    """Draw recorded episodes of a run from the simulator states in its store."""
    from trace_robot.render.video import render, render_picture, render_side_by_side

    sheet, suffix = options.contact_sheet, ".png" if options.contact_sheet else ".mp4"
    history, run = find_run(options.run, runs_folder(options))
    with history:
        iterations = _select_iterations(run, history.iterations(run), options)
        path = _output_path(options.out or f"{run.name}{suffix}", suffix)
        before = history.before(run)[:1] if options.first_and_best and iterations[1].number else ()
        clips = [
            clip for each in iterations if (clip := _recorded_clip(history, run, each, before)) is not None
        ]
    if not clips:
        raise RenderError(
            f"the run {run.name!r} has no recorded states to draw: its environment has no pictures"
        )
    draw = render_picture if sheet else render_side_by_side if options.first_and_best else render
    info = draw(clips, path, quality=options.quality)
    numbers = [iteration.number for iteration in iterations]
    if options.json:
        write_json({"file": str(path), "iterations": numbers, "backend": info.backend})
    else:
        summary = f"iteration{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
        if not sheet:
            summary += f"; {counted(info.frames, 'frame')}"
        out = console(quiet=options.quiet)
        out.print(f"{escape(str(path))}: {summary}; drawn by {info.backend}")
        _print_notes(out, info)
    return 0


def _print_notes(out: Console, info: VideoInfo) -> None:
    for note in info.notes:
        out.print(f"note: {escape(note)}", style="dim")


def _output_path(text: str, suffix: str) -> Path:
    path = Path(text)
    if path.suffix != suffix:
        article = "an" if suffix == ".mp4" else "a"
        raise UsageError(f"--out must name {article} {suffix} file, got {text!r}")
    return path


def _select_iterations(
    run: RunInfo, iterations: Sequence[IterationInfo], options: argparse.Namespace
) -> list[IterationInfo]:
    best = select_iteration(run, iterations, options.iteration)
    if options.first_and_best:
        return [iterations[0], best]
    if not options.contact_sheet:
        return [best]
    if len(iterations) <= MAX_TILES:
        return list(iterations)
    better = [iteration for iteration in iterations if iteration.better]
    return [iterations[0], *better[-(MAX_TILES - 1) :]]


def _recorded_clip(
    history: History, run: RunInfo, iteration: IterationInfo, before: Sequence[EpisodeInfo] = ()
) -> Clip | None:
    """Return the clip of an iteration's recording, None without one.

    Args:
        history: the open store.
        run: one of its runs.
        iteration: of the run.
        before: in place of the start's own episode, one on the condition of the best, for iteration 0.
    """
    from trace_robot.render.job import Clip, outcome_of, require_own_scene
    from trace_robot.run.person import chosen_python
    from trace_robot.store.records import BEFORE

    other = bool(before) and iteration.number == 0
    recording = history.recording(run, BEFORE if other else iteration.number)
    if recording is None or recording.scene is None or recording.states is None:
        return None
    # The store holds simulator states, not the model: a run is drawn with the files that it ran with.
    require_own_scene(recording.scene, chosen_python(history, run))
    episodes = before if other else iteration.episodes
    episode = next((each for each in episodes if each.seed == recording.seed), None)
    if episode is None:
        raise RenderError(
            f"the recording of iteration {iteration.number} of {run.name!r} is of condition {recording.seed}, which it"
            " has no episode of; the store is damaged"
        )
    caption = (f"{run.task}, iteration {iteration.number}", f"condition {episode.seed}")
    category = episode.fault["category"] if episode.fault else None
    measure = run.start.measure if run.start else "success"
    outcome, success = outcome_of(episode.ended, episode.steps, episode.reward, category, measure)
    return Clip(recording.scene, recording.states, caption, outcome, success)


def draw_failures(report: StressReport, folder: Path, *, numbered: bool = False) -> dict[int, Path]:
    """Draw the typical failure of each world, and return the videos by row.

    Args:
        report: of ``stress``, with the states of its episodes.
        folder: to write into.
        numbered: a file is called by its row alone, else also by the task and the world.
    """
    from trace_robot.render.video import clip_of, render

    paths = {}
    for number, row in enumerate(report.rows):
        episode = row.typical_failure
        if episode is None or episode.states is None or not len(episode.states):
            continue
        whole = f"{_file_name(report.task)}-{number:02d}-{_file_name(row.setting.name)}"
        name = f"{number:02d}" if numbered else whole
        paths[number] = folder / f"{name}.mp4"
        clip = clip_of(episode, f"{report.task}, {row.setting.name}", f"condition {episode.seed}")
        render([clip], paths[number])
    return paths


def _file_name(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text)[:40]
