"""The graph of a whole episode: the environment's nodes joined with those the controller's process sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trace_robot.rollout.episode import Episode
from trace_robot.spec import Array, EnvSpec

Record = Mapping[str, Any]
RESET_DOC = "[reset] the environment gives the first observation of the episode."
STEP_DOC = "[step] the environment applies the action and gives the next observation."
OUTCOME_DOC = "[outcome] how the episode ended, from its last observation."


def join(records: Sequence[Record], episode: Episode, about: EnvSpec) -> tuple[Record, ...]:
    """Return one graph in which each step's observation comes from the step before it.

    ``records`` are the controller's: the input called "observation" of step t and, last among those of step
    t, the action. The last record of the result is the episode's outcome: the output that gets the feedback.
    """
    by_step: dict[int, list[Record]] = {}
    timeless: list[Record] = []
    for record in records:
        step = record.get("step")
        (timeless if step is None else by_step.setdefault(int(step), [])).append(record)
    joined = _Joined()
    for record in timeless:
        joined.copy(record)
    seen = joined.add(
        "observation", "operation", "reset", RESET_DOC, {}, _named(about, episode.observations[0]), 0
    )
    for step in sorted(by_step):
        action = joined.copy_step(by_step[step], seen)
        if action is None or step + 1 >= len(episode.observations):
            break
        value = _named(about, episode.observations[step + 1])
        inputs = {"observation": seen, "action": action}
        seen = joined.add("observation", "operation", "step", STEP_DOC, inputs, value, step + 1)
    last = {"observation": seen}
    if episode.fault is not None and joined.last is not None:
        last["failed"] = joined.last
    joined.add("outcome", "operation", "outcome", OUTCOME_DOC, last, episode.ended, None)
    return tuple(joined.records)


class _Joined:
    """Records under construction, with ids of their own."""

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
            {"id": number, "name": numbered, "kind": kind, "op": op, "doc": doc, "inputs": dict(inputs),
             "value": value, "step": step}
        )  # fmt: skip
        return number

    def copy(self, record: Record) -> int:
        number = len(self.records)
        inputs = {name: self._ids[parent] for name, parent in record["inputs"].items() if parent in self._ids}
        self._ids[record["id"]] = number
        self.records.append({**record, "id": number, "inputs": inputs})
        return number

    def copy_step(self, records: Sequence[Record], seen: int) -> int | None:
        """Copy one step's records, the observation replaced by ``seen``; return the action's id."""
        action = None
        for record in records:
            if record["kind"] == "input" and record["name"].startswith("observation"):
                self._ids[record["id"]] = seen
                continue
            number = self.copy(record)
            self.last = number
            if record["kind"] == "operation" and not record["name"].startswith("memory"):
                action = number
        return action


def _named(about: EnvSpec, observation: Array) -> str:
    parts = (f"{part.name}: {_short(observation[part.start : part.stop])}" for part in about.observation)
    return "{" + ", ".join(parts) + "}"


def _short(values: Array) -> str:
    numbers = ", ".join(f"{float(value):.4g}" for value in values)
    return numbers if len(values) == 1 else f"[{numbers}]"
