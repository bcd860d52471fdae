from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trace_robot.errors import ReplayMismatchError, RunError
from trace_robot.llm import (
    MeteredModel,
    RecordingModel,
    ReplayModel,
    Reply,
    ScriptedModel,
    connect,
    read_record,
)
from trace_robot.llm.recording import PromptDiffersError


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "rules\nof play"}, {"role": "user", "content": text}]


def test_a_recorded_exchange_is_replayed_word_for_word(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    reply = Reply("line one\n```python\nx = '\"'\n```\n\u00e9 \U0001f916", "length", 10, 5)
    RecordingModel(ScriptedModel([reply]), path).chat(ask("one\ntwo"))
    assert ReplayModel(path).chat(ask("one\ntwo")) == [reply]


def test_separators_of_lines_that_are_no_line_end_of_json_are_replayed(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    RecordingModel(ScriptedModel(["a\u2028b\x85", "c"]), path).chat(ask("\u2029\x0b"), 2)
    assert [reply.text for reply in ReplayModel(path).chat(ask("\u2029\x0b"), 2)] == ["a\u2028b\x85", "c"]


def test_the_record_is_one_json_line_an_exchange_with_texts_by_lines(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    recorder = RecordingModel(ScriptedModel(["first\nanswer", "second"]), path)
    recorder.chat(ask("a"))
    recorder.chat(ask("b"))
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["number"] for line in lines] == [1, 2]
    assert lines[0]["messages"][0]["content"] == ["rules", "of play"]
    assert lines[0]["replies"][0]["text"] == ["first", "answer"]


def test_answers_are_found_by_their_prompt_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    recorder = RecordingModel(ScriptedModel(["to a", "to b", "to a again"]), path)
    for text in "aba":
        recorder.chat(ask(text))
    replay = ReplayModel(path)
    assert [replay.chat(ask(text))[0].text for text in "baa"] == ["to b", "to a", "to a again"]
    assert replay.remaining == 0


def test_a_prompt_that_is_not_in_the_record_is_reported_with_the_difference(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    RecordingModel(ScriptedModel(["x"]), path).chat(ask("same\nscore 1.5\nend"))
    with pytest.raises(PromptDiffersError) as caught:
        ReplayModel(path).chat(ask("same\nscore 1.6\nend"))
    assert str(caught.value) == (
        "prompt 1 differs from the recorded one at line 6: recorded 'score 1.5', asked 'score 1.6'"
    )
    assert "-score 1.5\n+score 1.6" in caught.value.difference


def test_a_prompt_that_only_goes_on_longer_is_reported_too(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    RecordingModel(ScriptedModel(["x"]), path).chat(ask("same"))
    with pytest.raises(ReplayMismatchError, match="recorded 'nothing', asked 'more'"):
        ReplayModel(path).chat(ask("same\nmore"))


def test_a_used_up_record_says_so(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    RecordingModel(ScriptedModel(["x"]), path).chat(ask("a"))
    replay = ReplayModel(path)
    replay.chat(ask("a"))
    with pytest.raises(ReplayMismatchError, match=r"record.jsonl has no answer left: all 1 are used"):
        replay.chat(ask("a"))


def test_going_on_with_a_record_pays_for_no_answer_twice(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    RecordingModel(ScriptedModel(["paid for"]), path).chat(ask("a"))
    meter = MeteredModel(ScriptedModel(["new"]))
    again = RecordingModel(meter, path)
    assert again.chat(ask("a"))[0].text == "paid for"
    assert meter.usage.calls == 0
    assert again.chat(ask("a"))[0].text == "new"
    assert [exchange.number for exchange in read_record(path)] == [1, 2]


def test_a_half_written_last_line_is_dropped_and_the_record_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    RecordingModel(ScriptedModel(["kept"]), path).chat(ask("a"))
    with path.open("a") as file:
        file.write('{"number": 2, "messages": [{"ro')
    recorder = RecordingModel(ScriptedModel(["new"]), path)
    recorder.chat(ask("b"))
    assert [exchange.replies[0].text for exchange in read_record(path)] == ["kept", "new"]


@pytest.mark.parametrize("line", ["[]", "[" * 100_000, '{"messages": 3}', "not json\n{}"])
def test_a_file_that_is_no_record_is_an_error_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "record.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(RunError, match="line 1 of the record"):
        read_record(path)


def test_a_missing_record_is_an_error() -> None:
    with pytest.raises(RunError, match="cannot read the record"):
        ReplayModel("/nowhere/record.jsonl")


def test_text_with_lone_surrogates_can_be_recorded(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    RecordingModel(ScriptedModel(["half \ud83e of a pair"]), path).chat(ask("a"))
    assert ReplayModel(path).chat(ask("a"))[0].text == "half ? of a pair"


def test_a_record_holds_no_key(server: Any, answers: Any, tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    server.answers.append(answers.says("better"))
    connection = connect("small", server.url, api_key=answers.key, record=path)
    assert connection.chat(ask("a"))[0].text == "better"
    assert connection.usage.calls == 1
    assert answers.key not in path.read_text()
    assert answers.key not in connection.described + repr(connection.model)


def test_a_replay_needs_no_endpoint(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    RecordingModel(ScriptedModel(["x"]), path).chat(ask("a"))
    connection = connect(replay=path)
    assert connection.chat(ask("a"))[0].text == "x"
    assert connection.described == "the record record.jsonl of 1 exchanges"
