"""Derivation of a ``TaskSpec`` from a declaration and the environment's spaces."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from trace_robot.env.declaration import SUCCESS_FLAGS, Environment, Hand
from trace_robot.env.flatten import ActionLayout, ObservationLayout, action_layout, observation_layout
from trace_robot.env.guard import blamed, reset_values, step_values, time_limit
from trace_robot.env.hand_spec import (
    may_move_itself,
    points_named,
    raw_hands,
    tracked_hands,
    tracked_spec,
    with_own_hand,
    yaw_part,
)
from trace_robot.env.hands import LOOKS, Response, arm_model, is_somewhere, object_at
from trace_robot.env.kinematics import ArmTracking
from trace_robot.env.motion_model import STEPS, MotionModel, PushResponse
from trace_robot.env.motion_probe import measured_motion, moves_along_axes
from trace_robot.env.simulation import physics_of
from trace_robot.env.tracking import ArmModel
from trace_robot.errors import EnvironmentFault, TraceRobotError, WorkspaceError
from trace_robot.fault import HANG_SECONDS
from trace_robot.spec import Array, TaskSpec, hands_of

HORIZON = 1000  # steps of an episode where neither the declaration nor gymnasium limits it
LOOKED_AT = 1000  # steps of the episode in which an entry of info for success is looked for
LOOK_SECONDS = 10.0  # for these; an engine and check-env take what is made for much longer to hang


@dataclass(frozen=True, slots=True)
class EnvDescription:
    """What ``EnvAdapter`` needs to know about an environment.

    Attributes:
        declaration: with ``success``, ``return_threshold`` and ``success_when`` filled in.
        spec: what controllers, prompts and optimizers see of it.
        observation: how its observations become vectors.
        action: how vectors become its actions, in control mode "raw" whatever the mode of ``spec`` is.
        arm: how inverse kinematics, or a measured Jacobian, moves its hands in mode "pose" without a declared one.
        versions: of Python and packages in the interpreter it runs in, empty where that is this one.
    """

    declaration: Environment
    spec: TaskSpec
    observation: ObservationLayout
    action: ActionLayout
    arm: ArmModel | MotionModel | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


def describe_env(
    declaration: Environment, env: Any, control: str, options: Mapping[str, Any], registered: Any = None
) -> EnvDescription:
    """Derive the description of an environment from its declaration and spaces.

    Where the declaration does not define success, an episode is stepped to look for a flag in ``info``.

    Args:
        declaration: with the user's options in it.
        env: the gymnasium environment.
        control: "raw" or "pose".
        options: what the user asked for; kept in the spec, so that the environment can be made again.
        registered: gymnasium's ``EnvSpec``, which may limit an episode's steps and say what return is a success.

    Raises:
        WorkspaceError: the declaration does not fit the spaces; the message does not name the file.
        EnvironmentFault: the environment raises in its first step.
    """
    for attribute in ("observation_space", "action_space"):
        if getattr(env, attribute, None) is None:
            raise WorkspaceError(f"the environment has no {attribute}; set it in its __init__")
    observation = observation_layout(env.observation_space, declaration.observation)
    action = action_layout(env.action_space, declaration.action)
    horizon = declaration.horizon or getattr(registered, "max_episode_steps", None) or HORIZON
    declaration = _with_success(
        declaration, env, getattr(registered, "reward_threshold", None), action, horizon
    )
    spec = TaskSpec(
        name=declaration.env_name,
        instruction=declaration.task,
        observation=observation.fields,
        action=action.fields,
        observation_size=observation.size,
        low=action.low,
        high=action.high,
        horizon=horizon,
        success=declaration.success_when,
        control=control,
        positions=tuple(declaration.positions),
        options={**options, "control": control},
        failure=declaration.failure_when,
        return_threshold=declaration.return_threshold,
        terms=tuple(declaration.terms),
        simulator_steps=horizon,
    )
    hands = raw_hands(declaration, spec)
    if control == "pose" and declaration.pose is not None:
        spec = replace(tracked_spec(spec, declaration.pose), hands=tracked_hands(declaration, hands))
    elif control == "pose":
        arm = _moved(declaration, env, spec, action, observation)
        solved = tuple(hand.spec for hand in arm.hands)
        options = {**spec.options, "decision_steps": STEPS}
        spec = replace(spec, action=arm.fields, low=arm.low, high=arm.high, options=options, hands=solved)
        return EnvDescription(declaration, spec, observation, action, arm)
    else:
        spec = replace(spec, hands=hands)
        if not declaration.hands and declaration.pose is None and may_move_itself(env):
            probe = Probe(env, spec, action, observation, simulated=False)
            spec = with_own_hand(spec, points_named(declaration, spec), lambda: PushResponse.of(probe))
    return EnvDescription(declaration, spec, observation, action)


def _moved(
    declaration: Environment, env: Any, raw: TaskSpec, action: ActionLayout, observation: ObservationLayout
) -> ArmModel | MotionModel:
    """Return what moves the declared hands, by a model or as measured."""
    simulated = physics_of(env.unwrapped) is not None
    probe = Probe(env, raw, action, observation, simulated=simulated)
    return arm_model(declaration, probe) if simulated else measured_motion(declaration, probe)


def with_found_hands(declaration: Environment, env: Any) -> tuple[Environment, str]:
    """Return a declaration with the hands that an environment has, or why none.

    One that names hands or a tracking controller stays as it is. A hand is an observed point that is a site or body
    of the MuJoCo model, behind joints which the action drives; without a model, one that the action is measured to
    move. Where no ``positions`` are declared, they are the parts of three numbers in
    meters that are at something of the model, or are called positions; the hands' come first.

    Args:
        declaration: returned as it is if it has ``hands`` or ``pose``, or if no hand can be found.
        env: the gymnasium environment, which is stepped.

    Returns:
        The declaration, and the reason, "" where there is a hand, or no position.
    """
    if declaration.hands or declaration.pose is not None:
        return declaration, ""
    raw = describe_env(declaration, env, "raw", {})
    if physics_of(env.unwrapped) is None:
        return _with_measured_hands(declaration, env, raw)
    probe = Probe(env, raw.spec, raw.action, raw.observation)
    points = [part.name for part in raw.spec.observation if part.size == 3 and part.unit == "m"]
    points = list(declaration.positions) or [
        name for name in points if name.endswith("position") or is_somewhere(name, probe)
    ]
    if not points or not probe.model.nu:
        return declaration, _why_not(declaration, probe)
    hands, moved, response = list[Hand](), set[int](), Response.of(probe)
    for name in points:
        if not is_somewhere(name, probe):
            continue
        hand = Hand(name, name=name.removesuffix("_position"))
        yaw = yaw_part(probe, object_at(hand, probe), LOOKS)
        for tried in ([replace(hand, turn=f"{hand.name}_turn", yaw=yaw)] if yaw else []) + [hand]:
            try:
                joints = set(arm_model(replace(declaration, hands=[tried]), probe, response).qpos.tolist())
            except WorkspaceError:
                continue
            if not moved & joints:
                hands.append(tried)
                moved |= joints
            break
    if len(hands) == 1:
        hands = [replace(hands[0], name="hand", turn="turn" if hands[0].turn else "")]
    first = [hand.position for hand in hands]
    positions = (*first, *(name for name in points if name not in first))
    if not hands:
        return declaration, _why_not(declaration, probe)
    return replace(declaration, hands=hands, positions=positions), ""


def _why_not(declaration: Environment, probe: Probe) -> str:
    """Return why the first declared position is no hand that inverse kinematics moves."""
    for hand in map(Hand, declaration.positions[:1]):
        try:
            arm_model(replace(declaration, hands=[hand]), probe)
        except WorkspaceError as error:
            return _reason(hand, error)
    return ""


def _reason(hand: Hand, error: WorkspaceError) -> str:
    return str(error).removeprefix("hands: ").removeprefix(f"{hand.name!r}: ")


def _with_measured_hands(declaration: Environment, env: Any, raw: EnvDescription) -> tuple[Environment, str]:
    """Return a declaration with points that the action moves as hands, or why none.

    An environment without a point is not played: it may fail, which episodes are there to find.
    """
    points = points_named(declaration, raw.spec)
    if not points:
        return declaration, ""
    probe = Probe(env, raw.spec, raw.action, raw.observation, simulated=False)
    response = PushResponse.of(probe)
    positions = tuple(declaration.positions or points)
    if hands_of(replace(probe.spec, positions=positions, hands=())) and moves_along_axes(
        probe, positions[0], response
    ):
        return declaration, ""  # four numbers, and the first three are the hand's own axes
    hands, used, reasons = list[Hand](), set[int](), list[str]()
    for name in points:
        hand = Hand(name, name=name.removesuffix("_position"))
        try:
            numbers = set(
                measured_motion(replace(declaration, hands=[hand]), probe, response).numbers.tolist()
            )
        except WorkspaceError as error:
            reasons.append(_reason(hand, error))
            continue
        if not used & numbers:
            hands.append(hand)
            used |= numbers
    if len(hands) == 1:
        hands = [replace(hands[0], name="hand")]
    first = [hand.position for hand in hands]
    positions = (*first, *(name for name in positions if name not in first))
    if not hands:
        return declaration, reasons[0] if reasons and declaration.positions else ""
    return replace(declaration, hands=hands, positions=positions), ""


def threshold_text(threshold: float) -> str:
    """Return what success by ``return_threshold`` is, as text for people and models."""
    return f"the sum of the rewards of the episode is at least {threshold:g} when it is over"


def _with_success(
    declaration: Environment, env: Any, threshold: float | None, action: ActionLayout, horizon: int
) -> Environment:
    """Fill in what success is: a flag of info, or the reward threshold of the id."""
    if declaration.success is None and declaration.return_threshold is None:
        # A flag comes before gymnasium's threshold: the flag is about the task, the threshold about training.
        flag = _success_flag(env, action, min(horizon, LOOKED_AT))
        if flag is not None:
            declaration = replace(declaration, success=flag)
        else:
            declaration = replace(declaration, return_threshold=threshold)
    if declaration.success_when:
        return declaration
    return replace(declaration, success_when=_success_text(declaration))


def _success_text(declaration: Environment) -> str:
    if declaration.return_threshold is not None:
        return threshold_text(declaration.return_threshold)
    if isinstance(declaration.success, str):
        return f"the environment says so (its info has {declaration.success!r})"
    return "" if declaration.success is None else "the plug-in's function success says so"


def _success_flag(env: Any, action: ActionLayout, steps: int) -> str | None:
    """Return the entry of info that says success, None where an episode shows none.

    Most environments have it in every step, some in the last one only, which a slow one does not reach within
    LOOK_SECONDS. Gymnasium's own have none, and one step confirms that.
    """
    inner = env.unwrapped
    # The middle is a legal action of every space; zero is not where a bound is above it.
    middle = (np.array(action.low) + np.array(action.high)) / 2
    module, name = getattr(inner, "simulator", None) or (type(inner).__module__, type(inner).__name__)
    own = module.startswith("gymnasium.envs.")
    begun, deadline = False, time.monotonic() + LOOK_SECONDS
    try:
        with time_limit(HANG_SECONDS, "reset()"):
            reset_values(env.reset(seed=0))
        for _ in range(1 if own else steps):
            with time_limit(HANG_SECONDS, "step()"):
                result = env.step(action.action(middle))
            _, _, terminated, truncated, info = step_values(result)
            begun = True
            flag = next((name for name in SUCCESS_FLAGS if name in info), None)
            if flag is not None or terminated or truncated or time.monotonic() > deadline:
                return flag
    except (Exception, SystemExit) as error:  # a user's or a package's environment may raise anything
        if not begun:
            kind = "" if isinstance(error, TraceRobotError) else f"{type(error).__name__}: "
            raise EnvironmentFault(f"{name} fails in its first step: {kind}{error}") from error
    return None  # a later failure is one of an episode, and is reported as that


class Probe:
    """Episodes of an environment, from one seed where no other is given.

    Args:
        env: the gymnasium environment, which nothing else uses.
        raw: its description in control mode "raw".
        action: how vectors become its actions.
        observation: how its observations become vectors.
        simulated: whether its MuJoCo model and data are needed.

    Raises:
        WorkspaceError: it shows no MuJoCo model.
        EnvironmentFault: it raises.
    """

    def __init__(
        self,
        env: Any,
        raw: TaskSpec,
        action: ActionLayout,
        observation: ObservationLayout,
        *,
        simulated: bool = True,
    ) -> None:
        self._env, self._action, self._observation, self.spec = env, action, observation, raw
        self._simulated = simulated
        self.middle = (np.array(raw.low) + raw.high) / 2
        self.half = (np.array(raw.high) - raw.low) / 2
        self.reset()

    def reset(self, seed: int = 0) -> None:
        """Begin an episode again, and look model and data up."""
        with blamed(self._env):
            observation, _ = reset_values(self._env.reset(seed=seed))
        self.over = False
        self._see(observation)
        if not self._simulated:
            return
        found = physics_of(self.inner)
        if found is None:
            raise WorkspaceError(
                f"hands: {type(self.inner).__name__} shows no MuJoCo model (its attributes model and data), which"
                " inverse kinematics needs; name the action part that moves the hand, motion=..., or use"
                " pose=JointTracking(...)"
            )
        self.model, self.data = found

    @property
    def inner(self) -> Any:
        """The environment, unwrapped."""
        return self._env.unwrapped

    def step(self, numbers: Array) -> None:
        """Apply a raw action, whether the episode is over or not."""
        within = np.clip(numbers, self.spec.low, self.spec.high)
        with blamed(self._env):
            values = step_values(self._env.step(self._action.action(within.astype(np.float32))))
        self.over = bool(values[2] or values[3])
        self._see(values[0])

    def _see(self, observation: Any) -> None:
        self.vector = self._observation.flat(observation)
        self.seen = self.spec.named(self.vector)

    def play(self, actions: Sequence[Array]) -> list[tuple[Array, Array]]:
        """Return copies of ctrl and qpos after the reset and after each raw action."""
        self.reset()
        states = [(self.data.ctrl.copy(), self.data.qpos.copy())]
        for action in actions:
            self.step(action)
            states.append((self.data.ctrl.copy(), self.data.qpos.copy()))
        return states

    def watch(self, actions: Sequence[Array], seed: int = 0) -> Array:
        """Return the observations of an episode, as flat vectors.

        Args:
            actions: raw ones; what comes after the end of the episode is left out.
            seed: of the condition.

        Returns:
            (T + 1, observation_size), the first row of the reset.
        """
        self.reset(seed)
        rows = [self.vector]
        for action in actions:
            if self.over:
                break
            self.step(action)
            rows.append(self.vector)
        return np.array(rows)

    def tracking(self, arm: ArmModel) -> ArmTracking:
        """Begin the episode again, and return what moves its hands."""
        self.reset()
        tracking = ArmTracking(arm)
        tracking.begin(self.inner, self.seen)
        return tracking

    def name(self, kind: str, number: int) -> str:
        """Return the name of a thing of the model.

        Args:
            kind: "joint", "actuator", "site" or "body".
            number: its id.
        """
        return getattr(self.model, kind)(number).name or f"{kind} {number}"
