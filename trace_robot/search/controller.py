"""Controllers as data: the protocol, and the registry of kinds.

A search tries thousands of controllers. As data they run in a worker's own process by an interpreter, which is
faster than a text in the sandbox and as safe, since data names no code. The best one is written out as text.
A new kind is a package beside ``staged``, ``feedback_law`` and ``gait`` with a controller that is listed in ``KINDS``,
and a search that is listed in ``trace_robot.search.search_for``.

A worker imports this module, so nothing that is imported here may import a search or CMA-ES.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from trace_robot.errors import PolicyError
from trace_robot.search.feedback_law.controller import LawController
from trace_robot.search.gait.controller import GaitController
from trace_robot.search.staged.controller import StagedController
from trace_robot.spec import Array, TaskSpec

if TYPE_CHECKING:
    from trace_robot.optimizers.problem import Candidate


class Runner(Protocol):
    """One episode of a controller.

    finished: whether it has nothing more to do, which ends the episode before its time is over.
    """

    finished: bool

    def __call__(self, observation: Array) -> npt.NDArray[np.float32]:
        """Return the action, (action_size,), for a flat observation, (observation_size,)."""
        ...


class DataController(Protocol):
    """A controller as data, which an interpreter runs and a writer writes as Python.

    kind: its name in the registry.
    """

    kind: ClassVar[str]

    @classmethod
    def recognizes(cls, data: Mapping[str, Any]) -> bool:
        """Return whether ``data`` is of this kind, by its keys."""
        ...

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> DataController:
        """Return the controller that ``to_data`` gave, or raise PolicyError."""
        ...

    def to_data(self) -> dict[str, Any]:
        """Return JSON-able data, the same in every version: journals hold its hash."""
        ...

    def start(self, spec: TaskSpec) -> Runner:
        """Return what runs one episode, or raise PolicyError if ``spec`` does not fit."""
        ...

    def measures(
        self, spec: TaskSpec, observations: Array, rewards: Array, infos: Mapping[str, float]
    ) -> dict[str, float]:
        """Return what the search measures of an episode beside reward and success.

        Args:
            spec: the environment.
            observations: (T + 1, observation_size), flat.
            rewards: (T,).
            infos: named numbers of the last step.

        Returns:
            Named numbers, few: they cross from the worker to the parent in place of the observations.
        """
        ...

    def write(self, spec: TaskSpec) -> str:
        """Return the text of a policy file that acts as this controller does."""
        ...

    def write_out(self, candidate: Candidate, spec: TaskSpec) -> Candidate:
        """Return a candidate with this controller as text instead of data.

        Args:
            candidate: one whose ``program`` is this controller.
            spec: the environment that the text is for.
        """
        ...


KINDS: Mapping[str, type[DataController]] = {
    kind.kind: kind for kind in (StagedController, LawController, GaitController)
}


def load_controller(data: Mapping[str, Any]) -> DataController:
    """Return the controller that a candidate's or a job's data describes.

    The kind is recognized by its keys, for stored data holds no name of its kind.

    Raises:
        PolicyError: if the data is of no kind, or of one and not complete.
    """
    for kind in KINDS.values():
        if kind.recognizes(data):
            return kind.from_data(data)
    raise PolicyError(
        f"a controller as data must be of a kind in {', '.join(KINDS)}, got the keys {sorted(data)!r}"
    )


def write_out(candidate: Candidate, spec: TaskSpec, start: Mapping[str, Any] | None = None) -> Candidate:
    """Return a candidate of a built-in search with its controller as text.

    Args:
        candidate: one whose ``program`` is a controller as data.
        spec: the environment that the text is for.
        start: the values of the policy that the search began with. Where it has no place for what the controller
            would be written to, such as ``act``, the text is a whole file; None for a policy with all of them.

    Raises:
        PolicyError: if the data is no controller, or one that does not fit ``spec``.
    """
    controller = load_controller(candidate.program or {})
    found = controller.write_out(candidate, spec)
    if found.text or start is None or found.values.keys() <= start.keys():
        return found
    return replace(found, values=start, text=controller.write(spec))
