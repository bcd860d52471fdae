"""When an evaluated candidate becomes the best of its run, and what the run's budget leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trace_robot.optimizers.problem import CONDITIONS
from trace_robot.rollout.batching import BatchLimit
from trace_robot.rollout.feedback import standing_still
from trace_robot.spec import may_be_planar_point
from trace_robot.stats import Returns, measure_of, wilson
from trace_robot.store.command_line import budget_spent, tuning_command

if TYPE_CHECKING:
    from trace_robot.optimizers.problem import Candidate
    from trace_robot.policy import Policy
    from trace_robot.rollout.episode import Episode
    from trace_robot.rollout.evaluation import Evaluation, Limiter
    from trace_robot.rollout.task import Task
    from trace_robot.settings import Settings
    from trace_robot.spec import TaskSpec
    from trace_robot.store.writer import Cost

# Simulator steps between two improvements of a search that become iterations. A search improves up to hundreds of
# times, mostly by little; each iteration costs an evaluation of the written controller, a difference and a video.
STEPS_BETWEEN_ITERATIONS = 50_000
COMPARED = 3  # conditions on which a search's best is compared with the start when its time is up
SHOWN = 4  # names of a policy's numbers in a line
# Of a budget, kept at most for the score of a search's best: a small one is to go to the search for the most part.
STEPS_KEPT, SECONDS_KEPT = 4, 10  # a fourth and a tenth
START_TIMES = (
    2.0  # as long as the starting controller took: a better one is confirmed on as many conditions again
)


def is_better(evaluation: Evaluation, best: Evaluation | None, *, search_ranks: bool, compared: bool) -> bool:
    """Return whether a candidate replaces the best so far.

    Args:
        evaluation: the candidate's, on the run's training conditions.
        best: None at the start of a run.
        search_ranks: the candidate is the one that the built-in search ranks first.
        compared: the search compares finalists on more conditions than these: where success is a total reward of at
            least ``TaskSpec.return_threshold``, where worlds differ, and where gaits are searched.
    """
    if best is None:
        return True
    if _fails(best) != _fails(evaluation):
        return _fails(best)  # which has the reward of no step, more than most where rewards are costs
    if evaluation.complete and CONDITIONS in evaluation.outcome.details and not search_ranks:
        # Equal conditions first: one that was tried on more solved all of the others. A tie counts where it cures.
        return evaluation.outcome.outranks(best.outcome)
    ahead = evaluation.outcome.score - best.outcome.score
    if not evaluation.complete:
        # A budget ended before it was tried on all conditions. A share of few conditions may be chance, so that it has
        # to show more successes than the best has in all; the start alone is replaced also by a higher score.
        more = _successes(evaluation) - _successes(best)
        if more != 0 or best.candidate.origin != "start":
            return more > 0
        ahead = _ahead_on_the_same(evaluation, best)
    if ahead > 0:
        return True
    # Among programs of one score the search prefers the one whose constants bear the most noise, which it has measured
    # and this score does not show: the later one is the more robust.
    # Where it has compared finalists on more conditions than these, a lower score here is chance.
    return search_ranks and (ahead == 0 or compared)


def _fails(evaluation: Evaluation) -> bool:
    return bool(evaluation.episodes) and all(episode.ended == "error" for episode in evaluation.episodes)


def _successes(evaluation: Evaluation) -> int:
    return sum(episode.success for episode in evaluation.episodes)


def _ahead_on_the_same(evaluation: Evaluation, best: Evaluation) -> float:
    """Return the difference of the scores, summed over common conditions."""
    scores = _by_condition(best)
    mine = _by_condition(evaluation)
    return sum(mine[seed] - scores[seed] for seed in mine if seed in scores)


def order(trial: Evaluation) -> tuple[float, ...]:
    """Return what the trials of one batch are compared by."""
    outcome = trial.outcome
    return outcome.rank if CONDITIONS in outcome.details else (outcome.score,)


def successes(trial: Evaluation) -> tuple[float, float]:
    """Return what trials on different numbers of conditions are compared by."""
    return _successes(trial), trial.outcome.score


def _by_condition(evaluation: Evaluation) -> dict[int, float]:
    seeds = (episode.seed for episode in evaluation.episodes)
    return dict(zip(seeds, evaluation.outcome.scores, strict=False))


def is_new(champion: Candidate, best: Evaluation | None) -> bool:
    """Return whether the search's best candidate is another than the run's.

    Args:
        champion: what the search ranks first.
        best: the run's, None at its start.
    """
    return best is None or champion.id != best.candidate.id


@dataclass(slots=True)
class RunBudget:
    """What a run may still spend, in simulator steps and in seconds.

    Attributes:
        settings: of the run.
        clock: returns the seconds spent.
        episode_steps: simulator steps that one episode takes at most.
        start_seconds: what the starting controller took.
        keeps: a part is kept to score the best of a search as a text, since data ran until then.
    """

    settings: Settings
    clock: Callable[[], float]
    episode_steps: int
    start_seconds: float = 0.0
    keeps: bool = False

    @property
    def steps(self) -> int | None:
        """Simulator steps that the rollouts of candidates may take, None for no limit."""
        steps = self.settings.steps
        if steps is None or not self.keeps:
            return steps
        return steps - min(self.settings.episodes * self.episode_steps, steps // STEPS_KEPT)

    @property
    def seconds(self) -> float | None:
        """Seconds that they may take, None for no limit."""
        seconds = self.settings.seconds
        return None if seconds is None else seconds - self._seconds_kept(seconds)

    @property
    def least(self) -> int:
        """Episodes of a search's best in any case, rather than to end with the start.

        By a budget of time some more, as one condition tells little. A budget of steps is kept to the step.
        """
        return 1 if self.settings.seconds is None else min(COMPARED, self.settings.episodes)

    def cut_by(self, spent: int) -> str:
        """Return which budget cut a batch, when ``spent`` simulator steps were taken."""
        if self.steps is not None and spent >= self.steps:
            return budget_spent("steps", self.settings.steps or 0)
        return budget_spent("seconds", self.settings.seconds or 0.0)

    def limiter(self, *, last: bool = False, least: int = 0) -> Limiter | None:
        """Return what gives the limit of each further batch, None where nothing limits it.

        Args:
            last: for the final scores, which use what was kept.
            least: episodes of the first batch that are run in any case.
        """
        steps = self.settings.steps if last else self.steps
        seconds = self.settings.seconds if last else self.seconds
        if not self.settings.cut or (steps is None and seconds is None):
            return None

        # What was kept is there also where the cut itself took some of it.
        kept = self._seconds_kept(seconds) if last and seconds is not None else 0.0

        def limit(spent: int) -> BatchLimit:
            left = None if seconds is None else max(seconds - self.clock(), kept)
            return BatchLimit(None if steps is None else steps - spent, left, self.episode_steps, least)

        return limit

    def _seconds_kept(self, seconds: float) -> float:
        if not self.keeps:
            return 0.0
        return min(seconds / SECONDS_KEPT, START_TIMES * self.start_seconds)


def nothing_found(start: Evaluation, spec: TaskSpec, settings: Settings, cost: Cost) -> str:
    """Return a line on a run that ended with its start, and what may help.

    Args:
        start: the starting controller's, which is the best.
        spec: of the environment.
        settings: of the run.
        cost: what it tried.

    Returns:
        "" where the start succeeds on all conditions already.
    """
    if start.outcome.success == 1.0:
        return ""
    fault = start.episodes[0].fault
    if _fails(start) and fault is not None:
        where = f", line {fault.line}" if fault.line else ""
        return (
            f"every episode of the starting controller ended with an error{where}, and no other controller got further:"
            f" {fault.message}"
        )
    tried = max(0, cost.candidates - 1)
    hints = [
        "more --steps or --seconds" if settings.optimizer == "search" else "more --iterations",
        *(["--optimizer search, which writes a new act"] if settings.optimizer == "cma" else []),
        *(
            ["a language model (OPENAI_API_KEY)"]
            if settings.optimizer in ("search", "cma")
            else ["another --model"]
        ),
    ]
    rewards = {float(reward) for episode in start.episodes for reward in episode.rewards}
    if len(rewards) < 2:
        hints.append("a reward that differs on the way to the goal (reward=... in its plug-in)")
    if any(
        part.name.startswith("observation") for part in spec.observation
    ):  # as numbers without names are called
        hints.append("names for its numbers, positions above all (trace-robot init --env)")
    elif not spec.positions and any(part.size == 3 for part in spec.observation):
        hints.append("which of its numbers are positions, if a hand moves (positions=... in its plug-in)")
    elif not spec.positions and any(map(may_be_planar_point, spec.observation)):
        hints.append(
            "planar points as positions: part(..., 2, 'm', height=0.0) and positions=(...) in its plug-in"
        )
    return (
        f"nothing better than the starting controller was found, with {tried:,} other controller{'s' * (tried != 1)} in"
        f" {cost.environment_steps:,} simulator steps; what may help: {', '.join(hints)}; what the search sees of it:"
        f" trace-robot check-env {settings.task}"
    )


def _untuned(settings: Settings, policy: Policy) -> str:
    """Return a line on numbers of a given policy that the search left as they are."""
    names = [place.name for place in policy.places if place.kind == "number"]
    if settings.optimizer != "search" or not names:
        return ""
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return (
        f"the search writes new controllers and tuned no number of {settings.policy} ({shown}); what tunes them:"
        f" {tuning_command(settings)}"
    )


def notes_at_end(
    start: Evaluation,
    best: Evaluation,
    held_out: Sequence[Episode],
    task: Task,
    settings: Settings,
    cost: Cost,
) -> tuple[str, ...]:
    """Return what a person should know of a result, a line each.

    Args:
        start: the starting controller in training.
        best: the accepted one.
        held_out: its episodes on held-out conditions.
        task: what was optimized.
        settings: of the run.
        cost: what it tried.
    """
    notes = [nothing_found(start, task.spec, settings, cost) if best is start else ""]
    if not all(episode.success for episode in held_out):
        notes.append(_untuned(settings, task.policy))
    return tuple(filter(None, (*notes, standing_still(held_out))))


def final_scores(
    start: Evaluation, best: Evaluation, held_out: Sequence[Episode], spec: TaskSpec
) -> dict[str, Any]:
    """Return a finished run's scores by the fields of ``Result``.

    Args:
        start: the starting controller in training.
        best: the accepted one in training.
        held_out: its episodes on held-out conditions, at least one.
        spec: decides which of both is shown.
    """
    wins = sum(episode.success for episode in held_out)
    returns = Returns.of(episode.total_reward for episode in held_out)
    return {
        "start_success": start.outcome.success,
        "start_return": _mean_return(start),
        "training_success": best.outcome.success,
        "training_return": _mean_return(best),
        "training_episodes": len(best.episodes),
        "held_out_success": wins / len(held_out),
        "held_out_interval": wilson(wins, len(held_out)),
        "held_out_return": sum(episode.total_reward for episode in held_out) / len(held_out),
        "held_out_return_interval": None if returns is None else returns.interval,
        "held_out_episodes": len(held_out),
        "measure": measure_of(spec.success, spec.return_threshold),
    }


def _mean_return(trial: Evaluation) -> float | None:
    returns = Returns.of(episode.total_reward for episode in trial.episodes)
    return None if returns is None else returns.mean
