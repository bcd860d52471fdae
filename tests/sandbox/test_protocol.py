"""What comes out of a child is read without trust."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trace_robot.fault import Fault
from trace_robot.sandbox.protocol import (
    CATEGORIES,
    ENTRY,
    MESSAGE_CHARS,
    FrameError,
    Sizes,
    WireRecord,
    clean,
    decode_entries,
    encode_entries,
)

SIZES = Sizes(printed_chars=50, records_bytes=100)
plain_text = st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=30)
faults = st.none() | st.builds(
    Fault, st.sampled_from(CATEGORIES), plain_text, st.none() | st.integers(1, 2**32 - 1)
)
entries = st.lists(st.builds(WireRecord, faults, plain_text, st.binary(max_size=100)), max_size=5)


@given(entries)
def test_entries_come_back_as_they_went(originals: list[WireRecord]) -> None:
    actions = b"abcd" * len(originals)
    payload = encode_entries(originals, actions)
    assert decode_entries(payload, len(originals), 4, SIZES) == (originals, actions)
    assert len(payload) <= SIZES.of_reply(len(originals), 4)


@given(st.binary(max_size=400), st.integers(0, 6))
def test_any_bytes_are_entries_or_a_frame_error(payload: bytes, count: int) -> None:
    try:
        decoded, actions = decode_entries(payload, count, 16, SIZES)
    except FrameError:
        return
    assert len(decoded) == count
    assert len(actions) == 16 * count
    assert all(len(entry.printed) <= 200 and len(entry.records) <= 100 for entry in decoded)


@pytest.mark.parametrize(
    ("head", "why"),
    [
        ((200, 0, 0, 0, 0), "a reply holds an entry that no honest child writes"),
        ((0, 0, 0, 201, 0), "a reply holds an entry that no honest child writes"),
        ((0, 0, 0, 0, 101), "a reply holds an entry that no honest child writes"),
        ((1, 5, 0, 0, 0), "the sizes in a reply do not add up"),
    ],
)
def test_an_entry_that_no_honest_child_writes_is_refused(head: tuple[int, ...], why: str) -> None:
    with pytest.raises(FrameError, match=why):
        decode_entries(ENTRY.pack(*head), 1, 0, SIZES)


def test_a_child_cannot_fault_the_environment() -> None:
    assert "environment" not in CATEGORIES


@given(st.text(max_size=3000))
def test_messages_are_one_printable_line_of_bounded_length(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned) <= MESSAGE_CHARS
    assert cleaned.isprintable()
