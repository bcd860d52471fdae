"""Line differences in bounded time: difflib within a budget, else a patience diff.

``difflib`` takes the square of the number of lines, and more where lines repeat. Controllers come from models and
from strangers: 8,000 lines that repeat kept a report busy for 43 s.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import Match, SequenceMatcher
from itertools import accumulate

# Steps of difflib's inner loop: some 10 million a second. A controller of 500 lines takes about 10,000; of texts of
# 10,000 characters each at most 40 ms are spent before the patience diff takes over.
LEAST_STEPS, STEPS_A_CHARACTER = 100_000, 10
MOST_LINES = 200_000  # beyond these, only what is equal at the beginning and the end is found


class _OverBudgetError(Exception):
    """The matcher has used up its steps."""


class LineMatcher(SequenceMatcher[str]):
    """A ``SequenceMatcher`` of texts that gives the same matches in bounded time.

    Args:
        before: lines or words of the older text.
        after: of the newer one.
        autojunk: as of ``SequenceMatcher``.
        steps: the budget; by the length of the texts if None.
    """

    def __init__(
        self, before: Sequence[str], after: Sequence[str], *, autojunk: bool = True, steps: int | None = None
    ) -> None:
        characters = sum(map(len, before)) + sum(map(len, after))
        self.steps = LEAST_STEPS + STEPS_A_CHARACTER * characters if steps is None else steps
        self._before, self._after, self._work = before, after, list[int]()
        self._blocks: list[Match] | None = None
        super().__init__(None, before, after, autojunk)

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> Match:
        """Return the longest match in two ranges, as of ``SequenceMatcher``.

        Args:
            alo: where the range of the older text begins.
            ahi: where it ends.
            blo: where the range of the newer text begins.
            bhi: where it ends.
        """
        if not self._work:
            places: dict[str, list[int]] = self.b2j  # type: ignore[attr-defined]  # of difflib, not in its stub
            counts = (1 + len(places.get(line, ())) for line in self._before)
            self._work = list(accumulate(counts, initial=0))
        # Known before the search: for each older line, difflib looks at every place of it in the newer text.
        self.steps -= self._work[len(self._before) if ahi is None else ahi] - self._work[alo]
        if self.steps < 0:
            raise _OverBudgetError
        return super().find_longest_match(alo, ahi, blo, bhi)

    def get_matching_blocks(self) -> list[Match]:
        """Return the matching blocks in their order, the last one empty."""
        if self._blocks is None:
            try:
                self._blocks = super().get_matching_blocks()
            except _OverBudgetError:
                self._blocks = _patience(self._before, self._after)
        return self._blocks


def unified_diff(
    before: Sequence[str], after: Sequence[str], old: str = "", new: str = "", *, context: int = 3
) -> Iterator[str]:
    """Yield the lines of a unified diff, as ``difflib.unified_diff`` with lineterm="".

    Args:
        before: lines of the older text.
        after: lines of the newer one.
        old: the older one's name in the header.
        new: the newer one's.
        context: unchanged lines around a change.
    """
    for number, group in enumerate(LineMatcher(before, after).get_grouped_opcodes(context)):
        if not number:
            yield f"--- {old}"
            yield f"+++ {new}"
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"
        for tag, i, i_end, j, j_end in group:
            if tag == "equal":
                yield from (f" {line}" for line in before[i:i_end])
                continue
            yield from (f"-{line}" for line in before[i:i_end])
            yield from (f"+{line}" for line in after[j:j_end])


def _range(start: int, stop: int) -> str:
    """Return a range of lines in the form of a hunk's header."""
    length = stop - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"


def _patience(before: Sequence[str], after: Sequence[str]) -> list[Match]:
    """Return the blocks around lines unique in both texts (patience diff, B. Cohen)."""
    head, shorter = 0, min(len(before), len(after))
    while head < shorter and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < shorter - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    end, end_after = len(before) - tail, len(after) - tail
    blocks = [Match(0, 0, head)] if head else []
    i, j = head, head
    pairs = _anchors(before, after, head, end, end_after) if max(end, end_after) <= MOST_LINES else []
    for at, there in pairs:
        if at < i:  # within a block that has grown over it
            continue
        start, start_after = at, there
        while start > i and start_after > j and before[start - 1] == after[start_after - 1]:
            start, start_after = start - 1, start_after - 1
        stop, stop_after = at, there
        while stop < end and stop_after < end_after and before[stop] == after[stop_after]:
            stop, stop_after = stop + 1, stop_after + 1
        blocks.append(Match(start, start_after, stop - start))
        i, j = stop, stop_after
    if tail:
        blocks.append(Match(end, end_after, tail))
    return [*_joined(blocks), Match(len(before), len(after), 0)]


def _anchors(
    before: Sequence[str], after: Sequence[str], head: int, end: int, end_after: int
) -> list[tuple[int, int]]:
    """Return places of lines unique in both, the longest increasing subsequence."""
    counts, counts_after = Counter(before[head:end]), Counter(after[head:end_after])
    places = {line: j for j, line in enumerate(after[head:end_after], head) if counts_after[line] == 1}
    pairs = [
        (i, places[line])
        for i, line in enumerate(before[head:end], head)
        if counts[line] == 1 and line in places
    ]
    # The longest increasing subsequence by patience sorting: the top card of each pile, and what each card lies on.
    tops: list[int] = []
    top_pairs: list[int] = []
    below: list[int] = []
    for number, (_, j) in enumerate(pairs):
        pile = bisect_left(tops, j)
        below.append(top_pairs[pile - 1] if pile else -1)
        tops[pile : pile + 1] = [j]
        top_pairs[pile : pile + 1] = [number]
    rising = []
    number = top_pairs[-1] if top_pairs else -1
    while number >= 0:
        rising.append(pairs[number])
        number = below[number]
    return rising[::-1]


def _joined(blocks: Sequence[Match]) -> list[Match]:
    """Return the blocks, those that touch in both texts as one."""
    joined: list[Match] = []
    for block in blocks:
        last = joined[-1] if joined else None
        if last is not None and (last.a + last.size, last.b + last.size) == (block.a, block.b):
            joined[-1] = Match(last.a, last.b, last.size + block.size)
        else:
            joined.append(block)
    return joined
