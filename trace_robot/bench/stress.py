"""A battery of worlds for one controller: how success changes when the world does.

Each row is a world in which the controller is rolled out on the same held-out conditions. Simulated perturbations are
worth measuring because they predict real ones (Pumacay et al., The Colosseum, arXiv:2402.08191: R² = 0.61).
"""

from __future__ import annotations

import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trace_robot.env.equipment import OPTIONS, Hold
from trace_robot.env.inspection import Inspection
from trace_robot.env.world import World
from trace_robot.env.world_episode import DRAWN
from trace_robot.errors import EnvironmentFault, UsageError, ValueMismatchError
from trace_robot.policy import Policy, load_policy
from trace_robot.rollout.engine import RolloutEngine
from trace_robot.rollout.episode import Episode, Job, drawn_text, summed
from trace_robot.rollout.evaluate import EpisodeScore
from trace_robot.rollout.evaluation import require_environment
from trace_robot.rollout.feedback import representative
from trace_robot.rollout.task import Task
from trace_robot.settings import held_out_seeds, versions
from trace_robot.spec import MEASURES

BATTERY = "standard-1"  # of the rows below; a row that changes gives the battery another name


@dataclass(frozen=True, slots=True)
class Setting:
    """A row of a battery: a world, and how long success must last.

    Attributes:
        name: of the row.
        world: as ``World.from_data`` takes it; None for the nominal one.
        hold: see ``trace_robot.env.equipment.Equipment``.
    """

    name: str
    world: Mapping[str, Any] | None = None
    hold: Hold = None

    def options(self) -> dict[str, Any]:
        """Return the options of the environment that make this setting."""
        options: dict[str, Any] = {"quality": True}
        if self.world is not None:
            options["world"] = World.from_data({"name": self.name, **self.world}).to_data()
        if self.hold is not None:
            options["hold"] = self.hold
        return options


STANDARD = (
    Setting("nominal"),
    Setting("noise 5 mm", {"observation_noise": {"positions": 0.005}}),
    Setting("noise 10 mm", {"observation_noise": {"positions": 0.01}}),
    Setting("error 5 mm", {"observation_error": {"positions": 0.005}}),
    Setting("error 10 mm", {"observation_error": {"positions": 0.01}}),
    Setting("actions 25 ms late", {"action_delay": 0.025}),
    Setting("actions 50 ms late", {"action_delay": 0.05}),
    Setting("actions 100 ms late", {"action_delay": 0.1}),
    Setting("observations 50 ms late", {"observation_delay": 0.05}),
    Setting("half of observations missing", {"observation_loss": 0.5}),
    Setting("actions off by 30 %", {"action_gain": [0.7, 1.3]}),
    Setting("friction halved", {"friction": 0.5}),
    Setting("friction doubled", {"friction": 2.0}),
    Setting("masses halved", {"mass": 0.5}),
    Setting("masses doubled", {"mass": 2.0}),
    Setting("gravity leaning by 3 degrees", {"gravity_tilt": 3.0}),
    Setting("success for 0.25 s", None, 0.25),
    Setting("success at the end", None, "end"),
)


@dataclass(frozen=True, slots=True)
class Row(EpisodeScore):
    """The episodes of one setting.

    Attributes:
        setting: the row of the battery.
        episodes: on the held-out conditions, in their order; empty where the environment cannot have the setting.
        left_out: why it cannot, "" where it can.
        no_effect: its world left every episode bit for bit as the nominal one, so that it shows nothing.
        units: of the observation's fields that have one.
    """

    setting: Setting
    episodes: tuple[Episode, ...] = ()
    left_out: str = ""
    no_effect: bool = False
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def typical_failure(self) -> Episode | None:
        """The failed episode to look at, or None."""
        failed = [episode for episode in self.episodes if not episode.success]
        return failed[representative(failed)] if failed else None

    def measures(self) -> dict[str, float]:
        """Return the median of each measure over the episodes that have it."""
        found: dict[str, float] = {}
        for name in MEASURES:
            values = [episode.infos[name] for episode in self.episodes if name in episode.infos]
            if values:
                found[name] = statistics.median(values)
        return found

    def what_failed(self) -> str:
        """Return how the typical failure came about, as one line, or an empty text."""
        episode = self.typical_failure
        if episode is None:
            return ""
        held = int(episode.infos.get("longest_success_steps", 0))
        how = {
            "error": f"error ({episode.fault.category})" if episode.fault else "error",
            "terminated": "ended by the environment",
        }.get(episode.ended, "time ran out")
        if held and self.setting.hold is not None:
            how = f"success lasted {held} simulator steps at the longest"
        drawn = drawn_text(episode.infos, self.units)
        return f"condition {episode.seed}: {how} after {episode.steps} simulator steps" + (
            f"; {drawn}" if drawn else ""
        )

    def to_data(self) -> dict[str, Any]:
        """Return the row as plain data for JSON."""
        data: dict[str, Any] = {"name": self.setting.name, **self.setting.options()}
        if self.left_out:
            return {**data, "left_out": self.left_out}
        failed = [episode for episode in self.episodes if not episode.success]
        return {
            **data,
            "success": self.success,
            "episodes": len(self.episodes),
            "interval": list(self.interval),
            "ended": dict(Counter(episode.ended for episode in self.episodes)),
            "measures": self.measures(),
            "typical_failure": self.what_failed(),
            "failures": [
                {
                    "seed": episode.seed,
                    "ended": episode.ended,
                    "steps": episode.steps,
                    "world": drawn_text(episode.infos, self.units),
                    "fault": episode.fault.message if episode.fault else "",
                }
                for episode in failed
            ],
            **({"no_effect": True} if self.no_effect else {}),
            **({"envelope": log} if (log := summed([e.infos for e in self.episodes])) else {}),
        }


@dataclass(frozen=True, slots=True)
class StressReport:
    """A controller in every setting of a battery.

    Attributes:
        task: the environment.
        policy: the controller's name.
        control: the control mode.
        seed: which conditions.
        rows: in the order of the battery.
        battery: its name.
        options: of the environment, the same in every row.
    """

    task: str
    policy: str
    control: str
    seed: int
    rows: tuple[Row, ...] = field(default_factory=tuple)
    battery: str = BATTERY
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def measured(self) -> list[Row]:
        """The rows that the environment can have."""
        return [row for row in self.rows if row.episodes]

    @property
    def worst(self) -> Row:
        """The setting with the lowest success."""
        return min(self.measured, key=lambda row: row.success)

    @property
    def mean(self) -> float:
        """Mean success over the settings, 0 to 1."""
        return statistics.fmean(row.success for row in self.measured)

    def to_data(self) -> dict[str, Any]:
        """Return the report as plain data for JSON."""
        return {
            "task": self.task,
            "policy": self.policy,
            "control": self.control,
            "seed": self.seed,
            "options": dict(self.options),
            "battery": self.battery,
            "mean_success": self.mean,
            "worst": {"name": self.worst.setting.name, "success": self.worst.success},
            "rows": [row.to_data() for row in self.rows],
            "versions": versions(),
        }


def settings_of(data: Any) -> tuple[Setting, ...]:
    """Return the settings of a battery from plain data, a list of worlds.

    Each may also have a "hold".

    Args:
        data: as a JSON file holds it.

    Raises:
        UsageError: it is no list of worlds with different names.
        ValueMismatchError, UnknownNameError: a world has a value, a hold or a setting that cannot be.
    """
    if not isinstance(data, list) or not data or not all(isinstance(each, Mapping) for each in data):
        raise UsageError(
            "a battery must be a list of worlds, such as [{'name': 'late', 'action_delay': 0.1}]"
        )
    settings = []
    for number, each in enumerate(data, 1):
        rest = {name: value for name, value in each.items() if name not in ("name", "hold")}
        name = each.get("name", f"world {number}")
        World.from_data({"name": name, **rest})
        settings.append(Setting(name, rest or None, _hold(name, each.get("hold"))))
    repeated = [name for name, count in Counter(each.name for each in settings).items() if count > 1]
    if repeated:
        raise UsageError(f"two worlds of the battery are called {repeated[0]!r}; give each a name")
    return tuple(settings)


def _hold(name: str, value: Any) -> Hold:
    """Return how long success must last in a world of a battery, from plain data."""
    if value is None or value == "end":
        return value  # type: ignore[no-any-return]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= sys.float_info.max:  # false of NaN, too
        raise ValueMismatchError(
            f"hold of the world {name!r} must be seconds, 0 or more, or 'end', got {value!r:.80}"
        )
    return float(value)


def stress(
    env: str,
    policy: str | Path | Policy,
    *,
    episodes: int = 10,
    seed: int = 0,
    control: str | None = None,
    battery: Sequence[Setting] = STANDARD,
    name: str = BATTERY,
    options: Mapping[str, Any] | None = None,
    engine: RolloutEngine,
    keep_states: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> StressReport:
    """Roll a controller out in every setting of a battery, on equal conditions.

    Args:
        env: the environment: a name, a file in envs/, or a gymnasium id.
        policy: the controller: a name, a file, or what ``load_policy`` returned.
        episodes: conditions of each setting, 1 to 25,000.
        seed: which conditions.
        control: the control mode; None for what the policy says.
        battery: the settings.
        name: of the battery.
        options: of the environment, besides control. World, hold and quality among them are left out: the battery
            sets these.
        engine: runs the episodes.
        keep_states: bring simulator states back, for videos.
        on_progress: called with the number of episodes done and of all.

    Returns:
        The report. A setting that the environment cannot have, such as physics without a MuJoCo model, is a row that
        says so.

    Raises:
        PolicyError: the policy has no act, or does not fit.
        UnknownNameError: there is no such environment, policy or option, or no such field that a world names.
        ValueMismatchError: a setting has a value that cannot be.
        UsageError: the environment can have no setting of the battery.
        EnvironmentFault: the environment failed in every episode of a setting, so that nothing was measured there.
    """
    policy = policy if isinstance(policy, Policy) else load_policy(policy)
    # Else a row that sets no world would have the caller's, and "nominal" would not be nominal.
    own = {k: v for k, v in (options or {}).items() if k not in OPTIONS or k == "envelope"}
    task = Task.load(env, policy, control=control, options=own, apart=engine.apart)
    seeds = held_out_seeds(seed, episodes)
    rows, jobs = [], []
    points = dict.fromkeys(task.spec.positions, "m")
    units = {part.name: part.unit or points.get(part.name, "") for part in task.spec.observation}
    ask = Inspection(env, task.options, equipment=[each.options() for each in battery], apart=engine.apart)
    for setting, left_out in zip(battery, ask.answer().refusals, strict=True):
        rows.append(Row(setting, left_out=left_out, units=units))
        if not left_out:
            given = {**task.options, **setting.options()}
            jobs += [Job(env, each, given, controller=task.policy.text, record=keep_states) for each in seeds]
    if not jobs:
        raise UsageError(f"{env} can have no setting of the battery: {rows[0].left_out}")
    done = iter(_run(engine, jobs, on_progress))
    filled = [
        row if row.left_out else replace(row, episodes=tuple(next(done) for _ in seeds)) for row in rows
    ]
    for row in filled:
        _require_measured(row)
    return StressReport(env, policy.name, task.spec.control, seed, _compared(filled), name, own)


def _compared(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return rows that say whether their world changed anything.

    Friction where nothing touches, a lean of no gravity, or a delay below a step look passed and were not tried.
    """
    nominal = [row for row in rows if row.setting.world is None and row.setting.hold is None and row.episodes]
    if not nominal:
        return tuple(rows)
    before = [_trajectory(episode) for episode in nominal[0].episodes]
    return tuple(
        replace(row, no_effect=[_trajectory(episode) for episode in row.episodes] == before)
        if row.setting.world is not None and row.setting.hold is None
        else row
        for row in rows
    )


def _trajectory(episode: Episode) -> tuple[Any, ...]:
    """Return what two episodes that went the same way have in common.

    Rewards alone may be zeros throughout: the measures of quality tell motions apart.
    """
    infos = {name: repr(value) for name, value in episode.infos.items() if not name.startswith(DRAWN)}
    return episode.ended, episode.steps, episode.rewards.tobytes(), infos


def _require_measured(row: Row) -> None:
    """Raise EnvironmentFault where the environment failed in every episode."""
    try:
        require_environment(row.episodes, start=True)
    except EnvironmentFault as error:
        raise EnvironmentFault(f"in the world {row.setting.name!r} {error}") from error


def _run(
    engine: RolloutEngine, jobs: Sequence[Job], on_progress: Callable[[int, int], None] | None
) -> Iterable[Episode]:
    done = 0

    def count(_: int, __: Episode) -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, len(jobs))

    return engine.run(jobs, on_episode=count)
