"""Both formats are read back by their own libraries, and the actions do again what they did."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trace_robot.cli import main
from trace_robot.dataset.lerobot import own_numbers, parts
from trace_robot.env.registry import describe, make
from trace_robot.spec import Array

TASKS = ("pick-place-v3", "drawer-open-v3")
CAMERAS = ("corner2",)
# With every option that changes an episode: worlds draw noise, delays and other physics for each.
TYPED = [*TASKS, "--episodes", "2", "--size", "64", "--worlds", "standard", "--workers", "0", "--json"]

READ = """
import io, json, logging, sys, warnings

log = io.StringIO()
logging.basicConfig(stream=log, level=logging.WARNING)
from lerobot.datasets.lerobot_dataset import LeRobotDataset
warnings.simplefilter("error")
# About lerobot's use of torchvision, whatever it reads.
warnings.filterwarnings("ignore", message="The video decoding and encoding")
data = LeRobotDataset("local/demonstrations", root=sys.argv[1], video_backend="pyav")
items = [data[place] for place in range(len(data))]
print(json.dumps({
    "episodes": data.num_episodes,
    "frames": len(items),
    "tasks": sorted({item["task"] for item in items}),
    "stages": sorted({item["subtask"] for item in items}),
    "shapes": {name: list(value.shape) for name, value in items[0].items() if hasattr(value, "shape")},
    "means": data.meta.stats["action"]["mean"].tolist(),
    "logged": log.getvalue(),
}))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same demonstrations in both formats."""
    for package in ("minari", "h5py", "pyarrow"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("written")
    cameras = [word for camera in CAMERAS for word in ("--camera", camera)]
    for to in ("lerobot", "minari"):
        assert main(["demonstrate", *TYPED, *cameras, "--to", to, "--out", str(folder / to)]) == 0
    return folder


@pytest.fixture
def load(written: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Load a task's data set with minari, as a user does; a warning is an error in these tests."""
    import minari

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(written / "minari"))
    return lambda task: minari.load_dataset(f"{task}/demonstrations-v0")


def tables(written: Path) -> dict[str, Array]:
    import pyarrow.parquet

    files = sorted(written.glob("lerobot/data/*/*.parquet"))
    parts = [pyarrow.parquet.read_table(file).to_pydict() for file in files]
    return {name: np.concatenate([np.array(part[name]) for part in parts]) for name in parts[0]}


@pytest.mark.parametrize("task", TASKS)
def test_minari_reads_it_and_its_actions_give_the_same_successes(
    load: Callable[[str], Any], task: str
) -> None:
    data = load(task)
    env = data.recover_environment()
    episodes = list(data.iterate_episodes())
    about = list(data.storage.get_episode_metadata(range(len(episodes))))
    assert len(episodes) == 2
    for episode, each in zip(episodes, about, strict=True):
        observation, _ = env.reset(seed=each["seed"])
        assert np.array_equal(observation, episode.observations["state"][0])
        for step, action in enumerate(episode.actions):
            observation, reward, terminated, truncated, info = env.step(action)
            assert np.array_equal(observation, episode.observations["state"][step + 1])
            assert (reward, terminated, truncated) == (
                episode.rewards[step],
                episode.terminations[step],
                episode.truncations[step],
            )
        assert info["success"]
        assert episode.infos["success"][-1]
        stages = [stage.decode() for stage in episode.infos["stage"]]
        assert len(stages) == len(episode.actions) + 1
        assert stages[0].startswith("go above")
    env.close()
    assert any(each["world"] for each in about)


def test_minari_lists_the_data_sets_of_the_folder(load: Callable[[str], Any]) -> None:
    import minari

    assert set(minari.list_local_datasets()) == {f"{task}/demonstrations-v0" for task in TASKS}
    assert "puck_position [4:7]" in load(TASKS[0]).storage.metadata["description"]


def test_actions_of_a_lerobot_data_set_give_the_same_successes(written: Path) -> None:
    import pyarrow.parquet

    table = tables(written)
    info = json.loads((written / "lerobot" / "meta" / "info.json").read_text())
    recipe = json.loads((written / "lerobot" / "demonstrations.json").read_text())["recipe"]
    episodes = pyarrow.parquet.read_table(
        written / "lerobot" / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
    )
    rows = episodes.to_pylist()
    assert (
        (info["total_episodes"], info["total_frames"])
        == (len(rows), len(table["index"]))
        == (4, len(table["action"]))
    )
    assert table["index"].tolist() == list(range(info["total_frames"]))
    for number, row in enumerate(rows):
        env = make(TASKS[number // 2], **recipe["tasks"][TASKS[number // 2]]["options"])
        env.reset(seed=row["seed"])
        mine = slice(row["dataset_from_index"], row["dataset_to_index"])
        assert set(table["episode_index"][mine]) == {number}
        infos = [env.step(action)[4] for action in table["action"][mine].astype(np.float32)]
        assert [each["success"] for each in infos] == table["next.success"][mine].tolist()
        assert infos[-1]["success"]
        assert table["timestamp"][mine] == pytest.approx(np.arange(row["length"]) / info["fps"], abs=1e-6)
        env.close()


def test_a_video_has_the_picture_of_each_observation(
    written: Path, load: Callable[[str], Any], frames_of: Callable[[Path], Array]
) -> None:
    table = tables(written)
    videos = sorted((written / "lerobot" / "videos" / "observation.images.corner2").glob("*/*.mp4"))
    frames = np.concatenate([frames_of(video) for video in videos])
    assert frames.shape == (len(table["index"]), 64, 64, 3)
    start = 0
    for task in TASKS:
        for episode in load(task).iterate_episodes():
            count = len(episode.actions)
            pictures = episode.observations["corner2"].astype(int)
            assert len(pictures) == count + 1  # also the one after the last action
            # Both are lossy. A picture of one step earlier or later is further off, over a whole episode.
            own = np.abs(frames[start : start + count] - pictures[:-1]).mean()
            late = np.abs(frames[start : start + count] - pictures[1:]).mean()
            assert own < 10
            assert own < late
            start += count


def test_statistics_are_those_of_the_columns(written: Path) -> None:
    table = tables(written)
    stats = json.loads((written / "lerobot" / "meta" / "stats.json").read_text())
    for name in ("action", "observation.environment_state", "next.reward"):
        values = table[name].reshape(len(table[name]), -1)
        assert stats[name]["mean"] == pytest.approx(values.mean(axis=0), abs=1e-6)
        assert stats[name]["std"] == pytest.approx(values.std(axis=0), abs=1e-6)
        assert stats[name]["max"] == pytest.approx(values.max(axis=0), abs=1e-6)
        assert stats[name]["count"] == [len(values)]
    picture = np.array(stats["observation.images.corner2"]["mean"])
    assert picture.shape == (3, 1, 1)
    assert (picture > 0.2).all()
    assert (picture < 0.8).all()


def test_lerobot_reads_it_without_a_warning(written: Path, tmp_path: Path) -> None:
    """With the lerobot of this interpreter, or that which LEROBOT_PYTHON names; torch comes with it."""
    python = sys.executable if importlib.util.find_spec("lerobot") else os.environ.get("LEROBOT_PYTHON")
    if python is None:
        pytest.skip("lerobot is not installed, and LEROBOT_PYTHON names no interpreter with it")
    done = subprocess.run(
        [python, "-c", READ, str(written / "lerobot")],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    table = tables(written)
    assert (found["episodes"], found["frames"]) == (4, len(table["index"]))
    assert found["tasks"] == sorted(describe(task).instruction for task in TASKS)
    assert {"go above puck", "go to drawer handle"} <= set(found["stages"])
    assert found["shapes"]["observation.state"] == [4]
    assert found["shapes"]["observation.environment_state"] == [39]
    assert found["shapes"]["observation.images.corner2"] == [3, 64, 64]
    assert found["means"] == pytest.approx(table["action"].mean(axis=0), abs=1e-6)
    assert found["logged"] == ""


def test_an_action_of_one_number_is_a_plain_column_as_lerobot_reads_it(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    typed = (
        "CartPole-v1 --task Balance. --env-arg return_threshold=9 --policy balance --camera free --size 64"
    )
    rest = f"--episodes 1 --workers 0 --quiet --to lerobot --out {tmp_path / 'demos'}"
    assert main(["demonstrate", *typed.split(), *rest.split()]) == 0
    (file,) = (tmp_path / "demos").glob("data/*/*.parquet")
    types = {field.name: str(field.type) for field in parquet.read_schema(file)}
    assert types["action"] == types["next.reward"] == "float"
    assert types["observation.state"] == "fixed_size_list<element: float>[4]"
    assert "observation.environment_state" not in types  # no field of it is a robot's own
    info = json.loads((tmp_path / "demos" / "meta" / "info.json").read_text())
    assert info["fps"] == 50
    assert info["features"]["action"]["shape"] == [1]


def test_a_robots_own_numbers_are_found_by_the_words_of_their_fields() -> None:
    assert own_numbers([describe("pick-place-v3"), describe("drawer-open-v3")]) == [
        0,
        1,
        2,
        3,
    ]  # no drawer_handle
    assert own_numbers([describe("CartPole-v1", task="Balance.", return_threshold=1.0)]) is None
    assert parts("hand_position", 3) == ["hand_position.x", "hand_position.y", "hand_position.z"]
    assert parts("joints", 2) == ["joints.0", "joints.1"]
