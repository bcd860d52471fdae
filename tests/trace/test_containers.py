"""Modules, sequences and maps of parameters."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trace_robot.errors import UnknownNameError
from trace_robot.trace import (
    Map,
    Module,
    NodeContainer,
    ParameterNode,
    Seq,
    apply_op,
    bundle,
    model,
    node,
    operators,
    to_data,
)
from trace_robot.trace.serialization import decode, encode


class Base(Module):
    shared = node("class", name="shared", trainable=True)

    def __init__(self) -> None:
        self._weight = node(1, name="weight", trainable=True)
        self.fixed = node(2)

    @bundle(trainable=True)
    def step(self, x: Any) -> Any:
        return x + 1

    @bundle()
    def look(self, x: Any) -> Any:
        return x

    def forward(self, x: Any) -> Any:
        return self.step(x)

    @property
    def costly(self) -> Any:
        raise AssertionError("a property must not be evaluated")


class Child(Base):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Base()
        self.parts = Seq(node(5, trainable=True), 6)
        self.table = Map({"a": node(7, trainable=True), "b": 8})

    @bundle(trainable=True)
    def step(self, x: Any) -> Any:
        return x * 2


@model
class Decorated:
    """A controller."""

    def __init__(self) -> None:
        self.gain = node(2.0, trainable=True)

    def forward(self, x: Any) -> Any:
        return self.gain * x


def test_parameters_are_found_on_the_instance_the_class_and_in_containers() -> None:
    base = Base()
    assert list(base.parameters_dict()) == ["_weight", "shared", "step"]
    assert base.parameters_dict()["step"] is base.step.parameter
    child = Child()
    assert list(child.parameters_dict()) == ["_weight", "inner", "parts", "shared", "step", "table"]
    assert len(child.parameters()) == 3 + 2 + 2
    assert len({id(each) for each in child.parameters()}) == len(child.parameters())


def test_calling_a_module_is_its_forward() -> None:
    assert Base()(1) == 2
    assert Child()(5) == 10
    with pytest.raises(NotImplementedError, match="Module must define forward"):
        Module()(1)


def test_a_model_keeps_its_name_and_docstring() -> None:
    assert Decorated.__name__ == "Decorated"
    assert Decorated.__doc__ == "A controller."
    made = Decorated()
    assert isinstance(made, Module)
    assert len(made.parameters()) == 1
    assert made(3.0) == 6.0


def test_saved_parameters_come_back_as_readable_text(tmp_path: Path) -> None:
    child = Child()
    child._weight.data = np.array([[1.5, 2.5]], dtype=np.float32)
    child.step.parameter.data = "def step(self, x):\n    return x - 1"
    child.inner._weight.data = {"k": (1, {2})}
    path = tmp_path / "deep" / "child.json"
    child.save(path)
    assert "return x - 1" in path.read_text()
    json.loads(path.read_text())
    other = Child()
    other.load(path)
    assert other(5) == 4
    assert other._weight.data.dtype == np.float32
    assert other._weight == child._weight
    assert other.inner._weight == {"k": (1, {2})}
    assert other.step.parameter is not child.step.parameter


def test_loading_adds_new_parameters_and_misses_absent_ones(tmp_path: Path) -> None:
    made = Decorated()
    made.extra = node("new", trainable=True)  # type: ignore[attr-defined]
    made.save(tmp_path / "m.json")  # type: ignore[attr-defined]
    other = Decorated()
    other.load(tmp_path / "m.json")  # type: ignore[attr-defined]
    assert other.extra == "new"  # type: ignore[attr-defined]
    with pytest.raises(UnknownNameError, match="no value for the parameters _weight, shared, step"):
        Base().load(tmp_path / "m.json")


def test_a_bundle_can_be_saved(tmp_path: Path) -> None:
    function = Base().step
    function.save(tmp_path / "f.json")
    function.parameter.data = "def step(self, x):\n    return 0"
    function.load(tmp_path / "f.json")
    assert function(1) == 2


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -3,
        2.5,
        "text",
        [1, [2]],
        (1, (2,)),
        {1, 2},
        frozenset("a"),
        b"\x00",
        1 + 2j,
        {"a": 1},
        {1: "a", (2,): "b"},
        {"$type": "tuple"},
        np.float32(1.5),
        np.arange(6, dtype=np.int16).reshape(2, 3),
    ],
)
def test_values_survive_as_json(value: Any) -> None:
    again = decode(json.loads(json.dumps(encode(value))))
    assert type(again) is type(value)
    assert node(again) == value


def test_what_has_no_safe_form_is_refused() -> None:
    with pytest.raises(TypeError, match="only plain values can be saved, got <object"):
        encode([object()])
    with pytest.raises(ValueError, match="no value of type 'module' can be loaded"):
        decode({"$type": "module"})


def test_a_module_takes_the_values_of_another() -> None:
    first, second = Base(), Base()
    second._weight.data = 9
    first._set(second)
    assert first._weight == 9
    with pytest.raises(UnknownNameError, match="no value for the parameters"):
        first._set({})


def test_sequences_and_maps_are_lists_and_dicts() -> None:
    assert Seq(1, 2) == [1, 2]
    assert Seq([1, 2]) == [1, 2]
    assert Seq("ab") == ["a", "b"]
    assert Map({"a": 1})["a"] == 1
    assert Seq(10, 20)[node(1)] == 20
    key = node("k", trainable=True)
    assert Map({key: 3}).parameters() == [key]
    with pytest.raises(TypeError, match="a key of a Map must not be a container"):
        Map({Base(): 1}).parameters()


class Pair(NodeContainer):
    def __init__(self, x: Any) -> None:
        self.x = node(x)
        self.more = [node(1), 5]


def test_an_operator_is_applied_to_every_node_of_a_container() -> None:
    total = apply_op(operators.add, [node(0), node(0), 1], [node(1), node(2), 1], [node(3), node(4), 2])
    assert [total[0].data, total[1].data, total[2]] == [4, 6, 1]
    assert apply_op(operators.add, (node(0),), (node(1),), node(5)) == (6,)
    named = apply_op(operators.add, {"a": node(0), "b": 0}, {"a": node(1), "b": 0}, {"a": node(3), "b": 0})
    assert named == {"a": 4, "b": 0}
    pair = apply_op(operators.add, Pair(0), Pair(1), Pair(2))
    assert (pair.x.data, pair.more[0].data, pair.more[1]) == (3, 2, 5)
    assert apply_op(operators.neg, None, node(1)) == -1


def test_containers_of_different_shape_cannot_be_combined() -> None:
    with pytest.raises(ValueError, match="arguments must all have 1 items"):
        apply_op(operators.add, [node(0)], [node(1)], [node(1), node(2)])
    with pytest.raises(TypeError, match="arguments must be nodes or list, got 5"):
        apply_op(operators.add, [node(0)], [node(1)], 5)


def test_plain_data_is_taken_out_of_nodes_at_any_depth() -> None:
    assert to_data([node(1), (node(2), {"k": node(3)})]) == [1, (2, {"k": 3})]
    pair = to_data(Pair(4))
    assert (pair.x, pair.more) == (4, [1, 5])
    assert isinstance(Pair(4).x, type(node(1)))


def test_a_parameter_is_set_without_a_trace() -> None:
    x = ParameterNode(1)
    x._set(node(5))
    assert x == 5
