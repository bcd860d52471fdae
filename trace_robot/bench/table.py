"""The results as Markdown: a summary, then one line a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trace_robot.bench.protocol import PAPER, PROTOCOLS
from trace_robot.bench.results import Row
from trace_robot.rollout.outcome import wilson

GOOD = 0.90
ABREAST = 2  # tasks in a line of the zoo's table
NOTHING = "No results yet.\n"


@dataclass(frozen=True, slots=True)
class Score:
    """A task's rows put together: success and its 95 % Wilson interval over the episodes of all seeds."""

    task: str
    rows: tuple[Row, ...]

    @property
    def episodes(self) -> int:
        return sum(row.episodes for row in self.rows)

    @property
    def successes(self) -> int:
        return sum(round(row.success * row.episodes) for row in self.rows)

    @property
    def success(self) -> float:
        return self.successes / self.episodes

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.successes, self.episodes)

    def mean(self, name: str) -> float:
        return float(sum(getattr(row, name) for row in self.rows) / len(self.rows))


def scores(rows: Sequence[Row]) -> list[Score]:
    """Return the rows put together by task, in the order in which the tasks first occur."""
    by_task: dict[str, list[Row]] = {}
    for row in rows:
        by_task.setdefault(row.task, []).append(row)
    return [Score(task, tuple(group)) for task, group in by_task.items()]


def markdown(rows: Sequence[Row]) -> str:
    """Return the summary and the table of rows that share an optimizer and a protocol."""
    if not rows:
        return NOTHING
    found = scores(rows)
    published = _published(rows[0], found)
    asked = any(row.model_calls for row in rows)
    head = [
        "task",
        "success",
        "95 % interval",
        "episodes",
        "crashed",
        "training",
        "candidates",
        "simulator steps",
    ]
    head += [*(["calls", "tokens"] if asked else []), "seconds", *published, "ended"]
    lines = [_summary(rows, found), "", _line(head), "|---|" + "---:|" * (len(head) - 2) + "---|"]
    lines += [_line(_cells(score, asked, published)) for score in found]
    return "\n".join(lines) + "\n"


def zoo_markdown(data: Mapping[str, Any]) -> str:
    """Return the table of what ``trace-robot evaluate zoo --json`` printed, several tasks a line."""
    if not data:
        return NOTHING
    cells = [
        f"{row['task']} | {row['success']:.2f} | {row['interval'][0]:.2f} to {row['interval'][1]:.2f}"
        for row in data["tasks"]
    ]
    good = sum(row["success"] >= GOOD for row in data["tasks"])
    lines = [
        f"**Mean success {data['mean_success']:.3f}** of {len(cells)} controllers, {data['episodes']} episodes each on"
        f" the held-out conditions of seed {data['seed']}; {good} at {GOOD:.2f} or better.",
        "",
        "| " + " | ".join(["task | success | 95 % interval"] * ABREAST) + " |",
        "|" + "---|---:|---:|" * ABREAST,
    ]
    for start in range(0, len(cells), ABREAST):
        line = cells[start : start + ABREAST]
        lines.append("| " + " | ".join(line + [" | | "] * (ABREAST - len(line))) + " |")
    return "\n".join(lines) + "\n"


def _summary(rows: Sequence[Row], found: Sequence[Score]) -> str:
    first = rows[0]
    mean = sum(score.success for score in found) / len(found)
    good = sum(score.success >= GOOD for score in found)
    seeds = sorted({row.seed for row in rows})
    versions = ", ".join(
        f"{k} {v}" for k, v in first.versions.items() if k not in ("platform", "openai", "cma")
    )
    about = PROTOCOLS[first.protocol].about if first.protocol in PROTOCOLS else ""
    lines = [
        f"**Mean success {mean:.3f}** over {len(found)} task{'s' * (len(found) != 1)}; {good} of them at"
        f" {GOOD:.2f} or better. Episodes that crashed count as failures"
        f" ({sum(row.crashes for row in rows)} of {sum(row.episodes for row in rows)}).",
        "",
        f"- optimizer {first.optimizer}{f' ({first.model})' if first.model else ''}, feedback level {first.feedback},"
        f" control {'/'.join(sorted({row.control for row in rows}))}, start {first.fixed.get('policy')}",
        f"- protocol {first.protocol}: {about}; seeds {', '.join(map(str, seeds))}",
        f"- budget of a run: {_budget(first.fixed)}; {sum(row.wall_seconds for row in rows) / 60:.0f} minutes in all"
        f" with {'/'.join(map(str, sorted({row.workers for row in rows})))} workers",
        f"- {versions}",
    ]
    return "\n".join(lines)


def _budget(fixed: Mapping[str, Any]) -> str:
    parts = [f"{fixed[name]:,.10g} {name}" for name in ("seconds", "steps", "iterations") if fixed.get(name)]
    return " or ".join(parts) or "the optimizer's own"


def _published(row: Row, found: Sequence[Score]) -> dict[str, Mapping[str, float]]:
    """Return the columns of published numbers, where this protocol has any for these tasks."""
    if row.protocol != "paper":
        return {}
    known = {score.task for score in found}
    return {f"paper's {name}": numbers for name, numbers in PAPER.items() if known & set(numbers)}


def _cells(score: Score, asked: bool, published: Mapping[str, Mapping[str, float]]) -> list[str]:
    low, high = score.interval
    endings = {row.ended: None for row in score.rows}
    return [
        score.task, f"{score.success:.2f}", f"{low:.2f} to {high:.2f}", str(score.episodes),
        str(sum(row.crashes for row in score.rows)), f"{score.mean('training_success'):.2f}",
        f"{score.mean('candidates'):,.0f}", f"{score.mean('environment_steps'):,.0f}",
        *([f"{score.mean('model_calls'):.0f}", f"{score.mean('tokens'):,.0f}"] if asked else []),
        f"{score.mean('seconds'):.0f}",
        *(f"{numbers[score.task]:.2f}" if score.task in numbers else "" for numbers in published.values()),
        "; ".join(endings),
    ]  # fmt: skip


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
