"""Recording one episode of a traced controller, inside the jail; imported before the locks close.

Each call's graph is written down when the call ends and then let go, so that a long episode keeps no nodes. What
leads from one call to the next is the memory: its record depends on its last record and on the operations that
were given it in the calls between, and a new one is made only when its content has changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from trace_robot.sandbox.graph import CALL_BYTES, MAX_CHARS, MAX_NODES
from trace_robot.trace.failure import ExecutionError
from trace_robot.trace.lift import lift, plain
from trace_robot.trace.nodes import ExceptionNode, MessageNode, Node, ParameterNode, constant, link
from trace_robot.trace.operation import Operation
from trace_robot.trace.records import Record, to_records
from trace_robot.trace.shorten import shorten
from trace_robot.trace.subgraph import ancestors

_ACT = "act"
_KEPT = "[memory] what the controller kept from the calls before."


class Memory(dict[str, Any]):
    """The controller's memory; a kind of its own, so that an operation is given it and not a copy."""


class Recorder:
    """One episode's records.

    aware: whether it takes nodes; else its whole call is one operation.
    """

    def __init__(self, *, aware: bool, memory_as_node: bool, doc: str) -> None:
        self._memory = Memory()
        self._aware = aware
        self._memory_as_node = memory_as_node
        self._op = Operation(_ACT, f"[{_ACT}] {doc}".rstrip())
        self._started = constant(None)._order  # nodes older than this belong to the module
        self._ids: dict[int, int] = {}  # a node's order -> its record
        self._counts: dict[str, int] = {}
        self._content = shorten(self._memory, MAX_CHARS)
        self._remembered = ""
        self._memory_id: int | None = None
        self._writers: dict[str, int] = {}  # operations that were given the memory since its last record
        self._step = -1
        self._made: list[Record] = []
        self._left = MAX_NODES

    def call(self, act: Callable[..., Any], observation: Any, *, takes_memory: bool) -> Any:
        """Call ``act`` and return its plain value; raises what it raises. `take` has the records of both."""
        self._step += 1
        remembers = self._content
        given = Node(observation, name="observation")
        memory = constant(self._memory, "memory")
        arguments: tuple[Any, ...] = (given, memory if self._memory_as_node else self._memory)
        if not self._aware:
            arguments = (observation, self._memory)
        parents = (given, memory) if takes_memory else (given,)
        keys = ("observation", "memory")[: len(parents)]
        try:
            value = act(*arguments[: len(parents)])
            output = lift(value)
            if not isinstance(output, MessageNode):
                output = link(output._data, self._op, keys, parents)
            self._record(output, remembers)
        except ExecutionError as error:
            self._record(error.exception_node, remembers)
            raise
        except Exception as error:
            description = f"[exception] {_ACT} raised an exception; {self._op.doc}"
            inputs = dict(zip(keys, parents, strict=True))
            text = f"({type(error).__name__}) {shorten(str(error))}"
            self._record(
                ExceptionNode(text, inputs=inputs, description=description, name="exception_act"), remembers
            )
            raise
        return plain(value)

    def take(self) -> bytes:
        """Return the records since the last call of this, as JSON; "" if they are too long to be sent."""
        made, self._made = self._made, []
        data = json.dumps(made).encode()
        if len(data) <= CALL_BYTES:
            return data
        self._left = 0
        return b""

    def _record(self, output: Node, remembers: str) -> None:
        nodes = ancestors(output)
        if len(nodes) > self._left:
            self._left = 0
            return
        writers: dict[str, int] = {}
        for node, record in zip(
            nodes, to_records([output], max_nodes=len(nodes), max_chars=MAX_CHARS), strict=True
        ):
            if node._data is self._memory and not isinstance(node, MessageNode):
                self._ids[node._order] = self._remember(remembers)
            elif node._order not in self._ids:
                self._add(node, record, nodes)
                if self._memory_id in self._made[-1]["inputs"].values():
                    writers[record["op"]] = self._made[-1]["id"]
        self._content = shorten(self._memory, MAX_CHARS)
        if self._content != remembers:
            self._writers |= writers or {_ACT: self._ids[output._order]}
        self._ids = {order: number for order, number in self._ids.items() if order < self._started}

    def _add(self, node: Node, record: Record, nodes: list[Node]) -> None:
        inputs = {key: self._ids[nodes[parent]._order] for key, parent in record["inputs"].items()}
        own = isinstance(node, ParameterNode) and node.trainable
        name = record["name"] if own else self._numbered(record["name"].rpartition(":")[0])
        step = None if node._order < self._started else self._step
        self._ids[node._order] = self._append({**record, "name": name, "inputs": inputs, "step": step})

    def _remember(self, content: str) -> int:
        """Return the record of the memory as this call got it; a new one only if that is new."""
        if self._memory_id is None:
            self._memory_id = self._append(self._memory_record("input", content, {}))
        elif content != self._remembered:
            inputs = {"memory": self._memory_id, **self._writers}
            self._memory_id = self._append(self._memory_record("operation", content, inputs))
        else:
            return self._memory_id
        self._remembered, self._writers = content, {}
        return self._memory_id

    def _memory_record(self, kind: str, content: str, inputs: Mapping[str, int]) -> Record:
        operation = ("memory", _KEPT) if kind == "operation" else ("", "")
        return {
            "name": self._numbered("memory"), "kind": kind, "op": operation[0], "doc": operation[1],
            "inputs": dict(inputs), "value": content, "step": self._step,
        }  # fmt: skip

    def _numbered(self, base: str) -> str:
        number = self._counts[base] = self._counts.get(base, -1) + 1
        return f"{base}:{number}"

    def _append(self, record: Record) -> int:
        number = MAX_NODES - self._left
        self._left -= 1
        self._made.append({**record, "id": number})
        return number
