"""Pictures in a prompt: content parts, refusals, tokens, records."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from trace_robot.errors import ContextLengthError
from trace_robot.llm import Budget, MeteredModel, Prices, ScriptedModel
from trace_robot.llm.metering import message_tokens
from trace_robot.llm.model import IMAGE_TOKENS, images_of, with_images
from trace_robot.llm.recording import RecordingModel, ReplayModel, read_record
from trace_robot.run.journaled import request_hash

PIXEL = base64.b64encode(b"\x89PNG and so on").decode()
URL = f"data:image/png;base64,{PIXEL}"
TEXT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "improve"}]
SEEN = with_images(TEXT, [("Picture of episode 1, decision 0: the start", URL), ("the end", URL)])


def test_pictures_are_sent_as_content_parts_behind_the_text(server: Any, answers: Any) -> None:
    server.answers.append(answers.says("better"))
    assert server.model().chat(SEEN)[0].text == "better"
    system, user = server.requests[0]["messages"]
    assert system == TEXT[0]
    assert user == {
        "role": "user",
        "content": [
            {"type": "text", "text": "improve"},
            {"type": "text", "text": "Picture of episode 1, decision 0: the start"},
            {"type": "image_url", "image_url": {"url": URL}},
            {"type": "text", "text": "the end"},
            {"type": "image_url", "image_url": {"url": URL}},
        ],
    }


REFUSED = {
    "OpenAI": (400, "Invalid content type. image_url is only supported by certain models."),
    "vLLM": (400, "At most 0 image(s) may be provided in one request."),
    "vLLM, a text model": (400, "m is not a multimodal model"),
    "llama.cpp": (500, "image input is not supported - hint: you may need to provide the mmproj"),
    "OpenRouter": (404, "No endpoints found that support image input"),
    "DeepSeek": (400, "Failed to deserialize: messages[1]: unknown variant `image_url`, expected `text`"),
    "pydantic": (422, "messages.1.content: Input should be a valid string"),
    "too large": (413, "Request Entity Too Large"),
    "larger than it takes": (400, "image exceeds 5 MB maximum"),
    "no reason": (400, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_pictures_that_are_refused_are_left_out_for_the_run_and_noted_once(
    server: Any, answers: Any, name: str
) -> None:
    code, reason = REFUSED[name]

    def answer(handler: Any, request: dict[str, Any]) -> None:
        seen = any(not isinstance(message["content"], str) for message in request["messages"])
        (answers.status(code, reason) if seen else answers.says("better"))(handler, request)

    server.answers.extend([answer] * 4)
    model = server.model()
    assert model.chat(SEEN)[0].text == "better"
    assert model.chat(SEEN)[0].text == "better"
    assert [request["messages"] == TEXT for request in server.requests] == [False, True, True]
    assert [a.kind for a in model.adjustments] == ["images"]
    assert len(model.notes) == 1
    assert model.notes[0].startswith("the endpoint refuses pictures (")
    assert server.sleeps == []


def test_a_text_that_is_too_long_without_pictures_too_is_the_callers_to_shorten(
    server: Any, answers: Any
) -> None:
    server.answers.extend([answers.status(400, "maximum context length is 4096 tokens")] * 2)
    model = server.model()
    with pytest.raises(ContextLengthError):
        model.chat(SEEN)
    assert len(server.requests) == 2
    assert server.requests[1]["messages"] == TEXT


def test_a_prompt_without_pictures_is_sent_and_hashed_as_ever(server: Any, answers: Any) -> None:
    server.answers.append(answers.says("better"))
    server.model().chat(TEXT)
    assert server.requests[0]["messages"] == TEXT
    assert with_images(TEXT, []) == TEXT
    assert request_hash(TEXT, 1) == request_hash(with_images(TEXT, []), 1) != request_hash(SEEN, 1)


def test_pictures_fold_with_the_system_role(server: Any, answers: Any) -> None:
    server.answers.extend([answers.status(400, "System role not supported"), answers.says("better")])
    server.model().chat(SEEN)
    (user,) = server.requests[1]["messages"]
    assert [part["type"] for part in user["content"]] == ["text", "text", "image_url", "text", "image_url"]
    assert user["content"][0]["text"] == "Be brief.\n\nimprove"


def test_pictures_count_as_tokens_and_money() -> None:
    assert message_tokens(SEEN) - message_tokens(TEXT) >= 2 * IMAGE_TOKENS
    dear = MeteredModel(ScriptedModel(["x"]), Budget(tokens=message_tokens(SEEN) + 10), prices=Prices(1e6, 0))
    dear.chat(SEEN)
    assert dear.usage.money >= 2 * IMAGE_TOKENS


def test_a_record_holds_the_pictures_and_answers_the_same_text_with_others(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    RecordingModel(ScriptedModel(["better"]), path).chat(SEEN)
    (exchange,) = read_record(path)
    assert images_of(exchange.messages[1]) == images_of(SEEN[1])
    assert json.loads(path.read_text())["messages"][1]["images"][1] == ["the end", URL]
    drawn_elsewhere = with_images(TEXT, [("the end", URL + "AAAA")])
    assert ReplayModel(path).chat(drawn_elsewhere)[0].text == "better"
