"""A simulation's snapshots, warning counters of MuJoCo, and spaces as plain data.

This file is read in other interpreters too (``trace_robot.env.remote_server``): it stands alone, with numpy, and is to
load in Python 3.8. Hence tuples in ``isinstance``, and no dataclass with slots.

MuJoCo resets a simulation whose state has become NaN or huge, and goes on (``mj_checkPos``, ``mj_checkVel``,
``mj_checkAcc``). The initial state, in which it then is, may well count as success, and only a counter tells.
"""

from __future__ import annotations

import copy
import logging
import math
import platform
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np

SIMULATOR = ("mujoco", "gymnasium.envs.mujoco")  # modules whose objects are handles, not values
# Attributes that hold windows and contexts of a GL library, as gymnasium's own environments call them.
DRAWING = frozenset({"screen", "clock", "surf", "window", "viewer", "isopen", "mujoco_renderer"})
DEPTH = (
    6  # attributes from the environment to its MjData: env.env.unwrapped._env._physics._data._data has five
)
MOST_OBJECTS = 5000  # looked at in one search, about 5 ms
SEARCHES = 3  # episodes after which an environment without MjData is taken to have none
PLAIN = (str, bytes, float, int, type, np.ndarray, np.generic, type(sys))  # holds no simulation


class StateSnapshot(NamedTuple):
    """The state of an environment and its wrappers.

    Attributes:
        attributes: of each wrapper and the environment, the outermost first.
        physics: MuJoCo's integration state, (n,), or None without MuJoCo.
        computed: arrays that MuJoCo derives from the state. An environment may read them before the next step,
            and then they must be as stale as they were.
    """

    attributes: tuple[Mapping[str, Any], ...]
    physics: Any
    computed: Mapping[str, Any]


def simulation(env: Any) -> tuple[Any, Any] | None:
    """Return MuJoCo's model and data of an unwrapped environment, None without them."""
    model, data = getattr(env, "model", None), getattr(env, "data", None)
    # Compared by name, so that mujoco is not imported for an environment without it.
    if type(model).__name__ == "MjModel" and type(data).__name__ == "MjData":
        return model, data
    return None


def physics_of(env: Any) -> tuple[Any, Any] | None:
    """Return MuJoCo's model and data, also of dm_control, None without them.

    env: unwrapped. dm_control's, and shimmy's wrapper of one, have them behind ``physics``.
    """
    for holder in (env, getattr(env, "_env", None)):
        if (found := simulation(holder)) is not None:
            return found
        physics = getattr(holder, "physics", None)
        model, data = (getattr(getattr(physics, name, None), "ptr", None) for name in ("model", "data"))
        if model is not None and data is not None:
            return model, data
    return None


def step_seconds(env: Any) -> float | None:
    """Return the seconds of an environment's step, None where it does not say.

    env: a gymnasium environment, unwrapped.
    """
    given = getattr(env, "dt", None)
    if given is None:
        rate = (getattr(env, "metadata", None) or {}).get("render_fps")
        given = 1.0 / rate if isinstance(rate, (int, float)) and rate > 0 else None
    if isinstance(given, (int, float, np.number)) and 0 < float(given) < math.inf:
        return float(given)
    return None


def unwrapped(env: Any) -> Any:
    """Return the environment in its wrappers, itself where it is none of gymnasium's."""
    return getattr(env, "unwrapped", env)


def snapshot(env: Any) -> StateSnapshot:
    """Return copies of everything that a later step may depend on.

    Whether it is complete can only be tested: ``trace-robot check-env`` does.
    """
    attributes = tuple(_attributes(layer) for layer in _layers(env))
    physics = simulation(unwrapped(env))
    if physics is None:
        return StateSnapshot(attributes, None, {})
    import mujoco

    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    state = np.empty(mujoco.mj_stateSize(physics[0], kind))
    mujoco.mj_getState(*physics, state, kind)
    return StateSnapshot(attributes, state, {name: array.copy() for name, array in _arrays(physics[1])})


def restore(env: Any, saved: StateSnapshot) -> None:
    """Put an environment back into a saved state.

    Args:
        env: the object of which the snapshot was taken, with the same wrappers.
        saved: the snapshot; it may be restored any number of times.
    """
    for layer, attributes in zip(_layers(env), saved.attributes):  # noqa: B905  # no strict before 3.10
        # Copied again, or the next step would change the snapshot.
        vars(layer).update(copy.deepcopy(dict(attributes)))
    physics = simulation(unwrapped(env))
    if physics is not None and saved.physics is not None:
        import mujoco

        mujoco.mj_setState(*physics, saved.physics, mujoco.mjtState.mjSTATE_INTEGRATION)
        for name, array in _arrays(physics[1]):
            values = saved.computed.get(name)
            # Arrays of contacts and constraints have another length in another state; mj_step computes them first.
            if values is not None and values.shape == array.shape:
                array[:] = values


def _arrays(data: Any) -> Iterator[tuple[str, Any]]:
    """Yield the arrays of numbers of MuJoCo's data that can be written, by name."""
    for name in dir(data):
        value = None if name.startswith("_") else getattr(data, name, None)
        if isinstance(value, np.ndarray) and value.flags.writeable and value.dtype.kind in "fiu":
            yield name, value


def _layers(env: Any) -> Iterator[Any]:
    """Yield the wrappers, the outermost first, then the environment."""
    while True:
        yield env
        if env is unwrapped(env):
            return
        env = env.env


def _attributes(layer: Any) -> dict[str, Any]:
    """Return deep copies of an object's attributes that are values.

    What draws and what belongs to the simulator is left out: its state is saved by itself.
    """
    attributes = {}
    for name, value in vars(layer).items():
        if (
            name in DRAWING
            or name == "env"
            or type(value).__module__.startswith(SIMULATOR)
            or _is_view(value)
        ):
            continue
        try:
            attributes[name] = copy.deepcopy(value)
        except Exception:  # handles of files and windows, generators: they raise what they like
            continue
    return attributes


def _is_view(value: Any) -> bool:
    """Return whether an array's memory belongs to no array, and so to the simulator."""
    if not isinstance(value, np.ndarray):
        return False
    base: Any = value
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return not isinstance(base, (np.ndarray, bytes, bytearray))


class WarningCounters:
    """The warning counters of every ``MjData`` that an environment holds.

    A step costs the comparison of 32 bytes. Nothing is looked for where MuJoCo has not been imported.
    """

    def __init__(self, env: Any) -> None:
        self._env = env
        self._found: list[tuple[tuple[tuple[str, Any], ...], Any]] = []  # (path from the environment, MjData)
        self._counts: list[Any] = []
        self._quiet = b""
        self._searches = 0

    def clear(self) -> None:
        """Set the counters to 0: before a reset, as not every environment's reset does."""
        for counts in self._counts:
            counts[:] = 0

    def follow(self) -> None:
        """Find the counters after a reset, which may have made a new simulation."""
        if "mujoco" not in sys.modules:
            return
        if self._found and all(_at(self._env, path) is data for path, data in self._found):
            return
        if not self._found and self._searches >= SEARCHES:
            return
        self._searches += 1
        silence_mujoco()
        self._found = list(simulations(self._env))
        self._counts = [data.warning.number for _, data in self._found]
        self._quiet = bytes(self._counts[0].nbytes) if self._counts else b""

    def warning(self) -> str:
        """Return what the simulator has warned of since the reset, "" for nothing."""
        for counts in self._counts:
            if counts.tobytes() != self._quiet:
                return self._text(counts)
        return ""

    def _text(self, counts: Any) -> str:
        import mujoco

        # Too many shapes to draw: a matter of pictures, not of the simulation.
        counts[int(mujoco.mjtWarning.mjWARN_VGEOMFULL)] = 0
        texts = [mujoco.mju_warningText(index, 0) for index in np.flatnonzero(counts).tolist()]
        return " ".join(" ".join(texts).split())


def silence_mujoco() -> None:
    """Log MuJoCo's warnings, which it would print and append to MUJOCO_LOG.TXT."""
    mujoco = sys.modules.get("mujoco")
    if mujoco is not None and mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(logging.getLogger("trace_robot.mujoco").info)


def simulations(root: Any) -> Iterator[tuple[tuple[tuple[str, Any], ...], Any]]:
    """Yield every ``MjData`` below an object and the path to it, breadth first."""
    queue: deque[tuple[tuple[tuple[str, Any], ...], Any]] = deque([((), root)])
    seen = {id(root)}
    while queue and len(seen) < MOST_OBJECTS:
        path, value = queue.popleft()
        # Compared by name, because MuJoCo may be installed or not, and dm_control wraps it.
        if type(value).__name__ == "MjData" and type(value).__module__.startswith("mujoco"):
            yield path, value
        elif len(path) < DEPTH:
            for step, child in _children(value):
                if id(child) not in seen:
                    seen.add(id(child))
                    queue.append(((*path, step), child))


def _children(value: Any) -> Iterator[tuple[tuple[str, Any], Any]]:
    """Yield what a value holds and may hold a simulation, calling no property."""
    if isinstance(value, dict):
        pairs = [(("item", key), child) for key, child in value.items()]
    elif isinstance(value, (list, tuple)):
        pairs = [(("item", index), child) for index, child in enumerate(value)]
    else:
        pairs = [(("attribute", name), child) for name, child in getattr(value, "__dict__", {}).items()]
        for family in type(value).__mro__:
            for name in _slots(family):
                child = getattr(value, name, None) if name in family.__dict__ else None
                pairs.append((("attribute", name), child))
    for step, child in pairs[:MOST_OBJECTS]:
        if not isinstance(child, PLAIN):
            yield step, child


def _slots(family: type) -> tuple[str, ...]:
    slots = family.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _at(root: Any, path: tuple[tuple[str, Any], ...]) -> Any:
    """Return what is at the end of a path now, None where it ends before."""
    value = root
    try:
        for kind, key in path:
            value = getattr(value, key) if kind == "attribute" else value[key]
    except (AttributeError, LookupError, TypeError):
        return None
    return value


# Spaces and what else an environment says of itself, as plain data.


def space_data(space: Any) -> dict[str, Any]:
    """Return a space as plain data.

    space: gymnasium's; or, where there is no gymnasium, a pair of bounds for numbers, a whole number of
    choices, or a dict of these.
    """
    kind = type(space).__name__
    if isinstance(space, int) and not isinstance(space, bool):
        return {"kind": "Discrete", "n": space, "start": 0, "dtype": "<i8"}
    if isinstance(space, tuple) and len(space) == 2 and all(np.ndim(bound) > 0 for bound in space):
        low, high = (np.asarray(bound) for bound in space)
        dtype = low.dtype if low.dtype.kind == "f" else np.dtype(np.float64)
        return _box_data(low.astype(dtype), high.astype(dtype))
    if hasattr(space, "nvec"):
        nvec = np.asarray(space.nvec)
        start = np.asarray(getattr(space, "start", np.zeros_like(nvec)))
        return {"kind": "MultiDiscrete", "nvec": nvec, "start": start, "dtype": np.dtype(space.dtype).str}
    if kind == "MultiBinary":
        return {"kind": kind, "n": space.n if isinstance(space.n, int) else [int(n) for n in space.n]}
    if hasattr(space, "low") and hasattr(space, "high"):
        return _box_data(np.asarray(space.low), np.asarray(space.high))
    inner: Any = space if isinstance(space, dict) else getattr(space, "spaces", None)
    if hasattr(inner, "items"):
        return {"kind": "Dict", "spaces": [[str(key), space_data(child)] for key, child in inner.items()]}
    if isinstance(inner, (tuple, list)):
        return {"kind": "Tuple", "spaces": [space_data(child) for child in inner]}
    if kind == "Discrete":
        number: Any = getattr(space, "dtype", None) or np.int64
        return {
            "kind": kind,
            "n": int(space.n),
            "start": int(getattr(space, "start", 0)),
            "dtype": np.dtype(number).str,
        }
    return {"kind": "other", "name": kind}


def _box_data(low: Any, high: Any) -> dict[str, Any]:
    """Return numbers between bounds as plain data."""
    return {"kind": "Box", "low": low, "high": high}


def has_tuple(space: Mapping[str, Any]) -> bool:
    """Return whether a space has a Tuple in it, of which a message makes a list."""
    if space["kind"] == "Dict":
        return any(has_tuple(child) for _, child in space["spaces"])
    return bool(space["kind"] == "Tuple")


def with_tuples(space: Mapping[str, Any], value: Any) -> Any:
    """Return a value with the tuples of its space in the place of lists.

    Args:
        space: as plain data.
        value: of it, as a message gives it.
    """
    if space["kind"] == "Tuple" and isinstance(value, list):
        return tuple(with_tuples(child, each) for child, each in zip(space["spaces"], value))  # noqa: B905
    if space["kind"] == "Dict" and isinstance(value, dict):
        children = dict(space["spaces"])
        return {
            key: with_tuples(children[key], each) if key in children else each for key, each in value.items()
        }
    return value


def plain_number(read: Any) -> float | None:
    """Return a finite number that a property gives, None where it gives none."""
    try:
        value = read()
        number = None if isinstance(value, bool) else float(value)
    except Exception:  # a property may raise anything
        return None
    return number if number is not None and math.isfinite(number) else None


def plain_metadata(env: Any) -> dict[str, Any]:
    """Return the entries of metadata that say whether and how fast it can be drawn."""
    metadata = getattr(env, "metadata", None) or {}
    modes = metadata.get("render_modes", metadata.get("render.modes", ()))
    found: dict[str, Any] = {"render_modes": [str(mode) for mode in modes or ()]}
    for name in ("render_fps", "video.frames_per_second"):
        rate = plain_number(lambda name=name: metadata[name])
        if rate is not None:
            found[name] = rate
    return found


def versions(env: Any = None) -> dict[str, str]:
    """Return the versions of Python, of what is loaded by now, and of the simulator.

    env: the environment, whose class is the package's.
    """
    found = {"python": platform.python_version()}
    for name in ("numpy", "gymnasium", "mujoco"):
        version = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(version, str):
            found[name] = version
    top = type(getattr(env, "unwrapped", env)).__module__.partition(".")[0]
    with suppress(Exception):  # no package: a file, or one that is not installed
        package = metadata.distribution(top)
        found.setdefault(package.metadata["Name"], package.version)
    return found
