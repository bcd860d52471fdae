"""Contact geometry from a MuJoCo model: places, friction and softness of shapes.

A controller sees the position of a body, not of its surface, so each shape is placed from the observed position that
moves with it, where there is one, else from its body's origin. Fixed shapes come in the order in which they can matter:
what is below the observed positions, then by the distance from the straight lines between these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trace_robot.env.joint_facts import ends_of, passive_bodies
from trace_robot.env.shape_facts import (
    FAR,
    PLAIN,
    SAME_PLACE,
    SHAPES,
    EpisodeStart,
    Shapes,
    name_of,
    number,
    numbers,
)
from trace_robot.env.tracking import ancestors
from trace_robot.spec import Array

MOST_FIXED = 10  # fixed bodies that are named
MOST_BODIES = 8  # that can be moved
MOST_SHAPES = 6  # of a body in its line; more are in a further one
MOST_FURTHER = 24  # of a body in its further line
MOST_ENDS = 6  # of driven chains, as many as a hand has
HAND_SIZE = 0.25  # meters from a hand's observed position within which its fingers are placed from it
SAME_POINT = 1e-3  # meters; an observed position this near to a body's origin is taken for it
SAME_TURN = 0.01  # of a rotation matrix, half a degree: a hand settles by less
LEAST_MARGIN = 0.002  # meters; most models of hands have half of it, which is below what a prompt resolves
# What MuJoCo takes where a model gives nothing else (its XML reference, solref and solimp).
USUAL_SOLREF, USUAL_SOLIMP = (0.02, 1.0), (0.9, 0.95, 0.001, 0.5, 2.0)
USUAL = "time constant 0.02 s, damping ratio 1, impedance 0.9 to 0.95 over 0.001 m"
AXES = "along the world's axes at the start"


@dataclass(slots=True)
class ContactFacts:
    """Lines on what touches, of one model just after a reset.

    Attributes:
        model, data: MuJoCo's, whose positions are those of the reset.
        seen: observed positions by name, (3,) meters, world frame.
        hands: names of those that are hands'.
        other: another episode's start, which shows what its condition moves; None where nothing is known of it.
    """

    model: Any
    data: Any
    seen: Mapping[str, Array] = field(default_factory=dict)
    hands: Sequence[str] = ()
    other: EpisodeStart | None = None
    shapes: Shapes = field(init=False)
    _shown: set[int] = field(default_factory=set, init=False)  # geoms of which a line says where they are
    _further: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.shapes = Shapes(self.model, self.data)
        if self.other is not None and not self.other.fits(self.data):
            self.other = None

    def lines(self) -> list[str]:
        """Return a line for each movable body, fixed one and end of a driven chain."""
        return [*self._objects(), *self._fixed(), *self._ends()]

    def further(self) -> list[str]:
        """Return what ``lines`` left: the small parts of bodies, and what is far away."""
        return self._further

    def _objects(self) -> Iterator[str]:
        """Yield what can be moved: bodies on joints that nothing drives."""
        model = self.model
        for body in passive_bodies(model)[:MOST_BODIES]:
            geoms = [
                geom
                for geom in self.shapes.touching()
                if int(model.body_weldid[model.geom_bodyid[geom]]) == body
            ]
            if not geoms:
                continue
            rigid = [b for b in range(model.nbody) if int(model.body_weldid[b]) == body]
            mass = sum(float(model.body_mass[b]) for b in rigid)
            how = (
                "a mass that differs between episodes"
                if self._drawn("body_mass", rigid)
                else f"{mass:.4g} kg"
            )
            how += f", {self._friction(geoms)}"
            name = f"body {_name(model, body)}"
            yield f"{name}: {self._placed(name, self._reference(body, geoms), geoms)}; {how}"

    def _fixed(self) -> list[str]:
        """Return fixed bodies, what is below observed positions first, then the nearest."""
        model, groups = self.model, dict[tuple[int, int], list[int]]()
        for geom in self.shapes.touching():
            body = int(model.geom_bodyid[geom])
            # A mocap body counts as welded to the world, and is moved.
            if int(model.body_weldid[body]) or model.body_mocapid[int(model.body_rootid[body])] >= 0:
                continue
            groups.setdefault((body, -1 if body else geom), []).append(geom)
        every = [geom for geoms in groups.values() for geom in geoms]
        distance = self.shapes.nearness(every, list(self.seen.values()))
        ranked = sorted(groups.values(), key=lambda geoms: min(distance[geom] for geom in geoms))
        lines = []
        for geoms in ranked[:MOST_FIXED]:
            near = [geom for geom in geoms if distance[geom][0] < FAR]
            lines += self._fixed_lines(near, distance, self._further)
            rest = [geom for geom in geoms if geom not in near]
            self._further += self._fixed_lines(
                rest, distance, self._further, ", further parts" if near else ""
            )
        if len(ranked) > MOST_FIXED:
            self._further.append(
                f"{len(ranked) - MOST_FIXED} more fixed shapes, further away, are not listed"
            )
        return lines

    def _fixed_lines(
        self,
        geoms: Sequence[int],
        distance: Mapping[int, tuple[float, float]],
        further: list[str],
        note: str = "",
    ) -> list[str]:
        """Return a fixed body's line, adding to ``further`` what it has no room for."""
        model = self.model
        geoms = self.shapes.outer(sorted(geoms, key=lambda geom: distance[geom]))
        if not geoms:
            return []
        self._shown |= set(geoms)
        body = int(model.geom_bodyid[geoms[0]])
        name = f"fixed {_name(model, body) if body else name_of(model, 'geom', geoms[0])}"
        anchor, how = self._anchor(geoms, last=True), ""
        if anchor is not None:
            how = f" (from where {anchor[0]} is at the start of an episode)"
        elif self._moved(geoms) is not None:
            how = " (in one episode; elsewhere in others)"
        parts = self.shapes.parts(geoms, np.zeros(3) if anchor is None else anchor[1])
        if parts[MOST_SHAPES:]:
            further.append(f"{name}, further parts: {'; '.join(parts[MOST_SHAPES:][:MOST_FURTHER])} m{how}")
        return [f"{name}{note}: {'; '.join(parts[:MOST_SHAPES])} m{how}"]

    def _ends(self) -> Iterator[str]:
        """Yield the shapes at the ends of driven chains (fingers, feet) and of a palm."""
        model, above = self.model, list[int]()
        for end in ends_of(model)[:MOST_ENDS]:
            geoms = [
                geom
                for geom in self.shapes.touching()
                if end in ancestors(model, int(model.geom_bodyid[geom]))
            ]
            if any(self.shapes.kind(geom) in PLAIN for geom in geoms):
                name = f"touching parts of {_name(model, end)}"
                yield f"{name}: {self._placed(name, self._near_hand(end), geoms)}"
            above.append(int(model.body_parentid[end]))
        # Two fingers or more that hang on one body next to an observed hand have a palm there.
        for body in dict.fromkeys(body for body in above if above.count(body) > 1):
            geoms = self._palm(body)
            reference, point = self._near_hand(body)
            if geoms and reference in self.hands:
                parts = self.shapes.parts(geoms, point)
                yield f"the fingers hang on {_name(model, body)}: {'; '.join(parts)} m (from {reference}, {AXES})"

    def _palm(self, body: int) -> list[int]:
        """Return the geoms of the rigid part that a body belongs to, nearest body first."""
        model, touching = self.model, self.shapes.touching()
        for above in reversed(ancestors(model, body)):
            geoms = [geom for geom in touching if int(model.geom_bodyid[geom]) == above]
            if geoms or model.body_weldid[above] != model.body_weldid[body]:
                return self.shapes.outer(geoms) if model.body_weldid[above] == model.body_weldid[body] else []
        return []

    def _placed(self, name: str, reference: tuple[str, Array], geoms: Sequence[int]) -> str:
        """Return shapes with their places, equal ones once, the nearest first."""
        plain = [geom for geom in geoms if self.shapes.kind(geom) in PLAIN]
        self._shown |= set(plain)
        if not plain:
            return ", ".join(dict.fromkeys(SHAPES.get(self.shapes.kind(geom), "shape") for geom in geoms))
        texts: dict[str, list[Array]] = {}
        placed: list[tuple[str, Array]] = []
        for geom in self._nearest_first(self.shapes.outer(plain), reference):
            shape, offset = self.shapes.text(geom), self.data.geom_xpos[geom] - reference[1]
            if any(shape == one and float(np.abs(offset - at).max()) < SAME_PLACE for one, at in placed):
                continue
            placed.append((shape, offset))
            texts.setdefault(shape, []).append(offset)
        parts = [shape + _at(offsets) for shape, offsets in texts.items()]
        where = f" (from {reference[0]}, {AXES}{' of one episode' if self._turned(plain) else ''})"
        if more := parts[MOST_SHAPES:][:MOST_FURTHER]:
            self._further.append(f"{name}, further parts: {', '.join(more)}{where}")
        text = ", ".join(parts[:MOST_SHAPES])
        return f"{text}{where}" if " at " in text else text

    def _nearest_first(self, geoms: Sequence[int], reference: tuple[str, Array]) -> list[int]:
        """Return a body's geoms by their distance from its observed position, if any."""
        if reference[0] not in self.seen or reference[0] in self.hands:
            return list(geoms)
        place = np.asarray(reference[1])[None]
        return sorted(
            geoms, key=lambda geom: round(max(float(self.shapes.distances(geom, place)[0]), 0.0), 4)
        )

    def _reference(self, body: int, geoms: Sequence[int]) -> tuple[str, Array]:
        """Return the observed position on a body or that moves with it, else its origin."""
        return self._on(body) or self._anchor(geoms) or self._origin(body, geoms)

    def _near_hand(self, body: int) -> tuple[str, Array]:
        """Return the observed position on a body, else a near hand's, else its origin."""
        if (found := self._on(body)) is not None:
            return found
        own = self.data.xpos[body]
        if self.hands:
            nearest = min(self.hands, key=lambda name: float(np.linalg.norm(self.seen[name] - own)))
            if float(np.linalg.norm(self.seen[nearest] - own)) < HAND_SIZE:
                return nearest, self.seen[nearest]
        return "its origin", own

    def _on(self, body: int) -> tuple[str, Array] | None:
        """Return an observed position that is an origin or site of a body's rigid part."""
        rigid = [
            b
            for b in range(self.model.nbody)
            if int(self.model.body_weldid[b]) == int(self.model.body_weldid[body])
        ]
        origins = [self.data.xpos[b] for b in rigid]
        origins += [
            self.data.site_xpos[s] for s in range(self.model.nsite) if int(self.model.site_bodyid[s]) in rigid
        ]
        for name, point in self.seen.items():
            if any(float(np.abs(point - origin).max()) < SAME_POINT for origin in origins):
                return name, point
        return None

    def _origin(self, body: int, geoms: Sequence[int]) -> tuple[str, Array]:
        place = self.data.xpos[body]
        is_same = self.other is not None and self._moved(geoms) is None  # in every episode
        return f"its origin{f' at {numbers(np.round(place, 3))}' if is_same else ''}", place

    def _moved(self, geoms: Sequence[int]) -> Array | None:
        """Return by how much another episode has moved geoms, (n, 3), None for nothing."""
        if self.other is None:
            return None
        by = self.other.places[list(geoms)] - self.data.geom_xpos[list(geoms)]
        return by if float(np.abs(by).max(initial=0)) > SAME_POINT else None

    def _turned(self, geoms: Sequence[int]) -> bool:
        """Whether another episode has geoms turned otherwise."""
        if self.other is None:
            return False
        by = self.other.turns[list(geoms)] - self.data.geom_xmat[list(geoms)]
        return float(np.abs(by).max(initial=0)) > SAME_TURN

    def _anchor(self, geoms: Sequence[int], *, last: bool = False) -> tuple[str, Array] | None:
        """Return an observed position that moves with geoms from episode to episode."""
        by = self._moved(geoms)
        if by is None or float(np.ptp(by, axis=0).max()) > SAME_POINT or self._turned(geoms):
            return None
        return self._follower(by[0], last=last)

    def _follower(self, by: Array, *, last: bool = False) -> tuple[str, Array] | None:
        """Return an observed position that another episode has moved by ``by``.

        No hand's. The first one is of an object, as a rule, and moves with it; the ``last`` is of a goal, and stays.
        """
        points = {} if self.other is None else self.other.points
        found = [
            name
            for name, point in self.seen.items()
            if name not in self.hands and name in points
            if float(np.abs(points[name] - point - by).max()) < SAME_POINT
        ]
        return (found[-last], self.seen[found[-last]]) if found else None

    def passes(self, joint: int) -> str:
        """Return where a hinge's axis passes, "" where no place of it is known.

        joint: MuJoCo's number.
        """
        anchor, axis = self.data.xanchor[joint], self.data.xaxis[joint]
        by = np.zeros(3) if self.other is None else self.other.anchors[joint] - anchor
        moved, note = float(np.abs(by).max()) > SAME_POINT, "at the start"
        reference = self._on(int(self.model.jnt_bodyid[joint])) or (self._follower(by) if moved else None)
        if reference is None:
            free = {name: point for name, point in self.seen.items() if name not in self.hands}
            if not moved:
                return f", its axis through {numbers(np.round(anchor, 3))}"
            if free:
                name = min(free, key=lambda name: float(np.linalg.norm(free[name] - anchor)))
                reference, note = (name, free[name]), "in one episode"
            else:
                reference = ("its body's origin", self.data.xpos[int(self.model.jnt_bodyid[joint])])
        offset = anchor - reference[1]
        offset = np.round(offset - axis * float(offset @ axis), 3)
        return (
            f", its axis through {numbers(offset)} from {reference[0]} {note}"
            if offset.any() or reference[0] in self.seen
            else ""
        )

    def begins(self, joint: int) -> str:
        """Return where a slide or hinge is at the start.

        joint: MuJoCo's number.
        """
        place = int(self.model.jnt_qposadr[joint])
        value = float(self.data.qpos[place])
        varies = self.other is not None and abs(float(self.other.joints[place]) - value) > SAME_POINT
        return "at another place in each start" if varies else f"at {number(value)} at the start"

    def _drawn(self, name: str, places: Sequence[int]) -> bool:
        return self.other is not None and self.other.varies(self.model, name, places)

    def _friction(self, geoms: Sequence[int]) -> str:
        model = self.model
        # A pair has the larger dimension of both; with 1, contact has a normal force alone.
        if all(int(model.geom_condim[geom]) == 1 for geom in self.shapes.touching()):
            return "contact without friction"
        if self._drawn("geom_friction", geoms):
            return "sliding friction that differs between episodes"
        return f"sliding friction {max(float(model.geom_friction[geom, 0]) for geom in geoms):g}"

    def softness(self) -> Iterator[str]:
        """Yield a line on softness, where what ``lines`` named has not MuJoCo's usual one."""
        kinds: dict[str, list[str]] = {}
        for geom in sorted(self._shown):
            if text := softness_text(self.model, geom):
                kinds.setdefault(text, []).append(_name(self.model, int(self.model.geom_bodyid[geom])))
        texts = [f"{', '.join(dict.fromkeys(bodies))} {text}" for text, bodies in kinds.items()]
        if texts:
            yield f"softness of contact, where not the usual {USUAL}: {'; '.join(texts)}"


def _at(offsets: Sequence[Array]) -> str:
    """Return where equal shapes are, "" for one that is just where it is seen from."""
    if len(offsets) == 1 and float(np.abs(offsets[0]).max()) < SAME_POINT / 2:
        return ""
    return " and".join(f" at {numbers(np.round(offset, 3))}" for offset in offsets)


def _name(model: Any, body: int) -> str:
    return name_of(model, "body", body)


def softness_text(model: Any, geom: int) -> str:
    """Return the parameters of a soft contact, "" for MuJoCo's own.

    Args:
        model: MuJoCo's.
        geom: its number.
    """
    solref, solimp, margin = model.geom_solref[geom], model.geom_solimp[geom], model.geom_margin[geom]
    texts = []
    if not (np.allclose(solref, USUAL_SOLREF) and np.allclose(solimp, USUAL_SOLIMP)):
        how = (
            f"{solref[0]:g} s, {solref[1]:g}"
            if solref[0] > 0
            else f"stiffness {-solref[0]:g}, {-solref[1]:g}"
        )
        texts.append(f"{how}, {solimp[0]:g} to {solimp[1]:g} over {solimp[2]:g} m")
    if margin >= LEAST_MARGIN:
        texts.append(f"felt from a gap of {margin:g} m on")
    return ", ".join(texts)
