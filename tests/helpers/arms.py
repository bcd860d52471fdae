"""Small arms of MuJoCo whose actions are in joint space, as gymnasium environments."""

from __future__ import annotations

from typing import Any

import gymnasium
import mujoco
import numpy as np
from gymnasium import spaces

# A turntable, a shoulder, an elbow and a wrist, 0.2 m each; FINGERS makes two slides of the last body.
CHAIN = """
<body name="{p}base" pos="{x} 0 0.1">
 <joint name="{p}turn" axis="0 0 1" range="-3 3"/><geom size="0.03" mass="1" {g}/>
 <body pos="0 0 0.1"><joint name="{p}shoulder" axis="0 1 0" range="-2 2"/>
  <geom type="capsule" fromto="0 0 0 0 0 0.2" size="0.02" mass="0.5" {g}/>
  <body pos="0 0 0.2"><joint name="{p}elbow" axis="0 1 0" range="-2.5 2.5"/>
   <geom type="capsule" fromto="0 0 0 0.2 0 0" size="0.02" mass="0.4" {g}/>
   <body pos="0.2 0 0"><joint name="{p}wrist" axis="0 1 0" range="-2.5 2.5"/>
    <geom type="capsule" fromto="0 0 0 0.08 0 0" size="0.015" mass="0.2" {g}/>{more}
   </body></body></body></body>"""
TIP = '<site name="{p}tip" pos="0.1 0 0"/>'
# Roll, pitch and roll behind the wrist: seven joints in all.
WRIST = """<body pos="0.1 0 0"><joint name="roll" axis="1 0 0" range="-3 3"/><geom size="0.015" mass="0.1" {g}/>
 <body pos="0.05 0 0"><joint name="pitch" axis="0 0 1" range="-2 2"/><geom size="0.015" mass="0.1" {g}/>
 {yaw}</body></body>"""
FINGERS = """<body name="left" pos="0.04 0.01 0">
  <joint name="left" type="slide" axis="0 1 0" range="0 0.03" damping="5"/>
  <geom size="0.008" mass="0.02" {g}/></body>
 <body name="right" pos="0.04 -0.01 0"><joint name="right" type="slide" axis="0 -1 0" range="0 0.03" damping="5"/>
  <geom size="0.008" mass="0.02" {g}/></body><site name="tip" pos="0.04 0 0"/>"""
# Of each finger an actuator.
TWO = "".join(f'<position joint="{j}" kp="50" ctrlrange="0 0.03"/>' for j in ("left", "right"))
NO_CONTACT = 'contype="0" conaffinity="0"'
JOINTS = ("turn", "shoulder", "elbow", "wrist")


def model_of(bodies: str, actuators: str, more: str = "") -> Any:
    """Return a MuJoCo model with a goal site, of time step 2 ms.

    Args:
        bodies: MJCF of its bodies.
        actuators: of its actuators.
        more: sections before the actuators.
    """
    return mujoco.MjModel.from_xml_string(
        '<mujoco><compiler angle="radian"/><option timestep="0.002" integrator="implicitfast"/><default>'
        '<joint damping="0.2" armature="0.02" limited="true"/></default><worldbody>'
        f'{bodies}<site name="goal"/></worldbody>{more}<actuator>{actuators}</actuator></mujoco>'
    )


def four_joints(kind: str, prefix: str = "", x: float = 0.0, fingers: str = "") -> tuple[str, str]:
    """Return bodies and actuators of an arm of four joints.

    Args:
        kind: of the actuators: "position", "velocity" or "motor".
        prefix: of all names.
        x: of the base, meters.
        fingers: actuators of two fingers; "" for none.
    """
    attributes = {
        "position": 'kp="60" kv="6" ctrlrange="-3 3"',
        "velocity": 'kv="20" ctrlrange="-1.5 1.5"',
        "motor": 'ctrlrange="-10 10"',
    }[kind]
    more = f'<body pos="0.06 0 0">{FINGERS.format(g=NO_CONTACT)}</body>' if fingers else TIP.format(p=prefix)
    body = CHAIN.format(p=prefix, x=x, g=NO_CONTACT, more=more)
    drives = "".join(f'<{kind} name="{prefix}{j}" joint="{prefix}{j}" {attributes}/>' for j in JOINTS)
    return body, drives + fingers


def six_joints(fingers: str) -> tuple[str, str]:
    """Return bodies and position actuators of an arm of six joints with two fingers.

    fingers: their actuators.
    """
    more = WRIST.format(g=NO_CONTACT, yaw=FINGERS.format(g=NO_CONTACT))
    joints = (*JOINTS, "roll", "pitch")
    drives = "".join(f'<position name="{j}" joint="{j}" kp="60" kv="6" ctrlrange="-3 3"/>' for j in joints)
    return CHAIN.format(p="", x=0.0, g=NO_CONTACT, more=more), drives + fingers


class JointArm(gymnasium.Env[Any, Any]):
    """An arm of a model; ``apply`` says what an action does to ctrl.

    Observed: the sites ``tips``, the goal, and the angles. A step is 20 ms; the goal is near the first tip.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        model: Any,
        *,
        apply: str = "absolute",
        scale: float = 1.0,
        tips: tuple[str, ...] = ("tip",),
        posture: tuple[float, ...] = (0.3, 0.3, 0.6, 0.5),
        hold: bool = True,
    ) -> None:
        self.model, self.data = model, mujoco.MjData(model)
        self.how, self.scale, self.tips, self.posture, self.hold = apply, scale, tips, posture, hold
        self.dt = 10 * model.opt.timestep
        self.goal = np.zeros(3)
        size = 3 * len(tips) + 3 + model.nq
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)
        if apply == "absolute":
            low, high = model.actuator_ctrlrange.T
            self.action_space = spaces.Box(low.astype(np.float32), high.astype(np.float32))
        else:
            self.action_space = spaces.Box(-1.0, 1.0, (model.nu,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        posture = np.zeros(self.model.nq)
        posture[: len(self.posture)] = self.posture
        self.data.qpos[:] = posture
        if self.hold:
            for i in range(self.model.nu):
                joint = self.model.actuator_trnid[i, 0]
                self.data.ctrl[i] = self.data.qpos[self.model.jnt_qposadr[joint]]
        mujoco.mj_forward(self.model, self.data)
        self.goal = self.tip() + self.np_random.uniform(-0.08, 0.08, 3)
        return self._seen(), {}

    def tip(self, number: int = 0) -> Any:
        return self.data.site(self.tips[number]).xpos.copy()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        ctrl, data = self.data.ctrl, self.data
        if self.how == "absolute":
            ctrl[:] = action
        elif self.how == "after ctrl":
            low, high = self.model.actuator_ctrlrange.T
            ctrl[:] = np.clip(ctrl + self.scale * np.asarray(action), low, high)
        elif self.how == "after qpos":
            joints = self.model.actuator_trnid[:, 0]
            ctrl[:] = data.qpos[self.model.jnt_qposadr[joints]] + self.scale * np.asarray(action)
        elif self.how == "squared":
            ctrl[:] = np.square(action)
        for _ in range(10):
            mujoco.mj_step(self.model, self.data)
        distance = float(np.linalg.norm(self.tip() - self.goal))
        return self._seen(), -distance, False, False, {"success": distance < 0.02}

    def _seen(self) -> Any:
        return np.concatenate([*(self.tip(i) for i in range(len(self.tips))), self.goal, self.data.qpos])
