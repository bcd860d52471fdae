"""Job and Episode: a rollout's input and output, as data and as text.

The data crosses processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

import numpy as np

from trace_robot.env.envelope import LAW, LOGGED, STOPS
from trace_robot.env.initial_state import BEGAN
from trace_robot.env.world_episode import DRAWN, ERROR_OF, GAIN_OF
from trace_robot.fault import Fault, Limits
from trace_robot.spec import Array, Scene, States, TaskSpec
from trace_robot.stats import Returns, Score, measure_of

IDLE = 0.02  # of the bound of an action, up to which it moves nothing
MOVED = 0.002  # meters from its start beyond which a point counts as moved
TOO_TIGHT = (
    "no episode succeeded within it, so that it may make the task impossible: try without it"  # an envelope
)
MOST_PAIRS = 4  # distances of an episode's line
Ended = Literal["success", "terminated", "time", "error"]
Record = bool | Literal["decisions"]


@dataclass(frozen=True, slots=True)
class Job:
    """One episode to run. The fields are hashed into journals of runs, in this order.

    Attributes:
        env: the name that ``load_env`` takes.
        seed: the initial condition.
        options: keyword arguments of ``load_env`` (``control``, ``horizon``, ...).
        controller: a policy's text, run in the sandbox.
        program: in place of it, a controller as data, run in the worker.
        trace: return the graph.
        record: return simulator states, for rendering: about 30 a simulated second, or "decisions": one at the
            beginning and one after each decision, as a data set with pictures needs them.
        observe: return observations.
        rewards: compute the reward.
        measure: compute the measures of the built-in search, in the worker.
        level: of the feedback, which decides the ``series`` of the episode.
        limits: time and memory of the controller.
    """

    env: str
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)
    controller: str | None = None
    program: Mapping[str, Any] | None = None
    trace: bool = False
    record: Record = False
    observe: bool = False
    rewards: bool = True
    measure: bool = False
    level: str = "outcome"
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Episode:
    """One rollout's trajectory and how it ended. T is the number of decisions taken.

    Attributes:
        seed: the initial condition.
        ended: "success", "terminated" (by the environment, without success), "time" or "error".
        steps: simulator control steps; with pose control several a decision.
        rewards: (T,), unscaled.
        actions: (T, act_dim), as the environment applied them.
        observations: (T + 1, obs_dim), the last row seen after the last action; empty unless asked for.
        fault: which error, and on which line; None unless ended is "error".
        infos: named numbers of the last step.
        measures: what the built-in search asked for.
        series: what the feedback level asks for, by name (see ``trace_robot.rollout.feedback``).
        graph: the traced episode as records (see ``trace_robot.trace.serialization``), empty unless traced.
        scene, states: for rendering, None unless recorded.
        printed: what the controller printed.
        seconds: wall clock.
        return_threshold: the total reward that counts as success, None where the environment reports success.
        line, start: the episode on one line and its first observation, made where it ran where observations were asked
            for: they stay when the observations themselves are dropped.
        contacts: of a traced episode, what touched when, a line each.
    """

    seed: int
    ended: Ended
    steps: int
    rewards: Array = field(repr=False)
    actions: Array = field(repr=False)
    observations: Array = field(repr=False)
    fault: Fault | None = None
    infos: Mapping[str, float] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    series: Mapping[str, Array] = field(default_factory=dict, repr=False)
    graph: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    scene: Scene | None = field(default=None, repr=False)
    states: States | None = field(default=None, repr=False)
    printed: str = ""
    seconds: float = 0.0
    return_threshold: float | None = None
    line: str = ""
    start: Sequence[float] = ()
    contacts: tuple[str, ...] = ()

    @property
    def decisions(self) -> int:
        return int(self.rewards.shape[0])

    @property
    def charged_steps(self) -> int:
        """Simulator steps charged to a budget, one at least where the environment failed.

        A step that raised or exploded is a step too, or a budget of steps would never be spent on these.
        """
        failed = self.fault is not None and (
            self.fault.category == "environment" or self.fault.of_environment
        )
        return max(self.steps, int(failed))

    @property
    def success(self) -> bool:
        return self.ended == "success"

    @property
    def total_reward(self) -> float:
        return float(self.rewards.sum())


def score_of(episodes: Sequence[Episode], spec: TaskSpec | None = None) -> Score:
    """Return success and return of episodes, at least one.

    Args:
        episodes: of one controller.
        spec: of their environment, which decides what is shown.
    """
    rate = sum(episode.success for episode in episodes) / len(episodes)
    measure = "success" if spec is None else measure_of(spec.success, spec.return_threshold)
    return Score(rate, len(episodes), Returns.of(e.total_reward for e in episodes), measure)


def drawn_text(infos: Mapping[str, float], units: Mapping[str, str] | None = None) -> str:
    """Return as text what a world drew for an episode, "" where it was nominal.

    Args:
        infos: of the episode, with entries that begin with ``DRAWN``.
        units: of observed fields, by name; feedback, of which journals hold hashes, has none.
    """
    texts = []
    for name, value in infos.items():
        if not name.startswith(DRAWN):
            continue
        setting = name.removeprefix(DRAWN)
        if setting.startswith(ERROR_OF):
            name = setting.removeprefix(ERROR_OF)
            off = f"{value:.3g} {(units or {}).get(name, '')}".rstrip()
            texts.append(f"{name} seen {off} off")
        elif setting.startswith(GAIN_OF):
            texts.append(f"action number {setting.removeprefix(GAIN_OF)} times {value:.2f}")
        elif setting.startswith(BEGAN):
            unit, _, joint = setting.removeprefix(BEGAN).partition("_")
            began = "" if any(text.startswith("began with ") for text in texts) else "began with "
            texts.append(f"{began}{joint} {value:.2g} {unit} off")
        elif setting in _TEXTS:
            factor, text = _TEXTS[setting]
            texts.append(text.format(value * factor))
    return ", ".join(texts)


# The text of each number that is drawn, with a factor for its unit.
_TEXTS = {
    "observation_delay": (1000, "observations {:.0f} ms late"),
    "observation_loss": (100, "{:.0f} % of observations missing"),
    "observation_period": (1000, "an observation every {:.0f} ms"),
    "action_delay": (1000, "actions {:.0f} ms late"),
    "action_noise": (100, "noise of {:.0f} % on actions"),
    "push_force": (1, "pushes of up to {:.0f} N"),
    "action_loss": (100, "{:.0f} % of actions missing"),
    "mass": (1, "masses times {:.2f}"),
    "friction": (1, "friction times {:.2f}"),
    "damping": (1, "damping times {:.2f}"),
    "armature": (1, "armature times {:.2f}"),
    "actuator_gain": (1, "actuator gains times {:.2f}"),
    "gravity_tilt": (1, "gravity leaning by {:.1f} degrees"),
}


def is_drawn(name: str) -> bool:
    """Return whether an entry of infos is what a world drew, not the environment's."""
    drawn = name.removeprefix(DRAWN) if name.startswith(DRAWN) else ""
    return drawn in _TEXTS or drawn.startswith((ERROR_OF, GAIN_OF, BEGAN))


def not_held_text(episode: Episode) -> str:
    """Say that success was there and did not last, where it must last."""
    first = int(episode.infos.get("first_success_step", -1))
    if first < 0:
        return ""
    longest = int(episode.infos.get("longest_success_steps", 0))
    return f"; success was there from simulator step {first} on, for {longest} steps at the longest, and must last"


def needed_text(episode: Episode) -> str:
    threshold = episode.return_threshold
    return "" if threshold is None else f"; a total of {number_text(threshold)} is a success"


def number_text(value: float) -> str:
    return f"{value:.4g}"


def acted_text(infos: Mapping[str, float], steps: int) -> str:
    """Return as text how often each limit acted, "" without an envelope.

    Args:
        infos: of an episode, or sums over episodes.
        steps: simulator steps that these are of.
    """
    if f"{LOGGED}box" not in infos:
        return ""
    shares = [
        f"{name} in {infos[f'{LOGGED}{name}'] / max(1, steps):.1%} of steps"
        for name in LAW
        if infos.get(f"{LOGGED}{name}")
    ]
    stops = {
        "stopped": "outside of a box or not finite",
        "stopped_force": "force",
        "stopped_watchdog": "watchdog",
    }
    shares += [
        f"{int(infos[f'{LOGGED}{name}'])} stopped ({why})"
        for name, why in stops.items()
        if infos.get(f"{LOGGED}{name}")
    ]
    return ", ".join(shares) or "no limit acted"


def summed(every: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the sums of the log over the infos of episodes, empty without one."""
    names = [f"{LOGGED}{name}" for name in (*LAW, *STOPS)]
    logged = [infos for infos in every if names[0] in infos]
    return {name: sum(infos[name] for infos in logged) for name in names} if logged else {}


def world_text(episode: Episode) -> str:
    drawn, acted = drawn_text(episode.infos), acted_text(episode.infos, episode.steps)
    return (f" Its world: {drawn}." if drawn else "") + (f" Its envelope: {acted}." if acted else "")


def episode_line(episode: Episode, spec: TaskSpec) -> str:
    """Return an episode on one line: its end, its points, their distances.

    Args:
        episode: with its observations; without them the line has its rewards alone.
        spec: names the points.
    """
    seen = episode.observations
    parts = {part.name: part for part in spec.observation}
    points = {
        name.removesuffix("_position"): seen[:, parts[name].start : parts[name].stop]
        for name in spec.positions
        if len(seen)
    }
    texts = [_end(episode)]
    texts += [f"{name} {_path(path)}" for name, path in points.items()]
    texts += [_nearness(pair, points) for pair in _telling_pairs(points)]
    if not points and len(seen) and seen.shape[1] <= 2 * MOST_PAIRS:
        texts.append(
            "at the end "
            + ", ".join(f"{p.name} {point_text(seen[-1, p.start : p.stop])}" for p in spec.observation)
        )
    if len(episode.rewards):
        best = int(episode.rewards.argmax())
        first, most, last = (number_text(episode.rewards[place]) for place in (0, best, -1))
        total = number_text(episode.total_reward)
        same = first == most == last
        each = (
            f"{first} a decision"
            if same
            else f"of a decision {first} first, {most} best at {best}, {last} last"
        )
        texts.append(f"reward {total} ({each}){needed_text(episode)}")
    return "; ".join(texts) + f"{not_held_text(episode)}.{world_text(episode)}"


def _end(episode: Episode) -> str:
    took = f"{episode.decisions} decisions, {episode.steps} simulator steps"
    if episode.ended == "error":
        return f"error at step {episode.decisions}"
    ends = {
        "success": "success",
        "terminated": "failed, the environment ended it",
        "time": "failed, time ran out",
    }
    return f"{ends[episode.ended]}, {took}"


STAYS = "stays at"


def stood_still(episode: Episode, spec: TaskSpec) -> bool:
    """Return whether a controller did not move what it controls, errors apart.

    Args:
        episode: with its line, where the environment names positions; the first is the hand's.
        spec: of its environment.
    """
    if episode.ended == "error" or episode.success or not len(episode.actions):
        return False
    if spec.positions:
        name = spec.positions[0].removesuffix("_position")
        return f"; {name} {STAYS} " in (episode.line or episode_line(episode, spec))
    return bool(np.abs(episode.actions).max() <= IDLE * min(map(abs, spec.high)))


def _path(path: Array) -> str:
    if not _moves(path):
        return f"{STAYS} {point_text(path[0])}"
    return f"{point_text(path[0])} to {point_text(path[-1])}"


def _moves(path: Array) -> bool:
    return bool(np.linalg.norm(path - path[0], axis=1).max() > MOVED)


def _telling_pairs(points: Mapping[str, Array]) -> list[tuple[str, str]]:
    """Return the pairs of points of which one moved, the first with movers."""
    moving = [name for name in points if _moves(points[name])]
    first = next(iter(points), "")
    pairs = [pair for pair in combinations(points, 2) if pair[0] in moving or pair[1] in moving]
    if set(moving) - {first}:
        pairs = [pair for pair in pairs if pair[0] != first or pair[1] in moving]
    return pairs[:MOST_PAIRS]


def _nearness(pair: tuple[str, str], points: Mapping[str, Array]) -> str:
    apart = np.linalg.norm(points[pair[0]] - points[pair[1]], axis=1)
    nearest = int(apart.argmin())
    first, least, last = (point_text(apart[[place]]) for place in (0, nearest, -1))
    return f"{pair[0]} to {pair[1]} {first}, least {least} at {nearest}, last {last}"


def point_text(values: Array) -> str:
    """Return numbers with three decimals, four where all are below 0.01."""
    finer = 4 if float(np.abs(values).max(initial=0.0)) < 0.01 else 3
    return " ".join(f"{round(float(value), finer) + 0.0:g}" for value in values)
