"""Fixtures that the tests of several rooms use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers import frames, synthetic
from trace_robot.policy import load_policy
from trace_robot.rollout import RolloutEngine, training_seeds
from trace_robot.rollout.evaluation import Evaluator
from trace_robot.rollout.task import Task
from trace_robot.spec import Array
from trace_robot.store.history import RunInfo

WORKSPACE = Path(__file__).with_name("workspace")
HOSTILE = (
    "</script><script>document.title='RUN'</script>"
    '<img src="https://example.invalid/leak.png" onerror="document.title=\'RUN\'">'
    "</pre></div></table></template></textarea></style>"
    "\"'><svg onload=\"document.title='RUN'\"></svg><iframe src=\"javascript:parent.document.title='RUN'\"></iframe>"
    "<a href=\"javascript:alert('RUN')\">here</a>{{ 7 * 7 }}{% raw %}<!--]]>"
    "\x00\x07\x1b[31m\x7f\x9b\u202e\u2066\u2028\ufeff\ud800 &lt;b&gt; &amp;quot; `${alert('RUN')}` \\"
)


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs of tests are noted as this user's in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def frames_of() -> Callable[[Path], Array]:
    """Decode a file: (frames, height, width, 3); one frame for a png."""
    return frames.decoded


@pytest.fixture(scope="session")
def make_run() -> Callable[..., RunInfo]:
    """``make_run`` of tests/helpers/synthetic.py: fill a store as the loop does, without a rollout."""
    return synthetic.make_run


@pytest.fixture(scope="session")
def hostile() -> str:
    """What a page must show and not run: ends of elements and attributes, scripts, control characters."""
    return HOSTILE


@pytest.fixture
def point_mass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' workspace, and no model."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "TRACE_ROBOT_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(WORKSPACE))


@pytest.fixture
def point_mass_trials(point_mass: None) -> Iterator[Evaluator]:
    task = Task.load("point-mass", load_policy("do_nothing"))
    with RolloutEngine(1) as engine:
        yield Evaluator(engine, task, training_seeds(0, 2), keep_observations=True)
