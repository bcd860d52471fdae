"""Use an optimizer as in PyTorch: zero_feedback, backward, step.

This is the published way (arXiv:2406.16218, section 2), on top of ask and tell.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trace_robot.errors import OrderError, UsageError
from trace_robot.llm.model import ChatModel
from trace_robot.optimizers.problem import Candidate, Kind, Outcome, ParameterSpec, Problem, plain
from trace_robot.optimizers.prompt import INSTRUCTION
from trace_robot.optimizers.prompt.build import checked_mask
from trace_robot.optimizers.published import (
    MISSING,
    FunctionFeedback,
    PrintingModel,
    ProblemText,
    as_chat_model,
    node_to_function_feedback,
    problem_text,
    require_verbose,
)
from trace_robot.trace.backward import Subgraph, merge
from trace_robot.trace.node import Node
from trace_robot.trace.node_types import ParameterNode
from trace_robot.trace.propagators import GraphPropagator


def problem_of(
    parameters: Iterable[Node], context: str = "", objective: str = ""
) -> tuple[Problem, dict[str, ParameterNode]]:
    """Return nodes as a problem.

    Args:
        parameters: nodes; those that are not trainable parameters are left out, doubles counted once.
        context: what is known of the problem.
        objective: what to do, or what the score measures.

    Returns:
        The problem, which no success solves, and its nodes by the names they have in it.

    Raises:
        ValueMismatchError: no node is a trainable parameter.
    """
    trainable = list(dict.fromkeys(p for p in parameters if isinstance(p, ParameterNode) and p.trainable))
    keys = [node.key for node in trainable]
    # The short name where it is unique, else the one with a running number.
    nodes = {
        node.py_name if keys.count(key) > 1 else key: node for key, node in zip(keys, trainable, strict=True)
    }
    specs = tuple(_spec(name, node) for name, node in nodes.items())
    return Problem(specs, context, enough=None, instruction=instruction_of(objective)), nodes


def instruction_of(objective: str) -> str:
    """Return the instruction of a prompt with an objective, "" for the prompt's own."""
    if not objective or objective == INSTRUCTION:
        return ""
    # As ``default_objective + "..."`` of published programs. Others leave out how a problem is to be read.
    return objective if INSTRUCTION in objective else f"{INSTRUCTION}\nObjective: {objective}"


def _spec(name: str, node: ParameterNode) -> ParameterSpec:
    described = node._about is not None and bool(node._about[0])  # else the node makes a description up
    description = node.description.partition("] ")[2] if described else ""
    kind: Kind = "code" if node.function else _kind(node.data)
    return ParameterSpec(name, kind, node.data, description, node.constraint, node.function)


def _kind(value: Any) -> Kind:
    kinds: tuple[tuple[Any, Kind], ...] = (
        (bool, "bool"),  # before int, of which it is a subclass
        ((int, float, np.number), "number"),
        (str, "text"),
        (np.ndarray, "array"),
        (dict, "dict"),
    )
    return next((kind for type_, kind in kinds if isinstance(value, type_)), "list")


class TorchStyleOptimizer:
    """``zero_feedback``, ``backward`` and ``step`` for optimizers made from nodes.

    Without a score, from ``step(score=...)`` or a number as feedback, the last values are worked on next.

    Attributes:
        problem: the parameters.
        nodes: those of the parameters, by their names in ``problem``; empty for an optimizer made from a problem.
    """

    default_objective = INSTRUCTION

    problem: Problem
    nodes: dict[str, ParameterNode]
    model: ChatModel | None
    mask: tuple[str, ...]
    propagator: GraphPropagator
    _done: str
    _waiting: list[Candidate]

    if TYPE_CHECKING:

        def ask(self) -> list[Candidate]: ...
        def learn(self, candidate: Candidate, outcome: Outcome) -> None: ...
        def new_id(self) -> int: ...
        def _asked(self) -> ChatModel: ...

    else:

        def __getattr__(self, name: str) -> Any:
            reason = f": {MISSING[name]}" if name in MISSING else ""
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{reason}")

    @property
    def objective(self) -> str:
        """What the model is asked to do.

        It may be set, as to ``default_objective`` and more.
        """
        return self.problem.instruction or self.default_objective

    @objective.setter
    def objective(self, text: str) -> None:
        self.problem = replace(self.problem, instruction=instruction_of(text))

    @property
    def llm(self) -> ChatModel | None:
        """The model, by its published name. A function may be set, too."""
        return self.model

    @llm.setter
    def llm(self, model: Any) -> None:
        self.model = as_chat_model(model)

    @property
    def parameters(self) -> list[ParameterNode]:
        """The nodes whose values ``step`` changes."""
        return list(self.nodes.values())

    def zero_feedback(self) -> None:
        """Forget the feedback of the parameters, as before each round."""
        for node in self.nodes.values():
            node.zero_feedback()

    def backward(self, node: Node, feedback: Any = "", **options: Any) -> Any:
        """Propagate feedback on a node to the parameters.

        Args:
            node: the output of the traced program.
            feedback: a text, or a number that is also the score.
            options: as for ``node.backward``.

        Returns:
            What ``node.backward`` returns.
        """
        return node.backward(feedback, **{"propagator": self.propagator, **options})

    def subgraph(self) -> Subgraph:
        """Return the union of what ``backward`` propagated since ``zero_feedback``."""
        feedback = (subgraphs for node in self.nodes.values() for subgraphs in node.feedback.values())
        return merge(subgraph for subgraphs in feedback for subgraph in subgraphs)

    @property
    def trace_graph(self) -> Subgraph:
        """As ``subgraph()``, the published name."""
        return self.subgraph()

    def summarize(self) -> FunctionFeedback:
        """Return the present feedback with its graph as code and values.

        No model is asked.
        """
        return node_to_function_feedback(self.subgraph())

    def problem_instance(self, summary: FunctionFeedback, mask: Collection[str] | None = None) -> ProblemText:
        """Return a summary as the parts of a problem.

        They are whole; ``messages()`` is what the model is asked.

        Args:
            summary: of ``summarize``.
            mask: names of parts that are left empty, such as "#Others".
        """
        return problem_text(summary, self.objective, checked_mask(mask or ()))

    def step(
        self,
        score: float | None = None,
        *,
        verbose: bool | str = False,
        mask: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Learn from the feedback, ask for new values and put them into the nodes.

        Args:
            score: of the present values; None takes the mean of the numbers among the feedback.
            verbose: print prompts and replies, or for "output" the replies alone.
            mask: names of parts that this prompt leaves out, in place of the optimizer's.

        Returns:
            The new values of the parameters that changed, by name.

        Raises:
            OrderError: there is no feedback. The nodes are then as before.
            ModelError: the model does not answer. The nodes are then as before.
        """
        changed = self._proposed(score, verbose, mask)
        for name, value in changed.items():
            self.nodes[name].data = value
        return changed

    def propose(
        self,
        score: float | None = None,
        *,
        verbose: bool | str = False,
        mask: Collection[str] | None = None,
    ) -> dict[ParameterNode, Any]:
        """Do as ``step``, and return the new values by node without putting them in.

        Args:
            score: as of ``step``.
            verbose: as of ``step``.
            mask: as of ``step``.
        """
        return {self.nodes[name]: value for name, value in self._proposed(score, verbose, mask).items()}

    def update(self, update_dict: Mapping[ParameterNode, Any]) -> None:
        """Put values into nodes, such as those of ``propose``."""
        for node, value in update_dict.items():
            if node.trainable:
                node.data = value

    def _proposed(
        self, score: float | None, verbose: bool | str, mask: Collection[str] | None
    ) -> dict[str, Any]:
        if isinstance(score, bool | str):
            raise UsageError(f"step takes a score, got {score!r}; write step(verbose={score!r})")
        verbose = require_verbose(verbose)
        usual = self.mask, self.model
        try:
            if mask is not None:
                self.mask = checked_mask(mask)
            if verbose:
                self.model = PrintingModel(self._asked(), verbose, print)
            return self._changed(score)
        finally:
            self.mask, self.model = usual[0], usual[1] or getattr(self.model, "model", self.model)

    def _changed(self, score: float | None) -> dict[str, Any]:
        subgraph = self.subgraph()
        if not subgraph:
            raise OrderError(
                "step needs feedback; call backward(output, feedback) on the optimizer before it"
            )
        self._done = ""  # feedback from outside overrules an end
        candidate = self._present()
        value = _score(score, [feedback for _, feedback in subgraph.outputs])
        self.learn(candidate, Outcome(candidate.id, value, subgraph.feedback, subgraph=subgraph))
        asked = self.ask()
        if not asked:
            return {}
        before = candidate.values
        # By repr: arrays have no single truth value, and nan is to equal nan.
        return {n: v for n, v in asked[0].values.items() if repr(plain(v)) != repr(plain(before[n]))}

    def _present(self) -> Candidate:
        """Return the candidate whose values the nodes have, a new one for other values."""
        values = {name: node.data for name, node in self.nodes.items()}
        # The user may have assigned to the nodes since the last step.
        asked = self._waiting.pop() if self._waiting else self.problem.start()
        self._waiting.clear()
        if repr(plain(asked.values)) == repr(plain(values)):
            return asked
        return Candidate(self.new_id(), asked.id, values, "changed by hand", "given")

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Copy everything but the nodes and the model, which stay the same objects."""
        duplicate = copy.copy(self)
        memo[id(self)] = duplicate
        shared = ("nodes", "model", "problem", "strategy", "check_code", "propagator")
        for name, value in vars(self).items():
            if name not in shared:
                setattr(duplicate, name, copy.deepcopy(value, memo))
        return duplicate


def _score(score: float | None, feedback: Iterable[Any]) -> float:
    if score is not None:
        return float(score)
    numbers = [float(f) for f in feedback if isinstance(f, int | float) and not isinstance(f, bool)]
    return sum(numbers) / len(numbers) if numbers else math.nan


def as_problem(
    parameters: Problem | Iterable[Node], texts: Mapping[str, str]
) -> tuple[Problem, dict[str, ParameterNode]]:
    """Return a problem as it is, or make one from nodes.

    Args:
        parameters: a problem or nodes.
        texts: "context" and "objective" of a problem made from nodes.

    Returns:
        As ``problem_of``, without nodes for a problem.
    """
    if isinstance(parameters, Problem):
        given = [name for name, text in texts.items() if text]
        if given:
            raise UsageError(f"a problem has its own {given[0]}; give it to Problem({given[0]}=...)")
        return parameters, {}
    if isinstance(parameters, Node):
        raise UsageError(f"parameters must be a list of nodes, got the node {parameters.name}; write [it]")
    return problem_of(parameters, **texts)


def graph_propagator(propagator: Any) -> GraphPropagator:
    """Return the rule by which an optimizer hands feedback on, the usual one for None.

    Raises:
        UsageError: it does not hand on whole graphs.
    """
    if propagator is None or isinstance(propagator, GraphPropagator):
        return propagator or GraphPropagator()
    raise UsageError(
        f"an optimizer needs a GraphPropagator, got {propagator!r:.80}; node.backward takes others"
    )
