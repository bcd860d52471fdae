"""Settings, conditions and result of a run as plain data.

A run's seed owns a block of STRIDE conditions, cut into four ranges, so that splits are disjoint for every pair of
seeds. Conditions stay below 2**32, which is all that numpy's legacy generators take, and many environments seed those.
So there are BLOCKS whole blocks, and a seed beyond them has the one of its remainder, ``seed % 42949``.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from trace_robot.errors import UnknownNameError, UsageError, unknown
from trace_robot.fault import Limits
from trace_robot.safe_files import interpreter_of
from trace_robot.stats import Measure

STRIDE = 100_000
VALIDATION = 25_000
HELD_OUT = 50_000
LARGEST = 2**32  # above every condition
BLOCKS = LARGEST // STRIDE  # 42,949


class UnboundedSeed(int):
    """A seed whose block is beyond the whole ones, of a run that 0.1 began.

    Such a run is resumed with the conditions that it had.
    """


def training_seeds(seed: int, episodes: int) -> tuple[int, ...]:
    """Return the conditions that candidates are compared on.

    Args:
        seed: of the run, 0 or more.
        episodes: number of conditions, 1 to 25,000; the first n are the same for every number.

    Raises:
        TraceRobotError: an argument is out of range.
    """
    return _range(seed, episodes, 0)


def validation_seeds(seed: int, episodes: int) -> tuple[int, ...]:
    """Return conditions for choosing among finished controllers.

    They are neither trained on nor held out.

    Args:
        seed: of the run, 0 or more.
        episodes: number of conditions, 1 to 25,000.

    Raises:
        TraceRobotError: an argument is out of range.
    """
    return _range(seed, episodes, VALIDATION)


def held_out_seeds(seed: int, episodes: int) -> tuple[int, ...]:
    """Return conditions that no candidate of any run with any seed was trained on.

    Args:
        seed: of the run, 0 or more.
        episodes: number of conditions, 1 to 25,000.

    Raises:
        TraceRobotError: an argument is out of range.
    """
    return _range(seed, episodes, HELD_OUT)


@dataclass(frozen=True, slots=True)
class SeedSplit:
    """The conditions of one run.

    training: to compare candidates on. confirmation: for a candidate that solves these. held_out: of the final
    score. reserve: by which training grows while all are solved.
    """

    training: tuple[int, ...]
    confirmation: tuple[int, ...]
    held_out: tuple[int, ...]
    reserve: tuple[int, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> SeedSplit:
        """Return the conditions of a run.

        Raises UsageError for a seed or a number that is out of range.
        """
        training = training_seeds(settings.seed, settings.episodes)
        most = max(settings.episodes, settings.grow)
        every = training_seeds(settings.seed, most + settings.confirm)
        held_out = held_out_seeds(settings.seed, settings.held_out)
        return cls(training, every[most:], held_out, every[settings.episodes : most])


def _range(seed: int, episodes: int, offset: int) -> tuple[int, ...]:
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, got {seed}")
    if not 0 < episodes <= VALIDATION:
        raise UsageError(f"episodes must be from 1 to {VALIDATION}, got {episodes}")
    # By the seed alone, so that the first n conditions are the same for every number of them.
    wraps = (seed + 1) * STRIDE > LARGEST and not isinstance(seed, UnboundedSeed)
    start = (seed % BLOCKS if wraps else seed) * STRIDE + offset
    return tuple(range(start, start + episodes))


PACKAGES = ("trace-robot", "metaworld", "mujoco", "gymnasium", "numpy", "cma", "openai")
SIMULATORS = ("metaworld", "mujoco")  # of these packages, which an environment elsewhere does not use


def versions(elsewhere: Mapping[str, str] | None = None, *, model: bool = True) -> dict[str, str]:
    """Return {package: version} of the installed packages a result depends on.

    And that of Python.

    Args:
        elsewhere: those of the environment's interpreter, where that is another one; they take the place of ours.
        model: whether a language model may have been asked.
    """
    found = {"python": platform.python_version(), "platform": platform.platform(terse=True)}
    unused = (*SIMULATORS, *(() if model else ("openai",))) if elsewhere else ()
    found |= {f"environment.{name}": number for name, number in (elsewhere or {}).items()}
    for package in (name for name in PACKAGES if name not in unused):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True, slots=True)
class Defaults:
    """What an optimizer uses where a setting is left out.

    The fields are as in ``Settings``.
    """

    episodes: int = 5
    iterations: int | None = None
    seconds: float | None = None
    control: str = "pose"
    grow: int = 0


RULES = 2
BY_RULES = ("optoprime", "opro", "cma")
LEVELS = ("outcome", "terms", "hindsight", "expert")  # of feedback, see ``trace_robot.rollout.feedback``
EXPERT = "expert"
AGENT = "agent"  # the optimizer of ``trace-robot serve``, whose candidates come in from outside
SEARCH_SECONDS = 240.0
PROMPT = 2  # the latest form of prompts, see ``Settings.prompt``
ASKING_NONE = ("search", "cma")

# The search compares programs by racing, so that most of its ten conditions cost nothing; programs that were chosen on
# fewer conditions solve fewer held-out ones. An optimizer that is not listed has the plain Defaults().
DEFAULTS: Mapping[str, Defaults] = {
    "search": Defaults(episodes=10, seconds=SEARCH_SECONDS, control="raw"),
    "cma": Defaults(seconds=SEARCH_SECONDS),
    # A model's controller that solved 15 conditions solved 36 of 50 held-out ones (FetchSlide-v4): 15 successes of 15
    # are a success rate of 0.80 and more, 30 of 30 one of 0.89 and more (95 % Wilson). Only controllers that solve
    # all so far cost the further episodes, and none of them a call.
    "optoprime": Defaults(iterations=10, grow=20),
    "opro": Defaults(iterations=10, grow=20),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What to optimize and how. The field names are those of stored runs.

    Attributes:
        task: the environment: a name, a file in envs/, or a gymnasium id.
        policy: name or path of the controller to start from.
        optimizer: "optoprime", "opro", "search", "cma", or the name of an optimizer of one's own.
        iterations: controllers that a model proposes, or improvements of a search; None for no limit.
        episodes: training conditions of every candidate.
        confirm: further ones for a candidate that solves these.
        seed: which conditions, and the optimizer's random generator.
        workers, backend, address: where rollouts run, see ``trace_robot.RolloutEngine``.
        control: the control mode, "pose" or "raw"; None for what the policy says.
        usual_control: where the policy says nothing.
        held_out: conditions of the final score.
        options: of the environment, besides control.
        feedback: the level: "outcome", "terms", "hindsight" or "expert".
        seconds: wall-clock budget of the optimization.
        steps: budget of simulator steps, which unlike the clock stops every repetition at the same episode.
        tune: CMA-ES on numbers between two proposals of a model.
        video: make videos of the iterations.
        trusted: run controllers even where the system has no sandbox.
        limits: time and memory of one controller.
        cut: a budget ends a batch of episodes where it is spent, as in every new run; False in stored runs of 0.1.0,
            which go on to the end of the batch.
        rules: by which numbers are tuned and candidates compared, RULES in a new run that asks a model or tunes; 1, of
            0.1.0, tunes every float written in code and compares scores over unequal numbers of conditions.
        grow: training conditions at most; they double up to it while all are solved, and stay where it is not more
            than ``episodes``.
        images: show a model that sees key frames of the most telling episode.
        memory: most other trials that a prompt shows, 0 for none; None for the optimizer's own, 5 or for OPRO 20.
        graph: whether prompts show the graph of an episode; False for parameters and feedback alone (OptoPrime).
        prompt: how a model is asked: 2 for what tells most (docs/optoprime.md), 1 as 0.1.0 did, which the stored runs
            and the recordings of that version need.
    """

    task: str
    policy: str = "do_nothing"
    optimizer: str = "auto"
    iterations: int | None = None
    episodes: int = 5
    confirm: int = 10
    seed: int = 0
    workers: int | None = None
    backend: Literal["local", "ray"] = "local"
    address: str | None = None
    control: str | None = None
    usual_control: str = "pose"
    held_out: int = 50
    options: Mapping[str, Any] = field(default_factory=dict)
    feedback: str = "outcome"
    seconds: float | None = None
    steps: int | None = None
    tune: bool = True
    video: bool = True
    trusted: bool = False
    limits: Limits = field(default_factory=Limits)
    cut: bool = False
    rules: int = 1
    grow: int = 0
    images: bool = False
    prompt: int = 1
    memory: int | None = None
    graph: bool = True

    @classmethod
    def resolve(cls, task: str, optimizer: str, **settings: Any) -> Settings:
        """Return complete settings, with the optimizer's defaults filled in.

        Args:
            task: the environment.
            optimizer: its name; "auto" is decided before.
            settings: other fields of Settings, and ``python``, the path of another interpreter for the environment,
                which is kept in ``options``; None counts as left out.

        Raises:
            UnknownNameError: a keyword is not a setting, or the feedback level is unknown.
            UsageError: ``python`` and ``options["python"]`` differ.
        """
        if "python" in settings or "python" in (settings.get("options") or {}):
            settings["options"] = with_interpreter(settings.get("options"), settings.pop("python", None))
        names = [*(field.name for field in fields(cls)), "python"]
        for name in settings:
            if name not in names:
                raise unknown("setting", name, names)
        require_level(settings.get("feedback") or "outcome")
        values = {name: value for name, value in settings.items() if value is not None}
        defaults = DEFAULTS.get(optimizer, Defaults())
        values.setdefault("episodes", defaults.episodes)
        values.setdefault("iterations", defaults.iterations)
        values.setdefault("usual_control", defaults.control)
        values.setdefault("cut", True)
        if optimizer in BY_RULES:
            values.setdefault("rules", RULES)
        if values.get("rules", 1) > 1:
            values.setdefault("grow", defaults.grow)
        values.setdefault("prompt", 1 if optimizer in ASKING_NONE else PROMPT)
        if values["prompt"] not in (1, PROMPT):
            raise UsageError(
                f"prompt must be 1 or {PROMPT}, got {values['prompt']!r}; leave it out for {PROMPT}"
            )
        if "steps" not in values:  # a budget of steps is to end at the same candidate on every machine
            values.setdefault("seconds", defaults.seconds)
        return cls(task=task, optimizer=optimizer, **values)

    def to_data(self) -> dict[str, Any]:
        """Return plain data, for a stored run of 0.1.0 the same as it has."""
        data = asdict(self)
        # What 0.1.0 did, without these fields.
        old = {
            "cut": False,
            "rules": 1,
            "grow": 0,
            "images": False,
            "prompt": 1,
            "memory": None,
            "graph": True,
        }
        return {name: value for name, value in data.items() if name not in old or value != old[name]}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Settings:
        """Return the settings that ``to_data`` gave.

        Raises TypeError for an unknown field.
        """
        return cls(**{**data, "limits": Limits(**data["limits"])})


def with_interpreter(options: Mapping[str, Any] | None, python: str | Path | None) -> dict[str, Any]:
    """Return options of an environment with an interpreter's absolute path.

    Args:
        options: of the environment, whose own ``python`` is taken where ``python`` is None.
        python: relative to the working directory, or with "~" for the home folder; None for none.

    Raises:
        UsageError: both name one.
    """
    options = dict(options or {})
    own = options.get("python")
    if python is not None and own is not None:
        raise UsageError(f"python={str(python)!r} and options name an interpreter, {own!r}; leave one out")
    path = own if python is None else python
    if path is not None:
        options["python"] = interpreter_of(path)
    return options


def require_level(level: str) -> str:
    """Return the feedback level, or raise UnknownNameError."""
    if level not in LEVELS:
        raise UnknownNameError(f"no feedback level {level!r}; known: {', '.join(LEVELS)}")
    return level


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run's scores and costs, as in result.json.

    Attributes:
        task, optimizer, feedback_level, control, seed, policy: as in ``Settings``.
        start_success: of the starting controller in training, 0 to 1.
        training_success: of the best controller.
        training_episodes: its number of training and confirmation conditions; fewer than those of the settings where
            the budget ended before it was tried on all.
        held_out_success: fraction of held-out episodes, 0 to 1.
        held_out_return: mean total reward of these.
        held_out_episodes: their number.
        held_out_interval: 95 % Wilson interval of held_out_success.
        iterations: without the starting controller.
        best_iteration: the number of the best one.
        candidates: how many were rolled out.
        environment_steps: simulator steps of the optimization, without the held-out episodes (with them in runs of
            0.1.0).
        model_calls, tokens: of the model, 0 without one.
        seconds: of the optimization, without the held-out episodes.
        ended: why it stopped.
        versions: of this library and of what it ran with.
        money: spent on the model, None where no prices were given.
        measure: what is shown first: "success", "return" where nothing is a success, or "both"; see
            ``trace_robot.stats``.
        held_out_return_interval: 95 % interval of held_out_return (Student's t); None in runs of 0.2.0 and before, as
            the next two.
        start_return: mean total reward of the starting controller in training.
        training_return: of the best one.
        notes: what a person should know of the result: that nothing better was found, that an episode stands still.
    """

    task: str
    optimizer: str
    feedback_level: str
    control: str
    seed: int
    policy: str
    start_success: float
    training_success: float
    training_episodes: int
    held_out_success: float
    held_out_return: float
    held_out_episodes: int
    held_out_interval: tuple[float, float]
    iterations: int
    best_iteration: int
    candidates: int
    environment_steps: int
    model_calls: int
    tokens: int
    seconds: float
    ended: str
    versions: Mapping[str, str]
    money: float | None = None
    measure: Measure = "success"
    held_out_return_interval: tuple[float, float] | None = None
    start_return: float | None = None
    training_return: float | None = None
    notes: tuple[str, ...] = ()
