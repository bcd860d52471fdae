"""Recording the graphs of one episode of a traced controller, inside the child.

Imported before the fork, and only for a controller that is traced. Each call's graph is written down when the call
ends and then dropped, so that a long episode keeps no nodes. What leads from one call to the next is the memory: its
record depends on its last record and on the operations that got it in the calls between, and a new one is made only
when its content has changed.

Most calls of a controller do the same operations on other values, so a call is a template, sent once, and texts to
fill in; `sandbox.protocol` has the format.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from trace_robot.sandbox.protocol import CALL_BYTES, DOC_CHARS, MAX_NODES, NAME_CHARS, VALUE_CHARS
from trace_robot.trace.errors import ExecutionError
from trace_robot.trace.node_types import ExceptionNode, MessageNode, Node, ParameterNode, constant, link
from trace_robot.trace.operation import Operation
from trace_robot.trace.serialization import kind_of
from trace_robot.trace.shortening import shorten
from trace_robot.trace.wrapping import lift, plain

_ACT = "act"
_KEPT = "[memory] what the controller kept from the calls before."
_OBSERVATION = "observation"
# Of the text of a memory that is too long: characters of new text and of another value, items of a list.
TEXT_CHARS, ITEM_CHARS, NEW_ITEMS, FEW_ITEMS = 200, 60, 20, 20
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


class Memory(dict[str, Any]):
    """The controller's memory.

    A class apart, because the tracer passes a plain dict to operations as a copy.
    """


class GraphRecorder:
    """Records the graphs of one episode.

    Args:
        aware: whether the controller takes nodes; if not, its whole call is one operation.
        memory_as_node: whether it gets its memory as a node.
        doc: the docstring of ``act``.
    """

    def __init__(self, *, aware: bool, memory_as_node: bool, doc: str) -> None:
        self._memory = Memory()
        self._aware = aware
        self._memory_as_node = memory_as_node
        self._op = Operation(_ACT, f"[{_ACT}] {doc}".rstrip())
        self._started = constant(None)._order  # nodes older than this belong to the module
        self._ids: dict[int, int] = {}  # a node's order -> its record, for nodes of the module
        self._lengths: dict[Any, int] = {}  # of lists and texts in the memory
        self._content = self._memory_text()
        self._memory_content = ""  # in its last record
        self._memory_id: int | None = None
        self._writers: dict[str, int] = {}  # operations that got the memory since its last record
        self._step = -1
        self._count = 0
        self._full = False
        self._forms: dict[tuple[Any, ...], _Form] = {}
        self._templates: dict[tuple[Any, ...], int] = {}
        self._written = b""

    def call(self, act: Callable[..., Any], observation: Any, *, takes_memory: bool) -> Any:
        """Call ``act`` and return its plain value.

        `take` has the records, also of a call that raised.

        Args:
            act: the controller's function.
            observation: an array, or a dict of arrays and floats.
            takes_memory: whether ``act`` has a second argument.

        Raises:
            BaseException: whatever ``act`` raises.
        """
        self._step += 1
        content = self._content
        observed = Node(observation, name=_OBSERVATION)
        memory = constant(self._memory, "memory")
        arguments: tuple[Any, ...] = (observed, memory if self._memory_as_node else self._memory)
        if not self._aware:
            arguments = (observation, self._memory)
        parents = (observed, memory) if takes_memory else (observed,)
        keys = ("observation", "memory")[: len(parents)]
        try:
            value = act(*arguments[: len(parents)])
            output = lift(value)
            if not isinstance(output, MessageNode):
                output = link(output._data, self._op, keys, parents)
            self._record(output, content)
        except ExecutionError as error:
            self._record(error.exception_node, content)
            raise
        except Exception as error:
            description = f"[exception] {_ACT} raised an exception; {self._op.doc}"
            inputs = dict(zip(keys, parents, strict=True))
            text = f"({type(error).__name__}) {shorten(str(error))}"
            self._record(
                ExceptionNode(text, inputs=inputs, description=description, name="exception_act"), content
            )
            raise
        return plain(value)

    def take(self) -> bytes:
        """Return the records of the last call, b"" if none or too many to be sent."""
        records, self._written = self._written, b""
        if len(records) <= CALL_BYTES:
            return records
        self._full = True
        return b""

    def _record(self, output: Node, content: str) -> None:
        """Write down the graph of one call, which started with ``content`` in the memory."""
        ids = self._ids
        nodes = self._new(output)
        if self._full or self._count + len(nodes) > MAX_NODES:
            self._full = True
            return
        call = _Call(self._count)
        local: dict[int, int] = {}
        writers: dict[str, int] = {}
        for node in nodes:
            order = node._order
            if node._data is self._memory and not isinstance(node, MessageNode):
                local[order] = self._record_memory(content, call)
                continue
            form = self._form(node)
            number = call.number
            references = []
            for parent in node._parents:
                known = local.get(parent._order)
                references.append(ids[parent._order] if known is None else known - number)
                if known is not None and known == self._memory_id:
                    writers[form.operation] = number
            (ids if order < self._started else local)[order] = number
            call.add(form, references, self._text(node))
        self._written = self._encoded(call)
        self._count = call.number
        self._content = self._memory_text()
        if self._content != content:
            self._writers |= writers or {_ACT: local.get(output._order, ids.get(output._order, 0))}

    def _new(self, output: Node) -> list[Node]:
        """Return ``output`` and its ancestors that have no record yet, parents first."""
        ids, nodes = self._ids, [output]
        seen = {output._order}
        for node in nodes:  # which grows on the way
            for parent in node._parents:
                order = parent._order
                if order not in seen and order not in ids:
                    seen.add(order)
                    nodes.append(parent)
        nodes.sort(key=_order)
        return nodes if output._order not in ids else [node for node in nodes if node is not output]

    def _text(self, node: Node) -> str:
        """Return a short text of the value, "" for an observation, which the host knows."""
        if node._about is None and type(node) is Node and node.base_name == _OBSERVATION:
            return ""
        code = isinstance(node, ParameterNode) and node.function
        return str(node._data) if code else shorten(node._data, VALUE_CHARS)

    def _form(self, node: Node) -> _Form:
        """Return what all nodes like this one have in common."""
        own = node._order < self._started
        # Describing a node takes far longer than this look-up, and nearly all nodes are like one of the last call.
        if isinstance(node, MessageNode):
            hidden = len(node._parents) != len(node._keys)
            keys = tuple(key for key, _ in node.edges()) if hidden else node._keys
            spec = None if node._about is None else node.description
            key: tuple[Any, ...] = (type(node), node._op, keys, spec, own)
        else:
            key = (type(node), node.base_name, own, node._order if isinstance(node, ParameterNode) else 0)
        return self._forms.get(key) or self._forms.setdefault(key, _Form(node, own))

    def _memory_text(self) -> str:
        """Return the memory's content as text, of a long one what is new in it.

        A program that keeps a log would else show its first lines in every record, and none of the later ones.
        """
        text, before = shorten(self._memory, VALUE_CHARS), self._lengths
        growing = {key: value for key, value in self._memory.items() if type(value) in (list, str)}
        self._lengths = {key: len(value) for key, value in growing.items()}
        if len(text) < VALUE_CHARS and all(
            type(value) is list or len(value) <= TEXT_CHARS for value in growing.values()
        ):
            return text
        new, rest = [], []
        for key, value in self._memory.items():
            first = before.get(key, 0)
            if key not in growing or (type(value) is list and len(value) <= first and len(value) < FEW_ITEMS):
                rest.append(f"{shorten(key)!r}: {shorten(value, ITEM_CHARS)}")
            elif len(value) > first:
                first = max(first, len(value) - (NEW_ITEMS if type(value) is list else TEXT_CHARS))
                tail = value[first:]
                shown = repr(tail) if isinstance(tail, str) else shorten(tail, TEXT_CHARS)
                new.append(f"'{shorten(key)}[{first}:]': {shown}")
        return shorten("{" + ", ".join([*new, *rest]) + "}", VALUE_CHARS)

    def _record_memory(self, content: str, call: _Call) -> int:
        """Return the number of the memory's record, a new one only if its content is new."""
        number = call.number
        if self._memory_id is None:
            call.add(_MEMORY, (), content)
        elif content != self._memory_content:
            inputs = {"memory": self._memory_id, **self._writers}
            form = self._forms.get(("memory", *inputs)) or self._forms.setdefault(
                ("memory", *inputs), _Form.of_memory(tuple(inputs))
            )
            call.add(form, [parent - number for parent in inputs.values()], content)
        else:
            return self._memory_id
        self._memory_id, self._memory_content, self._writers = number, content, {}
        return number

    def _encoded(self, call: _Call) -> bytes:
        """Return one call as JSON: step, template (or its number), texts."""
        key = tuple(call.shape)
        template: Any = self._templates.get(key)
        if template is None:
            self._templates[key] = len(self._templates)
            template = call.template()
        return _ENCODE([self._step, template, call.texts]).encode()


class _Form:
    """What nodes of one kind have in common: all but their values and references."""

    __slots__ = ("data", "keys", "operation")

    def __init__(self, node: Node, own: bool) -> None:
        known = isinstance(node, ParameterNode) and node.trainable
        message = isinstance(node, MessageNode)
        self.operation = node._op.base if isinstance(node, MessageNode) else ""
        self.keys = tuple(key for key, _ in node.edges()) if isinstance(node, MessageNode) else ()
        base = node.key if isinstance(node, ParameterNode) else self.operation or node.base_name
        self.data: dict[str, Any] = {
            "name": base[:NAME_CHARS],
            "numbered": not known,
            "kind": kind_of(node),
            "op": self.operation[:NAME_CHARS],
            "doc": node.description[:DOC_CHARS] if message else "",
            "timeless": own,
        }

    @classmethod
    def of_memory(cls, keys: tuple[str, ...]) -> _Form:
        """Return the form of a memory's record whose inputs are called ``keys``."""
        form = cls.__new__(cls)
        form.operation, form.keys = ("memory" if keys else ""), keys
        form.data = {
            "name": "memory",
            "numbered": True,
            "kind": "operation" if keys else "input",
            "op": form.operation,
            "doc": _KEPT if keys else "",
            "timeless": False,
        }
        return form


_MEMORY = _Form.of_memory(())


class _Call:
    """The records of one call under construction.

    shape: forms and references, by which calls that did the same operations are recognized. texts: their values.
    """

    __slots__ = ("_forms", "number", "shape", "texts")

    def __init__(self, number: int) -> None:
        self.number = number
        self.shape: list[Any] = []
        self.texts: list[str] = []
        self._forms: list[tuple[_Form, Any]] = []

    def add(self, form: _Form, references: Any, text: str) -> None:
        """Add a record.

        Args:
            form: what it has in common with others.
            references: of its inputs, in the order of the form's keys.
            text: its value.
        """
        self.shape.append(form)
        self.shape += references
        self.texts.append(text)
        self._forms.append((form, references))
        self.number += 1

    def template(self) -> list[Mapping[str, Any]]:
        """Return the records without their values."""
        return [
            {
                **form.data,
                "inputs": {key[:NAME_CHARS]: at for key, at in zip(form.keys, references, strict=True)},
            }
            for form, references in self._forms
        ]


def _order(node: Node) -> int:
    return node._order
