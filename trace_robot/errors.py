"""The exception tree: every expected fault of the library derives from TraceRobotError.

TraceRobotError
├── UsageError                options of a command that are missing or do not go together
├── UnknownNameError          a task, policy, environment or run that is not there
├── WorkspaceError            a workspace file that cannot be read or does not say what it must
├── PolicyError               a policy file that cannot be used
├── ActionError               an action of the wrong shape or with a non-finite number
├── EnvironmentFault          the environment raised, diverged or returned what it must not
├── MissingExtraError         something optional is not installed; the message names the command
├── SandboxError              this machine cannot give the boundary that was asked for
├── ValueMismatchError        a suggested value that does not fit its parameter
├── ModelError                the language model could not be reached or would not answer
│   ├── ModelAuthError        the key was refused
│   ├── UnknownModelError     the endpoint does not know the model
│   ├── BudgetExceededError   a limit on calls, tokens, money or time was reached
│   └── ReplayMismatchError   a prompt differs from the recorded one
├── ReplyError                a reply that is not what was asked
├── OrderError                tell before ask, step before feedback
└── RunError                  a run folder or the store of runs that cannot be written or read
    └── ChangedRunError       a run that cannot go on, because it would not be the same run
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TraceRobotError(Exception):
    """Base of every expected fault; its text is one line that says what to do."""


class UsageError(TraceRobotError):
    """Options of a command are missing, do not go together, or name a file of the wrong kind."""


class UnknownNameError(TraceRobotError, LookupError):
    """A name that no workspace knows."""


class WorkspaceError(TraceRobotError):
    """A workspace file cannot be read or does not say what it must."""


class PolicyError(TraceRobotError):
    """A policy file cannot be used."""


class ActionError(TraceRobotError, ValueError):
    """An action has the wrong shape or a number that is not finite."""


class EnvironmentFault(TraceRobotError):
    """The environment raised, diverged or returned what it must not."""


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


class BudgetExceededError(ModelError):
    """A limit on calls, tokens, money or time was reached."""


class ReplayMismatchError(ModelError):
    """A prompt differs from the recorded one."""


class ReplyError(TraceRobotError):
    """A reply is not what was asked; kept, and shown to the model once for repair."""


class OrderError(TraceRobotError, RuntimeError):
    """A method was called before the one it depends on."""


class RunError(TraceRobotError):
    """A run folder, or the store of runs, cannot be written or read."""


class ChangedRunError(RunError):
    """A run that is taken up again asks for something else than it did."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Return the error for a name that is not there: one line, with what may have been meant."""
    names = list(dict.fromkeys(known))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    near = near or [each for each in names if name.lower() in each.lower()][:3]
    if near:
        return UnknownNameError(f"no {kind} {name!r}; did you mean {' or '.join(map(repr, near))}?")
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return UnknownNameError(f"no {kind} {name!r}; known: {shown or 'none'}")
