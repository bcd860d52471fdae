"""Syntax-highlighted line diff of two versions of a controller.

Lines are compared by ``LineMatcher``, changed lines once more word by word, and colored by Pygments' Python lexer.
The result is plain data, which the templates escape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate, pairwise
from typing import Any

from trace_robot.line_diff import LineMatcher
from trace_robot.report.escape import visible

CONTEXT = 3  # unchanged lines around a change, as in a unified diff
# Below this ratio of equal words a line was replaced rather than edited, and marking words would mark nearly all.
SIMILAR = 0.4
WORDS_COMPARED = 400  # characters: matching words is quadratic, and a model may write endless lines
# Steps for the words of all lines of a diff: 0.1 s. Later lines have no marked words.
WORD_STEPS = 1_000_000
Span = tuple[str, str]
_WORD = re.compile(r"[\w.]+|\s+|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class DiffPart:
    """A stretch of a line of one syntax color.

    Attributes:
        kind: "k" keyword, "s" string, "c" comment, "m" number, "f" name defined, "d" decorator, "b" built-in,
            "" anything else.
        text: its characters, not escaped for HTML.
        changed: whether it differs from the line it replaces, or that replaces it.
    """

    kind: str
    text: str
    changed: bool = False


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One row of a diff.

    Attributes:
        mark: " " in both versions, "-" before only, "+" after only.
        before: line number in the old version, from 1; None for an added line.
        after: line number in the new version, from 1; None for a removed line.
        parts: the line, left to right.
    """

    mark: str
    before: int | None
    after: int | None
    parts: tuple[DiffPart, ...]


@dataclass(frozen=True, slots=True)
class DiffGap:
    """``count`` lines that are the same in both and are not shown."""

    count: int


def compare(before: str, after: str, *, context: int = CONTEXT) -> tuple[DiffLine | DiffGap, ...]:
    """Return the lines around every change, as a unified diff shows them.

    Args:
        before: source of the old controller; it need not be valid Python.
        after: source of the new one.
        context: unchanged lines shown around a change.

    Returns:
        Lines in order, a ``DiffGap`` where unchanged ones are left out; empty for equal sources.
    """
    if before == after:
        return ()
    old, new = _lines(before), _lines(after)
    # autojunk would ignore lines that are frequent in a long text, blank ones first, and miss their matches.
    matcher = LineMatcher([_plain(line) for line in old], [_plain(line) for line in new], autojunk=False)
    words = _WordMatcher()
    rows: list[DiffLine | DiffGap] = []
    shown = 0
    for group in matcher.get_grouped_opcodes(context):
        rows += _gap(group[0][1] - shown)
        for tag, i, i_end, j, j_end in group:
            rows += (
                _same(old, i, i_end, j)
                if tag == "equal"
                else _change(old[i:i_end], new[j:j_end], i, j, words)
            )
        shown = group[-1][2]
    return (*rows, *_gap(len(old) - shown))


def listing(source: str) -> tuple[DiffLine, ...]:
    """Return a whole controller with syntax highlighting, without a comparison."""
    return tuple(_same(_lines(source), 0, None, 0))


def count(rows: Sequence[DiffLine | DiffGap]) -> tuple[int, int]:
    """Return the numbers of lines added and of lines removed."""
    marks = [row.mark for row in rows if isinstance(row, DiffLine)]
    return marks.count("+"), marks.count("-")


def _gap(lines: int) -> list[DiffLine | DiffGap]:
    return [DiffGap(lines)] if lines > 0 else []


def _same(old: Sequence[Sequence[Span]], i: int, i_end: int | None, j: int) -> list[DiffLine]:
    lines = old[i:i_end]
    return [
        DiffLine(" ", i + n + 1, j + n + 1, tuple(DiffPart(*span) for span in line))
        for n, line in enumerate(lines)
    ]


def _change(
    old: Sequence[Sequence[Span]], new: Sequence[Sequence[Span]], i: int, j: int, words: _WordMatcher
) -> list[DiffLine]:
    """Return the removed lines, then the added ones, each pair compared word by word."""
    # The n-th removed line is taken for the n-th added one, and lines without a partner have no marked words.
    pairs = [words.changed(_plain(a), _plain(b)) for a, b in zip(old, new, strict=False)]
    unpaired: tuple[list[tuple[int, int]], ...] = ([], [])
    lines = []
    for side, (texts, first) in enumerate(((old, i), (new, j))):
        for n, line in enumerate(texts):
            ranges = (pairs[n] if n < len(pairs) else unpaired)[side]
            number = first + n + 1
            parts = tuple(_marked(line, ranges))
            lines.append(DiffLine("+", None, number, parts) if side else DiffLine("-", number, None, parts))
    return lines


class _WordMatcher:
    """Compares pairs of lines word by word, on one budget for a whole diff."""

    def __init__(self) -> None:
        self._steps = WORD_STEPS

    def changed(self, before: str, after: str) -> tuple[list[tuple[int, int]], ...]:
        """Return the ranges of characters that differ, none in dissimilar lines.

        Args:
            before: the older line.
            after: the newer one.
        """
        if max(len(before), len(after)) > WORDS_COMPARED or self._steps <= 0:
            return [], []
        old, new = _WORD.findall(before), _WORD.findall(after)
        matcher = LineMatcher(old, new, autojunk=False, steps=self._steps)
        similar = matcher.ratio() >= SIMILAR
        self._steps = matcher.steps - len(old) - len(new)
        if not similar:
            return [], []
        at_old, at_new = [0, *accumulate(map(len, old))], [0, *accumulate(map(len, new))]
        changes = [code for code in matcher.get_opcodes() if code[0] != "equal"]
        return (
            [(at_old[c[1]], at_old[c[2]]) for c in changes if c[1] < c[2]],
            [(at_new[c[3]], at_new[c[4]]) for c in changes if c[3] < c[4]],
        )


def _marked(spans: Sequence[Span], ranges: Sequence[tuple[int, int]]) -> Iterator[DiffPart]:
    """Cut the spans of a line at the borders of ``ranges``, the changed characters."""
    borders = sorted({border for pair in ranges for border in pair})
    start = 0
    for kind, text in spans:
        end = start + len(text)
        cuts = [start, *(border for border in borders if start < border < end), end]
        for a, b in pairwise(cuts):
            yield DiffPart(kind, text[a - start : b - start], any(low <= a < high for low, high in ranges))
        start = end


def _plain(line: Sequence[Span]) -> str:
    return "".join(text for _, text in line)


# A controller is compared with its parent and with its children: each source is lexed once. Bounded, because
# ``watch`` serves until it is stopped.
@lru_cache(maxsize=256)
def _lines(source: str) -> tuple[tuple[Span, ...], ...]:
    """Return each line as (kind, text) spans, adjacent tokens of one kind merged."""
    # Imported late: Pygments is only needed for a page.
    from pygments import lex

    # Not from pygments.lexers, which puts another module in its place: of threads that import it at once one fails.
    from pygments.lexers.python import PythonLexer

    lines: list[list[Span]] = [[]]
    # Before lexing, so that line numbers agree with what is displayed.
    shown = visible(source).rstrip("\n")
    for token, value in lex(shown, PythonLexer(stripnl=False, ensurenl=False)):
        kind = _kind(token)
        for number, piece in enumerate(value.split("\n")):
            if number:
                lines.append([])
            if piece and lines[-1] and lines[-1][-1][0] == kind:
                piece = lines[-1].pop()[1] + piece
            if piece:
                lines[-1].append((kind, piece))
    return tuple(map(tuple, lines)) if shown else ()


@cache  # asked for at every token, of few types
def _kind(token: Any) -> str:
    from pygments.token import Comment, Keyword, Literal, Name, Operator

    kinds = (
        (Comment, "c"), (Literal.Number, "m"), (Literal.String, "s"), (Keyword, "k"), (Operator.Word, "k"),
        (Name.Function, "f"), (Name.Class, "f"), (Name.Decorator, "d"), (Name.Builtin, "b"),
    )  # fmt: skip
    return next((letter for kind, letter in kinds if token in kind), "")
