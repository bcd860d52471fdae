"""View of a run in other worlds: the stress battery's rates, medians and failures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from trace_robot import safe_files
from trace_robot.errors import RunError
from trace_robot.report.escape import inside
from trace_robot.report.iterations import STRESS, Film, Source
from trace_robot.report.run_plots import PageStage, stage
from trace_robot.spec import MEASURES
from trace_robot.stats import three_digits
from trace_robot.store.history import IterationInfo, RunInfo, Score
from trace_robot.store.records import CheckedRow, decoding

# The stress battery, of a file that may be a stranger's.

MOST_STRESS = 8_000_000  # bytes; 18 worlds with 1,000 failures each have about 3 million
MOST_WORLDS, MOST_FAILURES = 100, 20  # rows of the table; failures of a world that are listed
MOST_EPISODES = 1_000_000  # of a world
MOST_CHARACTERS = 400  # of a text; of all that a world draws there are about 200
HAPPENED = {"time": "time ran out", "terminated": "ended by the environment", "error": "error"}


@dataclass(frozen=True, slots=True)
class WorldView:
    """A world of the battery.

    Attributes:
        bar: its name, the success rate, and as note the interval, or why the environment cannot have it.
        measures: medians by name, as text with three digits.
        typical: how the typical failure came about, "" where nothing failed.
        failed: failed episodes.
        failures: condition, what happened, and what the world drew, of the first of them.
        film: video of the typical failure.
    """

    bar: PageStage
    measures: Mapping[str, str] = field(default_factory=dict)
    typical: str = ""
    failed: int = 0
    failures: tuple[tuple[str, str, str], ...] = ()
    film: Film | None = None


@dataclass(frozen=True, slots=True)
class WorldsView:
    """The section on other worlds, or ``problem`` in its place.

    Attributes:
        worst: a sentence on the worst world.
        note: what was measured, and of which controller.
        measures: name and heading of the medians that there are.
        worlds: in the order of the battery.
        problem: why stress.json cannot be read, "" where it can.
    """

    worst: str = ""
    note: str = ""
    measures: tuple[tuple[str, str], ...] = ()
    worlds: tuple[WorldView, ...] = ()
    problem: str = ""

    @property
    def failing(self) -> list[WorldView]:
        """The worlds with failures, the worst first."""
        failed = [each for each in self.worlds if each.failed and each.bar.at is not None]
        return sorted(failed, key=lambda each: each.bar.at or 0.0)


def other_worlds(run: RunInfo, iterations: Sequence[IterationInfo], source: Source) -> WorldsView | None:
    """Return the view of a run's stress.json, None without that file.

    Args:
        run: whose folder it is in.
        iterations: of the run, of which the best is compared with the controller that was stressed.
        source: the address of a video in the page, None to leave it out.
    """
    name = f"{STRESS}.json"
    try:
        text = safe_files.read_bytes(run.folder.parent, f"{run.name}/{name}", MOST_STRESS)
    except FileNotFoundError:
        return None
    except OSError as error:
        return WorldsView(problem=f"{name} of this run cannot be read: {error.strerror}")
    try:
        with decoding(f"{name} of this run"):
            return _worlds(safe_files.load_json(text, MOST_STRESS), run, iterations, source)
    except RunError as error:
        return WorldsView(problem=str(error))


def _worlds(data: Any, run: RunInfo, iterations: Sequence[IterationInfo], source: Source) -> WorldsView:
    rows, checked = _listed(data, "rows"), CheckedRow(data)
    if len(rows) > MOST_WORLDS:
        raise ValueError(f"rows must be at most {MOST_WORLDS} worlds, got {len(rows):,}")
    worlds = tuple(_world(place, row, run, source) for place, row in enumerate(rows))
    rates = [(each.bar.at, each.bar) for each in worlds if each.bar.at is not None]
    if not rates:
        raise ValueError("rows must have episodes in one world or more")
    rate, bar = min(rates, key=lambda pair: pair[0])
    mean = statistics.fmean(rate for rate, _ in rates) / 100
    count = f"{len(rates)} world{'' if len(rates) == 1 else 's'}"
    worst = f"Worst of {count}: “{bar.title}” with success {bar.value}; the mean is {mean:.2f}."
    if rate == 100:
        worst = f"It succeeded in every episode of {count}."
    note = (
        f"Battery {_brief(checked.text('battery'))} on held-out conditions, seed {checked.seed('seed')}, control"
        f" {_brief(checked.text('control'))}. The marks are the rate with its 95 % interval; measures are medians."
    )
    known = {name for each in worlds for name in each.measures}
    titles = tuple((name, f"{what} ({unit})") for name, (what, unit) in MEASURES.items() if name in known)
    return WorldsView(worst, note + _of(data, checked, iterations), titles, worlds)


def _of(data: Any, checked: CheckedRow, iterations: Sequence[IterationInfo]) -> str:
    """Return of which controller the report is, "" where the file does not say it."""
    if "controller_sha256" not in data:  # of stress --json with another controller
        return ""
    best = [item for item in iterations if item.better][-1:]
    of = f" Measured with the controller of iteration {checked.integer('iteration')}"
    if not best or checked.text("controller_sha256") == best[0].digest:
        return f"{of}."
    return f"{of}; the best is another one now, that of iteration {best[0].number}."


def _world(place: int, data: Any, run: RunInfo, source: Source) -> WorldView:
    row = CheckedRow(data)
    name = _brief(row.text("name"))
    if "left_out" in data:
        return WorldView(PageStage(name, "–", _brief(row.text("left_out"))))
    episodes = row.integer("episodes")
    if not 1 <= episodes <= MOST_EPISODES:
        raise ValueError(f"episodes must be from 1 to {MOST_EPISODES:,}, got {episodes:,}")
    # The interval is computed again rather than believed.
    success = row.amount("success", 1)
    bar = stage(name, Score(success, episodes), "of {}, ", interval=True)
    if data.get("no_effect") is True:
        bar = replace(bar, note=f"{bar.note}, no effect here")
    found = {key: value for key, value in dict(data["measures"]).items() if value is not None}
    medians = {key: CheckedRow(found).amount(key) for key in MEASURES if key in found}
    measures = {key: three_digits(each) for key, each in medians.items()}
    failures, failed = _listed(data, "failures", least=0), round((1 - success) * episodes)
    if len(failures) != failed:
        raise ValueError(
            f"failures must be {failed:,} for success {success:.2f} of {episodes:,}, got {len(failures):,}"
        )
    typical = _brief(row.text("typical_failure"))
    # Only the name that ``trace-robot stress`` gives it, and only a file: no path of a stranger is looked at.
    video, address = run.folder / STRESS / f"{place:02d}.mp4", None
    if failures and data.get("video") == f"{STRESS}/{video.name}" and inside(video, run.folder):
        address = source(video)
    film = None if address is None else Film(address, f"{name}: {typical}")
    listed = tuple(map(_failure, failures[:MOST_FAILURES]))
    return WorldView(bar, measures, typical, len(failures), listed, film)


def _failure(data: Any) -> tuple[str, str, str]:
    row = CheckedRow(data)
    happened, fault = HAPPENED[row.text("ended")], _brief(row.text("fault"))
    happened += f": {fault}" if fault else ""
    return (
        _brief(str(row.seed("seed"))),
        f"{happened} after {row.integer('steps'):,} simulator steps",
        _brief(row.text("world")),
    )


def _listed(data: Any, name: str, least: int = 1) -> list[Any]:
    if not isinstance(data, dict):
        raise ValueError(f"must be a JSON object, got {type(data).__name__}")
    value = data[name]
    if not isinstance(value, list) or len(value) < least:
        raise ValueError(f"{name} must be a list, got {value!r:.80}")
    return value


def _brief(text: str) -> str:
    """Return a text as one line, cut."""
    line = " ".join(text[: 10 * MOST_CHARACTERS].split())
    return line if len(line) <= MOST_CHARACTERS else f"{line[: MOST_CHARACTERS - 1]}…"
