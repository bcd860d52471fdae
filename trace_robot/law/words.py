"""Names and sentences for the numbers of a law."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trace_robot.law.data import Law, Product, Quantity
from trace_robot.spec import EnvSpec, Field

TRIGONOMETRY = re.compile(r"(^|_)(cosines?|sines?|cos|sin)(_of)?(?=_|\d|$)")


def names(law: Law, spec: EnvSpec) -> list[str]:
    """Return a different Python name for each quantity of the law."""
    plain = [_name(quantity, spec) for quantity in law.quantities]
    return [
        f"{name}_{plain[:i].count(name) + 1}" if plain.count(name) > 1 else name
        for i, name in enumerate(plain)
    ]


def expression(quantity: Quantity, spec: EnvSpec) -> str:
    """Return what reads the quantity from the observation by name."""
    if quantity.kind == "angle":
        return f"math.atan2({_seen(quantity.other, spec)}, {_seen(quantity.index, spec)})"
    return _seen(quantity.index, spec)


def product(factors: Product, names: Sequence[str]) -> str:
    """Return a name for a product: ``rate_squared``, ``away_times_cosine``; "" for the empty one."""
    parts = []
    for i in dict.fromkeys(factors):
        power = {1: "", 2: "_squared", 3: "_cubed"}.get(factors.count(i), f"_to_the_{factors.count(i)}")
        parts.append(f"{names[i]}{power}")
    return "_times_".join(parts)


def said(factors: Product, law: Law, spec: EnvSpec) -> str:
    """Say what a product is made of, by what the environment says of its parts."""
    return " times ".join(_meaning(law.quantities[i], spec) for i in factors)


def sentence(law: Law) -> str:
    """Say in a few words what kind of law it is."""
    usual = "energy shaping" if law.usual.lack is not None else "linear feedback"
    if law.usual.lack is None and any(len(p) > 1 for push in law.usual.pushes for p in push.products):
        usual = "feedback on products"
    return usual if law.near is None else f"{usual}, and linear feedback when near"


def place(index: int, fields: Sequence[Field]) -> tuple[Field, int]:
    """Return the field that shows number ``index`` of a flat vector, and where in it."""
    for field in fields:
        if field.start <= index < field.stop:
            return field, index - field.start
    raise IndexError(f"no field shows number {index}")


def numbered(index: int, fields: Sequence[Field]) -> str:
    field, k = place(index, fields)
    if field.size == 1:
        return field.name
    return f"{field.name}_{'xyz'[k] if field.unit == 'm' and field.size <= 3 else k + 1}"


def _name(quantity: Quantity, spec: EnvSpec) -> str:
    name = numbered(quantity.index, spec.observation)
    if quantity.kind == "number":
        return name
    rest = TRIGONOMETRY.sub("", name).strip("_")
    return rest if "angle" in rest else f"angle_of_{rest}" if rest and not rest.isdigit() else f"angle{rest}"


def _seen(index: int, spec: EnvSpec) -> str:
    field, k = place(index, spec.observation)
    return f'observation["{field.name}"]' + ("" if field.size == 1 else f"[{k}]")


def _meaning(quantity: Quantity, spec: EnvSpec) -> str:
    field, _ = place(quantity.index, spec.observation)
    name = numbered(quantity.index, spec.observation)
    unit = f", {field.unit}" if field.unit else ""
    told = f"{name} ({field.meaning}{unit})" if field.meaning else f"{name}{unit}"
    return told if quantity.kind == "number" else f"the angle of {told}"
