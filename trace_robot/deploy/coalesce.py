"""Variables that can share a name: copies between them at the end of branches need not be printed.

Coalescing of a program in static single assignment (Boissinot et al., "Revisiting Out-of-SSA Translation", CGO 2009),
simple here, as there are no loops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from trace_robot.deploy.ir import Branch, Code, Expression, Let, Statement

Place = tuple[tuple[int, int], ...]  # (block, statement) from the outermost block to the innermost
END = 1 << 40  # the statement after the last one of the outermost block


@dataclass(slots=True)
class Places:
    """Where each variable is set and read, as it will be printed."""

    sets: dict[Expression, list[Place]] = field(default_factory=dict)
    reads: dict[Expression, list[Place]] = field(default_factory=dict)

    @classmethod
    def of(cls, code: Code, inline: Mapping[Expression, Expression]) -> Places:
        """Find the places.

        Args:
            code: a controller.
            inline: variables that are printed where they are read, with their expressions.
        """
        found = cls()

        def read(value: Expression, place: Place) -> None:
            if value in inline:
                value = inline[value]
            elif value.op == "var":
                found.reads.setdefault(value, []).append(place)
            for argument in value.args:
                read(argument, place)

        def walk(block: Sequence[Statement], above: Place) -> None:
            for i, statement in enumerate(block):
                place = (*above, (id(block), i))
                if isinstance(statement, Let) and statement.target not in inline:
                    found.sets.setdefault(statement.target, []).append(place)
                    read(statement.value, place)
                elif isinstance(statement, Branch):
                    read(statement.tag, place)
                    for _, inner in statement.cases:
                        walk(inner, place)

        walk(code.block, ())
        for value in (*code.action, *code.stores.values()):
            read(value, ((id(code.block), END),))
        return found


def coalesce(code: Code, inline: Mapping[Expression, Expression]) -> dict[Expression, Expression]:
    """Return for each variable that shares a name the one whose name it has.

    Args:
        code: a controller.
        inline: variables that are printed where they are read.
    """
    places = Places.of(code, inline)
    classes: dict[Expression, set[Expression]] = {}

    def members(value: Expression) -> set[Expression]:
        return classes.setdefault(value, {value})

    for place, block in _cases(code.block, ()):
        for i, statement in enumerate(block):
            if not isinstance(statement, Let) or statement.value.op != "var" or statement.value in inline:
                continue
            target, source = statement.target, statement.value
            if target in inline or target.kind != source.kind or members(target) is members(source):
                continue
            copy = (*place, (id(block), i))
            if _apart(places, members(source), members(target), copy, place):
                both = members(source) | members(target)
                for value in both:
                    classes[value] = both
    order = {value: number for number, value in enumerate(classes)}
    return {
        value: min(shared, key=lambda one: (one.value[1], order[one])) for value, shared in classes.items()
    }


def _cases(block: Sequence[Statement], above: Place) -> Iterator[tuple[Place, list[Statement]]]:
    """Yield the cases of all branches, inner ones first, with the place of their branch."""
    for i, statement in enumerate(block):
        if isinstance(statement, Branch):
            place = (*above, (id(block), i))
            for _, inner in statement.cases:
                yield from _cases(inner, place)
            for _, inner in statement.cases:
                yield place, inner


def _apart(
    places: Places, sources: set[Expression], targets: set[Expression], copy: Place, branch: Place
) -> bool:
    """Return whether no source is needed where a target has another value.

    Args:
        places: of all variables.
        sources: that share a name, one of which is copied at the end of a case.
        targets: that share a name, one of which is set by this branch.
        copy: the place of the copy.
        branch: of the branch.
    """
    case = copy[-1][0]
    for value in sources:
        for read in places.reads.get(value, ()):
            if read != copy and _after(read, branch) and not _inside(read, branch, case):
                return False
    outside = [
        any(not _inside(place, branch, None) for value in shared for place in places.sets.get(value, ()))
        for shared in (sources, targets)
    ]
    # What was set before the branch is still needed in one case, so that only one of the two may have been.
    return not all(outside) and not any(
        _inside(place, branch, None) and not _inside(place, branch, case)
        for value in sources
        for place in places.sets.get(value, ())
    )


def _inside(place: Place, branch: Place, case: int | None) -> bool:
    """Return whether a place is in a branch, in a certain case of it if one is named."""
    deep = len(branch)
    return len(place) > deep and place[:deep] == branch and (case is None or place[deep][0] == case)


def _after(place: Place, branch: Place) -> bool:
    """Return whether a place is in a branch or comes later; reading its tag does not."""
    if place == branch:
        return False
    for one, other in zip(place, branch, strict=False):
        if one != other:
            # In one block the later statement; of two cases of a branch only one runs.
            return one[0] == other[0] and one[1] > other[1]
    return len(place) > len(branch)


__all__ = ["END", "Place", "Places", "coalesce"]
