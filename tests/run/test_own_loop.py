"""A program's own loop keeps its run, as ``optimize`` does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import trace_robot
from trace_robot import History, Rollouts, Run
from trace_robot.errors import OrderError, RunError, UnknownNameError


@pytest.fixture(scope="module")
def rollouts() -> Iterator[Rollouts]:
    with Rollouts("CartPole-v1", "balance", episodes=2, workers=0) as rollouts:
        yield rollouts


@pytest.fixture(autouse=True)
def start(rollouts: Rollouts) -> None:
    set_gains(rollouts, 1.0)


def set_gains(rollouts: Rollouts, angle: float, velocity: float = 0.0) -> None:
    gains = {each.key: each for each in rollouts.parameters}
    gains["angle_gain"].data, gains["velocity_gain"].data = angle, velocity


def test_iterations_the_best_and_a_held_out_score_are_kept(tmp_path: Path, rollouts: Rollouts) -> None:
    folder = f"{tmp_path}/runs/mine"
    with Run.create(folder, rollouts, held_out=3) as run:
        better = []
        for angle, velocity in ((1.0, 0.0), (10.0, 3.0), (0.5, 0.0)):
            set_gains(rollouts, angle, velocity)
            better.append(run.record(rollouts(rollouts.parameters), f"gain\n{angle}"))
    assert better == [True, True, False]
    with History(f"{tmp_path}/runs") as history:
        (kept,) = history.runs()
        iterations = history.iterations(kept)
        assert (kept.name, kept.optimizer, kept.status) == ("mine", "loop", "finished")
        assert [each.note for each in iterations] == ["gain 1.0", "gain 10.0", "gain 0.5"]
    assert '10.0, name="angle_gain"' in Path(folder, "best.py").read_text()
    assert '"held_out_episodes": 3' in Path(folder, "result.json").read_text()
    with pytest.raises(OrderError, match="record needs a run of your own loop"):
        run.record(rollouts(rollouts.parameters))


def test_an_exception_leaves_what_was_recorded_and_a_reason(tmp_path: Path, rollouts: Rollouts) -> None:
    folder = tmp_path / "runs" / "mine"

    def program() -> None:
        with Run.create(folder, rollouts) as run:
            run.record(rollouts(rollouts.parameters))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        program()
    with History(folder.parent) as history:
        (kept,) = history.runs()
        assert (kept.status, len(history.iterations(kept))) == ("failed", 1)
    assert (folder / "best.py").is_file()
    with pytest.raises(RunError), Run.create(folder, rollouts):
        pass
    with pytest.raises(RunError, match="recorded by a program's own loop; run that program again"):
        trace_robot.resume(folder)


def test_a_loop_without_a_score_is_a_stopped_run_and_an_empty_one_an_error(
    tmp_path: Path, rollouts: Rollouts
) -> None:
    with Run.create(tmp_path / "runs" / "quick", rollouts, held_out=0) as run:
        run.record(rollouts(rollouts.parameters))
    with History(tmp_path / "runs") as history:
        assert [each.status for each in history.runs()] == ["stopped"]
    with (
        pytest.raises(RunError, match="no controller was tried"),
        Run.create(tmp_path / "runs" / "empty", rollouts),
    ):
        pass


def test_a_misspelt_optimizer_is_an_error_with_the_near_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"serch.*did you mean 'search'"):
        trace_robot.optimize("CartPole-v1", policy="balance", optimizer="serch", out=str(tmp_path / "run"))
