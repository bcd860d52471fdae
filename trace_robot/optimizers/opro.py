"""OPRO (arXiv:2309.03409): a model sees past solutions and their scores."""

from __future__ import annotations

from typing import Any

from trace_robot.llm.metering import message_tokens, shorten, token_bound
from trace_robot.llm.model import Message, system, user
from trace_robot.optimizers.optoprime import OptoPrime
from trace_robot.optimizers.prompt import FORMAT
from trace_robot.optimizers.prompt.build import ProblemInstance, constraints, variable
from trace_robot.optimizers.prompt.trial_text import rejected, remarks, scored
from trace_robot.optimizers.strategies import Trial

HEAD = """\
You see past solutions of a problem with their scores, the worst first, and write a new one that scores higher
than all of them. Each solution is a value for every variable, written as (type) name = value.

"""


class OPRO(OptoPrime):
    """Ask and tell as OptoPrime, with past solutions instead of a graph.

    The model sees the best solutions that fit, with their scores and feedback, in ascending order as in the paper.

    Args:
        arguments: ``parameters`` and ``model``, as those of OptoPrime.
        memory_size: most solutions to show.
        options: the other arguments of OptoPrime.
    """

    uses_graph = False

    def __init__(self, *arguments: Any, memory_size: int = 20, **options: Any) -> None:
        super().__init__(*arguments, memory_size=memory_size, **options)

    def _build(self, instance: ProblemInstance, budget: int) -> list[Message]:
        head = system(HEAD + FORMAT.strip().replace(" in #Variables", " of the solutions"))
        problem = instance.problem
        obey = constraints(problem, problem.values)
        before = [
            "Problem\n" + shorten(problem.context, budget // 5) if problem.context else "",
            problem.instruction or (f"The score: {problem.objective}" if problem.objective else ""),
            "Constraints\n" + obey if obey else "",
        ]
        after = "Write a new solution that differs from all of these and scores higher."
        if instance.rejected:
            after = "Recent replies that could not be used:\n" + rejected(instance.rejected) + "\n\n" + after
        frame = "\n\n".join(filter(None, [*before, after]))
        room = budget - message_tokens([head, user(frame)])
        trials = sorted(
            [*instance.history, *([instance.parent] if instance.parent else [])], key=lambda trial: trial.rank
        )
        solutions = _solutions(instance, trials, room)
        return [head, user("\n\n".join(filter(None, [*before, *solutions, after])))]


def _solutions(instance: ProblemInstance, trials: list[Trial], room: int) -> list[str]:
    """Return the best that fit, the worst of them first, or the starting values."""
    if not trials:
        values = "\n".join(variable(spec, spec.value) for spec in instance.problem.parameters)
        return [f"Solution, not tried yet\n{values}"]
    texts: list[str] = []
    for trial in reversed(trials):
        parts = [f"Solution {trial.candidate.id}: {scored(trial)}"]
        parts += [variable(spec, trial.candidate.values[spec.name]) for spec in instance.problem.parameters]
        if trial.outcome.feedback:
            parts.append("Feedback: " + shorten(trial.outcome.feedback, max(room // 8, 40)))
        parts += filter(None, [remarks(trial, ())])
        text = "\n".join(parts)
        room -= token_bound(text) + 4
        if room < 0 and texts:
            break
        texts.insert(0, text)
    return texts
