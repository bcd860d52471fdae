"""Each fast lane of the sandbox gives what the slow lane beside it gives."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trace_robot.sandbox import Fault, Interface, Limits, Sandbox, host_process
from trace_robot.sandbox.child import main
from trace_robot.sandbox.child.episode import Converter
from trace_robot.sandbox.lockstep import LockstepEpisodes
from trace_robot.spec import Array

ROWS = np.array([[1.0, 2.0, 3.0], [0.5, -2.0, 0.25], [0.0, 1.0, 2.0], [4.0, 4.0, 4.0]])
SOURCES = {
    "numbers": "def act(o):\n    return [o[0] * 2, o[1]]\n",
    "array": "def act(o):\n    return o[:2] / 3\n",
    "state": "n = 0\ndef act(o, memory):\n    global n\n    n += 1\n    memory['n'] = n\n    return [n, o[0]]\n",
    "print": "print('loaded')\ndef act(o):\n    print('at', o[0])\n    return [0, o[2]]\n",
    "random": "import random\nimport numpy as np\ndef act(o):\n    return [random.random(), np.random.rand()]\n",
    "exception": "def act(o):\n    return [1 / float(o[0]), 0]\n",
    "shape": "def act(o):\n    return [0] if o[0] == 0 else [0, 0]\n",
    "not finite": "def act(o):\n    return [0, float('nan') if o[0] == 0 else 1]\n",
    "print and raise": "def act(o):\n    print(o[0])\n    assert o[0], 'zero'\n    return [0, 0]\n",
    "nodes": "from trace_robot import node\nk = node(2.0)\ndef act(o):\n    return [k * o[0], k]\n",
}
# Answers of all calls, what was printed, and the graph.
Outcome = tuple[list[Any], str, tuple[dict[str, Any], ...]]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Interface(3, 2), Limits(call_seconds=1.0)) as sandbox:
        yield sandbox


def plain(answer: Array | Fault) -> Any:
    """Return an answer that can be compared."""
    return answer if isinstance(answer, Fault) else answer.tobytes()


def play(sandbox: Sandbox, source: str, *, trace: bool = False, episodes: int = 1) -> Outcome:
    """Play every row in each of several episodes and return the last one's outcome.

    Args:
        sandbox: of 3 inputs and 2 outputs.
        source: the controller.
        trace: whether to record its graph.
        episodes: 1 for the fast lane, more for lock step.
    """
    assert sandbox.load(source, trace=trace) is None
    assert sandbox.reset(episodes) is None
    answers = [plain(sandbox.call(np.repeat(row[None], episodes, axis=0))[-1]) for row in ROWS]
    return answers, sandbox.printed(episodes - 1), sandbox.graph(episodes - 1)


@pytest.mark.parametrize("trace", [False, True], ids=["plain", "traced"])
@pytest.mark.parametrize("name", SOURCES)
def test_an_episode_alone_is_the_same_as_in_lock_step(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str, trace: bool
) -> None:
    lanes: list[str] = []
    for lane in ("call_only", "call"):
        method = getattr(LockstepEpisodes, lane)

        def counted(*arguments: Any, lane: str = lane, method: Any = method) -> Any:
            lanes.append(lane)
            return method(*arguments)

        monkeypatch.setattr(LockstepEpisodes, lane, counted)
    alone = play(sandbox, SOURCES[name], trace=trace)
    assert lanes[0] == "call_only"
    lanes.clear()
    assert play(sandbox, SOURCES[name], trace=trace, episodes=2) == alone
    assert set(lanes) == {"call"}
    assert bool(alone[2]) == trace


@pytest.mark.parametrize("name", ["numbers", "print", "exception", "nodes"])
def test_a_reply_that_one_read_does_not_bring_is_the_same(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole = play(sandbox, SOURCES[name], trace=name == "nodes")
    parsed = 0
    parse = host_process.ControllerProcess._parse

    def counted(*arguments: Any) -> Any:
        nonlocal parsed
        parsed += 1
        return parse(*arguments)

    monkeypatch.setattr(host_process.ControllerProcess, "_parse", counted)
    monkeypatch.setattr(host_process, "_SHORT_BYTES", 7)
    assert play(sandbox, SOURCES[name], trace=name == "nodes") == whole
    assert parsed >= len(ROWS)


def test_a_request_that_the_pipe_does_not_take_whole_is_the_same(sandbox: Sandbox) -> None:
    rows = np.random.default_rng(0).normal(size=(4096, 3))  # 98 kB, where a pipe holds 64
    assert rows.nbytes > main._SHORT_BYTES
    assert sandbox.load(SOURCES["array"]) is None
    assert sandbox.reset(len(rows)) is None
    together = [plain(answer) for answer in sandbox.call(rows)]
    assert sandbox.reset() is None
    alone = [plain(sandbox.call(row[None])[0]) for row in rows[:50]]
    assert together[:50] == alone
    assert together == [plain(np.asarray(row[:2] / 3, np.float32)) for row in rows]


numbers = st.one_of(
    st.floats(),
    st.integers(-(10**400), 10**400),
    st.booleans(),
    st.floats(width=32).map(np.float32),
    st.floats().map(np.float64),
)


@given(st.lists(numbers, min_size=3, max_size=3))
@settings(deadline=None)
def test_a_list_of_plain_numbers_is_the_same_action_as_by_way_of_an_array(values: list[Any]) -> None:
    convert = Converter(3)
    assert convert._is_numbers(values)
    with np.errstate(all="ignore"):
        assert convert(values) == convert._from_array(values)


@pytest.mark.parametrize(
    "value", [[1, 2], [1, "x", 3], [Decimal(1), 2, 3], np.zeros(3), "abc", None, [[1], 2, 3]]
)
def test_what_is_no_list_of_plain_numbers_takes_no_fast_lane(value: Any) -> None:
    assert not Converter(3)._is_numbers(value)
