"""An episode of a controller is a function of the controller and its inputs: nothing else reaches it."""

import platform
import time
from collections.abc import Iterator

import numpy as np
import pytest

from helpers.answers import action, fault
from trace_robot.fault import MOST_CHARACTERS
from trace_robot.sandbox import Fault, Interface, Limits, Sandbox
from trace_robot.sandbox.source import line_in_source
from trace_robot.spec import Array

ZEROS = np.zeros((1, 1))
PAGE = (
    "import sys\ndef page():\n    frame = sys._getframe()\n    while frame:\n"
    "        for value in frame.f_locals.values():\n            if type(value).__name__ == 'mmap':\n"
    "                return value\n        frame = frame.f_back\n"
)
LOADED = "import sys\ndef act(o):\n    return [float(any(name.startswith('{}') for name in sys.modules))]\n"
SLEEPS = "import time\ndef act(o):\n    time.sleep(0.1)\n    return [0.0]\n"
# Without a clock, which would give it a process for itself.
SPINS = "def act(o):\n    for _ in range(int(o[0])):\n        sum(range(20000))\n    return [0.0]\n"


@pytest.fixture(scope="module")
def unchecked() -> Iterator[Sandbox]:
    with Sandbox(Interface(1, 1), static_check=False) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def checked() -> Iterator[Sandbox]:
    with Sandbox(Interface(1, 1)) as sandbox:
        yield sandbox


def answer(sandbox: Sandbox, source: str) -> Array | Fault:
    """Return the first answer of a controller in a new episode.

    Args:
        sandbox: of one input and one output.
        source: the controller.
    """
    return sandbox.load(source) or sandbox.reset() or sandbox.call(ZEROS)[0]


def test_nothing_of_the_shared_page_reaches_the_next_controller(unchecked: Sandbox) -> None:
    writes = f"{PAGE}def act(o):\n    page()[2:9] = b'secrets'\n    return [1.0]\n"
    reads = f"{PAGE}def act(o):\n    return [float(sum(page()[2:]))]\n"
    assert action(answer(unchecked, writes)).tolist() == [1.0]
    assert action(answer(unchecked, reads)).tolist() == [0.0]


def test_modules_of_one_controller_are_not_there_for_the_next(unchecked: Sandbox) -> None:
    assert action(answer(unchecked, "import scipy.special\n" + LOADED.format("scipy"))).tolist() == [1.0]
    assert action(answer(unchecked, LOADED.format("scipy"))).tolist() == [0.0]
    assert action(answer(unchecked, "import logging\n" + LOADED.format("logging"))).tolist() == [1.0]
    assert action(answer(unchecked, LOADED.format("scipy"))).tolist() == [0.0]


@pytest.mark.parametrize("without", [(), ("landlock",)], ids=["landlock", "no landlock"])
def test_memory_counts_from_the_start_with_landlock_and_without(without: tuple[str, ...]) -> None:
    takes = "import numpy as np\nkept = np.zeros({} * 2 ** 17)\ndef act(o):\n    return [kept[0]]\n"
    with Sandbox(Interface(1, 1), Limits(memory_mb=300), without=without) as sandbox:
        assert action(answer(sandbox, takes.format(250))).tolist() == [0.0]
        assert sandbox.locks["rlimits"] == "300 MB beyond the start"
        assert fault(answer(sandbox, takes.format(320))).category == "memory"


def test_clocks_count_from_the_beginning_of_the_episode(checked: Sandbox) -> None:
    clocks = (
        "time.time()",
        "time.monotonic()",
        "time.perf_counter()",
        "time.process_time()",
        "time.thread_time()",
        "time.time_ns() / 1e9",
        "time.clock_gettime(0)",
        "time.clock_gettime(1)",
        "time.mktime(time.localtime())",
        "float(time.gmtime().tm_sec)",
        "datetime.datetime.now().timestamp()",
        "datetime.date.today().toordinal() - 719163",
    )
    source = f"import time, datetime\ndef act(o):\n    return [max({', '.join(clocks)})]\n"
    read = action(answer(checked, source))
    assert 0 <= read[0] < 5


def test_a_date_of_the_controllers_own_is_as_anywhere(checked: Sandbox) -> None:
    source = (
        "from datetime import datetime, date, timedelta\nd = datetime(2020, 2, 28) + timedelta(days=2)\n"
        "assert isinstance(d, datetime) and isinstance(d, date) and repr(d) == 'datetime.datetime(2020, 3, 1, 0, 0)'\n"
        "assert datetime.strptime('2020-03-01', '%Y-%m-%d') == d and isinstance(datetime.now(), datetime)\n"
        "def act(o):\n    return [float(d.day)]\n"
    )
    assert action(answer(checked, source)).tolist() == [1.0]


@pytest.mark.parametrize("number", ["(~1 << 3) | 2", "(~1 << 3) | 6", "-6", "12"])
def test_clocks_of_other_processes_are_refused(checked: Sandbox, number: str) -> None:
    source = f"import time\ndef act(o):\n    return [time.clock_gettime({number})]\n"
    assert fault(answer(checked, source)).category == "blocked"


def test_the_kernel_refuses_clocks_of_other_processes_too(unchecked: Sandbox) -> None:
    call = "import ctypes\ndef act(o):\n    c = ctypes.CDLL(None, use_errno=True)\n    ctypes.set_errno(0)\n"
    call += "    c.{}\n    return [float(ctypes.get_errno())]\n"
    space = "ctypes.create_string_buffer(16)"
    number = {"x86_64": 230, "aarch64": 115}[platform.machine()]  # clock_nanosleep(2)
    refused = [
        f"clock_gettime(ctypes.c_int((~1 << 3) | 2), {space})",
        f"syscall({number}, ctypes.c_int((~1 << 3) | 2), 1, {space}, None)",
        f"getrandom({space}, 8, 0)",
    ]
    assert [action(answer(unchecked, call.format(text)))[0] for text in refused] == [1.0] * len(refused)
    own = "import os\ndef act(o):\n    return [float(os.getpid())]\n"
    assert action(answer(unchecked, own)).tolist() == [-1.0]
    assert action(answer(unchecked, call.format(f"clock_gettime(1, {space})"))).tolist() == [0.0]


def test_an_episode_that_sleeps_ends_at_ten_times_its_seconds() -> None:
    with Sandbox(Interface(1, 1), Limits(episode_seconds=0.1)) as sandbox:
        assert (sandbox.load(SLEEPS) or sandbox.reset()) is None
        began = time.monotonic()
        while isinstance(last := sandbox.call(ZEROS)[0], np.ndarray):
            assert time.monotonic() - began < 60
        assert time.monotonic() - began > 0.9, "not sooner; later where the machine is busy"
        late = fault(last)
        assert (late.category, late.message) == (
            "timeout",
            "the episode took more than 1 s of the wall clock",
        )
        assert sandbox.reset() is None
        assert isinstance(sandbox.call(ZEROS)[0], np.ndarray)
        assert sandbox.reset(2) is None
        rows = np.zeros((2, 1))
        assert [fault(a).message for a in [sandbox.call(rows) for _ in range(11)][-1]] == [late.message] * 2


def test_episodes_in_lock_step_have_budgets_for_themselves() -> None:
    with Sandbox(Interface(1, 1), Limits(call_seconds=2.0, episode_seconds=0.3)) as sandbox:
        assert (sandbox.load(SPINS) or sandbox.reset(8)) is None
        rows = np.zeros((8, 1))
        rows[3] = 300.0  # about 0.1 s
        answers = [sandbox.call(rows) for _ in range(12)]
        assert fault(answers[-1][3]).message == "the episode took more than 0.3 s"
        assert all(isinstance(answers[-1][k], np.ndarray) for k in range(8) if k != 3)


UNSEEDED = (
    "import numpy as np, random\nfrom numpy.random import Generator, PCG64, Philox, SFC64, SeedSequence, RandomState\n"
    "g = [Generator(kind()) for kind in (PCG64, Philox, SFC64)] + [RandomState(), np.random.default_rng()]\n"
    "s = SeedSequence()\n"
    "def act(o):\n    return [sum(x.normal() for x in g) + s.generate_state(1)[0] % 1000]\n"
)


def test_generators_that_numpy_seeds_itself_are_the_same_in_every_process() -> None:
    drawn = []
    for _ in range(2):
        with Sandbox(Interface(1, 1)) as sandbox:
            drawn.append(action(answer(sandbox, UNSEEDED)).tolist())
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    "draws",
    [
        "from scipy import stats\ndef act(o):\n    return [float(stats.norm.rvs())]\n",
        "from statistics import NormalDist\ndef act(o):\n    return [NormalDist(0, 1).samples(1)[0]]\n",
        "from scipy.optimize import dual_annealing\ndef act(o):\n"
        "    return [dual_annealing(lambda x: float(abs(x[0] - 0.3)), [(-1, 1)], maxiter=3).x[0]]\n",
        "from scipy.spatial.transform import Rotation as R\ndef act(o):\n    return [R.random().magnitude()]\n",
        UNSEEDED,
        "import logging\nL = logging.getLogger('x')\nL.setLevel(L.level + 1)\ndef act(o):\n    return [L.level]\n",
        "import decimal\ndecimal.getcontext().prec += 1\ndef act(o):\n    return [decimal.getcontext().prec]\n",
        "from trace_robot import node\ndef act(o):\n    return [int(node(1, name='k').name.split(':')[1])]\n",
    ],
)
def test_the_next_episode_begins_where_the_first_began(checked: Sandbox, draws: str) -> None:
    episodes = []
    for _ in range(3):
        assert (checked.load(draws) or checked.reset()) is None
        episodes.append([action(checked.call(ZEROS)[0]).tolist() for _ in range(3)])
    assert episodes[0] == episodes[1] == episodes[2]


def test_a_text_that_the_check_cannot_read_has_a_process_for_each_episode(unchecked: Sandbox) -> None:
    deep = f"{'(' * 70}1{')' * 70}"  # more brackets than are parsed here, fewer than Python compiles
    draws = (
        f"import numpy as np\nnp.kept = getattr(np, 'kept', 0) + {deep}\ndef act(o):\n    return [np.kept]\n"
    )
    assert [action(answer(unchecked, draws)).tolist() for _ in range(3)] == [[1.0]] * 3


def test_a_text_too_long_to_be_read_has_a_process_for_each_episode(unchecked: Sandbox) -> None:
    draws = "import numpy as np\nnp.kept = getattr(np, 'kept', 0) + 1\ndef act(o):\n    return [np.kept]\n"
    long = draws + "#" * MOST_CHARACTERS
    assert [action(answer(unchecked, long)).tolist() for _ in range(3)] == [[1.0]] * 3


def test_recursion_reaches_as_deep_in_lock_step_as_alone(checked: Sandbox) -> None:
    source = (
        "def deep(n):\n    try:\n        return deep(n + 1)\n    except RecursionError:\n        return n\n"
    )
    source += "def act(o):\n    return [float(deep(0))]\n"
    alone = action(answer(checked, source)).tolist()
    assert checked.reset(2) is None
    assert [action(a).tolist() for a in checked.call(np.zeros((2, 1)))] == [alone, alone]


def test_addresses_are_left_out_of_what_is_printed_and_raised(checked: Sandbox) -> None:
    source = "class Thing: pass\nprint(Thing())\ndef act(o):\n    raise ValueError(act)\n"
    assert fault(answer(checked, source)).message == "ValueError: <function act>"
    assert checked.printed() == "<controller.Thing object>\n"


@pytest.mark.parametrize("value", ["0x" + "f" * 6000, "-0o" + "7" * 9000, "1e999", "f(" * 40 + ")" * 40])
def test_the_line_of_a_decorated_function_is_found_whatever_decorates_it(value: str) -> None:
    decorator = f"@bundle(trainable=True, description={value})"
    source = f"from trace_robot import bundle\n\n\n{decorator}\ndef h(x):\n    return x\n"
    assert line_in_source("<code of h>", 2, source) == 6
