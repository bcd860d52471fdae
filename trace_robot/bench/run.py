"""The benchmark's loop: do the runs of a plan that have no result yet.

The answers that a model gave in them are packed into one file to ship, and unpacked to replay.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from trace_robot import safe_files
from trace_robot.bench.results import BROKEN, ResultRow, Results
from trace_robot.env.registry import require_expert
from trace_robot.errors import ChangedRunError, EnvironmentFault, ReplayMismatchError, RunError
from trace_robot.llm import ModelConfig, read_record
from trace_robot.llm.recording import iter_record
from trace_robot.rollout.engine import RolloutEngine
from trace_robot.rollout.evaluation import wilson
from trace_robot.run.loop import Event, OnEvent, Started
from trace_robot.run.optimize import optimize, resume
from trace_robot.settings import EXPERT, Result, versions
from trace_robot.stats import Returns
from trace_robot.store.folder import RunFolder
from trace_robot.store.writer import Store

if TYPE_CHECKING:
    from trace_robot.bench.results import Key, Plan

ANSWERS, REPLAYED = "answers", "replayed"  # folders of a benchmark: what a model gave, what a file gave
MOST_BYTES = 2 * 2**30  # of a packed file, unpacked: MT50 with ten seeds and 50 calls a run is 0.5 GB
SHOWN = 3  # names in an error


@dataclass(frozen=True, slots=True)
class Running:
    """A run is going on.

    number: of ``total``, from 1. event: of the run's own loop.
    """

    key: Key
    number: int
    total: int
    event: Event


@dataclass(frozen=True, slots=True)
class Finished:
    """A row is on disk.

    done: rows of the plan that are on disk. left: seconds to go, estimated from the runs done so far.
    """

    row: ResultRow
    done: int
    total: int
    left: float


Observe = Callable[[Running | Finished], None]


def name_of(key: Key) -> str:
    """Return the name of a run, which its folder and its controller bear."""
    return f"{key[0]}-s{key[1]}"


def bench(
    plan: Plan,
    out: Path,
    *,
    model: str | None = None,
    base_url: str | None = None,
    replay: Path | None = None,
    in_order: bool = False,
    observe: Observe = lambda event: None,
) -> list[ResultRow]:
    """Do the runs of a plan that have no row yet, and return the rows of the plan.

    Every finished row is on disk before the next run begins. A run that was killed goes on where it was.

    Args:
        plan: the runs and their settings.
        out: the folder of the results file, the controllers and the runs.
        model: name of the language model, None for that of the environment variables.
        base_url: of the model's endpoint, None for that of the environment variables.
        replay: a file of ``pack_answers`` that answers in place of a model, each run from the lines with its name.
        in_order: of ``replay``: whether a prompt that it does not hold gets the run's next answer, so that answers to
            prompts of another version are tried again.
        observe: called with every event of a run, and when a row is on disk.

    Returns:
        The rows, in the order of ``plan.keys``.

    Raises:
        RunError: the folder's rows were made with other settings, another process writes to it, or ``replay`` has no
            answers for the plan.
        ReplayMismatchError: a run asks for what ``replay`` does not have.
        UnknownNameError: the feedback level needs an expert that an environment does not have.
    """
    keys = list(plan.keys())
    if plan.feedback == EXPERT:
        for task in plan.tasks:
            require_expert(task)
    with Results(out, plan.fixed) as results:
        missing = [key for key in keys if key not in results.rows]
        if missing:
            if replay is not None:
                unpack_answers(replay, [name_of(key) for key in keys], out)
            with RolloutEngine(plan.workers, trusted=plan.trusted) as engine:
                _Bench(plan, out, results, engine, observe, model, base_url, replay, in_order).execute(
                    keys, missing
                )
        return [results.rows[key] for key in keys]


@dataclass(slots=True)
class _Bench:
    """The runs of one plan in one rollout engine, whose workers are kept."""

    plan: Plan
    out: Path
    results: Results
    engine: RolloutEngine
    observe: Observe
    model: str | None
    base_url: str | None
    replay: Path | None = None
    in_order: bool = False

    def execute(self, keys: list[Key], missing: list[Key]) -> None:
        """Do the missing runs one after the other.

        Args:
            keys: all of the plan, for the numbers in events.
            missing: those without a row.
        """
        total, taken = len(keys), 0.0
        for count, key in enumerate(missing, 1):
            number = keys.index(key) + 1
            row = self._execute_run(key, partial(self._report, key, number, total))
            self.results.add(row)
            taken += row.wall_seconds
            left = taken / count * (len(missing) - count)
            self.observe(Finished(row, total - len(missing) + count, total, left))

    def _report(self, key: Key, number: int, total: int, event: Event) -> None:
        self.observe(Running(key, number, total, event))

    def _execute_run(self, key: Key, observe: Callable[[Event], None]) -> ResultRow:
        """Do one run and return its row, of failures if the environment breaks."""
        started = time.monotonic()
        name = name_of(key)
        folder = self.out / "runs" / name
        why = ""

        def on_event(event: Event) -> None:
            nonlocal why
            if isinstance(event, Started):
                why = event.why
            observe(event)

        try:
            result = self._go_on(name, folder, on_event) or self._begin(key, name, folder, on_event)
        except EnvironmentFault as error:
            return self._broken(key, name, error, time.monotonic() - started)
        except ReplayMismatchError as error:
            raise ReplayMismatchError(f"run {name}: {error}") from error
        controller = RunFolder(self.out / "controllers").write(f"{name}.py", (folder / "best.py").read_text())
        taken = max(time.monotonic() - started, result.seconds)  # which has those before it was stopped
        row = self._row(key, why, result, folder, controller, taken)
        if self.plan.optimizer == "search":
            shutil.rmtree(folder)  # a search's log is large, and the same run writes it again
            with Store(folder.parent) as store:
                store.forget(folder.name)
        return row

    def _model(self, name: str) -> ModelConfig:
        if self.replay is not None:
            return ModelConfig(replay=self.out / REPLAYED / f"{name}.jsonl", in_order=self.in_order)
        return ModelConfig(self.model, self.base_url, record=self._record(name))

    def _go_on(self, name: str, folder: Path, on_event: OnEvent) -> Result | None:
        """Resume a run that was stopped, None if there is none or it has changed."""
        with Store(folder.parent) as store:
            if not store.can_go_on(folder.name):
                return None
        try:
            return resume(folder, model=self._model(name), engine=self.engine, on_event=on_event)
        except ChangedRunError:
            return None

    def _begin(self, key: Key, name: str, folder: Path, on_event: OnEvent) -> Result:
        if folder.exists():
            shutil.rmtree(folder)  # of a run that cannot go on, or was killed before it was in the store
        return optimize(
            key[0],
            optimizer=self.plan.optimizer,
            model=self._model(name),
            out=folder,
            overwrite=True,
            engine=self.engine,
            on_event=on_event,
            **self.plan.keywords(key),
        )

    def _record(self, name: str) -> str | None:
        """Return the file of a model's answers: a killed run pays for none of them twice."""
        if self.plan.optimizer == "search" or self.replay is not None:
            return None
        path = self.out / ANSWERS / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return str(path)

    def _paid(self, name: str) -> tuple[int, int]:
        """Return calls and tokens of the recorded answers, killed attempts included."""
        record = self._record(name)
        replies = [r for e in (read_record(record) if record else ()) for r in e.replies]
        tokens = sum(reply.prompt_tokens + reply.completion_tokens for reply in replies)
        return len(replies), tokens

    def _row(
        self, key: Key, why: str, result: Result, folder: Path, controller: Path, seconds: float
    ) -> ResultRow:
        calls, tokens = self._paid(controller.stem)
        calls, tokens = max(result.model_calls, calls), max(result.tokens, tokens)
        held_out = json.loads((folder / "held_out.json").read_text())["episodes"]
        returns = Returns.of(episode["reward"] for episode in held_out if episode["reward"] is not None)
        return ResultRow(
            task=key[0],
            optimizer=result.optimizer,
            protocol=self.plan.protocol,
            seed=key[1],
            feedback=result.feedback_level,
            control=result.control,
            success=result.held_out_success,
            episodes=result.held_out_episodes,
            interval=result.held_out_interval,
            crashes=sum(episode["ended"] == "error" for episode in held_out),
            training_success=result.training_success,
            training_episodes=result.training_episodes,
            candidates=result.candidates,
            iterations=result.iterations,
            environment_steps=result.environment_steps,
            model_calls=calls,
            tokens=tokens,
            seconds=result.seconds,
            wall_seconds=round(seconds, 2),
            workers=self.engine.workers,
            ended=result.ended,
            model=why if calls else "",
            controller=controller.relative_to(self.out).as_posix(),
            fixed=self.plan.fixed,
            versions=result.versions,
            measure=result.measure,
            held_out_return=None if returns is None else returns.mean,
            return_deviation=None if returns is None else returns.deviation,
        )

    def _broken(self, key: Key, name: str, error: EnvironmentFault, seconds: float) -> ResultRow:
        rules, settings = self.plan.rules, self.plan.settings(key)
        calls, tokens = self._paid(name)
        return ResultRow(
            task=key[0],
            optimizer=settings.optimizer,
            protocol=rules.name,
            seed=key[1],
            feedback=settings.feedback,
            control=settings.control or settings.usual_control,
            success=0.0,
            episodes=rules.held_out,
            interval=wilson(0, rules.held_out),
            crashes=rules.held_out,
            training_success=0.0,
            training_episodes=rules.episodes,
            candidates=0,
            iterations=0,
            environment_steps=0,
            model_calls=calls,
            tokens=tokens,
            seconds=round(seconds, 2),
            wall_seconds=round(seconds, 2),
            workers=self.engine.workers,
            ended=f"{BROKEN}: {error}",
            model="",
            controller="",
            fixed=self.plan.fixed,
            versions=versions(),
        )


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
