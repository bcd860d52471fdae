"""Human feedback: sentences on an iteration, in a write-ahead journal.

They become remarks on a trial, which the next prompt shows beside the measured feedback, marked as a person's words. A
resumed run takes them from its journal and does not ask for them again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from trace_robot.errors import RunError, ValueMismatchError
from trace_robot.optimizers.problem import Optimizer
from trace_robot.store.codec import decode_json, encode_json
from trace_robot.store.journal import Journal, hash_of
from trace_robot.store.records import decoding

LONGEST_NOTE = 400  # characters of one sentence that are kept
MOST_NOTES = 3  # of one iteration; a prompt is to stay small
LARGEST_FILE = 64_000  # bytes of a file of notes that are read
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
    lines = (" ".join("".join(c if c.isprintable() else " " for c in text).split()) for text in texts)
    return [
        line if len(line) <= LONGEST_NOTE else line[: LONGEST_NOTE - 3] + "..." for line in lines if line
    ][-MOST_NOTES:]


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
                words = tidied([str(text) for text in decode_json(entry.data)["words"]])
        elif self.ask is None or self.journal.replaying:
            return
        else:
            began = time.monotonic()
            words = tidied(self.ask(question(self._taken)))
            self.journal.leave_out(time.monotonic() - began)
            if words:
                self.journal.put("replies", request, encode_json({"words": words}))
        self._taken += len(words)
        for text in words:
            self._remark(candidate, REMARK.format(json.dumps(text, ensure_ascii=False)))
