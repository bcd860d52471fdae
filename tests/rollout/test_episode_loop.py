"""Lock step: episodes of one text share messages and are those of one by one."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trace_robot.cli.main import main
from trace_robot.errors import PolicyError
from trace_robot.fault import Limits
from trace_robot.policy import Policy
from trace_robot.rollout import Rollouts
from trace_robot.rollout.batching import Batches, cut_evenly
from trace_robot.rollout.env_runner import EnvRunner
from trace_robot.rollout.episode import Episode, Job
from trace_robot.rollout.episode_graph import OUTCOME_DOC, EpisodeGraph
from trace_robot.sandbox.static_check.shared_state import needs_own_process
from trace_robot.spec import Field

WORKSPACE = Path(__file__).parents[1] / "workspace"
QUICK = Limits(call_seconds=0.5, memory_mb=512)
HURRIED = Limits(call_seconds=0.2)  # of what never returns: a step of n episodes waits n times as long

GOOD = """
def act(observation):
    error = observation["goal_position"] - observation["hand_position"]
    return [*(10 * error).clip(-1, 1), 0.0]
"""
ODD_FAILS = """
def act(observation, memory):
    memory["calls"] = memory.get("calls", 0) + 1
    if memory["calls"] > 3 and observation["goal_position"][0] < 0:
        raise RuntimeError(f"call {memory['calls']}")
    print("call", memory["calls"])
    return [memory["calls"] / 100, 0, 0, 0]
"""
RANDOM = """
import random
import numpy as np

def act(observation):
    return [random.random(), np.random.uniform(), 0, 0]
"""
STATEFUL = """
class Controller:
    def __init__(self):
        self.calls = 0

    def act(self, observation):
        self.calls += 1
        return [self.calls / 50, 0, 0, 0]
"""
HANGS_LATER = """
calls = 0

def act(observation):
    global calls
    calls += 1
    while calls > 2 and observation["goal_position"][0] < 0: pass
    return [calls / 100, 0, 0, 0]
"""
HANGS = "def act(observation):\n    while True:\n        pass\n"
NEEDS_MEMORY = """
kept = []

def act(observation):
    if len(kept) < 3:
        kept.append(bytearray(50 * 2**20))
    return [len(kept) / 10, 0, 0, 0]
"""
HIDES_STATE = """
import numpy as np

def act(observation):
    np.hidden = getattr(np, "hidden", 0) + 1
    return [np.hidden / 1000, 0, 0, 0]
"""
CHANGES_SETTINGS = """
import numpy as np

def act(observation):
    digits = np.get_printoptions()["precision"]
    np.set_printoptions(precision=digits + 1)
    return [digits / 1000, 0, 0, 0]
"""
TRACED = """
from trace_robot import bundle, node

gain = node(3.0, name="gain", trainable=True)

@bundle(trainable=True)
def push(observation, gain):
    return [*(gain * (observation["goal_position"] - observation["hand_position"])).clip(-1, 1), 0.0]

def act(observation):
    return push(observation, gain)
"""
MISSPELT = """
from trace_robot import bundle

@bundle(trainable=True)
def act(observation):
    return [*observation["NAME"], 0.0]
"""
TEXTS = {
    "good": GOOD,
    "odd fails": ODD_FAILS,
    "random": RANDOM,
    "stateful": STATEFUL,
    "hangs later": HANGS_LATER,
    "needs memory": NEEDS_MEMORY,
    "hides state": HIDES_STATE,
    "changes settings": CHANGES_SETTINGS,
}


@pytest.fixture(autouse=True)
def _workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(WORKSPACE))


@pytest.fixture(scope="module")
def alone() -> Iterator[EnvRunner]:
    yield from _runner(1)


@pytest.fixture(scope="module")
def together() -> Iterator[EnvRunner]:
    yield from _runner(5)


def _runner(width: int | None) -> Iterator[EnvRunner]:
    runner = EnvRunner(lock_step=width)
    yield runner
    runner.close()


def jobs(text: str, count: int = 5, *, trace: bool = False) -> list[Job]:
    limits = HURRIED if text in (HANGS, HANGS_LATER) else QUICK
    return [Job("point-mass", seed, controller=text, limits=limits, trace=trace) for seed in range(count)]


def episodes(runner: EnvRunner, wanted: list[Job]) -> list[Episode]:
    done = dict(runner.run(wanted))
    return [done[position] for position in range(len(wanted))]


def what(episode: Episode) -> tuple[object, ...]:
    arrays = (episode.rewards.tobytes(), episode.actions.tobytes())
    return (
        episode.seed,
        episode.ended,
        episode.steps,
        *arrays,
        episode.fault,
        episode.graph,
        episode.printed,
    )


@pytest.mark.parametrize("name", TEXTS)
def test_episodes_in_lock_step_are_those_of_one_by_one(
    name: str, alone: EnvRunner, together: EnvRunner
) -> None:
    wanted = jobs(TEXTS[name], 4)
    expected = [what(episode) for episode in episodes(alone, wanted)]
    assert [what(episode) for episode in episodes(together, wanted)] == expected
    assert [what(episode) for episode in episodes(together, wanted[::-1])] == expected[::-1]


def test_the_same_text_gives_the_same_episode_whatever_ran_before(alone: EnvRunner) -> None:
    first, *_, again = episodes(alone, [*jobs(HIDES_STATE, 3), *jobs(HIDES_STATE, 1)])
    assert what(first) == what(again)
    assert first.actions[0, 0] == pytest.approx(0.001)


def test_traced_episodes_in_lock_step_have_the_graphs_of_one_by_one(
    alone: EnvRunner, together: EnvRunner
) -> None:
    wanted = jobs(TRACED, 3, trace=True)
    expected = [what(episode) for episode in episodes(alone, wanted)]
    found = episodes(together, wanted)
    assert [what(episode) for episode in found] == expected
    assert all(episode.graph[-1]["op"] == "outcome" for episode in found)


def test_episodes_that_never_return_are_each_ended_by_their_own_deadline(together: EnvRunner) -> None:
    found = episodes(together, jobs(HANGS, 3))
    assert [episode.fault.category for episode in found if episode.fault] == ["timeout"] * 3
    assert {episode.fault.message for episode in found if episode.fault} == {"one call took more than 0.2 s"}


def test_what_shares_memory_with_others_is_not_refused_for_it(together: EnvRunner) -> None:
    assert [episode.fault for episode in episodes(together, jobs(NEEDS_MEMORY))] == [None] * 5


def test_a_runner_makes_more_environments_only_once_they_have_paid_for_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trace_robot.rollout.env_runner.MESSAGES", 60)
    for runner in _runner(None):
        widths = []
        for _ in range(6):
            episodes(runner, jobs(STATEFUL, 8))
            widths.append(len(next(iter(runner._pools.values())).envs))
        assert widths == sorted(widths)
        assert widths[0] < widths[-1] <= 8


@pytest.mark.parametrize(
    ("count", "workers", "sizes"),
    [
        (5, 2, [3, 2]),
        (1, 2, [1]),
        (2, 2, [1, 1]),
        (16, 2, [8, 8]),
        (50, 2, [7, 7, 6, 6, 6, 6, 6, 6]),
        (5, 10, [1] * 5),
    ],
)
def test_every_worker_gets_an_equal_part_of_one_controllers_episodes(
    count: int, workers: int, sizes: list[int]
) -> None:
    batches = Batches(jobs(GOOD, count), workers)
    assert [len(batches.next()) for _ in range(len(batches))] == sizes


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["x", "y", None]), st.booleans()), max_size=300
    ),
    st.integers(1, 9),
)
def test_batches_hold_every_job_once_and_only_jobs_that_go_together(
    kinds: list[tuple[str, str | None, bool]], workers: int
) -> None:
    wanted = [
        Job(env, seed, controller=text, program=None if text else {"stages": []}, trace=trace)
        for seed, (env, text, trace) in enumerate(kinds)
    ]
    batches = Batches(wanted, workers)
    found = []
    while len(batches):
        batch = batches.next(["b {}"])
        assert len({(job.env, job.controller, job.trace) for _, job in batch}) == 1
        assert len(batch) <= (8 if batch[0][1].controller else 16)
        found += batch
    assert Counter(index for index, _ in found) == Counter(range(len(wanted)))
    assert all(wanted[index] is job for index, job in found)


@given(st.integers(1, 200), st.integers(1, 20), st.integers(1, 20))
def test_parts_are_even_and_not_larger_than_asked(count: int, size: int, workers: int) -> None:
    sizes = [len(part) for part in cut_evenly(list(enumerate(jobs(GOOD, count))), size, workers)]
    assert sum(sizes) == count
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1


SHARE = [
    GOOD,
    ODD_FAILS,
    RANDOM,
    STATEFUL,
    TRACED,
    "import math\nimport numpy as np\ndef act(o, memory):\n    memory['x'] = np.float64(math.pi)\n    return [0] * 4\n",
    "import numpy as np\nfrom dataclasses import dataclass\n@dataclass\nclass S:\n    n: int = 0\ns = S()\n"
    "def act(o: np.ndarray):\n    s.n += 1\n    return np.zeros(4, dtype=np.float32)\n",
    "from enum import Enum\nclass Phase(Enum):\n    UP = 1\n"
    "def act(o, memory):\n    memory['p'] = Phase.UP\n    return [0] * 4\n",
    "import numpy as np\nclip = np.clip\nhistory = []\ndef act(o):\n    history.append(1)\n"
    "    with np.errstate(all='ignore'):\n        return [clip(1 / o[0], -1, 1)] * 4\n",
    "from scipy.spatial.transform import Rotation\nfrom scipy.optimize import minimize\n"
    "def act(o):\n    return [Rotation.from_euler('z', o[0]).magnitude()] * 4\n",
    "def act(o):\n    return [",
]
MAY_LEAVE = [
    HIDES_STATE,
    CHANGES_SETTINGS,
    "import numpy as np\nm = np\ndef act(o):\n    m.x = 1\n    return [0] * 4\n",
    "import numpy as np\ndef act(o):\n    f = np.linalg.norm\n    f.count = 1\n    return [0] * 4\n",
    "import numpy as np\ndef put(m):\n    m.x = 1\ndef act(o):\n    put(np)\n    return [0] * 4\n",
    "import numpy as np\ndef act(o):\n    np.seterr(all='ignore')\n    return [0] * 4\n",
    "from numpy import seterr\ndef act(o):\n    seterr(all='ignore')\n    return [0] * 4\n",
    "import decimal\ndef act(o):\n    decimal.getcontext().prec += 1\n    return [0] * 4\n",
    "import numpy as np\ndef act(o):\n    setattr(np, 'x', 1)\n    return [0] * 4\n",
    "import numpy as np\ndef act(o):\n    np.core.stash.append(1)\n    return [0] * 4\n",
    "import logging\ndef act(o):\n    return [0] * 4\n",
    "def act(o):\n    import time\n    return [0] * 4\n",
    "import scipy\ndef act(o):\n    return [scipy.stats.norm.rvs()] * 4\n",
    "from scipy.sparse.linalg import eigs\ndef act(o):\n    return [0] * 4\n",
    "import numpy as np\nL = np.typecodes\ndef act(o):\n    L.update(x='1')\n    return [0] * 4\n",
    "import numpy as np\ndef act(o):\n    np.clip(o, 0, 1, out=A)\n    return [0] * 4\nA = np.typecodes\n",
    "import numpy as np\nnp.errstate(all='raise').__enter__()\ndef act(o):\n    return [0] * 4\n",
    "import numpy as np\ndef g():\n    with np.errstate(all='raise'):\n        yield 1\n"
    "def act(o):\n    return [0] * 4\n",
    "import numpy as np\nnp.random.set_bit_generator(np.random.MT19937(1))\ndef act(o):\n    return [0] * 4\n",
    "import random\nr = random.Random(1)\ntype(r).n = 1\ndef act(o):\n    return [0] * 4\n",
    "from trace_robot import node\nk = node(1)\ndef act(o):\n    print(f'{k}')\n    return [0] * 4\n",
    "from trace_robot import node\nk = node(1)\ndef act(o):\n    return [len(k.name)] * 4\n",
    "from trace_robot import bundle\n@bundle(trainable=True)\ndef f(x):\n    return x\nf.parameter._data = ''\n"
    "def act(o):\n    return [0] * 4\n",
    "def act(o):\n    try:\n        return [0] * 4\n    except MemoryError:\n        return [1] * 4\n",
    "class A:\n    def __del__(self): print(1)\ndef act(o):\n    return [0] * 4\n",
]


@pytest.mark.parametrize("text", SHARE)
def test_ordinary_controllers_share_a_process(text: str) -> None:
    assert not needs_own_process(text)


@pytest.mark.parametrize("text", MAY_LEAVE)
def test_controllers_that_may_change_what_they_import_get_a_process_of_their_own(text: str) -> None:
    assert needs_own_process(text)


@pytest.mark.parametrize(("texts", "cut"), [(4, False), (2, True)])
def test_a_graph_that_is_cut_says_so_in_its_outcome(texts: int, cut: bool) -> None:
    entry = {"name": "act", "numbered": True, "kind": "operation", "op": "act", "doc": "", "inputs": {}}
    whole = json.dumps([0, [{**entry, "timeless": False}], ["1"]]).encode()
    written = (whole, *(json.dumps([step, 0, ["1"]]).encode() for step in range(1, texts)))
    graph = EpisodeGraph(written, np.zeros((5, 3)), (Field("a", 0, 3, "", ""),), "time", False)
    doc = graph[-1]["doc"]
    assert doc.startswith(OUTCOME_DOC)
    assert doc.endswith("holds 2 of the 4 steps, and more would have been too large.") == cut
    assert (doc == OUTCOME_DOC) == (not cut)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hand_positon", "'hand_positon'; did you mean 'hand_position' of the observation?"),
        ("colour", "'colour'"),  # nothing is like it
    ],
)
def test_a_misspelt_observation_is_named_with_the_near_one_in_feedback_and_on_screen(
    name: str, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = MISSPELT.replace("NAME", name)
    (tmp_path / "misspelt.py").write_text(text)
    with Rollouts("point-mass", tmp_path / "misspelt.py", episodes=1, workers=0) as rollouts:
        assert f"KeyError: {hint}\n" in f"{rollouts(rollouts.parameters).feedback}\n"
    line = f"evaluate point-mass --policy {tmp_path}/misspelt.py --episodes 1 --workers 0"
    main(line.split())
    shown = " ".join("".join(capsys.readouterr()).split())
    assert f"KeyError: {hint}" in shown
    assert shown.count("did you mean") == hint.count("did you mean")
    with pytest.raises(PolicyError, match=re.escape(f"KeyError: {hint}; reset begins")):
        Policy.from_text(text).act({"hand_position": [0.0] * 3})
