"""The zoo: the best controller found for each task, as policies/zoo/NAME.py with its result in its docstring."""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from trace_robot.bench.plan import PROTOCOLS
from trace_robot.bench.results import ResultRow
from trace_robot.env.registry import environments
from trace_robot.errors import RunError, UnknownNameError, unknown
from trace_robot.policy import Policy, load_policy
from trace_robot.rollout.engine import BackendName, RolloutEngine
from trace_robot.rollout.evaluate import EvaluationReport, evaluate
from trace_robot.rollout.evaluation import Evaluator
from trace_robot.rollout.seeds import validation_seeds
from trace_robot.rollout.task import Task
from trace_robot.store.folder import RunFolder
from trace_robot.workspace import policies

LEVEL = "outcome"
PREFIX = "zoo/"
COLUMNS = 100
VALIDATION = 50
LEFT_OUT = ("platform", "python", "openai")


def write_zoo(
    rows: Sequence[ResultRow], out: Path, folder: Path, *, workers: int | None = None, trusted: bool = False
) -> list[Path]:
    """Write one file a task to ``folder`` from the controllers in ``out``; return the files.

    Among several seeds the one with the best success on validation conditions is chosen, which are neither
    trained on nor held out, so that the held-out result in the file stays an honest one.
    """
    by_task: dict[str, list[ResultRow]] = {}
    for row in rows:
        _check(row)
        if row.controller:
            by_task.setdefault(row.task, []).append(row)
    files = []
    with RolloutEngine(workers, trusted=trusted) as engine:
        for task, found in by_task.items():
            best = max(found, key=lambda row: _validated(row, out, engine)) if found[1:] else found[0]
            text = with_header(_controller(best, out), best)
            files.append(RunFolder(folder).write(f"{file_name(task)}.py", text))
    return files


def zoo() -> dict[str, str]:
    """Return the policy's name for each task that the zoo has a controller for."""
    tasks = {file_name(name): name for name in environments()}
    names = (name.removeprefix(PREFIX) for name in policies() if name.startswith(PREFIX))
    return {tasks[name]: PREFIX + name for name in sorted(names) if name in tasks}


def evaluate_zoo(
    tasks: Sequence[str] = (),
    *,
    episodes: int = 50,
    seed: int = 0,
    workers: int | None = None,
    backend: BackendName = "local",
    address: str | None = None,
    trusted: bool = False,
    on_report: Callable[[EvaluationReport], None] = lambda report: None,
) -> list[EvaluationReport]:
    """Score the zoo's controllers, all or those of ``tasks``, on held-out conditions of ``seed``."""
    known = zoo()
    if not known:
        raise UnknownNameError(
            "the zoo is empty; fill it with: trace-robot bench --tasks mt50 --zoo policies/zoo"
        )
    for task in tasks:
        if task not in known:
            raise unknown("controller in the zoo for", task, known)
    reports = []
    with RolloutEngine(workers, backend=backend, address=address, trusted=trusted) as engine:
        for task in tasks or known:
            policy = load_policy(known[task])
            reports.append(evaluate(task, policy, episodes=episodes, seed=seed, engine=engine))
            on_report(reports[-1])
    return reports


def file_name(task: str) -> str:
    return task.replace("-", "_")


def with_header(text: str, row: ResultRow) -> str:
    """Return a controller's text with its imports in order and its docstring replaced by how it was found."""
    lines = text.split("\n")
    imports: dict[str, None] = {}
    for number, statement in enumerate(ast.parse(text).body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports[ast.unparse(statement)] = None
        elif number or not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Constant):
            continue  # only imports and the docstring are taken out
        for line in range(statement.lineno - 1, statement.end_lineno or statement.lineno):
            lines[line] = ""
    rest = re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines).strip("\n"))
    return "\n\n".join([f'"""{header(row)}\n"""', *_groups(imports), f"{rest}\n"])


def _groups(imports: Iterable[str]) -> list[str]:
    """Return import lines sorted and in groups: the standard library, others, this library."""
    groups: tuple[list[str], ...] = ([], [], [])
    for line in sorted(imports, key=lambda line: (line.startswith("from"), line)):
        top = line.split()[1].partition(".")[0]
        groups[0 if top in sys.stdlib_module_names else 2 if top == "trace_robot" else 1].append(line)
    return ["\n".join(group) for group in groups if group]


def header(row: ResultRow) -> str:
    """Return the docstring of a zoo's file: result, settings, cost, versions, and the command to make it again."""
    low, high = row.interval
    versions = ", ".join(
        f"{name} {version}" for name, version in row.versions.items() if name not in LEFT_OUT
    )
    paragraphs = [
        f"{row.task}: success {row.success:.2f} on {row.episodes} held-out conditions"
        f" (95 % interval {low:.2f} to {high:.2f}).",
        f"Found by the optimizer {row.optimizer} at feedback level {row.feedback}, starting from the policy"
        f" {row.fixed.get('policy')}, with seed {row.seed} and {row.training_episodes} training and confirming"
        f" conditions (success {row.training_success:.2f} there), control {row.control}: {row.candidates:,} candidates,"
        f" {row.environment_steps:,} simulator steps, {row.model_calls:,} model calls. Ended: {row.ended}.",
        f"Made with {versions}, by:",
    ]
    command = (
        f"    trace-robot bench --tasks {row.task} {_flags(row.fixed)}--seeds {row.seed} --zoo policies/zoo"
    )
    return "\n\n".join([paragraphs[0], *(textwrap.fill(each, COLUMNS) for each in paragraphs[1:]), command])


def _flags(fixed: Mapping[str, object]) -> str:
    usual = {"policy": "do_nothing", "feedback": LEVEL, "optimizer": "search", "protocol": "standard"}
    given = {name: value for name, value in fixed.items() if value is not None and usual.get(name) != value}
    return "".join(f"--{name} {value:g} " if isinstance(value, float) else f"--{name} {value} "
                   for name, value in given.items())  # fmt: skip


def _check(row: ResultRow) -> None:
    if row.feedback != LEVEL:
        raise RunError(
            f"the zoo takes controllers found at feedback level {LEVEL!r} only, got {row.feedback!r}; leave --zoo out"
        )
    if PROTOCOLS[row.protocol].options:
        raise RunError(
            f"the zoo is for the environments as they are, and protocol {row.protocol!r} changes them;"
            " use --protocol standard"
        )


def _validated(row: ResultRow, out: Path, engine: RolloutEngine) -> float:
    """Return the success of a row's controller on validation conditions, the same for all rows of a task."""
    task = Task.load(row.task, Policy.from_text(_controller(row, out)), control=row.control)
    seeds = validation_seeds(0, VALIDATION)
    episodes = Evaluator(engine, task, seeds).score(task.policy.text, seeds)
    return sum(episode.success for episode in episodes) / len(episodes)


def _controller(row: ResultRow, out: Path) -> str:
    try:
        return (out / row.controller).read_text(encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"the controller {str(out / row.controller)!r} cannot be read: {error.strerror}; delete its line of"
            " results.jsonl and run again"
        ) from error
