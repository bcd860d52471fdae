"""Before and after are shown on one condition, also where the environment draws itself."""

from __future__ import annotations

import re
from pathlib import Path

import imageio.v3 as imageio
import pytest

from trace_robot import History, optimize
from trace_robot.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "cart"
    optimize(
        "CartPole-v1", optimizer="search", out=folder, steps=4000, episodes=4, held_out=2, workers=0, seed=0
    )
    return folder


def test_the_start_is_filmed_on_the_condition_on_which_the_best_is(folder: Path) -> None:
    with History(folder.parent) as history:
        run = history.run(folder.name)
        assert run.best_iteration
        first, best = (history.recording(run, number) for number in (0, run.best_iteration))
        assert first is not None
        assert best is not None
        assert first.seed != best.seed, "nothing to test: both are most telling on one condition"
        (before,) = history.before(run)
        assert before.seed == best.seed
        assert not before.success
        assert history.iterations(run)[0].video is not None
    assert (folder / "before.mp4").is_file()


def test_the_report_and_the_video_show_that_condition_on_both_sides_and_name_what_drew_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(folder), "--out", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "index.html").read_text()
    conditions = re.findall(r"<figcaption>(?:Before|After): iteration \d on condition (\d+); ", page)
    assert len(conditions) == 2
    assert len(set(conditions)) == 1
    assert (tmp_path / "page" / "videos" / "before.mp4").is_file()
    capsys.readouterr()
    assert main(["video", str(folder), "--first-and-best", "--out", "both.mp4"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert re.fullmatch(r"both.mp4: iterations 0, \d+; \d+ frames; drawn by the environment itself", shown)
    assert imageio.improps(tmp_path / "both.mp4").shape[1:] == (360, 960, 3)
    assert main(["video", str(folder), "--contact-sheet", "--out", "sheet.png"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert re.fullmatch(r"sheet.png: iterations 0, 1[\d, ]*; drawn by the environment itself", shown)
    assert imageio.imread(tmp_path / "sheet.png").shape[1] % 480 == 0
