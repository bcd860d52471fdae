"""Strategies for odd texts: repetitions, mutations of real ones, and values that readers trip over."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

MOST = 20_000  # characters of one input
SHARES = st.integers(0, 1000)  # of a text's length, so that an edit stays in place while the text shrinks
DIGITS = ("9" * 400, "0x" + "f" * 5000, "1" * 5000, "1e400", "-1e999", "1_0" * 200, "0." + "0" * 400 + "1")
NESTED = (
    "[" * 900 + "]" * 900,
    "(" * 300,
    "{" * 200 + "}" * 200,
    "-" * 900 + "1",
    "not " * 300 + "1",
    "{[1]}",
    "{{}: 1}",
)
SIGNS = (
    "\r", "\r\n", "\x00", "\x0b", "\x0c", "\x1b[31m", "\x1b]0;owned\x07", "\x85", "\u2028", "\u202e",
    "\ufeff",
    "\ud800", "\udfff", "\x9b", "é", "𝒙", "\\", "\\N{DIGIT ONE}", "'", '"', '"""', "`", "```", "~~~",
    "\t", " ", "\n",
    "<", ">", "&lt;", "{", "}", "[", "]", "(", ")", ":", ",", "=", "#", "@", "*", "%s", "{0}", "$(id)",
    "..", "/", "NaN",
    "nan", "inf", "None", "true", "1j", "1e308", "-0.0", "0", "1", "2.5", "x",
)  # fmt: skip
ATOMS = (*SIGNS, *DIGITS, *NESTED)
# Numbers and texts as JSON, for columns and fields that say they are something else.
ODD_JSON = (
    "null", "true", "0", "-1", "1", "2", "9223372036854775807", "-9223372036854775808", "1e308",
    "-1e308", "1e-320",
    "NaN", "Infinity", "-Infinity", '""', '"x"', '"nan"', '"\\u0000"', '"\\ud800"', '"a\\nb"',
    '"\\u001b[31mred"',
    '"\\u202e"', '"[bold]"', '"[/bold]"', '"</script><script>"', '"../../canary"', '"/etc/passwd"', "[]",
    "{}", "[[]]",
    '[null]', '{"a": 1}', '[1, "x", null]', '{"": {}}', "9" * 400, "1" * 19, "[" * 50 + "]" * 50,
    '"' + "x" * 3000 + '"',
)  # fmt: skip
odd_json = st.sampled_from(ODD_JSON)


@st.composite
def repeated(draw: st.DrawFn, atoms: Sequence[str], most: int = MOST) -> str:
    """Return pieces, each up to many times, once more repeated: what shows a reader that is not linear."""
    text = ""
    for _ in range(draw(st.integers(1, 5))):
        piece = "".join(draw(st.lists(st.sampled_from(atoms), min_size=1, max_size=3)))
        text += piece * draw(st.sampled_from((1, 1, 1, 2, 3, 10, 40, 100, 400, 1600, 6400)))
        if len(text) > most:
            break
    return (text * draw(st.sampled_from((1, 1, 1, 2, 20))))[:most]


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[str], atoms: Sequence[str] = ATOMS, most: int = MOST) -> str:
    """Return a real text with up to five edits."""
    text = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 5))):
        first, second = sorted((draw(SHARES), draw(SHARES)))
        start, stop = first * len(text) // 1000, second * len(text) // 1000
        edit = draw(st.sampled_from(("insert", "insert", "delete", "double", "replace", "splice", "cut")))
        inside = text[start:stop]
        if edit == "insert":
            text = (
                text[:start]
                + draw(st.sampled_from(atoms)) * draw(st.sampled_from((1, 1, 2, 50, 1000)))
                + text[start:]
            )
        elif edit == "delete":
            text = text[:start] + text[stop:]
        elif edit == "double":
            text = text[:stop] + inside * draw(st.sampled_from((1, 1, 5, 50))) + text[stop:]
        elif edit == "replace":
            text = text[:start] + draw(st.sampled_from(atoms)) + text[min(len(text), start + 1) :]
        elif edit == "splice":
            other = draw(st.sampled_from(seeds))
            text = text[:start] + other[start % (len(other) + 1) :]
        else:
            text = text[:stop]
        text = text[:most]
    return text


@st.composite
def mutated_bytes(draw: st.DrawFn, seeds: Sequence[bytes], most: int = 200_000) -> bytes:
    """Return real bytes with up to five edits, none of which keeps them text."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 5))):
        at = draw(SHARES) * len(data) // 1000
        edit = draw(st.sampled_from(("flip", "insert", "delete", "double", "cut")))
        if edit == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ draw(st.integers(1, 255))]) + data[at + 1 :]
        elif edit == "insert":
            data = data[:at] + draw(st.binary(max_size=20)) + data[at:]
        elif edit == "delete":
            data = data[:at] + data[at + draw(st.integers(1, 200)) :]
        elif edit == "double":
            data = (
                data[:at] + data[at : at + draw(st.integers(1, 2000))] * draw(st.integers(1, 20)) + data[at:]
            )
        elif edit == "cut":
            data = data[:at]
        data = data[:most]
    return data


def texts(seeds: Sequence[str], atoms: Sequence[str], most: int = MOST) -> st.SearchStrategy[str]:
    """Return texts of all kinds.

    Args:
        seeds: real texts.
        atoms: what the grammar of these texts is made of.
        most: characters of a text.
    """
    everything = (*atoms, *ATOMS)
    return st.one_of(
        mutated(seeds, everything, most),
        repeated(atoms, most),
        repeated(everything, most),
        st.text(max_size=300),
    )


def odd_words(most: int = 2000) -> st.SearchStrategy[str]:
    """Return words as a stranger may write them where a name, a unit or a sentence is expected."""
    real = ("reach", "hand_position", "m", "rad/s", "Bring the point to the goal.", "act", "")
    return texts(real, (*SIGNS, "#Feedback\n", "\n\n#Others\n", "<stop>yes</stop>", "[bold]", "</pre>"), most)
