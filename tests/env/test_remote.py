"""An environment in another interpreter: the same episodes, named faults, nothing left behind."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from helpers.imports import imports
from helpers.interpreters import create, stand_in
from trace_robot import Environment, part
from trace_robot.env import registry, remote_server, simulation
from trace_robot.env.declared import DeclaredPlugin
from trace_robot.env.flatten import observation_layout
from trace_robot.env.guard import interval_timer
from trace_robot.env.remote import RemoteCall, RemoteEnv
from trace_robot.env.remote_server import Codec, Server
from trace_robot.env.spaces import space_of
from trace_robot.env_checker.checker import problem
from trace_robot.errors import (
    EnvironmentFault,
    MissingExtraError,
    SimulatorDeathError,
    UnknownNameError,
    ValueMismatchError,
    WorkspaceError,
)
from trace_robot.fault import UNSTABLE

CART = Path(__file__).parents[1] / "fixtures" / "simulators" / "cart.py"
pytestmark = pytest.mark.skipif(os.name != "posix", reason="other interpreters need Linux or macOS")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter with all of our packages."""
    return create(tmp_path_factory.mktemp("full") / "venv")


@pytest.fixture(scope="module")
def with_numpy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter with numpy alone."""
    return create(tmp_path_factory.mktemp("numpy") / "venv", ["numpy"])


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter without any package."""
    return create(tmp_path_factory.mktemp("bare") / "venv", [])


@pytest.fixture
def faulty(with_numpy: str) -> Iterator[Callable[[str], RemoteEnv]]:
    made: list[RemoteEnv] = []

    def make(what: str) -> RemoteEnv:
        made.append(
            RemoteEnv(
                RemoteCall(with_numpy, "faulty", f"{CART}:Faulty", {"what": what}, where="cart.py: faulty")
            )
        )
        return made[-1]

    yield make
    for env in made:
        env.close()


def episode(env: Any, seed: int, steps: int = 150) -> list[Any]:
    """Return every number of an episode, bit for bit."""
    generator = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    rows: list[Any] = [(observation.tobytes(), info)]
    for _ in range(steps):
        action = generator.uniform(env.action_space.low, env.action_space.high).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        rows.append((observation.tobytes(), reward, terminated, truncated, info))
        if terminated or truncated:
            break
    return rows


# The same environment.


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "InvertedPendulum-v5"])
def test_episodes_there_are_those_of_here_to_the_last_bit(name: str, full: str) -> None:
    here = registry.make(name, task="any")
    there = registry.make(name, task="any", python=full)
    for seed in (0, 1, 0):
        assert episode(there, seed) == episode(here, seed)
    there.close()


@pytest.mark.parametrize("name", ["CartPole-v1", "InvertedPendulum-v5"])
def test_the_description_differs_by_the_interpreter_alone(name: str, full: str) -> None:
    here = registry.describe(name, task="any")
    there = registry.describe(name, task="any", python=full)
    assert there.options == {**here.options, "python": full}
    assert {f: getattr(there, f) for f in here.__slots__ if f != "options"} == {
        f: getattr(here, f) for f in here.__slots__ if f != "options"
    }


def test_a_simulator_needs_numpy_alone_where_a_function_makes_it(with_numpy: str) -> None:
    env = RemoteEnv(RemoteCall(with_numpy, "cart", f"{CART}:Cart", {"mass": 2.0}, render_mode="rgb_array"))
    assert env.versions.keys() == {"python", "numpy"}
    assert env.observation_space == spaces.Box(-10.0, 10.0, (2,), np.float64)
    assert (env.dt, env.metadata["render_fps"]) == (0.05, 20.0)
    observation, _ = env.reset(seed=4)
    expected = np.random.RandomState(4).uniform(-1.0, 1.0, 2)
    assert observation.tolist() == expected.tolist()
    observation, _, _, _, info = env.step(np.ones(1, np.float32))
    assert observation[1] == expected[1] + 0.05 * (1.0 / 2.0)
    assert info == {"success": False, "speed": observation[1]}
    assert env.render().shape == (24, 32, 3)
    env.close()


NESTED = spaces.Dict(
    {
        "pose": spaces.Tuple((spaces.Box(-1.0, 1.0, (2, 2), np.float32), spaces.Discrete(3, start=-1))),
        "bits": spaces.MultiBinary(4),
        "modes": spaces.MultiDiscrete([2, 3]),
        "image": spaces.Box(0, 255, (4, 4, 3), np.uint8),
    }
)


def test_every_kind_of_space_and_its_values_arrive_as_they_were() -> None:
    codec, there = Codec(), Codec(strict=True)
    data = there.unpack(codec.pack(simulation.space_data(NESTED)))
    assert space_of(data) == NESTED
    NESTED.seed(3)
    for _ in range(20):
        value = NESTED.sample()
        arrived = simulation.with_tuples(data, there.unpack(codec.pack(value)))
        assert NESTED.contains(arrived)
        np.testing.assert_equal(arrived, dict(value))


def test_a_space_that_no_controller_can_use_is_refused_by_its_name() -> None:
    data = Codec().unpack(Codec().pack(simulation.space_data(spaces.Text(5))))
    with pytest.raises(WorkspaceError, match=r"the space is Text, and a controller can use Box"):
        observation_layout(space_of(data), None)


def test_a_restored_state_goes_on_exactly(full: str) -> None:
    env = registry.make("InvertedPendulum-v5", task="any", python=full)
    env.reset(seed=2)
    push = np.array([0.3], np.float32)
    env.step(push)
    saved = env.snapshot()
    first = [env.step(push)[0].tobytes() for _ in range(5)]
    assert env.restore(saved).size == 4
    assert [env.step(push)[0].tobytes() for _ in range(5)] == first
    env.close()


def test_a_snapshot_over_there_lives_as_long_as_its_number_here(with_numpy: str) -> None:
    env = RemoteEnv(RemoteCall(with_numpy, "cart", f"{CART}:Cart"))
    env.reset(seed=0)
    saved, kept = env.snapshot(), env.snapshot()
    number = saved.number
    del saved
    env.step(np.zeros(1))
    with pytest.raises(EnvironmentFault, match="went with it"):
        env._ask("load", {"number": number})
    env.restore(kept)
    env.close()


# Plug-ins.


def plug(python: str, **fields: Any) -> DeclaredPlugin:
    declared = Environment(
        "cart", "Bring it to the middle.", make="cart.py:Cart", python=python, horizon=50, **fields
    )
    return DeclaredPlugin(str(CART.parent / "mine.py"), (declared,), str(CART.parent))


def test_a_hand_over_there_is_measured_and_moved(with_numpy: str) -> None:
    declared = Environment(
        "crane",
        "Bring the hook to its place.",
        make="cart.py:Crane",
        python=with_numpy,
        horizon=50,
        observation=[part("hook_position", 3, "m"), part("goal_position", 3, "m")],
        action=[part("winches", 2)],
        positions=("hook_position", "goal_position"),
    )
    plugin = DeclaredPlugin(str(CART.parent / "mine.py"), (declared,), str(CART.parent))
    assert plugin.solves("crane", {})
    env = plugin.make("crane", control="pose")
    assert env.hands[0].startswith(
        "hand 'hand': a measured Jacobian over 2 numbers (winches), which are increments"
    )
    for seed in range(3):
        seen, _ = env.reset(seed=seed)
        seen, _, ended, _, info = env.step(seen[3:] - seen[:3])
        assert ended
        assert info["success"]
    env.close()


def test_a_death_while_hands_are_measured_is_named_and_not_kept(with_numpy: str) -> None:
    declared = Environment(
        "crane", "Bring the hook to its place.", make="cart.py:Dying", python=with_numpy, horizon=50,
        observation=[part("hook_position", 3, "m"), part("goal_position", 3, "m")],
        action=[part("winches", 2)], positions=("hook_position", "goal_position"),
    )  # fmt: skip
    plugin = DeclaredPlugin(str(CART.parent / "mine.py"), (declared,), str(CART.parent))
    for _ in range(2):  # not remembered as an environment without hands
        with pytest.raises(SimulatorDeathError) as caught:
            plugin.describe("crane", control="pose")
        text = str(caught.value)
        assert f"{with_numpy} died in step(): signal SIGSEGV" in text
        assert "crane: the simulator died while its hands were measured: " in text
    finding = problem("hands", text)
    assert finding.remedy.startswith("the simulator's process died, no field of a plug-in is wrong")
    assert plugin.describe("crane").control == "raw"


def test_functions_of_a_plug_in_run_here_on_the_values_from_there(with_numpy: str) -> None:
    plugin = plug(
        with_numpy,
        observation=[part("place", unit="m"), part("speed", unit="m/s")],
        success=lambda e: e.info["speed"] > 0.5 and e.raw[0] == e.observation["place"],
    )
    env = plugin.make("cart")
    env.reset(seed=1)
    while not (result := env.step(np.ones(1, np.float32)))[2]:
        assert not result[3]
    assert result[4]["success"]
    assert result[0][1] > 0.5
    env.close()


def test_the_simulators_attributes_are_not_here_and_the_error_says_so(with_numpy: str) -> None:
    plugin = plug(with_numpy, success=lambda e: e.env.state[0] > 0)
    env = plugin.make("cart")
    env.reset(seed=1)
    with pytest.raises(EnvironmentFault) as caught:
        env.step(np.zeros(1, np.float32))
    assert str(caught.value).startswith(
        "success of the plug-in raises AttributeError: 'state' is an attribute of the simulator, which runs in"
        f" {with_numpy}; a plug-in's functions have e.observation, e.info and e.raw of it"
    )
    env.close()


def test_a_function_of_this_interpreter_cannot_make_it_in_another() -> None:
    with pytest.raises(
        WorkspaceError, match=r"make must be a text such as 'parts/arm\.py:make' where python='there'"
    ):
        Environment("cart", "Do.", make=lambda: None, python="there")


def test_make_as_a_text_works_in_this_interpreter_too(tmp_path: Path) -> None:
    (tmp_path / "pole.py").write_text(
        "import gymnasium\ndef make():\n    return gymnasium.make('CartPole-v1')\n"
    )
    declared = Environment("pole", "Do.", make="pole.py:make", success=lambda e: False, horizon=5)
    here = DeclaredPlugin(str(tmp_path / "mine.py"), (declared,))
    there = DeclaredPlugin(str(tmp_path / "mine.py"), (replace(declared, python=sys.executable),))
    envs = [plugin.make("pole") for plugin in (here, there)]
    seen = [[env.reset(seed=3)[0].tolist(), env.step(env.action_space.high)[0].tolist()] for env in envs]
    for env in envs:
        env.close()
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ("gone.py:Cart", r"mine\.py: cart: make: there is no file '.*gone\.py'"),
        ("cart.py:Gone", r"mine\.py: cart: make: cart\.py has no function 'Gone'"),
    ],
)
def test_a_text_that_names_nothing_is_an_error(tmp_path: Path, make: str, message: str) -> None:
    (tmp_path / "cart.py").write_text(CART.read_text())
    declared = Environment("cart", "Do.", make=make, horizon=5)
    with pytest.raises(WorkspaceError, match=message):
        DeclaredPlugin(str(tmp_path / "mine.py"), (declared,)).describe("cart")


def test_make_as_a_text_names_a_function() -> None:
    with pytest.raises(WorkspaceError, match=r"make as a text must be 'FILE\.py:FUNCTION'"):
        Environment("cart", "Do.", make="cart", python="there")


def test_an_interpreter_is_relative_to_the_plug_in(with_numpy: str, tmp_path: Path) -> None:
    (tmp_path / "env").symlink_to(Path(with_numpy).parents[1])
    (tmp_path / "cart.py").write_text(CART.read_text())
    declared = Environment("cart", "Do.", make="cart.py:Cart", python="env/bin/python", horizon=5)
    spec = DeclaredPlugin(str(tmp_path / "mine.py"), (declared,)).describe("cart")
    assert spec.horizon == 5
    assert "python" not in spec.options


def test_worlds_change_signals_and_refuse_physics(
    with_numpy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "mine.py").write_text(
        "from trace_robot import Environment\n"
        f"ENVIRONMENTS = [Environment('cart', 'Do.', make={f'{CART}:Cart'!r}, python={with_numpy!r})]\n"
    )
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(tmp_path))
    noisy = {"observation_noise": {"all": 0.1}}
    seen, _ = registry.make("cart", world=noisy).reset(seed=0)
    true, _ = registry.make("cart").reset(seed=0)
    assert 0 < np.abs(seen - true).max() < 1.0
    heavy = {"mass": [2.0, 2.0]}
    with pytest.raises(ValueMismatchError, match="shows no MuJoCo model"):
        registry.make("cart", world=heavy)


# Faults.


def refusal(python: str) -> str:
    with pytest.raises(WorkspaceError) as caught:
        registry.describe("CartPole-v1", task="any", python=python)
    return str(caught.value)


def test_an_interpreter_that_cannot_be_is_one_line_with_the_remedy(tmp_path: Path, bare: str) -> None:
    missing, plain = tmp_path / "missing", tmp_path / "plain"
    plain.write_text("")
    old, none = stand_in(tmp_path, "old"), stand_in(tmp_path, "none")
    assert refusal(str(missing)).endswith(
        f"there is no interpreter {str(missing)!r}; give the path of one, or a name on PATH"
    )
    assert refusal(str(plain)).endswith(
        f"the interpreter {str(plain)!r} is not executable; give another one, or chmod +x it"
    )
    assert refusal(str(tmp_path)).endswith(
        f"python must be an interpreter, got the folder {str(tmp_path)!r}; is it {tmp_path}/bin/python?"
    )
    assert refusal(none).endswith(
        f"{none!r} is no Python: exit code 3; it wrote: I am no Python; give the path of an interpreter, such as"
        " ENV/bin/python"
    )
    assert refusal(old).endswith(
        f"the interpreter {old} is Python 3.7, and 3.8 or newer is needed; give another one"
    )
    assert refusal(bare).endswith(
        f"the interpreter {bare} cannot load numpy (No module named 'numpy'): {bare} -m pip install numpy"
    )


def test_a_file_that_the_system_cannot_execute_is_named(tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_bytes(b"\x7fELF no program")
    path.chmod(0o755)
    assert f"the interpreter {str(path)!r} cannot be started" in refusal(str(path))


def test_a_package_that_is_missing_there_is_installed_there(with_numpy: str, full: str) -> None:
    with pytest.raises(MissingExtraError) as caught:
        registry.describe("CartPole-v1", task="any", python=with_numpy)
    assert str(caught.value).endswith(f"(No module named 'gymnasium'): {with_numpy} -m pip install gymnasium")
    with pytest.raises(MissingExtraError) as caught:
        registry.describe("no_robots:Arm-v0", task="any", python=full)
    assert f"{full} -m pip install no_robots, or put it into " in str(caught.value)


def test_an_id_that_is_not_known_there_has_its_neighbors(full: str) -> None:
    with pytest.raises(UnknownNameError, match=r"no environment 'CartPolle-v1'; did you mean 'CartPole-v1'"):
        registry.describe("CartPolle-v1", task="any", python=full)


def test_arguments_that_it_refuses_are_named(with_numpy: str) -> None:
    call = RemoteCall(with_numpy, "cart", f"{CART}:Cart", {"weight": 1}, where="mine.py: cart")
    with pytest.raises(
        ValueMismatchError, match=r"mine\.py: cart: the environment refuses its arguments: .*'weight'"
    ):
        RemoteEnv(call)
    call = RemoteCall(with_numpy, "cart", f"{CART}:Cart", {"mass": object()}, where="mine.py: cart")
    with pytest.raises(ValueMismatchError, match="as plain data and arrays, and object is no plain data"):
        RemoteEnv(call)


def test_a_server_of_another_version_is_named(with_numpy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_server, "PROTOCOL", 99)
    with pytest.raises(
        WorkspaceError, match=r"speaks version 1 and this process 99; trace-robot was replaced"
    ):
        RemoteEnv(RemoteCall(with_numpy, "cart", f"{CART}:Cart"))


@pytest.mark.parametrize(
    ("what", "how"), [("dies", "signal SIGSEGV; it wrote: last words"), ("exits", "exit code 7")]
)
def test_a_process_that_dies_is_named_and_started_again(
    what: str, how: str, faulty: Callable[[str], RemoteEnv]
) -> None:
    env = faulty(what)
    first, _ = env.reset(seed=5)
    saved = env.snapshot()
    env.step(np.zeros(1))
    env.step(np.zeros(1))
    with pytest.raises(EnvironmentFault) as caught:
        env.step(np.zeros(1))
    assert f"{env.call.python} died in step(): {how}" in str(caught.value)
    with pytest.raises(EnvironmentFault, match=r"call reset\(\) first"):
        env.step(np.zeros(1))
    again, _ = env.reset(seed=5)
    assert again.tolist() == first.tolist()
    with pytest.raises(EnvironmentFault, match="was started again since the snapshot"):
        env.restore(saved)


def test_what_it_raises_has_its_line_there(faulty: Callable[[str], RemoteEnv]) -> None:
    env = faulty("raises")
    env.reset(seed=0)
    env.step(np.zeros(1))
    env.step(np.zeros(1))
    with pytest.raises(EnvironmentFault, match=r"^RuntimeError: the belt slipped \(cart\.py, line \d+\)$"):
        env.step(np.zeros(1))
    assert env.step(np.zeros(1))[0].shape == (2,)


def test_four_values_are_those_of_old_gym(faulty: Callable[[str], RemoteEnv]) -> None:
    env = faulty("four")
    env.reset(seed=0)
    assert [len(env.step(np.zeros(1))) for _ in range(3)] == [5, 5, 4]


def test_info_arrives_without_what_no_message_can_hold(faulty: Callable[[str], RemoteEnv]) -> None:
    env = faulty("odd")
    env.reset(seed=0)
    env.step(np.zeros(1))
    env.step(np.zeros(1))
    info = env.step(np.zeros(1))[4]
    assert info == {"success": False, "object": "<object>", "text": "fine", "3": 4.0}


def test_what_it_prints_goes_to_standard_error(
    faulty: Callable[[str], RemoteEnv], capfd: pytest.CaptureFixture[str]
) -> None:
    env = faulty("loud")
    env.reset(seed=6)
    env.step(np.zeros(1))
    out, err = capfd.readouterr()
    assert out == ""
    assert set(err.splitlines()) == {"reset to 6", "from C", "to standard error"}


def test_a_step_that_hangs_is_interrupted_and_its_process_ended(faulty: Callable[[str], RemoteEnv]) -> None:
    env = faulty("hangs")
    env.reset(seed=0)
    env.step(np.zeros(1))
    env.step(np.zeros(1))
    assert env._server is not None
    process = env._server.process

    def expire() -> None:
        raise EnvironmentFault("step() hangs")

    with pytest.raises(EnvironmentFault, match="hangs"), interval_timer(0.3, expire):
        env.step(np.zeros(1))
    assert process.returncode == -signal.SIGKILL
    env.reset(seed=0)


def test_it_ends_with_a_process_that_is_killed_even_in_the_middle_of_a_step(
    with_numpy: str, tmp_path: Path
) -> None:
    program = f"""
import numpy as np
from trace_robot.env.remote import RemoteCall, RemoteEnv
env = RemoteEnv(RemoteCall({with_numpy!r}, "faulty", {f"{CART}:Faulty"!r}, {{"what": "hangs"}}))
env.reset(seed=0)
print(env._server.process.pid, flush=True)
while True:
    env.step(np.zeros(1))
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        there = int(parent.stdout.readline())
        time.sleep(0.3)
        assert is_alive(there)
        parent.kill()
    deadline = time.monotonic() + 60.0
    while is_alive(there) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(there)


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_an_environment_that_is_dropped_leaves_no_process(with_numpy: str) -> None:
    env = RemoteEnv(RemoteCall(with_numpy, "cart", f"{CART}:Cart"))
    assert env._server is not None
    process = env._server.process
    del env
    assert process.returncode == -signal.SIGKILL


def test_an_unstable_simulation_there_is_the_fault_it_is_here(full: str, tmp_path: Path) -> None:
    (tmp_path / "wild.py").write_text(
        "from gymnasium.envs.mujoco.inverted_pendulum_v5 import InvertedPendulumEnv\n"
        "class Wild(InvertedPendulumEnv):\n"
        "    def step(self, action):\n"
        "        self.data.qvel[:] = 1e12\n"
        "        return super().step(action)\n"
    )
    env = RemoteEnv(RemoteCall(full, "wild", f"{tmp_path}/wild.py:Wild"))
    env.reset(seed=0)
    with pytest.raises(EnvironmentFault, match=f"^{UNSTABLE}: Nan, Inf or huge value in QVEL"):
        env.step(np.zeros(1, np.float32))
    env.reset(seed=0)
    env.close()


def test_it_gets_the_variables_on_the_list_and_none_of_ours(
    with_numpy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "PYTHONPATH", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("MUJOCO_GL", "egl")
    (tmp_path / "curious.py").write_text(
        f"import os, sys\nsys.path.insert(0, {str(CART.parent)!r})\nfrom cart import Cart\n"
        "def make(render_mode=None):\n"
        "    cart = Cart()\n"
        "    cart.reset = lambda seed=None: (cart.state, {**os.environ, 'first': sys.path[0]})\n"
        "    return cart\n"
    )
    env = RemoteEnv(RemoteCall(with_numpy, "curious", f"{tmp_path}/curious.py:make"))
    _, seen = env.reset()
    assert seen["MUJOCO_GL"] == "egl"
    assert not {"OPENAI_API_KEY", "PYTHONPATH", "VIRTUAL_ENV"} & seen.keys()
    env.close()


# The messages.


def test_numbers_arrive_as_they_were_bit_for_bit() -> None:
    here, there = Codec(strict=True), Codec()
    generator = np.random.default_rng(0)
    for dtype in ("<f8", "<f4", ">f8", "<i8", "<i4", "u1", "?", "<f2"):
        for shape in ((), (0,), (3,), (2, 3), (4, 1, 2)):
            array = np.asarray(generator.normal(size=shape) * 100).astype(dtype)
            arrived = there.unpack(here.pack({"a": [array, None, True, 7, "text"]}))["a"]
            assert arrived[0].tobytes() == array.tobytes()
            assert (arrived[0].dtype, arrived[0].shape) == (array.dtype, array.shape)
            assert arrived[1:] == [None, True, 7, "text"]
    single = there.unpack(here.pack({"x": np.float32(0.1), "n": float("nan"), "y": 0.1}))
    assert type(single["x"]) is np.float32
    assert (single["x"], single["y"]) == (np.float32(0.1), 0.1)
    assert np.isnan(single["n"])


def test_a_message_that_is_none_is_refused() -> None:
    codec = Codec()
    message = codec.pack({"a": np.zeros(3)})
    generator = np.random.default_rng(1)
    for _ in range(500):
        broken = bytearray(message)
        for place in generator.integers(0, len(message), 3):
            broken[place] = int(generator.integers(256))
        try:
            codec.unpack(bytes(broken[: generator.integers(8, len(message) + 1)]))
        except (ValueError, TypeError, OverflowError):
            continue
    text = b'{"a":{"\\u0000array":["|O",[1]]}}'
    objects = remote_server.HEADER.pack(len(text), 0) + text
    with pytest.raises(ValueError, match="none of numbers"):
        codec.unpack(objects)
    with pytest.raises(ValueError, match="longer than"):
        codec.pack({"a": np.zeros(remote_server.LARGEST // 8)})


def test_a_server_forgets_snapshots_that_are_wanted_no_more() -> None:
    server = Server()
    made = server.answer(
        {"do": "make", "id": "CartPole-v1", "target": "", "arguments": {}, "extra": {}, "root": ""}
    )
    assert (made["limit"], made["threshold"]) == (500, 475.0)
    server.answer({"do": "reset", "seed": 0, "options": None})
    server.answer({"do": "save", "number": 1})
    assert server.answer({"do": "load", "number": 1}) == {}
    reply = server.answer({"do": "load", "number": 1, "forget": [1]})
    assert reply["fault"] == "state"


@pytest.mark.parametrize("module", ["trace_robot.env.remote_server", "trace_robot.env.simulation"])
def test_what_another_interpreter_loads_is_python_3_8_and_needs_numpy_alone(module: str) -> None:
    path = Path(remote_server.__file__).with_name(f"{module.rpartition('.')[2]}.py")
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    names = {name.partition(".")[0] for name in imports(module)}
    later = {"mujoco", "gymnasium", "fcntl"}  # inside of functions
    assert names - later - {"trace_robot"} - set(sys.stdlib_module_names) == {"numpy"}
