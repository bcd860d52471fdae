"""A recorded episode as lines: rows at change points, run-length encoded.

Change point detection here is by hand: a row is worth its place where a value that lay still begins to move or stops,
where two points are nearest, and where ``selection`` sees a jump, a turn, another call or a failure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from trace_robot.llm.metering import token_bound
from trace_robot.optimizers.prompt import graph_text, selection
from trace_robot.optimizers.prompt.selection import Selection, select
from trace_robot.optimizers.prompt.table import Entry, Record, Series, StepTable
from trace_robot.optimizers.prompt.values import Leaf, at_scale, number, program_text

ROW_TOKENS = 90  # of a row at most; columns in which the least happens give way
FIRST_SCALE = 1.0  # at_scale writes a thousandth of it: 0.001 m, 0.001 rad
# A micrometer, a microradian: what is smaller at every step is what a solver leaves of zero. Relative, too: a value
# that changes by less than a millionth of its size is a constant.
NOISE = 1e-6
STILL = 0.02  # of a series' largest change in a step, below which it lies still
SETTLED = 3  # steps that it must lie still before a movement counts as a new one
MOST_MOVES = 6  # of a series, the largest
LONGEST = 1000  # characters of a value; the recorder keeps fewer
# What a list or text in the memory has more than before is recorded with the place where it begins.
APPENDED = re.compile(
    r"memory\.(?P<key>\w+)\[(?P<first>\d+)(?P<more>:\])?(?(more)(?:\[(?P<place>\d+)\])?|\])(?P<rest>\..*)?$"
)
NUMBERS = re.compile(r"[-+.\d\s]+$")
WEIGHTS = {"nearest": 97.0, "move": 80.0, "stop": 78.0, "log": 60.0, "beside": 56.0}


@dataclass(frozen=True, slots=True)
class TraceRow:
    """A row: what the values were in a step, or in each of some steps.

    Args:
        step: the first one.
        weight: how much happens there.
        text: of the row.
    """

    step: int
    weight: float
    text: str


@dataclass(frozen=True, slots=True)
class EpisodeTrace:
    """The lines of one graph, by what they show. The fields are those parts.

    Args:
        rows: in the order of the steps.
        header: of the rows, the names of their columns.
        title: says what the rows are.
        log: steps with what the program wrote into a list or a text of its memory.
    """

    code: Sequence[str] = ()
    documentation: Sequence[str] = ()
    inputs: Sequence[str] = ()
    stages: Sequence[str] = ()
    distances: Sequence[str] = ()
    constants: Sequence[str] = ()
    outputs: Sequence[str] = ()
    rows: Sequence[TraceRow] = ()
    header: str = ""
    title: str = ""
    log: Sequence[tuple[int, str]] = ()

    @classmethod
    def of(
        cls, records: Sequence[Record], variables: Collection[str] = (), mask: Collection[str] = ()
    ) -> EpisodeTrace:
        """Return the lines of a recorded graph.

        Args:
            records: parents before children; none gives a trace without lines.
            variables: names of parameters, which are shown elsewhere.
            mask: names of parts to leave out.
        """
        if not records:
            return cls()
        table = StepTable.from_records(records)
        log, written = _log_of(table.series)
        table.series[:] = [one for one in table.series if one.name not in written]
        noise = _without_noise(table)
        chosen = select(table, mask)
        rows, header, title = _rows(table, chosen, [step for step, _ in log])
        scales = {name: min(scale, FIRST_SCALE) for name, scale in chosen.scales.items()}
        inputs = [graph_text.constant_text(one, table, scales) for one in chosen.constant_inputs]
        # A part of a vector that has a column says little more than the column.
        columns = tuple(f"{one.name}[" for one in chosen.rows)
        plateaus = [
            (graph_text.plateau_text(name, runs, LONGEST), not name.startswith(columns))
            for name, runs in chosen.plateaus
        ]
        return cls(
            code=_blocks(graph_text.code_text(table)),
            documentation=[
                f"{name}: {program_text(text, LONGEST)}"
                for name, text in table.documentation.items()
                if name not in variables  # its docstring stands in #Variables
            ],
            inputs=[*_entries(table.entries, variables), *inputs],
            stages=[*(text for text, is_stage in plateaus if is_stage), *_values(table)],
            distances=[
                *(graph_text.distance_text(series, FIRST_SCALE) for series in chosen.distances),
                *(text for text, is_stage in plateaus if not is_stage),
                *(_steady(series, reach, scales) for series, reach in chosen.steady),
            ],
            constants=[*(graph_text.constant_text(one, table, scales) for one in chosen.constant), *noise],
            outputs=_outputs(table, chosen, scales),
            rows=rows,
            header=header,
            title=title,
            log=log,
        )


def _without_noise(table: StepTable) -> list[str]:
    """Take out the series that differ by noise alone, and return a line on each."""
    lines, kept = [], []
    for one in table.series:
        numbers = [number for value in one.values.values() for number in _parts(value)]
        size = max(map(abs, numbers), default=0.0)
        if not numbers or one.constant or not math.isfinite(size):
            kept.append(one)
        elif size < NOISE:
            lines.append(f"{one.name} = about 0, within {NOISE:g}")
        elif _reach(one) < NOISE * max(size, 1.0):
            last = graph_text.leaf_text(list(one.values.values())[-1], min(size, FIRST_SCALE), LONGEST)
            lines.append(f"{one.name} = {last}, changes by less than {NOISE * max(size, 1.0):g}")
        else:
            kept.append(one)
    table.series[:] = kept
    return lines


def _parts(value: Leaf) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,) if isinstance(value, float) else ()


def _reach(series: Series) -> float:
    """Return the largest range of a component, infinity where none can be compared."""
    rows = [_parts(value) for value in series.values.values()]
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        return math.inf
    return max(float(max(column) - min(column)) for column in zip(*rows, strict=True))


def _blocks(code: str) -> list[str]:
    """Return the calls of each pattern with the comment above them."""
    return [block for block in re.split(r"\n(?=# )", code) if block.strip()]


def _entries(entries: Iterable[Entry], variables: Collection[str]) -> list[str]:
    kinds = ("input", "constant")
    return [
        f"({e.kind}) {e.name} = {_value(e)}" for e in entries if e.kind in kinds and e.base not in variables
    ]


def _values(table: StepTable) -> list[str]:
    return (
        [] if table.steps else [f"{e.name} = {_value(e)}" for e in table.entries if e.call and not e.output]
    )


def _value(entry: Entry) -> str:
    return number(entry.value, 4) if isinstance(entry.value, float) else program_text(entry.value, LONGEST)


def _outputs(table: StepTable, chosen: Selection, scales: Mapping[str, float]) -> list[str]:
    lines = [f"{e.name} = {_value(e)}" for e in table.entries if e.output and e.call]
    failures = sorted(table.failures.items())[: graph_text.MOST_FAILURES]
    lines += [f"step {step}: {_value(exception)}" for step, exception in failures]
    for series in chosen.outputs:
        last = table.steps[-1]
        lines.append(f"{series.name} = {_cell(series, last, scales)}, at the last step {last}")
    return lines


def _steady(series: Series, reach: float, scales: Mapping[str, float]) -> str:
    last = _cell(series, list(series.values)[-1], scales)
    return f"{series.name} = about {last}, changes by at most {at_scale(reach, reach * 10)}"


def _cell(series: Series, step: int, scales: Mapping[str, float]) -> str:
    """Return a value to the thousandth or finer, "-" for none."""
    if step not in series.values:
        return "-"
    return graph_text.leaf_text(series.values[step], scales.get(series.name, FIRST_SCALE), LONGEST)


# Rows.


def _rows(table: StepTable, chosen: Selection, logged: Sequence[int]) -> tuple[list[TraceRow], str, str]:
    """Return the rows in the order of their steps, their header and their title."""
    if not table.steps or not chosen.rows:
        return [], "", ""
    weights = _weights(table, chosen, logged)
    columns = _columns(table, chosen)
    scales = {one.name: min(chosen.scales[one.name], FIRST_SCALE) for one in columns}
    cells = {
        step: " | ".join(_cell(one, step, scales).replace("\n", " ") for one in columns)
        for step in table.steps
    }
    spread = {
        step: -place / (2 * len(table.steps))
        for place, step in enumerate(selection.evenly_spread(table.steps))
    }
    rows, runs = [], list(_equal_runs(table.steps, cells))
    for run in runs:
        first, last = run[0], run[-1]
        weight = max(weights.get(step, spread[step]) for step in run)
        label = str(first) if first == last else f"{first}-{last}"
        rows.append(TraceRow(first, weight, f"{label} | {cells[first]}"))
    left = [one.name for one in chosen.rows if one not in columns]
    title = f"{len(table.steps)} steps; rows where most happens" + (
        ", 3-7 for equal ones" if len(runs) < len(cells) else ""
    )
    title += f"; without {', '.join(left)}" if left else ""
    return rows, " | ".join(["step", *(one.name for one in columns)]), f"{title}:"


def _equal_runs(steps: Sequence[int], cells: Mapping[int, str]) -> Iterator[list[int]]:
    """Yield each stretch of steps with equal rows."""
    run = [steps[0]]
    for step in steps[1:]:
        if cells[step] != cells[run[-1]]:
            yield run
            run = []
        run.append(step)
    yield run


def _columns(table: StepTable, chosen: Selection) -> list[Series]:
    """Return the series with most events, as many as fit into a row."""
    middle = table.steps[len(table.steps) // 2]
    costs = {
        one.name: token_bound(_cell(one, middle, {one.name: min(chosen.scales[one.name], FIRST_SCALE)})) + 2
        for one in chosen.rows
    }
    if sum(costs.values()) <= ROW_TOKENS:
        return list(chosen.rows)
    events = {one.name: sum(weight for _, weight in _own_events(one)) for one in chosen.rows}
    room, kept = ROW_TOKENS, set[str]()
    last = chosen.rows[-1].name  # what the program computed at the end of a step: its action
    for name in sorted(costs, key=lambda name: (name != last, -events[name] / costs[name])):
        if costs[name] <= room or not kept:
            room -= costs[name]
            kept.add(name)
    return [one for one in chosen.rows if one.name in kept]


def _own_events(series: Series) -> list[tuple[int, float]]:
    return [*selection.events(series), *_moves(series)]


def _weights(table: StepTable, chosen: Selection, logged: Sequence[int]) -> dict[int, float]:
    """Return the weight of each step at or beside which something happens."""
    weights = dict(chosen.weights)
    telling = [event for one in chosen.rows for event in _moves(one)]
    for distance in chosen.distances:
        nearest = min(distance.values, key=lambda step: _float(distance.values[step]))
        telling.append((nearest, WEIGHTS["nearest"]))
    telling += [(step, WEIGHTS["log"]) for step in logged]
    known = set(table.steps)
    beside = [
        (at, WEIGHTS["beside"])
        for step, weight in telling
        if weight > WEIGHTS["log"]
        for at in (step - 1, step + 1)
    ]
    for step, weight in (*telling, *beside):
        if step in known:
            weights[step] = max(weights.get(step, 0.0), weight)
    return weights


def _moves(series: Series) -> list[tuple[int, float]]:
    """Return the steps at which a series begins to move or stops."""
    steps = [step for step, value in series.values.items() if _numbers(value)]
    changes = [_change(series.values[a], series.values[b]) for a, b in pairwise(steps)]
    top = max((change for change in changes if math.isfinite(change)), default=0.0)
    if top <= 0 or len(changes) <= SETTLED:
        return []
    moving = [change > STILL * top for change in changes]
    found = []
    for place in range(1, len(moving)):
        if moving[place] and not any(moving[max(0, place - SETTLED) : place]):
            size = math.fsum(c for c in changes[place : place + SETTLED] if math.isfinite(c))
            found.append((size, steps[place], WEIGHTS["move"]))
        elif not moving[place] and moving[place - 1] and not any(moving[place : place + SETTLED]):
            size = math.fsum(c for c in changes[max(0, place - SETTLED) : place] if math.isfinite(c))
            found.append((size, steps[place], WEIGHTS["stop"]))
    found.sort(reverse=True)
    return [(step, weight) for _, step, weight in found[:MOST_MOVES]]


def _numbers(value: Leaf) -> bool:
    return isinstance(value, tuple) or (isinstance(value, float) and not isinstance(value, bool))


def _change(before: Leaf, after: Leaf) -> float:
    one, other = (value if isinstance(value, tuple) else (_float(value),) for value in (before, after))
    return math.dist(one, other) if len(one) == len(other) else 0.0


def _float(value: Leaf) -> float:
    return float(value) if isinstance(value, float | int) else math.inf


# What the program wrote.


def _log_of(series: Sequence[Series]) -> tuple[list[tuple[int, str]], set[str]]:
    """Return what was appended to the memory, by step, and its series.

    A call gets what the calls before it wrote, so that an entry belongs to the step before the one that shows it first.
    A list that keeps its length is no log.
    """
    entries: dict[tuple[str, int], list[tuple[int, str, str]]] = {}
    names: dict[str, set[str]] = {}
    grown: list[tuple[int, str, str]] = []
    for one in series:
        match = APPENDED.match(one.name)
        if match is not None and one.values:
            step, value = min(one.values.items(), key=lambda item: item[0])
            place = int(match["first"]) + int(match["place"] or 0)
            inside = (match["rest"] or "").lstrip(".")
            entries.setdefault((match["key"], place), []).append((step, inside, _whole(value)))
            names.setdefault(match["key"], set()).add(one.name)
        elif one.name.startswith("memory.") and (added := list(_growth(one))):
            grown += [(step, one.name.removeprefix("memory."), text) for step, text in added]
            names[one.name.removeprefix("memory.")] = {one.name}
    found = [*grown]
    logs = {key for key in {key for key, _ in entries} if _is_log(key, entries)}
    for (key, _), parts in entries.items():
        if key in logs:
            texts = [f"{inside} {text}".strip() for _, inside, text in parts]
            found.append((min(step for step, _, _ in parts), key, ", ".join(texts)))
    several = len({key for _, key, _ in found}) > 1
    lines = [(max(0, step - 1), f"{key}: {text}" if several else text) for step, key, text in found]
    written = {name for key in logs | {key for _, key, _ in grown} for name in names.get(key, ())}
    return sorted(lines, key=lambda line: line[0]), written


def _is_log(key: str, entries: Mapping[tuple[str, int], Sequence[tuple[int, str, str]]]) -> bool:
    """Return whether a list of the memory grew, or holds texts."""
    mine = [parts for (other, _), parts in entries.items() if other == key]
    steps = {min(step for step, _, _ in parts) for parts in mine}
    return len(steps) > 1 or not any(NUMBERS.match(text) for parts in mine for _, _, text in parts)


def _growth(series: Series) -> Iterator[tuple[int, str]]:
    """Yield what was appended to a list of numbers, by step."""
    values = list(series.values.items())
    sizes = [len(value) if isinstance(value, tuple) else -1 for _, value in values]
    if len(values) < 2 or min(sizes) < 0 or sizes != sorted(sizes) or sizes[0] == sizes[-1]:
        return
    before = 0
    for step, value in values:
        if isinstance(value, tuple) and len(value) > before:
            yield step, _whole(value[before:])
            before = len(value)


def _whole(value: Leaf) -> str:
    return graph_text.leaf_text(value, FIRST_SCALE, LONGEST)
