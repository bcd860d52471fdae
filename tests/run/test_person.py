"""A person's words on an iteration: in the next prompt, in the journal, bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trace_robot.errors import RunError, ValueMismatchError
from trace_robot.llm import ScriptedModel
from trace_robot.run.loop import Iterated
from trace_robot.run.optimize import optimize, resume
from trace_robot.run.person import LONGEST_NOTE, MOST_NOTES, NotesFile, Question, TypedWords, tidied
from trace_robot.store import words

pytestmark = pytest.mark.usefixtures("point_mass")
LITTLE: dict[str, Any] = {
    "episodes": 1,
    "confirm": 0,
    "grow": 0,
    "held_out": 1,
    "workers": 0,
    "video": False,
    "tune": False,
    "iterations": 3,
}


def answer(number: int) -> str:
    code = f"def act(observation, memory):\n    return [0.0, 0.0, 0.0, 0.{number}]"
    return f'<change>{number}</change><variable name="act">\n```python\n{code}\n```\n</variable>'


class Watcher:
    def __init__(self, *words: str | BaseException) -> None:
        self.words, self.asked = list(words), list[Question]()

    def __call__(self, question: Question) -> list[str]:
        self.asked.append(question)
        word = self.words.pop(0) if self.words else ""
        if isinstance(word, BaseException):
            raise word
        return [word]


def test_words_are_in_the_next_prompt_marked_as_a_persons_and_a_resumed_run_has_them_unasked(
    tmp_path: Path,
) -> None:
    model = ScriptedModel([answer(1), answer(2)])
    first = Watcher("it pushes too hard;\ncome from above", "", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        optimize("point-mass", model=model, out=tmp_path / "run", ask_person=first, **LITTLE)
    assert [question.iteration for question in first.asked] == [0, 1, 2]
    assert [question.taken for question in first.asked] == [0, 1, 1]
    line = '- Trial 0: a person who watched it wrote: "it pushes too hard; come from above"'
    before = model.history[0][-1]["content"]
    assert line in before.split("\n")
    assert before.index("#Feedback") < before.index(line)

    model, second = ScriptedModel([answer(3)]), Watcher("now from the side")
    resume(tmp_path / "run", model=model, ask_person=second)
    assert [question.iteration for question in second.asked] == [2, 3]
    assert "now from the side" in model.history[0][-1]["content"]


def test_a_run_that_is_resumed_without_asking_keeps_the_words_that_it_had(tmp_path: Path) -> None:
    model = ScriptedModel([answer(1)])
    with pytest.raises(KeyboardInterrupt):
        optimize(
            "point-mass",
            model=model,
            out=tmp_path / "run",
            ask_person=Watcher("come from above", KeyboardInterrupt()),
            **LITTLE,
        )
    model = ScriptedModel([answer(2), answer(3)])
    result = resume(tmp_path / "run", model=model)
    assert result.model_calls == 3
    assert len(model.history) == 2  # the first prompt, with the words in it, was found in the journal


@pytest.mark.parametrize("optimizer", ["search", "cma"])
def test_words_for_an_optimizer_that_asks_no_model_are_refused_before_a_folder_is_made(
    optimizer: str, tmp_path: Path
) -> None:
    policy = "numbers.py" if optimizer == "cma" else "do_nothing"
    if optimizer == "cma":
        (tmp_path / policy).write_text(
            "from trace_robot import node\n\ng = node(1.0, trainable=True)\n\n\ndef act(o):\n    return [g.data] * 4\n"
        )
        policy = str(tmp_path / policy)
    with pytest.raises(ValueMismatchError, match=f"the optimizer {optimizer} asks none; leave --ask"):
        optimize(
            "point-mass",
            optimizer=optimizer,
            policy=policy,
            out=tmp_path / "run",
            ask_person=Watcher(),
            steps=300,
        )
    assert not (tmp_path / "run").exists()


def test_words_are_lines_of_bounded_length_and_number() -> None:
    long = "x" * 10_000
    assert tidied(["  a\x1b[31m b\r\n", "", "\n", long]) == ["a [31m b", "x" * (LONGEST_NOTE - 3) + "..."]
    assert len(tidied(["w"] * 100)) == MOST_NOTES


def test_a_file_gives_each_whole_line_once_also_after_an_interruption(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    notes = NotesFile(path)
    question = Question(0, 0.0, tmp_path)
    assert notes(question) == []  # not there yet
    path.write_text("slower\n\nfrom ab")
    assert notes(question) == ["slower"]
    path.write_text("slower\n\nfrom above\n")
    assert notes(question) == ["from above"]
    assert notes(question) == []
    assert NotesFile(path)(Question(3, 0.0, tmp_path, taken=1)) == ["from above"]


def test_a_file_of_notes_that_is_none_is_an_error_and_bytes_that_are_no_text_are_not(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot read the notes"):
        NotesFile(tmp_path)(Question(0, 0.0, tmp_path))
    (tmp_path / "notes").write_bytes(b"\xff\xfe bad\n" + b"z" * 200_000)
    assert NotesFile(tmp_path / "notes")(Question(0, 0.0, tmp_path)) == ["\ufffd\ufffd bad"]


def test_what_is_typed_on_the_page_while_a_run_goes_on_is_in_its_next_prompt_and_its_record(
    tmp_path: Path,
) -> None:
    model = ScriptedModel([answer(1), answer(2), answer(3)])
    folder = tmp_path / "run"

    def type_words(event: object) -> None:
        if isinstance(event, Iterated) and event.iteration == 1:
            assert words.is_offered(folder)  # since the first iteration
            words.add(folder, "it pushes too hard;\ncome from above")

    optimize("point-mass", model=model, out=folder, ask_person=TypedWords(), on_event=type_words, **LITTLE)
    prompts = [messages[-1]["content"] for messages in model.history]
    line = '- Trial 1: a person who watched it wrote: "it pushes too hard; come from above"'
    assert [line in prompt.split("\n") for prompt in prompts] == [False, True, True]
    assert "come from above" in (folder / "iterations" / "002" / "attempts.json").read_text()


def test_words_from_the_page_are_read_once_also_after_an_interruption(tmp_path: Path) -> None:
    question = Question(0, 0.0, tmp_path / "run" / "iterations" / "000")
    question.folder.mkdir(parents=True)
    typed = TypedWords()
    assert typed(question) == []
    for number in range(4):
        words.add(tmp_path / "run", f"sentence {number}")
    assert typed(question) == ["sentence 0", "sentence 1", "sentence 2"]
    assert typed(question) == ["sentence 3"]
    assert typed(question) == []
    assert TypedWords()(Question(4, 0.0, question.folder, taken=3)) == ["sentence 3"]
