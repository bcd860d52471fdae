"""What a worker sees of a sandbox: actions, faults, episodes that are independent."""

from collections.abc import Iterator

import numpy as np
import pytest

from helpers.answers import action, fault
from trace_robot.errors import OrderError, SandboxError
from trace_robot.sandbox import Fault, Interface, Limits, Sandbox, host_process
from trace_robot.spec import Array

PLAIN = "def act(observation):\n    return observation[:2]\n"
COUNTS = "n = 0\ndef act(o):\n    global n\n    n += 1\n    return [n, o[0]]\n"


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with Sandbox(Interface(3, 2), Limits(call_seconds=0.2, load_seconds=0.4, memory_mb=128)) as sandbox:
        yield sandbox


def start(sandbox: Sandbox, source: str, episodes: int = 1) -> None:
    """Load and reset a controller, which must give no fault.

    Args:
        sandbox: of 3 inputs and 2 outputs.
        source: the controller.
        episodes: to start.
    """
    assert sandbox.load(source) is None
    assert sandbox.reset(episodes) is None


def first(sandbox: Sandbox, source: str) -> Array | Fault:
    """Return the fault of a controller, or its answer to a row of ones.

    Args:
        sandbox: of 3 inputs.
        source: the controller.
    """
    return sandbox.load(source) or sandbox.reset() or sandbox.call(np.ones((1, 3)))[0]


def test_an_action_is_float32_and_its_own(shared: Sandbox) -> None:
    start(shared, PLAIN, 2)
    inputs = np.array([[0.1, 0.2, 0.3], [1.0, 2.0, 3.0]])
    answers = [action(answer) for answer in shared.call(inputs)]
    assert [answer.dtype for answer in answers] == [np.float32] * 2
    assert np.array_equal(answers, inputs[:, :2].astype(np.float32))
    answers[0][:] = 9.0
    assert np.array_equal(action(shared.call(inputs)[0]), inputs[0, :2].astype(np.float32))


def test_fields_come_as_a_dict_of_floats_and_arrays() -> None:
    source = "def act(o):\n    return [o['a'] + (type(o['a']) is float), o['b'].sum() + o['b'].size]\n"
    with Sandbox(Interface(3, 2, {"a": (0, 1), "b": (1, 3)})) as sandbox:
        start(sandbox, source)
        assert action(sandbox.call(np.array([[1.0, 2.0, 3.0]]))[0]).tolist() == [2.0, 7.0]


def test_memory_is_kept_between_calls_and_empty_in_each_episode(shared: Sandbox) -> None:
    start(
        shared,
        "def act(o, memory):\n    memory['n'] = memory.get('n', 0) + 1\n    return [memory['n'], 0]\n",
        2,
    )
    assert [action(shared.call(np.zeros((1, 3)), [0])[0])[0] for _ in range(3)] == [1, 2, 3]
    assert action(shared.call(np.zeros((2, 3)))[1])[0] == 1
    assert shared.reset() is None
    assert action(shared.call(np.zeros((1, 3)))[0])[0] == 1


def test_each_episode_starts_from_a_freshly_executed_module(shared: Sandbox) -> None:
    start(shared, COUNTS, 2)
    rows = np.zeros((2, 3))
    assert [[action(a)[0] for a in shared.call(rows)] for _ in range(2)] == [[1, 1], [2, 2]]
    assert shared.reset(1) is None
    assert action(shared.call(rows[:1])[0])[0] == 1


def test_random_numbers_do_not_depend_on_how_episodes_are_grouped(shared: Sandbox) -> None:
    source = (
        "import random\nimport numpy as np\nrng = np.random.default_rng()\nr = random.Random()\n"
        "def act(o):\n    return [np.random.rand() + random.random(), rng.normal() + r.random()]\n"
    )
    start(shared, source, 1)
    rows = np.zeros((3, 3))
    alone = [action(shared.call(rows[:1])[0]).tolist() for _ in range(3)]
    start(shared, source, 3)
    together = [[action(answer).tolist() for answer in shared.call(rows)] for _ in range(3)]
    assert together == [[step] * 3 for step in alone]


def test_a_seed_may_be_passed_by_its_name(shared: Sandbox) -> None:
    source = "import random\nimport numpy as np\nrandom.seed(a=3)\nnp.random.seed(seed=3)\n"
    source += "def act(o):\n    return [np.random.default_rng(seed=3).random(), np.random.rand()]\n"
    drawn = [np.random.default_rng(3).random(), np.random.RandomState(3).rand()]
    assert action(first(shared, source)).tolist() == pytest.approx(drawn)


@pytest.mark.parametrize(
    ("source", "category", "line", "message"),
    [
        ("def act(o):\n    return [1 / 0, 0]\n", "exception", 2, "ZeroDivisionError: division by zero"),
        ("x = {}\ny = x['k']\ndef act(o): return 1\n", "exception", 2, "KeyError: 'k'"),
        (
            "def act(o):\n    a = 1\n    return [1.0]\n",
            "wrong shape",
            3,
            "act must return 2 numbers, got [1.0]",
        ),
        ("def act(o):\n    return 'up'\n", "wrong shape", 2, "act must return 2 numbers, got 'up'"),
        (
            "def act(o):\n    return [float('nan'), 0]\n",
            "not finite",
            2,
            "act must return finite float32 numbers, got [nan, 0]",
        ),
        ("def act(o):\n    while True:\n        pass\n", "timeout", None, "one call took more than 0.2 s"),
        ("import time\ndef act(o):\n    time.sleep(99)\n", "timeout", 3, "one call took more than 0.2 s"),
        ("while True: pass\n", "timeout", 1, "loading took more than 0.4 s"),
        ("def act(o):\n    return list(b'x' * 10**12)\n", "memory", 2, "MemoryError"),
        ("import os\n", "blocked", 1, "module 'os' is not for controllers"),
        (
            "def other(): pass\n",
            "exception",
            None,
            "NameError: the controller defines neither act(observation) nor a class Controller with it",
        ),
    ],
)
def test_a_fault_has_a_category_a_message_and_a_line(
    shared: Sandbox, source: str, category: str, line: int | None, message: str
) -> None:
    reason = fault(first(shared, source))
    assert (reason.category, reason.message) == (category, message)
    assert reason.line == line or (category == "timeout" and reason.line in (2, 3))


def test_the_line_of_a_hanging_c_function_is_known(shared: Sandbox) -> None:
    reason = fault(first(shared, "x = 1\ndef act(o):\n    return [sum(range(10**12)), 0]\n"))
    assert (reason.category, reason.line) == ("timeout", 3)


def test_a_hidden_operation_is_blocked_by_the_system() -> None:
    with Sandbox(Interface(3, 2), static_check=False) as sandbox:
        reason = fault(first(sandbox, "def act(o):\n    open('/etc/passwd')\n"))
        assert (reason.category, reason.line, reason.static) == ("blocked", 2, False)
        assert fault(first(sandbox, "import os\ndef act(o):\n    os._exit(4)\n")).message == (
            "the controller ended its own process with exit code 4"
        )
        assert (
            fault(first(sandbox, "import ctypes\ndef act(o):\n    ctypes.string_at(0)\n")).category == "crash"
        )
        assert action(first(sandbox, PLAIN)).tolist() == [1.0, 1.0]


def test_a_crash_in_a_fresh_sandbox_and_one_after_a_new_import_is_a_crash() -> None:
    ends = "def act(o):\n    os._exit(7)\n"
    with Sandbox(Interface(3, 2), static_check=False) as sandbox:
        for imported in ("os", "os, scipy.special", "os, logging"):
            reason = fault(first(sandbox, f"import {imported}\n{ends}"))
            assert (reason.category, reason.message) == (
                "crash",
                "the controller ended its own process with exit code 7",
            )


def test_an_episode_with_a_fault_keeps_answering_with_it(shared: Sandbox) -> None:
    start(shared, "def act(o):\n    return [1 / float(o[0]), 0]\n", 2)
    broken, fine = shared.call(np.array([[0.0, 0, 0], [1.0, 0, 0]]))
    assert fault(broken).category == "exception"
    assert action(fine).tolist() == [1, 0]
    again, fine = shared.call(np.ones((2, 3)))
    assert again == broken
    assert action(fine).tolist() == [1, 0]


@pytest.mark.parametrize("death", ["while True: pass", "os._exit(1)", "ctypes.string_at(0)"])
def test_an_episode_that_kills_the_process_leaves_the_others_where_they_were(death: str) -> None:
    source = "import os, ctypes\n" + COUNTS.replace(
        "    return", f"    if n == o[1]:\n        {death}\n    return"
    )
    rows = np.array([[k, 0.0 if k != 2 else 3.0, 0.0] for k in range(4)])
    with Sandbox(Interface(3, 2), Limits(call_seconds=0.1), static_check=False) as sandbox:
        start(sandbox, source, 4)
        answers = [sandbox.call(rows) for _ in range(4)]
        for step, row in enumerate(answers, 1):
            assert [action(row[k]).tolist() for k in (0, 1, 3)] == [[step, 0], [step, 1], [step, 3]]
        assert [isinstance(row[2], Fault) for row in answers] == [False, False, True, True]
        assert sandbox.reset(2) is None
        assert [action(answer)[0] for answer in sandbox.call(rows[:2])] == [1, 1]


def test_what_is_printed_is_kept_and_cut() -> None:
    with Sandbox(Interface(3, 2), Limits(printed_chars=20)) as sandbox:
        start(sandbox, "print('loaded')\ndef act(o):\n    print('x' * int(o[0]))\n    return [0, 0]\n", 2)
        sandbox.call(np.array([[3.0, 0, 0], [100.0, 0, 0]]))
        assert sandbox.printed(0) == "loaded\nxxx\n"
        assert sandbox.printed(1) == "loaded\n" + "x" * 13
        assert sandbox.printed(7) == ""


def test_the_budget_of_an_episode_ends_it() -> None:
    spin = "import time\ndef act(o):\n    t = time.process_time()\n    while time.process_time() - t < 0.1: pass\n"
    with Sandbox(Interface(3, 2), Limits(call_seconds=1.0, episode_seconds=0.35)) as sandbox:
        start(sandbox, f"{spin}    return [0, 0]\n")
        answers = [sandbox.call(np.zeros((1, 3)))[0] for _ in range(6)]
        assert fault(answers[-1]).message == "the episode took more than 0.35 s"
        assert not isinstance(answers[1], Fault)


def test_another_source_gets_another_process_and_the_same_source_keeps_it(shared: Sandbox) -> None:
    start(shared, PLAIN)
    before = shared.pid
    start(shared, PLAIN)
    assert shared.pid == before
    start(shared, COUNTS)
    assert shared.pid != before


def test_a_source_that_failed_to_load_is_not_tried_again(shared: Sandbox) -> None:
    source = "while True: pass\n"
    reason = shared.load(source)
    started = shared.pid
    assert reason is not None
    assert shared.load(source) is reason
    assert shared.pid == started


def test_an_interrupted_call_leaves_no_answer_for_the_next_one(
    shared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(shared, COUNTS)
    poll = shared._client.process._poll

    class Interrupted:
        def poll(self, _: float) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(shared._client.process, "_poll", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        shared.call(np.zeros((1, 3)))
    monkeypatch.setattr(shared._client.process, "_poll", poll)
    with pytest.raises(OrderError, match="call needs episodes: reset first"):
        shared.call(np.zeros((1, 3)))
    assert shared.reset() is None
    assert action(shared.call(np.zeros((1, 3)))[0])[0] == 1


def test_a_reply_that_trickles_in_is_late() -> None:
    source = (
        "import os, struct, sys, time\ndef act(o):\n    depth = 1\n"
        "    while 'sequence' not in sys._getframe(depth).f_locals: depth += 1\n"
        "    number = sys._getframe(depth).f_locals['sequence']\n"
        "    os.write(4, struct.pack('<4sBxHII', b'TRa1', 13, 1, number, 5000))\n"
        "    while True:\n        time.sleep(0.02)\n        os.write(4, b'x')\n"
    )
    with Sandbox(Interface(3, 2), Limits(call_seconds=0.05), static_check=False) as sandbox:
        reason = fault(first(sandbox, source))
        assert (reason.category, reason.message) == ("timeout", "one call took more than 0.05 s")


def test_a_controller_that_spoils_numpy_spoils_nothing_for_the_next() -> None:
    spoil = "import numpy, builtins, math\nnumpy.clip = None\nmath.pi = 3\n"
    spoil += "real = len\nbuiltins.len = lambda x: real(x) if x != [1] else 3\n"
    with Sandbox(Interface(3, 2), static_check=False) as sandbox:
        assert action(first(sandbox, f"{spoil}{PLAIN}")).tolist() == [1.0, 1.0]
        source = "import numpy, math\ndef act(o):\n    return numpy.clip([len([1]), math.pi], 0, 9)\n"
        assert action(first(sandbox, source)).tolist() == pytest.approx([1, np.pi])


def test_orders_out_of_turn_and_wrong_shapes_are_errors() -> None:
    with Sandbox(Interface(3, 2)) as sandbox:
        with pytest.raises(OrderError, match="reset needs a controller: load one first"):
            sandbox.reset()
        with pytest.raises(OrderError, match="call needs episodes: reset first"):
            sandbox.call(np.zeros((1, 3)))
        start(sandbox, PLAIN)
        with pytest.raises(ValueError, match=r"inputs must have shape \(1, 3\), got \(1, 4\)"):
            sandbox.call(np.zeros((1, 4)))
        with pytest.raises(ValueError, match="episodes must be between 1 and 4096, got 0"):
            sandbox.reset(0)


def test_without_a_boundary_untrusted_code_is_refused_unless_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "seccomp is a Linux facility and this is darwin"
    monkeypatch.setattr(host_process, "parse_locks", lambda payload: {"failed": reason})
    with Sandbox(Interface(3, 2)) as sandbox, pytest.raises(SandboxError) as caught:
        sandbox.load(PLAIN)
    assert str(caught.value) == (
        f"this machine gives no boundary for untrusted code: {reason}; "
        "pass trusted=True (on the command line: --trust) to run it all the same"
    )
    with Sandbox(Interface(3, 2), trusted=True) as sandbox:
        assert action(first(sandbox, PLAIN)).tolist() == [1.0, 1.0]
