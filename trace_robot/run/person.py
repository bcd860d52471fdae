"""Human feedback in a write-ahead journal, and what is believed of another person's run.

Sentences on an iteration become remarks on a trial, which the next prompt shows beside the measured feedback, marked as
a person's words. A resumed run takes them from its journal and does not ask for them again. A run that this user did
not begin is resumed and looked at within limits (``strangers_header``).
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from trace_robot.errors import RunError, ValueMismatchError
from trace_robot.fault import Limits
from trace_robot.optimizers.problem import Optimizer
from trace_robot.settings import ASKING_NONE, DEFAULTS, LEVELS, PROMPT, RULES
from trace_robot.store import words
from trace_robot.store.codec import decode_json, encode_json
from trace_robot.store.command_line import continuing_command
from trace_robot.store.journal import Journal, hash_of
from trace_robot.store.records import decoding
from trace_robot.store.rows import header_of
from trace_robot.store.writer import RunHeader, Store
from trace_robot.workspace import require_named, require_plain_options

if TYPE_CHECKING:
    from trace_robot.run.optimizers import AnyModel
    from trace_robot.store.history import History, RunInfo

LONGEST_NOTE = words.LONGEST
MOST_NOTES = 3  # of one iteration; a prompt is to stay small
LARGEST_FILE = words.LARGEST  # bytes of a file of notes that are read
REMARK = "a person who watched it wrote: {}"


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked about.

    Attributes:
        iteration: its number.
        success: of the iteration's controller, 0 to 1.
        folder: of the iteration.
        video: of one of its episodes, None where there is none.
        taken: sentences that the run has had so far.
    """

    iteration: int
    success: float
    folder: Path
    video: Path | None = None
    taken: int = 0


AskPerson: TypeAlias = Callable[[Question], Sequence[str]]
"""Returns a person's sentences on an iteration, none for nothing to say."""


def tidied(texts: Sequence[str]) -> list[str]:
    """Return sentences on one line each, bounded in length and number.

    Args:
        texts: as a person wrote them; of too many, the last are kept.
    """
    return [line for line in map(words.clean_sentence, texts) if line][-MOST_NOTES:]


@dataclass(slots=True)
class NotesFile:
    """A file with a sentence a line, read again after every iteration.

    Lines that were there before are not read twice. A last line without its end is left for the next time; a file that
    is not there yet has none.
    """

    path: Path
    lines: int = 0

    def __call__(self, question: Question) -> list[str]:
        """Return the sentences that are new.

        Args:
            question: of the iteration; its ``taken`` skips what a run had before it was interrupted.

        Raises:
            RunError: the file cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                text = file.read(LARGEST_FILE).decode("utf-8", errors="replace")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RunError(f"cannot read the notes {str(self.path)!r}: {error.strerror or error}") from error
        whole = [line for line in text.split("\n")[:-1] if line.strip()]
        first = max(self.lines, question.taken)
        # No more than these become remarks; the rest comes with the next iteration.
        new = whole[first : first + MOST_NOTES]
        self.lines = first + len(new)
        return new


@dataclass(slots=True)
class TypedWords:
    """Words typed on the page of ``watch``, in a file of the run (``store.words``).

    The run waits for none: it takes what is there after an iteration, and the rest after the next.
    """

    lines: int = 0

    def __call__(self, question: Question) -> list[str]:
        """Return the sentences that are new.

        Args:
            question: of the iteration; its ``taken`` skips what a run had before it was interrupted.

        Raises:
            RunError: the file cannot be made or read.
        """
        folder = question.folder.parents[1]
        words.offer(folder)
        first = max(self.lines, question.taken)
        new = words.typed(folder)[first : first + MOST_NOTES]
        self.lines = first + len(new)
        return new


class JournaledPerson:
    """Takes a person's words from the journal while it has them, then asks.

    Args:
        ask: gives a person's words; None for none but those of the journal.
        journal: of the run, whose clock leaves out the time that a person takes.
        optimizer: which reads them.

    Raises:
        ValueMismatchError: the optimizer reads no words.
    """

    def __init__(self, ask: AskPerson | None, journal: Journal, optimizer: Optimizer) -> None:
        self.ask, self.journal = ask, journal
        self._remark: Callable[[int, str], None] | None = getattr(optimizer, "remark", None)
        self._taken = 0
        if ask is not None and self._remark is None:
            raise ValueMismatchError(
                f"a person's words are for a model, and {type(optimizer).__name__} has no method remark that takes"
                " them; leave --ask and --ask-file out"
            )

    def watch(self, candidate: int, question: Callable[[int], Question]) -> None:
        """Add what a person says of an iteration to its trial.

        Args:
            candidate: the id of the iteration's candidate.
            question: makes the question, from the number of sentences so far; it may wait for a video.
        """
        if self._remark is None:
            return
        request = hash_of(["a person's words", candidate])
        entry = self.journal.take_next("replies", request)
        if entry is not None:
            with decoding("the run's journal"):
                taken = tidied([str(text) for text in decode_json(entry.data)["words"]])
        elif self.ask is None or self.journal.replaying:
            return
        else:
            began = time.monotonic()
            taken = tidied(self.ask(question(self._taken)))
            self.journal.leave_out(time.monotonic() - began)
            if taken:
                self.journal.put("replies", request, encode_json({"words": taken}))
        self._taken += len(taken)
        for text in taken:
            self._remark(candidate, REMARK.format(json.dumps(text, ensure_ascii=False)))


MOST_WORKERS = 16  # that a stranger's run may start; one a processor where it asks for more
LARGEST_SETTING = 10**9  # of counts and seconds in a stranger's settings
WORDS = {
    "control": (None, "pose", "raw"),
    "usual_control": ("pose", "raw"),
    "feedback": LEVELS,
    "optimizer": tuple(DEFAULTS),
    "tune": (True, False),
    "images": (True, False),
    "graph": (True, False),
    "rules": tuple(range(1, RULES + 1)),
    "prompt": (1, PROMPT),
    "video": (True, False),
}


def stored_header(history: History, run: RunInfo) -> RunHeader:
    """Return what is used of a run that is only looked at, ``usable_header``.

    Args:
        history: the open store.
        run: one of its runs, finished or not.

    Raises:
        RunError: a setting is not as this library writes it.
        WorkspaceError: as of ``strangers_header``.
    """
    with decoding(f"the run {run.name!r}"):
        return usable_header(header_of(history.row(run)))


def with_python(header: RunHeader, python: str | None) -> RunHeader:
    """Return a header with another interpreter for the environment, the same for None.

    Args:
        header: what the run began with.
        python: the interpreter's path, which the user gives.

    Raises:
        RunError: the run has none.
    """
    if python is None:
        return header
    options = header.settings.options
    if not isinstance(options, Mapping) or "python" not in options:
        raise RunError("the run's environment was not in an interpreter given by --python; leave it out")
    settings = replace(header.settings, options={**options, "python": python})
    return replace(header, settings=settings, python=python)


def chosen_python(history: History, run: RunInfo) -> str | None:
    """Return the interpreter that this user chose for a run's environment.

    None for none, and for a run that this user did not begin.

    Args:
        history: the open store.
        run: one of its runs.
    """
    with decoding(f"the run {run.name!r}"):
        header = header_of(history.row(run))
    return header.settings.options.get("python") if header.own else None


def going_on(history: History, run: RunInfo) -> str:
    """Return the command that goes on from a run's best controller, or "".

    Args:
        history: the open store.
        run: one of its runs; of one that this user did not begin no command is shown, as it could be copied.
    """
    with decoding(f"the run {run.name!r}"):
        header = header_of(history.row(run))
    if not header.own:
        return ""
    return continuing_command(header.settings, run.folder, run.ended, header.choice)


def usable_header(header: RunHeader) -> RunHeader:
    """Return all of a header that this user began, else ``strangers_header``."""
    return header if header.own else strangers_header(header)


def strangers_header(header: RunHeader) -> RunHeader:
    """Return what is used of a run that another person began, or refuse it.

    The environment is one by name, with plain options. Workers, backend, address and trust are this user's to decide,
    limits no wider than the default; files, endpoint and key of the model too (``ModelConfig.from_data``).

    Raises:
        RunError: a setting is not as this library writes it.
        WorkspaceError: the environment is a file, or its options may name one.
    """
    settings = header.settings
    require_named(settings.task)
    require_plain_options(settings.options, header.python)
    for name, known in WORDS.items():
        if getattr(settings, name) not in known:
            raise RunError(
                f"the run's setting {name} must be one of {known}, got {getattr(settings, name)!r:.80}"
            )
    for name in (
        "iterations",
        "episodes",
        "confirm",
        "seed",
        "held_out",
        "seconds",
        "steps",
        "grow",
        "memory",
    ):
        value = getattr(settings, name)
        kinds = (int, float) if name == "seconds" else (int,)
        if value is not None and (type(value) not in kinds or not 0 <= value <= LARGEST_SETTING):
            raise RunError(f"the run's setting {name} must be a number from 0 on, got {value!r:.80}")
    narrow = {
        name: min(getattr(settings.limits, name), widest)
        if _is_number(getattr(settings.limits, name))
        else widest
        for name, widest in dataclasses.asdict(Limits()).items()
        if _is_number(widest)
    }
    workers = settings.workers
    if type(workers) is not int or not 1 <= workers <= MOST_WORKERS:
        workers = None
    mine = dataclasses.replace(
        settings, trusted=False, backend="local", address=None, workers=workers, limits=Limits(**narrow)
    )
    return dataclasses.replace(header, settings=mine)


def plan_to_resume(
    path: Path,
    model: AnyModel = None,
    base_url: str | None = None,
    python: str | None = None,
    proposer: str | None = None,
) -> list[str]:
    """Return ``plan_of`` a run, [] for one that this user began.

    Args:
        path: the run's folder, with the store beside it.
        model: as of ``plan_of``.
        base_url: as of ``plan_of``.
        python: as of ``plan_of``.
        proposer: as of ``plan_of``.
    """
    place = path.resolve()
    with Store(place.parent) as store:
        header = store.header(place.name)
    return [] if header.own else plan_of(header, model, base_url, python, proposer)


def plan_of(
    header: RunHeader,
    model: AnyModel = None,
    base_url: str | None = None,
    python: str | None = None,
    proposer: str | None = None,
) -> list[str]:
    """Return what resuming a stranger's run would do, a phrase a line.

    Args:
        header: what the run began with.
        model: in place of the stored one.
        base_url: of the endpoint that the user gives.
        python: the environment's interpreter that the user gives.
        proposer: the command that the user gives; that of the store is never run.

    Raises:
        RunError, WorkspaceError: as of ``strangers_header``.
    """
    settings = strangers_header(with_python(header, python)).settings
    steps = "no limit" if settings.steps is None else f"{settings.steps:,}"
    seconds = "no limit" if settings.seconds is None else f"{settings.seconds:g}"
    lines = [
        f"it would roll out controllers of {settings.optimizer} for {settings.task}, locked in"
        f" (iterations {settings.iterations or 'no limit'}, steps {steps}, seconds {seconds})"
    ]
    if python is not None:
        stored = header.settings.options["python"]
        lines.append(f"it would run the environment in {python} (the run names {stored!r:.200})")
    stored = (header.choice or {}).get("proposer")
    if proposer is not None:
        lines.append(f"it would run the command {proposer!r:.200} (the run names {stored!r:.200})")
    elif stored is not None:
        lines.append(f"it would need --proposer: the run's own command, {stored!r:.200}, is not run")
    elif settings.optimizer in DEFAULTS and settings.optimizer not in ASKING_NONE:
        name = model if isinstance(model, str) else (header.choice or {}).get("model")
        where = base_url or os.environ.get("OPENAI_BASE_URL") or "OpenAI, with OPENAI_API_KEY"
        lines.append(f"it would ask the model {name!r:.100} at {where}")
    return lines


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
