"""Contacts inside decisions: what touched and when is what the simulator computed, and watching changes nothing."""

from __future__ import annotations

import re
from typing import Any

import mujoco
import numpy as np
import pytest

from trace_robot.env.contact_log import ContactLog
from trace_robot.env.registry import make

DROP = """<mujoco><option timestep=".01"/><worldbody><geom name="bench" type="plane" size="1 1 .1"/>
<body name="ball" pos="0 0 .5"><freejoint/><geom type="sphere" size=".05" solref=".02 .1"/></body>
<body name="crate" pos=".5 0 .05"><freejoint/><geom type="box" size=".05 .05 .05"/></body>
<body name="stick" pos="-.4 0 .3"><joint name="swing" axis="0 1 0"/><geom type="capsule" size=".02 .1"/></body>
</worldbody><actuator><motor joint="swing"/></actuator></mujoco>"""


class Falling:
    """An environment of a model alone; a step is two of the physics."""

    dt = 0.02

    def __init__(self) -> None:
        self.model = mujoco.MjModel.from_xml_string(DROP)
        self.data = mujoco.MjData(self.model)
        mujoco.mj_forward(self.model, self.data)
        self.unwrapped = self

    def step(self) -> None:
        mujoco.mj_step(self.model, self.data, nstep=2)

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            self.step()


def falls(log: ContactLog | None, env: Falling, decisions: int = 20, steps: int = 5) -> list[Any]:
    heights = []
    for decision in range(decisions):
        if log is None:
            env.advance(steps)
        else:
            with log.watching(decision * steps):
                env.advance(steps)
        heights.append(env.data.qpos.copy())
    return heights


def test_the_touches_of_a_bouncing_ball_are_at_the_steps_at_which_it_is_lowest() -> None:
    env = Falling()
    log = ContactLog.of(env)
    assert log is not None
    falls(log, env)
    other, low = Falling(), []
    for step in range(1, 101):
        other.step()
        touching = any({int(g) for g in c.geom} == {0, 1} and c.efc_address >= 0 for c in other.data.contact)
        low += [step] * touching
    assert mujoco.get_mjcb_control() is None
    lines = log.lines()
    assert re.match(rf"decision {(low[0] - 1) // 5}, simulator step {low[0]}\b", lines[0])
    assert "ball touches world, first at 0 0 -0" in lines[0]
    assert len(lines) >= 2  # it bounces
    assert not any("crate" in line for line in lines)  # it lies there from the start


def test_watching_changes_no_bit_of_an_episode_and_counts_no_other_simulation() -> None:
    watched, alone, beside = Falling(), Falling(), Falling()
    beside.data.qpos[2] = 0.049  # touches at once
    log = ContactLog.of(watched)
    assert log is not None
    with log.watching(0):
        beside.step()
    assert log.touches == []
    watched, log = Falling(), None
    log = ContactLog.of(watched)
    assert np.array_equal(falls(log, watched), falls(None, alone))


def test_the_callback_is_gone_after_a_step_that_raised_and_one_of_the_environment_is_left_alone() -> None:
    env = Falling()
    log = ContactLog.of(env)
    assert log is not None
    with pytest.raises(ZeroDivisionError), log.watching(0):
        raise ZeroDivisionError
    assert mujoco.get_mjcb_control() is None
    calls: list[int] = []
    mujoco.set_mjcb_control(lambda model, data: calls.append(1))
    try:
        falls(log, env, 12)
        assert calls
        assert log.lines() == ()
    finally:
        mujoco.set_mjcb_control(None)


def test_an_environment_without_mujoco_has_no_log() -> None:
    env = make("CartPole-v1", control="raw")
    env.reset(seed=0)
    assert ContactLog.of(env) is None
    env.close()
