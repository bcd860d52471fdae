"""The protocol between engine and workers, and a backend without processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trace_robot import errors
from trace_robot.errors import EnvironmentFault, TraceRobotError
from trace_robot.rollout.batching import Batch
from trace_robot.rollout.episode import Episode


@dataclass(frozen=True, slots=True)
class WorkerMessage:
    """Episodes or an error from a worker.

    The first message, even if empty, means that the worker is ready. episodes: (index of the job, episode). error: why
    nothing can be run at all. died: why the worker is gone, "" if it lives.
    """

    episodes: Sequence[tuple[int, Episode]] = ()
    error: TraceRobotError | None = None
    died: str = ""


class Worker(Protocol):
    """Runs batches in the order in which they are sent."""

    def send(self, batch: Batch) -> None: ...

    def kill(self) -> None:
        """Terminate the worker at once and drop its outstanding batches."""
        ...


class Backend(Protocol):
    """Starts workers and receives their messages.

    size: number of workers. ahead: batches that one worker may hold, more than one to hide the latency of sending.
    """

    size: int
    ahead: int

    def start(self) -> Worker: ...

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[tuple[Worker, WorkerMessage]]:
        """Return the messages that have arrived, after waiting for a first one.

        Args:
            workers: to wait for.
            seconds: to wait at most.
        """
        ...

    def close(self, idle: Sequence[Worker]) -> None:
        """Shut down.

        Workers in ``idle`` have no outstanding batches and may exit by themselves.
        """
        ...


def error_of(name: str, text: str) -> TraceRobotError:
    """Rebuild an exception that a worker sent as its class's name and its text.

    Args:
        name: of a class in ``trace_robot.errors``; EnvironmentFault stands for any other.
        text: the message.
    """
    kind = getattr(errors, name, EnvironmentFault)
    error: TraceRobotError = kind(text)
    return error
