"""Values as JSON data and back: arrays, tuples, sets, bytes and complex numbers are marked by a "$type"."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np


def encode(value: Any) -> Any:
    """Return ``value`` as JSON data; raises TypeError for what has no safe form."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {
            "$type": "array",
            "dtype": value.dtype.str,
            "shape": value.shape,
            "items": value.ravel().tolist(),
        }
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return {"$type": "number", "dtype": value.dtype.str, "item": value.item()}
    if isinstance(value, list):
        return [encode(each) for each in value]
    if isinstance(value, (tuple, set, frozenset)):
        return {"$type": type(value).__name__, "items": [encode(each) for each in value]}
    if isinstance(value, bytes):
        return {"$type": "bytes", "base64": base64.b64encode(value).decode()}
    if isinstance(value, complex):
        return {"$type": "complex", "items": [value.real, value.imag]}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value) and "$type" not in value:
            return {key: encode(each) for key, each in value.items()}
        return {"$type": "dict", "items": [[encode(key), encode(each)] for key, each in value.items()]}
    raise TypeError(
        f"only plain values can be saved, got {value!r}; make it from numbers, text, lists or arrays"
    )


def decode(stored: Any) -> Any:
    """Return the value that ``encode`` was given; raises ValueError for an unknown "$type"."""
    if isinstance(stored, list):
        return [decode(each) for each in stored]
    if not isinstance(stored, dict):
        return stored
    kind = stored.get("$type")
    if kind is None:
        return {key: decode(each) for key, each in stored.items()}
    if kind == "array":
        return np.array(stored["items"], dtype=np.dtype(stored["dtype"])).reshape(stored["shape"])
    if kind == "number":
        return np.dtype(stored["dtype"]).type(stored["item"])
    if kind == "bytes":
        return base64.b64decode(stored["base64"])
    if kind == "complex":
        return complex(*stored["items"])
    if kind == "dict":
        return {decode(key): decode(each) for key, each in stored["items"]}
    if kind not in ("tuple", "set", "frozenset"):
        raise ValueError(f"no value of type {kind!r} can be loaded")
    return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](map(decode, stored["items"]))
