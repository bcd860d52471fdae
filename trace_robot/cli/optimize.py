"""``trace-robot optimize``."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path

from trace_robot.choice import Chosen, choose
from trace_robot.cli.options.shared import environment_options
from trace_robot.cli.screen import Screen, console, write_json
from trace_robot.errors import ReplyError
from trace_robot.llm import Budget
from trace_robot.loop import first_prompt, optimize
from trace_robot.optimize.optoprime import NO_REPLY
from trace_robot.settings import Settings


def run(options: argparse.Namespace) -> int:
    settings = Settings(
        task=options.task, policy=options.policy, optimizer=options.optimizer, iterations=options.iterations,
        episodes=options.episodes, seed=options.seed, workers=options.workers, backend=options.backend,
        address=options.address, control=options.control,
        held_out=options.held_out, feedback=options.feedback, seconds=options.seconds, steps=options.steps,
        tune=not options.no_tune, video=not options.no_video, trusted=options.trust,
        options=environment_options(options),
    )  # fmt: skip
    if options.dry_run:
        console().print(first_prompt(settings), markup=False)
        return 0
    chosen = choose(
        settings,
        model=options.model,
        base_url=options.base_url,
        record=options.record,
        replay=options.replay,
        retries=options.retries,
        proposals=options.proposals,
        budget=Budget(calls=options.calls, tokens=options.tokens),
    )
    return conduct(chosen, options, name=options.task)


def conduct(chosen: Chosen, options: argparse.Namespace, *, name: str) -> int:
    """Run what was chosen and show it; ``name`` is part of the folder's name where none is given."""
    out = Path(options.out) if options.out else _default_folder(name)
    screen = Screen(
        console(quiet=options.quiet, json=options.json), why=chosen.why, seconds=chosen.settings.seconds
    )
    with screen:
        result = optimize(
            chosen.settings, out, make_optimizer=chosen.make, usage=chosen.usage, overwrite=options.overwrite,
            observe=screen.show,
        )  # fmt: skip
    if options.json:
        write_json(asdict(result))
    elif options.quiet:
        console().print(f"{result.held_out_success:.2f} {out / 'best.py'}")
    if result.ended.startswith(NO_REPLY):
        asked = out / "attempts.json"
        raise ReplyError(f"the model gave {result.ended}; see {asked}, or try another --model")
    return 0


def _default_folder(name: str) -> Path:
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
    return Path("rollouts") / "runs" / f"{safe}-{time.strftime('%Y%m%d-%H%M%S')}"
