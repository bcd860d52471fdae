"""Which steps of a long course are worth showing: ends, failures, changes, jumps, turning points."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise

from trace_robot.optimizers.prompt.table import Column, Layout

FEW = 4
SMALL_PART = 0.01
Course = tuple[list[int], list[float]]


def weights(layout: Layout, columns: Sequence[Column]) -> dict[int, float]:
    """Return how telling each step is by ``columns``; steps that are not in it are as dull as their neighbours."""
    steps = layout.steps
    found: dict[int, float] = {steps[0]: 100.0, steps[-1]: 99.0}

    def note(step: int, weight: float) -> None:
        found[step] = max(found.get(step, 0.0), weight)

    for step in layout.failures:
        note(step, 101.0)
        note(step - 1, 95.0)
    for step, weight in _pattern_changes(layout):
        note(step, weight)
    for column in columns:
        for step, weight in _events(column):
            note(step, weight)
    present = set(steps)
    return {step: weight for step, weight in found.items() if step in present}


def fill(steps: Sequence[int]) -> Iterator[int]:
    """The steps in an order in which any first few are evenly spread: halves, quarters, eighths."""
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


def is_discrete(column: Column) -> bool:
    """True for texts and truth values, and for numbers that take few different values, each held for a while."""
    values = list(column.values.values())
    if any(isinstance(value, tuple) for value in values):
        return False
    if any(isinstance(value, bool | str) or value is None for value in values):
        return True
    return _held([float(value) for value in values])  # type: ignore[arg-type]


def _held(numbers: Sequence[float]) -> bool:
    different = len(set(numbers))
    return different <= FEW and len(numbers) >= 2 * different


def size_and_reach(column: Column) -> tuple[float, float]:
    """The largest number of a column, and how far any of its components goes; zeros if it is not of numbers."""
    parts = [[n for n in numbers if math.isfinite(n)] for _, numbers in courses(column)]
    size = max((abs(n) for numbers in parts for n in numbers), default=0.0)
    return size, max((max(numbers) - min(numbers) for numbers in parts if numbers), default=0.0)


def is_steady(column: Column) -> bool:
    """True for numbers that hardly change: by no more than a hundredth of the largest."""
    parts = list(courses(column))
    size, reach = size_and_reach(column)
    whole = bool(parts) and all(math.isfinite(n) for _, numbers in parts for n in numbers)
    return whole and reach <= SMALL_PART * size


def courses(column: Column) -> Iterator[Course]:
    """Yield each numeric component of a column as steps and numbers."""
    sizes = {len(v) for v in column.values.values() if isinstance(v, tuple)}
    if len(sizes) == 1 and all(isinstance(v, tuple) for v in column.values.values()):
        for index in range(sizes.pop()):
            yield list(column.values), [v[index] for v in column.values.values() if isinstance(v, tuple)]
    elif not sizes:
        pairs = [(s, float(v)) for s, v in column.values.items() if isinstance(v, float)]
        if pairs:
            yield [step for step, _ in pairs], [value for _, value in pairs]


def runs(steps: Sequence[int], values: Sequence[object]) -> list[tuple[int, int, object]]:
    """Return (first step, last step, value) for each stretch of equal values."""
    found: list[tuple[int, int, object]] = []
    for step, value in zip(steps, values, strict=True):
        if found and repr(found[-1][2]) == repr(value):
            found[-1] = (found[-1][0], step, value)
        else:
            found.append((step, step, value))
    return found


def _pattern_changes(layout: Layout) -> Iterator[tuple[int, float]]:
    which = {step: index for index, steps in enumerate(layout.patterns.values()) for step in steps}
    ordered = sorted(which)
    yield from _changes(ordered, [which[step] for step in ordered], 70.0)


def _changes(steps: Sequence[int], values: Sequence[object], top: float) -> Iterator[tuple[int, float]]:
    """The first step of each new stretch and the last one before it; the rarer, the more telling."""
    stretches = runs(steps, values)
    weight = 20.0 + (top - 20.0) / max(1, len(stretches) - 1)
    for before, after in pairwise(stretches):
        yield after[0], weight
        yield before[1], weight - 1.0


def _events(column: Column) -> Iterator[tuple[int, float]]:
    if is_discrete(column):
        yield from _changes(list(column.values), list(column.values.values()), 60.0)
        return
    size, _ = size_and_reach(column)
    for steps, numbers in courses(column):
        strange = [step for step, value in zip(steps, numbers, strict=True) if not math.isfinite(value)]
        if strange:
            yield strange[0], 98.0
            continue
        if max(numbers) - min(numbers) <= SMALL_PART * size:
            continue
        if _held(numbers):
            yield from _changes(steps, numbers, 60.0)
        elif len(numbers) > 2:
            yield from _jumps(steps, numbers)
            yield from _turning_points(steps, numbers)


def _jumps(steps: Sequence[int], numbers: Sequence[float]) -> Iterator[tuple[int, float]]:
    changes = [abs(b - a) for a, b in pairwise(numbers)]
    reach = max(numbers) - min(numbers)
    usual = statistics.median(changes)
    for index, change in enumerate(changes, 1):
        if reach > 0 and change > 8 * usual and change > 0.1 * reach:
            yield steps[index], 40.0 + 15.0 * change / reach
            yield steps[index - 1], 39.0 + 15.0 * change / reach


def _turning_points(steps: Sequence[int], numbers: Sequence[float]) -> Iterator[tuple[int, float]]:
    """Highest and lowest point, and every reversal by at least a fifth of the whole reach."""
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
