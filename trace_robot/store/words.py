"""A person's words on a running run, in a file of its folder (mailbox).

A run that reads them makes the file; ``watch`` shows a form where there is one, and appends what is typed. The run
reads what is new after every iteration and keeps it in its journal.
"""

from __future__ import annotations

from pathlib import Path

from trace_robot.errors import RunError
from trace_robot.safe_files import is_file, open_append, read_bytes

FILE = "words.txt"
LONGEST = 400  # characters of one sentence that are kept
LARGEST = 64_000  # bytes of all of them


def clean_sentence(text: str) -> str:
    """Return a sentence on one line without control characters, bounded in length."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def _place(folder: Path) -> tuple[Path, str]:
    """Return the folder of runs and the file below it, where no link is followed."""
    return folder.parent, f"{folder.name}/{FILE}"


def offer(folder: Path) -> None:
    """Make the file of a run that reads it, unless it is there.

    Raises:
        RunError: it cannot be made, or is a link.
    """
    try:
        open_append(*_place(folder)).close()
    except OSError as error:
        raise RunError(f"cannot write {str(folder / FILE)!r}: {error.strerror or error}") from error


def is_offered(folder: Path) -> bool:
    """Return whether a run reads words, by its file, which must be no link."""
    return is_file(*_place(folder))


def typed(folder: Path) -> list[str]:
    """Return the sentences typed so far, the oldest first, none without a file.

    Raises:
        RunError: the file is a link or too large.
    """
    if not is_offered(folder):
        return []
    try:
        lines = read_bytes(*_place(folder), LARGEST + 4 * LONGEST).decode("utf-8", "replace").split("\n")[:-1]
    except OSError as error:
        raise RunError(f"cannot read {str(folder / FILE)!r}: {error.strerror or error}") from error
    return [line for line in map(clean_sentence, lines) if line]


def add(folder: Path, text: str) -> str:
    """Append a sentence to the words of a run.

    Args:
        folder: of the run, which has offered to read them.
        text: as it was typed.

    Returns:
        It as it stands in the file.

    Raises:
        RunError: it is empty, there are too many, or the file cannot be written.
    """
    line = clean_sentence(text)
    if not line:
        raise RunError("write a sentence first")
    try:
        with open_append(*_place(folder)) as file:
            if file.tell() > LARGEST:
                raise RunError(f"this run has {LARGEST:,} bytes of sentences already, and takes no more")
            file.write(f"{line}\n".encode("utf-8", "replace"))
    except OSError as error:
        raise RunError(f"cannot write {str(folder / FILE)!r}: {error.strerror or error}") from error
    return line
