"""A budget ends a batch where it is spent, and the best that was seen is the result."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks import crash
from helpers.kills import killing
from trace_robot.errors import RunError
from trace_robot.fault import Fault
from trace_robot.llm import Budget, Prices, ScriptedModel
from trace_robot.llm.metering import MeteredModel
from trace_robot.llm.model import Message, Reply
from trace_robot.optimizers.problem import Candidate, Optimizer, Outcome, Problem
from trace_robot.rollout import Episode, Job, RolloutEngine
from trace_robot.rollout.batching import BatchLimit
from trace_robot.rollout.env_runner import failed_episode
from trace_robot.rollout.evaluation import Evaluation
from trace_robot.run.acceptance import is_better
from trace_robot.run.journaled import JournaledEngine, jobs_hash
from trace_robot.run.loop import Event, Progressed
from trace_robot.run.optimize import optimize, resume
from trace_robot.settings import Result
from trace_robot.store.codec import encode_episodes, encode_json
from trace_robot.store.command_line import budget_spent
from trace_robot.store.database import open_to_write
from trace_robot.store.journal import Journal

pytestmark = pytest.mark.usefixtures("point_mass")
EPISODE = 60  # simulator steps of the longest episode of both environments


@pytest.fixture(scope="module")
def engine() -> Iterator[RolloutEngine]:
    with RolloutEngine(1) as running:
        yield running


@pytest.fixture(scope="module")
def three() -> Iterator[RolloutEngine]:
    with RolloutEngine(3) as running:
        yield running


class Stopped(BaseException):
    """As abrupt as a test in one process can be: no handler catches it."""


class Gains(Optimizer):
    """One batch of a hundred gains, the best of them in the middle."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem, self.asked, self.outcomes = problem, list[Candidate](), list[Outcome]()

    def ask(self) -> list[Candidate]:
        gains = [0.1 + 0.09 * min(number, 20 - number) for number in range(20)] + [0.0] * 80
        code = (crash.CODE.format(gain=round(gain, 2)) for gain in gains)
        self.asked = [Candidate(1 + k, 0, {"act": text}, "a gain", "given") for k, text in enumerate(code)]
        return [] if self.outcomes else self.asked

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes = list(outcomes)

    @property
    def best(self) -> Candidate | None:
        return None

    @property
    def done(self) -> str:
        return "tried all" if self.outcomes else ""


KINDS: Mapping[str, dict[str, Any]] = {
    "staged": {"optimizer": "search"},
    "laws": {"env": "mass", "optimizer": "search"},
    "gaits": {"env": "crawler", "optimizer": "search"},
    "cma": {"optimizer": "cma", "control": "raw"},
    "optoprime": {"optimizer": "optoprime", "tune": False, "control": "raw"},
    "tuned": {"optimizer": "optoprime", "control": "raw"},
    "opro": {"optimizer": "opro", "control": "raw"},
    "own": {"optimizer": Gains, "control": "raw"},
}
ASKING = ("optoprime", "tuned", "opro")
EVERY = pytest.mark.parametrize("kind", KINDS)


def run(kind: str, out: Path, engine: RolloutEngine, **changed: Any) -> Result:
    """Run an optimizer for a short while."""
    few = {
        "episodes": 3,
        "confirm": 2,
        "held_out": 2,
        "video": False,
        "iterations": 1000,
        "policy": "do_nothing",
    }
    keywords = {"env": "point-mass", **few, **KINDS[kind], **changed}
    if kind in ASKING:
        keywords.setdefault("model", ScriptedModel(crash.replies()))
    if kind == "cma":
        numbers = out.parent / "numbers.py"
        numbers.write_text(crash.NUMBERS)
        keywords["policy"] = str(numbers)
    return optimize(keywords.pop("env"), out=out, engine=engine, **keywords)


def candidates(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def require_the_best(out: Path, result: Result, kind: str) -> None:
    """The result is the best of what was seen, and not the start."""
    rows = candidates(out)
    scores = [json.loads(path.read_text())["score"] for path in sorted(out.glob("iterations/*/scores.json"))]
    assert result.iterations == len(scores) - 1
    assert scores[result.best_iteration] == max(scores)
    whole = [row["score"] for row in rows if row["program"] is None and len(row["seeds"]) >= 3]
    assert max(scores) >= max(whole, default=0.0)
    assert result.best_iteration > 0, "something better than the start was seen"
    assert scores[result.best_iteration] > scores[0]
    if kind in ("staged", "laws", "gaits"):
        assert (out / "best.py").read_text() != (out / "iterations/000/controller.py").read_text()


@EVERY
@pytest.mark.parametrize(("steps", "episodes"), [(700, 3), (700, 1)])
def test_steps_are_kept_within_one_episode_and_the_best_is_the_result(
    kind: str, steps: int, episodes: int, engine: RolloutEngine, tmp_path: Path
) -> None:
    result = run(kind, tmp_path / "run", engine, steps=steps, episodes=episodes)
    assert result.environment_steps < steps + EPISODE
    if result.ended == budget_spent("steps", steps):
        assert result.environment_steps >= 0.75 * steps - EPISODE
    require_the_best(tmp_path / "run", result, kind)


@pytest.mark.parametrize("kind", ["staged", "laws", "gaits", "own"])
def test_steps_cut_at_the_same_episode_whatever_the_number_of_workers(
    kind: str, three: RolloutEngine, tmp_path: Path
) -> None:
    pictures = []
    with RolloutEngine(0) as none:
        for name, running in (("none", none), ("three", three)):
            result = run(kind, tmp_path / name, running, steps=1111)
            texts = [(tmp_path / name / file).read_text() for file in ("log.jsonl", "best.py")]
            pictures.append((*texts, result.environment_steps, result.candidates, result.held_out_return))
    assert pictures[0] == pictures[1]


@EVERY
def test_a_run_that_was_stopped_is_cut_at_the_same_episode_when_it_is_resumed(
    kind: str, engine: RolloutEngine, tmp_path: Path
) -> None:
    whole = run(kind, tmp_path / "whole", engine, steps=900)
    models = {"model": ScriptedModel(crash.replies())} if kind in ASKING else {}
    with pytest.raises(Stopped):
        run(kind, tmp_path / "run", engine, steps=900, on_event=killing(Progressed, 12, Stopped), **models)
    again: dict[str, Any] = {"optimizer": Gains} if kind == "own" else models
    resumed = resume(tmp_path / "run", engine=engine, **again)
    fields = (
        "ended",
        "candidates",
        "environment_steps",
        "training_success",
        "best_iteration",
        "held_out_return",
    )
    assert [getattr(resumed, name) for name in fields] == [getattr(whole, name) for name in fields]
    assert candidates(tmp_path / "run") == candidates(tmp_path / "whole")


class Clock:
    """Seconds that pass where a test lets them, whatever else the machine does."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of runs and of deadlines."""
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    usual = Journal.__init__.__kwdefaults__ or {}
    monkeypatch.setitem(usual, "clock", clock)
    return clock


class Slow(RolloutEngine):
    """An engine in this process, of which every episode takes a while."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(0)
        self.clock = clock

    def stream(self, jobs: Any, *, deadline: float | None = None) -> Any:
        with closing(super().stream(jobs, deadline=deadline)) as stream:
            for index, episode in stream:
                self.clock.now += 0.02
                yield index, episode


@pytest.mark.parametrize("kind", ["staged", "cma", "own"])
def test_the_clock_cuts_a_batch_and_a_replay_is_cut_at_the_same_place(
    kind: str, clock: Clock, tmp_path: Path
) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Progressed) and event.stage == "held out":
            raise Stopped

    began = clock.now
    with Slow(clock) as slow, pytest.raises(Stopped):
        run(kind, tmp_path / "run", slow, seconds=1.5, on_event=stop)
    assert clock.now - began < 2.5, "one batch of the search alone takes 4.5 s"
    before = candidates(tmp_path / "run")
    with RolloutEngine(0) as fast:
        again: dict[str, Any] = {"optimizer": Gains} if kind == "own" else {}
        result = resume(tmp_path / "run", engine=fast, **again)
    assert candidates(tmp_path / "run") == before
    assert result.ended == "1.5 seconds spent"
    require_the_best(tmp_path / "run", result, kind)


@pytest.mark.parametrize(
    ("kind", "unit"),
    [*((kind, "calls") for kind in ASKING), ("opro", "tokens"), ("optoprime", "money"), ("tuned", "seconds")],
)
def test_a_models_budget_ends_a_run_with_the_best_that_was_seen(
    kind: str, unit: str, engine: RolloutEngine, clock: Clock, tmp_path: Path
) -> None:
    class Pausing(ScriptedModel):
        def chat(self, messages: Sequence[Message], n: int = 1) -> list[Reply]:
            clock.now += 0.6 if unit == "seconds" else 0.0
            return super().chat(messages, n)

    limits = {"calls": Budget(calls=4), "tokens": Budget(tokens=12_000), "money": Budget(money=0.02)}
    budget = limits.get(unit, Budget())
    model = MeteredModel(Pausing(crash.replies()), budget, prices=Prices(1.0, 3.0))
    seconds = {"seconds": 2.5} if unit == "seconds" else {}
    with Slow(clock) as slow:
        result = run(kind, tmp_path / "run", slow if seconds else engine, model=model, **seconds)
    ended = "2.5 seconds spent" if unit == "seconds" else "does not cover another call"
    assert ended in result.ended
    assert result.seconds < 3.2 or unit != "seconds"
    require_the_best(tmp_path / "run", result, kind)


@pytest.mark.parametrize("kind", ["cma", *ASKING])
def test_iterations_end_a_run_with_the_best_that_was_seen(
    kind: str, engine: RolloutEngine, tmp_path: Path
) -> None:
    result = run(kind, tmp_path / "run", engine, iterations=3)
    assert result.ended == "3 iterations done"
    require_the_best(tmp_path / "run", result, kind)


@pytest.mark.parametrize("kind", ["staged", "laws", "gaits", "own"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, Stopped])
def test_ctrl_c_in_the_first_batch_leaves_the_best_of_it(
    kind: str, error: type[BaseException], engine: RolloutEngine, tmp_path: Path
) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Progressed) and event.total > 3 and event.done >= event.total // 2:
            raise error

    with pytest.raises(error):
        run(kind, tmp_path / "run", engine, on_event=stop)
    best = (tmp_path / "run" / "best.py").read_text()
    assert best != (tmp_path / "run" / "iterations" / "000" / "controller.py").read_text()
    assert "best so far, on" in best.splitlines()[0], "it says how well it is known"
    compile(best, "best.py", "exec")


def test_a_budget_that_the_start_does_not_fit_into_ends_with_the_start(
    engine: RolloutEngine, tmp_path: Path
) -> None:
    for kind in ("staged", "cma", "own"):
        result = run(kind, tmp_path / kind, engine, steps=1)
        assert (result.best_iteration, result.training_episodes) == (0, 1)
        assert result.environment_steps <= EPISODE
        assert result.ended == "1 simulator step spent"
    short = run("staged", tmp_path / "short", engine, seconds=0.001)
    assert (short.best_iteration, short.ended) == (0, "0.001 seconds spent")


@EVERY
def test_a_budget_of_one_step_takes_one_episode_of_one_condition(
    kind: str, engine: RolloutEngine, tmp_path: Path
) -> None:
    result = run(kind, tmp_path / "run", engine, steps=1, episodes=1)
    assert (result.best_iteration, result.training_episodes) == (0, 1)
    assert result.environment_steps <= EPISODE
    assert result.ended == "1 simulator step spent"


class Gapped:
    """An engine that the clock cuts with a gap."""

    def __init__(self, engine: RolloutEngine) -> None:
        self.engine, self.ran = engine, list[int]()

    def run(self, jobs: Any, *, on_episode: Any = None) -> list[Episode]:
        jobs = list(jobs)
        self.ran.append(len(jobs))
        return self.engine.run(jobs, on_episode=on_episode)

    def run_within(
        self, jobs: Sequence[Job], limit: BatchLimit, *, on_episode: Any = None
    ) -> dict[int, Episode]:
        episodes = self.run(jobs)
        return {index: episodes[index] for index in (0, 2, 3)}


@pytest.mark.parametrize("entries", [2, 1])
def test_a_cut_with_gaps_is_replayed_with_its_gaps(
    entries: int, engine: RolloutEngine, tmp_path: Path
) -> None:
    """Also where the process ended between the two entries: then only those jobs are run again."""
    jobs = [Job("point-mass", seed, controller="def act(o):\n    return [0.5] * 4\n") for seed in range(5)]
    with closing(open_to_write(tmp_path)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        live = JournaledEngine(Gapped(engine), Journal(connection, tmp_path, 1)).run_within(
            jobs, BatchLimit(seconds=1.0)
        )
        connection.execute("DELETE FROM journal WHERE number >= ?", (entries,))
        connection.commit()
        journal, again = Journal(connection, tmp_path, 1), Gapped(engine)
        assert not journal.time_over(0.0), "the cut of a batch is not the end between two"
        replayed = JournaledEngine(again, journal).run_within(jobs, BatchLimit(seconds=1.0))
    assert sorted(live) == sorted(replayed) == [0, 2, 3]
    assert [replayed[k].seed for k in replayed] == [0, 2, 3]
    assert again.ran == ([] if entries == 2 else [3])


JOBS = [Job("point-mass", seed, controller="def act(o):\n    return [0.5] * 4\n") for seed in range(3)]


@pytest.mark.parametrize(
    ("seeds", "cut", "message"),
    [
        ([0, 1], None, r"must have the episodes of 3 jobs, got conditions \[0, 1\]; the store is damaged$"),
        ([0, 1, 2, 3], None, r"of 3 jobs, got conditions \[0, 1, 2, 3\]"),
        ([0, 2, 1], None, r"of 3 jobs, got conditions \[0, 2, 1\]"),
        (
            [0, 2],
            [2, 0],
            r"must cut a batch at ascending indices below 3, got \[2, 0\]; the store is damaged$",
        ),
        ([0, 0], [0, 0], r"ascending indices below 3, got \[0, 0\]"),
        ([0, 2], [0, 3], r"ascending indices below 3, got \[0, 3\]"),
        ([2], [-1], r"ascending indices below 3, got \[-1\]"),
    ],
)
def test_a_journal_that_does_not_answer_its_jobs_is_refused(
    seeds: list[int], cut: list[int] | None, message: str, tmp_path: Path
) -> None:
    episodes = [failed_episode(Job("point-mass", seed), None, Fault("timeout", "x")) for seed in seeds]
    asked = JOBS if cut is None else [JOBS[index % 3] for index in cut]
    with closing(open_to_write(tmp_path)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        journal = Journal(connection, tmp_path, 1)
        if cut is not None:
            journal.put("time over", jobs_hash(JOBS), encode_json(cut))
        journal.put("episodes", jobs_hash(asked), encode_episodes(episodes))
        with RolloutEngine(0) as unused:
            engine = JournaledEngine(unused, Journal(connection, tmp_path, 1))
            with pytest.raises(RunError, match=f"^the run's journal .*{message}"):
                engine.run(JOBS) if cut is None else engine.run_within(JOBS, BatchLimit(seconds=1.0))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_an_engine_counts_steps_in_the_order_of_the_jobs(workers: int) -> None:
    jobs = [Job("point-mass", seed, controller="def act(o):\n    return [0.0] * 4\n") for seed in range(9)]
    with RolloutEngine(workers) as running:
        ran: list[int] = []
        done = running.run_within(
            jobs, BatchLimit(130, episode_steps=40), on_episode=lambda k, _: ran.append(k)
        )
        assert sorted(done) == [0, 1, 2, 3], "the fourth episode of 40 steps reaches 130"
        assert len(ran) <= 4 + max(0, workers - 1)
        assert running.run_within(jobs, BatchLimit(0, episode_steps=40)) == {}
        assert sorted(running.run_within(jobs, BatchLimit(0, episode_steps=40, least=2))) == [0, 1]
        assert sorted(running.run_within(jobs, BatchLimit(seconds=-1.0, least=1))) == [0]
        assert sorted(running.run_within(jobs, BatchLimit(10**9, 600.0, 40))) == list(range(9))


def test_a_deadline_ends_episodes_that_would_go_on_and_the_engine_works_on() -> None:
    slow = "import math\n\n\ndef act(o):\n    for _ in range(400_000):\n        math.sin(1.0)\n    return [0.0] * 4\n"
    with RolloutEngine(1) as running:
        running.run([Job("point-mass", 0, controller="def act(o):\n    return [0.0] * 4\n")])
        began = time.monotonic()
        done = running.run_within(
            [Job("point-mass", seed, controller=slow) for seed in range(40)], BatchLimit(seconds=0.5)
        )
        assert time.monotonic() - began < 60.0, "40 episodes take 40 s, and minutes on a busy machine"
        assert len(done) < 40
        assert len(running.run([Job("point-mass", 0, controller="def act(o):\n    return [0.0] * 4\n")])) == 1


def trial(origin: str, wins: Sequence[bool], score: float, *, complete: bool = True) -> Evaluation:
    episodes = tuple(_Ended(seed, won) for seed, won in enumerate(wins))
    scores = tuple(1.0 if won else score for won in wins)
    outcome = Outcome(1, sum(scores) / len(scores), scores=scores)
    return Evaluation(Candidate(1, None, {}, origin=origin), "", episodes, outcome, complete)  # type: ignore[arg-type]


class _Ended:
    def __init__(self, seed: int, success: bool) -> None:
        self.seed, self.success, self.ended = seed, success, "success" if success else "time"


def test_a_controller_that_always_fails_gives_way_to_one_that_costs_more() -> None:
    failing, costly = trial("start", [False] * 3, 0.0), trial("model", [False] * 3, -5.0)
    for episode in failing.episodes:
        object.__setattr__(episode, "ended", "error")
    assert is_better(costly, failing, search_ranks=False, compared=False)
    assert not is_better(failing, costly, search_ranks=True, compared=True)
    assert not is_better(failing, failing, search_ranks=False, compared=False)


@pytest.mark.parametrize(
    ("wins", "score", "best", "expected"),
    [
        ([True], 0.1, trial("start", [False] * 5, 0.4), True),
        ([False], 0.3, trial("start", [False] * 5, 0.2), True),
        ([False], 0.1, trial("start", [False] * 5, 0.2), False),
        ([True], 0.1, trial("model", [True, True, True, False, False], 0.2), False),
        ([False], 0.4, trial("model", [False] * 5, 0.2), False),
        ([True, True], 0.1, trial("model", [True, False, False, False, False], 0.2), True),
    ],
)
def test_a_candidate_of_few_conditions_must_have_proved_more(
    wins: list[bool], score: float, best: Evaluation, expected: bool
) -> None:
    few = trial("model", wins, score, complete=False)
    assert is_better(few, best, search_ranks=False, compared=False) is expected
