"""Simulator server for another interpreter: length-prefixed messages over pipes.

It is run as ``PYTHON -I remote_server.py REQUESTS REPLIES LIFELINE``, three descriptors, and stands alone: Python 3.8
and numpy 1 or newer are all that it needs, and gymnasium where an id is to be made. ``trace_robot.env.remote`` is the
other side and takes the format of the messages from here.

A message is two lengths, a JSON text and the bytes of its arrays in the order in which the text names them. Nothing is
unpickled. What the simulator prints goes to standard error, also where it means standard output.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import json
import math
import os
import platform
import signal
import struct
import sys
import traceback
from contextlib import suppress
from typing import Any

NUMPY_ERROR = ""
try:
    import numpy as np
except ImportError as error:  # the hello says so; without numpy nothing else here can run
    NUMPY_ERROR = " ".join(str(error).split())[:300]


def _load_file(name: str, path: str) -> Any:
    """Return the module of a file, under a name that no package has."""
    spec: Any = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # classes look their module up, dataclasses above all
    spec.loader.exec_module(module)
    return module


if __name__ != "__main__":
    from trace_robot.env import simulation
elif not NUMPY_ERROR:  # by its path: this folder must not be searched for what a simulator imports
    simulation = _load_file(
        "trace_robot_simulation", os.path.join(os.path.dirname(os.path.abspath(__file__)), "simulation.py")
    )

PROTOCOL = 1
OLDEST = (3, 8)
LARGEST = 2**26  # bytes of a message; a picture of 4096 by 4096 pixels has 50 MB
LARGEST_INFO = 4096  # numbers of an array in info; what is larger is a picture, which no controller reads
HEADER = struct.Struct("<II")  # bytes of the JSON text, and of all arrays
ARRAY = "\x00array"  # the key of what stands in the text for an array or one of numpy's numbers
KINDS = "biuf"  # of arrays: numbers and truth values, never objects
AT_ONCE = 65536  # bytes, which a pipe holds


class Codec:
    """Packs trees of plain data and arrays into messages, and unpacks them.

    Args:
        strict: refuse what no message can hold; else its type's name takes its place.
    """

    def __init__(self, strict: bool = False) -> None:
        self._strict = strict
        self._raw: list[bytes] = []
        self._buffer, self._offset = b"", 0
        self._dtypes: dict[str, Any] = {}
        # Made once: to make an encoder takes as long as to encode an observation.
        self._encode = json.JSONEncoder(
            default=self._described, skipkeys=not strict, separators=(",", ":")
        ).encode
        self._decode = json.JSONDecoder(object_hook=self._restored).decode

    def pack(self, tree: Any) -> bytes:
        """Return the message of a tree.

        Raises:
            TypeError: strict, and a value is no plain data.
            ValueError: it is longer than LARGEST, or holds itself.
        """
        self._raw = []
        text = self._encode(tree).encode("ascii")
        raw = b"".join(self._raw)
        if HEADER.size + len(text) + len(raw) > LARGEST:
            raise ValueError(f"a message of {len(text) + len(raw)} bytes is longer than {LARGEST}")
        return HEADER.pack(len(text), len(raw)) + text + raw

    def unpack(self, message: bytes) -> Any:
        """Return the tree of a message, with lists for tuples.

        Raises:
            ValueError: it is none of this format.
        """
        length, size = HEADER.unpack_from(message)
        if HEADER.size + length + size != len(message):
            raise ValueError(f"a message of {len(message)} bytes has other lengths in its header")
        self._buffer, self._offset = message, HEADER.size + length
        return self._decode(message[HEADER.size : self._offset].decode("ascii"))

    def _described(self, value: Any) -> Any:
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in KINDS:
            self._raw.append(value.tobytes())
            shape = value.shape if isinstance(value, np.ndarray) else None
            return {ARRAY: [value.dtype.str, shape]}
        if self._strict:
            raise TypeError(f"{type(value).__name__} is no plain data")
        return f"<{type(value).__name__}>"

    def _restored(self, found: dict[str, Any]) -> Any:
        described = found.get(ARRAY)
        if described is None:
            return found
        name, shape = described
        dtype = self._dtypes.get(name)
        if dtype is None:
            dtype = self._dtypes[name] = np.dtype(name)
            if dtype.kind not in KINDS:
                raise ValueError(f"an array of {name} is none of numbers")
        count = 1 if shape is None else math.prod(shape)
        array = np.frombuffer(self._buffer, dtype, count, self._offset)
        self._offset += array.nbytes
        # A copy, since a message cannot be written to, and some environments clip an action where it is.
        return array[0] if shape is None else array.reshape(shape).copy()


def read_message(descriptor: int) -> bytes:
    """Return the next message of a pipe.

    Raises:
        EOFError: the other side has closed it.
        ValueError: its lengths are out of bounds.
    """
    data = os.read(descriptor, AT_ONCE)
    while len(data) < HEADER.size:
        more = os.read(descriptor, AT_ONCE) if data else b""
        if not more:
            raise EOFError("the pipe is closed")
        data += more
    length, size = HEADER.unpack_from(data)
    total = HEADER.size + length + size
    if total > LARGEST or len(data) > total:
        raise ValueError(f"a message of {total} bytes is out of bounds")
    if len(data) == total:
        return data
    parts, missing = [data], total - len(data)
    while missing:
        more = os.read(descriptor, min(missing, 2**20))
        if not more:
            raise EOFError("the pipe is closed")
        parts.append(more)
        missing -= len(more)
    return b"".join(parts)


def write_message(descriptor: int, message: bytes) -> None:
    """Write a message to a pipe.

    Args:
        descriptor: of the pipe.
        message: what ``Codec.pack`` returned.
    """
    written = os.write(descriptor, message)
    while written < len(message):  # the pipe was full
        written += os.write(descriptor, message[written : written + 2**20])


class RemoteFault(Exception):
    """Something that the other side is to report.

    kind: of "import", "unknown", "arguments", "make", "unstable", "raised", "state". more: data that goes with it.
    """

    def __init__(self, kind: str, text: str, **more: Any) -> None:
        super().__init__(text)
        self.kind, self.more = kind, more


class Server:
    """Answers requests about one environment."""

    def __init__(self) -> None:
        self._env: Any = None
        self._monitor: Any = None
        self._snapshots: dict[int, Any] = {}
        self._action_space: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to a request, also where it goes wrong."""
        for number in request.get("forget", ()):
            self._snapshots.pop(number, None)
        try:
            reply: dict[str, Any] = getattr(self, "do_" + request["do"])(request)
            return reply
        except RemoteFault as fault:
            return {"fault": fault.kind, "text": str(fault), **fault.more}
        except (Exception, SystemExit) as error:  # a simulator may raise anything
            return {"fault": "raised", "text": text_of(error), "place": place_of(error)}

    def do_make(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make the environment, and describe it."""
        root = request["root"]
        if root and root not in sys.path:
            sys.path.append(root)  # last: a numpy.py of the user's must not take the place of numpy
        registered = None
        try:
            if request["target"]:
                env = _load(request["target"])(**request["arguments"], **request["extra"])
            else:
                env, registered = make_registered(request)
        except (Exception, SystemExit) as error:
            raise make_fault(error) from error
        if not (hasattr(env, "reset") and hasattr(env, "step")):
            raise RemoteFault("make", f"make must return a gymnasium environment, got {env!r:.200}")
        self._env, self._monitor = env, simulation.WarningCounters(env)
        spaces = {}
        for name in ("observation_space", "action_space"):
            space = getattr(env, name, None)
            if space is None:
                raise RemoteFault("make", f"the environment has no {name}; set it in its __init__")
            spaces[name] = simulation.space_data(space)
        self._action_space = spaces["action_space"] if simulation.has_tuple(spaces["action_space"]) else None
        inner = getattr(env, "unwrapped", env)
        spec = registered or getattr(env, "spec", None)
        return {
            **spaces,
            "metadata": simulation.plain_metadata(env),
            "dt": simulation.plain_number(lambda: inner.dt),
            "limit": getattr(spec, "max_episode_steps", None),
            "threshold": getattr(spec, "reward_threshold", None),
            "class": type(inner).__name__,
            "module": type(inner).__module__,
            "versions": simulation.versions(inner),
        }

    def do_reset(self, request: dict[str, Any]) -> dict[str, Any]:
        """Begin an episode."""
        self._monitor.clear()
        options = {} if request["options"] is None else {"options": request["options"]}
        result = self._env.reset(seed=request["seed"], **options)
        with suppress(AttributeError):  # MuJoCo before 2.3 has no such counters
            self._monitor.follow()
        self._require_stable()
        return _values_of(result, "reset", "(observation, info)")

    def do_step(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take a step."""
        action = request["action"]
        if self._action_space is not None:
            action = simulation.with_tuples(self._action_space, action)
        result = self._env.step(action)
        self._require_stable()
        return _values_of(result, "step", "(observation, reward, terminated, truncated, info)")

    def _require_stable(self) -> None:
        if warning := self._monitor.warning():
            raise RemoteFault("unstable", warning)

    def do_render(self, request: dict[str, Any]) -> dict[str, Any]:
        """Draw."""
        return {"values": self._env.render()}

    def do_save(self, request: dict[str, Any]) -> dict[str, Any]:
        """Keep a snapshot under a number."""
        self._snapshots[request["number"]] = simulation.snapshot(self._env)
        return {}

    def do_load(self, request: dict[str, Any]) -> dict[str, Any]:
        """Continue from a snapshot."""
        if request["number"] not in self._snapshots:
            raise RemoteFault("state", "its process was started again since the snapshot, which went with it")
        simulation.restore(self._env, self._snapshots[request["number"]])
        self._monitor.clear()
        return {}

    def do_close(self, request: dict[str, Any]) -> dict[str, Any]:
        """Close the environment."""
        getattr(self._env, "close", dict)()
        return {}


def _values_of(result: Any, what: str, wanted: str) -> dict[str, Any]:
    """Return as a reply what reset or step returned."""
    if not isinstance(result, tuple):
        raise RemoteFault("raised", f"{what} must return {wanted}, got {type(result).__name__}")
    values = list(result)
    if len(values) in (2, 5) and hasattr(values[-1], "items"):
        info = values[-1].items()
        large = [name for name, value in info if isinstance(value, np.ndarray) and value.size > LARGEST_INFO]
        values[-1] = {name: value for name, value in info if name not in large}
    return {"values": values}


def _load(target: str) -> Any:
    """Return the function that FILE.py:NAME or MODULE:NAME says."""
    place, _, name = target.rpartition(":")
    if place.endswith(".py"):
        folder = os.path.dirname(os.path.abspath(place))
        if folder not in sys.path:
            sys.path.append(folder)
        if not os.path.isfile(place):
            raise RemoteFault("make", f"there is no file {place!r}")
        module = _load_file("trace_robot_remote_target", place)
    else:
        module = importlib.import_module(place)
    if not callable(getattr(module, name, None)):
        raise RemoteFault("make", f"{place} has no function {name!r}")
    return getattr(module, name)


def make_registered(request: dict[str, Any]) -> tuple[Any, Any]:
    """Make a registered id as trace_robot.env.declared does, and return its spec."""
    try:
        import gymnasium
    except ImportError as error:
        raise RemoteFault("import", str(error), package="gymnasium") from error
    module, _, name = request["id"].rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise RemoteFault("import", str(error), package=module) from error
    registry = gymnasium.envs.registration.registry
    if name not in registry:
        raise RemoteFault("unknown", name, known=[str(key) for key in list(registry)[:5000]], module=module)
    registered = registry[name]
    # Without a limit of steps: -1 means none since gymnasium 1.0, and the first step before.
    unlimited = copy.deepcopy(registered)
    unlimited.max_episode_steps = None
    env = gymnasium.make(unlimited, disable_env_checker=True, **request["arguments"], **request["extra"])
    return env, registered


def make_fault(error: BaseException) -> RemoteFault:
    """Return why an environment cannot be made."""
    if isinstance(error, RemoteFault):
        return error
    text = " ".join(str(error).split())
    if isinstance(error, ImportError) or type(error).__name__ == "DependencyNotInstalled":
        return RemoteFault("import", text, package=getattr(error.__cause__ or error, "name", None) or "")
    if isinstance(error, TypeError) and "argument" in text:
        return RemoteFault("arguments", text)
    return RemoteFault("make", text_of(error) + place_of(error))


def text_of(error: BaseException) -> str:
    """Return an exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def place_of(error: BaseException) -> str:
    """Return " (FILE, line N)", the innermost line outside this file, or ""."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    return f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""


def end_with(lifeline: int) -> None:
    """Have the kernel kill this process when the other side ends (SIGIO of a pipe).

    It reaches a simulator that hangs in C, and unlike PR_SET_PDEATHSIG does not mind which thread started this process.
    """
    import fcntl

    if hasattr(fcntl, "F_SETSIG"):  # Linux; elsewhere SIGIO, which ends a process as well
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def main() -> None:
    requests, replies, lifeline = map(int, sys.argv[1:4])
    end_with(lifeline)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other side decides when to stop
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    hello = {"protocol": PROTOCOL, "python": platform.python_version()}
    if NUMPY_ERROR:
        hello["numpy_error"] = NUMPY_ERROR
    codec, server = Codec(), Server()
    write_message(replies, codec.pack(hello))
    while True:
        try:
            request = codec.unpack(read_message(requests))
        except EOFError:
            return
        reply = server.answer(request)
        try:
            message = codec.pack(reply)
        except (TypeError, ValueError, RecursionError) as error:
            message = codec.pack({"fault": "raised", "text": f"a value cannot be sent: {text_of(error)}"})
        write_message(replies, message)
        if request["do"] == "close":
            return


if __name__ == "__main__":
    main()
