"""The OPTO problem of a policy in an environment: parameters, context, objective.

The texts are parts of prompts. Recorded replies are keyed by the whole prompt, so that a changed letter here makes
recordings unusable.
"""

from __future__ import annotations

from collections.abc import Iterable

from trace_robot.optimizers.problem import ParameterSpec, Problem
from trace_robot.policy import Policy
from trace_robot.spec import Field, TaskSpec

POSE = (
    " A decision is followed until the hand is there and the gripper is still, for at most {decision} simulator steps;"
    " then the next one is asked for. An episode has {episode} simulator steps."
)
DECISION_STEPS = 20  # simulator steps a pose is followed at most, unless the environment has an option for it


def context_of(spec: TaskSpec) -> str:
    """Return task, observation and action as text."""
    parts = [
        f"The controller is Python code that is called once a decision, at most {spec.horizon} times an episode."
        + (_pose(spec) if spec.control == "pose" else ""),
        f"Task: {spec.instruction}",
        *([f"An episode succeeds{_ends(spec)} when: {spec.success}."] if spec.success else []),
        *([f"It fails, and ends, when: {spec.failure}."] if spec.failure else []),
        "observation: a dict with these entries (arrays are numpy arrays):",
        *_fields(spec.observation),
        "The action is a list of numbers, in this order:",
        *_fields(spec.action, spec.low, spec.high),
        "memory, where a function takes it: a plain dict, empty at the start of an episode, kept between calls.",
        "numpy and the standard library's math may be imported. Files, network and processes are out of reach.",
    ]
    return "\n".join(parts)


def _ends(spec: TaskSpec) -> str:
    return ", and ends," if spec.return_threshold is None else ""


def _pose(spec: TaskSpec) -> str:
    steps = spec.options.get("decision_steps", DECISION_STEPS)
    return POSE.format(decision=steps, episode=spec.simulator_steps or spec.horizon)


def objective_of(spec: TaskSpec) -> str:
    """Return what a candidate's score measures as text, for a prompt."""
    return (
        "The score of an episode is 1 for a success; without success it is below 0.5 and grows with the reward, and"
        " an error halves it. A candidate's score is the mean over its episodes, which start from different conditions."
    )


def _fields(fields: Iterable[Field], low: tuple[float, ...] = (), high: tuple[float, ...] = ()) -> list[str]:
    lines = []
    for part in fields:
        shape = "number" if part.size == 1 else f"({part.size},)"
        unit = f", {part.unit}" if part.unit else ""
        bounds = f", from {low[part.start]:g} to {high[part.start]:g}" if low else ""
        bounds += ", rounded to the nearest whole number" if part.whole else ""
        lines.append(f"- {part.name}: {shape}{unit}{bounds}. {part.meaning}".rstrip())
    return lines


def problem_of(policy: Policy, spec: TaskSpec) -> Problem:
    """Return the OPTO problem of a policy.

    Args:
        policy: its places become the parameters.
        spec: of the environment, whose context and objective it describes.
    """
    parameters = tuple(
        ParameterSpec(
            place.name,
            place.kind,
            place.value,
            place.description,
            place.constraint,
            place.name.rpartition(".")[2] if place.kind == "code" else "",
        )
        for place in policy.places
    )
    return Problem(parameters, context=context_of(spec), objective=objective_of(spec))
