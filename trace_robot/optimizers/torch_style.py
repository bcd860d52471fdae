"""The published way to use an optimizer: zero_feedback, backward, step, on parameter nodes changed in place."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_robot.errors import OrderError
from trace_robot.optimizers.problem import Candidate, Kind, Outcome, ParameterSpec, Problem, plain

if TYPE_CHECKING:
    from trace_robot.trace import Node, ParameterNode, Subgraph


def problem_of(
    parameters: Iterable[Node], context: str = "", objective: str = ""
) -> tuple[Problem, dict[str, ParameterNode]]:
    """Return the trainable nodes as a problem, and by the names they have in it."""
    from trace_robot.trace.node_types import ParameterNode

    found = list(dict.fromkeys(p for p in parameters if isinstance(p, ParameterNode) and p.trainable))
    keys = [node.key for node in found]
    nodes = {
        node.py_name if keys.count(key) > 1 else key: node for key, node in zip(keys, found, strict=True)
    }
    specs = tuple(_spec(name, node) for name, node in nodes.items())
    return Problem(specs, context, objective, enough=None), nodes


def _spec(name: str, node: ParameterNode) -> ParameterSpec:
    told = node._about is not None and bool(node._about[0])
    description = node.description.partition("] ")[2] if told else ""
    kind: Kind = "code" if node.function else _kind(node.data)
    return ParameterSpec(name, kind, node.data, description, node.constraint, node.function)


def _kind(value: Any) -> Kind:
    kinds: tuple[tuple[Any, Kind], ...] = (
        (bool, "bool"),
        ((int, float, np.number), "number"),
        (str, "text"),
        (np.ndarray, "array"),
        (dict, "dict"),
    )
    return next((kind for type_, kind in kinds if isinstance(value, type_)), "list")


class TorchStyleOptimizer:
    """The trio on top of ask and tell, for optimizers made from parameter nodes.

    Without a score, from ``step(score=...)`` or a number as feedback, the last values are worked on next.
    """

    problem: Problem
    nodes: dict[str, ParameterNode]
    _done: str
    _waiting: list[Candidate]

    if TYPE_CHECKING:

        def ask(self) -> list[Candidate]: ...
        def learn(self, candidate: Candidate, outcome: Outcome) -> None: ...
        def new_id(self) -> int: ...

    @property
    def parameters(self) -> list[ParameterNode]:
        return list(self.nodes.values())

    def zero_feedback(self) -> None:
        for node in self.nodes.values():
            node.zero_feedback()

    def backward(self, node: Node, feedback: Any, **options: Any) -> Any:
        """Hand ``feedback`` on ``node`` to the parameters; options as for ``node.backward``."""
        return node.backward(feedback, **options)

    def subgraph(self) -> Subgraph:
        """Return the union of what ``backward`` brought since ``zero_feedback``."""
        from trace_robot.trace.backward import merge

        brought = (given for node in self.nodes.values() for given in node.feedback.values())
        return merge(each for given in brought for each in given)

    def summarize(self) -> Any:
        """Return the present feedback's Summary; needs no model."""
        return self.subgraph().summary()

    def step(self, score: float | None = None) -> dict[str, Any]:
        """Learn from the feedback, ask for new values and put them into the nodes; return what changed.

        Raises OrderError without feedback, ModelError without an answer; the nodes are then as before.
        """
        subgraph = self.subgraph()
        if not subgraph:
            raise OrderError(
                "step needs feedback; call backward(output, feedback) on the optimizer before it"
            )
        self._done = ""
        candidate = self._present()
        given = [feedback for _, feedback in subgraph.outputs]
        self.learn(
            candidate, Outcome(candidate.id, _score(score, given), subgraph.feedback, subgraph=subgraph)
        )
        asked = self.ask()
        if not asked:
            return {}
        before = candidate.values
        changed = {n: v for n, v in asked[0].values.items() if repr(plain(v)) != repr(plain(before[n]))}
        for name, value in changed.items():
            self.nodes[name].data = value
        return changed

    def _present(self) -> Candidate:
        """Return the candidate whose values the nodes have, a new one if somebody else changed them."""
        values = {name: node.data for name, node in self.nodes.items()}
        asked = self._waiting.pop() if self._waiting else self.problem.start()
        self._waiting.clear()
        if repr(plain(asked.values)) == repr(plain(values)):
            return asked
        return Candidate(self.new_id(), asked.id, values, "changed by hand", "given")

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Copy everything but the nodes and the model, which stay the same objects."""
        made = copy.copy(self)
        memo[id(self)] = made
        shared = ("nodes", "model", "problem", "strategy", "check_code")
        for name, value in vars(self).items():
            if name not in shared:
                setattr(made, name, copy.deepcopy(value, memo))
        return made


def _score(score: float | None, feedback: Iterable[Any]) -> float:
    if score is not None:
        return float(score)
    numbers = [float(f) for f in feedback if isinstance(f, int | float) and not isinstance(f, bool)]
    return sum(numbers) / len(numbers) if numbers else math.nan


def as_problem(
    given: Problem | Iterable[Node], told: Mapping[str, str]
) -> tuple[Problem, dict[str, ParameterNode]]:
    """Return a problem as it is, or made from nodes with ``told`` context and objective."""
    if isinstance(given, Problem):
        return given, {}
    return problem_of(given, **told)
