"""Small robots in MuJoCo for tests of the search: a gantry, two hands with a tray, a button with a lamp."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import mujoco
import numpy as np

from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.search.staged import StagedProgram, measure, run
from trace_robot.spec import Array, Field, HandSpec, TaskSpec

STEP = 0.01  # meters that an action of 1 moves a hand's target in a decision
ANGLE = 0.1  # rad, likewise
HEAD = """
<mujoco>
  <option timestep="0.005" integrator="implicitfast" cone="elliptic" impratio="5"/>
  <default><geom friction="1.2 0.05 0.001" condim="4"/></default>
  <worldbody>
    <geom name="floor" type="plane" size="1 1 0.1"/>
"""


def slides(name: str, place: str, inner: str) -> str:
    """A body on three slides, of which ``inner`` is what it holds."""
    joints = "".join(
        f'<joint name="{name}_{axis}" type="slide" axis="{way}" damping="60" armature="1"/>'
        for axis, way in (("x", "1 0 0"), ("y", "0 1 0"), ("z", "0 0 1"))
    )
    return f'<body name="{name}" pos="{place}" gravcomp="1">{joints}{inner}</body>'


def servos(*names: str, strength: float = 2000.0) -> str:
    return "".join(f'<position joint="{name}" kp="{strength}"/>' for name in names)


class Robot:
    """A MuJoCo world of one task. ``step`` returns observation, reward, success and whether it has failed."""

    spec: ClassVar[TaskSpec]
    xml: ClassVar[str]
    substeps: ClassVar[int] = 5

    def __init__(self) -> None:
        self.model = mujoco.MjModel.from_xml_string(self.xml)
        self.data = mujoco.MjData(self.model)

    def reset(self, seed: int) -> Array:
        self.random = np.random.default_rng(seed)
        mujoco.mj_resetData(self.model, self.data)
        self.place()
        mujoco.mj_forward(self.model, self.data)
        return self.observe()

    def step(self, action: Array) -> tuple[Array, float, bool, bool]:
        self.command(np.clip(action.astype(float), self.spec.low, self.spec.high))
        mujoco.mj_step(self.model, self.data, self.substeps)
        return self.observe(), *self.judge()

    def at(self, name: str) -> Array:
        return np.array(self.data.site(name).xpos)

    def place(self) -> None:
        raise NotImplementedError

    def command(self, action: Array) -> None:
        raise NotImplementedError

    def observe(self) -> Array:
        raise NotImplementedError

    def judge(self) -> tuple[float, bool, bool]:
        raise NotImplementedError


def make_spec(
    name: str,
    fields: Mapping[str, tuple[int, str]],
    size: int,
    hands: tuple[HandSpec, ...],
    horizon: int,
) -> TaskSpec:
    """A spec with fields of a size and a unit in order; those of three meters are its positions."""
    parts, start = [], 0
    for part, (count, unit) in fields.items():
        parts.append(Field(part, start, start + count, unit))
        start += count
    positions = tuple(part for part, (count, unit) in fields.items() if (count, unit) == (3, "m"))
    action = tuple(Field(f"a{i}", i, i + 1) for i in range(size))
    low, high = (-1.0,) * size, (1.0,) * size
    return TaskSpec(
        name, "", tuple(parts), action, start, low, high, horizon, positions=positions, hands=hands
    )


class Gantry(Robot):
    """A gripper on three slides and a hinge picks up a bar and puts it into a slot that lies at another angle."""

    spec = make_spec(
        "gantry",
        {"hand_position": (3, "m"), "hand_yaw": (1, "rad"), "opening": (1, "m"), "bar_position": (3, "m"),
         "bar_yaw": (1, "rad"), "slot_position": (3, "m"), "slot_yaw": (1, "rad")},
        5,
        (HandSpec("hand", "hand_position", 1, turn=4, yaw="hand_yaw", gripper=0, opens=1.0),),
        160,
    )  # fmt: skip
    xml = (
        HEAD
        + slides(
            "hand",
            "0 0 0.2",
            """<joint name="yaw" type="hinge" axis="0 0 1" damping="2" armature="0.05"/>
            <geom type="box" size="0.05 0.015 0.01" pos="0 0 0.06" mass="0.3"/>
            <site name="hand" pos="0 0 0"/>
            <body name="left"><joint name="left" type="slide" axis="0 1 0" range="0 0.03" limited="true"
              damping="5" armature="0.1"/>
              <geom type="box" size="0.012 0.005 0.03" pos="0 0.012 0.015" mass="0.05"/></body>
            <body name="right"><joint name="right" type="slide" axis="0 -1 0" range="0 0.03" limited="true"
              damping="5" armature="0.1"/>
              <geom type="box" size="0.012 0.005 0.03" pos="0 -0.012 0.015" mass="0.05"/></body>""",
        )
        + """<body name="bar" pos="0 0 0.012"><freejoint/><site name="bar"/>
            <geom type="box" size="0.05 0.01 0.012" mass="0.05"/></body>
        <body name="slot" mocap="true" pos="0 0 0"><site name="slot" pos="0 0 0.012"/>
            <geom type="box" size="0.05 0.004 0.008" pos="0 0.02 0.008"/>
            <geom type="box" size="0.05 0.004 0.008" pos="0 -0.02 0.008"/></body>
      </worldbody><actuator>"""
        + servos("hand_x", "hand_y", "hand_z")
        + servos("yaw", strength=40)
        + servos("left", "right", strength=300)
        + "</actuator></mujoco>"
    )

    def place(self) -> None:
        bar = self.data.joint(int(self.model.body("bar").jntadr[0]))
        x, y, yaw = self.random.uniform((-0.15, -0.15, -1.4), (0.15, 0.0, 1.4))
        bar.qpos = [x, y, 0.012, math.cos(yaw / 2), 0, 0, math.sin(yaw / 2)]
        x, y, yaw = self.random.uniform((-0.15, 0.1, -1.4), (0.15, 0.2, 1.4))
        self.slot_yaw = float(yaw)
        self.data.mocap_pos[0] = [x, y, 0.0]
        self.data.mocap_quat[0] = [math.cos(yaw / 2), 0, 0, math.sin(yaw / 2)]
        self.target = np.array([0.0, 0.0, 0.0, 0.0, 0.03, 0.03])
        self.data.qpos[4:6] = 0.03

    def command(self, action: Array) -> None:
        self.target[:3] = self.data.qpos[:3] + 3 * STEP * action[1:4]
        self.target[2] = max(self.target[2], -0.19)
        self.target[3] = self.data.qpos[3] + 3 * ANGLE * action[4]
        self.target[4:] = 0.03 if action[0] > 0 else -0.03
        self.data.ctrl[:] = self.target

    def observe(self) -> Array:
        w, _, _, z = self.data.body("bar").xquat
        self.bar_yaw = 2 * math.atan2(z, w)
        hand_yaw, opening = self.data.qpos[3], self.data.qpos[4] + self.data.qpos[5]
        return np.array(
            [
                *self.at("hand"),
                hand_yaw,
                opening,
                *self.at("bar"),
                self.bar_yaw,
                *self.at("slot"),
                self.slot_yaw,
            ]
        )

    def judge(self) -> tuple[float, bool, bool]:
        hand, bar, slot = self.at("hand"), self.at("bar"), self.at("slot")
        off = abs(math.remainder(self.bar_yaw - self.slot_yaw, math.pi))
        far = float(np.linalg.norm(bar - slot))
        done = far < 0.012 and off < 0.12
        return -far - 0.3 * float(np.linalg.norm(hand - bar)) - 0.05 * off, done, False


class Tray(Robot):
    """Two hands lift a tray by its ends; where they do not keep it level it is lost."""

    spec = make_spec(
        "tray",
        {"left_position": (3, "m"), "right_position": (3, "m"), "tray_position": (3, "m"),
         "left_end_position": (3, "m"), "right_end_position": (3, "m")},
        6,
        (HandSpec("left", "left_position", 0), HandSpec("right", "right_position", 3)),
        120,
    )  # fmt: skip
    xml = (
        HEAD
        + slides(
            "left", "-0.35 0 0.1", '<geom type="box" size="0.03 0.05 0.01" mass="1"/><site name="left"/>'
        )
        + slides(
            "right", "0.35 0 0.1", '<geom type="box" size="0.03 0.05 0.01" mass="1"/><site name="right"/>'
        )
        + """<body name="tray" pos="0 0 0.13"><freejoint/><site name="tray"/>
            <geom type="box" size="0.2 0.06 0.01" mass="0.4"/>
            <site name="left_end" pos="-0.18 0 0"/><site name="right_end" pos="0.18 0 0"/></body>
        <body name="stand" mocap="true" pos="0 0 0.06"><geom type="box" size="0.1 0.05 0.06"/></body>
      </worldbody><actuator>"""
        + servos("left_x", "left_y", "left_z", "right_x", "right_y", "right_z")
        + "</actuator></mujoco>"
    )

    def place(self) -> None:
        x, y, yaw = self.random.uniform((-0.1, -0.1, -0.3), (0.1, 0.1, 0.3))
        self.data.qpos[6:] = [x, y, 0.13, math.cos(yaw / 2), 0, 0, math.sin(yaw / 2)]
        self.data.mocap_pos[0] = [x, y, 0.06]
        self.data.mocap_quat[0] = [math.cos(yaw / 2), 0, 0, math.sin(yaw / 2)]

    def command(self, action: Array) -> None:
        self.data.ctrl[:] = self.data.qpos[:6] + 3 * STEP * action

    def observe(self) -> Array:
        names = ("left", "right", "tray", "left_end", "right_end")
        return np.concatenate([self.at(name) for name in names])

    def judge(self) -> tuple[float, bool, bool]:
        left, right, tray, one, other = np.split(self.observe(), 5)
        tilt = math.acos(min(1.0, float(self.data.body("tray").xmat[8])))
        height = float(tray[2]) - 0.13
        away = float(np.linalg.norm(left - one) + np.linalg.norm(right - other))
        lost = tilt > 0.25
        return 3 * min(height, 0.15) - 0.5 * away - tilt - lost, height > 0.15 and tilt < 0.1, lost


class Lamp(Robot):
    """A button arms a lever half the time that it is pressed, as a lamp shows; a press when it is on disarms it.

    A hand that comes to the lever while the lamp is off has failed.
    """

    spec = make_spec(
        "lamp",
        {"hand_position": (3, "m"), "button_position": (3, "m"), "lever_position": (3, "m"), "lamp": (1, "")},
        3,
        (HandSpec("hand", "hand_position", 0),),
        200,
    )
    xml = (
        HEAD
        + slides("hand", "0 0 0.2", '<geom type="sphere" size="0.02" mass="1"/><site name="hand"/>')
        + """<body name="button" pos="0 0 0.05"><site name="button"/>
            <joint name="button" type="slide" axis="0 0 -1" range="0 0.03" limited="true" stiffness="100"
              damping="3" armature="0.05"/><geom type="cylinder" size="0.03 0.01" mass="0.05"/></body>
        <site name="lever" pos="0 0.3 0.1"/>
      </worldbody><actuator>"""
        + servos("hand_x", "hand_y", "hand_z")
        + "</actuator></mujoco>"
    )

    def place(self) -> None:
        x, y = self.random.uniform((-0.15, -0.15), (0.15, 0.0))
        self.model.body("button").pos[:2] = x, y
        x, y = self.random.uniform((-0.15, 0.15), (0.15, 0.25))
        self.model.site("lever").pos[:2] = x, y
        self.lamp, self.pressed = False, False

    def command(self, action: Array) -> None:
        self.data.ctrl[:] = self.data.qpos[:3] + 3 * STEP * action

    def observe(self) -> Array:
        depth = float(self.data.joint("button").qpos[0])
        if depth > 0.02 and not self.pressed:
            self.lamp, self.pressed = not self.lamp and self.random.random() < 0.5, True
        elif depth < 0.005:
            self.pressed = False
        return np.array([*self.at("hand"), *self.at("button"), *self.at("lever"), float(self.lamp)])

    def judge(self) -> tuple[float, bool, bool]:
        hand = self.at("hand")
        there = float(np.linalg.norm(hand - self.at("lever"))) < 0.03
        goal = self.at("lever") if self.lamp else self.at("button")
        reward = self.lamp - float(np.linalg.norm(hand - goal)) - 2.0 * (there and not self.lamp)
        return reward, there and self.lamp, there and not self.lamp


def play(robot: Robot, runner: Any, seed: int) -> tuple[bool, Array, Array]:
    """Return success, observations and rewards of one episode."""
    seen, rewards = [robot.reset(seed)], list[float]()
    success = failed = False
    while len(rewards) < robot.spec.horizon and not success and not failed:
        action = runner(seen[-1])
        if runner.finished:
            break
        observation, reward, success, failed = robot.step(action)
        seen.append(observation)
        rewards.append(reward)
    return success, np.array(seen), np.array(rewards)


def outcome(robot: Robot, candidate: Candidate) -> Outcome:
    """Run a candidate of the staged search on its conditions."""
    program = StagedProgram.from_data(candidate.program or {})
    details: dict[str, list[Any]] = {"success": [], "steps": []}
    measured = []
    for seed in candidate.seeds or ():
        success, seen, rewards = play(robot, run(program, robot.spec), seed)
        details["success"].append(success)
        details["steps"].append(len(rewards))
        measured.append(measure(robot.spec, seen, rewards))
    # An episode without a step has fewer measures than others.
    for name in {name for numbers in measured for name in numbers}:
        details[name] = [numbers.get(name, math.nan) for numbers in measured]
    return Outcome(candidate.id, 0.0, details=details)
