"""Exports to trackers, read back with each tracker's own reader or client."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio
import numpy as np
import pytest
from numpy.typing import ArrayLike
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from trace_robot.cli import main
from trace_robot.store.history import History, RunInfo

MakeRun = Callable[..., RunInfo]


def events(folder: Path) -> Any:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    reader = accumulator.EventAccumulator(
        str(folder), size_guidance={"scalars": 0, "tensors": 0, "images": 0}
    )
    reader.Reload()
    return reader


@pytest.fixture
def run(tmp_path: Path, make_run: MakeRun, hostile: str) -> RunInfo:
    run = make_run(tmp_path, "demo", iterations=4, candidates=2, text=hostile)
    film = run.folder / "iterations" / "003" / "episode.mp4"
    film.parent.mkdir(parents=True)
    pictures: list[ArrayLike] = [np.full((96, 128, 3), shade, np.uint8) for shade in np.linspace(0, 255, 130)]
    imageio.mimwrite(film, pictures, fps=20, macro_block_size=None)
    return run


def test_event_files_hold_the_runs_numbers_texts_and_videos(
    run: RunInfo, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    for _ in range(2):  # a second time takes the place of the first
        assert main(["export", str(run.folder), "--to", "tensorboard", "--json"]) == 0
        output = json.loads(capsys.readouterr().out)
    assert output["iterations"] == 5
    read = events(Path(output["where"]))
    with History(run.folder.parent) as history:
        iterations = history.iterations(run)
    success = read.Scalars("success/training")
    assert [(event.step, event.value) for event in success] == [
        (each.number, pytest.approx(each.success)) for each in iterations
    ]
    assert success[4].wall_time - success[0].wall_time == pytest.approx(iterations[4].seconds)
    assert [event.value for event in read.Scalars("success/best")] == pytest.approx([0, 0.2, 0.2, 0.8, 1.0])
    assert read.Scalars("spent/tokens")[-1].value == run.tokens
    assert read.Scalars("spent/money")[-1].value == pytest.approx(run.money)
    assert read.Scalars("result/held_out_success")[0].value == pytest.approx(0.8)
    controller = read.Tensors("controller")[3].tensor_proto.string_val[0].decode()
    assert "    def act(observation):\n        return [0.3, 0.6, 0.0, 0.0]" in controller
    assert controller.splitlines() == ["    " + line for line in controller_lines(iterations[3].controller)]
    assert len(read.Tensors("prompt")) == len(read.Tensors("reply")) == 4
    (film,) = read.Images("episode")
    animation = Image.open(io.BytesIO(film.encoded_image_string))
    assert isinstance(animation, GifImageFile)
    assert (film.step, animation.size, film.width) == (3, (128, 96), 128)
    assert animation.n_frames == pytest.approx(130 / 20 * 10, abs=2)


def controller_lines(text: str) -> list[str]:
    return text.encode("utf-8", "backslashreplace").decode().splitlines()


def test_mlflow_takes_the_run(
    run: RunInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["export", str(run.folder), "--to", "mlflow", "--out", str(tmp_path / "ml"), "--quiet"]) == 0
    client = tracking.MlflowClient(tracking_uri=capsys.readouterr().out.strip())
    experiment = client.get_experiment_by_name("point-mass")
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status) == ("demo", "FINISHED")
    history = client.get_metric_history(found.info.run_id, "success/training")
    assert sorted((each.step, each.value) for each in history) == [
        (0, 0.0),
        (1, 0.2),
        (2, 0.0),
        (3, 0.8),
        (4, 1.0),
    ]
    assert found.data.params["held_out"] == "10"
    assert "iterations/003/episode.mp4" in [
        each.path for each in client.list_artifacts(found.info.run_id, "iterations/003")
    ]


def test_weights_and_biases_gets_a_folder_to_upload(
    run: RunInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert main(["export", str(run.folder), "--to", "wandb", "--out", str(tmp_path / "wb"), "--quiet"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert folder.name.startswith("offline-run")
    assert [path.stat().st_size > 1000 for path in folder.glob("run-*.wandb")] == [True]
    pages = [path.read_text() for path in (folder / "files" / "media" / "html").glob("*.html")]
    assert any("return [0.3, 0.6, 0.0, 0.0]" in page for page in pages)
    assert not any("<script>" in page for page in pages)


@pytest.mark.parametrize(
    ("tracker", "module"),
    [("tensorboard", "tensorboard.compat.proto"), ("mlflow", "mlflow.entities"), ("wandb", "wandb")],
)
def test_a_missing_extra_is_one_line_with_the_command(
    run: RunInfo,
    tracker: str,
    module: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["export", str(run.folder), "--to", tracker]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("trace-robot: error: ")
    assert f"pip install 'trace-robot[{tracker}]'" in errors
    assert not (run.folder / tracker).exists()


def test_a_video_that_cannot_be_read_is_left_out(run: RunInfo, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (run.folder / "iterations" / "003" / "episode.mp4").write_bytes(b"half a fi")
    assert (
        main(["export", str(run.folder), "--to", "tensorboard", "--out", str(tmp_path / "tb"), "--quiet"])
        == 0
    )
    assert events(tmp_path / "tb").Tags()["images"] == []


def test_a_link_out_of_the_run_is_no_video(run: RunInfo, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    film = run.folder / "iterations" / "003" / "episode.mp4"
    film.rename(tmp_path / "elsewhere.mp4")
    film.symlink_to(tmp_path / "elsewhere.mp4")
    assert (
        main(["export", str(run.folder), "--to", "tensorboard", "--out", str(tmp_path / "tb"), "--quiet"])
        == 0
    )
    assert events(tmp_path / "tb").Tags()["images"] == []
