"""What OptoPrime shows a model: the parts of the paper's problem instance, within a budget of tokens."""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trace_robot.errors import UnknownNameError
from trace_robot.llm.model import Message, system, user
from trace_robot.llm.tokens import message_tokens, shorten, token_bound
from trace_robot.optimizers import code
from trace_robot.optimizers.problem import ParameterSpec, Problem, plain
from trace_robot.optimizers.prompt.graph_text import render_graph
from trace_robot.optimizers.prompt.reply import describe
from trace_robot.optimizers.prompt.values import indented, number, one_line, variable
from trace_robot.optimizers.strategies import Trial

PARTS = {
    "#Instruction": "what to do",
    "#Context": "what is known of the problem",
    "#Code": "the calls that the program made, in order; repeated steps are folded",
    "#Documentation": "what the functions in #Code do",
    "#Variables": "what you can change, with the present values",
    "#Constraints": "what each new value must obey",
    "#Inputs": "values that went in and cannot be changed",
    "#Others": "values on the way, by step where steps repeat; rounded",
    "#Outputs": "what came out",
    "#Feedback": "what came of it; a larger score is better",
    "#History": "other trials: what was changed and what came of it",
    "#Rejected": "recent replies that could not be used, and why",
}


def checked_mask(mask: Collection[str]) -> tuple[str, ...]:
    """Return ``mask`` as a tuple. Raises UnknownNameError for a part that is not in PARTS."""
    for name in mask:
        if name not in PARTS:
            raise UnknownNameError(f"no part {name!r} in the prompt; known: {', '.join(PARTS)}")
    return tuple(mask)


INSTRUCTION = (
    "Change the values of the variables in #Variables so that the score rises, in accordance with #Feedback."
)

FORMAT = """\
Answer in exactly this form, with nothing after it:

<reasoning>
What the feedback means, which cause in the variables explains it, and what the change will do. Be brief.
</reasoning>
<change>one line: what is changed and why</change>
<variable name="NAME">
the new value
</variable>
<stop>no</stop>

Rules:
- One <variable> block for each variable that you change; leave out the others. Only names in #Variables.
- The value of a (code) variable is the whole new source in a ```python block. Keep the name and the
  parameters of its function. Imports, constants and helper functions may stand before it.
- A (text) value is written as it is; any other value as a Python literal.
- Write <stop>yes</stop>, and no variable, only if nothing can be improved.
"""


@dataclass(frozen=True, slots=True)
class View:
    """What a prompt is made from. rejected: the problems of recent replies, each as one text."""

    problem: Problem
    parent: Trial | None
    history: Sequence[Trial] = ()
    rejected: Sequence[str] = ()
    mask: Collection[str] = ()


def system_prompt(mask: Collection[str] = ()) -> str:
    parts = "\n".join(f"{name}: {meaning}" for name, meaning in PARTS.items() if name not in mask)
    head = "You improve a program by choosing new values for its variables. A problem has these parts:"
    return f"{head}\n\n{parts}\n\nValues are written as (type) name = value.\n\n{FORMAT.strip()}"


def build(view: View, budget: int) -> list[Message]:
    """Return the messages, at most ``budget`` tokens by the upper bound.

    Variables and constraints are always whole; the rest gives way: the graph shows fewer steps, the history
    fewer trials, long feedback and context lose their middle.
    """
    head = system(system_prompt(view.mask))
    sections = _fixed(view)
    room = budget - message_tokens([head, user(_assemble(view, sections))]) - 20
    room -= _place(sections, "#Feedback", _feedback(view), max(room // 3, 60))
    room -= _place(sections, "#Context", view.problem.context, max(room // 3, 60))
    room -= _place(sections, "#Rejected", rejected(view.rejected), max(room // 6, 0))
    history = _history(view, room)
    kept_for_history = min(token_bound(history), room // 3)
    graph = _graph(view, room - kept_for_history)
    sections.update(graph)
    room -= sum(token_bound(part) + 4 for part in graph.values())
    sections["#History"] = _history(view, room)
    return [head, user(_assemble(view, sections))]


def _fixed(view: View) -> dict[str, str]:
    objective = view.problem.objective
    return {
        "#Instruction": INSTRUCTION + (f"\nThe score: {objective}" if objective else ""),
        "#Variables": "\n".join(variable(s, present(view, s.name)) for s in view.problem.parameters),
        "#Constraints": constraints(view.problem, view.parent),
    }


def present(view: View, name: str) -> Any:
    return view.problem[name].value if view.parent is None else view.parent.candidate.values[name]


def constraints(problem: Problem, parent: Trial | None = None) -> str:
    """What each variable must obey, a line each; "" where nothing is asked of any."""
    now = problem.values if parent is None else parent.candidate.values
    return "\n".join(filter(None, (_constraint(spec, now[spec.name]) for spec in problem.parameters)))


def _constraint(spec: ParameterSpec, now: Any) -> str:
    parts = [describe(spec.constraint), one_line(spec.description, 300)]
    if spec.kind == "code":
        tree = code.parse(str(spec.value))
        function = None if isinstance(tree, str) else code.functions(tree).get(spec.function)
        if function is not None:
            parts.insert(0, f"keep {spec.function}({code.signature(function)})")
            told = ast.get_docstring(function) or ""
            if " ".join(told.split())[:60] not in " ".join(str(now).split()):
                parts.append(f"at first it said: {one_line(told, 400)}")
    said = "; ".join(filter(None, parts))
    return f"({spec.kind}) {spec.name}: {said}" if said else ""


def _assemble(view: View, sections: Mapping[str, str]) -> str:
    shown = [f"{name}\n{sections[name]}" for name in PARTS if sections.get(name) and name not in view.mask]
    return "\n\n".join([*shown, "Your answer:"])


def _place(sections: dict[str, str], name: str, text: str, most: int) -> int:
    sections[name] = shorten(text, most)
    return token_bound(sections[name]) + 4 if sections[name] else 0


def _feedback(view: View) -> str:
    if view.parent is None:
        return "The variables have not been tried yet."
    outcome = view.parent.outcome
    lines = [f"Trial {view.parent.candidate.id}: {scored(view.parent)}"]
    if len(outcome.scores) > 1:
        ordered = sorted(outcome.scores)
        middle = ordered[len(ordered) // 2]
        lines.append(
            f"Scores of {len(ordered)} runs: lowest {number(ordered[0])}, "
            f"median {number(middle)}, highest {number(ordered[-1])}"
        )
    return "\n".join([*lines, outcome.feedback]).strip()


def scored(trial: Trial) -> str:
    outcome = trial.outcome
    text = "no score" if math.isnan(outcome.score) else f"score {number(outcome.score, 4)}"
    runs = len(outcome.scores)
    if runs > 1:
        return f"{text}, success {round(outcome.success * runs)}/{runs}"
    return text + (", success" if outcome.success == 1 else "")


def rejected(problems: Sequence[str]) -> str:
    return "\n".join(f"- {one_line(text, 400)}" for text in problems)


def _graph(view: View, room: int) -> dict[str, str]:
    if view.parent is None or not view.parent.graph:
        return {}
    names = [spec.name for spec in view.problem.parameters]
    return render_graph(view.parent.graph, room, variables=names, mask=view.mask)


def _history(view: View, room: int) -> str:
    """As many trials as fit: in full, else in one line each, else fewer."""
    ids = {trial.candidate.id: trial for trial in (*view.history, *([view.parent] if view.parent else []))}
    full = [_entry(view, trial, ids) + _differences(view, trial) for trial in view.history]
    short = [_entry(view, trial, ids) for trial in view.history]
    entries = list(short)
    for index, text in enumerate(full):
        if sum(map(token_bound, (*entries[:index], text, *entries[index + 1 :]))) + 4 <= room:
            entries[index] = text
    while entries and sum(map(token_bound, entries)) + 4 > room:
        entries.pop()
    return "\n".join(entries)


def _entry(view: View, trial: Trial, known: Mapping[int, Trial]) -> str:
    candidate = trial.candidate
    line = f"Trial {candidate.id}"
    if candidate.parent is not None:
        line += f", from trial {candidate.parent}"
    line += f": {scored(trial)}"
    parent = known.get(candidate.parent) if candidate.parent is not None else None
    if parent is not None and not math.isnan(parent.outcome.score):
        word = "better" if trial.rank > parent.rank else "no better"
        line += f" ({word} than {number(parent.outcome.score, 4)})"
    line += f"; {one_line(candidate.note)}" if candidate.note else ""
    if trial.outcome.faults:
        fault = trial.outcome.faults[0]
        line += f"; {fault.category}: {one_line(fault.message, 160)}"
    return line


def _differences(view: View, trial: Trial) -> str:
    """What this trial's variables had other than those in #Variables."""
    lines = []
    for spec in view.problem.parameters:
        here, there = present(view, spec.name), trial.candidate.values[spec.name]
        if plain(here) == plain(there):
            continue
        if spec.kind in ("code", "text"):
            lines.append(_shorter(spec.name, str(here), str(there)))
        else:
            lines.append(f"{spec.name} = {plain(there)!r}")
    return "\n" + indented("\n".join(lines)) if lines else ""


def _shorter(name: str, here: str, there: str) -> str:
    """The difference between two texts, or the other text itself where that is shorter."""
    changes, whole = _diff(here, there), there.strip("\n")
    if token_bound(whole) <= token_bound(changes):
        return f"{name} =\n{whole}"
    return f"{name}, lines that were - gone, + there instead:\n{changes}"


def _diff(here: str, there: str) -> str:
    changes = difflib.unified_diff(here.splitlines(), there.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in changes if not line.startswith(("---", "+++", "@@")))
