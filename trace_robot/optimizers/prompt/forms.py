"""The forms in which models write values: tags, JSON, code blocks; thoughts of reasoning models are left out.

A reply is untrusted and may be long. Every scanner is linear: no pattern has two repetitions over the same characters
side by side, each end is looked up by bisection, and each stretch of text is parsed at most once a form.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from trace_robot.optimizers import code

VALUE_TAGS = ("variable", "parameter")
THOUGHT = (
    r"(?:[a-z]{1,8}:)?(?:think|thinking|thoughts?|thought_process|reasoning|reason|reflection|scratchpad|analysis|"
    r"(?:inner_)?monologue|ant_?thinking|deliberation|plan|planning)"
)
# As reasoning models write them: <think>, [THINK], ◁think▷, <|think|>, <|begin_of_thought|>, <|START_THINKING|>.
TOKEN = re.compile(
    rf"<\s{{0,3}}(?P<close>/?)\s{{0,3}}(?P<tag>{'|'.join(VALUE_TAGS)}|change|stop|{THOUGHT})"
    r"(?P<attributes>[\s=/][^<>]{0,2000})?>"
    rf"|(?:\[|◁|<\|)(?P<close2>/?)(?P<tag2>{THOUGHT})(?:\]|▷|\|>)"
    r"|<\|(?P<end>begin|start|end)_?(?:of_?)?(?P<tag3>thought|thinking|think|reasoning|solution)\|>",
    re.IGNORECASE,
)
ATTRIBUTE = re.compile(r"(?<![\w:-])([\w:-]{1,100})\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"']+))")
# <variable act>, <variable=act>, and names whose quotes do not match.
NAME_ALONE = re.compile(r"\s*(?:name\b)?\s*=?\s*[\"']?([^\"'=]{1,300})[\"']?\s*/?$", re.IGNORECASE)
NAME_CHILD = re.compile(r"\s*<name\s{0,3}>([^<]{1,300})</name\s{0,3}>\s*", re.IGNORECASE)
WRAPPER = re.compile(r"<(value|code|python|source|content|pre)(?:\s[^<>]{0,100})?>", re.IGNORECASE)
ENVELOPE = re.compile(
    r"</?(?:answer|response|output|final|solution|result|code|python|variables)\s{0,3}>", re.I
)
FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
ENTITY = re.compile(r"&(lt|gt|amp|quot|apos|#39|#x27|#34|#x22);", re.IGNORECASE)
ENTITIES = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'", "#39": "'", "#x27": "'", "#34": '"'}
ESCAPED_TAG = re.compile(r"&lt;\s{0,3}(?:variable|stop)\b", re.IGNORECASE)
RAW_TAG = re.compile(r"<\s{0,3}(?:variable|stop)\b", re.IGNORECASE)
CHANNEL = re.compile(
    r"<\|channel\|>\s{0,3}(\w{1,20})[^<]{0,200}<\|message\|>|<\|(?:end|return|start|call)\|>"
)
BRACE = re.compile(r"[{}]")
SMALL_PRINT = re.compile(
    r"<(?:change|stop)\s{0,3}>[^<>]{0,1000}</(?:change|stop)\s{0,3}>|</[a-z]{1,20}>", re.I
)
SUGGESTIONS = ("suggestion", "suggestions", "values", "variables")
BESIDE = (
    "reasoning",
    "answer",
    "change",
    "stop",
    "thoughts",
    "explanation",
)  # keys of JSON that name no variable
MOST_MENTIONS = 40  # of tags in the strings of one code
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


@dataclass(frozen=True, slots=True)
class Token:
    """A tag or a mark of a reasoning model."""

    tag: str
    closes: bool
    attributes: str
    start: int
    stop: int

    @property
    def holds_value(self) -> bool:
        return self.tag in VALUE_TAGS

    @property
    def is_thought(self) -> bool:
        return not self.holds_value and self.tag not in ("change", "stop")


def unescape(text: str) -> str:
    """Return text with the signs that its HTML entities stand for."""
    return ENTITY.sub(lambda match: ENTITIES.get(match[1].lower(), '"'), text)


def final_answer(text: str) -> str:
    """Return a reply without what stands around a whole answer.

    These are the channels of the harmony format, the two headings of Granite, and the escapes of a reply that is
    escaped as a whole.
    """
    if "<|message|>" in text:
        text = _final_channel(text)
    elif text.startswith("analysis") and "assistantfinal" in text:  # the same without its special tokens
        text = text.rpartition("assistantfinal")[2]
    elif text.startswith("Here is my thought process:") and "Here is my response:" in text:
        text = text.partition("Here is my response:")[2]
    if ESCAPED_TAG.search(text) and not RAW_TAG.search(text):
        text = unescape(text)
    return text.strip()


def _final_channel(text: str) -> str:
    """Return the last message of the channel "final", else a thought with what follows it."""
    marks = list(CHANNEL.finditer(text))
    ends = [mark.start() for mark in marks] + [len(text)]
    finals = [index for index, mark in enumerate(marks) if (mark[1] or "").lower() in ("final", "commentary")]
    if finals:
        return text[marks[finals[-1]].end() : ends[finals[-1] + 1]]
    parts = [
        f"<think>{text[mark.end() : end]}</think>" if mark[1] else text[mark.end() : end]
        for mark, end in zip(marks, ends[1:], strict=True)
    ]
    return "".join(parts)


def tagged(text: str, code_names: Collection[str]) -> Found:
    """Read values in tags, and what is beside them.

    Args:
        text: a reply.
        code_names: the variables whose values are Python source.
    """
    return _Tags(text, code_names).read()


class _Tags:
    """A reply, its tokens, and for each tag where it is closed."""

    def __init__(self, text: str, code_names: Collection[str]) -> None:
        self.text, self.code_names = text, code_names
        self.tokens = [_token(match) for match in TOKEN.finditer(text)]
        if any(token.tag == "variable" for token in self.tokens):  # then <parameter> is no tag of ours
            self.tokens = [token for token in self.tokens if token.tag != "parameter"]
        self.closings: dict[str, list[int]] = defaultdict(list)  # by tag, indices of tokens
        self.values = [index for index, token in enumerate(self.tokens) if token.holds_value]
        self.partner: dict[int, int] = {}  # of each opening value tag that is closed, counting what is nested
        self.scans_strings = True
        waiting: dict[str, list[int]] = defaultdict(list)
        for index, token in enumerate(self.tokens):
            if token.closes:
                self.closings[token.tag].append(index)
                if token.holds_value and waiting[token.tag]:
                    self.partner[waiting[token.tag].pop()] = index
            elif token.holds_value:
                waiting[token.tag].append(index)

    def read(self) -> Found:
        """Return what the tags hold."""
        found = Found()
        index, position = self._first()
        skipped = [self.text[:position]]
        while index < len(self.tokens):
            token = self.tokens[index]
            if token.closes or self._is_quoted(token):
                index += 1
                continue
            end = self._element(token, index, found)
            if end is None:
                index += 1
                continue
            found.outside.append(self.text[position : token.start])
            if token.is_thought:
                skipped.append(self.text[token.start : end])
            position = end
            index = bisect_left(self.tokens, end, key=lambda token: token.start)
        found.outside.append(self.text[position:])
        if not found.values and any("<variable" in thought.lower() for thought in skipped):
            found.notes.append(
                "the <variable> blocks stand inside the thoughts, which are not read; write them after these"
            )
        return found

    def _element(self, token: Token, index: int, found: Found) -> int | None:
        """Read the element that a token opens. Return where it ends, None where it is none."""
        if token.holds_value:
            return self._value(token, index, found)
        closing = self._closing(token.tag, index)
        if token.tag == "stop":
            word = self.text[token.stop : token.stop + 20] if not token.attributes.endswith("/") else "yes"
            if found.stop is None:
                found.stop = bool(re.match(r"\W*(yes|true)\b", word, re.IGNORECASE))
            return closing.stop if closing and closing.start - token.stop <= 20 else token.stop
        if closing is None:
            return None
        inside = self.text[token.stop : closing.start].strip()
        if token.tag == "change":
            found.change = found.change or inside
        elif token.tag == "reasoning":
            found.reasoning = found.reasoning or inside
        return closing.stop

    def _first(self) -> tuple[int, int]:
        """Return the token and the offset behind the last thought that is closed but was never opened."""
        first, position, index, opened = 0, 0, 0, False
        while index < len(self.tokens):
            token = self.tokens[index]
            inside = opened and self._next_value_closes(index)  # such as "</think>" in the text of a variable
            if token.holds_value:
                opened = not token.closes
            elif token.is_thought and not inside and not self._is_quoted(token):
                closing = None if token.closes else self._closing(token.tag, index)
                if closing is not None:
                    index = bisect_left(self.tokens, closing.start, key=lambda token: token.start)
                elif token.closes:
                    first, position, opened = index + 1, token.stop, False
            index += 1
        rest = SMALL_PRINT.sub("", self.text[position:])
        # A stray tag behind the answer closes nothing: what stands before it is meant.
        return (first, position) if rest.strip() else (0, 0)

    def _next_value_closes(self, index: int) -> bool:
        later = bisect_left(self.values, index)
        return later < len(self.values) and self.tokens[self.values[later]].closes

    def _closing(self, tag: str, index: int) -> Token | None:
        """Return the next token that closes a tag."""
        indices = self.closings[tag]
        later = bisect_left(indices, index)
        return self.tokens[indices[later]] if later < len(indices) else None

    def _is_quoted(self, token: Token) -> bool:
        """Return whether a tag is only mentioned: between quotes or backticks."""
        before, after = self.text[token.start - 1 : token.start], self.text[token.stop : token.stop + 1]
        return bool(before) and before == after and before in "`'\""

    def _value(self, token: Token, index: int, found: Found) -> int:
        attributes = {
            match[1].lower(): match[2] or match[3] or match[4] or "" for match in _attributes(token)
        }
        name = next((attributes[key] for key in ("name", "id", "key") if key in attributes), "")
        if not name and (alone := NAME_ALONE.match(token.attributes)):
            name = alone[1].strip()
        start = token.stop
        child = NAME_CHILD.match(self.text, start)
        if child and not name:
            name, start = child[1], child.end()
        if token.attributes.endswith("/"):
            body, end = "", token.stop
        else:
            body, end = self._body(start, token, index, plain_name(name) in self.code_names)
        if not name:
            name, body = _name_behind(body)
        value = self._cleaned(body, plain_name(name))
        if not value.strip() and "value" in attributes:
            value = unescape(attributes["value"])
        elif token.attributes.endswith("/"):
            return end
        if name.strip():
            found.values[plain_name(name)] = value
        else:
            found.notes.append('a <variable> block has no name; write <variable name="NAME">')
            found.outside.append(value)  # a function in it may say which variable is meant
        return end

    def _cleaned(self, body: str, name: str) -> str:
        """Return a body without what is wrapped around the value."""
        is_code = name in self.code_names
        text = unwrapped(body, is_code=is_code)
        text = unfenced(text, is_code=is_code)
        return unescaped_code(text) if is_code else text

    def _body(self, start: int, token: Token, index: int, is_code: bool) -> tuple[str, int]:
        """Return the text of a block and where it ends.

        A tag may stand in a string of the code, and a whole block in a text. A block without its closing tag ends where
        the next one begins.
        """
        closing = self._closing(token.tag, index)
        following = self._after(index)
        if closing is None:
            end = self.tokens[following[0]].start if following else len(self.text)
            return self.text[start:end], end
        if is_code:
            outside = self._first_outside_strings(start, following)
            if outside is not None:
                return self.text[start : outside.start], outside.stop if outside.closes else outside.start
        elif following and not self.tokens[following[0]].closes:
            partner = self.partner.get(index)
            if partner is None:
                end = self.tokens[following[0]].start
                return self.text[start:end], end
            closing = self.tokens[partner]
        return self.text[start : closing.start], closing.stop

    def _after(self, index: int) -> list[int]:
        """Return the indices of the value tags behind a token: as many as strings of one body may hold."""
        later = bisect_left(self.values, index + 1)
        return self.values[later : later + MOST_MENTIONS]

    def _first_outside_strings(self, start: int, following: list[int]) -> Token | None:
        """Return the first value tag that is in no string of the code that begins at ``start``."""
        if not self.scans_strings or not following:
            return None
        fence = FENCE.search(self.text, start, self.tokens[following[0]].start)  # words before it are no code
        scanner = code.StringScanner(self.text, start)
        if fence and not scanner.is_inside(fence.start()):  # as it would be in a docstring
            scanner = code.StringScanner(self.text, fence.end())
        for index in following:
            if not scanner.is_inside(self.tokens[index].start):
                return self.tokens[index]
        self.scans_strings = False  # once in a reply, so that the scan stays linear
        return None


def _token(match: re.Match[str]) -> Token:
    tag = (match["tag"] or match["tag2"] or match["tag3"]).lower()
    if match["end"]:
        # <|begin_of_solution|> begins no thought: all before it is one.
        closes = (match["end"].lower() == "end") != (tag == "solution")
        return Token("thought mark", closes, "", match.start(), match.end())
    closes = bool(match["close"] or match["close2"])
    dialect = "" if match["tag"] else match[0][0]  # [think] does not close <think>
    return Token(tag + dialect, closes, match["attributes"] or "", match.start(), match.end())


def _attributes(token: Token) -> Iterator[re.Match[str]]:
    return ATTRIBUTE.finditer(token.attributes)


def plain_name(name: str) -> str:
    """Return a variable's name without the marks that models copy from the prompt, such as "(code) act"."""
    name = unescape(name).strip().strip("\"'`").strip()
    return name.partition(") ")[2].strip() if name.startswith("(") and ") " in name else name


def _name_behind(body: str) -> tuple[str, str]:
    """Return the name that follows a value in a body, and the body without it."""
    at = body.lower().rfind("<name")
    match = NAME_CHILD.fullmatch(body, at) if at >= 0 else None
    return (match[1], body[:at]) if match else ("", body)


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
        return body.strip("\n")
    if before and not isinstance(code.parse(code.tidy(body, "")), str):
        return body.strip("\n")
    mark = fences[0].group(1)
    ends = [f for f in fences[1:] if f.group(1).startswith(mark) and not f.group(2).strip()]
    return body[fences[0].end() : ends[-1].start() if ends else len(body)].strip("\n")


def _is_fence(match: re.Match[str]) -> bool:
    """Return whether a line is a fence: the info string of backticks holds none (CommonMark 4.5)."""
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
        source = unescaped_code(text[start:end].strip("\n"))
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
    """Read the form of the published implementation, {"reasoning": ..., "suggestion": {...}}, and its kin.

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
        if _suggests(data, found, names):
            return found
        if room < 0:
            break
    for start in starts:  # a Python literal, or JSON with commas too many
        if re.match(r"\{\s*[\"']", text[start : start + 1000]):
            if _suggests(_literal(text[start : _matching(text, start)]), found, names):
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


def _suggests(data: Any, found: Found, names: Collection[str]) -> bool:
    """Add what an object suggests. Return whether it suggests or stops anything."""
    if not isinstance(data, dict):
        return False
    key = next((key for key in SUGGESTIONS if isinstance(data.get(key), dict | list)), None)
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
    """Return the variable that a key of JSON means; the published form has "gain:0" for gain."""
    name = plain_name(name)
    return name if name in names or name.startswith("__code") else name.partition(":")[0]
