"""What importing costs and gives."""

import subprocess
import sys

import trace_robot
import trace_robot.trace


def loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_none_of_its_rooms() -> None:
    loaded = loaded_by("import trace_robot")
    assert [name for name in loaded if name.startswith("trace_robot")] == ["trace_robot"]
    assert "numpy" not in loaded


def test_tracing_needs_numpy_and_nothing_heavier() -> None:
    loaded = loaded_by("from trace_robot import node, bundle, ExecutionError")
    rooms = {name.split(".")[1] for name in loaded if name.startswith("trace_robot.")}
    assert rooms == {"trace", "errors"}
    assert not loaded & {"gymnasium", "openai", "mujoco", "asyncio", "scipy"}


def test_every_name_of_the_engine_is_reached_from_the_top() -> None:
    for name in trace_robot._HOMES["trace"]:
        assert getattr(trace_robot, name) is getattr(trace_robot.trace, name)
    assert set(trace_robot._HOME_OF) == set(trace_robot.__all__)
    assert set(trace_robot.__all__) <= set(dir(trace_robot))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(trace_robot, "absent")


def test_every_public_name_of_the_engine_exists() -> None:
    for name in trace_robot.trace.__all__:
        assert hasattr(trace_robot.trace, name)
