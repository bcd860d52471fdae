"""A ball that falls past a wall, recorded with MuJoCo, and a shared renderer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from trace_robot.render.process import probe
from trace_robot.render.video import Clip, RenderProcess
from trace_robot.spec import Array, Scene, States

MODEL = """
<mujoco>
  <worldbody>
    <light pos="0 -1 4"/>
    <camera name="upright" pos="0 -3 1" xyaxes="1 0 0 0 0 1"/>
    <camera name="headlong" pos="0 -3 1" xyaxes="-1 0 0 0 0 -1"/>
    <geom type="plane" size="3 3 0.1" rgba="0.2 0.2 0.2 1"/>
    <geom name="wall" type="box" pos="0.9 0.6 0.5" size="0.3 0.05 0.5" rgba="0.1 0.8 0.1 1"/>
    <site name="goal" pos="-0.8 0 0.3" size="0.1" rgba="0 0 1 1"/>
    <body name="ball" pos="0 0 1.8">
      <freejoint/>
      <geom size="0.2" rgba="0.9 0.05 0.05 1"/>
    </body>
  </worldbody>
</mujoco>
"""


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "ball.xml"
    path.write_text(MODEL)
    return path


def fall(model_path: Path, *, steps: int = 250, every: int = 5) -> States:
    """Record the ball's fall: 2 ms a step, a state every few steps."""
    model: Any = mujoco.MjModel.from_xml_path(str(model_path))
    data = mujoco.MjData(model)
    rows: list[Array] = []
    seconds: list[float] = []
    for step in range(steps + 1):
        if step % every == 0:
            rows.append(data.qpos.copy())
            seconds.append(data.time)
        mujoco.mj_step(model, data)
    count = len(rows)
    return States(np.array(rows), np.zeros((count, 0, 3)), np.zeros((count, 0, 4)), np.array(seconds))


@pytest.fixture(scope="session")
def states(model_path: Path) -> States:
    return fall(model_path)


@pytest.fixture
def clip(model_path: Path, states: States) -> Clip:
    return Clip(Scene(str(model_path), camera="upright"), states, ("falling ball",), "it fell", True)


@pytest.fixture(scope="session")
def process() -> Iterator[RenderProcess]:
    """One process that draws for all the tests that need nothing special."""
    with RenderProcess() as shared:
        yield shared


@pytest.fixture(params=["egl", "osmesa", "rays"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend that draws here."""
    reason = probe(request.param)
    if reason:
        pytest.skip(f"{reason}: no such library here")
    return str(request.param)
