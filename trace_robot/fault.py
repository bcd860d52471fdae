"""Why a controller has no answer (`Fault`), and what it may use (`Limits`)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

# Of a controller, as text; its syntax tree takes up to a thousand times as much memory.
MOST_CHARACTERS: Final = 200_000
HANG_SECONDS: Final = 30.0  # of an environment's reset or step, beyond the longest one so far
MAKE_SECONDS: Final = 120.0  # to make an environment, which may load or compile much
# What a message calls the steps by which hands are looked for, when one of them hangs.
HANDS_SEARCH: Final = "the search for its hands"
# How the message of a fault begins that ended a worker: the environment's doing, as controllers run elsewhere.
WORKER_DIED: Final = "the rollout worker died"
# How the message of an environment's fault begins that the controller may have caused: a simulation that exploded.
UNSTABLE: Final = "the simulation became unstable"

Category = Literal[
    "blocked",
    "timeout",
    "memory",
    "crash",
    "exception",
    "wrong shape",
    "not finite",
    "protocol",
    "environment",  # reported by the process that runs the environment, never by the sandbox
]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a controller may use.

    load_seconds, call_seconds: CPU time for loading the code and for one call; the wall clock may take ten
    times as long. episode_seconds: CPU time of one episode. memory_mb: address space beyond what the process
    maps at its start. printed_chars: how much of what it prints is kept.
    """

    load_seconds: float = 5.0
    call_seconds: float = 1.0
    episode_seconds: float = 30.0
    memory_mb: int = 512
    printed_chars: int = 4000


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a controller has no answer: a category, one line of text and a line.

    line: of its source, 1-based; None if unknown. static: whether the text was refused before it ran.
    """

    category: Category
    message: str
    line: int | None = None
    static: bool = False

    @property
    def of_environment(self) -> bool:
        """Whether the environment itself failed, whatever the controller did."""
        if self.category == "crash":
            return self.message.startswith(WORKER_DIED)
        return self.category == "environment" and not self.message.startswith(UNSTABLE)


def with_near_name(fault: Fault, names: Iterable[str]) -> Fault:
    """Return a fault that names the observation which a misspelt key may mean.

    Args:
        fault: of a controller.
        names: what it may observe.
    """
    known = list(names)
    if re.fullmatch("KeyError: [0-9]+", fault.message):
        return replace(fault, message=f"{fault.message}; an observation is a dict of {', '.join(known)}")
    missing = re.fullmatch("KeyError: '(.*)'", fault.message)
    if missing is None or missing[1] in known:
        return fault
    near = difflib.get_close_matches(missing[1], known, n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]!r} of the observation?" if near else ""
    return replace(fault, message=fault.message + hint)
