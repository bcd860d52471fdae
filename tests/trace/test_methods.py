"""Bundles as methods: every instance has its own parameters."""

import copy
import pickle
from typing import Any

import pytest

from trace_robot.trace import (
    bundle,
)


def test_each_instance_has_its_own_parameter() -> None:
    class Agent:
        def __init__(self) -> None:
            self.__bias = 1

        @bundle(trainable=True)
        def act(self, x: Any) -> Any:
            return x + self.__bias

    first, second = Agent(), Agent()
    first.act.parameter.data = "def act(self, x):\n    return x - self.__bias"
    assert (first.act(5), second.act(5)) == (4, 6)
    assert first.act is first.act
    assert first.act.parameter is not second.act.parameter
    assert first.act(1).inputs["self"] is first.act(2).inputs["self"]
    twin = copy.deepcopy(first)
    assert twin.act(5) == 4
    assert twin.act.parameter is not first.act.parameter


class Shelf:
    def __init__(self, items: list[int]) -> None:
        self.items = items

    def total(self) -> int:
        return sum(self.items)


class CountingShelf(Shelf):
    @bundle(trainable=True)
    def total(self) -> int:
        return super().total() + len(self.items)


def test_methods_call_those_they_override_and_survive_pickling() -> None:
    shelf = CountingShelf([1, 2])
    assert shelf.total() == 5
    shelf.total.parameter.data = "def total(self):\n    return super().total() * 10"
    assert shelf.total() == 30
    again = pickle.loads(pickle.dumps(shelf))
    assert again.total() == 30


def test_static_and_class_methods_can_be_traced() -> None:
    class Tool:
        rate = 3

        @staticmethod
        @bundle()
        def twice(x: Any) -> Any:
            return x * 2

        @bundle()
        @staticmethod
        def thrice(x: Any) -> Any:
            return x * 3

        @classmethod
        @bundle()
        def rated(cls, x: Any) -> Any:
            return x * cls.rate

    assert Tool().twice(2) == 4
    assert Tool.twice(2) == 4
    assert Tool().thrice(2) == 6
    assert Tool.rated(2) == 6


def test_a_method_of_an_object_without_a_dict_works_unless_it_is_trainable() -> None:
    class Slim:
        __slots__ = ()

        @bundle()
        def fine(self, x: Any) -> Any:
            return x

        @bundle(trainable=True)
        def impossible(self, x: Any) -> Any:
            return x

    assert Slim().fine(1) == 1
    with pytest.raises(TypeError, match="Slim needs a __dict__ to hold the code of 'impossible'"):
        Slim().impossible(1)
