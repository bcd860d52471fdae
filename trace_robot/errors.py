"""The exception tree: every expected fault derives from TraceRobotError.

TraceRobotError
├── UsageError                options that are wrong, or do not go together
├── UnknownNameError          no task, policy, environment or run of that name
├── WorkspaceError            a workspace file cannot be read, or lacks what it must declare
├── PolicyError               a policy file cannot be used
├── ActionError               an action of the wrong shape, or with a number that is not finite
├── EnvironmentFault          an environment raised, diverged or returned what it must not
│   └── SimulatorDeathError   the process that simulates it ended, by a signal or an exit
├── BackendError              rollout workers cannot be started, or their cluster not reached
├── MissingExtraError         an optional package is not installed; the message names the command
├── SandboxError              this machine cannot give the boundary that was asked for
├── ValueMismatchError        a suggested value does not fit its parameter
├── ExecutionError            a traced operation raised                     trace_robot.trace.errors
├── TraceMissingInputsError   a bundle read nodes that are not its inputs   trace_robot.trace.errors
├── RecordError               records that make no graph                    trace_robot.trace.errors
├── ModelError                the language model could not be reached, or did not answer
│   ├── ModelAuthError        the endpoint refused the key
│   ├── UnknownModelError     the endpoint does not know the model
│   ├── ContextLengthError    the prompt is longer than the endpoint's context
│   ├── BudgetExceededError   a limit on calls, tokens, money or time was reached
│   └── ReplayMismatchError   a prompt differs from the recorded one
│       └── PromptDiffersError    the same, with the difference             trace_robot.llm.recording
├── ReplyError                a reply is not what was asked
│   └── UnusableReplyError    the same, with every problem of it            trace_robot.optimizers.prompt.reply
├── SubmissionError           a request of an agent is refused              trace_robot.serve.submissions
├── OrderError                tell before ask, step before feedback
│   └── BackwardError         feedback twice for one output                 trace_robot.trace.errors
├── RenderError               a picture or a video cannot be drawn or written
└── RunError                  a run folder or the store, or what is made from them, cannot be read or written
    ├── ChangedRunError       a run cannot be resumed, because it would not be the same run
    └── AgentLeftError        the agent that a run takes its controllers from has gone

Errors named with a module are defined there, beside the only code that raises them; all others are in this module.
The command line shows the text of any of them as one line and exits with 1.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

# Terminal control characters except tab and newline (C0, DEL, C1), and Unicode's format characters, separators and
# surrogates: with those that reverse the direction of writing or are not seen, text can pretend to be other text
# ("Trojan source", CVE-2021-42574).
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)


MOST_LISTED = 12  # known names that an error lists as a whole


class TraceRobotError(Exception):
    """Base of every expected fault.

    Its text is one line that says what to do.
    """


class UsageError(TraceRobotError):
    """Options are missing, do not go together, or name a file of the wrong kind."""


class UnknownNameError(TraceRobotError, LookupError):
    """A name is not known: of a task, a policy, an environment, a run."""


class WorkspaceError(TraceRobotError):
    """A workspace file cannot be read, or lacks what it must declare."""


class PolicyError(TraceRobotError):
    """A policy file cannot be used."""


class ActionError(TraceRobotError, ValueError):
    """An action has the wrong shape or a number that is not finite."""


class EnvironmentFault(TraceRobotError):
    """The environment raised, diverged or returned what it must not."""


class SimulatorDeathError(EnvironmentFault):
    """The process that simulates an environment ended in the middle of a call."""


class BackendError(TraceRobotError):
    """Rollout workers cannot be started, or the cluster they run on cannot be reached."""


class MissingExtraError(TraceRobotError, ImportError):
    """Something optional is not installed."""


class SandboxError(TraceRobotError):
    """This machine cannot give the boundary that was asked for."""


class ValueMismatchError(TraceRobotError, ValueError):
    """A suggested value does not fit its parameter."""


class ModelError(TraceRobotError):
    """The language model could not be reached or would not answer."""


class ModelAuthError(ModelError):
    """The endpoint refused the key."""


class UnknownModelError(ModelError):
    """The endpoint does not know the model."""


class ContextLengthError(ModelError):
    """The prompt is longer than the endpoint's context.

    Args:
        message: what the endpoint answered.
        limit: tokens of its context, None where it does not name them.
        prompt: most tokens of a prompt, where the user asks for it in place of the endpoint.
        strict: whether a ``prompt`` that leaves no room for the variables is an error. In the journals of earlier
            versions it was none, and these must go on as they did.
    """

    def __init__(
        self, message: str, limit: int | None = None, prompt: int | None = None, *, strict: bool = True
    ) -> None:
        super().__init__(message)
        self.limit = limit
        self.prompt = prompt
        self.strict = strict


class BudgetExceededError(ModelError):
    """A limit on calls, tokens, money or time was reached."""


class ReplayMismatchError(ModelError):
    """A prompt differs from the recorded one."""


class ReplyError(TraceRobotError):
    """A reply is not what was asked.

    Kept, and shown to the model once for repair.
    """


class OrderError(TraceRobotError, RuntimeError):
    """A method was called before the one it depends on."""


class RenderError(TraceRobotError):
    """A picture or a video cannot be drawn or written."""


class RunError(TraceRobotError):
    """A run folder, the store, or a file made from them cannot be read or written."""


class ChangedRunError(RunError):
    """A resumed run asks for something else than its journal has.

    It would not be the same run.
    """


class AgentLeftError(RunError):
    """The agent that a run takes its controllers from has gone."""


def error_of(name: str, text: str) -> TraceRobotError:
    """Rebuild an exception that another process sent as its class's name and its text.

    Args:
        name: of a class of this module; EnvironmentFault stands for any other.
        text: the message.
    """
    kind = globals().get(name)
    if isinstance(kind, type) and issubclass(kind, TraceRobotError):
        return kind(text)
    return EnvironmentFault(text)


def spelled(text: str, *, kept: str = "") -> str:
    r"""Return ``text`` with control characters and hidden ones escaped, such as \x1b.

    Messages quote what models, files and strangers wrote; terminal and pages pass every text through here.

    Args:
        text: any string, lone surrogates included.
        kept: characters of ``UNSEEN`` that stay.
    """

    def escape(match: re.Match[str]) -> str:
        return match[0] if match[0] in kept else match[0].encode("unicode_escape").decode()

    return UNSEEN.sub(escape, text)


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Return the error for an unknown name, with the names that are most like it.

    Args:
        kind: what was looked for, as a noun: "task".
        name: what was asked for.
        known: every name that exists, in any order.

    Returns:
        An error of one line: up to three names that are similar (``difflib``) or contain ``name``, else all that are
        known in alphabetical order, or of many the nearest six.
    """
    names = sorted(set(known), key=str.lower)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    near = near or [candidate for candidate in names if name.lower() in candidate.lower()][:3]
    if near:
        return UnknownNameError(f"no {kind} {name!r}; did you mean {' or '.join(map(repr, near))}?")
    if len(names) <= MOST_LISTED:
        return UnknownNameError(f"no {kind} {name!r}; known: {', '.join(names) or 'none'}")
    alike = difflib.get_close_matches(name, names, n=1, cutoff=0.3)
    shown = sorted(
        difflib.get_close_matches(name, names, n=6, cutoff=0.0) if alike else names[:6], key=str.lower
    )
    what = "the nearest" if alike else "the first"
    return UnknownNameError(f"no {kind} {name!r} among {len(names)}; {what}: {', '.join(shown)}")


def unknown_environment(name: str, known: Iterable[str]) -> UnknownNameError:
    """Return the error for an unknown environment, with a hint for a namespace.

    Args:
        name: what was asked for; of a gymnasium id "NAMESPACE/..." no package may have been imported that registers it.
        known: as of ``unknown``.
    """
    names = list(known)
    error, space = unknown("environment", name, names), name.rpartition("/")[0]
    if not space or ":" in name or any(each.rpartition(":")[2].startswith(f"{space}/") for each in names):
        return error
    return UnknownNameError(
        f"{error} (a package registers the ids of {space!r} when it is imported: give its name too, as PACKAGE:{name})"
    )


class KnownFields:
    """Base of a dataclass that names the field which a misspelt keyword may mean."""

    __slots__ = ()

    def __new__(cls, *_: Any, **given: Any) -> KnownFields:
        """Refuse a keyword that is no field."""
        known = [each.name for each in fields(cls)]  # type: ignore[arg-type]  # its subclasses are dataclasses
        for name in given:
            if name not in known:
                raise WorkspaceError(str(unknown(f"field of {cls.__name__}", name, known)))
        return super().__new__(cls)
