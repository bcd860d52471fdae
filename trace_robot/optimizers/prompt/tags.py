"""Read values in tags, as prompts ask for them, and leave out thoughts of reasoning models.

The reply is split into tags once. Where each is closed is looked up by bisection, and strings of code are found without
parsing it, so that no reply takes longer than its length allows.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from trace_robot.optimizers import code
from trace_robot.optimizers.prompt.forms import (
    FENCE,
    Found,
    plain_name,
    unescape,
    unescaped_code,
    unfenced,
    unwrapped,
)

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
    r"|<\|(?P<end>begin|start|end)_?(?:of_?)?(?P<tag3>thought|thinking|think|reasoning|solution)\|>"
    r"|(?P<channel><\|channel>thought|<channel\|>)",
    re.IGNORECASE,
)
ATTRIBUTE = re.compile(r"(?<![\w:-])([\w:-]{1,100})\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"']+))")
# <variable act>, <variable=act>, and names whose quotes do not match.
NAME_ALONE = re.compile(r"\s*(?:name\b)?\s*=?\s*[\"']?([^\"'=]{1,300})[\"']?\s*/?$", re.IGNORECASE)
NAME_CHILD = re.compile(r"\s*<name\s{0,3}>([^<]{1,300})</name\s{0,3}>\s*", re.IGNORECASE)
ESCAPED_TAG = re.compile(r"&lt;\s{0,3}(?:variable|stop)\b", re.IGNORECASE)
RAW_TAG = re.compile(r"<\s{0,3}(?:variable|stop)\b", re.IGNORECASE)
CHANNEL = re.compile(
    r"<\|channel\|>\s{0,3}(\w{1,20})[^<]{0,200}(?:<\|constrain\|>[^<]{0,50})?<\|message\|>|<\|(?:end|return|start|call)\|>"
)
SMALL_PRINT = re.compile(
    r"<(?:change|stop)\s{0,3}>[^<>]{0,1000}</(?:change|stop)\s{0,3}>|</[a-z]{1,20}>", re.I
)
MOST_MENTIONS = 40  # of tags in the strings of one code


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


def final_answer(text: str) -> str:
    """Return a reply without what stands around a whole answer.

    These are the channels of the harmony format, the headings of Granite and Ollama, and the escapes of a reply that
    is escaped as a whole.
    """
    if "<|message|>" in text:
        text = _final_channel(text)
    elif text.startswith("analysis") and "assistantfinal" in text:  # the same without its special tokens
        text = text.rpartition("assistantfinal")[2]
    elif text.startswith("Here is my thought process:") and "Here is my response:" in text:
        text = text.partition("Here is my response:")[2]
    elif text.startswith("Thinking...") and "...done thinking." in text:
        text = text.partition("...done thinking.")[2]
    if ESCAPED_TAG.search(text) and not RAW_TAG.search(text):
        text = unescape(text)
    return text.strip()


def _final_channel(text: str) -> str:
    """Return the last message of the channel "final", else the messages as thoughts."""
    marks = list(CHANNEL.finditer(text))
    ends = [mark.start() for mark in marks] + [len(text)]
    finals = [index for index, mark in enumerate(marks) if (mark[1] or "").lower() in ("final", "commentary")]
    if finals:
        return text[marks[finals[-1]].end() : ends[finals[-1] + 1]]
    parts = [
        f"<think>{text[mark.end() : end]}</think>" if mark[1] else text[mark.end() : end]
        for mark, end in zip(marks, ends[1:], strict=True)
    ]
    return "".join([text[: ends[0]], *parts])


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
        """Read the element that a token opens, and return where it ends, if it does."""
        if token.holds_value:
            return self._value(token, index, found)
        closing = self._closing(token.tag, index)
        if token.tag == "stop":
            word = self.text[token.stop : token.stop + 20]
            if token.attributes.endswith("/"):  # <stop/>, <stop value="no"/>
                word = next((match[2] or match[3] or "" for match in _attributes(token)), "yes")
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
        """Return the token and the offset behind the last thought that was not opened."""
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
        """Return the indices of the value tags behind a token, the first MOST_MENTIONS."""
        later = bisect_left(self.values, index + 1)
        return self.values[later : later + MOST_MENTIONS]

    def _first_outside_strings(self, start: int, following: list[int]) -> Token | None:
        """Return the first value tag that is in no string of the code at ``start``."""
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
    if match["channel"]:
        return Token("thought channel", match["channel"] == "<channel|>", "", match.start(), match.end())
    tag = (match["tag"] or match["tag2"] or match["tag3"]).lower()
    if match["end"]:
        # <|begin_of_solution|> begins no thought: all before it is one.
        closes = (match["end"].lower() == "end") != (tag == "solution")
        return Token("thought mark", closes, "", match.start(), match.end())
    closes = bool(match["close"] or match["close2"])
    dialect = "" if match["tag"] else match[0][0]  # [think] does not close <think>
    attributes = (match["attributes"] or "").replace('\\"', '"')  # as in a JSON string
    return Token(tag + dialect, closes, attributes, match.start(), match.end())


def _attributes(token: Token) -> Iterator[re.Match[str]]:
    return ATTRIBUTE.finditer(token.attributes)


def _name_behind(body: str) -> tuple[str, str]:
    """Return the name that follows a value in a body, and the body without it."""
    at = body.lower().rfind("<name")
    match = NAME_CHILD.fullmatch(body, at) if at >= 0 else None
    return (match[1], body[:at]) if match else ("", body)
