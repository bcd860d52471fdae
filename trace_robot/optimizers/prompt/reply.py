"""Parse a model's reply into suggested values, and fit these to the parameters.

Models leave out tags, forget fences and wrap their answers in prose. So several forms are tried: tags, the JSON form of
the published implementation, bare code blocks. No reply makes the parser raise anything but UnusableReplyError.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trace_robot.errors import ReplyError, ValueMismatchError
from trace_robot.llm.model import Reply
from trace_robot.optimizers import code
from trace_robot.optimizers.problem import ParameterSpec, Problem
from trace_robot.optimizers.prompt.values import one_line
from trace_robot.trace.constraints import Bounds, Choices, convert

# Bounds on what is read, so that no reply takes more than a moment: pairs of fences are tried, each by a parse.
MOST_CHARACTERS = 200_000
MOST_FENCES = 40
MOST_TRIES = 50
LONGEST_LINE = 300
OPENING = re.compile(r"<variable\s+name\s*=\s*[\"']?([^\"'>]+?)[\"']?\s*>", re.IGNORECASE)
CLOSING = re.compile(r"</variable\s*>", re.IGNORECASE)
FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+-]*)[ \t]*$", re.MULTILINE)


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
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


def parse_reply(reply: Reply, code_names: Mapping[str, str]) -> Suggestion:
    """Parse a reply.

    Args:
        reply: as the model gave it.
        code_names: for each code variable, the function that it defines.

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
    if len(text) > MOST_CHARACTERS:
        raise UnusableReplyError(
            [f"the reply has {len(text):,} characters, at most {MOST_CHARACTERS:,} are read"]
        )
    # Some servers leave the scratch pad of a reasoning model in the text.
    text = re.sub(r"^<think>.*?</think>", "", text, flags=re.DOTALL).strip()
    if text.strip("\"'`. ") == "TERMINATE":
        return Suggestion(stop=True)
    suggestion = _tagged(text, code_names) or _json(text) or _fenced(text, code_names)
    if suggestion is None:
        raise UnusableReplyError(['no <variable name="..."> block in the reply, and no <stop>yes</stop>'])
    return suggestion


def _tagged(text: str, code_names: Mapping[str, str]) -> Suggestion | None:
    reasoning, rest = _cut(text, "reasoning")
    values: dict[str, Any] = {}
    outside, position = "", 0
    while opening := OPENING.search(rest, position):
        name = opening.group(1).strip()
        outside += rest[position : opening.start()]
        body, position = _body(rest, opening.end(), name in code_names)
        values[name] = unfenced(body, is_code=name in code_names)
    outside += rest[position:]
    change, outside = _cut(outside, "change")
    stop, _ = _cut(outside, "stop")
    if not values and not stop:
        return None
    return Suggestion(
        values, reasoning, one_line(change, LONGEST_LINE), stop.strip().lower() in ("yes", "true")
    )


def _body(text: str, start: int, is_code: bool) -> tuple[str, int]:
    """Return the text of a block and where it ends.

    A closing tag may stand in a string of the code: the first one up to which the code parses is meant.
    """
    closings = list(CLOSING.finditer(text, start))
    if not closings:
        following = OPENING.search(text, start)
        end = following.start() if following else len(text)
        return text[start:end], end
    if is_code:
        for closing in closings[:MOST_TRIES]:
            body = text[start : closing.start()]
            if not isinstance(code.parse(code.tidy(unfenced(body, is_code=True), "")), str):
                return body, closing.end()
    return text[start : closings[0].start()], closings[0].end()


def unfenced(body: str, *, is_code: bool) -> str:
    """Return what is inside the outermost fence, or the body where there is none.

    Args:
        body: the text of a block.
        is_code: drop words before the fence; in any other value, they make the fence a part of it.
    """
    fences = list(FENCE.finditer(body))
    before = body[: fences[0].start()].strip() if fences else ""
    if not fences or (before and not is_code):
        return body.strip("\n")
    if before and not isinstance(code.parse(code.tidy(body, "")), str):
        return body.strip("\n")
    mark = fences[0].group(1)
    ends = [f for f in fences[1:] if f.group(1).startswith(mark) and not f.group(2)]
    return body[fences[0].end() : ends[-1].start() if ends else len(body)].strip("\n")


def _fenced(text: str, code_names: Mapping[str, str]) -> Suggestion | None:
    """Assign code blocks without tags to the variables whose functions they define."""
    values: dict[str, Any] = {}
    for source, defined in _blocks(text):
        owners = [name for name, function in code_names.items() if function in defined]
        if len(owners) == 1:
            values[owners[0]] = source
    return Suggestion(values) if values else None


def _blocks(text: str) -> Iterator[tuple[str, set[str]]]:
    """Yield what stands between two fences and defines functions, with their names."""
    fences = list(FENCE.finditer(text))[:MOST_FENCES]
    for index, opening in enumerate(fences):
        for closing in fences[index + 1 :]:
            source = text[opening.end() : closing.start()].strip("\n")
            tree = code.parse(code.tidy(source, ""))
            defined = set() if isinstance(tree, str) else set(code.functions(tree))
            if defined and not closing.group(2):
                yield source, defined
                break


def _json(text: str) -> Suggestion | None:
    """Parse the published form: {"reasoning": ..., "suggestion": {...}}."""
    for start in [match.start() for match in re.finditer(r"\{", text)][:MOST_TRIES]:
        data = _object(text, start)
        if isinstance(data, dict) and isinstance(data.get("suggestion"), dict):
            change = one_line(str(data.get("change") or ""), LONGEST_LINE)
            values = {_plain_name(str(name)): value for name, value in data["suggestion"].items()}
            return Suggestion(values, str(data.get("reasoning") or ""), change, data.get("stop") is True)
    return None


def _object(text: str, start: int) -> Any:
    try:
        return json.JSONDecoder(strict=False).raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        end = text.rfind("}") + 1
    try:
        return ast.literal_eval(text[start:end])
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None


def _plain_name(name: str) -> str:
    return name.split(":")[0] if not name.startswith("__code") else name


def _cut(text: str, tag: str) -> tuple[str, str]:
    """Return the first ``tag`` element's text, "" without one, and the other text."""
    match = re.search(rf"<{tag}\s*>(.*?)</{tag}\s*>", text, re.DOTALL | re.IGNORECASE)
    if not match:
        return "", text
    return match.group(1).strip(), text[: match.start()] + text[match.end() :]


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
            faults.append(f"no variable {variable!r}; the variables are {', '.join(specs)}")
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
            raise ValueMismatchError(f"{spec.name}: must be Python source, got {raw!r}")
        return code.tidy(raw, spec.function)
    if spec.kind != "text" and isinstance(raw, str):
        raw = _right_side(spec.name, raw)
    like = np.asarray(spec.value, dtype=float) if spec.kind == "array" else spec.value
    try:
        value = convert(raw, like, checkable(spec.constraint))
    except ValueMismatchError as error:
        raise ValueMismatchError(f"{spec.name}: {str(error).removeprefix('the value ')}") from error
    return value.tolist() if spec.kind == "array" and not isinstance(spec.value, np.ndarray) else value


def _right_side(name: str, text: str) -> str:
    """Return what stands behind ``name =``, or the text itself."""
    head, equals, tail = text.strip().partition("=")
    return tail.strip() if equals and head.strip() == name else text.strip()


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
