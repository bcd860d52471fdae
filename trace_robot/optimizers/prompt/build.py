"""Build OptoPrime's prompt, a problem instance within a budget of tokens.

The parts are those of arXiv:2406.16218, section 4, and a history of other trials.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trace_robot.errors import UnknownNameError
from trace_robot.llm.metering import message_tokens, shorten, token_bound
from trace_robot.llm.model import Message, system, user
from trace_robot.optimizers import code
from trace_robot.optimizers.problem import ParameterSpec, Problem, plain
from trace_robot.optimizers.prompt import (
    FIRST_DOCSTRING,
    FORMAT,
    GRAPH_PARTS,
    INSTRUCTION,
    KEPT,
    MODULE,
    NEW_PARTS,
    PARTS,
)
from trace_robot.optimizers.prompt.graph_text import HEADING_TOKENS, render_graph
from trace_robot.optimizers.prompt.reply import describe
from trace_robot.optimizers.prompt.trial_text import (
    feedback,
    fit_history,
    history_entries,
    rejected,
    remarks,
)
from trace_robot.optimizers.prompt.values import fence, one_line
from trace_robot.optimizers.strategies import Trial

if TYPE_CHECKING:
    from trace_robot.optimizers.prompt.worth import Traces

MARGIN = 20  # tokens that stay free
VALUES = (
    "all values of a reply: at most {most} tokens together, of four letters, one digit or one sign each; longer ones"
    " are refused unrun"
)


def checked_mask(mask: Collection[str]) -> tuple[str, ...]:
    """Return the names of parts to leave out as a tuple.

    Raises:
        UnknownNameError: a name is not in PARTS.
    """
    for name in mask:
        if name not in PARTS and name not in NEW_PARTS and name not in MODULE:
            raise UnknownNameError(f"no part {name!r} in the prompt; known: {', '.join(PARTS)}")
    return tuple(mask)


def hides_graph(mask: Collection[str]) -> bool:
    """Return whether a prompt leaves out all that is of the trace graph."""
    return set(mask).issuperset(GRAPH_PARTS)


@dataclass(frozen=True, slots=True)
class ProblemInstance:
    """What a prompt is made from: a problem and the trials so far.

    Args:
        problem: the parameters, the context and the objective.
        parent: the trial whose values, feedback and graph are shown; None before the first one.
        history: other trials, the most useful first.
        rejected: the problems of recent replies, each as one text.
        mask: names of PARTS to leave out.
        traces: a cache, empty at first, if the prompt is made of whole lines by their worth (``worth``); None for one
            as in 0.1.
        others: by worth, all trials in the order of evaluation; the newest one shows what the last answer did.
        most_value_tokens: by worth, what the values may take in a reply; 0 to say nothing about it.
    """

    problem: Problem
    parent: Trial | None
    history: Sequence[Trial] = ()
    rejected: Sequence[str] = ()
    mask: Collection[str] = ()
    traces: Traces | None = None
    others: Sequence[Trial] = ()
    most_value_tokens: int = 0

    @property
    def values(self) -> Mapping[str, Any]:
        """The present value of every parameter."""
        return self.problem.values if self.parent is None else self.parent.candidate.values


def system_prompt(mask: Collection[str] = ()) -> str:
    """Return the system message: the parts of a problem, and the form of an answer."""
    parts = "\n".join(f"{name}: {meaning}" for name, meaning in PARTS.items() if name not in mask)
    head = "You improve a program by choosing new values for its variables. A problem has these parts:"
    return f"{head}\n\n{parts}\n\nValues are written as (type) name = value.\n\n{FORMAT.strip()}"


def build(instance: ProblemInstance, budget: int) -> list[Message]:
    """Return the messages that ask a model for new values.

    Args:
        instance: what is shown.
        budget: most tokens of all messages together, by the upper bound. Variables and constraints are always
            whole, even where they alone take more. The rest gives way: the graph shows fewer steps, the history
            fewer trials, long feedback and context lose their middle.

    Returns:
        The system message and the user's message.
    """
    # Everything that does not depend on the room left is made first; below, only tokens are counted.
    head = system(system_prompt(instance.mask))
    sections = whole_sections(instance)
    cuttable = _cuttable_sections(instance)
    noted = remarks(instance.parent, instance.history)
    history = history_entries(instance.problem, instance.parent, instance.history)
    whole = [head, _assemble(instance, sections)]
    room = budget - message_tokens(whole) - MARGIN - token_bound(noted)
    for name, (text, part, least) in cuttable.items():
        sections[name] = shorten(text, max(room // part, least))
        room -= token_bound(sections[name]) + HEADING_TOKENS if sections[name] else 0
    sections["#Feedback"] = "\n".join(
        filter(None, [sections["#Feedback"], noted])
    )  # remarks are always whole
    # The graph grows into any room, so the history keeps up to a third of it and takes what the graph leaves.
    kept_for_history = min(token_bound(fit_history(history, room)), room // 3)
    graph = _graph(instance, room - kept_for_history)
    room -= sum(token_bound(text) + HEADING_TOKENS for text in graph.values())
    sections.update(graph)
    sections["#History"] = fit_history(history, room)
    return [head, _assemble(instance, sections)]


def whole_sections(instance: ProblemInstance) -> dict[str, str]:
    """Return the sections that are never shortened."""
    problem, values = instance.problem, instance.values
    return {
        "#Instruction": _instruction(problem),
        "#Variables": "\n".join(variable(spec, values[spec.name]) for spec in problem.parameters),
        "#Constraints": "\n".join(filter(None, [constraints(problem, values), _most(instance)])),
    }


def _instruction(problem: Problem) -> str:
    if problem.instruction:
        return problem.instruction
    return INSTRUCTION + (f"\nThe score: {problem.objective}" if problem.objective else "")


def _most(instance: ProblemInstance) -> str:
    """Return the line on how long the values of a reply may be."""
    most = instance.most_value_tokens
    return VALUES.format(most=most) if most else ""


def _cuttable_sections(instance: ProblemInstance) -> dict[str, tuple[str, int, int]]:
    """Return the sections that may lose their middle.

    Each is its text, the part of the room that it may take (3 for a third), and the tokens it gets in any case.
    """
    return {
        "#Feedback": (feedback(instance.parent), 3, 60),
        "#Context": (instance.problem.context, 3, 60),
        "#Rejected": (rejected(instance.rejected), 6, 0),
    }


def _graph(instance: ProblemInstance, room: int) -> dict[str, str]:
    if instance.parent is None or not instance.parent.graph:
        return {}
    names = [spec.name for spec in instance.problem.parameters]
    return render_graph(instance.parent.graph, room, variables=names, mask=instance.mask)


def _assemble(instance: ProblemInstance, sections: Mapping[str, str]) -> Message:
    names = [name for name in PARTS if sections.get(name) and name not in instance.mask]
    return user("\n\n".join([*(f"{name}\n{sections[name]}" for name in names), "Your answer:"]))


def variable(spec: ParameterSpec, value: Any) -> str:
    """Return one entry of #Variables.

    It is exact, not rounded: what a reply repeats unchanged stays unchanged.

    Args:
        spec: the parameter.
        value: its present value; source and text go into a fence, the rest is a Python literal.
    """
    if spec.kind == "code":
        return f"(code) {spec.name} =\n{fence(str(value))}"
    if spec.kind == "text":
        return f"(text) {spec.name} =\n{fence(str(value), '')}"
    return f"({spec.kind}) {spec.name} = {plain(value)!r}"


def beside_variables(problem: Problem, values: Mapping[str, Any]) -> list[str]:
    """Return what the functions of #Variables use beside them in their file.

    Args:
        problem: the parameters, and what stands beside them.
        values: the present values.

    Returns:
        A line on what becomes of it, and a text for each definition, indented so that none of its lines is a heading
        of the prompt; nothing where nothing is used.
    """
    sources = [str(values[spec.name]) for spec in problem.parameters if spec.kind == "code"]
    blocks = code.used_beside(problem.beside, sources)
    return [KEPT, *(textwrap.indent(block, "    ") for block in blocks)] if blocks else []


def constraints(problem: Problem, values: Mapping[str, Any]) -> str:
    """Return what each variable must obey, a line each.

    Args:
        problem: the parameters with their constraints and descriptions.
        values: the present values. The docstring of a starting value is quoted where the present one lacks it.

    Returns:
        The lines of the variables of which something is asked.
    """
    lines = (_constraint(spec, values[spec.name]) for spec in problem.parameters)
    return "\n".join(filter(None, lines))


def _constraint(spec: ParameterSpec, value: Any) -> str:
    parts = [describe(spec.constraint), one_line(spec.description, 300)]
    if spec.kind == "code":
        tree = code.parse(str(spec.value))
        function = None if isinstance(tree, str) else code.functions(tree).get(spec.function)
        if function is not None:
            parts.insert(0, f"keep {spec.function}({code.signature(function)})")
            docstring = ast.get_docstring(function) or ""
            # A rewritten function often lacks the docstring that states its purpose.
            if " ".join(docstring.split())[:60] not in " ".join(str(value).split()):
                parts.append(FIRST_DOCSTRING + one_line(docstring, 400))
    text = "; ".join(filter(None, parts))
    return f"({spec.kind}) {spec.name}: {text}" if text else ""


def tokens_of_values(values: Mapping[str, Any]) -> int:
    """Return an upper bound of the tokens of all values together."""
    return sum(token_bound(str(plain(value))) for value in values.values())
