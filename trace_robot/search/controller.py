"""To be named."""

from __future__ import annotations

from dataclasses import replace

from trace_robot.optimizers.problem import Candidate
from trace_robot.search import feedback_law
from trace_robot.search.staged import StagedProgram, code
from trace_robot.search.staged.program import names
from trace_robot.spec import TaskSpec


def written(candidate: Candidate, spec: TaskSpec) -> Candidate:
    """Return the candidate of a search with its program or law written out, to run like any other."""
    data = candidate.program or {}
    if feedback_law.is_law(data):
        found = feedback_law.FeedbackLaw.from_data(data)
        return replace(candidate, text=feedback_law.write(found, spec), program=None, seeds=None)
    program = StagedProgram.from_data(candidate.program or {})
    stages = ", ".join(title.replace("_", " ") for title in names(program))
    note = f"{candidate.note}: {stages}" if candidate.note else stages
    return replace(candidate, values={"act": code(program, spec)}, program=None, seeds=None, note=note)
