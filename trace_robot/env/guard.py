"""Validation of what an environment returns, and time limits of its calls."""

from __future__ import annotations

import difflib
import inspect
import math
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from trace_robot.env.declaration import OfTransition, Transition
from trace_robot.env.simulation import WarningCounters
from trace_robot.env.spaces import all_finite
from trace_robot.errors import EnvironmentFault, TraceRobotError
from trace_robot.fault import HANDS_SEARCH, HANG_SECONDS, UNSTABLE
from trace_robot.spec import Array

STEP = "(observation, reward, terminated, truncated, info)"
OLD_STEP = ", as Gym before 0.26; split done into terminated and truncated"
NUMBERS = (float, int, np.number, np.bool_)
# Called with each call of an environment and its limit, where another process watches instead of a timer.
_WATCHER: ContextVar[Callable[[str, float], None] | None] = ContextVar("watcher", default=None)


class StabilityMonitor(WarningCounters):
    """Warning counters that raise."""

    def check(self) -> None:
        """Raise EnvironmentFault where the simulator has warned since the reset."""
        if text := self.warning():
            raise EnvironmentFault(f"{UNSTABLE}: {text}")


class GuardedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A plug-in's own gymnasium environment, with every value checked that it returns.

    All attributes of the environment are to be had from it too.
    """

    def __init__(self, env: gymnasium.Env[Array, Array]) -> None:
        super().__init__(env)
        self._monitor = StabilityMonitor(env)
        self._shape = env.observation_space.shape

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "env":  # asked for before there is an env, as by copy and pickle
            raise AttributeError(name)
        return getattr(self.env, name)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode, as the environment does.

        Args:
            seed: of the initial condition.
            options: handed to the environment.

        Raises:
            EnvironmentFault: it returned no observation and info, or the simulation is unstable from the start.
        """
        self._monitor.clear()
        observation, info = reset_values(self.env.reset(seed=seed, options=options))
        self._monitor.follow()
        self._monitor.check()
        self._require(observation)
        return observation, dict(info)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Apply an action, as the environment does.

        Raises:
            EnvironmentFault: the values are not five, or one is not finite, or the simulation has become unstable.
        """
        observation, reward, terminated, truncated, info = step_values(self.env.step(action))
        self._monitor.check()
        self._require(observation)
        truth("info['success']", info.get("success"))
        require_finite({name: float(value) for name, value in info.items() if isinstance(value, NUMBERS)})
        return observation, finite("the reward", reward), terminated, truncated, info

    def _require(self, observation: Any) -> None:
        try:
            numbers = np.asarray(observation, np.float64)
        except (TypeError, ValueError) as error:
            raise EnvironmentFault(f"an observation must be numbers, got {kind_of(observation)}") from error
        if numbers.shape != self._shape:
            raise EnvironmentFault(f"an observation must have shape {self._shape}, got {numbers.shape}")
        if not all_finite(numbers.reshape(-1)):
            bad = np.flatnonzero(~np.isfinite(numbers)).tolist()
            raise EnvironmentFault(f"the observation is not finite at {bad[:5]}")


def guarded(env: Any, where: str) -> Any:
    """Return what a plug-in's function ``make`` returned, its values checked.

    One with the attribute ``checks_itself`` is left as it is, such as ``EnvAdapter``. Meta-World's steps are so short
    that a second check would take a tenth of them.

    Args:
        env: what ``make`` returned.
        where: file and name, for the message.

    Raises:
        EnvironmentFault: it is no gymnasium environment.
    """
    if not isinstance(env, gymnasium.Env):
        raise EnvironmentFault(f"{where}: make must return a gymnasium environment, got {env!r}")
    return env if getattr(env.unwrapped, "checks_itself", False) else GuardedEnv(env)


def reset_values(result: Any) -> tuple[Any, Mapping[str, Any]]:
    """Return observation and info of a reset, or raise EnvironmentFault."""
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], Mapping):
        raise EnvironmentFault(f"reset must return (observation, info), got {kind_of(result)}")
    return result


def step_values(result: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Return the five values of a step, or raise EnvironmentFault."""
    if not isinstance(result, tuple) or len(result) != 5:
        old = OLD_STEP if isinstance(result, tuple) and len(result) == 4 else ""
        raise EnvironmentFault(f"step must return {STEP}, got {kind_of(result)}{old}")
    # A dict is a Mapping; the look at the abstract class takes 0.4 µs.
    is_mapping = type(result[4]) is dict or isinstance(result[4], Mapping)
    if not is_mapping or not isinstance(result[1], NUMBERS):
        raise EnvironmentFault(
            f"step must give a number as the reward and a dict as info, got {result[1]!r} and {kind_of(result[4])}"
        )
    return result


def finite(what: str, value: Any, remedy: str = "") -> float:
    """Return a number as a float, or raise EnvironmentFault where it is not finite.

    Args:
        what: the number's name, for the message.
        value: the number.
        remedy: the end of the message.
    """
    number = float(value)
    if not math.isfinite(number):
        raise EnvironmentFault(f"{what} is not finite: {number}{remedy}")
    return number


def require_finite(numbers: Mapping[str, float]) -> None:
    """Raise EnvironmentFault for a number of info that is not finite."""
    # One sum is faster than a look at each; only a sum that is not finite needs them.
    if not math.isfinite(sum(numbers.values())):
        for name, number in numbers.items():
            finite(f"info[{name!r}]", number, "; name the entries that count by terms=(...) in its plug-in")


def truth(what: str, value: Any) -> bool:
    """Return whether a flag of an environment is set, False for None.

    Args:
        what: the flag's name, for the message.
        value: a bool or a number, also as an array of one.

    Raises:
        EnvironmentFault: it is neither; a text would always be true, and so would NaN.
    """
    if value is True or value is False or value is None:
        return bool(value)
    if isinstance(value, str | bytes) or (not isinstance(value, NUMBERS) and np.size(value) != 1):
        raise EnvironmentFault(f"{what} must be true or false, got {value!r}")
    if isinstance(value, np.ndarray):
        value = value.item()
    if isinstance(value, float | np.floating):
        finite(what, value)
    return bool(value)


@contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Raise EnvironmentFault in the context once it has lasted too long.

    Not where ``interval_timer`` does nothing, nor within ``watched``. Calls that a worker makes are watched by the
    engine.

    Args:
        seconds: the limit.
        what: the beginning of the message.
    """

    if (watcher := _WATCHER.get()) is not None:
        watcher(what, seconds)
        yield
        return

    def expire() -> None:
        raise EnvironmentFault(f"{what} hangs: it gave no answer for {seconds:g} s")

    with interval_timer(seconds, expire):
        yield


@contextmanager
def watched(watcher: Callable[[str, float], None]) -> Iterator[None]:
    """Report the calls of environments in the block, in place of time limits.

    watcher: called with what begins and how many seconds it may last, before each.
    """
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


@contextmanager
def closed(env: Any) -> Iterator[Any]:
    """Close an environment after the block, within a time limit."""
    try:
        yield env
    finally:
        with time_limit(HANG_SECONDS, "close()"):
            env.close()


@contextmanager
def interval_timer(seconds: float, action: Callable[[], None], *, repeated: bool = False) -> Iterator[None]:
    """Interrupt the context by a real-time interval timer (setitimer).

    Nothing is done outside the main thread, where no signal arrives, and where another timer runs: the program that
    uses this library may have set it.

    Args:
        seconds: until the interruption.
        action: called then; it may raise.
        repeated: called again after as many seconds.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or not hasattr(signal, "setitimer") or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda *_: action())
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds if repeated else 0.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def kind_of(result: Any) -> str:
    """Return what came instead of a tuple of the right size, for a message."""
    return f"{len(result)} values" if isinstance(result, tuple) else type(result).__name__


@contextmanager
def blamed(env: Any) -> Iterator[None]:
    """Turn what a step raises into EnvironmentFault."""
    try:
        with time_limit(HANG_SECONDS, HANDS_SEARCH):
            yield
    except TraceRobotError:
        raise
    except (Exception, SystemExit) as error:  # a user's or a package's environment may raise anything
        raise EnvironmentFault(
            f"{type(env.unwrapped).__name__} fails where its hands are looked for: {type(error).__name__}: {error}"
        ) from error


def judged(what: str, function: OfTransition, step: Transition) -> Any:
    """Return what a function of the plug-in gives for a step.

    Args:
        what: the field that it is.
        function: of the plug-in.
        step: that it judges.

    Raises:
        EnvironmentFault: it raises an exception; the message names the field and the line.
    """
    try:
        return function(step)
    except TraceRobotError:
        raise
    except Exception as error:  # a user's function may raise anything
        known = sorted({*step.observation, *step.info} if isinstance(error, KeyError) else ())
        missing = str(error.args[0]) if known and error.args else ""
        near = difflib.get_close_matches(missing, known, n=1, cutoff=0.6) if missing not in known else ()
        hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}" if known else ""
        text = " ".join(str(error).split())
        raise EnvironmentFault(
            f"{what} of the plug-in raises {type(error).__name__}: {text}{_line_of(error)}{hint}"
        ) from error


def _line_of(error: BaseException) -> str:
    """Return where it was raised, as text."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # without this module
    return f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""


@dataclass(frozen=True, slots=True)
class StateObserver:
    """How an environment is observed in a state that its reset did not make.

    Attributes:
        observe: returns the flat observation of the simulation as it is, (observation_size,).
        known: it is known to be that of the environment's reset and steps; else it is compared in every reset.
        mocap_low, mocap_high: (3,) meters, between which the environment keeps its mocap body; None without limits.
    """

    observe: Callable[[], Array]
    known: bool = False
    mocap_low: Array | None = None
    mocap_high: Array | None = None

    @classmethod
    def of(cls, env: Any, flat: Callable[[Any], Array]) -> StateObserver | None:
        """Return one that calls an environment's ``_get_obs``, None without one.

        Args:
            env: in its wrappers. Those that change an observation by itself are applied. A ``_get_obs`` that wants
                arguments, as gymnasium-robotics' mazes have it, is none.
            flat: returns the flat observation of one of the outermost wrapper.
        """
        inner = getattr(env, "unwrapped", env)
        own = getattr(inner, "_get_obs", None)
        if not callable(own) or _needs_arguments(own):
            return None
        changes: list[Callable[[Any], Any]] = []
        layer = env
        while layer is not inner:
            # gymnasium.ObservationWrapper's; the comparison finds out what others do.
            if callable(change := getattr(type(layer), "observation", None)):
                changes.insert(0, change.__get__(layer))
            layer = layer.env

        def observe() -> Array:
            observation = own()
            for change in changes:
                observation = change(observation)
            return np.array(flat(observation), dtype=np.float64)

        return cls(observe)

    def check(self, observation: Array, name: str) -> None:
        """Check that this is what the environment's reset does.

        Args:
            observation: (observation_size,), as the reset returned it.
            name: of the environment.

        Raises:
            EnvironmentFault: it is something else, or another thing at every call.
        """
        if not self.known and not np.array_equal(self.observe(), observation):
            raise EnvironmentFault(
                f"_get_obs() of {name} does not give the observation of its reset, so a world cannot change where its"
                " episodes begin; leave reset_noise out"
            )

    def look(self, name: str) -> Array:
        """Return the observation of the state as it is, (observation_size,).

        Args:
            name: of the environment.

        Raises:
            EnvironmentFault: a second look gives another one, so that the first may be of an earlier state.
        """
        observation = self.observe()
        if not self.known:
            self.check(observation, name)
        return observation


def _needs_arguments(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):  # TypeError: arguments are missing; ValueError: it has no signature
        return True
    return False
