"""The table and the plot of a benchmark, written to files and into documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from trace_robot import safe_files
from trace_robot.bench.results import ABLATIONS, PROTOCOLS, ROWS, ResultRow, read_rows
from trace_robot.errors import RunError
from trace_robot.rollout.evaluation import wilson
from trace_robot.stats import Returns, Score, three_digits
from trace_robot.store.folder import RunFolder

# Success of the paper's robot experiment at its last iteration (arXiv:2406.16218, figure 7; read off the figure,
# to 0.01): OptoPrime with memory, OPRO. Iterations in which a controller crashed were dropped there.
PAPER: Mapping[str, Mapping[str, float]] = {
    "optoprime": {"reach-v3": 1.00, "push-v3": 0.30, "pick-place-v3": 0.40},
    "opro": {"reach-v3": 0.47, "push-v3": 0.18, "pick-place-v3": 0.00},
}

TABLE, PLOT = "table.md", "plot.svg"
SLOT = re.compile(r"(<!-- results: (?P<name>[\w./-]+) -->\n).*?(<!-- end of results -->)", re.DOTALL)


def write_report(out: Path) -> tuple[Path, Path]:
    """Write table.md and plot.svg of all rows in ``out`` and return their paths."""
    rows = read_rows(out / ROWS)
    folder = RunFolder(out)
    return folder.write(TABLE, markdown(rows)), folder.write(PLOT, svg(rows))


def pasted(document: str, find: Callable[[str], Path], picture: Callable[[str], str]) -> str:
    """Return a Markdown document with its tables and plots of results renewed.

    A place for one is a pair of comments, ``<!-- results: NAME -->`` and ``<!-- end of results -->``; what was
    between them is replaced, by "No results yet." where there is no such file. A name that ends with .json is
    that of a file with the output of ``trace-robot zoo --json``, or of ``trace-robot stress zoo --json`` where it
    begins with "stress".

    Args:
        document: its text.
        find: gives the results file of a name.
        picture: gives the address of a name's plot, as the document must write it.

    Raises:
        RunError: a results file is there, but cannot be read.
    """

    def render_slot(match: re.Match[str]) -> str:
        name = match["name"]
        if name.endswith(".json"):
            path = find(name)
            stressed = name.startswith("stress")
            table = stress_markdown(_json(path, list)) if stressed else zoo_markdown(_json(path, Mapping))
            return f"{match[1]}\n{table}\n{match[3]}"
        rows = read_rows(find(name))
        plot = f"\n![Success by task]({picture(name)})\n" if rows else ""
        return f"{match[1]}\n{markdown(rows)}{plot}\n{match[3]}"

    return SLOT.sub(render_slot, document)


def _json(path: Path, kind: type) -> Any:
    """Return what a JSON file holds, None where there is no file.

    Args:
        path: of the file.
        kind: Mapping or list, what it must hold.
    """
    try:
        data = safe_files.load_json(safe_files.read_bytes(path.parent, path.name))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{str(path)!r} is not what --json prints: {error}") from error
    if not isinstance(data, kind):
        wanted = "a list of reports" if kind is list else "an object"
        raise RunError(
            f"{str(path)!r} is not what --json prints: must be {wanted}, got {type(data).__name__}"
        )
    return data


def named(document: str) -> list[str]:
    """Return the names of the results files that a document has a place for."""
    return [match["name"] for match in SLOT.finditer(document)]


GOOD = 0.90  # success from which a task is counted as learned in a summary
BORNE = 0.80  # success in its worst world from which a controller bears a battery
LISTED = 10  # controllers that bear less, in a sentence
ABREAST = 2  # tasks in a line of the zoo's table
NOTHING = "No results yet.\n"


@dataclass(frozen=True, slots=True)
class TaskScore:
    """The rows of one task: success and its interval over the episodes of all seeds."""

    task: str
    rows: tuple[ResultRow, ...]

    @property
    def episodes(self) -> int:
        """Held-out episodes of all seeds."""
        return sum(row.episodes for row in self.rows)

    @property
    def successes(self) -> int:
        """Those of them that succeeded."""
        return sum(round(row.success * row.episodes) for row in self.rows)

    @property
    def success(self) -> float:
        """Success rate, from 0 to 1."""
        return self.successes / self.episodes

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the success rate."""
        return wilson(self.successes, self.episodes)

    @property
    def score(self) -> Score:
        """Success and return over the episodes of all seeds."""
        known = [row.score.returns for row in self.rows if row.score.returns is not None]
        return Score(self.success, self.episodes, Returns.pooled(known), self.rows[0].measure)

    def mean(self, name: str) -> float:
        """Return the mean of a field over the seeds."""
        return float(sum(getattr(row, name) for row in self.rows) / len(self.rows))


def scores(rows: Sequence[ResultRow]) -> list[TaskScore]:
    """Return the rows grouped by task, in the order in which tasks first occur."""
    by_task: dict[str, list[ResultRow]] = {}
    for row in rows:
        by_task.setdefault(row.task, []).append(row)
    return [TaskScore(task, tuple(group)) for task, group in by_task.items()]


def markdown(rows: Sequence[ResultRow]) -> str:
    """Return the summary and the table of rows that share an optimizer and a protocol."""
    if not rows:
        return NOTHING
    tasks = scores(rows)
    published = _published(rows[0], tasks)
    asked = any(row.model_calls for row in rows)
    returns = any(score.score.shows_return for score in tasks)
    head = [
        "task",
        *(["mean return", "95 % interval"] if returns else []),
        "success",
        "95 % interval",
        "episodes",
        "crashed",
        "training",
        "candidates",
        "simulator steps",
    ]
    head += [*(["calls", "tokens"] if asked else []), "seconds", *published, "ended"]
    lines = [_summary(rows, tasks), "", _line(head), "|---|" + "---:|" * (len(head) - 2) + "---|"]
    lines += [_line(_cells(score, asked, published, returns)) for score in tasks]
    return "\n".join(lines) + "\n"


def zoo_markdown(data: Mapping[str, Any] | None) -> str:
    """Return the table of the output of ``zoo --json``, several tasks a line."""
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


def stress_markdown(reports: Sequence[Mapping[str, Any]] | None) -> str:
    """Return the table of the output of ``stress zoo --json``, a line for each world."""
    if not reports:
        return NOTHING
    rates: dict[str, list[tuple[float, str]]] = {}
    for report in reports:
        for row in report["rows"]:
            if "success" in row:
                rates.setdefault(row["name"], []).append((row["success"], report["task"]))
    mean = sum(report["mean_success"] for report in reports) / len(reports)
    bearing = [report for report in reports if report["worst"]["success"] >= BORNE]
    first = reports[0]
    lines = [
        f"**Mean success {mean:.3f}** over {len(rates)} worlds of {len(reports)} controllers; the worst world of"
        f" {len(bearing)} of them at {BORNE:.2f} or better.",
        "",
        f"Battery {first['battery']}, held-out conditions of seed {first['seed']},"
        f" {first['rows'][0].get('episodes', 0)} episodes for each controller and world.",
        "",
        f"| world | mean success | controllers at {GOOD:.2f} or better | lowest |",
        "|---|---:|---:|---|",
    ]
    for world, each in rates.items():
        good = sum(rate >= GOOD for rate, _ in each)
        lowest, task = min(each)
        share = sum(rate for rate, _ in each) / len(each)
        lines.append(f"| {world} | {share:.3f} | {good} of {len(each)} | {task} {lowest:.2f} |")
    below = sorted(
        (
            report["worst"]["success"],
            f"`{report['task']}` {report['worst']['success']:.2f} ({report['worst']['name']})",
        )
        for report in reports
        if report not in bearing
    )
    if below:
        few = "" if len(below) <= LISTED else f" {LISTED} of {len(below)} with"
        lines += [
            "",
            f"Lower,{few} their worst worlds: " + ", ".join(text for _, text in below[:LISTED]) + ".",
        ]
    return "\n".join(lines) + "\n"


def _verdict(tasks: Sequence[TaskScore]) -> str:
    """Return the sentence on mean success, of tasks that define one."""
    rated = [score for score in tasks if score.score.shows_success]
    bare = len(tasks) - len(rated)
    some = f"{bare} task{'s' * (bare != 1)} without a success: see the mean return."
    if not rated:
        return f"**{some}**"
    mean = sum(score.success for score in rated) / len(rated)
    good = sum(score.success >= GOOD for score in rated)
    return (
        f"**Mean success {mean:.3f}** over {len(rated)} task{'s' * (len(rated) != 1)}; {good} of them at"
        f" {GOOD:.2f} or better.{f' {some}' if bare else ''}"
    )


def _summary(rows: Sequence[ResultRow], tasks: Sequence[TaskScore]) -> str:
    first = rows[0]
    seeds = sorted({row.seed for row in rows})
    versions = ", ".join(
        f"{k} {v}" for k, v in first.versions.items() if k not in ("platform", "openai", "cma")
    )
    summary = PROTOCOLS[first.protocol].summary if first.protocol in PROTOCOLS else ""
    if any(row.measure != "success" for row in rows):  # the summaries are of Meta-World
        summary = summary.replace("500 simulator steps an episode", "episodes as long as each task says")
    shown = "".join(f", {name} {first.fixed[name]}" for name in ABLATIONS if name in first.fixed)
    lines = [
        f"{_verdict(tasks)} Episodes that crashed count as failures"
        f" ({sum(row.crashes for row in rows)} of {sum(row.episodes for row in rows)}).",
        "",
        f"- optimizer {first.optimizer}{f' ({first.model})' if first.model else ''}, feedback level {first.feedback},"
        f" control {'/'.join(sorted({row.control for row in rows}))}, start {first.fixed.get('policy')}{shown}",
        f"- protocol {first.protocol}: {summary}; seeds {', '.join(map(str, seeds))}",
        f"- budget of a run: {_budget(first.fixed)}; {sum(row.wall_seconds for row in rows) / 60:.0f} minutes in all"
        f" with {'/'.join(map(str, sorted({row.workers for row in rows})))} workers",
        f"- {versions}",
    ]
    return "\n".join(lines)


def _budget(fixed: Mapping[str, Any]) -> str:
    parts = [f"{fixed[name]:,.10g} {name}" for name in ("seconds", "steps", "iterations") if fixed.get(name)]
    return " or ".join(parts) or "the optimizer's own"


def _published(row: ResultRow, tasks: Sequence[TaskScore]) -> dict[str, Mapping[str, float]]:
    """Return columns of published numbers, if the protocol has any for these tasks."""
    if row.protocol != "paper":
        return {}
    known = {score.task for score in tasks}
    return {f"paper's {name}": numbers for name, numbers in PAPER.items() if known & set(numbers)}


def _cells(
    score: TaskScore, asked: bool, published: Mapping[str, Mapping[str, float]], returns: bool
) -> list[str]:
    low, high = score.interval
    shown = score.score
    endings = {row.ended: None for row in score.rows}
    return [
        score.task, *(_return_cells(shown) if returns else ()),
        *((f"{score.success:.2f}", f"{low:.2f} to {high:.2f}") if shown.shows_success else ("-", "-")),
        str(score.episodes),
        str(sum(row.crashes for row in score.rows)), f"{score.mean('training_success'):.2f}",
        f"{score.mean('candidates'):,.0f}", f"{score.mean('environment_steps'):,.0f}",
        *([f"{score.mean('model_calls'):.0f}", f"{score.mean('tokens'):,.0f}"] if asked else []),
        f"{score.mean('seconds'):.0f}",
        *(f"{numbers[score.task]:.2f}" if score.task in numbers else "" for numbers in published.values()),
        "; ".join(endings),
    ]  # fmt: skip


def _return_cells(score: Score) -> tuple[str, str]:
    if score.returns is None:
        return "-", "-"
    low, high = map(three_digits, score.returns.interval)
    return three_digits(score.returns.mean), f"{low} to {high}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


# Of the plot, in pixels; the left margin holds the longest name of a task.
LEFT, WIDTH, RIGHT = 190, 480, 60
TOP, ROW, BOTTOM = 64, 20, 34
BAR, INTERVAL, MARK, GRID, TEXT = "#4c78a8", "#1d3557", "#d1495b", "#dddddd", "#222222"


def svg(rows: Sequence[ResultRow]) -> str:
    """Return the bar chart of rows that share optimizer and protocol, as SVG.

    The best task comes first. The text is the same for the same rows, so that a diff shows a change of results.
    """
    tasks = sorted(scores(rows), key=lambda score: -score.success)
    published = PAPER["optoprime"] if rows and rows[0].protocol == "paper" else {}
    height = TOP + ROW * len(tasks) + BOTTOM
    width = LEFT + WIDTH + RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" fill="{TEXT}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *_heading(rows, tasks, bool(published)),
        *_axis(height),
    ]
    for number, score in enumerate(tasks):
        parts += _bar(score, TOP + ROW * number, published.get(score.task))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _heading(rows: Sequence[ResultRow], tasks: Sequence[TaskScore], published: bool) -> list[str]:
    if not rows:
        return [_text(10, 24, "no results yet")]
    first, rated = rows[0], [score.success for score in tasks if score.score.shows_success]
    mean = f"mean {sum(rated) / len(rated):.3f}" if rated else "mean returns"
    what = f"{first.optimizer}, protocol {first.protocol}, feedback level {first.feedback}"
    summary = "success on held-out conditions, 95 % interval" + (
        "; red: the paper's OptoPrime" if published else ""
    )
    return [_text(10, 24, f"{what}: {mean}", 'font-size="15"'), _text(10, 44, summary)]


def _axis(height: int) -> list[str]:
    parts = []
    for tenth in range(0, 11, 2):
        x = _x(tenth / 10)
        parts.append(_line_of_plot(x, TOP - 4, x, height - BOTTOM + 2, GRID, 1))
        parts.append(_text(x, height - BOTTOM + 18, f"{tenth / 10:.1f}", 'text-anchor="middle"'))
    return parts


def _bar(score: TaskScore, y: int, published: float | None) -> list[str]:
    middle = y + ROW / 2
    low, high = score.interval
    if not score.score.shows_success:  # returns of different tasks have no common axis, so they are written
        return [
            _text(LEFT - 8, middle + 4, score.task, 'text-anchor="end"'),
            _text(LEFT + 8, middle + 4, f"{score.score.return_text}, no success is defined"),
        ]
    parts = [
        _text(LEFT - 8, middle + 4, score.task, 'text-anchor="end"'),
        f'<rect x="{LEFT}" y="{y + 4}" width="{_x(score.success) - LEFT:.1f}" height="{ROW - 8}" fill="{BAR}"/>',
        _line_of_plot(_x(low), middle, _x(high), middle, INTERVAL, 2),
        _text(LEFT + WIDTH + 8, middle + 4, f"{score.success:.2f}"),
    ]
    if published is not None:
        parts.append(_line_of_plot(_x(published), y + 1, _x(published), y + ROW - 1, MARK, 3))
    return parts


def _x(success: float) -> float:
    return LEFT + WIDTH * success


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}"{" " + more if more else ""}>{escape(text)}</text>'


def _line_of_plot(x1: float, y1: float, x2: float, y2: float, color: str, width: int) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"'
        f' stroke-width="{width}"/>'
    )
