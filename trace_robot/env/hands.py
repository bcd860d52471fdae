"""System identification of hands: which joints move them, and what each action number does.

Which joints move a hand is read in the MuJoCo model; what each action number does to ``data.ctrl`` is measured by
finite differences, in an environment object that is made for the description and closed after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_robot.env.declaration import Environment, Hand
from trace_robot.env.motion_model import passed_on
from trace_robot.env.tracking import (
    REACH,
    TURN,
    ArmModel,
    HandModel,
    affine_of,
    ancestors,
    joint_of,
    joints_behind,
    joints_drawn,
    kind_of,
)
from trace_robot.errors import WorkspaceError, unknown
from trace_robot.spec import Array, Field, HandSpec

if TYPE_CHECKING:
    from trace_robot.env.description import Probe

LOOKS = 6  # states in which a site must be where the hand is observed
MATCHES = (1e-6, 1e-5, 1e-4, 1e-3)  # meters; observations may be float32, rounded or a time step old
FAR = 0.01  # meters from a declared site at which the observed hand is another point
PROBE = 0.05  # of half the range of an action number: small, so that nothing meets a limit
VARIED = 0.3  # likewise, of the episode that shows what an action is added to
OPENING = 25  # steps in which fingers open or close
MOVED = 1e-4  # meters that fingers must have moved apart


@dataclass(frozen=True, slots=True)
class Response:
    """How ``data.ctrl`` follows from a raw action: slope @ action + offset + base.

    Attributes:
        slope: (nu, raw_dim).
        offset: (nu,).
        base: (nu,) ABSOLUTE, AFTER_CTRL or AFTER_QPOS; -1 where none of them explains what was seen.
    """

    slope: Array
    offset: Array
    base: Array

    @classmethod
    def of(cls, probe: Probe) -> Response:
        """Measure it by finite differences, each from the second step of an episode."""
        middle, half = probe.middle, probe.half
        rest = probe.play([middle, middle])[-1][0]
        slope, straight = np.zeros((len(rest), len(middle))), np.ones(len(rest), bool)
        side = np.ones(len(middle))
        for i in np.flatnonzero(half):
            slopes = {}
            for size in (PROBE, -PROBE, 2 * PROBE, -2 * PROBE):
                action = middle.copy()
                action[i] += size * half[i]
                slopes[size] = (probe.play([middle, action])[-1][0] - rest) / (size * half[i])
            # An environment that clips its ctrl may answer on one side only.
            up, down = slopes[PROBE], slopes[-PROBE]
            better = np.abs(up) >= np.abs(down) - 1e-6
            slope[:, i] = np.where(better, up, down)
            twice = np.where(better, slopes[2 * PROBE], slopes[-2 * PROBE])
            straight &= np.abs(twice - slope[:, i]) <= 0.01 * np.abs(slope[:, i]) + 1e-6
            side[i] = 1.0 if better[np.abs(slope[:, i]).argmax()] else -1.0
        slope[np.abs(slope) * half < 1e-7] = 0.0
        generator = np.random.default_rng(0)
        actions = [middle + side * VARIED * half * generator.uniform(0.2, 1.0, len(half)) for _ in range(5)]
        states = probe.play(actions)
        reached = np.array([state[0] for state in states[2:]])
        reached -= np.array(actions[1:]) @ slope.T  # (steps, nu)
        joints = [joint_of(probe.model, i) for i in range(len(rest))]
        adr = probe.model.jnt_qposadr
        ctrl = np.array([state[0] for state in states[1:-1]])
        qpos = np.array(
            [[state[1][adr[j]] if j >= 0 else 0.0 for j in joints] for state in states[1:-1]]
        ).reshape(ctrl.shape)
        left = np.array([reached, reached - ctrl, reached - qpos])  # by ABSOLUTE, AFTER_CTRL, AFTER_QPOS
        spread = np.ptp(left, axis=1)
        base = np.asarray(spread.argmin(0))
        known = spread.min(0) <= 1e-6 + 2e-3 * (np.abs(slope) * half).max(1, initial=0.0)
        offset = left.mean(1)[base, np.arange(len(base))]
        return cls(slope, offset, np.where(known & straight, base, -1))

    @property
    def driven(self) -> list[int]:
        """The actuators whose input an action number moves."""
        driven: list[int] = np.flatnonzero((self.slope != 0).any(1)).tolist()
        return driven


def arm_model(declaration: Environment, probe: Probe, response: Response | None = None) -> ArmModel:
    """Find out what inverse kinematics needs to move the declared hands.

    Args:
        declaration: its hands have no ``motion``.
        probe: of an environment object that nothing else uses.
        response: of the actuators where it has been measured.

    Raises:
        WorkspaceError: a hand cannot be found or moved; the message says what to declare.
        EnvironmentFault: the environment raises.
    """
    model = probe.model
    if not model.nu:
        raise WorkspaceError(
            "hands: the MuJoCo model has no actuators; name the action part that moves the hand, motion=..."
        )
    found = [object_at(hand, probe) for hand in declaration.hands]
    response = response or Response.of(probe)
    chains = [
        _chain(hand, *place, response, probe) for hand, place in zip(declaration.hands, found, strict=True)
    ]
    joints = sorted({joint for chain in chains for joint in chain})
    actuators = np.array([_actuator(joint, response, probe) for joint in joints])
    numbers = np.flatnonzero((response.slope[actuators] != 0).any(0))
    names = {i: part.name for part in probe.spec.action for i in range(part.start, part.stop)}
    for actuator, joint in zip(actuators, joints, strict=True):
        if response.base[actuator] < 0:
            acting = dict.fromkeys(names[i] for i in np.flatnonzero(response.slope[actuator]).tolist())
            raise WorkspaceError(
                f"hands: what the action numbers of {', '.join(map(repr, acting))} do to joint"
                f" {probe.name('joint', joint)!r} is not understood: data.ctrl of its actuator is neither a linear"
                " function of them nor of them and its own or the joint's last value; use pose=JointTracking(...), or"
                " make the environment write data.ctrl once a step"
            )
    hands, fields, low, high, passed = _pose_action(declaration, found, chains, numbers, response, probe)
    affine = np.array([affine_of(model, i) for i in actuators]).T
    limits = np.array([model.jnt_range[j] if model.jnt_limited[j] else (-np.inf, np.inf) for j in joints]).T
    integrator = model.actuator_dyntype[actuators] == 1  # mjDYN_INTEGRATOR
    before = float(probe.data.time)
    probe.step(probe.middle)
    arm = ArmModel(
        hands=hands,
        fields=fields,
        low=low,
        high=high,
        qpos=model.jnt_qposadr[joints].copy(),
        dofs=model.jnt_dofadr[joints].copy(),
        limits=limits,
        actuators=actuators,
        affine=affine,
        gear=model.actuator_gear[actuators, 0].copy(),
        integrated=np.where(integrator, model.actuator_actadr[actuators], -1),
        kinds=tuple(kind_of(model, i) for i in actuators),
        base=response.base[actuators],
        offset=response.offset[actuators],
        numbers=numbers,
        inverse=np.linalg.pinv(response.slope[np.ix_(actuators, numbers)]),
        raw_low=np.array(probe.spec.low),
        raw_high=np.array(probe.spec.high),
        passed=passed,
        seconds=float(probe.data.time) - before,
        size=(model.nq, model.nv, model.nu),
    )
    return _with_openings(declaration, arm, probe)


def is_somewhere(position: str, probe: Probe) -> bool:
    """Return whether a site or body of the model is where a part is observed.

    Args:
        position: the observation part, (3,), meters.
        probe: of an environment object that nothing else uses.
    """
    try:
        return bool(object_at(Hand(position), probe)[1] >= 0)
    except WorkspaceError:
        return False


def object_at(hand: Hand, probe: Probe) -> tuple[bool, int]:
    """Return whether the hand is a site, and the id of that site or body.

    Args:
        hand: with the observation part that is its position.
        probe: of an environment object that nothing else uses.

    Raises:
        WorkspaceError: nothing in the model is there, or what is declared is elsewhere.
    """
    import mujoco

    model, generator = probe.model, np.random.default_rng(0)
    own, gaps = mujoco.MjData(model), []
    probe.reset()
    for look in range(LOOKS):
        if look:
            probe.step(generator.uniform(probe.spec.low, probe.spec.high))
        own.qpos[:], own.mocap_pos[:], own.mocap_quat[:] = (
            probe.data.qpos,
            probe.data.mocap_pos,
            probe.data.mocap_quat,
        )
        mujoco.mj_kinematics(model, own)
        # What is observed may have been computed before the last time step or after it.
        places = [np.concatenate([data.site_xpos, data.xpos]) for data in (probe.data, own)]
        gaps.append([np.abs(place - probe.seen[hand.position]).max(1) for place in places])
    gap = np.max(gaps, axis=0).min(0)  # (nsite + nbody,)
    for kind, first, declared in (("site", 0, hand.site), ("body", model.nsite, hand.body)):
        if declared:
            names = [getattr(model, kind)(i).name for i in range(getattr(model, f"n{kind}"))]
            if declared not in names:
                raise WorkspaceError(f"hands: {hand.name!r}: {unknown(kind, declared, filter(None, names))}")
            number = names.index(declared)
            if gap[first + number] > FAR:
                raise WorkspaceError(
                    f"hands: {hand.name!r}: {kind} {declared!r} is {gap[first + number]:.3g} m from {hand.position!r}"
                    " of the observation; name what is at that position"
                )
            return kind == "site", number
    bodies = [*model.site_bodyid, *range(model.nbody)]
    depths = [len(ancestors(model, body)) for body in bodies]
    for tolerance in MATCHES:
        if (near := np.flatnonzero(gap <= tolerance)).size:
            # The deepest, and a site before a body: sites come first.
            best = int(max(near, key=lambda i: (depths[i], -i)))
            return (True, best) if best < model.nsite else (False, best - model.nsite)
    best = int(gap.argmin())
    nearest = probe.name("site", best) if best < model.nsite else probe.name("body", best - model.nsite)
    raise WorkspaceError(
        f"hands: {hand.name!r}: no site or body of the model is where {hand.position!r} is observed; {nearest!r} is"
        f" nearest, {gap[best]:.3g} m off; name one with site=... or body=..., or observe its world position"
    )


def _chain(hand: Hand, is_site: bool, number: int, response: Response, probe: Probe) -> list[int]:
    """Return the joints between a hand and the root that the action drives."""
    model = probe.model
    body = int(model.site_bodyid[number]) if is_site else number
    on_path = [j for each in ancestors(model, body) for j in _joints(model, each)]
    names = [probe.name("joint", joint) for joint in on_path]
    for declared in hand.joints:
        if declared not in names:
            raise WorkspaceError(f"hands: {hand.name!r}: {unknown('joint before the hand', declared, names)}")
    acted = {joint_of(model, i) for i in response.driven}
    chain = [
        joint
        for joint, name in zip(on_path, names, strict=True)
        if joint in acted and (not hand.joints or name in hand.joints)
    ]
    if not chain:
        what = f"{'site' if is_site else 'body'} {probe.name('site' if is_site else 'body', number)!r}"
        raise WorkspaceError(
            f"hands: {hand.name!r}: no joint between {what} and the root has an actuator that the action drives"
            f" (joints there: {', '.join(names) or 'none'}); name another site=... or body=..., or the action part"
            " that moves the hand, motion=..."
        )
    return chain


def _actuator(joint: int, response: Response, probe: Probe) -> int:
    """Return the one actuator of a joint that the action drives."""
    model = probe.model
    driving = [i for i in response.driven if joint_of(model, i) == joint]
    if len(driving) > 1:
        names = " and ".join(repr(probe.name("actuator", i)) for i in driving)
        raise WorkspaceError(
            f"hands: joint {probe.name('joint', joint)!r} has {len(driving)} actuators, {names}, and inverse kinematics"
            " needs one a joint; use pose=JointTracking(...)"
        )
    (number,) = driving
    if not kind_of(model, number):
        raise WorkspaceError(
            f"hands: actuator {probe.name('actuator', number)!r} of joint {probe.name('joint', joint)!r} is neither"
            " position, velocity nor motor; leave the joint out, joints=..., or use pose=JointTracking(...)"
        )
    return number


def _pose_action(
    declaration: Environment,
    found: Sequence[tuple[bool, int]],
    chains: Sequence[Sequence[int]],
    arm_numbers: Array,
    response: Response,
    probe: Probe,
) -> tuple[tuple[HandModel, ...], tuple[Field, ...], tuple[float, ...], tuple[float, ...], Array]:
    """Return the hands of an action in mode "pose", and its layout."""
    spec, model = probe.spec, probe.model
    joints = {joint for chain in chains for joint in chain}
    hands: list[HandModel] = []
    fields: list[Field] = []
    low: list[float] = []
    high: list[float] = []
    used = set(arm_numbers.tolist())

    def add(name: str, size: int, unit: str, meaning: str, bound: float) -> int:
        start = len(low)
        fields.append(Field(name, start, start + size, unit, meaning))
        low.extend([-bound] * size)
        high.extend([bound] * size)
        return start

    for hand, (is_site, number), chain in zip(declaration.hands, found, chains, strict=True):
        prefix = f"{hand.name}_" if len(declaration.hands) > 1 else ""
        motion = add(f"{prefix}displacement", 3, "m", "where the hand must go, seen from where it is", REACH)
        turn = -1
        if hand.turn or hand.yaw:
            turn = add(
                hand.turn or f"{prefix}turn", 1, "rad", "about the vertical axis, seen from above", TURN
            )
        grip, name, fingers = _gripper(hand, chain, joints, used, response, probe)
        gripper = add(f"{prefix}gripper", 1, "", "", 1.0) if grip.size else -1
        used |= set(grip.tolist())
        rows = 6 if len(chain) >= 6 else 4 if turn >= 0 else 3
        actuators = [_actuator(joint, response, probe) for joint in chain]
        kinds = tuple(dict.fromkeys(kind_of(model, i) for i in actuators))
        described = HandSpec(hand.name, hand.position, motion, turn, hand.yaw, gripper)
        hands.append(
            HandModel(
                described, is_site, number, rows, len(chain), kinds, fingers, grip, np.ones(len(grip)), name
            )
        )
    passed = passed_on(spec, used, fields, low, high)
    return tuple(hands), tuple(fields), tuple(low), tuple(high), passed


def _gripper(
    hand: Hand, chain: Sequence[int], arm: set[int], used: set[int], response: Response, probe: Probe
) -> tuple[Array, str, Array]:
    """Return raw numbers, name and degrees of freedom of a hand's gripper."""
    model, parts = probe.model, probe.spec.action
    fingers = [joint for joint in joints_behind(model, chain) if joint not in arm]
    moving = [i for i in response.driven if (acted_on := joints_drawn(model, i)) and acted_on <= {*fingers}]
    if hand.gripper:
        part = next(part for part in parts if part.name == hand.gripper)
        numbers = list(range(part.start, part.stop))
        if taken := [i for i in numbers if i in used]:
            raise WorkspaceError(
                f"hands: {hand.name!r}: gripper {hand.gripper!r} has numbers that move joints of an arm:"
                f" {', '.join(map(str, taken))}; give the gripper's numbers a part of their own"
            )
        moving = np.flatnonzero((response.slope[:, numbers] != 0).any(1)).tolist()
    else:
        numbers = [i for i in np.flatnonzero((response.slope[moving] != 0).any(0)).tolist() if i not in used]
    name = ", ".join(dict.fromkeys(p.name for p in parts for i in numbers if p.start <= i < p.stop))
    drawn = sorted({joint for i in moving for joint in joints_drawn(model, i)})
    return np.array(numbers, int), name, model.jnt_dofadr[drawn].astype(int)


def _with_openings(declaration: Environment, arm: ArmModel, probe: Probe) -> ArmModel:
    """Fill in which sign opens each gripper, declared or measured."""
    hands, fields = [], list(arm.fields)
    for hand, declared in zip(arm.hands, declaration.hands, strict=True):
        if hand.grip.size:
            opening = [] if declared.opens else [_opening(arm, hand, int(i), probe) for i in hand.grip]
            opens = float(declared.opens or next(filter(None, opening), -1.0))
            signs = np.array([sign * opens or 1.0 for sign in opening] or hand.signs)
            hand = replace(hand, signs=signs, spec=replace(hand.spec, opens=opens))
            meaning = "-1 opens, 1 closes" if opens < 0 else "1 opens, -1 closes"
            fields = [
                replace(field, meaning=meaning) if field.start == hand.spec.gripper else field
                for field in fields
            ]
        hands.append(hand)
    return replace(arm, hands=tuple(hands), fields=tuple(fields))


def _opening(arm: ArmModel, hand: HandModel, number: int, probe: Probe) -> float:
    """Return the sign of a raw action number with which fingers move apart, or 0."""
    gaps = []
    for bound in (arm.raw_low[number], arm.raw_high[number]):
        tracking, still = probe.tracking(arm), np.zeros(len(arm.low))
        target = tracking.target(probe.seen, still)
        for _ in range(OPENING):
            raw = tracking.raw(probe.seen, target, still)
            raw[number] = bound
            probe.step(raw)
        gaps.append(tracking.spread(hand))
    return float(np.sign(gaps[1] - gaps[0])) if abs(gaps[1] - gaps[0]) > MOVED else 0.0


def _joints(model: Any, body: int) -> range:
    first = int(model.body_jntadr[body])
    return range(first, first + int(model.body_jntnum[body]))
