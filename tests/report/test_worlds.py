"""The section on other worlds: stress.json of a run's folder, which may be a stranger's."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trace_robot.report.server import Site
from trace_robot.report.worlds import (
    MOST_CHARACTERS,
    MOST_EPISODES,
    MOST_FAILURES,
    MOST_STRESS,
    MOST_WORLDS,
)
from trace_robot.report.write import write_report
from trace_robot.store.history import History, RunInfo

MakeRun = Callable[..., RunInfo]
Look = Callable[..., Any]


def failure(seed: int, **changed: Any) -> dict[str, Any]:
    return {"seed": seed, "ended": "time", "steps": 500, "world": "", "fault": "", **changed}


def world(name: str, success: float, failures: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    typical = f"condition {failures[0]['seed']}: time ran out" if failures else ""
    measures = {"quality_success_seconds": 0.8125, "quality_peak_force": 1234.5, "quality_jerk": None}
    shown = {"episodes": 10, "measures": measures, "typical_failure": typical}
    return {"name": name, "success": success, "failures": failures, **shown, **more}


def stressed() -> dict[str, Any]:
    """What ``stress RUN`` writes, of four worlds."""
    late = [
        failure(50_000, world="actions 100 ms late"),
        failure(50_003, ended="error", fault="ValueError: no"),
    ]
    rows = [
        world("nominal", 1.0, []),
        world("late", 0.8, late, video="stress/01.mp4"),
        {"name": "heavy", "left_out": "it shows no MuJoCo model"},
        world("stays", 0.3, [failure(50_000 + number) for number in range(7)]),
    ]
    return {"battery": "standard-1", "seed": 0, "control": "raw", "rows": rows}


def put(run: RunInfo, data: Any) -> None:
    (run.folder / "stress.json").write_text(data if isinstance(data, str) else json.dumps(data))


def page(run: RunInfo) -> str:
    """Return the page's section on other worlds, "" where it has none."""
    with History(run.folder.parent) as history:
        text = write_report(history, history.run(run.name)).path.read_text()
    assert ('href="#worlds"' in text) == ('<section id="worlds"' in text)
    section = re.search(r'<section id="worlds".*?</section>', text, re.DOTALL)
    return section[0] if section else ""


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


@pytest.fixture
def run(tmp_path: Path, make_run: MakeRun) -> RunInfo:
    return make_run(tmp_path, "demo", iterations=2)


def test_without_the_file_there_is_no_section(run: RunInfo) -> None:
    assert page(run) == ""


def test_the_worst_world_is_first_then_every_world_then_how_it_fails(run: RunInfo) -> None:
    put(run, stressed())
    section = page(run)
    text = words(section)
    assert text.startswith("In other worlds Worst of 3 worlds: “stays” with success 0.30; the mean is 0.70.")
    assert "Battery standard-1 on held-out conditions, seed 0, control raw." in text
    assert "time to success (s) peak contact force (N)" in text
    assert "jerk" not in text  # measured in no world
    assert "late 0.80 of 10, 0.49 to 0.94 0.812 1,234" in text
    assert "heavy it shows no MuJoCo model" in text
    # The worst first, and open; what did not fail is not there.
    assert re.findall(r'<span class="what">(\w+)', section) == ["stays", "late"]
    assert section.count("<details open>") == 1
    assert "50000 time ran out after 500 simulator steps actions 100 ms late" in text
    assert "50003 error: ValueError: no after 500 simulator steps –" in text
    assert '<rect x="0" y="4" width="80.0"' in section  # the bar of "late"
    assert "<video" not in section  # there is no such file


def test_a_controller_that_never_failed_has_no_list_of_failures(run: RunInfo) -> None:
    put(run, {**stressed(), "rows": [world("nominal", 1.0, [])]})
    text = words(page(run))
    assert "It succeeded in every episode of 1 world." in text
    assert "How it fails" not in text


def test_the_page_says_when_another_controller_has_become_the_best(run: RunInfo) -> None:
    with History(run.folder.parent) as history:
        start, *_, best = [each for each in history.iterations(run) if each.better]
    put(run, {**stressed(), "iteration": best.number, "controller_sha256": best.digest})
    assert f"Measured with the controller of iteration {best.number}. World" in words(page(run))
    put(run, {**stressed(), "iteration": start.number, "controller_sha256": start.digest})
    other = f"; the best is another one now, that of iteration {best.number}. World"
    assert f"Measured with the controller of iteration {start.number}{other}" in words(page(run))


def test_of_many_failures_the_first_are_listed_and_the_rest_counted(run: RunInfo) -> None:
    many = [failure(50_000 + number) for number in range(MOST_FAILURES + 5)]
    put(run, {**stressed(), "rows": [world("late", 0.0, many, episodes=len(many))]})
    section = page(run)
    assert section.count("time ran out after") == MOST_FAILURES
    assert "5 more are in stress.json." in section


def changed(where: str, value: Any) -> dict[str, Any]:
    """Return the file with one value changed, by a path such as "rows.1.success"."""
    data: Any = stressed()
    *places, last = where.split(".")
    inner = data
    for place in places:
        inner = inner[int(place) if isinstance(inner, list) else place]
    inner[int(last) if isinstance(inner, list) else last] = value
    return data  # type: ignore[no-any-return]


ODD: dict[str, Any] = {
    "empty": "",
    "no JSON": "{",
    "no object": [1],
    "text": '"rows"',
    "deep": "[" * 50_000 + "]" * 50_000,
    "deep inside": changed("rows.0.failures", json.loads("[" * 200 + "]" * 200)),
    "huge": " " * (MOST_STRESS + 1),
    "no rows": changed("rows", []),
    "rows of text": changed("rows", "nominal"),
    "many rows": changed("rows", [world("nominal", 1.0, [])] * (MOST_WORLDS + 1)),
    "a row of text": changed("rows.0", "nominal"),
    "nothing measured": changed("rows", [{"name": "heavy", "left_out": "no"}]),
    "NaN": changed("rows.0.success", float("nan")),
    "infinite": changed("rows.1.measures.quality_peak_force", float("inf")),
    "NaN as a median": changed("rows.1.measures.quality_peak_force", float("nan")),
    "a median of text": changed("rows.1.measures.quality_peak_force", "much"),
    "a huge median": changed("rows.1.measures.quality_peak_force", 10**400),
    "medians in a list": changed("rows.1.measures", [1, 2]),
    "success of 7": changed("rows.1.success", 7),
    "success of truth": changed("rows.1.success", True),
    "success of text": changed("rows.1.success", "1.0"),
    "no episodes": changed("rows.1.episodes", 0),
    "more episodes than can be": changed("rows.0", world("nominal", 1.0, [], episodes=MOST_EPISODES + 1)),
    "fewer failures than success says": changed("rows.1.success", 0.5),
    "more failures than success says": changed("rows.1.success", 1.0),
    "failures left out": changed("rows.3.failures", []),
    "half an episode": changed("rows.1.episodes", 0.5),
    "a name of numbers": changed("rows.1.name", 7),
    "a reason that is none": changed("rows.2.left_out", None),
    "failures of text": changed("rows.1.failures", "many"),
    "a failure of text": changed("rows.1.failures.0", "late"),
    "a seed of text": changed("rows.1.failures.0.seed", "x"),
    "steps below 0": changed("rows.1.failures.0.steps", -1),
    "another end": changed("rows.1.failures.0.ended", "<b>"),
    "a battery in a list": changed("battery", ["standard-1"]),
    "an iteration of text": {**stressed(), "iteration": "x", "controller_sha256": "y"},
    "a digest of numbers": {**stressed(), "iteration": 1, "controller_sha256": 7},
    "no UTF-8": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_file_is_one_line_in_the_place_of_the_section(case: str, run: RunInfo) -> None:
    value = ODD[case]
    if isinstance(value, bytes):
        (run.folder / "stress.json").write_bytes(value)
    else:
        put(run, value)
    text = words(page(run))
    assert re.match(r"In other worlds stress\.json of this run cannot be read.{5,300}$", text), text[:500]


def test_a_link_a_pipe_and_a_folder_are_one_line_too(run: RunInfo, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(json.dumps(stressed()))
    path = run.folder / "stress.json"
    path.symlink_to(tmp_path / "secret")
    assert words(page(run)).endswith("cannot be read: it is a symbolic link and is not followed")
    path.unlink()
    os.mkfifo(path)
    assert words(page(run)).endswith("cannot be read: it is not a regular file")
    path.unlink()
    path.mkdir()
    assert words(page(run)).endswith("cannot be read: it is not a regular file")


def test_a_video_is_a_regular_file_of_its_world_and_no_other(run: RunInfo, tmp_path: Path) -> None:
    put(run, stressed())
    film = run.folder / "stress" / "01.mp4"
    film.parent.mkdir()
    film.write_bytes(b"film")
    assert 'src="videos/stress-01.mp4"' in page(run)
    assert (run.folder / "report" / "videos" / "stress-01.mp4").read_bytes() == b"film"
    (run.folder / "stress" / "03.mp4").write_bytes(b"of an earlier battery")
    assert page(run).count("<video") == 1
    for odd in ("../secret", "/etc/passwd", "stress/../../secret", "stress/03.mp4", 1, ["stress/01.mp4"]):
        put(run, changed("rows.1.video", odd))
        assert "<video" not in page(run)
    put(run, stressed())
    (tmp_path / "secret").write_text("a key")
    film.unlink()
    film.symlink_to(tmp_path / "secret")
    assert "<video" not in page(run)
    film.unlink()
    os.mkfifo(film)
    assert "<video" not in page(run)


def test_the_server_shows_the_section_its_videos_and_that_it_changed(run: RunInfo, tmp_path: Path) -> None:
    site = Site(tmp_path)
    before = site.answer("/run/demo/state").content
    put(run, stressed())
    film = run.folder / "stress" / "01.mp4"
    film.parent.mkdir()
    film.write_bytes(b"film")
    assert site.answer("/run/demo/state").content != before
    assert b'src="stress/1.mp4"' in site.answer("/run/demo/").content
    answer = site.answer("/run/demo/stress/1.mp4")
    assert answer.file is not None
    with answer.file as file:
        assert file.read() == b"film"
    (tmp_path / "secret").write_text("a key")
    (run.folder / "stress" / "02.mp4").symlink_to(tmp_path / "secret")
    for path in ("2.mp4", "3.mp4", "1000.mp4", "..%2f01.mp4", "01", ""):
        assert site.answer(f"/run/demo/stress/{path}").status == 404, path


@pytest.mark.parametrize("width", [1280, 390])
def test_hostile_names_are_shown_and_run_nowhere(run: RunInfo, look: Look, hostile: str, width: int) -> None:
    data = changed("rows.1.name", hostile)
    data["battery"] = data["control"] = hostile
    data["rows"][1]["failures"][0] |= {"world": hostile, "fault": hostile}
    data["rows"][1]["typical_failure"] = data["rows"][2]["left_out"] = hostile
    data["rows"][3]["name"] = "W" * 3000
    put(run, data)
    film = run.folder / "stress" / "01.mp4"
    film.parent.mkdir()
    film.write_bytes(b"no film")
    assert "W" * MOST_CHARACTERS not in page(run)
    seen = look((run.folder / "report" / "index.html").resolve().as_uri(), width=width)
    seen.page.locator("#worlds summary").nth(1).click()
    seen.page.locator("#worlds video").wait_for()
    seen.page.wait_for_timeout(300)
    assert seen.page.title() == "point-mass · demo"
    assert (seen.dialogs, seen.errors, seen.left_the_machine) == ([], [], [])
    injected = "script, iframe, img, svg[onload], a"
    assert seen.page.locator("#worlds").locator(injected).count() == 0
    name = seen.page.locator("#worlds tbody th").nth(1).inner_text()
    assert "</script><script>document.title='RUN'</script>" in name
    assert seen.page.evaluate("document.documentElement.scrollWidth") == width
