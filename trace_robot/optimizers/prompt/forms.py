"""Read values from JSON and from bare code blocks, and take off what models wrap around a value.

A reply is untrusted and may be long. Every scanner is linear: no pattern has two repetitions over the same characters
side by side, and each stretch of text is parsed at most once a form.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from bisect import bisect_left
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trace_robot.optimizers import code

WRAPPER = re.compile(r"<(value|code|python|source|content|pre)(?:\s[^<>]{0,100})?>", re.IGNORECASE)
ENVELOPE = re.compile(
    r"</?(?:answer|response|output|final|solution|result|code|python|variables)\s{0,3}>|<\|[\w ]{1,40}\|>",
    re.I,
)
FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
ENTITY = re.compile(r"&(lt|gt|amp|quot|apos|#39|#x27|#34|#x22);", re.IGNORECASE)
ENTITIES = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'", "#39": "'", "#x27": "'", "#34": '"'}
BRACE = re.compile(r"[{}]")
SUGGESTIONS = ("suggestion", "suggestions", "values", "variables")
BESIDE = (
    "reasoning",
    "answer",
    "change",
    "stop",
    "thoughts",
    "explanation",
)  # keys of JSON that name no variable
MOST_OBJECTS = 50  # opening braces that are tried; JSON's decoder reads 10 kB in 0.1 ms


@dataclass(slots=True)
class Found:
    """What one form found in a reply.

    values: by variable, as text, or as JSON values.
    stop: None where the reply does not say.
    outside: the text beside tags and thoughts, in pieces.
    notes: what stands in the reply and cannot be used, each in one line for the model to read.
    """

    values: dict[str, Any] = field(default_factory=dict)
    reasoning: str = ""
    change: str = ""
    stop: bool | None = None
    outside: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def unescape(text: str) -> str:
    """Return text with the signs that its HTML entities stand for."""
    return ENTITY.sub(lambda match: ENTITIES.get(match[1].lower(), '"'), text)


def plain_name(name: str) -> str:
    """Return a variable's name without quotes and the kind, as in "(code) act"."""
    name = unescape(name).strip().strip("\"'`“”‘’").strip()
    return name.partition(") ")[2].strip() if name.startswith("(") and ") " in name else name


def unwrapped(body: str, *, is_code: bool) -> str:
    """Return a body without the one element, or the CDATA section, that is all of it.

    Args:
        body: the text of a block.
        is_code: <code> and the like are taken off, too, not only <value>.
    """
    for _ in range(3):
        text = body.strip()
        match = WRAPPER.match(text)
        if text.startswith("<![CDATA[") and text.endswith("]]>"):
            body = text[9:-3]
        elif match and (is_code or match[1].lower() == "value"):
            closing = re.compile(rf"</{match[1]}\s{{0,3}}>", re.IGNORECASE)
            ends = list(closing.finditer(text, max(match.end(), len(text) - 30)))
            if not ends or ends[-1].end() != len(text):
                return body
            body = text[match.end() : ends[-1].start()]
        else:
            return body
    return body


def unescaped_code(source: str) -> str:
    """Return code without HTML entities, where it was escaped as a whole.

    Then it has none of the signs themselves, and an entity outside its strings, where Python knows none.
    """
    if "&" not in source or "<" in source or ">" in source or "&" in ENTITY.sub("", source):
        return source
    entities = [match.start() for match in ENTITY.finditer(source)]
    in_strings = sum(
        bisect_left(entities, stop) - bisect_left(entities, start)
        for start, stop in code.string_spans(source)
    )
    return unescape(source) if in_strings < len(entities) else source


def unfenced(body: str, *, is_code: bool) -> str:
    """Return what is inside the outermost fence, or the body where there is none.

    Args:
        body: the text of a block.
        is_code: drop words before the fence; in any other value, they make the fence a part of it.
    """
    fences = [match for match in FENCE.finditer(body) if _is_fence(match)]
    before = body[: fences[0].start()].strip() if fences else ""
    if not fences or (before and not is_code):
        return body.strip("\r\n")
    if before and not isinstance(code.parse(code.tidy(body, "")), str):
        return body.strip("\r\n")
    mark = fences[0].group(1)
    ends = [f for f in fences[1:] if f.group(1).startswith(mark) and not f.group(2).strip()]
    return body[fences[0].end() : ends[-1].start() if ends else len(body)].strip("\r\n")


def _is_fence(match: re.Match[str]) -> bool:
    """Return whether a line is a fence by CommonMark 4.5."""
    return match[1][0] == "~" or "`" not in match[2]


def code_blocks(text: str, code_names: Mapping[str, str]) -> Found:
    """Assign code without tags to the variables whose functions it defines.

    Args:
        text: a reply without its tags.
        code_names: for each code variable, its function.
    """
    found = Found()
    for source in _blocks(text) or _bare_code(text, code_names.values()):
        tree = code.parse(code.tidy(source, ""))
        if isinstance(tree, str):
            found.notes.append(f"the code block cannot be used: {tree}")
            continue
        defined = code.functions(tree)
        owners = [name for name, function in code_names.items() if function in defined]
        if len(owners) == 1:
            found.values[owners[0]] = source
        elif owners:
            found.notes.append(
                f"one code block defines {' and '.join(owners)}; write a <variable> block for each"
            )
        elif defined:
            there, wanted = ", ".join(list(defined)[: code.MOST_NAMES]), ", ".join(code_names.values())
            found.notes.append(f"the code block defines {there}, and no variable's function ({wanted})")
    return found


def _blocks(text: str) -> list[str]:
    """Return what stands between fences and may define a function."""
    fences = [match for match in FENCE.finditer(text) if _is_fence(match)]
    blocks, index, scans_strings = [], 0, True
    while index < len(fences):
        start, closing = fences[index].end(), index + 1
        scanner = code.StringScanner(text, start)
        # A fence in a docstring does not end the block.
        while scans_strings and closing < len(fences) and scanner.is_inside(fences[closing].start()):
            closing += 1
        if closing == len(fences) and index + 1 < len(fences):
            scans_strings, closing = False, index + 1  # once in a reply, so that the scan stays linear
        end = fences[closing].start() if closing < len(fences) else len(text)
        source = unescaped_code(text[start:end].strip("\r\n"))
        if "def " in source:
            blocks.append(source)
            closing += closing < len(fences) and not fences[closing][2].strip()
        index = closing
    return blocks


def _bare_code(text: str, functions: Collection[str]) -> list[str]:
    """Return a reply that is code without a fence, words before it left out."""
    text = ENVELOPE.sub("", text)
    if "```" in text or not any(f"def {function}" in text for function in functions):
        return []
    first = re.search(r"^(?:import |from |def |@|class |async |[A-Za-z_]\w{0,80} {0,3}=)", text, re.MULTILINE)
    return [text[first.start() :].strip()] if first else []


def json_object(text: str, names: Collection[str]) -> Found:
    """Read JSON, as {"reasoning": ..., "suggestion": {...}} of the published Trace.

    Args:
        text: a reply without its tags.
        names: the known variables, which may also be the keys of the object itself.
    """
    found = Found()
    room = 4 * len(text) + 1000  # characters to decode in all
    starts = [match.start() for match in re.finditer(r"\{", text)][:MOST_OBJECTS]
    for start in starts:
        try:
            data, end = json.JSONDecoder(strict=False).raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            data, end = None, getattr(error, "pos", len(text))
            if not found.notes and re.match(r"\{\s*[\"']", text[start : start + 1000]):
                found.notes.append(f"the JSON cannot be read: {_json_fault(error)}")
        room -= end - start
        if _suggests(data, found, names, _stands(text, start, end)):
            return found
        if room < 0:
            break
    for start in starts:  # a Python literal, or JSON with commas too many
        if re.match(r"\{\s*[\"']", text[start : start + 1000]):
            end = _matching(text, start)
            if _suggests(_literal(text[start:end]), found, names, _stands(text, start, end)):
                return found
            break
    return found


def _json_fault(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]


def _literal(text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError, OverflowError):
        pass
    parts, end = [], 0
    for start, stop in [*code.string_spans(text), (len(text), len(text))]:
        parts += [re.sub(r",(?=\s{0,1000}[}\]])", "", text[end:start]), text[start:stop]]
        end = stop
    try:
        return json.loads("".join(parts), strict=False)
    except (ValueError, RecursionError):
        return None


def _matching(text: str, start: int) -> int:
    """Return where the object that begins at ``start`` ends, its strings not counted."""
    scanner = code.StringScanner(text, start)
    depth = 0
    for match in BRACE.finditer(text, start):
        if not scanner.is_inside(match.start()):
            depth += 1 if match[0] == "{" else -1
            if depth == 0:
                return match.end()
    return len(text)


def _stands(text: str, start: int, end: int) -> Literal["alone", "apart", "within"]:
    """Return whether an object is all of a text, or may be a literal in code."""
    before, after = text[:start].strip(), text[end:].strip()
    if before.lower() in ("", "```", "```json") and after in ("", "```"):
        return "alone"
    return "apart" if "def " not in before and "import " not in before else "within"


def _suggests(data: Any, found: Found, names: Collection[str], stands: str) -> bool:
    """Add what an object suggests. Return whether it suggests or stops anything."""
    if not isinstance(data, dict):
        return False
    keys = SUGGESTIONS[:1] if stands == "within" else SUGGESTIONS
    key = next((key for key in keys if isinstance(data.get(key), dict | list)), None)
    if key is None and stands != "alone":
        return False
    values = data[key] if key else {k: v for k, v in data.items() if k not in BESIDE}
    if isinstance(values, list):  # [{"name": ..., "value": ...}, ...]
        pairs = [item for item in values if isinstance(item, dict) and {"name", "value"} <= set(item)]
        values = {str(item["name"]): item["value"] for item in pairs}
    elif key is None and not (values and set(values) <= set(names)):
        values = {}
    stop = data.get("stop") is True or str(data.get("stop")).strip().lower() in ("yes", "true")
    if key is None and not values and not stop:
        return False
    found.values = {_key(str(name), names): value for name, value in values.items()}
    found.reasoning = str(data.get("reasoning") or "")
    found.change = str(data.get("change") or "")
    found.stop = stop
    found.notes = (
        [] if values or stop else ["the suggestion in the JSON is empty; name a variable, or say stop"]
    )
    return True


def _key(name: str, names: Collection[str]) -> str:
    """Return the variable that a key means, which may be "gain:0" for gain."""
    name = plain_name(name)
    return name if name in names or name.startswith("__code") else name.partition(":")[0]
