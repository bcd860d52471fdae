"""Descriptions of environments, made in a child process within time limits.

To describe most environments they are made and played: success is looked for in an episode, hands by pushes and random
episodes, facts of a body by full actions. One that hangs there, ends its process or prints must not take a run along or
tear up its screen. So a run asks a child process, which answers in plain data, and the answer is kept.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.child_process import (
    LINE_LENGTH,
    ONE_THREAD,
    JsonLines,
    OutputLog,
    clean_environment,
    python_command,
    workspace_root,
)
from trace_robot.env import registry
from trace_robot.env.declared import DeclaredPlugin
from trace_robot.env.tracking import HandTracking, JointTracking
from trace_robot.env.world import reductions
from trace_robot.errors import EnvironmentFault, ValueMismatchError, error_of
from trace_robot.fault import HANDS_SEARCH, HANG_SECONDS, MAKE_SECONDS
from trace_robot.spec import TaskSpec

if TYPE_CHECKING:
    from trace_robot.env.facts import EnvFacts

log = logging.getLogger("trace_robot.env")
IMPORT, MAKE = "the import of its plug-in", "make()"
CHILD = "trace_robot.env.inspection_child"
MOST_TEXT = 4000  # characters of an error
END_SECONDS = 5.0  # from the end of its messages to that of the process
SLOW = (IMPORT, MAKE)  # which may load or compile much
# The answers, in this order: what can be done without comes last.
SPEC, TRACKING, REFUSALS, FACTS = "spec", "tracking", "refusals", "facts"
TRACKINGS = {"HandTracking": HandTracking, "JointTracking": JointTracking}


@dataclass(frozen=True, slots=True)
class EnvDetails:
    """What was found of an environment.

    Attributes:
        control: the mode that was asked for, or the usual one.
        spec: its description in that mode.
        tracking: what follows a target in mode "pose", of the two that can be written out; None for others.
        seconds: of a step, None where it does not say.
        raw: its description in mode "raw", beside ``tracking``.
        followed: how any other tracking follows a target, as plain data for a contract; empty without one.
        refusals: why it cannot have each of ``Inspection.equipment``, "" where it can.
        facts: of its body, None where they were not asked for or could not be had.
        versions: of Python and packages in the interpreter it runs in, empty where that is this one.
        places: where fields lie in the environment's own observation, as of ``ObservationLayout``; empty where that is
            the flat vector.
        moved_by: what moves its hands in that mode, "" where its own action or the plug-in's tracking does.
        no_hand: why its first position is no hand, "" where it is one, none is declared or none was looked for.
    """

    control: str
    spec: TaskSpec
    tracking: HandTracking | JointTracking | None = None
    seconds: float | None = None
    raw: TaskSpec | None = None
    refusals: tuple[str, ...] = ()
    facts: EnvFacts | None = None
    followed: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, Any] = field(default_factory=dict)
    moved_by: str = ""
    no_hand: str = ""


@dataclass(frozen=True, slots=True)
class Inspection:
    """Describes an environment, in a child process where it must be made for that.

    Attributes:
        env: its name.
        options: of its plug-in.
        control: the control mode where ``options`` have none; None for the usual one.
        default: the usual one where it has that mode.
        tracking: whether its tracking, and the length of a step, are asked for.
        equipment: options for worlds and the like, of which it is asked whether it can have each.
        facts: whether facts of its body are asked for.
        apart: whether it is made in a child process only; else in this one, as rollouts without workers are.
    """

    env: str
    options: Mapping[str, Any]
    control: str | None = None
    default: str = "pose"
    tracking: bool = False
    equipment: Sequence[Mapping[str, Any]] = ()
    facts: bool = False
    apart: bool = True

    def answer(self) -> EnvDetails:
        """Return what was asked for, from a cache where that was answered before.

        Raises:
            EnvironmentFault: the environment hangs, ends its process, or raises.
            TraceRobotError: as of ``registry.describe``.
        """
        plugin = registry.plugin(self.env, self.options)
        # A plug-in's own function ``describe`` makes nothing: a search in Meta-World need not wait for a process.
        makes = isinstance(plugin, DeclaredPlugin) or self.asked != [SPEC]
        if not (self.apart and makes and (request := self.to_json())):
            from trace_robot.env.inspection_child import answers  # as a rollout without workers does

            return _collected(dict(answers(self)))
        found = _inspected(request, f"{plugin.file}: {self.env}", workspace_root(), _modified(plugin.file))
        return replace(found, spec=_with_own(found.spec, self.options))

    @property
    def asked(self) -> list[str]:
        """The answers, in their order."""
        wanted = {SPEC: True, TRACKING: self.tracking, REFUSALS: self.equipment, FACTS: self.facts}
        return [kind for kind, is_wanted in wanted.items() if is_wanted]

    def to_json(self) -> str:
        """Return it as JSON, "" for options that are none, from a program."""
        try:
            return json.dumps({each.name: getattr(self, each.name) for each in fields(self)}, default=dict)
        except (TypeError, ValueError):
            return ""


def possible_options(ask: Inspection) -> Mapping[str, Any]:
    """Return the options without worlds that an environment cannot have.

    What is left out is logged, a line.

    Raises:
        ValueMismatchError: it cannot have its worlds, or a success that must last.
    """
    given = {name: ask.options[name] for name in ("world", "hold", "envelope") if ask.options.get(name)}
    if not given:
        return ask.options
    worlds = reductions(given["world"]) if "world" in given else {(): None}
    tried = [{**given, "world": each} for each in worlds.values()]
    own = {name: value for name, value in ask.options.items() if name not in given}
    refusals = replace(ask, options=own, equipment=tried, facts=False).answer().refusals
    for left_out, options, refusal in zip(worlds, tried, refusals, strict=True):
        if refusal:
            continue
        if left_out:
            log.warning("left out of the worlds, as %s cannot have it: %s", ask.env, "; ".join(left_out))
        return {**ask.options, "world": options["world"]} if left_out else ask.options
    raise ValueMismatchError(refusals[0])


def _collected(answers: Mapping[str, Any]) -> EnvDetails:
    tracking, seconds, raw, followed = answers.get(TRACKING, (None, None, None, {}))
    refusals, facts = answers.get(REFUSALS, ()), answers.get(FACTS)
    return EnvDetails(
        **answers[SPEC],
        tracking=tracking,
        seconds=seconds,
        raw=raw,
        refusals=refusals,
        facts=facts,
        followed=followed,
    )


def _with_own(spec: TaskSpec, options: Mapping[str, Any]) -> TaskSpec:
    """Return a spec with the options as they were given: JSON has no tuples."""
    own = {name: value for name, value in options.items() if name in spec.options}
    own = {name: value for name, value in own.items() if json.loads(json.dumps(value)) == spec.options[name]}
    return replace(spec, options={**spec.options, **own})


def _modified(file: str) -> int:
    """Return a plug-in file's time of change, 0 for what is no file."""
    try:
        return Path(file).stat().st_mtime_ns
    except OSError:
        return 0


# An environment takes seconds to be made and played. Errors are not kept, so one that was mended is looked at again.
@lru_cache(maxsize=64)
def _inspected(request: str, where: str, root: str, modified: int) -> EnvDetails:
    """Ask a child process.

    Args:
        request: as JSON.
        where: file and name of the environment, for messages.
        root: the workspace, which the child inherits; part of the cache's key.
        modified: the plug-in file's time of change, likewise.

    Raises:
        EnvironmentFault: it hangs, ends its process, or raises.
        TraceRobotError: what the child raised.
    """
    ask, found = Inspection(**json.loads(request)), dict[str, Any]()
    with MessageProcess(python_command(CHILD), request) as child:
        try:
            for kind, data in _replies(child, where, ask.env):
                found[kind] = _read(kind, data, where)
                if len(found) == len(ask.asked):
                    break
        except EnvironmentFault as error:
            if set(ask.asked) - set(found) != {FACTS}:
                raise
            # The first episode is watched as well, and its line then ends the run.
            log.warning("prompts go without facts of the body: %s", error)
    return _collected(found)


def _replies(child: MessageProcess, where: str, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the answers of a child process, each within its time.

    Raises EnvironmentFault where it hangs or ends, and what it raised itself.
    """
    doing, problem = IMPORT, ""
    while not problem:
        seconds = MAKE_SECONDS if doing in SLOW else HANG_SECONDS
        try:
            message = child.next(seconds)
        except TimeoutError:
            problem = f"{doing} hangs: it gave no answer for {seconds:g} s"
        except EOFError:
            problem = f"its process ended in {doing} with {child.ending()}"
        except ValueError:
            problem = f"its process wrote in {doing} what is no message"
        else:
            if "error" in message:
                raise error_of(str(message["error"]), str(message.get("text"))[:MOST_TEXT])
            doing = str(message.pop("doing", doing))[:LINE_LENGTH]
            yield from message.items()
    remedy = f"see: trace-robot check-env {name}"
    if doing == HANDS_SEARCH:
        remedy = (
            f"name the action that moves it, hands=[Hand(..., motion=...)], or add --control raw; {remedy}"
        )
    raise EnvironmentFault(f"{where}: {problem}; {remedy}")


class MessageProcess:
    """A child process that writes JSON lines, killed with all it started.

    A context manager. What it writes to standard error is kept within bounds, and shown nowhere.

    Args:
        command: as of ``python_command``.
        request: a line for its standard input, which stays open; None for no input.
        variables: of its environment, besides those it inherits.

    Attributes:
        process: of the operating system.
    """

    def __init__(self, command: Sequence[str], request: str | None = None, **variables: str) -> None:
        self.process = subprocess.Popen(
            command,
            env=clean_environment({**ONE_THREAD, **variables}),
            stdin=subprocess.DEVNULL if request is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C at the terminal reaches the parent only, which decides
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._messages, self._errors = JsonLines(self.process.stdout), OutputLog()
        self._reader = threading.Thread(target=self._errors.read, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        if self.process.stdin is not None and request is not None:
            with suppress(BrokenPipeError):  # it has ended, which ``next`` raises
                self.process.stdin.write(request.encode() + b"\n")
                self.process.stdin.flush()

    def next(self, seconds: float) -> dict[str, Any]:
        """Return the next message.

        Args:
            seconds: how long to wait for it.

        Raises:
            TimeoutError: there was none.
            EOFError: the process has ended.
            ValueError: what it wrote is no message.
        """
        try:
            message = self._messages.next(seconds)
        except TimeoutError:
            if self.process.poll() is None:
                raise
            raise EOFError("it has ended, and a process that it forked holds the pipe") from None
        if not isinstance(message, dict):
            raise ValueError(f"a message must be an object, got {message!r:.80}")
        return message

    def ending(self) -> str:
        """Return how the process ended, with its last line on standard error."""
        try:
            code = self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return "its pipe closed"
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self._reader.join(1.0)
        return f"{how}; it wrote: {self._errors.last[:200]}" if self._errors.last else how

    def __enter__(self) -> MessageProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
        self.process.wait()
        self._messages.join(1.0)
        self._reader.join(1.0)
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()


def _read(kind: str, data: Any, where: str) -> Any:
    """Return an answer from plain data."""
    from trace_robot.env.facts import EnvFacts

    try:
        if kind == SPEC:
            versions = {str(name): str(version) for name, version in data["versions"].items()}
            return {
                "control": str(data["control"]),
                "spec": TaskSpec.from_data(data["spec"]),
                "versions": versions,
                "places": dict(data["places"]),
                "moved_by": str(data["moved_by"]),
                "no_hand": str(data["no_hand"])[:MOST_TEXT],
            }
        if kind == REFUSALS:
            return tuple(map(str, data))
        if kind == FACTS:
            return EnvFacts(str(data["decision"]), tuple(map(str, data["body"])))
        if kind != TRACKING:
            raise ValueError(f"no such answer: {kind}")
        tracking = TRACKINGS[data["class"]](**data["tracking"]) if data["class"] else None
        raw = TaskSpec.from_data(data["raw"]) if data["raw"] else None
        return tracking, data["seconds"], raw, dict(data["followed"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EnvironmentFault(f"{where}: its description cannot be read: {error!r:.200}") from error
