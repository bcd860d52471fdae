"""A resumed run ends as it would have ended, and no answer is paid for twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest

from benchmarks import crash
from helpers.kills import Killed, killing
from trace_robot.errors import ChangedRunError, ModelError, RunError, ValueMismatchError
from trace_robot.llm import ChatModel, ScriptedModel
from trace_robot.optimizers import OptoPrime
from trace_robot.optimizers.problem import Candidate, Optimizer, Problem
from trace_robot.rollout import RolloutEngine
from trace_robot.run.loop import Event, Iterated, Progressed
from trace_robot.run.optimize import optimize, resume
from trace_robot.settings import BLOCKS, STRIDE, Result
from trace_robot.store.codec import encode_json
from trace_robot.store.database import open_to_write
from trace_robot.store.folder import RunLock
from trace_robot.store.history import History

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("point_mass")


@pytest.fixture(scope="module")
def engine() -> Iterator[RolloutEngine]:
    with RolloutEngine(1) as running:
        yield running


def search(out: Path, **changed: Any) -> Result:
    """Run the built-in search for a short while."""
    keywords: dict[str, Any] = {"optimizer": "search", "steps": 6000, "episodes": 4, "held_out": 4, **changed}
    return optimize("point-mass", out=out, **keywords)


def ask(model: ScriptedModel, out: Path, **changed: Any) -> Result:
    """Run OptoPrime with a scripted model, which is journaled as a real one is."""
    keywords: dict[str, Any] = {
        "iterations": 4,
        "episodes": 4,
        "held_out": 4,
        "tune": False,
        "control": "raw",
    }
    return optimize("point-mass", optimizer="optoprime", model=model, out=out, **keywords, **changed)


@pytest.fixture(scope="module")
def undisturbed(
    engine: RolloutEngine, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], int]:
    """What an undisturbed search leaves, and the number of its Progressed events."""
    events: list[Event] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACE_ROBOT_WORKSPACE", str(ROOT / "tests" / "workspace"))
        place = tmp_path_factory.mktemp("undisturbed") / "run"
        search(place, engine=engine, on_event=events.append)
    return crash.picture(place), sum(isinstance(event, Progressed) for event in events)


@pytest.fixture
def searched(undisturbed: tuple[dict[str, Any], int]) -> dict[str, Any]:
    return undisturbed[0]


@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.6, 0.9, 0.99])
def test_a_search_killed_anywhere_ends_as_if_nothing_had_happened(
    part: float, engine: RolloutEngine, tmp_path: Path, undisturbed: tuple[dict[str, Any], int]
) -> None:
    picture, count = undisturbed
    with pytest.raises(Killed):
        search(tmp_path / "run", engine=engine, on_event=killing(Progressed, 1 + int(part * count)))
    resume(tmp_path / "run", engine=engine)
    assert crash.picture(tmp_path / "run") == picture


def test_a_run_that_is_killed_again_and_again_gets_to_its_end(
    engine: RolloutEngine, tmp_path: Path, searched: dict[str, Any]
) -> None:
    with pytest.raises(Killed):
        search(tmp_path / "run", engine=engine, on_event=killing(Iterated, 1))
    with History(tmp_path) as history:
        known = []
        for _ in range(3):
            with pytest.raises(Killed):
                resume(tmp_path / "run", engine=engine, on_event=killing(Progressed, 150))
            known.append(history.run("run").candidates)
    assert known == sorted(known)
    resume(tmp_path / "run", engine=engine)
    assert crash.picture(tmp_path / "run") == searched


@pytest.mark.parametrize("iteration", [1, 2, 4])
def test_what_a_model_has_answered_is_not_asked_again(
    iteration: int, engine: RolloutEngine, tmp_path: Path
) -> None:
    scripted = ScriptedModel(crash.replies())
    ask(scripted, tmp_path / "whole" / "run", engine=engine)
    asked = len(scripted.history)

    first, second = ScriptedModel(crash.replies()), ScriptedModel()
    with pytest.raises(Killed):
        ask(first, tmp_path / "run", engine=engine, on_event=killing(Iterated, iteration))
    second.answers = first.answers
    result = resume(tmp_path / "run", model=second, engine=engine)
    assert len(first.history) + len(second.history) == asked == result.model_calls
    assert crash.picture(tmp_path / "run") == crash.picture(tmp_path / "whole" / "run")


@pytest.mark.parametrize(
    "data",
    [
        b"no JSON",
        encode_json([]),
        encode_json({"cost": {"calls": "many"}, "replies": []}),
        encode_json({"cost": {}, "replies": [{"text": "all that is missing"}]}),
    ],
)
def test_replies_in_a_journal_that_nothing_here_wrote_are_one_error(
    data: bytes, engine: RolloutEngine, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        ask(ScriptedModel(crash.replies()), tmp_path / "run", engine=engine, on_event=killing(Iterated, 2))
    with closing(open_to_write(tmp_path)) as store:
        store.execute("UPDATE journal SET data = ? WHERE kind = 'replies'", (data,))
    with pytest.raises(RunError, match=r"^the run's journal cannot be read, trace-robot has not written it"):
        resume(tmp_path / "run", model=ScriptedModel(), engine=engine)


def test_a_run_that_failed_for_want_of_an_answer_asks_again(engine: RolloutEngine, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="gone"):
        ask(ScriptedModel([ModelError("gone")]), tmp_path / "run", engine=engine)
    with History(tmp_path) as history:
        run = history.run("run")
        assert (run.status, run.ended) == ("failed", "gone")
    result = resume(tmp_path / "run", model=ScriptedModel(crash.replies()), engine=engine)
    assert result.ended == "4 iterations done"
    with History(tmp_path) as history:
        assert history.run("run").status == "finished"


def test_time_that_was_spent_before_is_spent(engine: RolloutEngine, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        search(tmp_path / "run", steps=None, seconds=60.0, engine=engine, on_event=killing(Progressed, 100))
    with closing(open_to_write(tmp_path)) as store:
        store.execute("UPDATE journal SET seconds = 100 + number")
        known = store.execute("SELECT count(*) FROM journal").fetchone()[0]
    result = resume(tmp_path / "run", engine=engine)
    assert result.ended == "60 seconds spent"
    assert result.seconds >= 100 + known - 1  # heard to its end all the same


def test_a_run_whose_program_changed_is_refused_and_keeps_what_it_had(
    engine: RolloutEngine, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        search(tmp_path / "run", engine=engine, on_event=killing(Progressed, 200))
    with closing(open_to_write(tmp_path)) as store:
        known = store.execute("SELECT count(*) FROM journal").fetchone()[0]
        store.execute("UPDATE runs SET settings = replace(settings, '\"seed\": 0', '\"seed\": 1')")
    with pytest.raises(ChangedRunError, match="the run cannot go on as it began: at entry 1 of"):
        resume(tmp_path / "run", engine=engine, yes=True)
    with closing(open_to_write(tmp_path)) as store:
        assert store.execute("SELECT count(*) FROM journal").fetchone()[0] == known


def test_a_policy_that_was_edited_or_lost_meanwhile_does_not_matter(
    engine: RolloutEngine, tmp_path: Path, searched: dict[str, Any]
) -> None:
    policy = tmp_path / "mine.py"
    shutil.copy(ROOT / "policies" / "do_nothing.py", policy)
    with pytest.raises(Killed):
        search(tmp_path / "run", policy=policy, engine=engine, on_event=killing(Progressed, 200))
    policy.unlink()
    resume(tmp_path / "run", engine=engine)
    assert (tmp_path / "run" / "best.py").read_bytes() == searched["best.py"]


def test_a_run_whose_folder_is_gone_gets_it_back_and_a_new_one_does_not_take_its_place(
    engine: RolloutEngine, tmp_path: Path, searched: dict[str, Any]
) -> None:
    with pytest.raises(Killed):
        search(tmp_path / "run", engine=engine, on_event=killing(Progressed, 300))
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(RunError, match="still holds the run 'run', whose folder is gone"):
        search(tmp_path / "run", engine=engine)
    resume(tmp_path / "run", engine=engine)
    assert crash.picture(tmp_path / "run") == searched


def test_a_folder_moved_with_its_store_goes_on_and_one_moved_alone_says_what_is_missing(
    engine: RolloutEngine, tmp_path: Path, searched: dict[str, Any]
) -> None:
    with pytest.raises(Killed):
        search(tmp_path / "a" / "run", engine=engine, on_event=killing(Progressed, 300))
    (tmp_path / "alone").mkdir()
    shutil.copytree(tmp_path / "a" / "run", tmp_path / "alone" / "run")
    with pytest.raises(
        RunError, match=r"there is no runs\.sqlite beside .*; if the run was moved, move it back"
    ):
        resume(tmp_path / "alone" / "run", engine=engine)
    (tmp_path / "a").rename(tmp_path / "b")
    resume(tmp_path / "b" / "run", engine=engine)
    assert crash.picture(tmp_path / "b" / "run") == searched


def test_two_processes_cannot_go_on_with_one_run(engine: RolloutEngine, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        search(tmp_path / "run", engine=engine, on_event=killing(Progressed, 300))
    with RunLock(tmp_path / "run"):
        with pytest.raises(RunError, match="another process is at work on the run"):
            resume(tmp_path / "run", engine=engine)
        with pytest.raises(RunError, match=r"another process is at work on the run .*; give another --out"):
            search(tmp_path / "run", engine=engine, overwrite=True)


def test_a_finished_run_has_nothing_left_to_do(engine: RolloutEngine, tmp_path: Path) -> None:
    search(tmp_path / "run", steps=500, engine=engine)
    with pytest.raises(
        RunError, match="the run 'run' is finished: 500 simulator steps spent; nothing is left"
    ):
        resume(tmp_path / "run", engine=engine)
    with pytest.raises(RunError, match="has no run 'other'; see: trace-robot runs"):
        resume(tmp_path / "other", engine=engine)


class Fixed(Optimizer):
    """Tries the start once, and counts how often one was made."""

    made: ClassVar[list[int]] = []
    best, done = None, ""

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem = problem
        self.made.append(seed)

    def ask(self) -> list[Candidate]:
        return [self.problem.start()]

    def tell(self, outcomes: Any) -> None:
        self.done = "heard"


def test_an_optimizer_that_a_program_made_must_be_given_again(engine: RolloutEngine, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        search(tmp_path / "run", optimizer=Fixed, seed=3, engine=engine, on_event=killing(Progressed, 6))
    assert Fixed.made == [3]
    with pytest.raises(RunError, match="has an optimizer or a model that a program made"):
        resume(tmp_path / "run", engine=engine)
    assert resume(tmp_path / "run", optimizer=Fixed, engine=engine).ended == "heard"
    assert Fixed.made == [3, 3]
    with History(tmp_path) as history:
        assert history.run("run").optimizer == "Fixed"


def test_a_model_that_a_program_made_must_be_given_again(engine: RolloutEngine, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        ask(ScriptedModel(crash.replies()), tmp_path / "run", engine=engine, on_event=killing(Iterated, 1))
    with pytest.raises(RunError, match="has an optimizer or a model that a program made"):
        resume(tmp_path / "run", engine=engine)


def test_an_optimizer_of_a_program_asks_the_model_of_the_run_through_its_journal(
    engine: RolloutEngine, tmp_path: Path
) -> None:
    def factory(problem: Problem, seed: int, model: ChatModel) -> OptoPrime:
        return OptoPrime(problem, model)

    first, second = ScriptedModel(crash.replies()), ScriptedModel(crash.replies())
    short: dict[str, Any] = {"optimizer": factory, "iterations": 3, "control": "raw", "steps": None}
    with pytest.raises(Killed):
        search(tmp_path / "run", model=first, engine=engine, on_event=killing(Iterated, 3), **short)
    result = resume(tmp_path / "run", optimizer=factory, model=second, engine=engine)
    assert len(first.history) > 1
    assert result.model_calls == len(first.history) + len(second.history)
    assert crash.picture(tmp_path / "run")["table iterations"]


def test_an_optimizer_that_lacks_a_part_of_the_protocol_is_named(
    engine: RolloutEngine, tmp_path: Path
) -> None:
    class Half:
        best, done, uses_graph = None, "", False

        def __init__(self, problem: Problem, seed: int) -> None: ...

        def ask(self) -> list[Candidate]:
            return []

        def tell(self, outcomes: Any) -> None: ...

    with pytest.raises(
        ValueMismatchError, match=r"the optimizer Half has no log; derive it from trace_robot\.Opt"
    ):
        search(tmp_path / "run", optimizer=Half, engine=engine)


def test_half_written_files_are_cleared_away_and_the_best_controller_stays_the_best(
    engine: RolloutEngine, tmp_path: Path, searched: dict[str, Any]
) -> None:
    with pytest.raises(Killed):
        search(tmp_path / "run", engine=engine, on_event=killing(Iterated, 2))
    best = (tmp_path / "run" / "best.py").read_text()
    (tmp_path / "run" / "iterations" / ".scores.json.part").write_text("half")
    with open(tmp_path / "run" / "log.jsonl", "a") as log:
        log.write('{"id": 17, "par')
    with pytest.raises(Killed):
        resume(tmp_path / "run", engine=engine, on_event=killing(Progressed, 20))
    assert (tmp_path / "run" / "best.py").read_text() == best
    resume(tmp_path / "run", engine=engine)
    assert crash.picture(tmp_path / "run") == searched


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs root, to mount a small disk")
def test_a_full_disk_is_one_line_and_with_room_again_the_run_goes_on(
    tmp_path: Path, searched: dict[str, Any]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    small = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(small, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        command = [sys.executable, "-m", "trace_robot"]
        arguments = (
            "optimize point-mass --optimizer search --steps 6000 --episodes 4 --held-out 4 --workers 1"
        )
        done = subprocess.run(
            [*command, *arguments.split(), "--out", str(disk / "run")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "free some space" in done.stderr
        assert f"go on with: trace-robot resume {disk / 'run'}" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        subprocess.run([*command, "resume", str(disk / "run"), "--quiet"], check=True, capture_output=True)
        found = crash.picture(disk / "run")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    for name in ("best.py", "log.jsonl", "table candidates", "table iterations", "held_out.json"):
        assert found[name] == searched[name], name


@pytest.mark.parametrize("kind", ["model", "search"])
def test_processes_killed_at_random_moments_lose_nothing(kind: str, tmp_path: Path) -> None:
    endpoint = crash.Endpoint()
    try:
        crashes = crash.Crashes(kind, tmp_path / kind, endpoint, seed=10)  # three or four kills in one run
        while crashes.kills < 3 and crashes.runs < 5:
            crashes.one()
    finally:
        endpoint.close()
    assert crashes.kills >= 1
    assert not crashes.wrong, json.dumps(crashes.wrong, indent=1)


@pytest.mark.parametrize(("seed", "first"), [(50_000, 5_000_000_000), (42_949, 4_294_900_000)])
def test_a_run_that_began_with_conditions_over_2_to_the_32_keeps_them(
    seed: int, first: int, engine: RolloutEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("trace_robot.settings.LARGEST", 2**80)  # as 0.1 had it: no bound
        with pytest.raises(Killed):
            search(tmp_path / "old", seed=seed, engine=engine, on_event=killing(Progressed, 100))
    resume(tmp_path / "old", engine=engine)
    search(tmp_path / "new", seed=seed, engine=engine)
    with closing(open_to_write(tmp_path)) as store:
        rows = store.execute("SELECT name, episodes.seed FROM episodes JOIN runs ON runs.id = run").fetchall()
    conditions = {name: {int(row["seed"]) for row in rows if row["name"] == name} for name in ("old", "new")}
    assert conditions["old"] >= {first, first + 50_000}
    assert max(conditions["new"]) < BLOCKS * STRIDE


ODD_POLICY = """from trace_robot import bundle, node

count = node(3, trainable=True)
mixed = node([1, "b", None], trainable=True)
note = node("a", trainable=True)


@bundle(trainable=True)
def act(observation, memory):
    return [0.5, 0.0, 0.0, 0.0]
"""


def odd_replies() -> list[str]:
    """Return replies of which some are refused, and repaired by the next."""
    values = {
        "count": ["1" * 400, "4"],
        "mixed": ["[" * 900 + "]" * 900, "[2, '\x00\u2028', None]"],
        "note": ['"', "a\x00\ud800\r"],
        "act": [
            "```\n\x00\n```",
            "def act(observation, memory):\r    x = 1.5  # \x0c\u2028\r    return [0.5, 0, 0, x]",
        ],
    }
    texts = [f'<variable name="{name}">{value}</variable>' for name, pair in values.items() for value in pair]
    hexadecimal = "{'suggestion': {'mixed': [0x" + "f" * 5000 + "]}}"
    return [hexadecimal, *texts, '{"suggestion": {"note": "\\ud800"}}', "{[1]}", "<stop>yes</stop>"]


def test_odd_replies_neither_end_a_run_nor_its_resumption(
    engine: RolloutEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd.py").write_text(ODD_POLICY, encoding="utf-8")
    keywords: dict[str, Any] = {
        "policy": "odd.py",
        "optimizer": "optoprime",
        "control": "raw",
        "video": False,
    }
    keywords |= {"iterations": 9, "episodes": 2, "held_out": 2, "tune": False, "engine": engine}
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    result = optimize("point-mass", model=ScriptedModel(odd_replies()), out=straight, **keywords)
    assert result.ended == "the model sees nothing to improve"
    model = ScriptedModel(odd_replies())
    with pytest.raises(Killed):
        optimize("point-mass", model=model, out=killed, on_event=killing(Iterated, 4), **keywords)
    again = resume(killed, model=ScriptedModel(odd_replies()[len(model.history) :]), engine=engine)
    assert (again.ended, again.candidates, again.iterations) == (
        result.ended,
        result.candidates,
        result.iterations,
    )
    with History(tmp_path) as history:
        assert {run.status for run in history.runs()} == {"finished"}
