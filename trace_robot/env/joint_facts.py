"""Joints, actuators, links and dynamics of a MuJoCo model as text.

What is zero, or what MuJoCo takes where a model gives nothing, is left out. A number that a reset draws is given as one
that differs, since that of one episode would be taken for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_robot.env.shape_facts import PLAIN, EpisodeStart, name_of, numbers
from trace_robot.env.tracking import affine_of, ancestors, joint_of, joints_drawn, kind_of

if TYPE_CHECKING:
    from trace_robot.env.contact_facts import ContactFacts

MOST_GROUPS = 6  # of joints with equal dynamics, and so lines
MOST_VALUES = 12  # different numbers in a line: an arm has seven masses, a hand twenty that are grouped
USUAL_GRAVITY = (0.0, 0.0, -9.81)
MORE = 1.1  # times its armature: below it a joint's inertia is the armature that is given already
DIFFERS = "that differs between episodes"


@dataclass(frozen=True, slots=True)
class JointFacts:
    """Lines on joints and what drives them, of one model just after a reset.

    Attributes:
        model, data: MuJoCo's.
        contact: of the same, which says where hinges pass and what is shown with its mass.
        other: another episode's start, which shows what a reset draws; None where not known.
    """

    model: Any
    data: Any
    contact: ContactFacts
    other: EpisodeStart | None = None

    def things(self) -> Iterator[str]:
        """Yield the dynamics of what nothing drives, in which a push or a throw ends."""
        driven = set(self._driven())
        yield from self._dynamics([joint for joint in self._listed() if joint not in driven], " (not driven)")

    def lines(self) -> Iterator[str]:
        """Yield joints with their actuators, links, then the dynamics of what is driven."""
        yield from self._joints()
        yield from self._links()
        driven = [joint for joint in self._listed() if joint in self._driven()]
        yield from self._dynamics(driven)
        yield from self._inertias(driven)
        yield from self._masses()
        yield from self._medium()

    def _driven(self) -> dict[int, list[int]]:
        """Return the actuators of each joint, of -1 those that are on no single one."""
        driven: dict[int, list[int]] = {}
        for actuator in range(self.model.nu):
            driven.setdefault(joint_of(self.model, actuator), []).append(actuator)
        return driven

    def _listed(self) -> list[int]:
        """Return the joints that are named, none of an arm that a weld pulls."""
        model, driven, pulled = self.model, self._driven(), pulled_roots(self.model)
        arm = {
            body
            for joint in driven
            if joint >= 0
            for body in ancestors(model, int(model.jnt_bodyid[joint]))[:-1]
        }
        found = []
        for joint in range(model.njnt):
            body = int(model.jnt_bodyid[joint])
            is_carried = body in arm and int(model.jnt_type[joint]) >= 2
            if joint in driven or not (is_carried or int(model.body_rootid[body]) in pulled):
                found.append(joint)
        return found

    def _joints(self) -> Iterator[str]:
        model, data, driven = self.model, self.data, self._driven()
        if pulled_roots(model):
            yield "the hand is pulled to its target by a weld; the joints of its arm follow and are not listed"
        for joint in self._listed():
            if int(model.jnt_type[joint]) < 2:
                continue
            slides = int(model.jnt_type[joint]) == 2
            unit = "m" if slides else "rad"
            text = f"joint {name_of(model, 'joint', joint)}: {'slide along' if slides else 'hinge about'}"
            text += f" {numbers(np.round(data.xaxis[joint], 2))} at the start"
            if joint not in driven and not slides:
                text += self.contact.passes(joint)
            if model.jnt_limited[joint]:
                text += f", from {numbers(model.jnt_range[joint], ' to ')} {unit}"
            text += "".join(f"; {self._actuator(actuator)}" for actuator in driven.get(joint, ()))
            yield text if joint in driven else f"{text}, {self.contact.begins(joint)}; not driven"
        yield from (f"on no single joint: {self._actuator(actuator)}" for actuator in driven.get(-1, ()))

    def _actuator(self, actuator: int) -> str:
        model = self.model
        gain, _, length, velocity = affine_of(model, actuator)
        kind = kind_of(model, actuator)
        what, value = {"position": ("stiffness", -length), "velocity": ("gain", -velocity)}.get(
            kind, ("gain", gain)
        )
        varies = self._varies("actuator_gainprm", actuator) or self._varies("actuator_biasprm", actuator)
        name = model.actuator(actuator).name
        text = f"actuator {actuator}{f' ({name})' if name else ''}, {kind or 'other'}"
        text += f", {what} {DIFFERS if varies else f'{value:g}'}"
        gear = float(model.actuator_gear[actuator, 0])
        text += f", gear {gear:g}" if gear != 1 else ""
        if model.actuator_ctrllimited[actuator]:
            text += f", control {numbers(model.actuator_ctrlrange[actuator], ' to ')}"
        if model.actuator_forcelimited[actuator]:
            text += f", force {numbers(model.actuator_forcerange[actuator], ' to ')}"
        return text

    def _links(self) -> Iterator[str]:
        """Yield the distances between the joints of each driven chain."""
        model, data = self.model, self.data
        driven = {joint for joint in self._driven() if joint >= 0}
        bodies = {int(model.jnt_bodyid[joint]) for joint in driven}
        inner = {body for other in bodies for body in ancestors(model, other)[:-1]}
        for end in sorted(bodies - inner)[:6]:
            chain = [
                joint
                for body in ancestors(model, end)
                for joint in range(model.njnt)
                if int(model.jnt_bodyid[joint]) == body and joint in driven
            ]
            lengths = [
                f"{name_of(model, 'joint', joint)} {np.linalg.norm(data.xanchor[joint] - data.xanchor[before]):.4g}"
                for before, joint in pairwise(chain)
                if int(model.jnt_bodyid[before]) != int(model.jnt_bodyid[joint])
            ]
            if lengths:
                yield f"links, m from joint to joint, from {name_of(model, 'joint', chain[0])}: {', '.join(lengths)}"

    def _dynamics(self, joints: Sequence[int], note: str = "") -> Iterator[str]:
        """Yield a line for all joints that have the same, those of the first joint first."""
        groups: dict[str, list[int]] = {}
        for joint in joints:
            if text := self._resistance(joint):
                groups.setdefault(text, []).append(joint)
        for text, members in list(groups.items())[:MOST_GROUPS]:
            yield f"dynamics of {self._names(members, joints)}{note}: {text}"

    def _resistance(self, joint: int) -> str:
        """Return what resists the motion of a joint, "" for nothing."""
        model, dof = self.model, int(self.model.jnt_dofadr[joint])
        turns = int(model.jnt_type[joint]) in (1, 3)
        along = "rad" if turns else "m"
        force, inertia = ("N m", "kg m2") if turns else ("N", "kg")
        texts = []
        for what, name, place, unit in (
            ("damping", "dof_damping", dof, f"{force} s/{along}"),
            ("armature", "dof_armature", dof, inertia),
            ("friction loss", "dof_frictionloss", dof, force),
            ("spring", "jnt_stiffness", joint, f"{force}/{along}"),
        ):
            value = float(getattr(model, name)[place])
            if self._varies(name, place):
                texts.append(f"{what} {DIFFERS}")
            elif value:
                texts.append(f"{what} {value:g} {unit}")
        if model.jnt_stiffness[joint] and int(model.jnt_type[joint]) >= 2:
            rest = float(model.qpos_spring[int(model.jnt_qposadr[joint])])
            texts[-1] += f" towards {rest:g}"
        return ", ".join(texts)

    def _inertias(self, joints: Sequence[int]) -> Iterator[str]:
        """Yield the diagonal of the inertia matrix in the zero pose."""
        model = self.model
        if self._varies("body_mass") or self._varies("dof_armature"):
            return
        for kind, unit in ((3, "hinges, kg m2"), (2, "slides, kg")):
            members = [joint for joint in joints if int(model.jnt_type[joint]) == kind]
            dofs = {joint: int(model.jnt_dofadr[joint]) for joint in members}
            values = {joint: float(model.dof_M0[dof]) for joint, dof in dofs.items()}
            if any(value > MORE * model.dof_armature[dofs[joint]] for joint, value in values.items()):
                text = self._grouped({joint: f"{value:.3g}" for joint, value in values.items()}, members)
                yield f"dynamics, inertia with armature in the model's zero pose, about {unit}: {text}"

    def _masses(self) -> Iterator[str]:
        """Yield the masses of links: of a thing that is touched its own line says it."""
        model, pulled = self.model, pulled_roots(self.model)
        shown = {int(model.body_weldid[body]) for body in passive_bodies(model)}
        moving = [
            body
            for body in range(1, model.nbody)
            if int(model.body_weldid[body]) == body
            and body not in shown
            and int(model.body_rootid[body]) not in pulled
            and model.body_jntnum[body]
        ]
        texts: dict[int, str] = {}
        for body in moving:
            parts = [part for part in range(model.nbody) if int(model.body_weldid[part]) == body]
            if any(self._varies("body_mass", part) for part in parts):
                texts[int(model.body_jntadr[body])] = DIFFERS
            elif mass := float(model.body_mass[parts].sum()):
                texts[int(model.body_jntadr[body])] = f"{mass:.3g}"
        if texts:
            yield f"dynamics, masses in kg that each joint moves, up to the next: {self._grouped(texts, list(texts))}"

    def _medium(self) -> Iterator[str]:
        option = self.model.opt
        if not np.allclose(option.gravity, USUAL_GRAVITY):
            yield f"dynamics: gravity {numbers(option.gravity)} m/s2"
        if option.density or option.viscosity:
            yield f"dynamics: a medium of density {option.density:g} kg/m3, viscosity {option.viscosity:g} Pa s"

    def _grouped(self, texts: Mapping[int, str], order: Sequence[int]) -> str:
        groups: dict[str, list[int]] = {}
        for joint, text in texts.items():
            groups.setdefault(text, []).append(joint)
        parts = [f"{self._names(members, order)} {text}" for text, members in groups.items()]
        more = f"; {len(parts) - MOST_VALUES} more not listed" if parts[MOST_VALUES:] else ""
        return "; ".join(parts[:MOST_VALUES]) + more

    def _names(self, joints: Sequence[int], order: Sequence[int]) -> str:
        """Return names of joints, of a run of three or more its ends."""
        runs: list[list[int]] = []
        for joint in joints:
            if runs and order.index(joint) == order.index(runs[-1][-1]) + 1:
                runs[-1].append(joint)
            else:
                runs.append([joint])
        names = []
        for run in runs:
            ends = [name_of(self.model, "joint", joint) for joint in run]
            names += [f"{ends[0]} to {ends[-1]}"] if len(ends) > 2 else ends
        return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)

    def _varies(self, name: str, place: int | None = None) -> bool:
        return self.other is not None and self.other.varies(self.model, name, place)


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
