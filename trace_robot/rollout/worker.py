"""A rollout worker's process: owns simulators and a sandbox, is trusted, and holds no key.

It is started with ``python -m trace_robot.rollout.worker FD`` where FD is one end of a socket pair; both
ends are ours, so what travels on it may be pickled. It ends when the other end is closed.
"""

from __future__ import annotations

import signal
import sys
from multiprocessing.connection import Connection

from trace_robot.errors import TraceRobotError
from trace_robot.rollout.bench import Bench


def serve(connection: Connection, bench: Bench) -> None:
    """Answer chunks of jobs, ``[(index, job), ...]``, with ``("episode", index, episode)`` or an error."""
    while True:
        try:
            chunk = connection.recv()
        except EOFError:
            return
        for index, job in chunk:
            try:
                episode = bench.run(job)
            except TraceRobotError as error:
                connection.send(("error", index, f"{error}", type(error).__name__))
            else:
                connection.send(("episode", index, episode))


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    connection = Connection(int(sys.argv[1]))
    bench = Bench(trusted="--trusted" in sys.argv[2:])
    try:
        serve(connection, bench)
    except BrokenPipeError:
        pass  # the parent is gone: nobody is left to answer
    finally:
        bench.close()


if __name__ == "__main__":
    main()
