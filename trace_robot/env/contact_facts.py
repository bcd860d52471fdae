"""Contact geometry from a MuJoCo model: places, friction and softness of shapes.

A controller sees the position of a body, not of its surface, so each shape is placed from the observed position that
moves with it, where there is one, else from its body's origin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trace_robot.env.tracking import ancestors, joint_of, joints_drawn
from trace_robot.spec import Array

MOST_SURFACES = 4  # fixed ones that something can lie on
MOST_BODIES = 8  # that can be moved
MOST_SHAPES = 6  # of a body; a tool of Meta-World has these
MOST_ENDS = 6  # of driven chains, as many as a hand has
SHAPES = {0: "plane", 2: "sphere", 3: "capsule", 4: "ellipsoid", 5: "cylinder", 6: "box", 7: "mesh"}
SIZES = {2: ("radius",), 3: ("radius", "half length"), 5: ("radius", "half length")}
PLAIN = (2, 3, 4, 5, 6)  # shapes that have a size
STRAIGHT = 0.995  # cosine, 6 degrees, from which an axis counts as one of the world's
HAND_SIZE = 0.25  # meters from a hand's observed position within which its fingers are placed from it
LEAST_MARGIN = 0.002  # meters; most models of hands have half of it, which is below what a prompt resolves
SAME_PLACE = 5e-3  # meters; equal shapes that lie nearer to one another are named once
SAME_POINT = 1e-3  # meters; an observed position this near to a body's origin is taken for it
# What MuJoCo takes where a model gives nothing else (its XML reference, solref and solimp).
USUAL_SOLREF, USUAL_SOLIMP = (0.02, 1.0), (0.9, 0.95, 0.001, 0.5, 2.0)
USUAL = "time constant 0.02 s, damping ratio 1, impedance 0.9 to 0.95 over 0.001 m"


@dataclass(slots=True)
class ContactFacts:
    """Lines on what touches, of one model just after a reset.

    Attributes:
        model, data: MuJoCo's, whose positions are those of the reset.
        seen: observed positions by name, (3,) meters, world frame.
        hands: names of those that are hands'.
    """

    model: Any
    data: Any
    seen: Mapping[str, Array] = field(default_factory=dict)
    hands: Sequence[str] = ()
    _shown: set[int] = field(default_factory=set, init=False)  # geoms of which a line says where they are

    def lines(self) -> list[str]:
        """Return a line for each movable body, fixed surface and end of a driven chain."""
        return [*self._objects(), *self._surfaces(), *self._ends()]

    def _objects(self) -> Iterator[str]:
        """Yield what can be moved: bodies on joints that nothing drives."""
        model = self.model
        for body in passive_bodies(model)[:MOST_BODIES]:
            geoms = [
                geom for geom in self._touching() if int(model.body_weldid[model.geom_bodyid[geom]]) == body
            ]
            if not geoms:
                continue
            mass = sum(
                float(model.body_mass[b]) for b in range(model.nbody) if int(model.body_weldid[b]) == body
            )
            how = f"{mass:.4g} kg, {self._friction(geoms)}"
            yield f"body {_name(model, 'body', body)}: {self._placed(body, geoms)}; {how}"

    def _surfaces(self) -> list[str]:
        """Return the largest fixed surfaces with their heights."""
        model, found = self.model, []
        for geom in self._touching():
            kind = int(model.geom_type[geom])
            if int(model.body_weldid[int(model.geom_bodyid[geom])]) or kind not in (0, 5, 6):
                continue
            size, place = model.geom_size[geom], self.data.geom_xpos[geom]
            half = size if kind == 6 else [size[0], size[0], size[1]]
            extent = np.abs(self.data.geom_xmat[geom].reshape(3, 3)) @ half
            name = model.geom(geom).name or _name(model, "body", int(model.geom_bodyid[geom]))
            if kind == 0:
                found.append((np.inf, f"fixed plane {name}: at z {float(place[2]):.4g} m", geom))
                continue
            where = ", ".join(
                f"{axis} {float(place[k] - extent[k]):.4g} to {float(place[k] + extent[k]):.4g}"
                for k, axis in enumerate("xy")
            )
            text = f"fixed {SHAPES[kind]} {name}: top at z {float(place[2] + extent[2]):.4g} m, {where}"
            found.append((float(extent[0] * extent[1]), text, geom))
        largest = sorted(found, key=lambda entry: -entry[0])[:MOST_SURFACES]
        self._shown |= {geom for _, _, geom in largest}
        return [text for _, text, _ in largest]

    def _ends(self) -> Iterator[str]:
        """Yield the shapes that touch at the ends of driven chains: fingers, tips, feet."""
        model = self.model
        for end in ends_of(model)[:MOST_ENDS]:
            geoms = [
                geom for geom in self._touching() if end in ancestors(model, int(model.geom_bodyid[geom]))
            ]
            if any(int(model.geom_type[geom]) in PLAIN for geom in geoms):
                yield f"touching parts of {_name(model, 'body', end)}: {self._placed(end, geoms, near_hands=True)}"

    def _touching(self) -> list[int]:
        model = self.model
        return [g for g in range(model.ngeom) if model.geom_contype[g] or model.geom_conaffinity[g]]

    def _placed(self, body: int, geoms: Sequence[int], *, near_hands: bool = False) -> str:
        """Return shapes with where they lie, equal ones once."""
        name, origin = self._reference(body, near_hands)
        plain = [geom for geom in geoms if int(self.model.geom_type[geom]) in PLAIN]
        self._shown |= set(plain)
        if not plain:
            return ", ".join(
                dict.fromkeys(SHAPES.get(int(self.model.geom_type[geom]), "shape") for geom in geoms)
            )
        texts: list[str] = []
        placed: list[tuple[str, Array]] = []
        for geom in plain[:MOST_SHAPES]:
            shape, offset = self._shape(geom), self.data.geom_xpos[geom] - origin
            # A pad on a finger is often a second geom of the same size, a few millimeters off.
            if any(shape == one and float(np.abs(offset - at).max()) < SAME_PLACE for one, at in placed):
                continue
            placed.append((shape, offset))
            texts.append(shape + self._at(offset))
        more = f", {len(plain) - MOST_SHAPES} more" if len(plain) > MOST_SHAPES else ""
        text = ", ".join(texts) + more
        return f"{text} (from {name}, along the world's axes at the start)" if " at " in text else text

    def _at(self, offset: Array) -> str:
        return "" if float(np.abs(offset).max()) < SAME_POINT / 2 else f" at {_text(np.round(offset, 3))}"

    def _reference(self, body: int, near_hands: bool) -> tuple[str, Array]:
        """Return the observed position on a body, else a near hand's, else its origin."""
        own = self.data.xpos[body]
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
        if near_hands and self.hands:
            nearest = min(self.hands, key=lambda name: float(np.linalg.norm(self.seen[name] - own)))
            if float(np.linalg.norm(self.seen[nearest] - own)) < HAND_SIZE:
                return nearest, self.seen[nearest]
        return "its origin", own

    def _shape(self, geom: int) -> str:
        kind, size = int(self.model.geom_type[geom]), self.model.geom_size[geom]
        turned = self.data.geom_xmat[geom].reshape(3, 3)
        if kind == 6:
            order = np.abs(turned).argmax(1)
            straight = bool((np.abs(turned).max(1) > STRAIGHT).all())
            sides = _text(2 * (size[order] if straight else size), " x ")
            return f"box of {sides} m{'' if straight else ', turned'}"
        if kind == 4:
            return f"ellipsoid, half axes {_text(size)} m"
        text = ", ".join(f"{name} {float(size[k]):.4g}" for k, name in enumerate(SIZES[kind]))
        return f"{SHAPES[kind]}{_along(turned[:, 2]) if len(SIZES[kind]) > 1 else ''}, {text} m"

    def _friction(self, geoms: Sequence[int]) -> str:
        model = self.model
        # A pair has the larger dimension of both; with 1, contact has a normal force alone.
        if all(int(model.geom_condim[geom]) == 1 for geom in self._touching()):
            return "contact without friction"
        return f"sliding friction {max(float(model.geom_friction[geom, 0]) for geom in geoms):g}"

    def softness(self) -> Iterator[str]:
        """Yield a line on softness, where what ``lines`` named has not MuJoCo's usual one."""
        kinds: dict[str, list[str]] = {}
        for geom in sorted(self._shown):
            if text := _softness_text(self.model, geom):
                kinds.setdefault(text, []).append(
                    _name(self.model, "body", int(self.model.geom_bodyid[geom]))
                )
        texts = [f"{', '.join(dict.fromkeys(bodies))} {text}" for text, bodies in kinds.items()]
        if texts:
            yield f"softness of contact, where not the usual {USUAL}: {'; '.join(texts)}"


def passive_bodies(model: Any) -> list[int]:
    """Return the bodies on joints that nothing drives, without the links of an arm.

    Args:
        model: MuJoCo's.
    """
    driven = {joint for actuator in range(model.nu) for joint in joints_drawn(model, actuator)}
    arm = {body for joint in driven for body in ancestors(model, int(model.jnt_bodyid[joint]))}
    pulled, found = pulled_roots(model), list[int]()
    for joint in range(model.njnt):
        body = int(model.jnt_bodyid[joint])
        if body in found or joint in driven or int(model.body_rootid[body]) in pulled:
            continue
        if body not in arm or int(model.jnt_type[joint]) == 0:  # a free one may carry legs
            found.append(body)
    return found


def pulled_roots(model: Any) -> set[int]:
    """Return the roots of what a weld to a mocap body moves.

    Args:
        model: MuJoCo's.
    """
    found = set()
    for constraint in range(model.neq):
        if int(model.eq_type[constraint]) != 1:  # mjEQ_WELD
            continue
        ends = [int(model.eq_obj1id[constraint]), int(model.eq_obj2id[constraint])]
        if any(model.body_mocapid[end] >= 0 for end in ends):
            found |= {int(model.body_rootid[end]) for end in ends if model.body_mocapid[end] < 0}
    return found


def ends_of(model: Any) -> list[int]:
    """Return the last bodies of driven chains, and of a pulled arm those that touch.

    Args:
        model: MuJoCo's.
    """
    bodies = {int(model.jnt_bodyid[j]) for a in range(model.nu) if (j := joint_of(model, a)) >= 0}
    pulled = pulled_roots(model)
    bodies |= {
        int(model.geom_bodyid[geom])
        for geom in range(model.ngeom)
        if int(model.geom_type[geom]) in PLAIN
        and (model.geom_contype[geom] or model.geom_conaffinity[geom])
        and int(model.body_rootid[int(model.geom_bodyid[geom])]) in pulled
    }
    driven = {body for body in bodies if model.body_jntnum[body]}
    # A pad that is fixed to a finger is a part of it.
    bodies = {body for body in bodies if body in driven or not driven & set(ancestors(model, body))}
    inner = {body for other in bodies for body in ancestors(model, other)[:-1]}
    return sorted(bodies - inner)


def _softness_text(model: Any, geom: int) -> str:
    """Return the parameters of a soft contact, "" for MuJoCo's own."""
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


def _along(axis: Array) -> str:
    place = int(np.abs(axis).argmax())
    return f" along {'xyz'[place]}" if abs(axis[place]) > STRAIGHT else f" along {_text(np.round(axis, 2))}"


def _name(model: Any, kind: str, number: int) -> str:
    return getattr(model, kind)(number).name or f"{kind} {number}"


def _text(values: Array, between: str = " ") -> str:
    return between.join(f"{round(float(value), 4) + 0.0:g}" for value in np.asarray(values))
