"""Select what a prompt shows of a table: which values and steps, in which form.

Nothing here is text yet, and nothing depends on the number of tokens. A value that never changes takes one line, one
that holds for a while takes its runs (run-length encoding), and only the others take rows. Rows show the steps at
which something happens.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from trace_robot.optimizers.prompt.table import Series, StepTable
from trace_robot.optimizers.prompt.values import Leaf

FEW = 4  # so few different numbers make a series discrete
SMALL_PART = 0.01  # of a series' size: changes below it are not worth a row
MOST_RUNS = 12  # a series with more of them gets rows
MOST_DISTANCES = 6
MOST_ROWS = 40
FEW_ROWS = 20
MASKED_BY = {"input": "#Inputs", "output": "#Outputs"}
Run = tuple[int, int, Leaf]


@dataclass(frozen=True, slots=True)
class Selection:
    """The series of a table by the form of showing them, and its steps by importance.

    Args:
        constant_inputs: inputs that never change.
        outputs: outputs shown by their value at the last step; none where an exception ended the episode.
        constant: other series that never change.
        steady: series that hardly change, each with the largest difference of two of its values.
        plateaus: series, and components of vectors, that hold few values for a while each, by name.
        distances: between vectors of the same length, as series.
        rows: series shown step by step, as the columns of rows.
        ranking: the steps that may get a row, the most informative first.
        weights: of the steps at which something happens.
        scales: for the series above but ``distances``, by name: the size of the differences that matter.
    """

    constant_inputs: Sequence[Series] = ()
    outputs: Sequence[Series] = ()
    constant: Sequence[Series] = ()
    steady: Sequence[tuple[Series, float]] = ()
    plateaus: Sequence[tuple[str, list[Run]]] = ()
    distances: Sequence[Series] = ()
    rows: Sequence[Series] = ()
    ranking: Sequence[int] = ()
    weights: dict[int, float] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)


def select(table: StepTable, mask: Collection[str] = ()) -> Selection:
    """Decide how each series of a table is shown, and rank the steps.

    Args:
        table: the first pass.
        mask: names of parts that are left out; "#Inputs" and "#Outputs" take their series along.

    Returns:
        The selection; empty where the table has no steps.
    """
    if not table.steps:
        return Selection()
    series = [s for s in table.series if MASKED_BY.get(s.role) not in mask]
    constant = [s for s in series if s.constant]
    names = {s.name for s in constant}
    single = len(table.steps) == 1  # then nothing varies, and the values are better shown as a row
    varying = series if single else [s for s in series if s.name not in names]
    steady = [(s, _size_and_reach(s)[1]) for s in varying if len(s.values) > 2 and _is_steady(s)]
    names = {s.name for s, _ in steady}
    plateaus, rows = _plateaus_and_rows([s for s in varying if s.name not in names])
    weighed = _weights(table, rows)
    return Selection(
        constant_inputs=[s for s in constant if s.role == "input" and len(s.values) > 1],
        outputs=[
            s for s in series if s.role == "output" and table.steps[-1] in s.values and not table.failures
        ],
        constant=[s for s in constant if s.role != "input" and not single],
        steady=steady,
        plateaus=plateaus,
        distances=_distances(table.steps, series),
        rows=rows,
        ranking=_ranking(table, weighed),
        weights=weighed,
        scales={s.name: _scale(s) for s in series},
    )


def _plateaus_and_rows(series: Sequence[Series]) -> tuple[list[tuple[str, list[Run]]], list[Series]]:
    """Return what is shown by its runs and what step by step.

    Discrete series with many runs are in both: the values are listed, and rows show when they change.
    """
    plateaus: list[tuple[str, list[Run]]] = []
    rows: list[Series] = []
    for one in series:
        if not _is_discrete(one):
            plateaus.extend(_component_plateaus(one))
            rows.append(one)
            continue
        runs = _runs(list(one.values), list(one.values.values()))
        plateaus.append((one.name, runs))
        if len(runs) > MOST_RUNS:
            rows.append(one)
    return plateaus, rows


def _component_plateaus(series: Series) -> Iterator[tuple[str, list[Run]]]:
    """Yield components of vectors that hold few values for a while each."""
    if not any(isinstance(value, tuple) for value in series.values.values()):
        return
    size, _ = _size_and_reach(series)
    for index, (steps, numbers) in enumerate(_components(series)):
        finite = [number for number in numbers if math.isfinite(number)]
        reach = max(finite) - min(finite) if finite else 0.0
        if len(numbers) > 2 and _holds(numbers) and reach > SMALL_PART * size:
            yield f"{series.name}[{index}]", _runs(steps, numbers)


def _distances(steps: Sequence[int], series: Sequence[Series]) -> list[Series]:
    """Return the distances of each two vectors over the steps, in the plane or space."""
    vectors = [s for s in series if "." in s.name and len(s.values) > 2 and _dimension(s) in (2, 3)]
    distances = []
    for one, other in itertools.combinations(vectors[:4], 2):
        shared = [step for step in steps if step in one.values and step in other.values]
        if _dimension(one) != _dimension(other) or len(shared) < 3 or (one.constant and other.constant):
            continue
        values = {s: math.dist(one.values[s], other.values[s]) for s in shared}  # type: ignore[arg-type]
        distances.append(Series(f"distance of {one.name} and {other.name}", "other", dict(values)))
    return distances[:MOST_DISTANCES]


def _dimension(series: Series) -> int:
    """Return the length of all vectors of a series, 0 where they differ or are none."""
    lengths = {len(value) if isinstance(value, tuple) else 0 for value in series.values.values()}
    return lengths.pop() if len(lengths) == 1 else 0


def _ranking(table: StepTable, weights: Mapping[int, float]) -> list[int]:
    """Return the steps with an event by its weight, then others evenly spread."""
    ranking = sorted(weights, key=lambda step: (-weights[step], step))
    ranking += [step for step in evenly_spread(table.steps) if step not in weights]
    return ranking[: max(FEW_ROWS, min(MOST_ROWS, len(weights) + FEW_ROWS // 2))]


def _weights(table: StepTable, rows: Sequence[Series]) -> dict[int, float]:
    """Return the weight of each step at which something happens.

    A failure comes first, then the first and the last step, a value that is not finite and the step before a failure.
    Changes of what is called and the events of the series follow. The weights do nothing but rank.
    """
    steps = set(table.steps)
    weighed: dict[int, float] = {table.steps[0]: 100.0, table.steps[-1]: 99.0}
    failures = [event for step in table.failures for event in ((step, 101.0), (step - 1, 95.0))]
    for step, weight in itertools.chain(failures, _pattern_changes(table), *map(events, rows)):
        if step in steps:
            weighed[step] = max(weighed.get(step, 0.0), weight)
    return weighed


def evenly_spread(steps: Sequence[int]) -> Iterator[int]:
    """Yield all steps, any first few of them evenly spread: halves, quarters, eighths.

    A low-discrepancy order, much as the van der Corput sequence.
    """
    parts = 2
    seen: set[int] = set()
    while len(seen) < len(steps):
        for part in range(1, parts, 2):
            step = steps[min(len(steps) - 1, round(part * len(steps) / parts))]
            if step not in seen:
                seen.add(step)
                yield step
        if parts > 2 * len(steps):
            yield from (step for step in steps if step not in seen)
            return
        parts *= 2


def _is_discrete(series: Series) -> bool:
    """Return whether a series has texts, truth values or numbers that take few values."""
    values = list(series.values.values())
    if any(isinstance(value, tuple) for value in values):
        return False
    if any(isinstance(value, bool | str) or value is None for value in values):
        return True
    return _holds([float(value) for value in values])  # type: ignore[arg-type]


def _holds(numbers: Sequence[float]) -> bool:
    """Return whether numbers take at most FEW values, each twice or more in the mean."""
    different = len(set(numbers))
    return different <= FEW and len(numbers) >= 2 * different


def _is_steady(series: Series) -> bool:
    """Return whether finite numbers change by no more than a hundredth of the largest."""
    parts = list(_components(series))
    size, reach = _size_and_reach(series)
    finite = bool(parts) and all(math.isfinite(n) for _, numbers in parts for n in numbers)
    return finite and reach <= SMALL_PART * size


def _size_and_reach(series: Series) -> tuple[float, float]:
    """Return the largest absolute number and the largest range of a component."""
    parts = [[n for n in numbers if math.isfinite(n)] for _, numbers in _components(series)]
    size = max((abs(n) for numbers in parts for n in numbers), default=0.0)
    return size, max((max(numbers) - min(numbers) for numbers in parts if numbers), default=0.0)


def _scale(series: Series) -> float:
    """Return the size of the differences that matter, to round by.

    It is the range of all numbers of a series, at least a hundredth of their size and at most their size.
    """
    numbers = [
        number
        for value in series.values.values()
        for number in (value if isinstance(value, tuple) else (value,))
        if isinstance(number, float) and math.isfinite(number)
    ]
    if not numbers:
        return 0.0
    size = max(map(abs, numbers))
    return min(size, max(max(numbers) - min(numbers), size / 100))


def _components(series: Series) -> Iterator[tuple[list[int], list[float]]]:
    """Yield each numeric component of a series as steps and numbers."""
    sizes = {len(v) for v in series.values.values() if isinstance(v, tuple)}
    if len(sizes) == 1 and all(isinstance(v, tuple) for v in series.values.values()):
        for index in range(sizes.pop()):
            yield list(series.values), [v[index] for v in series.values.values() if isinstance(v, tuple)]
    elif not sizes:
        pairs = [(s, float(v)) for s, v in series.values.items() if isinstance(v, float)]
        if pairs:
            yield [step for step, _ in pairs], [value for _, value in pairs]


def _runs(steps: Sequence[int], values: Sequence[Leaf]) -> list[Run]:
    """Return the run-length encoding: (first step, last step, value) of each stretch."""
    runs: list[Run] = []
    for step, value in zip(steps, values, strict=True):
        if runs and repr(runs[-1][2]) == repr(value):  # by repr, where nan equals nan and 1.0 is not True
            runs[-1] = (runs[-1][0], step, value)
        else:
            runs.append((step, step, value))
    return runs


def _pattern_changes(table: StepTable) -> Iterator[tuple[int, float]]:
    pattern = {step: index for index, steps in enumerate(table.patterns.values()) for step in steps}
    steps = sorted(pattern)
    yield from _changes(steps, [float(pattern[step]) for step in steps], 70.0)


def _changes(steps: Sequence[int], values: Sequence[Leaf], top: float) -> Iterator[tuple[int, float]]:
    """Yield the first step of each new run and the last one before it: change points.

    Args:
        steps: ascending.
        values: one for each step.
        top: the weight of the only change. The more changes there are, the nearer the weight of each is to 20.
    """
    runs = _runs(steps, values)
    weight = 20.0 + (top - 20.0) / max(1, len(runs) - 1)
    for before, after in pairwise(runs):
        yield after[0], weight
        yield before[1], weight - 1.0


def events(series: Series) -> Iterator[tuple[int, float]]:
    """Yield the steps at which a series does something, with their weights."""
    if _is_discrete(series):
        yield from _changes(list(series.values), list(series.values.values()), 60.0)
        return
    size, _ = _size_and_reach(series)
    for steps, numbers in _components(series):
        strange = [step for step, value in zip(steps, numbers, strict=True) if not math.isfinite(value)]
        if strange:
            yield strange[0], 98.0  # where nan or infinity begins is all that matters of such a series
            continue
        if max(numbers) - min(numbers) <= SMALL_PART * size:
            continue
        if _holds(numbers):
            yield from _changes(steps, numbers, 60.0)
        elif len(numbers) > 2:
            yield from _jumps(steps, numbers)
            yield from _turning_points(steps, numbers)


def _jumps(steps: Sequence[int], numbers: Sequence[float]) -> Iterator[tuple[int, float]]:
    """Yield both sides of changes that are eight times the median change."""
    changes = [abs(b - a) for a, b in pairwise(numbers)]
    reach = max(numbers) - min(numbers)
    usual = statistics.median(changes)
    for index, change in enumerate(changes, 1):
        if reach > 0 and change > 8 * usual and change > 0.1 * reach:
            yield steps[index], 40.0 + 15.0 * change / reach
            yield steps[index - 1], 39.0 + 15.0 * change / reach


def _turning_points(steps: Sequence[int], numbers: Sequence[float]) -> Iterator[tuple[int, float]]:
    """Yield the extrema, and every reversal by a fifth of the range."""
    reach = max(numbers) - min(numbers)
    if reach <= 0:
        return
    yield steps[numbers.index(max(numbers))], 36.0
    yield steps[numbers.index(min(numbers))], 35.0
    last, direction = 0, 0
    for index, value in enumerate(numbers):
        turned = (numbers[last] - value) * direction
        if turned > 0.2 * reach:
            yield steps[last], 25.0 + 10.0 * turned / reach
            direction, last = -direction, index
        elif direction == 0 and abs(value - numbers[0]) > 0.2 * reach:
            direction, last = (1 if value > numbers[0] else -1), index
        elif (value - numbers[last]) * direction > 0:
            last = index
