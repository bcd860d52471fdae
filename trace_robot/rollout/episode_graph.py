"""The graph of an episode: the controller's records, joined by environment steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from trace_robot.sandbox.protocol import read_records
from trace_robot.spec import Array, Field, TaskSpec

Record = Mapping[str, Any]
RESET_DOC = "[reset] the environment gives the first observation of the episode."
STEP_DOC = "[step] the environment applies the action and gives the next observation."
OUTCOME_DOC = "[outcome] how the episode ended, from its last observation."
# A graph has a bound, and what no honest child writes ends it too.
CUT_DOC = " This graph is cut: it holds {joint} of the {taken} steps, and more would have been too large."


@dataclass(eq=False)
class EpisodeGraph(Sequence[Record]):
    """Records of one graph, each observation linked to the step before it.

    The last record is the episode's outcome, the output that gets the feedback. Records are joined when they are first
    read, since few graphs are read at all.

    Attributes:
        written: by the controller's process, for ``trace_robot.sandbox.protocol.read_records``.
        observations: (T + 1, obs_dim).
        fields: names of parts of an observation.
        ended: how the episode ended.
        failed: whether the controller had a fault.
    """

    written: tuple[bytes, ...]
    observations: Array
    fields: tuple[Field, ...]
    ended: str
    failed: bool
    _records: tuple[Record, ...] | None = field(default=None, repr=False)

    @property
    def records(self) -> tuple[Record, ...]:
        if self._records is None:
            self._records = _join(self)
        return self._records

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Record, ...]: ...

    def __getitem__(self, index: int | slice) -> Record | tuple[Record, ...]:
        return self.records[index]

    def __len__(self) -> int:
        return len(self.records)

    def __eq__(self, other: object) -> bool:
        return self.records == tuple(other) if isinstance(other, EpisodeGraph | tuple) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_records": None}  # the bytes are smaller than the records that they give


def graph_of(written: tuple[bytes, ...], episode: Any, spec: TaskSpec) -> EpisodeGraph:
    """Return the graph of an episode.

    Args:
        written: the records of the controller's process. The input called "observation" of step t stands for what the
            environment gave, and the last operation of step t for the action.
        episode: with its observations.
        spec: of the environment, which names the fields of the observation.
    """
    return EpisodeGraph(
        written, episode.observations, spec.observation, episode.ended, episode.fault is not None
    )


def _join(graph: EpisodeGraph) -> tuple[Record, ...]:
    by_step: dict[int, list[Record]] = {}
    timeless: list[Record] = []
    for record in read_records(graph.written):
        step = record["step"]
        (timeless if step is None else by_step.setdefault(step, [])).append(record)
    joined = _Joined()
    for root in timeless:  # parameters and constants, which every step may read
        joined.copy(root)
    observations = graph.observations
    observation = joined.add(
        "observation", "operation", "reset", RESET_DOC, {}, _named(graph.fields, observations[0]), 0
    )
    taken = len(observations) - 1  # actions
    joint = 0
    for step in sorted(by_step):
        action = joined.copy_step(by_step[step], observation)
        if action is None or step >= taken:
            break
        joint += 1
        value = _named(graph.fields, observations[step + 1])
        inputs = {"observation": observation, "action": action}
        observation = joined.add("observation", "operation", "step", STEP_DOC, inputs, value, step + 1)
    last = {"observation": observation}
    if graph.failed and joined.last is not None:
        last["failed"] = joined.last
    doc = OUTCOME_DOC if joint == taken else OUTCOME_DOC + CUT_DOC.format(joint=joint, taken=taken)
    joined.add("outcome", "operation", "outcome", doc, last, graph.ended, None)
    return tuple(joined.records)


class _Joined:
    """Records under construction, renumbered from 0."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.last: int | None = None
        self._ids: dict[int, int] = {}

    def add(
        self, name: str, kind: str, op: str, doc: str, inputs: Mapping[str, int], value: str, step: int | None
    ) -> int:
        number = len(self.records)
        numbered = name if step is None else f"{name}{step}"
        self.records.append(
            {
                "id": number,
                "name": numbered,
                "kind": kind,
                "op": op,
                "doc": doc,
                "inputs": dict(inputs),
                "value": value,
                "step": step,
            }
        )
        return number

    def copy(self, record: Record) -> int:
        number = len(self.records)
        inputs = {name: self._ids[parent] for name, parent in record["inputs"].items() if parent in self._ids}
        self._ids[record["id"]] = number
        self.records.append({**record, "id": number, "inputs": inputs})
        return number

    def copy_step(self, records: Sequence[Record], observation: int) -> int | None:
        """Copy one step's records and return the action's id, None without an action.

        Args:
            records: of one step.
            observation: id of the record that stands for the step's observation.
        """
        action = None
        for record in records:
            if record["kind"] == "input" and record["name"].startswith("observation"):
                self._ids[record["id"]] = observation
                continue
            number = self.copy(record)
            self.last = number  # where the controller failed, the outcome depends on what it computed last
            if record["kind"] == "operation" and not record["name"].startswith("memory"):
                action = number
        return action


def _named(fields: Sequence[Field], observation: Array) -> str:
    parts = (f"{part.name}: {_short(observation[part.start : part.stop])}" for part in fields)
    return "{" + ", ".join(parts) + "}"


def _short(values: Array) -> str:
    numbers = ", ".join(f"{float(value):.4g}" for value in values)
    return numbers if len(values) == 1 else f"[{numbers}]"
