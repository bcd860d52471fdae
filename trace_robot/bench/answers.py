"""The answers that a model gave in a benchmark's runs, packed into one file to ship and unpacked to replay."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from trace_robot import safe_files
from trace_robot.errors import RunError
from trace_robot.llm.recording import iter_record

ANSWERS, REPLAYED = "answers", "replayed"  # folders of a benchmark: what a model gave, what a file gave
MOST_BYTES = 2 * 2**30  # of a packed file, unpacked: MT50 with ten seeds and 50 calls a run is 0.5 GB
SHOWN = 3  # names in an error


def pack_answers(out: Path, names: Sequence[str], path: Path) -> int:
    """Write the answers of a benchmark's runs to one file of JSON lines, atomically.

    Args:
        out: the benchmark's folder.
        names: of the runs, in the order in which they are written.
        path: of the file; compressed by gzip if its name ends in .gz, with the same bytes for the same answers.

    Returns:
        How many exchanges it has.

    Raises:
        RunError: no run has asked a model, or the file cannot be written.
    """
    count = 0
    try:
        with tempfile.TemporaryFile() as draft:
            # No name and no time in its header, so that the same answers are the same file.
            packed = gzip.GzipFile("", "wb", fileobj=draft, mtime=0) if path.suffix == ".gz" else None
            for name in names:
                record = out / ANSWERS / f"{name}.jsonl"
                for exchange in iter_record(record) if record.is_file() else ():
                    line = replace(exchange, run=name).line() + "\n"
                    (packed or draft).write(line.encode("utf-8", "replace"))
                    count += 1
            if packed is not None:
                packed.close()
            if not count:
                raise RunError(
                    f"no run in {str(out)!r} has asked a model, so that there are no answers to pack"
                )
            draft.seek(0)
            safe_files.write(path.parent, path.name, draft)
    except OSError as error:
        raise RunError(
            f"cannot write {str(path)!r}: {error.strerror or error}; give another --pack"
        ) from error
    return count


def unpack_answers(path: Path, names: Collection[str], out: Path) -> None:
    """Write the answers of each run of a plan to a record that a model can replay.

    Args:
        path: a file of ``pack_answers``, which may come from another person.
        names: of the runs of the plan; answers of other runs are left in the file.
        out: the benchmark's folder.

    Raises:
        RunError: the file is no such file, has answers for no run of the plan, or the folder cannot be written.
    """
    folder, other = out / REPLAYED, set[str]()
    found: set[str] = set()
    try:
        for name in names:  # what an earlier file gave
            safe_files.write(folder, f"{name}.jsonl", b"")
        for exchange in iter_record(path, MOST_BYTES):
            if exchange.run not in names:
                if len(other) < SHOWN:
                    other.add(exchange.run)
                continue
            found.add(exchange.run)
            with safe_files.open_append(folder, f"{exchange.run}.jsonl") as file:
                file.write(exchange.line().encode("utf-8", "replace") + b"\n")
    except OSError as error:
        raise RunError(
            f"cannot write {str(folder)!r}: {error.strerror or error}; give another --out"
        ) from error
    if not found:
        has = (
            ", ".join(sorted(f"{name!r:.80}" for name in other if name)) or "lines without the name of a run"
        )
        raise RunError(
            f"the file {str(path)!r} has answers for no run of the plan, such as {next(iter(names))!r}; it has {has};"
            " give the --tasks and --seeds that it was made with"
        )
