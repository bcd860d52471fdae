"""Proxy of an environment that runs in another interpreter, as a server process.

Where the packages of a simulator fight with ours, its interpreter has them and ours does not: worker, checker and
renderer stay here, and only the environment is there. ``trace_robot.env.remote_server`` is what runs in it.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any

import gymnasium

from trace_robot.child_process import clean_environment
from trace_robot.env import remote_server
from trace_robot.env.remote_server import Codec, read_message, write_message
from trace_robot.env.simulation import has_tuple, with_tuples
from trace_robot.env.spaces import space_of
from trace_robot.errors import (
    EnvironmentFault,
    MissingExtraError,
    SimulatorDeathError,
    TraceRobotError,
    UnknownNameError,
    ValueMismatchError,
    WorkspaceError,
    unknown_environment,
)
from trace_robot.fault import MAKE_SECONDS, UNSTABLE

CLOSE_SECONDS = 2.0  # for close() over there, before its process is killed
PROBE_SECONDS = 10.0
MOST_PRINTED = 65536  # bytes of what it printed in one call that are passed on
# Of our own interpreter: with them another one may find our packages.
OURS = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME")


@dataclass(frozen=True, slots=True)
class RemoteCall:
    """How an environment is made in another interpreter.

    Attributes:
        python: the interpreter's path.
        id: a gymnasium id, with "module:" before it where a module registers it.
        target: "FILE.py:FUNCTION" or "MODULE:FUNCTION" that makes it instead; "" for the id.
        arguments: its keyword arguments, plain data and arrays.
        root: a folder from which modules may be imported there, after all others; "" for none.
        render_mode: handed to the environment unless it is None.
        where: file and name of the environment, for messages.
    """

    python: str
    id: str
    target: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    root: str = ""
    render_mode: str | None = None
    where: str = ""


class ServerProcess:
    """An interpreter that runs the server, and the pipes to it.

    What it prints goes to a file of ours, and from there to this process's standard error after each call.

    Args:
        python: the interpreter's path.

    Attributes:
        process: of the operating system.

    Raises:
        WorkspaceError: it is no Python that can run the server; the message says what is missing.
    """

    def __init__(self, python: str) -> None:
        import fcntl  # not on Windows, where this module is only imported

        self._python, self._codec = python, Codec(strict=True)
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115  # closed by _end
        # Both processes write to one place in the file, and it is cut off at 0 when it has been read.
        fcntl.fcntl(self._printed, fcntl.F_SETFL, fcntl.fcntl(self._printed, fcntl.F_GETFL) | os.O_APPEND)
        ends = [end for _ in range(3) for end in os.pipe()]
        there, (self._requests, self._replies, lifeline) = (
            (ends[0], ends[3], ends[4]),
            (ends[1], ends[2], ends[5]),
        )
        variables = {name: value for name, value in clean_environment().items() if name not in OURS}
        try:
            self.process = subprocess.Popen(
                # -I: neither the current folder nor PYTHONPATH, which are for our interpreter, is searched there.
                [python, "-I", remote_server.__file__, *map(str, there)],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=self._printed,
                pass_fds=there,
            )
        except OSError as error:
            for end in ends:
                os.close(end)
            self._printed.close()
            raise WorkspaceError(
                f"the interpreter {python!r} cannot be started: {error.strerror}; give the path of a Python"
            ) from error
        for end in there:
            os.close(end)
        ours = (self._requests, self._replies, lifeline)
        self.end = weakref.finalize(self, _end, self.process, ours, self._printed)
        self._greet()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and return the reply.

        Args:
            request: plain data and arrays; "do" names what is asked for.

        Raises:
            SimulatorDeathError: the process has ended instead, or its message is none.
            TypeError: the request is no plain data.
        """
        message = self._codec.pack(request)
        try:
            write_message(self._requests, message)
            reply: dict[str, Any] = self._codec.unpack(read_message(self._replies))
            if os.fstat(self._printed.fileno()).st_size:
                self._pass_on()
            return reply
        except (EOFError, OSError, ValueError) as error:
            how = self._ended(error)
            raise SimulatorDeathError(f"{self._python} died in {request['do']}(): {how}") from error
        except BaseException:  # a time limit: a reply that comes later would be taken for the next one's
            self.end()
            raise

    def follow_affinity(self) -> None:
        """Put it on this process's processors, see ``child_process.SharedCpu``."""
        if hasattr(os, "sched_setaffinity"):
            with suppress(OSError):
                os.sched_setaffinity(self.process.pid, os.sched_getaffinity(0))

    def close(self) -> dict[str, Any]:
        """Close the environment, end the process, and return a reply if one came."""
        reply: dict[str, Any] = {}
        with suppress(OSError, EOFError, ValueError):
            write_message(self._requests, self._codec.pack({"do": "close"}))
            if select.select([self._replies], [], [], CLOSE_SECONDS)[0]:
                reply = self._codec.unpack(read_message(self._replies))
                self._pass_on()
        self.end()
        return reply

    def _greet(self) -> None:
        """Read the server's first message, which says what it is."""
        try:
            if not select.select([self._replies], [], [], MAKE_SECONDS)[0]:
                raise EnvironmentFault(f"{self._python} hangs: it gave no answer for {MAKE_SECONDS:g} s")
            hello = self._codec.unpack(read_message(self._replies))
        except (EOFError, OSError, ValueError) as error:
            raise WorkspaceError(_why_not(self._python, self._ended(error))) from error
        except BaseException:
            self.end()
            raise
        if problem := _problem_of(hello, self._python):
            self.end()
            raise WorkspaceError(problem)

    def _ended(self, error: BaseException) -> str:
        """End the process, and return how it ended and the last line it printed."""
        if isinstance(error, ValueError):
            how = f"its message cannot be read ({error})"
        else:
            try:
                code = self.process.wait(1.0)
                how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            except subprocess.TimeoutExpired:
                how = "it closed its pipe"
        lines = self._pass_on().strip().splitlines()
        self.end()
        return f"{how}; it wrote: {lines[-1][:200]}" if lines else how

    def _pass_on(self) -> str:
        """Write what was printed there to standard error, and return it."""
        descriptor = self._printed.fileno()
        size = os.fstat(descriptor).st_size
        text = os.pread(descriptor, MOST_PRINTED, max(0, size - MOST_PRINTED)).decode(errors="replace")
        os.ftruncate(descriptor, 0)
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(text)
            sys.stderr.flush()
        return text


def _end(process: subprocess.Popen[bytes], ends: tuple[int, ...], printed: IO[bytes]) -> None:
    process.kill()
    process.wait()
    for end in ends:
        os.close(end)
    printed.close()


def _problem_of(hello: Any, python: str) -> str:
    """Return what is wrong with a server's first message, "" for nothing."""
    protocol = hello.get("protocol") if isinstance(hello, dict) else None
    if protocol != remote_server.PROTOCOL:
        return (
            f"the server in {python} speaks version {protocol!r:.40} and this process"
            f" {remote_server.PROTOCOL}; trace-robot was replaced while it ran, so start the command again"
        )
    if "numpy_error" in hello:
        return (
            f"the interpreter {python} cannot load numpy ({hello['numpy_error']!s:.300}):"
            f" {python} -m pip install numpy"
        )
    return ""


def _why_not(python: str, how: str) -> str:
    """Return why an interpreter did not run the server, by its version."""
    oldest = ".".join(map(str, remote_server.OLDEST))
    try:
        code = "import sys; sys.stdout.write('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([python, "-c", code], capture_output=True, timeout=PROBE_SECONDS, check=True)
        version = done.stdout.decode("ascii")
        major, minor = map(int, version.split("."))
    except (OSError, subprocess.SubprocessError, ValueError):
        return f"{python!r} is no Python: {how}; give the path of an interpreter, such as ENV/bin/python"
    if (major, minor) < remote_server.OLDEST:
        return (
            f"the interpreter {python} is Python {version}, and {oldest} or newer is needed; give another one"
        )
    return (
        f"the interpreter {python}, Python {version}, did not start the server: {how}; mend its installation"
    )


class RemoteSnapshot:
    """A snapshot in the other process, kept as long as this object lives."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __deepcopy__(self, memo: Any) -> RemoteSnapshot:
        return self


class RemoteEnv(gymnasium.Env[Any, Any]):
    """An environment in another interpreter.

    Its attributes are not the simulator's. A process that has died is started again by the next reset.

    Args:
        call: how it is made.

    Attributes:
        call: the same.
        max_episode_steps: by gymnasium's registry over there, None for no limit.
        reward_threshold: the return that counts as success by the same, None for none.
        versions: of Python and packages over there.
        simulator: module and name of the environment's class.
    """

    def __init__(self, call: RemoteCall) -> None:
        self.call = call
        self._forgotten: list[int] = []
        self._snapshots = 0
        self._server: ServerProcess | None = None
        made = self._start()
        self.observation_space, self.action_space = (
            space_of(made[name]) for name in ("observation_space", "action_space")
        )
        data = made["observation_space"]
        self._tuples = data if has_tuple(data) else None
        self.metadata = made["metadata"]
        self.render_mode = call.render_mode
        self.max_episode_steps, self.reward_threshold = made["limit"], made["threshold"]
        self.versions = made["versions"]
        self.simulator = (str(made["module"]), str(made["class"]))
        if made["dt"] is not None:
            self.dt = float(made["dt"])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "call" not in vars(self):
            raise AttributeError(name)
        raise AttributeError(
            f"{name!r} is an attribute of the simulator, which runs in {self.call.python}; a plug-in's functions have"
            " e.observation, e.info and e.raw of it"
        )

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> Any:
        """Start an episode, in a new process if the last one has ended.

        Args:
            seed: of the condition.
            options: handed to the environment.
        """
        if self._server is None or not self._server.end.alive:
            self._start()
        if self._server is not None:
            self._server.follow_affinity()
        return self._values("reset", {"seed": seed, "options": None if options is None else dict(options)})

    def step(self, action: Any) -> Any:
        """Take a step, as gymnasium's."""
        return self._values("step", {"action": action})

    def render(self) -> Any:
        """Return what the environment draws."""
        return self._ask("render")["values"]

    def snapshot(self) -> RemoteSnapshot:
        """Return a number for the state over there, which ``restore`` continues from."""
        self._snapshots += 1
        saved = RemoteSnapshot(self._snapshots)
        self._ask("save", {"number": saved.number})
        weakref.finalize(saved, self._forgotten.append, saved.number).atexit = False
        return saved

    def restore(self, saved: RemoteSnapshot) -> None:
        """Put the environment back into a saved state.

        Raises EnvironmentFault if the process was started again since then.
        """
        self._ask("load", {"number": saved.number})

    def close(self) -> None:
        """Close the environment and end its process."""
        server, self._server = self._server, None
        if server is not None and server.end.alive:
            reply = server.close()
            if "fault" in reply:
                raise EnvironmentFault(f"{reply['text']}{reply.get('place', '')}")

    def _start(self) -> dict[str, Any]:
        call = self.call
        self._server = ServerProcess(call.python)
        extra = {} if call.render_mode is None else {"render_mode": call.render_mode}
        named = {"id": call.id, "target": call.target, "root": call.root}
        try:
            return self._ask("make", {**named, "arguments": dict(call.arguments), "extra": extra})
        except TypeError as error:
            self._server.end()
            raise ValueMismatchError(
                f"{call.where}: arguments go to {call.python} as plain data and arrays, and {error}"
            ) from error
        except TraceRobotError:
            self._server.end()
            raise

    def _values(self, name: str, request: dict[str, Any]) -> tuple[Any, ...]:
        """Return the tuple that reset or step returned over there."""
        reply = self._ask(name, request)
        values: list[Any] = reply["values"]
        if self._tuples is not None and values:
            values[0] = with_tuples(self._tuples, values[0])
        return tuple(values)

    def _ask(self, name: str, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
        if self._server is None or not self._server.end.alive:
            raise EnvironmentFault("step after the environment's process ended; call reset() first")
        message = {"do": name, **(request or {})}
        if self._forgotten:
            message["forget"], self._forgotten[:] = self._forgotten[:], []
        reply = self._server.ask(message)
        if "fault" in reply:
            raise _error_of(reply, self.call)
        return reply


def _error_of(reply: Mapping[str, Any], call: RemoteCall) -> TraceRobotError:
    """Return the error that a reply reports, with its remedy."""
    kind, text, python = str(reply["fault"]), str(reply["text"]), call.python
    if kind == "import":
        package = str(reply.get("package") or "")
        name = package.partition(".")[0] or "it"
        own = name == call.id.rpartition(":")[0].partition(".")[0]  # the module that registers the id
        place = f", or put it into {call.root}" if call.root and own else ""
        return MissingExtraError(
            f"{call.where} needs a package that {python} lacks ({text}): {python} -m pip install {name}{place}"
        )
    if kind == "unknown":
        module = f"{reply['module']}:" if reply.get("module") else ""
        ids = [module + str(each) for each in reply.get("known", ())]
        return UnknownNameError(f"{unknown_environment(call.id, ids)} (in {python})")
    if kind == "arguments":
        return ValueMismatchError(f"{call.where}: the environment refuses its arguments: {text}")
    if kind == "make":
        return EnvironmentFault(f"{call.where} cannot be made: {text}")
    if kind == "unstable":
        return EnvironmentFault(f"{UNSTABLE}: {text}")
    return EnvironmentFault(f"{text}{reply.get('place', '')}")
