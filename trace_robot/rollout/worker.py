"""A rollout worker's process: owns simulators and a sandbox, is trusted, and holds no key.

It is started with ``python -m trace_robot.rollout.worker FD`` where FD is one end of a socket pair; both
ends are ours, so what travels on it may be pickled. It ends when the other end is closed.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from trace_robot.errors import TraceRobotError
from trace_robot.rollout.affinity import SharedCpu
from trace_robot.rollout.batching import Batch
from trace_robot.rollout.env_runner import EnvRunner
from trace_robot.rollout.episode import Episode

TOLD_EVERY = 0.1  # seconds
END_SECONDS = 2.0


class Inbox:
    """Takes batches off the connection while the worker is busy, so that whoever sends never has to wait.

    Once the other end is closed nobody wants what is being done, and the process ends at the latest in END_SECONDS.
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


def serve(connection: Connection[Any, Any], rig: EnvRunner) -> None:
    """Answer batches with ``("episodes", [(index, episode), ...])`` or ``("error", text, class)``."""
    inbox = Inbox(connection)
    connection.send(("episodes", []))
    while (batch := inbox.next()) is not None:
        done: list[tuple[int, Episode]] = []
        told = time.monotonic()
        try:
            for position, episode in rig.run([job for _, job in batch]):
                done.append((batch[position][0], episode))
                if time.monotonic() - told > TOLD_EVERY and len(done) < len(batch):
                    connection.send(("episodes", done))
                    done, told = [], time.monotonic()
        except TraceRobotError as error:
            connection.send(("error", f"{error}", type(error).__name__))
        else:
            connection.send(("episodes", done))


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    parser = argparse.ArgumentParser()
    parser.add_argument("descriptor", type=int)
    parser.add_argument("--trusted", action="store_true")
    parser.add_argument("--lock-step", type=int)
    options = parser.parse_args()
    rig = EnvRunner(trusted=options.trusted, lock_step=options.lock_step, seat=SharedCpu())
    try:
        serve(Connection(options.descriptor), rig)
    except BrokenPipeError:
        pass  # the parent is gone: nobody is left to answer
    finally:
        rig.close()


if __name__ == "__main__":
    main()
