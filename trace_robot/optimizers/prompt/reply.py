"""Parse a model's reply into suggested values, and fit these to the parameters.

Models leave out tags, forget fences and wrap their answers in prose. So several forms are tried: tags, the JSON form of
the published implementation, bare code blocks. No reply makes the parser raise anything but UnusableReplyError, or
take long: 10,000 characters of any one piece of these forms took up to 15 ms of CPU time on two cores (Python 3.11).
The tests allow 100 ms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trace_robot.errors import ReplyError, ValueMismatchError
from trace_robot.fault import MOST_CHARACTERS
from trace_robot.llm.model import Reply, is_encodable
from trace_robot.optimizers import code
from trace_robot.optimizers.problem import ParameterSpec, Problem
from trace_robot.optimizers.prompt import forms
from trace_robot.optimizers.prompt.tags import final_answer, tagged
from trace_robot.optimizers.prompt.values import one_line
from trace_robot.trace.constraints import Bounds, Choices, convert
from trace_robot.trace.shortening import shorten

MOST_PROBLEMS = 8  # that a model is shown of one reply
# Of lists and dicts in each other; copies, comparisons and JSON exhaust the stack at some hundreds.
MOST_LEVELS = 20
MOST_BITS = 1023  # of a whole number: what a float holds
NOT_FINITE = "made of finite numbers"
LONGEST_LINE = 300


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What a reply suggests.

    Args:
        values: by variable, still as text, or as JSON values from the published form.
        reasoning: why, as the model explains it.
        change: one line on what is changed.
        stop: whether nothing can be improved.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    reasoning: str = ""
    change: str = ""
    stop: bool = False


class UnusableReplyError(ReplyError):
    """A reply that cannot become a candidate.

    Args:
        problems: everything that is wrong, each in one line for the model to read.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        # They may quote half a surrogate pair, which no file or database takes.
        every = [problem.encode(errors="backslashreplace").decode() for problem in problems]
        more = len(every) - MOST_PROBLEMS
        self.problems = (*every[:MOST_PROBLEMS], *([f"and {more:,} more of the kind"] if more > 0 else []))
        super().__init__("; ".join(self.problems))


def parse_reply(reply: Reply, code_names: Mapping[str, str], names: Collection[str] = ()) -> Suggestion:
    """Parse a reply.

    Args:
        reply: as the model gave it.
        code_names: for each code variable, the function that it defines.
        names: the other variables, if they are known.

    Returns:
        The first suggestion that one of the forms finds; "TERMINATE" alone, from the published form, is a stop.

    Raises:
        UnusableReplyError: the reply is empty, declined, cut off, too long or without a suggestion.
    """
    text = reply.text.strip()
    if reply.declined:
        raise UnusableReplyError(
            [f"the model declined: {one_line(text, LONGEST_LINE) or reply.finish_reason}"]
        )
    if not reply.complete:
        raise UnusableReplyError(["the reply was cut off before its end; answer more briefly"])
    if not text:
        raise UnusableReplyError(["the reply is empty"])
    if len(text) > MOST_CHARACTERS:  # no longer controller is run
        raise UnusableReplyError(
            [f"the reply has {len(text):,} characters, at most {MOST_CHARACTERS:,} are read"]
        )
    text = final_answer(text)
    return _suggestion(text, code_names, {*names, *code_names})


def _suggestion(text: str, code_names: Mapping[str, str], names: Collection[str]) -> Suggestion:
    """Return what the first form that fits suggests."""
    if text.startswith(("{", "```")) and text.endswith(("}", "```")):  # tags in its strings are no tags
        found = forms.json_object(text, names)
        if found.values or found.stop:
            return _made(found)
    tags = tagged(text, code_names)
    if tags.values or tags.stop:
        return _made(tags)
    rest = "\n".join(tags.outside).strip()
    if rest.strip("\"'`. ") == "TERMINATE":
        return Suggestion(stop=True)
    notes = list(tags.notes)
    for found in (forms.json_object(rest, names), forms.code_blocks(rest, code_names)):
        if found.values or found.stop:
            found.reasoning, found.change = found.reasoning or tags.reasoning, found.change or tags.change
            return _made(found)
        notes += found.notes
    if not notes:
        stop = ", and it says <stop>no</stop>" if tags.stop is False else ", and no <stop>yes</stop>"
        notes = [f'no <variable name="..."> block in the reply{stop}']
    raise UnusableReplyError(dict.fromkeys(notes))


def _made(found: forms.Found) -> Suggestion:
    return Suggestion(
        found.values, found.reasoning, one_line(found.change, LONGEST_LINE), stop=bool(found.stop)
    )


CheckCode = Callable[[str], list[str]]


def fit(
    problem: Problem, raw: Mapping[str, Any], check_code: CheckCode | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Convert suggested values to those of the parameters.

    Args:
        problem: the parameters.
        raw: values by variable, or for code also by the name of its function.
        check_code: returns further problems of suggested source, such as what a sandbox would refuse.

    Returns:
        The values that could be converted, and everything that is wrong, each in one line.
    """
    values: dict[str, Any] = {}
    faults: list[str] = []
    specs = {spec.name: spec for spec in problem.parameters}
    aliases = {spec.function: spec.name for spec in problem.parameters if spec.kind == "code"}
    for variable, value in raw.items():
        name = variable if variable in specs else aliases.get(variable, variable)
        if name not in specs:
            shown = repr(one_line(variable, LONGEST_LINE))
            faults.append(f"no variable {shown}; the variables are {', '.join(specs)}")
            continue
        try:
            values[name] = fit_value(specs[name], value)
        except ValueMismatchError as error:
            faults.append(str(error))
            continue
        if specs[name].kind == "code":
            faults.extend(
                f"{name}: {fault}" for fault in _code_faults(problem, name, values[name], check_code)
            )
    return values, faults


def _code_faults(problem: Problem, name: str, source: str, check_code: CheckCode | None) -> list[str]:
    spec = problem[name]
    # A definition of another variable's name would hide the value that the optimizer puts there.
    reserved = [other.name for other in problem.parameters if other.name != name]
    faults = code.problems(source, spec.function, str(spec.value), reserved)
    return faults or (check_code(source) if check_code else [])


def fit_value(spec: ParameterSpec, raw: Any) -> Any:
    """Convert a suggested value to the kind of a parameter.

    Args:
        spec: the parameter; its present value says the type and, of an array, the shape.
        raw: a text or a JSON value.

    Returns:
        The value, within the constraint.

    Raises:
        ValueMismatchError: the value is of another kind or shape, or against the constraint.
    """
    if spec.kind == "code":
        if not isinstance(raw, str):
            raise ValueMismatchError(f"{spec.name}: must be Python source, got {shorten(raw, digits=None)}")
        return code.tidy(raw, spec.function)
    if spec.kind != "text" and isinstance(raw, str):
        raw = _right_side(spec.name, raw)
    constraint = checkable(spec.constraint)
    if isinstance(raw, str) and isinstance(constraint, Choices) and constraint.check(raw):
        bare = raw.strip().strip("\"'`")
        raw = raw if constraint.check(bare) else bare
    like = np.asarray(spec.value, dtype=float) if spec.kind == "array" else spec.value
    try:
        value = convert(raw, like, constraint)
    except ValueMismatchError as error:
        raise ValueMismatchError(f"{spec.name}: {str(error).removeprefix('the value ')}") from error
    # Sorted, as the order of a set differs between processes.
    for fault in sorted(unstorable(value) - unstorable(spec.value)):
        raise ValueMismatchError(f"{spec.name}: must be {fault}, got {shorten(value)!r}")
    return value.tolist() if spec.kind == "array" and not isinstance(spec.value, np.ndarray) else value


def _right_side(name: str, text: str) -> str:
    """Return what stands behind ``name =``, without marks and a comment around it."""
    text = text.strip().strip("`*")
    head, equals, tail = text.partition("=")
    text = (tail if equals and forms.plain_name(head) == name else text).strip()
    if '"' not in text and "'" not in text:
        text = forms.unescape(text)
    if '"' in text or "'" in text or "\n" in text:
        return text
    return text.partition("#")[0].strip()  # a comment behind a number


def unstorable(value: Any) -> set[str]:
    """Return what a value must be, and is not, to be stored, shown and rendered."""
    faults: set[str] = set()
    waiting = [(value, 0)]
    while waiting:
        item, level = waiting.pop()
        if level > MOST_LEVELS:
            return {f"at most {MOST_LEVELS} lists and dicts in each other"}
        if isinstance(item, dict):
            waiting += [(part, level + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list | tuple):
            waiting += [(part, level + 1) for part in item]
        elif isinstance(item, str):
            faults |= {"text without half a surrogate pair"} if not is_encodable(item) else set()
        elif isinstance(item, float):
            faults |= {NOT_FINITE} if not math.isfinite(item) else set()
        elif isinstance(item, int) and not isinstance(item, bool):
            # Python writes no whole number of more than 4,300 digits, and computes with none of more than 308.
            faults |= {"made of numbers below 1e308"} if item.bit_length() > MOST_BITS else set()
        elif item is not None and not isinstance(item, bool | np.ndarray | np.generic):
            faults.add("made of numbers, texts, lists and dicts")
    return faults


def checkable(constraint: Any) -> Any:
    """Return a constraint that is plain data as Bounds or Choices, any other as it is."""
    if isinstance(constraint, Mapping) and "choices" in constraint:
        return Choices(*constraint["choices"])
    if isinstance(constraint, Mapping):
        return Bounds(constraint.get("low"), constraint.get("high"))
    if isinstance(constraint, list):
        return Choices(*constraint)
    if isinstance(constraint, tuple) and len(constraint) == 2:
        return Bounds(*constraint)
    return constraint


def bounds(spec: ParameterSpec) -> tuple[float | None, float | None]:
    """Return the lower and the upper bound of a parameter, None where it has none."""
    constraint = checkable(spec.constraint)
    return (constraint.low, constraint.high) if isinstance(constraint, Bounds) else (None, None)


def describe(constraint: Any) -> str:
    """Return a constraint as text, "" for None."""
    return "" if constraint is None else str(checkable(constraint))
