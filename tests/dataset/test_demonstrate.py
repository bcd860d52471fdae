"""Demonstrations: what is kept, how it is labelled, and that a collection goes on where it stopped."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trace_robot import dataset
from trace_robot.cli import main
from trace_robot.dataset import DataSet, demonstrate, recording
from trace_robot.dataset.recording import Demonstration, Shard
from trace_robot.env.registry import describe
from trace_robot.errors import RunError
from trace_robot.policy import Policy, load_policy
from trace_robot.rollout.task import labels, spied, stage_names
from trace_robot.spec import Array

# Reaches the goals that are on the right, and keeps still for the others.
HALF = """
CONTROL = "raw"

def act(observation, memory):
    goal = observation["goal_position"]
    memory["stage"] = "go_right" if goal[0] > 0 else "wait"
    if goal[0] <= 0:
        return [0.0, 0.0, 0.0, 0.0]
    return [*(10 * (goal - observation["hand_position"])), 0.0]
"""
PLAIN = HALF.replace('    memory["stage"] = "go_right" if goal[0] > 0 else "wait"\n', "")


def kept(folder: Path) -> list[Shard]:
    return [Shard.from_bytes(file.read_bytes()) for file in sorted((folder / "unfinished").glob("*.npz"))]


def small(
    out: Path,
    policy: str = HALF,
    episodes: int = 4,
    on_progress: Callable[[str, int, int], None] = lambda task, done, tried: None,
) -> DataSet:
    return demonstrate(
        {"reach-v3": Policy.from_text(policy, "half")},
        out,
        to="lerobot",
        episodes=episodes,
        workers=0,
        options={"horizon": 40},
        on_progress=on_progress,
    )


def rows(out: Path) -> dict[str, Array]:
    """Return the columns of all Parquet files of a data set, in their order."""
    parquet = pytest.importorskip("pyarrow.parquet")
    tables = [parquet.read_table(file).to_pydict() for file in sorted(out.glob("data/*/*.parquet"))]
    return {name: np.concatenate([np.array(table[name]) for table in tables]) for name in tables[0]}


def test_failures_are_counted_and_not_kept(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    found = small(tmp_path / "demos")
    (task,) = found.tasks
    assert task.demonstrations == 4
    assert task.failures == task.ended["time"] > 0
    assert task.tried == task.failures + task.ended["success"]
    table = rows(tmp_path / "demos")
    assert table["next.success"].sum() == 4
    goals = table["observation.environment_state"][:, 36]
    assert (goals > 0).all()


def test_a_killed_collection_goes_on_and_ends_as_it_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(recording, "ROUND", 3)
    monkeypatch.setattr(recording, "LEAST", 2)
    whole = small(tmp_path / "whole", episodes=6)
    episodes = 0

    def stop(task: str, done: int, tried: int) -> None:
        nonlocal episodes
        episodes = tried
        if tried >= 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small(tmp_path / "killed", episodes=6, on_progress=stop)
    before = kept(tmp_path / "killed")
    assert sum(shard.tried for shard in before) == 6
    found = small(tmp_path / "killed", episodes=6)
    assert found.restored == sum(len(shard.demonstrations) for shard in before) > 0
    assert found.tasks == whole.tasks
    for name in ("meta/info.json", "meta/stats.json", "data/chunk-000/file-000.parquet"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "killed" / "unfinished").exists()
    assert not list((tmp_path / "killed").glob("*.lock"))
    again = small(tmp_path / "killed", episodes=6, on_progress=stop)  # rolls nothing out
    assert again.tasks == whole.tasks


def test_a_shard_survives_the_disk() -> None:
    each = Demonstration(
        7, np.ones((3, 2)), np.zeros((2, 1), np.float32), np.arange(2.0), ("a", "b"), True, "mass"
    )
    shard = Shard(1, 2, 8, {"success": 1, "time": 7}, 0.0125, (each,))
    back = Shard.from_bytes(shard.to_bytes())
    (there,) = back.demonstrations
    assert (back.name, back.tried, back.ended, back.step_seconds) == ("001-0002", 8, shard.ended, 0.0125)
    assert (there.seed, there.stages, there.recovery, there.world) == (7, ("a", "b"), True, "mass")
    assert there.actions.dtype == np.float32
    assert np.array_equal(there.observations, each.observations)


def test_stages_are_named_after_the_functions_of_the_zoo() -> None:
    policy = load_policy("zoo/pick_place_v3")
    assert stage_names(policy) == ["go above puck", "go to puck", "close gripper", "bring puck to goal"]
    assert spied(policy) is not None
    printed = "".join(f"\x1e{stage}\x1f" for stage in "0012")
    assert labels(printed, 4, ["a", "b", "c"]) == (("a", "a", "b", "c"), False)


def test_a_recovery_is_a_way_back_to_a_stage_that_was_left() -> None:
    def printed(*stages: str) -> str:
        return "".join(f"\x1e{stage}\x1f" for stage in stages)

    assert labels(printed("down", "grasp", "down_now"), 3, ())[0] == ("down", "grasp", "down now")
    assert not labels(printed("down", "grasp", "grasp"), 3, ())[1]
    assert labels(printed("down", "grasp", "down"), 3, ())[1]
    assert labels(printed("5"), 1, ["a"])[0] == ("stage 6",)
    # What the policy itself prints is no stage, and a missing one gives no labels rather than wrong ones.
    assert labels("hello " + printed("0") + "there" + printed("1"), 2, ["a", "b"])[0] == ("a", "b")
    assert labels(printed("0"), 2, ["a"]) == ((), False)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        "def act(observation):\n    return [0.0] * 4\n",
        'act = lambda observation, memory: memory["stage"]\n',
    ],
)
def test_a_policy_without_stages_runs_as_it_is(text: str) -> None:
    assert spied(Policy.from_text(text)) is None


def test_stages_are_labels_as_text_in_both_tables(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    small(tmp_path / "demos")
    table = parquet.read_table(tmp_path / "demos" / "meta" / "subtasks.parquet").to_pydict()
    assert table == {"subtask_index": [0], "__index_level_0__": ["go right"]}
    small(tmp_path / "plain", PLAIN)
    assert not (tmp_path / "plain" / "meta" / "subtasks.parquet").exists()
    assert "subtask_index" not in rows(tmp_path / "plain")


def test_an_episode_without_stages_beside_others_has_the_instruction_as_its_label(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    policies = {"reach-v3": Policy.from_text(HALF), "reach-wall-v3": Policy.from_text(PLAIN)}
    options = {"horizon": 40}
    demonstrate(policies, tmp_path / "demos", to="lerobot", episodes=1, workers=0, options=options)
    names = parquet.read_table(tmp_path / "demos" / "meta" / "subtasks.parquet").to_pydict()[
        "__index_level_0__"
    ]
    assert names == ["go right", describe("reach-wall-v3").instruction]
    table = rows(tmp_path / "demos")
    assert table["subtask_index"].tolist() == table["episode_index"].tolist()


REFUSED = {
    "pick-plce-v3 --to minari": "no environment 'pick-plce-v3'; did you mean 'pick-place-v3'",
    "reach-v3 --to lerobot --policy nosuch": "no policy 'nosuch'",
    "reach-v3 --to lerobot --camera a --size 97": "must be an even number from 64 to 1024, got 97",
    "reach-v3 --to lerobot --camera a --camera a": "cameras must be different names without '/', got 'a', 'a'",
    "reach-v3 --to minari --camera state": "a camera cannot be called 'state'",
    "reach-v3 --to lerobot --policy pick_place": "give a policy with CONTROL = 'raw', or write --to minari",
    "reach-v3 --to lerobot --policy do_nothing --control raw --recoveries": "keeps none in memory['stage']",
    "reach-v3 FetchReach-v4 --to lerobot --policy do_nothing --control raw": (
        "one LeRobot data set wants observations and actions of equal sizes, got (39, 4) of reach-v3"
    ),
    "reach-v3 --to lerobot --policy do_nothing --control raw --episodes 1 --env-arg horizon=5 --workers 0": (
        "no success of reach-v3 in 4 episodes (4 time), so that there is nothing to demonstrate; see: trace-robot"
        " evaluate reach-v3 --policy do_nothing"
    ),
}


@pytest.mark.parametrize("typed", REFUSED)
def test_what_cannot_be_done_is_one_line_and_leaves_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("minari")
    assert main(["demonstrate", *typed.split(), "--out", str(tmp_path / "demos")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert REFUSED[typed] in line
    assert not (tmp_path / "demos").exists()


@pytest.mark.parametrize(("to", "package"), [("lerobot", "pyarrow"), ("minari", "h5py")])
def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], to: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["demonstrate", "reach-v3", "--to", to, "--out", str(tmp_path / "demos")]) == 1
    assert f"pip install 'trace-robot[{to}]'" in capsys.readouterr().err
    assert not (tmp_path / "demos").exists()


def test_a_folder_that_holds_something_else_is_not_written_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["demonstrate", "reach-v3", "--to", "lerobot", "--out", str(tmp_path)]) == 1
    assert (
        "is not empty and holds no data set of this command; choose another --out" in capsys.readouterr().err
    )
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
    small(tmp_path / "demos", episodes=1)
    with pytest.raises(
        RunError, match=r"holds a data set whose episodes differ; choose another --out, or delete it"
    ):
        small(tmp_path / "demos", episodes=2)
    manifest = tmp_path / "demos" / dataset.MANIFEST
    data = json.loads(manifest.read_text())
    assert data["complete"]
    assert data["recipe"]["tasks"]["reach-v3"]["options"] == {"control": "raw", "horizon": 40}
    manifest.write_text("[]")
    with pytest.raises(RunError, match="does not describe a data set; choose another --out"):
        small(tmp_path / "demos", episodes=1)
