"""The rollout worker: a process with simulators and without keys, or none at all.

It is started with ``python -m trace_robot.rollout.worker FD HEARTBEAT`` where FD is one end of a socket pair; both
ends are ours, so what travels on it may be pickled. It ends when the other end is closed. HEARTBEAT is the descriptor
of a file, see ``Heartbeat``.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from trace_robot.child_process import OutputLog, SharedCpu, captured_output
from trace_robot.env.guard import interval_timer
from trace_robot.errors import EnvironmentFault, TraceRobotError
from trace_robot.rollout.backends import Hang, Heartbeat, HeartbeatReader, Worker, WorkerMessage
from trace_robot.rollout.batching import Batch
from trace_robot.rollout.env_runner import EnvRunner
from trace_robot.rollout.episode import Episode

SEND_EVERY = 0.1  # seconds between two messages at least: episodes of programs take milliseconds
END_SECONDS = 2.0
TICK_SECONDS = 1.0


class Inbox:
    """Reads batches in a thread, so that the sender never blocks.

    Once the other end is closed the results are not wanted, and the process exits after at most END_SECONDS.
    """

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._batches: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def next(self) -> Batch | None:
        return self._batches.get()

    def _listen(self) -> None:
        try:
            while True:
                self._batches.put(self._connection.recv())
        except (EOFError, OSError):
            self._batches.put(None)
        time.sleep(END_SECONDS)
        os._exit(0)


def serve(connection: Connection[Any, Any], runner: EnvRunner) -> None:
    """Answer batches until the connection is closed.

    Args:
        connection: gets an empty list of episodes when the worker is ready; then for each batch one or more of
            ``("episodes", [(index, episode), ...])``, or ``("error", text, class)``.
        runner: runs the jobs.
    """
    inbox = Inbox(connection)
    connection.send(("episodes", []))
    while (batch := inbox.next()) is not None:
        episodes: list[tuple[int, Episode]] = []
        sent = time.monotonic()
        try:
            for position, episode in runner.run([job for _, job in batch]):
                episodes.append((batch[position][0], episode))
                if time.monotonic() - sent > SEND_EVERY and len(episodes) < len(batch):
                    connection.send(("episodes", episodes))
                    episodes, sent = [], time.monotonic()
        except TraceRobotError as error:
            connection.send(("error", f"{error}", type(error).__name__))
        else:
            connection.send(("episodes", episodes))


class InProcessBackend:
    """One worker in the engine's process, for debugging."""

    size = 1
    ahead = 1

    def __init__(self, *, trusted: bool, lock_step: int | None) -> None:
        self._trusted, self._lock_step = trusted, lock_step
        self.output = OutputLog()

    def start(self) -> Worker:
        return InProcessWorker(self.output, trusted=self._trusted, lock_step=self._lock_step)

    def wait(self, workers: Sequence[Worker], seconds: float) -> list[tuple[Worker, WorkerMessage]]:
        return [(worker, worker.execute()) for worker in workers if isinstance(worker, InProcessWorker)]

    def close(self, idle: Sequence[Worker]) -> None:
        for worker in idle:
            worker.kill()


class InProcessWorker:
    """Runs its batches when it is waited for."""

    def __init__(self, output: OutputLog, *, trusted: bool, lock_step: int | None) -> None:
        self._heartbeat = Heartbeat()
        self._runner = EnvRunner(trusted=trusted, lock_step=lock_step, heartbeat=self._heartbeat)
        self._batches: deque[Batch] = deque()
        self._output = output

    def send(self, batch: Batch) -> None:
        self._batches.append(batch)

    def execute(self) -> WorkerMessage:
        """Run the oldest batch. The message is empty where there is none."""
        if not self._batches:
            return WorkerMessage()
        batch = self._batches.popleft()
        jobs = [job for _, job in batch]
        try:
            with captured_output(self._output), interrupting(self._heartbeat):
                episodes = [(batch[position][0], episode) for position, episode in self._runner.run(jobs)]
        except TraceRobotError as error:
            return WorkerMessage(error=error)
        return WorkerMessage(episodes)

    def hang(self) -> Hang | None:
        """Return None: such a call is interrupted where it is."""
        return None

    def kill(self) -> None:
        with captured_output(self._output):
            self._runner.close()


@contextmanager
def interrupting(heartbeat: Heartbeat) -> Iterator[None]:
    """Raise EnvironmentFault in a call of this process that hangs.

    It is for an engine without workers. A call that hangs in C without giving the interpreter back goes on hanging,
    and so does one where ``interval_timer`` does nothing.
    """
    reader = HeartbeatReader(heartbeat.slots)

    def tick() -> None:
        hang = reader.hang()
        if hang is not None:
            heartbeat.hung = True
            raise EnvironmentFault(hang.text)

    with interval_timer(TICK_SECONDS, tick, repeated=True):
        yield


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    parser = argparse.ArgumentParser()
    parser.add_argument("descriptor", type=int)
    parser.add_argument("heartbeat", type=int)
    parser.add_argument("--trusted", action="store_true")
    parser.add_argument("--lock-step", type=int)
    options = parser.parse_args()
    # What environments print goes to the engine by a pipe, and a worker that crashes leaves its last line there.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    runner = EnvRunner(
        trusted=options.trusted,
        lock_step=options.lock_step,
        cpu=SharedCpu(),
        heartbeat=Heartbeat(options.heartbeat),
    )
    try:
        serve(Connection(options.descriptor), runner)
    except BrokenPipeError:
        pass  # the parent is gone
    finally:
        runner.close()


if __name__ == "__main__":
    main()
