"""Runs on disk: SQLite store, write-ahead journal, folders of files.

Names are imported when they are first used (PEP 562): a table of runs needs no numpy, whose import takes longer.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trace_robot.store.codec import (
        Recording,
        decode_episodes,
        decode_json,
        encode_episodes,
        encode_json,
    )
    from trace_robot.store.database import FILE
    from trace_robot.store.folder import RunFolder, RunLock, difference, is_locked, read_result
    from trace_robot.store.history import History
    from trace_robot.store.journal import Journal, JournalEntry, hash_of
    from trace_robot.store.records import (
        STATUSES,
        AttemptInfo,
        CandidateInfo,
        EpisodeInfo,
        IterationInfo,
        RunInfo,
        Score,
        Status,
    )
    from trace_robot.store.rows import Cost, RunHeader
    from trace_robot.store.writer import RunWriter, Store

_HOMES = {
    "codec": ("Recording", "decode_episodes", "decode_json", "encode_episodes", "encode_json"),
    "database": ("FILE",),
    "folder": ("RunFolder", "RunLock", "difference", "is_locked", "read_result"),
    "history": ("History",),
    "journal": ("Journal", "JournalEntry", "hash_of"),
    "records": (
        "STATUSES",
        "AttemptInfo",
        "CandidateInfo",
        "EpisodeInfo",
        "IterationInfo",
        "RunInfo",
        "Score",
        "Status",
    ),
    "rows": ("Cost", "RunHeader"),
    "writer": ("RunWriter", "Store"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "FILE",
    "STATUSES",
    "AttemptInfo",
    "CandidateInfo",
    "Cost",
    "EpisodeInfo",
    "History",
    "IterationInfo",
    "Journal",
    "JournalEntry",
    "Recording",
    "RunFolder",
    "RunHeader",
    "RunInfo",
    "RunLock",
    "RunWriter",
    "Score",
    "Status",
    "Store",
    "decode_episodes",
    "decode_json",
    "difference",
    "encode_episodes",
    "encode_json",
    "hash_of",
    "is_locked",
    "read_result",
]


if not TYPE_CHECKING:  # a type checker that saw it would take any name for one of the package

    def __getattr__(name: str) -> Any:
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
