"""A run that shows its model pictures: drawn once, recorder, left out where nothing can be drawn."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trace_robot.errors import RenderError, ValueMismatchError
from trace_robot.llm import ScriptedModel
from trace_robot.llm.model import images_of
from trace_robot.rollout.episode import Episode
from trace_robot.run import recorder
from trace_robot.run.optimize import optimize, resume
from trace_robot.spec import States
from trace_robot.store.codec import encode_json

LITTLE: dict[str, Any] = {
    "episodes": 1,
    "confirm": 0,
    "grow": 0,
    "held_out": 1,
    "workers": 0,
    "video": False,
    "tune": False,
    "iterations": 2,
    "images": True,
}


def answer(number: int) -> str:
    code = f"def act(observation, memory):\n    return [0.0, 0.0, 0.0, 0.{number}]"
    return f'<change>{number}</change><variable name="act">\n```python\n{code}\n```\n</variable>'


def test_the_model_sees_the_trial_that_it_works_on_and_a_resumed_run_draws_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(messages: Any) -> str:
        raise KeyboardInterrupt

    model = ScriptedModel([answer(1), stop])
    with pytest.raises(KeyboardInterrupt):
        optimize("reach-v3", model=model, out=tmp_path / "run", **LITTLE)
    pictures = images_of(model.history[0][-1])
    assert pictures[0][0].startswith(
        "Moments of episode 1 in one picture, row by row: decision 0: the start; "
    )
    assert all(url.startswith("data:image/png;base64,iVBOR") for _, url in pictures)
    assert len(pictures) == 1  # all moments in one
    assert "data:image" not in (tmp_path / "run" / "iterations" / "001" / "attempts.json").read_text()

    def refuse(*_: Any) -> Any:
        raise AssertionError("drawn again")

    before = images_of(model.history[1][-1])
    model = ScriptedModel([answer(2)])
    if before == pictures:  # the second prompt works on the same trial, whose pictures are in the journal
        monkeypatch.setattr(recorder, "draw", refuse)
    assert resume(tmp_path / "run", model=model).model_calls == 2
    assert images_of(model.history[0][-1]) == before


def test_a_run_goes_on_in_text_where_there_is_nothing_to_draw(tmp_path: Path, point_mass: Any) -> None:
    model = ScriptedModel([answer(1), answer(2)])
    optimize("point-mass", model=model, out=tmp_path / "run", **LITTLE)
    assert [images_of(messages[-1]) for messages in model.history] == [[], []]


class Entries:
    """A journal without entries, which keeps what is put."""

    def __init__(self) -> None:
        self.put_there: list[tuple[Any, ...]] = []

    def take_next(self, *_: Any) -> Any:
        return None

    def put(self, *entry: Any) -> None:
        self.put_there.append(entry)


def test_what_cannot_be_drawn_is_noted_once_and_journaled_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RenderError("no such model")

    monkeypatch.setattr(recorder, "draw", fail)
    notes: list[str] = []
    journal: Any = Entries()
    spec: Any = None
    source = recorder.JournaledPictures(journal, spec, None, notes.append)
    states = States(np.zeros((2, 1)), np.zeros((2, 0, 3)), np.zeros((2, 0, 4)), np.arange(2.0))
    nothing = np.zeros((0, 1))
    source.remember(4, [Episode(0, "time", 1, np.zeros(1), nothing, nothing, states=states)])
    assert source(4) == source(4) == []
    assert notes == ["no pictures for the model: no such model"]
    assert len(journal.put_there) == 1


def test_pictures_for_an_optimizer_that_asks_no_model_are_refused(tmp_path: Path, point_mass: Any) -> None:
    with pytest.raises(ValueMismatchError, match="the optimizer search asks none; leave --images out"):
        optimize("point-mass", optimizer="search", images=True, steps=300, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pictures_of_a_journal_are_data_and_no_addresses() -> None:
    rows = [["a", "data:image/png;base64,AAAA"], ["b", "http://example.com/x.png"], ["c", "data:text/html,x"]]

    class Journal(Entries):
        def take_next(self, *_: Any) -> Any:
            return SimpleNamespace(data=encode_json({"pictures": rows}))

    spec: Any = None
    journal: Any = Journal()
    source = recorder.JournaledPictures(journal, spec, None, lambda text: None)
    assert source(1) == [("a", "data:image/png;base64,AAAA")]
