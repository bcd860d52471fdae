"""A benchmark's plan and protocols, and its results file, a line of JSON a run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from trace_robot import safe_files
from trace_robot.env.registry import environments, sets
from trace_robot.env.world import STANDARD
from trace_robot.errors import RunError, UnknownNameError, UsageError, unknown
from trace_robot.settings import SEARCH_SECONDS, Settings, require_level
from trace_robot.stats import SHOWN, Measure, Returns, Score

OPTIMIZERS = ("search", "optoprime", "opro")
Key = tuple[str, int]
ABLATIONS: Mapping[str, Any] = {"memory": None, "graph": True}  # whole prompts: not in their files


@dataclass(frozen=True, slots=True)
class Plan:
    """One optimizer under one protocol on tasks × seeds.

    policy: where every run starts. seeds: empty for those of the protocol. seconds, steps, iterations: budgets of a
    run, as in ``Settings``; iterations also in place of the protocol's. memory, graph: what prompts show, likewise.
    """

    tasks: tuple[str, ...]
    optimizer: str = "search"
    protocol: str = "standard"
    seeds: tuple[int, ...] = ()
    feedback: str = "outcome"
    seconds: float | None = None
    steps: int | None = None
    iterations: int | None = None
    policy: str = "do_nothing"
    workers: int | None = None
    trusted: bool = False
    memory: int | None = None
    graph: bool = True

    def __post_init__(self) -> None:
        require_level(self.feedback)
        if self.optimizer not in OPTIMIZERS:
            raise UnknownNameError(f"no optimizer {self.optimizer!r}; known: {', '.join(OPTIMIZERS)}")
        if self.protocol not in PROTOCOLS:
            raise UnknownNameError(f"no protocol {self.protocol!r}; known: {', '.join(PROTOCOLS)}")

    @property
    def rules(self) -> Protocol:
        """The protocol by its name."""
        return PROTOCOLS[self.protocol]

    @property
    def limit(self) -> float | None:
        """Seconds of a run, the built-in search's own where no budget is given."""
        unlimited = self.seconds is None and self.steps is None
        return SEARCH_SECONDS if unlimited and self.optimizer == "search" else self.seconds

    @property
    def fixed(self) -> dict[str, Any]:
        """What all rows of one results file have in common.

        Not tasks, seeds and workers, of which more may be added. With worlds, a digest of these, which may change.
        """
        text = json.dumps(self.rules.options, sort_keys=True).encode()
        # In these alone: files of the others were written without it.
        worlds = {"worlds": hashlib.sha256(text).hexdigest()[:16]} if "world" in self.rules.options else {}
        return {
            "optimizer": self.optimizer,
            "protocol": self.protocol,
            "feedback": self.feedback,
            "policy": self.policy,
            "seconds": self.limit,
            "steps": self.steps,
            "iterations": self.iterations,
            **worlds,
            **dict(sorted({"memory": self.memory, "graph": self.graph}.items() - ABLATIONS.items())),
        }

    def keys(self) -> Iterator[Key]:
        """Yield every (task, seed), all tasks of the first seed before the second."""
        # In this order a benchmark that is stopped early has a result for every task rather than all of a few.
        for seed in self.seeds or self.rules.seeds:
            for task in self.tasks:
                yield task, seed

    def settings(self, key: Key) -> Settings:
        """Return the complete settings of one run."""
        return Settings.resolve(key[0], self.optimizer, **self.keywords(key))

    def keywords(self, key: Key) -> dict[str, Any]:
        """Return the settings of one run as keywords of ``optimize``."""
        (task, seed), rules, by_model = key, self.rules, self.optimizer != "search"
        return {
            "policy": self.policy,
            "iterations": self.iterations or (rules.iterations_of(task) if by_model else None),
            "episodes": rules.episodes,
            "confirm": rules.confirm,
            "seed": seed,
            "workers": self.workers,
            "control": rules.control,
            "held_out": rules.held_out,
            "options": rules.options,
            "feedback": self.feedback,
            "seconds": self.limit,
            "steps": self.steps,
            "tune": rules.tune,
            "grow": 0,  # a protocol's number of training conditions is what was published
            "video": False,
            "trusted": self.trusted,
            **{name: getattr(self, name) for name in ABLATIONS},
        }


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a controller is trained and scored.

    episodes: training conditions; confirm: further ones, for choosing among controllers that solve these, see
    ``trace_robot.rollout.evaluation``; held_out: those of the score. control: "pose" or "raw", None for what suits the
    optimizer. options: of the environment. iterations: of an optimizer that asks a model, by task; ``default`` of
    the others, None for the optimizer's own. tune: numbers may be tuned between two proposals of a model.
    """

    name: str
    summary: str
    episodes: int
    confirm: int
    held_out: int
    seeds: tuple[int, ...]
    control: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    iterations: Mapping[str, int] = field(default_factory=dict)
    default: int | None = None
    tune: bool = True

    def iterations_of(self, task: str) -> int | None:
        """Return the limit on iterations for a task, None for the optimizer's own."""
        return self.iterations.get(task, self.default)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "standard",
            "500 simulator steps an episode, 5 training conditions, 25 more for controllers that solve these,"
            " 50 held-out ones",
            episodes=5,
            confirm=25,
            held_out=50,
            seeds=(0,),
        ),
        Protocol(
            "paper",
            "pose control by relative targets, 10 decisions an episode, 1 training condition, 10 held-out ones,"
            " 10 seeds; at most 10 iterations for reach, 30 for the others, where a model is asked",
            episodes=1,
            confirm=0,
            held_out=10,
            seeds=tuple(range(10)),
            control="pose",
            options={"relative": True, "decisions": 10},
            iterations={"reach-v3": 10},
            default=30,
            tune=False,
        ),
        Protocol(
            "robust",
            "500 simulator steps an episode in worlds that differ (standard), success must last 1.5 s; 12 training"
            " conditions, 15 more (30 for the search) for controllers that solve these, 50 held-out ones",
            episodes=12,
            confirm=15,
            held_out=50,
            seeds=(0,),
            options={"world": list(STANDARD), "hold": 1.5},
        ),
    )
}


def select(names: Iterable[str]) -> tuple[str, ...]:
    """Return the tasks that names of tasks and sets stand for, each once, in order.

    Raises:
        UnknownNameError: a name is neither.
        UsageError: there are no names.
    """
    known, groups = environments(), sets()
    chosen: dict[str, None] = {}
    for name in names:
        if name in groups:
            chosen.update(dict.fromkeys(groups[name]))
        elif name in known:
            chosen[name] = None
        else:
            raise unknown("task or set of tasks", name, [*groups, *known])
    if not chosen:
        raise UsageError("a benchmark needs at least one task, got none")
    return tuple(chosen)


ROWS = "results.jsonl"
BROKEN = "the environment broke"  # how ``ResultRow.ended`` begins where there was nothing to score


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One run, an optimizer on a task with a seed.

    success: of the best controller on the held-out conditions; crashes: held-out episodes that ended with an
    error, which count as failures. interval: 95 % Wilson interval. seconds: of the optimization; wall_seconds: of
    everything. model: what answered, empty where none was asked. controller: path in the benchmark's folder. measure:
    what is shown, see ``trace_robot.stats``; held_out_return: mean of the episodes, with its standard deviation, None
    where the environment broke and in files of 0.2.0.
    """

    task: str
    optimizer: str
    protocol: str
    seed: int
    feedback: str
    control: str
    success: float
    episodes: int
    interval: tuple[float, float]
    crashes: int
    training_success: float
    training_episodes: int
    candidates: int
    iterations: int
    environment_steps: int
    model_calls: int
    tokens: int
    seconds: float
    wall_seconds: float
    workers: int
    ended: str
    model: str
    controller: str
    fixed: Mapping[str, Any]
    versions: Mapping[str, str]
    measure: Measure = "success"
    held_out_return: float | None = None
    return_deviation: float | None = None

    @property
    def score(self) -> Score:
        """The held-out score."""
        mean, deviation = self.held_out_return, self.return_deviation
        known = None if mean is None or deviation is None else Returns(mean, deviation, self.episodes)
        return Score(self.success, self.episodes, known, self.measure)

    @property
    def key(self) -> Key:
        """Task and seed, which occur once in a results file."""
        return self.task, self.seed

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> ResultRow:
        """Return the row of a line of JSON, raising KeyError for a field that is missing."""
        kinds = {part.name: part.type for part in fields(cls) if part.default is MISSING or part.name in data}
        values = {name: data[name] for name in kinds}
        for name, kind in kinds.items():
            _require(name, KINDS.get(str(kind), Mapping), values[name])
        if (measure := values.get("measure", "success")) not in SHOWN:
            raise ValueError(f"measure must be one of {', '.join(SHOWN)}, got {measure!r}")
        for name in BUDGETS:
            _require(name, (int, float, type(None)), values["fixed"].get(name))
        low, high = values["interval"]
        for name, number in (("interval", low), ("interval", high), ("success", values["success"])):
            _require(name, (int, float), number)
            if not 0 <= number <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {number!r}")
        if values["episodes"] < 1:
            raise ValueError(f"episodes must be at least 1, got {values['episodes']!r}")
        return cls(**{**values, "interval": (low, high)})


KINDS: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "tuple[float, float]": (list, tuple),
    "Measure": (str,),
    "float | None": (int, float, type(None)),
}
BUDGETS = ("seconds", "steps", "iterations", "memory")
LARGEST = 1e15  # of any number of a row; the report adds and divides them


def _require(name: str, kinds: tuple[type, ...] | type, value: Any) -> None:
    """Raise TypeError or ValueError where a value of a file is not what a row holds."""
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise TypeError(f"{name} cannot be {str(value)[:80]!r}")
    if isinstance(value, int | float) and not abs(value) <= LARGEST:  # true of NaN, too
        raise ValueError(f"{name} must be finite and at most {LARGEST:g}, got {str(value)[:80]}")


def read_rows(path: Path) -> list[ResultRow]:
    """Return the rows of a results file, in its order, none if there is no file.

    A last line without its end is left out: its process was killed while it wrote.

    Raises:
        RunError: the file cannot be read, or a line of it is no row.
    """
    try:
        text = safe_files.read_bytes(path.parent, path.name).decode()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{str(path)!r} cannot be read: {error}") from error
    rows = []
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            rows.append(ResultRow.from_data(json.loads(line)))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise RunError(
                f"{str(path)!r}, line {number} is no result: {type(error).__name__}: {error}; delete the line"
            ) from error
    return rows


class Results:
    """The results file of a folder, locked for one process, a context manager."""

    def __init__(self, folder: Path, fixed: Mapping[str, Any]) -> None:
        """Open and lock the file, which is made if it is not there.

        Args:
            folder: of the benchmark.
            fixed: what every row must agree with, see ``Plan.fixed``.

        Raises:
            RunError: another process holds the file, it cannot be written, or its rows have other settings.
        """
        self.path = folder / ROWS
        self.fixed = fixed
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = safe_files.open_locked(folder, ROWS)
        except OSError as error:
            raise RunError(
                f"cannot write {str(self.path)!r}: {error.strerror}; give another --out"
            ) from error
        if descriptor is None:
            raise RunError(
                f"another benchmark is writing to {str(self.path)!r}; wait for it, or give another --out"
            )
        self._file: TextIO = os.fdopen(descriptor, "r+", encoding="utf-8")
        try:  # from here on the file must be closed if the object is not made
            self._drop_torn_line()
            self.rows = {row.key: row for row in read_rows(self.path)}
            self._check()
        except BaseException:
            self._file.close()
            raise

    def add(self, row: ResultRow) -> None:
        """Append a row and wait until it is on disk."""
        try:
            self._file.write(json.dumps(asdict(row), allow_nan=False) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())  # a run takes minutes: a power cut must not lose it
        except OSError as error:
            raise RunError(f"cannot write {str(self.path)!r}: {error.strerror}; free some space") from error
        self.rows[row.key] = row

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _drop_torn_line(self) -> None:
        # Without this the next row would be appended to half a line, and both would be lost.
        text = safe_files.read_bytes(self.path.parent, self.path.name)
        whole = text.rfind(b"\n") + 1
        if whole < len(text):
            self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)

    def _check(self) -> None:
        for row in self.rows.values():
            for name, value in {**ABLATIONS, **self.fixed}.items():
                if (old := {**ABLATIONS, **row.fixed}.get(name)) != value:
                    raise RunError(
                        f"{str(self.path)!r} was made with {name} {old!r}, not {value!r}; give another --out"
                    )
