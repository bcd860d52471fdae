"""The command and the page as it is written, without a browser."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shlex
from collections.abc import Callable
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

from trace_robot.cli import main
from trace_robot.cli.arguments import environment_options
from trace_robot.cli.main import create_parser
from trace_robot.env.world import WORLDS
from trace_robot.report import html
from trace_robot.report.write import MOST_FILMS
from trace_robot.store.folder import RunLock
from trace_robot.store.history import History, RunInfo

MakeRun = Callable[..., RunInfo]
PAGE = Path(__file__).parents[2] / "docs" / "report.md"
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.S)
    for line in block.splitlines()
]


class Words(HTMLParser):
    """The text of a page, without its scripts and styles."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.inside = ""
        self.words: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag

    def handle_data(self, data: str) -> None:
        if self.inside not in ("script", "style"):
            self.words += data.split()

    def __str__(self) -> str:
        return " ".join(self.words)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_page_on_reports_does_what_it_says(
    command: str, tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "rollouts" / "runs").mkdir(parents=True)
    make_run(tmp_path / "rollouts" / "runs", "demo", iterations=2)
    arguments = shlex.split(command)[1:]
    options = create_parser().parse_args(arguments)
    if options.command == "watch":  # tests/report/test_watch.py serves
        assert Path(options.runs).name == "runs"
        return
    if options.command == "export" and find_spec(options.to) is None:
        pytest.skip(f"{options.to} is not installed")
    assert main(arguments) == 0
    if options.command == "report":
        assert Path(options.out or "rollouts/runs/demo/report/index.html").stat().st_size > 50_000
    else:
        assert any((tmp_path / "rollouts/runs/demo" / options.to).iterdir())


def test_the_page_says_where_it_ended_what_it_cost_and_how_to_do_it_again(
    tmp_path: Path, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, "demo", iterations=4)
    assert main(["report", str(run.folder), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    text = str(Words(Path(printed["report"])))
    assert "Start 0.00 in training, 5 episodes" in text
    assert "Held out 0.80 10 conditions never trained on; 95 % interval 0.49 to 0.94" in text
    assert "5,000 in prompts, 500 in replies" in text
    assert "Money $0.0150" in text
    assert "mujoco 3.3.0" in text
    command = re.search(r"trace-robot (optimize .*?) A language model", text)
    assert command is not None
    options = create_parser().parse_args(shlex.split(command[1]))
    assert (options.task, options.optimizer, options.iterations, options.held_out) == (
        "point-mass",
        "optoprime",
        4,
        10,
    )


def test_the_command_to_repeat_a_run_has_every_setting_that_is_not_the_usual_one(
    tmp_path: Path, make_run: MakeRun
) -> None:
    given = {
        "workers": 3, "backend": "ray", "address": "auto", "tune": False, "video": False, "trusted": True, "grow": 40,
        "images": True, "memory": 0, "graph": False, "steps": 900, "confirm": 4,
    }  # fmt: skip
    asked = {
        "python": "/my envs/bin/python", "task": "Go; there", "hold": 0.5, "world": list(WORLDS["signals"]),
        "horizon": 20, "flag": "1", "word": "it's",
    }  # fmt: skip
    run = make_run(tmp_path, "demo", given={**given, "options": {**asked, "envelope": {"speed": 0.4}}})
    assert main(["report", str(run.folder), "--quiet"]) == 0
    text = str(Words(run.folder / "report" / "index.html"))
    command, left_out = re.findall(
        r"trace-robot (optimize .*?) (Save options.envelope .*) A language model", text
    )[0]
    (tmp_path / "envelope.json").write_text('{"speed": 0.4}')
    words = [str(tmp_path / word) if word == "envelope.json" else word for word in shlex.split(command)]
    options = create_parser().parse_args(words)
    assert environment_options(options) == {**asked, "envelope": {"speed": 0.4, "lead": 0.05}}
    assert (options.workers, options.backend, options.address, options.grow) == (3, "ray", "auto", 40)
    assert (options.no_tune, options.no_video, options.trust, options.images) == (True, True, True, True)
    assert (options.memory, options.no_graph, options.steps) == (0, True, 900)
    assert "run's settings.json as envelope.json" in left_out
    assert "No option sets confirm=4: trace_robot.optimize in Python does." in left_out


@pytest.mark.parametrize("status", ["stopped", "failed"])
def test_a_run_that_did_not_end_has_a_report_that_says_so(
    tmp_path: Path, make_run: MakeRun, status: str
) -> None:
    run = make_run(tmp_path, iterations=2, status=status)
    assert main(["report", str(run.folder), "--quiet"]) == 0
    text = str(Words(run.folder / "report" / "index.html"))
    assert status in text
    assert "Held out – not known yet" in text


def test_a_run_that_goes_on_has_a_report_too(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path, iterations=2, status="stopped")
    with RunLock(run.folder):
        assert main(["report", str(run.folder), "--quiet"]) == 0
    assert "running" in str(Words(run.folder / "report" / "index.html"))


def test_without_graphviz_the_graph_is_shown_as_text(
    tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    run = make_run(tmp_path, iterations=1)
    assert main(["report", str(run.folder), "--quiet"]) == 0
    text = str(Words(run.folder / "report" / "index.html"))
    assert "#Code" in text
    assert "data:image/svg+xml" not in (run.folder / "report" / "index.html").read_text()


def test_a_second_report_takes_the_place_of_the_first_and_of_nothing_else(
    tmp_path: Path, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, iterations=1)
    assert main(["report", str(run.folder)]) == 0
    assert main(["report", str(run.folder)]) == 0
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("ten years of work")
    capsys.readouterr()
    assert main(["report", str(run.folder), "--out", str(tmp_path / "thesis")]) == 1
    assert "is not a report's folder and is left alone; give another --out" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["thesis.tex"]
    assert main(["report", str(run.folder), "--single-file", "--out", str(tmp_path / "thesis")]) == 1
    assert "is a folder; with --single-file, --out names a file" in capsys.readouterr().err


def test_what_cannot_be_is_one_line(
    tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, "demo", iterations=1)
    assert main(["report", "demi", "--runs", str(tmp_path)]) == 1
    assert "did you mean 'demo'?" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["report", str(run.folder), "--out", str(tmp_path / "file" / "report")]) == 1
    assert re.search(r"cannot write '.*': Not a directory; .*give another --out", capsys.readouterr().err)
    html.plotly_bytes.cache_clear()
    monkeypatch.setattr(html, "find_spec", lambda name: None)
    monkeypatch.setattr(
        html, "PLOTLY", "nothing_of_this_name.js"
    )  # as in a checkout that was never installed
    assert main(["report", str(run.folder)]) == 1
    html.plotly_bytes.cache_clear()
    assert "a report needs plotly: pip install plotly" in capsys.readouterr().err


def test_a_single_file_holds_the_videos_before_and_after_and_says_where_the_others_are(
    tmp_path: Path, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    last = MOST_FILMS + 9
    run = make_run(tmp_path, iterations=last)
    for number in range(last + 1):
        film = run.folder / "iterations" / f"{number:03d}" / "episode.mp4"
        film.parent.mkdir(parents=True)
        film.write_bytes(f"video {number}".encode())
    assert main(["report", str(run.folder), "--single-file", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["videos"] == MOST_FILMS
    page = (run.folder / "report.html").read_text()
    with History(tmp_path) as history:
        best = history.run("run").best_iteration
    assert best is not None
    for number in (0, best):
        assert base64.b64encode(f"video {number}".encode()).decode() in page
    bodies = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])["bodies"]  # type: ignore[index]
    shown = [gzip.decompress(base64.b64decode(bodies[str(number)])).decode() for number in range(last + 1)]
    assert sum("<video" in html for html in shown) == MOST_FILMS
    assert sum("Its video is in the run&#39;s folder." in html for html in shown) == last + 1 - MOST_FILMS


def test_a_video_of_any_size_without_content_is_not_copied(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path, iterations=1)
    film = run.folder / "iterations" / "001" / "episode.mp4"
    film.parent.mkdir(parents=True, exist_ok=True)
    with film.open("wb") as file:
        file.truncate(3 << 30)
    assert main(["report", str(run.folder), "--quiet"]) == 0
    assert not (run.folder / "report" / "videos").exists()


def test_a_video_that_is_a_link_out_of_the_run_is_not_taken_along(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path, iterations=1)
    (tmp_path / "secret").write_text("a key")
    film = run.folder / "iterations" / "001" / "episode.mp4"
    film.parent.mkdir(parents=True)
    film.symlink_to(tmp_path / "secret")
    assert main(["report", str(run.folder), "--quiet"]) == 0
    assert not (run.folder / "report" / "videos").exists()
    assert main(["report", str(run.folder), "--single-file", "--quiet"]) == 0
    assert "data:video" not in (run.folder / "report.html").read_text()
