"""Command lines of a run, as a person types them: to repeat it, and to go on from it.

What a page or a terminal shows is copied into a shell, and settings may be a stranger's: every word is quoted.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trace_robot.settings import AGENT, DEFAULTS, Defaults, Settings

if TYPE_CHECKING:
    from trace_robot.store.records import RunInfo

OFFICIAL = "api.openai.com"  # the default, which needs no option
BUDGETS = {  # why a run ended that spent it, stored so since 0.1.0
    "iterations": "{amount} iteration{s} done",
    "seconds": "{amount:g} seconds spent",
    "steps": "{amount} simulator step{s} spent",
}
VALUES = tuple(
    f"seed control feedback episodes {' '.join(BUDGETS)} held_out workers backend address grow memory".split()
)
FLAGS = {
    "tune": (False, "--no-tune"),
    "graph": (False, "--no-graph"),
    "images": (True, "--images"),
    "video": (False, "--no-video"),
    "trusted": (True, "--trust"),
}
OPTIONS = ("task", "python", "hold")  # of an environment, that have an option of their name
FILES = {"world": ("--worlds", "worlds.json"), "envelope": ("--envelope", "envelope.json")}  # read, not held


def budget_spent(name: str, amount: float) -> str:
    """Return why a run ended, such as "60000 simulator steps spent".

    Args:
        name: of the setting that limited it, one of ``BUDGETS``.
        amount: its value.
    """
    return BUDGETS[name].format(amount=amount, s="s" if amount != 1 else "")


def budget_that_ended(settings: Settings, ended: str) -> str:
    """Return the name of the budget that a run spent, "" where it ended otherwise.

    Args:
        settings: of the run.
        ended: why it ended, which may go on with what else there is to say.
    """
    limits = {name: limit for name in BUDGETS if (limit := getattr(settings, name)) is not None}
    return next((name for name, limit in limits.items() if ended.startswith(budget_spent(name, limit))), "")


def beyond_budget(settings: Settings, seconds: float) -> str:
    """Return how long a run went on after its time was up, "" for under a second.

    Args:
        settings: of the run.
        seconds: that it took, without the held-out episodes.
    """
    over = seconds - (settings.seconds or seconds)
    if over < 1:
        return ""
    return f", {over:.0f} s of it beyond --seconds {settings.seconds:g}, to end what had begun and score the best"


def repeating_command(run: RunInfo) -> str:
    """Return the command that repeats a run, as far as its settings decide it.

    Args:
        run: one of the store.
    """
    words = ["trace-robot", "optimize", run.task, "--policy", run.policy, "--optimizer", run.optimizer]
    if run.optimizer == AGENT:
        confirm = str(run.settings.get("confirm"))
        words = ["trace-robot", "serve", run.task, "--policy", run.policy, "--confirm", confirm]
    given = {**run.settings, "seed": run.seed, "control": run.control, "feedback": run.feedback}
    usual = {"backend": "local", "grow": DEFAULTS.get(run.optimizer, Defaults()).grow}
    return shlex.join([*words, *_words(given, usual)])


def continuing_command(
    settings: Settings, folder: Path, ended: str, model: Mapping[str, Any] | None = None
) -> str:
    """Return the command that goes on from the best controller, with twice the budget.

    Args:
        settings: of the run.
        folder: of the run, with best.py.
        ended: why it ended.
        model: as of ``model_words``.

    Returns:
        "" where no budget ended it, or its controllers came from outside.
    """
    given = asdict(settings)
    name = budget_that_ended(settings, ended)
    spent = {name: 2 * given[name]} if name else {}
    if not spent or settings.optimizer not in DEFAULTS:
        return ""
    usual = asdict(Settings.resolve(settings.task, settings.optimizer, control=settings.usual_control))
    usual |= dict.fromkeys(BUDGETS)  # all that were given
    if settings.rules == 1:
        given["grow"] = None  # as the option did not exist
    words = ["trace-robot", "optimize", settings.task, "--policy", str(folder / "best.py")]
    words += ["--optimizer", settings.optimizer, *model_words(model)]
    return shlex.join([*words, *_words({**given, **spent}, usual)])


def tuning_command(settings: Settings) -> str:
    """Return the command that tunes the numbers of a run's starting policy."""
    words = ["trace-robot", "optimize", settings.task, "--policy", settings.policy, "--optimizer", "cma"]
    return shlex.join([*words, *_words({"control": settings.control, "options": settings.options}, {})])


def model_words(model: Mapping[str, Any] | None) -> list[str]:
    """Return the options that name a run's language model and its endpoint.

    A key is in none of them: an address with a password, or with a query, which may hold one, is left out.

    Args:
        model: with "model", "base_url" and "proposer", each of which it may lack, as ``ModelConfig.to_data`` returns
            it; None where no model is asked.
    """
    given = model or {}
    if command := given.get("proposer"):
        return ["--proposer", command if isinstance(command, str) else shlex.join(command)]
    words = ["--model", str(given["model"])] if given.get("model") else []
    address = str(given.get("base_url") or "")
    try:
        parts = urlsplit(address)
    except ValueError:  # no address, which is refused where it is to be asked
        return words
    if not address or parts.hostname == OFFICIAL or parts.username or parts.password or parts.query:
        return words
    return [*words, "--base-url", address]


def files_to_save(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the options that a command reads from a file, with the file's name.

    Args:
        settings: of a run, whose settings.json has their values below "options".
    """
    options = _options(settings)
    return {
        name: file
        for name, (_, file) in FILES.items()
        if name in options and not (name == "world" and _name_of_worlds(options[name]))
    }


def _words(settings: Mapping[str, Any], usual: Mapping[str, Any]) -> list[str]:
    """Return settings that are not the usual ones as options."""
    words: list[str] = []
    for name in VALUES:
        if settings.get(name) not in (None, usual.get(name)):
            words += [f"--{name.replace('_', '-')}", _text(settings[name])]
    words += [flag for name, (value, flag) in FLAGS.items() if settings.get(name) is value]
    files = files_to_save(settings)
    for name, value in _options(settings).items():
        if name in OPTIONS:
            words += [f"--{name}", str(value)]
        elif name in FILES:
            words += [FILES[name][0], files.get(name) or _name_of_worlds(value)]
        elif name != "control":
            # Text that reads as another value in Python would become that.
            plain = isinstance(value, str) and re.fullmatch(r"(?!True|False|None)[A-Za-z][\w./-]*", value)
            words += ["--env-arg", f"{name}={value if plain else repr(value)}"]
    return words


def _options(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    options = settings.get("options")
    return options if isinstance(options, Mapping) else {}


def _name_of_worlds(data: Any) -> str:
    """Return the name of a set of worlds, "" of one from a file."""
    from trace_robot.env.world import WORLDS  # numpy, which a table of runs need not wait for

    # As JSON, in which a stored range is a list and ours a tuple.
    return next((name for name, worlds in WORLDS.items() if json.dumps(list(worlds)) == json.dumps(data)), "")


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
