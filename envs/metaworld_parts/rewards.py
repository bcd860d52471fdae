"""Fast subclasses of upstream's environments, with upstream left as it is."""

from __future__ import annotations

import sys
from functools import cache
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np

from trace_robot.spec import Array

from .exact import hamacher_product, norm, quick_numpy, quick_tolerance, with_globals

REBOUND = ("evaluate_state", "compute_reward", "_gripper_caging_reward", "_stick_is_inserted")


@cache
def quick_class(upstream: type) -> type:
    """Return a subclass of an environment that gives the same numbers in less time."""
    quick = type(f"Quick{upstream.__name__}", (_Quick, upstream), {})
    numpy = quick_numpy()
    for name, (owner, member) in _members(upstream).items():
        names = _quick_names(owner, quick, numpy)
        quick._tolerance = staticmethod(names["tolerance"])  # type: ignore[attr-defined]
        if owner.__name__ == "SawyerXYZEnv":
            continue
        if isinstance(member, staticmethod):
            setattr(quick, name, staticmethod(with_globals(member.__func__, names)))
        else:
            setattr(quick, name, with_globals(member, names))
    return quick


def _quick_names(owner: type, quick: type, numpy: SimpleNamespace) -> dict[str, Any]:
    """Return the new values of the global names that a class's functions use."""
    used = vars(sys.modules[owner.__module__])
    utils = used.get("reward_utils")
    reference = used["tolerance"] if utils is None else utils.tolerance
    tolerance = quick_tolerance(reference)
    names = {"tolerance": tolerance, "hamacher_product": hamacher_product}
    return {
        "np": numpy,
        owner.__name__: quick,
        "reward_utils": None if utils is None else SimpleNamespace(**{**vars(utils), **names}),
        **names,
    }


def _members(upstream: type) -> dict[str, tuple[type, Any]]:
    """Return the functions of a reward, each with the class that defines it."""
    members: dict[str, tuple[type, Any]] = {}
    for owner in reversed(upstream.__mro__):
        if not owner.__module__.startswith("metaworld."):
            continue
        for name, member in vars(owner).items():
            function = member.__func__ if isinstance(member, staticmethod) else member
            if (name in REBOUND or name.startswith("_reward")) and isinstance(function, FunctionType):
                members[name] = (owner, member)
    return members


class _Quick:
    """What all rewards look up: the same values, found once."""

    data: Any
    obj_init_pos: Array
    init_tcp: Array
    _tolerance: Any

    def view(self, kind: str, name: str, attribute: str = "xpos") -> Array:
        """Return a live array of the simulator, looked up by name once.

        Args:
            kind: "body", "site" or "geom".
            name: of the body, site or geom.
            attribute: "xpos" (3,), "xmat" (9,) or "xquat" (4,).
        """
        views = self.__dict__.setdefault("_views", {})
        key = (kind + attribute, name)
        array = views.get(key)
        if array is None:
            array = views[key] = getattr(getattr(self.data, kind)(name), attribute)
        return array  # type: ignore[no-any-return]

    def get_endeff_pos(self) -> Array:
        """Return the hand's position, (3,)."""
        return self.view("body", "hand")

    def get_body_com(self, body_name: str) -> Array:
        """Return a body's position, (3,), by upstream's name for it."""
        return self.view("body", body_name)

    def _get_site_pos(self, site_name: str) -> Array:
        return self.view("site", site_name).copy()

    @property
    def tcp_center(self) -> Array:
        center: Array = (self.view("site", "rightEndEffector") + self.view("site", "leftEndEffector")) / 2.0
        return center

    @property
    def touching_main_object(self) -> bool:
        known = self.__dict__.get("_main_object")
        if known is None:
            known = self.__dict__["_main_object"] = self._get_id_main_object()  # type: ignore[attr-defined]
        return self.touching_object(known)

    def touching_object(self, object_geom_id: int) -> bool:
        """Return whether both fingers' pads press on a geom."""
        if self.data.ncon == 0:
            return False
        contact = self.data.contact
        left, right = self._pads()
        on_left, on_right = [], []
        for index, pair in enumerate(contact.geom.tolist()):
            if object_geom_id in pair:
                if left in pair:
                    on_left.append(index)
                if right in pair:
                    on_right.append(index)
        if not on_left or not on_right:
            return False
        address, force = contact.efc_address, self.data.efc_force
        return bool(sum(force[address[on_left]]) > 0 and sum(force[address[on_right]]) > 0)

    def _pads(self) -> tuple[int, int]:
        known = self.__dict__.get("_pad_geoms")
        if known is None:
            known = (self.data.geom("leftpad_geom").id, self.data.geom("rightpad_geom").id)
            self.__dict__["_pad_geoms"] = known
        return known

    def _gripper_caging_reward(
        self,
        action: Array,
        obj_pos: Array,
        obj_radius: float,
        pad_success_thresh: float,
        object_reach_radius: float,
        xz_thresh: float,
        desired_gripper_effort: float = 1.0,
        high_density: bool = False,
        medium_density: bool = False,
    ) -> Any:
        """Return upstream's reward for closing the gripper around an object, bit for bit."""
        start, first_tcp, tolerance = self.obj_init_pos, self.init_tcp, self._tolerance
        y, first_y = float(obj_pos[1]), float(start[1])
        sides = []
        for pad in ("leftpad", "rightpad"):
            pad_y = float(self.view("body", pad)[1])
            margin = abs(abs(pad_y - first_y) - pad_success_thresh)
            sides.append(tolerance(abs(pad_y - y), (obj_radius, pad_success_thresh), margin, "long_tail"))
        caging_y = hamacher_product(*sides)
        tcp = self.tcp_center
        between = np.array((start[0] - first_tcp[0], start[2] - first_tcp[2]))
        apart = np.array((tcp[0] - obj_pos[0], tcp[2] - obj_pos[2]))
        caging_xz = tolerance(norm(apart), (0, xz_thresh), norm(between) - xz_thresh, "long_tail")
        closed = min(max(0, action[-1]), desired_gripper_effort) / desired_gripper_effort
        caging = hamacher_product(caging_y, float(caging_xz))
        result = hamacher_product(caging, closed if caging > 0.97 else 0.0)
        if high_density:
            result = (result + caging) / 2
        if medium_density:
            margin = abs(norm(start - first_tcp) - object_reach_radius)
            reach = tolerance(norm(obj_pos - tcp), (0, object_reach_radius), margin, "long_tail")
            result = (result + float(reach)) / 2
        return result
