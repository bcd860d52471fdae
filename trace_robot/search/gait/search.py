"""The search over gaits: successive halving over restarts of CMA-ES and of ARS."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np

from trace_robot.optimizers.problem import Candidate, Outcome
from trace_robot.search.base import RacingSearch, Standing, Steps
from trace_robot.search.gait.controller import GaitController, title_of
from trace_robot.search.gait.gait import WHOLE, Gait, Joint, Truncation
from trace_robot.search.gait.identify import ALL, SIZES, Morphology
from trace_robot.search.gait.restarts import (
    FALLING,
    PACE,
    SHORT,
    STEADY,
    AnyRestart,
    FeedbackRestart,
    LinearFeedback,
    Rhythm,
    RhythmRestart,
    Statistics,
)
from trace_robot.spec import TaskSpec

# Conditions by purpose: nothing is chosen on what it was tuned on, and nothing confirmed on what it was chosen on.
TUNE, CHOOSE, CONFIRM = slice(0, 128), slice(128, 160), slice(192, 256)
LONG = 500  # decisions of an episode from which on a lasting motion is what earns a return
STRIDES = (0.6, 2.0)  # a second, of rhythms at first: the first for water, the second for legs
FIRST, LAST = 40_000, 1_280_000  # decisions of a restart up to the first rung, and between rungs at most
CHOSEN_ON = (2, 4, 8, 16)  # conditions to compare restarts on at each rung; the last for all further ones
STALE = 2  # rungs without a better gait after which new restarts begin beside the best
BETTER = 1.02  # times as high a return, which a rung must reach not to be stale
MARGIN = 1.5  # standard errors by which the mean return must be above the threshold
PUSHED = 3  # decisions of a probe that pushes one control
MOVED = 8  # probes in which all controls move


# A gait, how its episode is cut short, what it brings back, and its condition.
Asked = tuple[Gait, Truncation, int | None, int]


@dataclass(slots=True, eq=False)
class GaitFinalist:
    """A gait with its returns on the conditions to choose on.

    returns: with the bonus for not having fallen, one for each condition that it was tried on. bare: without it.
    """

    number: int
    gait: Gait
    name: str
    returns: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    faulty: bool = False

    @property
    def value(self) -> float:
        """Mean return, -inf where an episode ended with an error."""
        return -math.inf if self.faulty or not self.returns else float(np.mean(self.returns))

    @property
    def bare_value(self) -> float:
        """Mean return without the bonus for not having fallen."""
        return -math.inf if self.faulty or not self.bare else float(np.mean(self.bare))


class GaitSearch(RacingSearch[GaitFinalist]):
    """Successive halving over rhythms, tuned by CMA-ES, and linear feedback, by ARS.

    While it searches, the bonus for not having fallen is left out, for standing still would earn it (arXiv:1803.07055,
    section 4); the champion is the gait of the highest return with it. Deterministic for ``seed`` and the outcomes.

    Args:
        spec: the environment.
        seeds: POOL training conditions.
        seed: of all random choices.
    """

    compares = True

    def __init__(self, spec: TaskSpec, seeds: Sequence[int], *, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.count = 0
        self.alive = 0.0
        self.course = STEADY  # until a probe has fallen
        self.body: Morphology  # once the probes have shown it
        self.finalists: list[GaitFinalist] = []
        super().__init__(spec, seeds, seed=seed)

    @classmethod
    def suits(cls, spec: TaskSpec) -> bool:
        """Return whether lasting motion earns the return.

        So it is taken where nothing has a position, no success but a return is wanted, two numbers or more of an action
        can swing, and an episode is long. Where a place in a plane or in space is seen, something is to be brought
        there.
        """
        wants_return = spec.return_threshold is not None or not spec.success
        swings = spec.action_size >= 2 and not any(part.whole for part in spec.action)
        bounded = all(map(math.isfinite, (*spec.low, *spec.high)))
        return (
            not spec.positions
            and not spec.hands
            and not any(part.unit == "m" and part.size in (2, 3) for part in spec.observation)
            and wants_return
            and swings
            and bounded
            and spec.horizon >= LONG
        )

    @property
    def champion(self) -> GaitFinalist | None:
        """The gait with the highest mean return, None before the first rung is over."""
        return max(self.finalists, key=lambda finalist: finalist.value, default=None)

    def _rank(self, standing: Standing) -> tuple[float, float]:
        if standing.faulty:
            return -math.inf, -math.inf
        return standing.reward / standing.conditions, float(standing.conditions)

    def _outdoes(self, standing: Standing, champion: GaitFinalist) -> bool:
        return self._rank(standing)[0] > champion.value

    def _lasting(self, candidate: Candidate) -> Candidate:
        controller = GaitController.from_data(candidate.program or {})
        note = candidate.note or title_of(controller.gait)
        return Candidate(candidate.id, None, {}, note, "search", controller.gait.to_data(), candidate.seeds)

    def _candidate(self, champion: GaitFinalist) -> Candidate:
        return Candidate(champion.number, None, {}, champion.name, "search", champion.gait.to_data())

    def _search(self) -> Steps[None]:
        self.phase = "identify"
        body = yield from self._identify()
        self.body, self.alive = body, body.alive
        restarts = self._plain(body)
        stale, best = 0, -math.inf
        for rung in count():
            self.phase = f"rung {rung + 1}: {len(restarts)} restarts"
            yield from self._rung(restarts, rung)
            if self.done:
                return
            champion = self.champion
            value = -math.inf if champion is None else champion.value
            stale = 0 if value > best + (BETTER - 1.0) * abs(best) or math.isinf(best) else stale + 1
            best = max(best, value)
            restarts = self._kept(restarts, rung)
            if rung == 1:
                restarts += self._balanced(body)
            if stale >= STALE:
                stale = 0
                restarts += self._again(body, restarts)

    def _identify(self) -> Steps[Morphology]:
        """Run probes that push one control, then probes in which all swing."""
        size, seeds = self.spec.action_size, self.seeds[TUNE]
        pushes = [
            [Joint(0.5 * sign if k == j else 0.0, 0.0, 0.0) for j in range(size)]
            for k in range(size)
            for sign in (1.0, -1.0)
        ]
        asked = [(Gait(0.0, 1.0, tuple(joints)), Truncation(PUSHED), ALL, seeds[0]) for joints in pushes]
        for k in range(MOVED):
            # From slow to fast, and weak: contacts and falls hide what goes with what.
            turns = self.random.uniform(0.0, 1.0, size)
            joints = tuple(Joint(0.0, 0.1 + 0.1 * k, float(turn)) for turn in turns)
            asked.append((Gait(0.02 * 1.3**k, 1.0, joints), Truncation(2 * SHORT), ALL, seeds[k + 1]))
        outcomes = yield from self._run(asked, "to see what the robot is made of")
        if any(_decisions(outcome) < 2 * SHORT for outcome in outcomes[2 * size :]):
            self.course = replace(FALLING, length=self.spec.horizon)
        every = [_notes(outcome) for outcome in outcomes]
        pushed = list(zip(every[: 2 * size : 2], every[1 : 2 * size : 2], strict=True))
        return Morphology.of(self.spec, pushed, every[2 * size :])

    def _plain(self, body: Morphology) -> list[AnyRestart]:
        """Return the restarts of the first rung."""
        still = Gait(0.0, body.step_seconds, (Joint(0.0, 0.0, 0.0),) * self.spec.action_size)
        restarts: list[AnyRestart] = []
        if body.spreads:
            restarts += [self._feedback(body, "linear feedback", still, pace) for pace in self.course.paces]
        # Where the length of a decision is not known it counts as a 25th of a second.
        scale = 1.0 if body.timed else 1.0 / 25.0
        rhythms = [Rhythm(body, strides * scale) for strides in STRIDES]
        if body.mirrors:
            rhythms.append(Rhythm(body, STRIDES[-1] * scale, mirrored=True))
        step, length = self.course.step, self.course.length
        return restarts + [RhythmRestart(rhythm, self._seed(), step, length) for rhythm in rhythms]

    def _balanced(self, body: Morphology) -> list[AnyRestart]:
        """Return linear feedback on top of the best rhythm."""
        rhythms = [one for one in self.finalists if one.gait.swings and one.gait.balance is None]
        if not rhythms or not body.spreads:
            return []
        best = max(rhythms, key=lambda finalist: finalist.bare_value)
        restart = self._feedback(body, "rhythm with linear feedback", best.gait, PACE)
        restart.value = best.bare_value
        return [restart]

    def _feedback(
        self, body: Morphology, name: str, base: Gait, pace: tuple[float, float]
    ) -> FeedbackRestart:
        """Return a restart of linear feedback.

        Args:
            body: the robot.
            name: of the kind of gait.
            base: what is balanced.
            pace: lengths of a step and of a direction.
        """
        structure = LinearFeedback(name, base, Statistics.of(body))
        return FeedbackRestart(structure, self._seed(), *pace, self.course.directions, self.course.length)

    def _again(self, body: Morphology, restarts: Sequence[AnyRestart]) -> list[AnyRestart]:
        """Return new restarts of the first kinds, and refine those that go on."""
        for restart in restarts:
            if isinstance(restart, FeedbackRestart):
                restart.directions *= 2
        return self._plain(body)[: self.course.go_on[-1]]

    def _rung(self, restarts: Sequence[AnyRestart], rung: int) -> Steps[None]:
        """Run restarts for a number of decisions each, then compare them."""
        allotted = min(FIRST * 2**rung, LAST)
        leader = max(restarts, key=lambda restart: restart.value)
        until = [restart.steps + (1 + (rung > 1 and restart is leader)) * allotted for restart in restarts]
        peaks: dict[int, tuple[float, Gait]] = {}
        while going := [
            restart
            for restart, last in zip(restarts, until, strict=True)
            if restart.steps < last and not restart.over
        ]:
            yield from self._generation(going, peaks)
            if rung > 1 and leader in going and leader.steps < until[restarts.index(leader)]:
                yield from self._generation([leader], peaks)
        conditions = CHOSEN_ON[min(rung, len(CHOSEN_ON) - 1)]
        yield from self._enter(restarts, peaks, conditions)
        self._part_is_over()
        yield from self._settle()

    def _generation(
        self, restarts: Sequence[AnyRestart], peaks: dict[int, tuple[float, Gait]]
    ) -> Steps[None]:
        """Run one generation of each restart.

        Args:
            restarts: that go on.
            peaks: for each restart of feedback the best gait that was at its mean; it is kept up to date.
        """
        asked: list[Asked] = []
        groups = []
        for restart in restarts:
            trials = restart.ask()
            conditions = self.random.choice(TUNE.stop, 1 + max(k for _, k in trials), replace=False)
            grown = int(restart.length * restart.growth**restart.generations)
            trial = Truncation(min(grown, self.spec.horizon), still=True)
            sizes = SIZES if isinstance(restart, FeedbackRestart) else None
            group: list[Asked] = [(gait, trial, sizes, self.seeds[conditions[k]]) for gait, k in trials]
            if isinstance(restart, FeedbackRestart):
                group.append((restart.mean, trial, SIZES, self.seeds[conditions[0]]))
            groups.append(len(group))
            asked += group
        outcomes = iter((yield from self._run(asked, "")))
        for restart, size in zip(restarts, groups, strict=True):
            mine = [next(outcomes) for _ in range(size)]
            values = [self._bare(outcome) for outcome in mine]
            restart.steps += sum(_decisions(outcome) for outcome in mine)
            if isinstance(restart, FeedbackRestart):
                peak = peaks.get(id(restart))
                if peak is None or values[-1] > peak[0]:
                    peaks[id(restart)] = values[-1], restart.mean
                # Of all gaits, not of the mean alone: what hardly moves under it would count for too much.
                for outcome in mine:
                    restart.structure.statistics.add(_notes(outcome), _decisions(outcome))
                values.pop()
            restart.tell(values)

    def _enter(
        self, restarts: Sequence[AnyRestart], peaks: Mapping[int, tuple[float, Gait]], conditions: int
    ) -> Steps[None]:
        """Score what restarts ended with and their peaks, on the same conditions."""
        new: list[tuple[AnyRestart, GaitFinalist]] = []
        for restart in restarts:
            gaits = [restart.mean] + ([peaks[id(restart)][1]] if id(restart) in peaks else [])
            new += [(restart, GaitFinalist(self._number(), gait, restart.name)) for gait in gaits]
        champion = self.champion
        whole = [finalist for _, finalist in new] + ([] if champion is None else [champion])
        asked = [
            (finalist, self.seeds[CHOOSE][k])
            for finalist in whole
            for k in range(len(finalist.returns), conditions)
        ]
        outcomes = yield from self._run(
            [(finalist.gait, WHOLE, None, seed) for finalist, seed in asked], "on conditions to choose on"
        )
        for (finalist, _), outcome in zip(asked, outcomes, strict=True):
            finalist.faulty = finalist.faulty or bool(outcome.faults)
            finalist.returns.append(float(outcome.details["reward"][0]))
            finalist.bare.append(self._bare(outcome))
        self.finalists += [finalist for _, finalist in new]
        for restart in restarts:
            mine = [finalist for of, finalist in new if of is restart]
            best = max(mine, key=lambda finalist: finalist.bare_value)
            if isinstance(restart, FeedbackRestart):
                if best.bare_value > restart.value:
                    restart.best = best.gait
                if restart.best is not None and restart.best is not mine[0].gait:
                    restart.refine(restart.best)
            restart.value = max(best.bare_value, restart.value)

    def _kept(self, restarts: Sequence[AnyRestart], rung: int) -> list[AnyRestart]:
        """Return the restarts that go on, the best of each kind first.

        A rhythm gets on sooner than feedback and not as far (measured), so that the better of all
        kinds after a short time is not the one to keep alone.
        """
        places = self.course.go_on[min(rung, len(self.course.go_on) - 1)]
        ranked = sorted(
            (restart for restart in restarts if not restart.over), key=lambda one: one.value, reverse=True
        )
        kinds: dict[str, int] = {}
        order = []
        for restart in ranked:
            kind = restart.name.partition(",")[0]
            kinds[kind] = kinds.get(kind, 0) + 1
            order.append((kinds[kind], -restart.value))
        places_in_turn = sorted(range(len(ranked)), key=lambda k: order[k])
        return [ranked[k] for k in places_in_turn[:places]]

    def _settle(self) -> Steps[None]:
        """End the search if the champion reaches the threshold on other conditions."""
        champion, threshold = self.champion, self.spec.return_threshold
        if champion is None or threshold is None or champion.value < threshold:
            return
        seeds = self.seeds[CONFIRM]
        outcomes = yield from self._run(
            [(champion.gait, WHOLE, None, seed) for seed in seeds], "on conditions to confirm on"
        )
        returns = np.array([outcome.details["reward"][0] for outcome in outcomes], float)
        error = float(returns.std()) / math.sqrt(len(returns))
        if float(returns.mean()) - MARGIN * error >= threshold:
            self.done = f"solved on conditions that it was not tuned on: mean return {returns.mean():.4g}"

    def _run(self, asked: Sequence[Asked], note: str) -> Steps[list[Outcome]]:
        """Run each gait once.

        Args:
            asked: a gait, how its episode is cut short, what it brings back, and its condition.
            note: why, for the record.
        """
        candidates = [
            Candidate(
                self._number(),
                None,
                {},
                note,
                "search",
                GaitController(gait, trial, probe).to_data(),
                (seed,),
            )
            for gait, trial, probe, seed in asked
        ]
        outcomes = yield candidates
        return list(outcomes)

    def _bare(self, outcome: Outcome) -> float:
        """Return the reward without the bonus for not having fallen."""
        reward = float(outcome.details["reward"][0])
        if outcome.faults or not math.isfinite(reward):
            return -math.inf
        return reward - self.alive * _decisions(outcome)

    def _number(self) -> int:
        self.count += 1
        return self.count

    def _seed(self) -> int:
        return int(self.random.integers(2**31))


def _decisions(outcome: Outcome) -> int:
    return int(outcome.details["steps"][0])


def _notes(outcome: Outcome) -> dict[str, float]:
    """Return the measures of a probe."""
    plain = ("success", "reward", "steps", "simulator_steps")
    return {name: row[0] for name, row in outcome.details.items() if name not in plain and row[0] == row[0]}
