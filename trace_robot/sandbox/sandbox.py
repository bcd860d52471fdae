"""`Sandbox`: run a controller's text in a locked process."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from trace_robot.errors import OrderError
from trace_robot.fault import Fault, Limits
from trace_robot.sandbox.client import ControllerClient, ControllerText
from trace_robot.sandbox.lockstep import LockstepEpisodes
from trace_robot.sandbox.protocol import MAX_EPISODES, Interface, read_records
from trace_robot.sandbox.source import refusal
from trace_robot.sandbox.static_check.check import check, modules_of
from trace_robot.sandbox.static_check.shared_state import needs_own_process
from trace_robot.spec import Array

MAX_SOURCE_CHARS = 1_000_000  # beyond what the static check reads: the corpora run longer texts without it
_FLOAT64 = np.dtype("<f8")  # made once: numpy reads the text each time


class Sandbox:
    """A locked process for a controller: load its text, reset episodes, call it.

    A text that was not loaded last always gets a fresh process; the same text again keeps its process and gets freshly
    executed modules, unless it might see there what an earlier episode left (`needs_own_process`).
    The inputs of lock-step calls are kept until the next reset, so that an episode that kills the process leaves the
    others where they were: they are replayed in a new one.

    Args:
        interface: sizes of a call, and the fields of an observation.
        limits: what a controller may use.
        static_check: refuse text that `check` refuses.
        preload: modules to import before the lockdown, besides those that the text names.
        trusted: run the controller even where this machine gives no boundary.
        without: locks that are left open to try the others: "landlock", "root", "rlimits", "seccomp".

    Raises (any method):
        SandboxError: no boundary on this machine, or no process can be started.
    """

    def __init__(
        self,
        interface: Interface,
        limits: Limits | None = None,
        *,
        static_check: bool = True,
        preload: Sequence[str] = (),
        trusted: bool = False,
        without: Sequence[str] = (),
    ) -> None:
        self._client = ControllerClient(interface, limits or Limits(), trusted=trusted, without=without)
        self._input_size = interface.input_size
        self._static_check = static_check
        self._preload = tuple(preload)
        self._loaded: ControllerText | None = None
        self._failed: tuple[ControllerText, Fault] | None = None  # not tried again: it would fail again
        self._episodes: LockstepEpisodes | None = None
        self._used = False  # whether the loaded text has had episodes in its process

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process number of the controller's process, 0 while there is none."""
        return self._client.process.pid

    @property
    def locks(self) -> dict[str, str]:
        """Lock -> how it went, of the last process, or "failed" -> why."""
        return self._client.locks

    @property
    def _spoiled(self) -> bool:
        """Whether a further episode might see what earlier ones left in the process."""
        return self._used and self._loaded is not None and needs_own_process(self._loaded.source)

    def close(self) -> None:
        """End the processes."""
        self._loaded = None
        self._client.close()

    def load(self, source: str, *, trace: bool = False, fresh: bool = False) -> Fault | None:
        """Check, compile and execute a controller's text.

        Args:
            source: Python that defines ``act(observation)``, ``act(observation, memory)`` or a class ``Controller``.
            trace: whether to record its graphs.
            fresh: in a new process, even if episodes of the same text had one.

        Returns:
            Why it cannot run, None if it can; after a fault there is nothing to reset.
        """
        same = self._loaded is not None and self._loaded.is_same(source, trace)
        if same and self._client.usable and not self._spoiled and not (fresh and self._used):
            return None
        if self._failed is not None and self._failed[0].is_same(source, trace):
            return self._failed[1]
        self._loaded = self._episodes = None
        if len(source) > MAX_SOURCE_CHARS:
            return refusal(f"the source has {len(source)} characters, more than {MAX_SOURCE_CHARS}", None)
        if self._static_check and (refusals := check(source)):
            return refusals[0]
        text = ControllerText(source, trace, (*modules_of(source, trace=trace), *self._preload))
        fault = self._client.start(text)
        if fault is None:
            self._loaded, self._used = text, False
        else:
            self._failed = text, fault
        return fault

    def reset(self, episodes: int = 1) -> Fault | None:
        """Start fresh episodes of the loaded controller and return the first fault.

        Raises:
            OrderError: no controller is loaded.
            ValueError: ``episodes`` is not between 1 and 4096.
        """
        if self._loaded is None:
            raise OrderError(
                "reset needs a controller: load one first, and look at the fault that load returns"
            )
        if not 1 <= episodes <= MAX_EPISODES:
            raise ValueError(f"episodes must be between 1 and {MAX_EPISODES}, got {episodes}")
        self._episodes = None
        if not self._client.usable or self._spoiled:
            fault = self._client.start(self._loaded)
            if fault is not None:
                return fault
        self._used = True
        self._episodes = LockstepEpisodes(self._client, self._loaded, episodes)
        return self._episodes.reset()

    def call(self, inputs: Array, episodes: Sequence[int] | None = None) -> list[Array | Fault]:
        """Call the controller once for each of several episodes.

        Args:
            inputs: (n, input_size), one row an episode.
            episodes: numbers of the n episodes that the rows are for; None: for all, in order.

        Returns:
            For each row an action, float32 of shape (output_size,), or the fault that ended its episode. An episode
            that had a fault keeps answering with it.

        Raises:
            OrderError: there are no episodes: nothing was reset, or a call was interrupted since.
            ValueError: ``inputs`` has another shape.
        """
        current = self._episodes
        # The fast lane's conditions stand here and not in properties, with which a call took 11.7 us of processor time
        # instead of 10.4 (a controller that returns a list, median of 7 and 15 rounds).
        if (
            current is not None
            and current.count == 1
            and not current.faults
            and self._client.process.pid
            and inputs.shape == (1, self._input_size)
        ):
            return [current.call_only(np.asarray(inputs, _FLOAT64))]
        rows = np.ascontiguousarray(inputs, _FLOAT64)
        if current is None or self._loaded is None or self._client.interrupted:
            raise OrderError("call needs episodes: reset first")
        numbers = tuple(range(current.count)) if episodes is None else tuple(episodes)
        if rows.shape != (len(numbers), self._input_size):
            raise ValueError(f"inputs must have shape {(len(numbers), self._input_size)}, got {rows.shape}")
        return current.call(numbers, rows)

    def printed(self, episode: int = 0) -> str:
        """Return what an episode has printed, cut at ``Limits.printed_chars``."""
        current = self._episodes
        return current.printed[episode] if current is not None and episode < current.count else ""

    def written(self, episode: int = 0) -> tuple[bytes, ...]:
        """Return an episode's records as `protocol.read_records` reads them.

        () if it was not traced. They are cheaper to keep than what `graph` returns, where few graphs are looked at.
        """
        current = self._episodes
        return current.records(episode) if current is not None and episode < current.count else ()

    def graph(self, episode: int = 0) -> tuple[dict[str, Any], ...]:
        """Return the trace records of an episode so far, () if it was not traced."""
        return read_records(self.written(episode))
