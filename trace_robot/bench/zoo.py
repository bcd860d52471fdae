"""The zoos: the best controller of each task, with its result in its docstring."""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trace_robot import safe_files
from trace_robot.bench.results import PROTOCOLS, ResultRow
from trace_robot.env.registry import environments
from trace_robot.errors import RunError, UnknownNameError, unknown
from trace_robot.policy import Policy, load_policy
from trace_robot.rollout.engine import BackendName, RolloutEngine
from trace_robot.rollout.evaluate import EvaluationReport, evaluate
from trace_robot.rollout.evaluation import Evaluator
from trace_robot.rollout.task import Task
from trace_robot.settings import validation_seeds
from trace_robot.store.folder import RunFolder
from trace_robot.workspace import policies

LEVEL = (
    "outcome"  # controllers that learned from an expert would make the zoo look better than the optimizer is
)
ZOO = "zoo"  # the folder of policies with one a task, found in the nominal world
ROBUST = "robust"  # the same, found in worlds that differ, by protocol robust
COLUMNS = 100  # of a docstring
VALIDATION = 50  # conditions that decide between seeds
LEFT_OUT = ("platform", "python", "openai")  # versions that a header leaves out, for brevity


def write_zoo(
    rows: Sequence[ResultRow], out: Path, folder: Path, *, workers: int | None = None, trusted: bool = False
) -> list[Path]:
    """Write the best controller of each task to a folder, and return the files.

    Among several seeds the one with the best success, or return, on validation conditions is chosen, which are neither
    trained on nor held out, so that the held-out result in the file stays an honest one.

    Args:
        rows: of a benchmark.
        out: the benchmark's folder, with the controllers.
        folder: for the files, such as policies/zoo.
        workers: rollout processes of the validation, None for one a processor.
        trusted: run controllers also where this machine has no sandbox.

    Raises:
        RunError: a row was trained with more feedback than "outcome" or in a changed environment, or a controller
            cannot be read.
    """
    by_task: dict[str, list[ResultRow]] = {}
    for row in rows:
        _check(row)
        if row.controller:
            by_task.setdefault(row.task, []).append(row)
    files = []
    with RolloutEngine(workers, trusted=trusted) as engine:
        for task, candidates in by_task.items():
            # A single candidate needs no validation, which would cost 50 episodes.
            several = len(candidates) > 1
            best = max(candidates, key=lambda row: _validated(row, out, engine)) if several else candidates[0]
            text = with_header(_controller(best, out), best)
            files.append(RunFolder(folder).write(f"{file_name(task)}.py", text))
    return files


def zoo(folder: str = ZOO, tasks: Sequence[str] = ()) -> dict[str, str]:
    """Return the policy's name or file for each task that a zoo has a controller for.

    Args:
        folder: of the workspace's policies, "zoo" or "robust" or one of your own, or any other folder by its path; a
            file is named after its task.
        tasks: whose controllers, empty for all.

    Raises:
        UnknownNameError: the folder has none, or none for a task.
    """
    names = {file_name(name): name for name in environments()}
    prefix = f"{folder.strip('/').removeprefix('policies/')}/"
    found = {name.removeprefix(prefix): name for name in policies() if name.startswith(prefix)}
    where = f"policies/{prefix}"
    if not any(stem in names for stem in found) and (Path(folder).is_dir() or Path(folder).is_absolute()):
        found, where = {path.stem: str(path) for path in Path(folder).glob("*.py")}, folder
    known = {names[stem]: policy for stem, policy in sorted(found.items()) if stem in names}
    if not known:
        raise UnknownNameError(
            f"{where} has no controller that is named after a task; fill it with: trace-robot bench --tasks mt50 --zoo"
            f" {where}"
        )
    for task in tasks:
        if task not in known:
            raise unknown("controller in the zoo for", task, known)
    return {task: known[task] for task in tasks} if tasks else known


def evaluate_zoo(
    tasks: Sequence[str] = (),
    *,
    folder: str = ZOO,
    episodes: int = 50,
    seed: int = 0,
    workers: int | None = None,
    backend: BackendName = "local",
    address: str | None = None,
    trusted: bool = False,
    options: Mapping[str, Any] | None = None,
    on_report: Callable[[EvaluationReport], None] = lambda report: None,
) -> list[EvaluationReport]:
    """Score the zoo's controllers on held-out conditions.

    Args:
        tasks: whose controllers, empty for all.
        folder: of controllers, see ``zoo``.
        episodes: held-out conditions of each controller.
        seed: from which the conditions follow; another one gives conditions that no run has trained on or was
            scored on.
        workers: rollout processes, None for one a processor.
        backend: where rollouts run, see ``RolloutEngine``.
        address: of a ray cluster.
        trusted: run controllers also where this machine has no sandbox.
        options: of every environment, such as an envelope.
        on_report: called with every report as soon as it is there.

    Returns:
        One report a controller.

    Raises:
        UnknownNameError: the zoo is empty, or has no controller for a task.
    """
    known = zoo(folder, tasks)
    reports = []
    with RolloutEngine(workers, backend=backend, address=address, trusted=trusted) as engine:
        for task, name in known.items():
            policy = load_policy(name)
            reports.append(
                evaluate(task, policy, episodes=episodes, seed=seed, options=options, engine=engine)
            )
            on_report(reports[-1])
    return reports


def file_name(task: str) -> str:
    """Return a task's name as a Python module can be called."""
    return task.replace("-", "_")


def with_header(text: str, row: ResultRow) -> str:
    """Return a controller's text with imports sorted and its result as docstring.

    Args:
        text: a controller as an optimizer wrote it.
        row: its result.
    """
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
    """Return import lines sorted in three groups: standard library, others, ours."""
    groups: tuple[list[str], ...] = ([], [], [])
    for line in sorted(imports, key=lambda line: (line.startswith("from"), line)):
        top = line.split()[1].partition(".")[0]
        groups[0 if top in sys.stdlib_module_names else 2 if top == "trace_robot" else 1].append(line)
    return ["\n".join(group) for group in groups if group]


def header(row: ResultRow) -> str:
    """Return the docstring of a zoo's file, with the command that makes it again."""
    low, high = row.interval
    score = row.score
    shown = f"success {row.success:.2f}"
    if score.shows_return:
        shown = score.return_text + (f", {shown}" if score.shows_success else "")
    versions = ", ".join(
        f"{name} {version}" for name, version in row.versions.items() if name not in LEFT_OUT
    )
    where = " in worlds that differ" if "world" in PROTOCOLS[row.protocol].options else ""
    rated = f" (95 % interval {low:.2f} to {high:.2f})" if score.shows_success else ""
    paragraphs = [
        f"{row.task}: {shown} on {row.episodes} held-out conditions{where}{rated}.",
        f"Found by the optimizer {row.optimizer} at feedback level {row.feedback}, starting from the policy"
        f" {row.fixed.get('policy')}, with seed {row.seed} and {row.training_episodes} training and confirming"
        f" conditions (success {row.training_success:.2f} there), control {row.control}: {row.candidates:,} candidates,"
        f" {row.environment_steps:,} simulator steps, {row.model_calls:,} model calls. Ended: {row.ended}.",
        f"Made with {versions}, by:",
    ]
    kept = ROBUST if where else ZOO
    command = f"    trace-robot bench --tasks {row.task} {_flags(row.fixed)}--seeds {row.seed} --zoo policies/{kept}"
    return "\n\n".join([paragraphs[0], *(textwrap.fill(each, COLUMNS) for each in paragraphs[1:]), command])


def _flags(fixed: Mapping[str, object]) -> str:
    usual = {"policy": "do_nothing", "feedback": LEVEL, "optimizer": "search", "protocol": "standard"}
    typed = {
        name: value
        for name, value in fixed.items()
        if name != "worlds"
        and value is not None
        and usual.get(name) != value  # a digest, which the protocol gives
    }
    texts = {name: f"{value:g}" if isinstance(value, float) else value for name, value in typed.items()}
    return "".join(f"--{name} {text} " for name, text in texts.items())


def _check(row: ResultRow) -> None:
    if row.feedback != LEVEL:
        raise RunError(
            f"the zoo takes controllers found at feedback level {LEVEL!r} only, got {row.feedback!r}; leave --zoo out"
        )
    # A world and a hold make the same task harder; any other option makes it another one.
    if PROTOCOLS[row.protocol].options.keys() - {"world", "hold"}:
        raise RunError(
            f"the zoo is for the environments as they are, and protocol {row.protocol!r} changes them;"
            " use --protocol standard or robust"
        )


def _validated(row: ResultRow, out: Path, engine: RolloutEngine) -> float:
    """Return success, or mean return, of a controller on validation conditions."""
    options = PROTOCOLS[row.protocol].options
    policy = Policy.from_text(_controller(row, out))
    task = Task.load(row.task, policy, control=row.control, options=options, apart=engine.apart)
    seeds = validation_seeds(0, VALIDATION)
    episodes = Evaluator(engine, task, seeds).score(task.policy.text, seeds)
    if row.score.shows_return:
        return sum(episode.total_reward for episode in episodes) / len(episodes)
    return sum(episode.success for episode in episodes) / len(episodes)


def _controller(row: ResultRow, out: Path) -> str:
    try:
        return safe_files.read_bytes(out, row.controller).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(
            f"the controller {str(out / row.controller)!r} cannot be read: {error}; delete its line of"
            " results.jsonl and run again"
        ) from error
