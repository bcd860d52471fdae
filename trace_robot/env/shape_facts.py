"""Shapes of a MuJoCo model: sizes as text, bounding boxes, signed distances.

All places are of the data that is handed in, in meters along the world's axes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from trace_robot.spec import Array

PLANE, SPHERE, CAPSULE, ELLIPSOID, CYLINDER, BOX = 0, 2, 3, 4, 5, 6  # mjtGeom
SHAPES = {
    PLANE: "plane",
    1: "height field",
    SPHERE: "sphere",
    CAPSULE: "capsule",
    ELLIPSOID: "ellipsoid",
    CYLINDER: "cylinder",
    BOX: "box",
    7: "mesh",
}
SIZES = {SPHERE: ("radius",), CAPSULE: ("radius", "half length"), CYLINDER: ("radius", "half length")}
PLAIN = (SPHERE, CAPSULE, ELLIPSOID, CYLINDER, BOX)  # shapes that have a size
STRAIGHT = 0.995  # cosine, 6 degrees, from which an axis counts as one of the world's
SAME_PLACE = 1e-3  # meters; equal shapes that lie nearer to one another are named once
FAR = 0.15  # meters from the lines between observed positions; fixed shapes further off are listed last
BETWEEN = 9  # points of a straight line between two observed positions
UNDER = 0.02  # meters that a position may be below the top of what it lies on
BOX_SIDES = re.compile(r"box of [^m]+ m")
SLACK = 1e-4  # meters by which a shape that is inside another may stand out
DRAWN = (  # by resets that make worlds differ
    *("dof_damping", "dof_armature", "dof_frictionloss", "jnt_stiffness"),
    *("body_mass", "geom_friction", "actuator_gainprm", "actuator_biasprm"),
)


@dataclass(frozen=True, slots=True)
class EpisodeStart:
    """Where another episode has things just after its reset.

    Attributes:
        points: (3,) of observed positions by name, meters, world frame.
        places: (ngeom, 3) of geoms.
        turns: (ngeom, 9) of geoms.
        anchors: (njnt, 3) of joints.
        joints: (nq,) positions of joints.
        parameters: arrays of the model by name, of those that a reset may draw.
    """

    points: Mapping[str, Array]
    places: Array
    turns: Array
    anchors: Array
    joints: Array
    parameters: Mapping[str, Array]

    @classmethod
    def of(cls, data: Any, points: Mapping[str, Array]) -> EpisodeStart:
        """Return copies of MuJoCo's data just after a reset.

        Args:
            data: MuJoCo's.
            points: observed positions by name.
        """
        arrays = (data.geom_xpos, data.geom_xmat, data.xanchor, data.qpos)
        places, turns, anchors, joints = (array.copy() for array in arrays)
        parameters = {name: getattr(data.model, name).copy() for name in DRAWN}
        return cls(dict(points), places, turns, anchors, joints, parameters)

    def varies(self, model: Any, name: str, place: int | Sequence[int] | None = None) -> bool:
        """Return whether the other episode has another value of a parameter.

        Args:
            model: MuJoCo's, of this episode.
            name, place: of an array of it, and where in it; None for anywhere.
        """
        before, now = self.parameters[name], getattr(model, name)
        return not np.array_equal(
            before if place is None else before[place], now if place is None else now[place]
        )

    def fits(self, data: Any) -> bool:
        """Whether data is of the same model, which a reset may have compiled again."""
        own = (self.places, self.anchors, self.joints)
        return [a.shape for a in own] == [a.shape for a in (data.geom_xpos, data.xanchor, data.qpos)]


@dataclass(frozen=True, slots=True)
class Shapes:
    """The geoms of a model where its data has them.

    Attributes:
        model, data: MuJoCo's.
    """

    model: Any
    data: Any

    def touching(self) -> list[int]:
        """Return the geoms that can be in contact."""
        model = self.model
        return [g for g in range(model.ngeom) if model.geom_contype[g] or model.geom_conaffinity[g]]

    def kind(self, geom: int) -> int:
        """Return MuJoCo's number of a geom's type."""
        return int(self.model.geom_type[geom])

    def axes(self, geom: int) -> Array:
        """Return a geom's axes, (3, 3), a column each."""
        axes: Array = self.data.geom_xmat[geom].reshape(3, 3)
        return axes

    def half(self, geom: int) -> tuple[Array, Array]:
        """Return center and half sides, (3,) each, of a bounding box in a geom's axes."""
        size = np.asarray(self.model.geom_size[geom], dtype=float)
        kind = self.kind(geom)
        if kind in (CAPSULE, CYLINDER):
            end = size[0] if kind == CAPSULE else 0.0
            return np.zeros(3), np.array([size[0], size[0], size[1] + end])
        if kind == SPHERE:
            return np.zeros(3), np.full(3, size[0])
        if kind in (BOX, ELLIPSOID):
            return np.zeros(3), size
        own = np.asarray(self.model.geom_aabb[geom], dtype=float)
        return own[:3], own[3:]

    def extent(self, geom: int) -> Array:
        """Return a geom's bounding box along the world's axes, (3, 2), a plane's place."""
        place, axes, size = self.data.geom_xpos[geom], self.axes(geom), self.model.geom_size[geom]
        kind = self.kind(geom)
        if kind == PLANE:
            return np.stack([place, place], 1)
        along = np.abs(axes[:, 2])
        if kind == CAPSULE:
            reach = size[0] + along * size[1]
        elif kind == CYLINDER:
            reach = size[0] * np.sqrt(np.clip(1 - along**2, 0, 1)) + along * size[1]
        elif kind == ELLIPSOID:
            reach = np.linalg.norm(axes * size, axis=1)
        else:
            center, half = self.half(geom)
            place, reach = place + axes @ center, np.abs(axes) @ half
        return np.stack([place - reach, place + reach], 1)

    def distances(self, geom: int, points: Array) -> Array:
        """Return the signed distances of points from a geom's surface, negative inside.

        Args:
            geom: a mesh counts as its bounding box.
            points: (n, 3) world frame.

        Returns:
            (n,) meters.
        """
        own: Array = (points - self.data.geom_xpos[geom]) @ self.axes(geom)
        size, kind = self.model.geom_size[geom], self.kind(geom)
        if kind == CAPSULE:
            own[:, 2] -= np.clip(own[:, 2], -size[1], size[1])
        found: Array = np.linalg.norm(own, axis=1) - size[0]
        if kind in (SPHERE, CAPSULE):
            return found
        if kind == PLANE:
            found = own[:, 2]
        else:
            center, half = self.half(geom)
            beyond = np.abs(own - center) - half
            if kind == CYLINDER:
                beyond = np.stack([np.hypot(own[:, 0], own[:, 1]) - size[0], beyond[:, 2]], 1)
            found = np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(1), 0)
        if kind == ELLIPSOID:  # Quilez' bound, whose sign is exact, or its box where that is further
            first, second = np.linalg.norm(own / size, axis=1), np.linalg.norm(own / size**2, axis=1)
            bound = np.where(second > 0, first * (first - 1) / np.maximum(second, 1e-12), -size.min())
            found = np.maximum(found, bound)
        return found

    def outer(self, geoms: Sequence[int]) -> list[int]:
        """Return the geoms that are not inside another of them."""
        found: list[int] = []
        for geom in geoms:
            if self.kind(geom) not in PLAIN:
                found.append(geom)
                continue
            _, half = self.half(geom)
            signs = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, 8).T
            corners = self.data.geom_xpos[geom] + (signs * half) @ self.axes(geom).T
            # Of two that are equal the first stays.
            around = [g for g in geoms if g != geom and self.kind(g) in PLAIN and (g in found or g > geom)]
            if not any((self.distances(g, corners) < SLACK).all() for g in around):
                found.append(geom)
        return found

    def nearness(self, geoms: Sequence[int], points: Sequence[Array]) -> dict[int, tuple[float, float]]:
        """Return the keys by which shapes are ranked by what can matter.

        Args:
            geoms: that are fixed.
            points: (3,) observed positions, meters.

        Returns:
            For each its distance from the straight lines between the points, -1 where a point lies on it or would fall
            on it within FAR, and less its area seen from above.
        """
        lines = [np.linspace(one, other, BETWEEN) for one, other in combinations(points, 2)]
        between = np.concatenate([np.stack(list(points)), *lines]) if points else np.zeros((0, 3))
        found = {}
        for geom in geoms:
            extent = self.extent(geom)
            area = np.inf if self.kind(geom) == PLANE else np.prod((extent[:, 1] - extent[:, 0])[:2])
            near = float(self.distances(geom, between).min()) if points else 0.0
            found[geom] = (max(near, 0.0), -float(area))
        for point in points:
            below = [geom for geom in geoms if found[geom][0] < FAR and self._is_below(geom, point)]
            if below:
                top = max(below, key=lambda geom: float(self.extent(geom)[2, 1]))
                found[top] = (-1.0, found[top][1])
        return found

    def _is_below(self, geom: int, point: Array) -> bool:
        extent = self.extent(geom)
        inside = (extent[:2, 0] <= point[:2]) & (point[:2] <= extent[:2, 1])
        return bool(extent[2, 1] <= point[2] + UNDER and (self.kind(geom) == PLANE or inside.all()))

    def text(self, geom: int) -> str:
        """Return a geom's shape and size, a mesh's bounding box where it is one."""
        kind, size = self.kind(geom), self.model.geom_size[geom]
        if kind == BOX:
            sides = 2 * (size[np.abs(self.axes(geom)).argmax(1)] if self.is_straight(geom) else size)
            return f"box of {numbers(sides, ' x ')} m{self.turned(geom)}"
        if kind == ELLIPSOID:
            return f"ellipsoid, half axes {numbers(size)} m"
        if kind not in PLAIN:
            extent = self.extent(geom)
            return f"{SHAPES.get(kind, 'shape')} within {numbers(np.round(extent[:, 1] - extent[:, 0], 3), ' x ')} m"
        text = ", ".join(f"{name} {float(size[k]):.4g}" for k, name in enumerate(SIZES[kind]))
        return f"{SHAPES[kind]}{self._along(geom) if len(SIZES[kind]) > 1 else ''}, {text} m"

    def turned(self, geom: int) -> str:
        """Return how a box is turned, "" where it is not."""
        if self.is_straight(geom):
            return ""
        axes = self.axes(geom)
        if axes[2, 2] > STRAIGHT:
            return f", turned by {np.degrees(np.arctan2(axes[1, 0], axes[0, 0])):.0f} degrees about z"
        return f", turned, its sides along {', '.join(numbers(np.round(axes[:, k], 2)) for k in range(3))}"

    def is_straight(self, geom: int) -> bool:
        """Whether a geom's axes are the world's, in any order."""
        return bool((np.abs(self.axes(geom)).max(1) > STRAIGHT).all())

    def _along(self, geom: int) -> str:
        axis = self.axes(geom)[:, 2]
        place = int(np.abs(axis).argmax())
        return (
            f" along {'xyz'[place]}"
            if abs(axis[place]) > STRAIGHT
            else f" along {numbers(np.round(axis, 2))}"
        )

    def center(self, geom: int) -> Array:
        """Return the middle of a geom, of a mesh that of its bounding box, (3,)."""
        middle: Array = self.extent(geom).mean(1)
        return middle

    def parts(self, geoms: Sequence[int], origin: Array) -> list[str]:
        """Return shapes with from where to where they reach, equal ones once.

        Args:
            geoms: in the order in which they are named.
            origin: (3,) from which places are.
        """
        found: list[tuple[str, list[list[str]]]] = []
        for geom in geoms:
            if self.kind(geom) == PLANE:
                level = self.axes(geom)[2, 2] > STRAIGHT
                place = self.data.geom_xpos[geom] - origin
                text = f"at z {place[2]:.4g}" if level else f"through {numbers(place)}, upwards along"
                text += "" if level else f" {numbers(np.round(self.axes(geom)[:, 2], 2))}"
                found.append((f"plane {text}", []))
                continue
            spans = [f"{number(low)} to {number(high)}" for low, high in self.extent(geom) - origin[:, None]]
            merge_spans(found, self._kind_text(geom), [[span] for span in spans])
        return [f"{_counted(text, spans)}{_spans_text(spans)}" for text, spans in found]

    def _kind_text(self, geom: int) -> str:
        """Return what a bounding box does not say of a shape."""
        kind = self.kind(geom)
        straight = self.is_straight(geom)
        if kind in (BOX, SPHERE, ELLIPSOID) and straight:
            return f"{SHAPES[kind]} "
        if kind in (CAPSULE, CYLINDER) and np.abs(self.axes(geom)[:, 2]).max() > STRAIGHT:
            return f"{SHAPES[kind]}{self._along(geom)}, "
        return f"{self.text(geom)}, within " if kind in PLAIN else f"{SHAPES.get(kind, 'shape')} within "


def _counted(text: str, spans: Sequence[Sequence[str]]) -> str:
    """Return a kind of shape, with how many there are where it is more than one."""
    count = math.prod(len(span) for span in spans)
    word = text.split()[0].rstrip(",")
    plural = {"box": "boxes", "mesh": "meshes"}.get(word, f"{word}s")
    return text if count < 2 else f"{count} {plural}{text.removeprefix(word)}"


def _spans_text(spans: Sequence[Sequence[str]]) -> str:
    ordered = [sorted(span, key=lambda text: float(text.split()[0])) for span in spans]
    return ", ".join(
        f"{axis} {' and '.join(span)}" for axis, span in zip("xyz"[: len(ordered)], ordered, strict=True)
    )


def merge_spans(found: list[tuple[str, list[list[str]]]], text: str, spans: list[list[str]]) -> None:
    """Add a shape's spans to those of an equal one that differ along one axis only.

    Args:
        found: kinds and spans along three axes, which is changed.
        text: the kind.
        spans: along three axes.
    """
    for place, (kind, other) in enumerate(found):
        if kind != text or not other:
            continue
        differ = [axis for axis in range(3) if spans[axis] != other[axis]]
        if len(differ) <= 1:
            del found[place]
            for axis in differ:
                other[axis] = [*other[axis], *(s for s in spans[axis] if s not in other[axis])]
            merge_spans(found, text, other)
            return
    found.append((text, spans))


def number(value: float) -> str:
    """Return a place in meters, to the millimeter."""
    return f"{round(float(value), 3) + 0.0:g}"


def numbers(values: Iterable[float], between: str = " ") -> str:
    """Return numbers as text, four decimals at most.

    Args:
        values: of any length.
        between: two of them.
    """
    return between.join(f"{round(float(value), 4) + 0.0:g}" for value in values)


def name_of(model: Any, kind: str, number: int) -> str:
    """Return an object's name, for a nameless body that of its nearest parent.

    Args:
        model: MuJoCo's.
        kind: "body", "joint" or "geom".
        number: its id.
    """
    name = str(getattr(model, kind)(number).name)
    if kind == "body" and not name:
        above = int(model.body_parentid[number])
        while above and not model.body(above).name:
            above = int(model.body_parentid[above])
        name = str(model.body(above).name) if above else ""
    return name or f"{kind} {number}"


def sides_named(lines: Sequence[str]) -> list[str]:
    """Say at the first box that its sides are whole ones, as MuJoCo's are half."""
    found = list(lines)
    for place, line in enumerate(found):
        if BOX_SIDES.search(line):
            found[place] = BOX_SIDES.sub(r"\g<0> (full sides)", line, count=1)
            break
    return found
