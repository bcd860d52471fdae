"""``trace-robot optimize``."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from trace_robot.cli.find import name_of
from trace_robot.cli.interrupt import INTERRUPTED, interruptible
from trace_robot.cli.options.shared import environment_options
from trace_robot.cli.screen import Screen, console, write_json
from trace_robot.errors import (
    ReplayMismatchError,
    ReplyError,
    RunError,
    TraceRobotError,
    ValueMismatchError,
)
from trace_robot.llm import Budget, Prices
from trace_robot.optimizers.optoprime import NO_REPLY
from trace_robot.run.optimize import first_prompt, optimize
from trace_robot.run.optimizers import Chosen, choose
from trace_robot.settings import Result, Settings

BELOW = 3  # exit code where --require asked for more


def run(options: argparse.Namespace) -> int:
    settings = Settings(
        task=options.task, policy=options.policy, optimizer=options.optimizer, iterations=options.iterations,
        episodes=options.episodes, seed=options.seed, workers=options.workers, backend=options.backend,
        address=options.address, control=options.control,
        held_out=options.held_out, feedback=options.feedback, seconds=options.seconds, steps=options.steps,
        tune=not options.no_tune, video=not options.no_video, trusted=options.trust,
        options=environment_options(options),
    )  # fmt: skip
    if options.money is not None and options.prices is None:
        raise ValueMismatchError("--money needs --prices, which say what a token costs")
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
        budget=Budget(calls=options.calls, tokens=options.tokens, money=options.money),
        prices=None if options.prices is None else Prices(*options.prices),
    )
    return conduct(chosen, options, name=options.task)


def conduct(chosen: Chosen, options: argparse.Namespace, *, name: str) -> int:
    """Run what was chosen and show it; ``name`` is part of the folder's name where none is given."""
    out = Path(options.out) if options.out else _default_folder(name)
    screen = _screen(options, chosen.why, chosen.settings)

    def begin() -> Result:
        return optimize(chosen.settings, out, chosen=chosen, overwrite=options.overwrite, observe=screen.show)

    return watch(begin, screen, options, out)


def watch(go: Callable[[], Result], screen: Screen, options: argparse.Namespace, out: Path) -> int:
    """Let a run go on to its end, show it, and say how to take it up again if it does not come to it."""
    again = f"go on with: trace-robot resume {shlex.quote(name_of(out))}"
    try:
        with interruptible(f"stopped; {again}"), screen:
            result = go()
    except KeyboardInterrupt:
        best = f"; the best controller so far: {out / 'best.py'}" if (out / "best.py").is_file() else ""
        said = f"{again}{best}" if screen.began else "before it began"
        sys.stderr.write(f"trace-robot: stopped; {said}\n")
        return INTERRUPTED
    except TraceRobotError as error:
        if not screen.began or isinstance(error, ReplayMismatchError):
            raise
        raise RunError(f"{str(error).rstrip('.')}; then {again}") from error
    if options.json:
        write_json(asdict(result))
    elif options.quiet:
        console().print(f"{result.held_out_success:.2f} {out / 'best.py'}", markup=False)
    if result.ended.startswith(NO_REPLY):
        asked = out / "attempts.json"
        raise ReplyError(f"the model gave {result.ended}; see {asked}, or try another --model")
    wanted = getattr(options, "require", None)
    if wanted is not None and result.held_out_success < wanted:
        sys.stderr.write(f"trace-robot: held-out success {result.held_out_success:.2f} is below {wanted:g}\n")
        return BELOW
    return 0


def _screen(options: argparse.Namespace, why: str, settings: Settings) -> Screen:
    return Screen(console(quiet=options.quiet, json=options.json), why=why, seconds=settings.seconds)


def _default_folder(name: str) -> Path:
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
    return Path("rollouts") / "runs" / f"{safe}-{time.strftime('%Y%m%d-%H%M%S')}"
