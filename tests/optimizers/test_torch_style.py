from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from trace_robot.errors import ModelError, OrderError
from trace_robot.llm import ScriptedModel
from trace_robot.optimizers import OPRO, Latest, OptoPrime
from trace_robot.trace import bundle, node


def value(name: str, text: object) -> str:
    return f'<variable name="{name}">{text}</variable>'


def test_the_trio_changes_a_number_in_place() -> None:
    x = node(2.0, name="x", trainable=True)
    optimizer = OptoPrime([x], ScriptedModel([value("x", 5)]))
    optimizer.zero_feedback()
    optimizer.backward(x * 3.0, "should be 15")
    assert optimizer.step() == {"x": 5.0}
    assert x.data == 5.0


def test_the_trio_rewrites_the_code_of_a_trainable_bundle() -> None:
    @bundle(trainable=True)
    def half(x: Any) -> Any:
        """Return half of x."""
        return x

    model = ScriptedModel(
        ['<variable name="half">\n```python\ndef half(x):\n    return x / 2\n```\n</variable>']
    )
    optimizer = OptoPrime([half.parameter], model)
    output = half(node(8.0, name="number"))
    assert output.data == 8.0
    optimizer.zero_feedback()
    optimizer.backward(output, "should be 4")
    optimizer.step()
    assert half(node(8.0)).data == 4.0
    prompt = model.history[0][-1]["content"]
    assert "half = half(x=number)" in prompt
    assert "should be 4" in prompt
    assert "Return half of x." in prompt


def test_without_scores_the_chain_goes_on_from_the_last_values() -> None:
    x = node(2.0, name="x", trainable=True)
    model = ScriptedModel([value("x", 5), value("x", 6)])
    optimizer = OptoPrime([x], model)
    for feedback in ("more", "still more"):
        optimizer.zero_feedback()
        optimizer.backward(x + 1.0, feedback)
        optimizer.step()
    assert x.data == 6.0
    prompt = model.history[1][-1]["content"]
    assert "(number) x = 5.0" in prompt
    assert "Trial 1: no score\nstill more" in prompt
    assert "Trial 0: no score" in prompt


def test_with_scores_the_best_is_gone_on_from() -> None:
    x = node(2.0, name="x", trainable=True)
    model = ScriptedModel([value("x", 5), value("x", 6)])
    optimizer = OptoPrime([x], model)
    for score in (1.0, -3.0):
        optimizer.zero_feedback()
        optimizer.backward(x + 1.0, "more")
        optimizer.step(score=score)
    assert "(number) x = 2.0" in model.history[1][-1]["content"]
    assert optimizer.best is not None
    assert optimizer.best.values == {"x": 2.0}


def test_a_number_as_feedback_is_the_score() -> None:
    x = node(2.0, name="x", trainable=True)
    optimizer = OptoPrime([x], ScriptedModel([value("x", 5)]))
    optimizer.backward(x + 1.0, 0.25)
    optimizer.step()
    assert optimizer.trials[0].outcome.score == 0.25


def test_several_outputs_are_one_step() -> None:
    x = node(2.0, name="x", trainable=True)
    model = ScriptedModel([value("x", 5)])
    optimizer = OptoPrime([x], model)
    optimizer.backward(x + 1.0, "one too low")
    optimizer.backward(x * 4.0, "the other too high")
    optimizer.step()
    prompt = model.history[0][-1]["content"]
    assert "one too low" in prompt
    assert "the other too high" in prompt


def test_values_changed_by_hand_are_a_trial_of_their_own() -> None:
    x = node(2.0, name="x", trainable=True)
    optimizer = OptoPrime([x], ScriptedModel([value("x", 5), value("x", 7)]))
    optimizer.backward(x + 1.0, "more")
    optimizer.step()
    x.data = 6.0
    optimizer.zero_feedback()
    optimizer.backward(x + 1.0, "more")
    optimizer.step()
    assert [trial.candidate.values["x"] for trial in optimizer.trials] == [2.0, 6.0]


def test_a_step_without_feedback_is_an_error_that_names_backward() -> None:
    optimizer = OptoPrime([node(2.0, trainable=True)])
    with pytest.raises(OrderError, match=r"step needs feedback; call backward\(output, feedback\)"):
        optimizer.step()


def test_a_model_without_an_answer_leaves_the_values_alone() -> None:
    x = node(2.0, name="x", trainable=True)
    optimizer = OptoPrime([x], ScriptedModel([ModelError("cannot reach a model")]))
    optimizer.backward(x + 1.0, "more")
    with pytest.raises(ModelError):
        optimizer.step()
    assert x.data == 2.0


def test_parameters_that_are_not_trainable_are_left_out_and_none_at_all_is_an_error() -> None:
    from trace_robot.errors import ValueMismatchError

    with pytest.raises(ValueMismatchError, match="needs at least one parameter"):
        OptoPrime([node(2.0)])


def test_two_parameters_of_one_name_stay_apart() -> None:
    first, second = (node(2.0, name="x", trainable=True) for _ in range(2))
    optimizer = OptoPrime([first, second])
    assert len(optimizer.nodes) == 2
    assert set(optimizer.nodes.values()) == {first, second}


def test_copy_and_summary_work_without_a_model() -> None:
    x = node(2.0, name="x", trainable=True)
    optimizer = OptoPrime([x])
    optimizer.backward(x + 1.0, "more")
    copied = copy.deepcopy(optimizer)
    assert copied.parameters[0] is x
    assert copied.summarize().feedback == "more"
    copied.trials.append(None)  # type: ignore[arg-type]
    assert optimizer.trials == []


def test_opro_is_used_the_same_way() -> None:
    x = node(2.0, name="x", trainable=True)
    model = ScriptedModel([value("x", 5)])
    optimizer = OPRO([x], model)
    optimizer.backward(x + 1.0, "more")
    optimizer.step(score=1.5)
    assert x.data == 5.0
    assert "Solution 0: score 1.5" in model.history[0][-1]["content"]


def test_a_published_chain_can_be_chosen() -> None:
    x = node(2.0, name="x", trainable=True)
    optimizer = OptoPrime([x], ScriptedModel([value("x", 5), value("x", 6)]), strategy=Latest())
    for score in (1.0, -math.inf):
        optimizer.zero_feedback()
        optimizer.backward(x + 1.0, "more")
        optimizer.step(score=score)
    assert x.data == 6.0
