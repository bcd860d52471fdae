"""Tables of where each task's observation comes from, and when it has succeeded.

Upstream has both as code in one class for each task. Here each is a line of a table, which the fast engine turns into
closures that take microseconds and need no reward. Every line is tested against upstream's code, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["body", "site", "geom"]
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Thing:
    """One object of an observation: 3 numbers of position, then 4 of orientation.

    kind, name: what in the simulator has its position; shift is added. turn: what has its orientation:
        ("quaternion", body), w x y z; or ("body" | "site" | "geom", name), whose matrix gives x y z w;
        or four constants.
    """

    kind: Kind
    name: str
    shift: Vector | None = None
    turn: tuple[str, str] | tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Rule:
    """When a task has succeeded: ``what`` is within ``radius`` of the target.

    what: "object", "second", "fingertips" or a site's name for a distance; "x", "y" or "z" for the object's
        distance along one axis; "joint" for a joint's position; or the name of a rule of one task.
    shift, scale: applied to the position, and to the difference. strict: less than, not at most.
    """

    what: str
    radius: float = 0.0
    shift: Vector | None = None
    scale: Vector | None = None
    strict: bool = False
    joint: str = ""


def _turned(kind: Kind, name: str, turn: str, shift: Vector | None = None) -> tuple[Thing, ...]:
    return (Thing(kind, name, shift, (turn, name)),)


def _upright(kind: Kind, name: str, body: str, shift: Vector | None = None) -> tuple[Thing, ...]:
    return (Thing(kind, name, shift, ("quaternion", body)),)


def _still(kind: Kind, name: str, shift: Vector | None = None) -> tuple[Thing, ...]:
    return (Thing(kind, name, shift),)


_BUTTON_TOP = _upright("body", "button", "button", (0.0, 0.0, 0.193))
_BUTTON_FRONT = _upright("body", "button", "button", (0.0, -0.193, 0.0))
_MUG = (Thing("body", "obj", None, ("geom", "mug")),)
_HANDLE = _turned("geom", "handle", "geom")
_NUT = _upright("site", "RoundNut-8", "RoundNut")
_OBJECT = _upright("body", "obj", "obj")
_PUCK = (Thing("body", "obj", None, ("geom", "objGeom")),)
_PUCK_GEOM = _turned("geom", "objGeom", "geom")
_PLATE = _turned("geom", "puck", "geom")
_STICK = Thing("body", "stick", None, ("body", "stick"))

THINGS: Mapping[str, tuple[Thing, ...]] = {
    "assembly-v3": _NUT,
    "basketball-v3": _upright("body", "bsktball", "bsktball"),
    "bin-picking-v3": _OBJECT,
    "box-close-v3": _upright("body", "top_link", "top_link"),
    "button-press-topdown-v3": _BUTTON_TOP,
    "button-press-topdown-wall-v3": _BUTTON_TOP,
    "button-press-v3": _BUTTON_FRONT,
    "button-press-wall-v3": _BUTTON_FRONT,
    "coffee-button-v3": (Thing("site", "buttonStart", None, (1.0, 0.0, 0.0, 0.0)),),
    "coffee-pull-v3": _MUG,
    "coffee-push-v3": _MUG,
    "dial-turn-v3": _upright("body", "dial", "dial"),
    "disassemble-v3": _NUT,
    "door-close-v3": _HANDLE,
    "door-lock-v3": _upright("site", "lockStartLock", "door_link"),
    "door-open-v3": _HANDLE,
    "door-unlock-v3": _upright("site", "lockStartUnlock", "door_link"),
    "hand-insert-v3": _OBJECT,
    "drawer-close-v3": _still("body", "drawer_link", (0.0, -0.16, 0.05)),
    "drawer-open-v3": _upright("body", "drawer_link", "drawer_link", (0.0, -0.16, 0.0)),
    "faucet-open-v3": _upright("site", "handleStartOpen", "faucetBase", (0.0, 0.0, -0.01)),
    "faucet-close-v3": _upright("site", "handleStartClose", "faucetBase", (0.0, 0.0, -0.01)),
    "hammer-v3": _upright("body", "hammer", "hammer") + _upright("body", "nail_link", "nail_link"),
    "handle-press-side-v3": _still("site", "handleStart"),
    "handle-press-v3": _still("site", "handleStart"),
    "handle-pull-side-v3": _still("site", "handleCenter"),
    "handle-pull-v3": _still("site", "handleRight"),
    "lever-pull-v3": (Thing("site", "leverStart", None, ("geom", "objGeom")),),
    "pick-place-wall-v3": _PUCK_GEOM,
    "pick-out-of-hole-v3": _OBJECT,
    "pick-place-v3": _PUCK,
    "plate-slide-v3": _PLATE,
    "plate-slide-side-v3": _PLATE,
    "plate-slide-back-v3": _PLATE,
    "plate-slide-back-side-v3": _PLATE,
    "peg-insert-side-v3": _turned("site", "pegGrasp", "site"),
    "peg-unplug-side-v3": _upright("site", "pegEnd", "plug1"),
    "soccer-v3": _turned("body", "soccer_ball", "body"),
    "stick-push-v3": (_STICK, Thing("site", "insertion", (0.0, 0.09, 0.0))),
    "stick-pull-v3": (_STICK, Thing("site", "insertion")),
    "push-v3": _PUCK,
    "push-wall-v3": _PUCK_GEOM,
    "push-back-v3": _PUCK_GEOM,
    "reach-v3": _PUCK,
    "reach-wall-v3": _PUCK,
    "shelf-place-v3": _PUCK,
    "sweep-into-v3": _PUCK,
    "sweep-v3": _OBJECT,
    "window-open-v3": _still("site", "handleOpenStart"),
    "window-close-v3": _still("site", "handleCloseStart"),
}

_AT_7_CM = Rule("object", 0.07)

RULES: Mapping[str, Rule] = {
    "assembly-v3": Rule("nut on peg", 0.02),
    "basketball-v3": Rule("above hoop", 0.08, scale=(1.0, 1.0, 2.0)),
    "bin-picking-v3": Rule("object", 0.05),
    "box-close-v3": Rule("object", 0.08, strict=True),
    "button-press-topdown-v3": Rule("z", 0.024),
    "button-press-topdown-wall-v3": Rule("z", 0.024),
    "button-press-v3": Rule("y", 0.02),
    "button-press-wall-v3": Rule("y", 0.03),
    "coffee-button-v3": Rule("y", 0.02),
    "coffee-pull-v3": _AT_7_CM,
    "coffee-push-v3": _AT_7_CM,
    "dial-turn-v3": _AT_7_CM,
    "disassemble-v3": Rule("higher"),
    "door-close-v3": Rule("object", 0.08),
    "door-lock-v3": Rule("z", 0.02),
    "door-open-v3": Rule("x", 0.08),
    "door-unlock-v3": Rule("x", 0.02),
    "hand-insert-v3": Rule("object", 0.05),
    "drawer-close-v3": Rule("object", 0.05 + 0.015),
    "drawer-open-v3": Rule("object", 0.03),
    "faucet-open-v3": Rule("object", 0.07, shift=(-0.04, 0.0, 0.03)),
    "faucet-close-v3": _AT_7_CM,
    "hammer-v3": Rule("nail", 0.09, joint="NailSlideJoint"),
    "handle-press-side-v3": Rule("z", 0.02),
    "handle-press-v3": Rule("z", 0.02),
    "handle-pull-side-v3": Rule("object", 0.08),
    "handle-pull-v3": Rule("z", 0.05),
    "lever-pull-v3": Rule("lever", joint="LeverAxis"),
    "pick-place-wall-v3": _AT_7_CM,
    "pick-out-of-hole-v3": _AT_7_CM,
    "pick-place-v3": _AT_7_CM,
    "plate-slide-v3": _AT_7_CM,
    "plate-slide-side-v3": _AT_7_CM,
    "plate-slide-back-v3": _AT_7_CM,
    "plate-slide-back-side-v3": _AT_7_CM,
    "peg-insert-side-v3": Rule("pegHead", 0.07, scale=(1.0, 2.0, 2.0)),
    "peg-unplug-side-v3": _AT_7_CM,
    "soccer-v3": _AT_7_CM,
    "stick-push-v3": Rule("stick holds", 0.12),
    "stick-pull-v3": Rule("stick inserted", 0.12),
    "push-v3": Rule("object", 0.05),
    "push-wall-v3": _AT_7_CM,
    "push-back-v3": _AT_7_CM,
    "reach-v3": Rule("fingertips", 0.05),
    "reach-wall-v3": Rule("fingertips", 0.05),
    "shelf-place-v3": _AT_7_CM,
    "sweep-into-v3": Rule("seen from above", 0.05),
    "sweep-v3": Rule("object", 0.05),
    "window-open-v3": Rule("x", 0.05),
    "window-close-v3": Rule("x", 0.05),
}
