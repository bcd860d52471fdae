"""The server of watch: routes, refused hosts and paths, live updates in a browser."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.synthetic import SPEC
from trace_robot.errors import RunError
from trace_robot.report.server import Watch
from trace_robot.safe_files import open_locked
from trace_robot.store import words
from trace_robot.store.folder import LOCK
from trace_robot.store.history import RunInfo

MakeRun = Callable[..., RunInfo]
Look = Callable[..., Any]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Watch]:
    with Watch(tmp_path, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: Watch, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Send a raw request: the path is not normalized, as a browser would."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def test_it_listens_on_the_loopback_address_only(server: Watch) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"


def test_a_folder_without_runs_says_so_and_shows_them_when_they_come(
    server: Watch, tmp_path: Path, make_run: MakeRun
) -> None:
    status, _, body = ask(server, "/")
    assert status == 200
    assert b"There are none yet" in body
    before = ask(server, "/state")[2]
    make_run(tmp_path, "first run", iterations=1)
    assert ask(server, "/state")[2] != before
    assert b'href="/run/first%20run/"' in ask(server, "/")[2]
    assert ask(server, "/run/first%20run/")[0] == 200


def test_a_page_its_iterations_and_its_videos_are_served(
    server: Watch, tmp_path: Path, make_run: MakeRun
) -> None:
    run = make_run(tmp_path, "demo", iterations=2)
    film = run.folder / "iterations" / "001" / "episode.mp4"
    film.parent.mkdir(parents=True)
    film.write_bytes(bytes(range(200)))
    status, headers, body = ask(server, "/run/demo/")
    assert (status, headers["Content-Type"], headers["Cache-Control"]) == (
        200,
        "text/html; charset=utf-8",
        "no-store",
    )
    assert headers["X-Frame-Options"] == "DENY"
    assert b'src="video/1.mp4"' in ask(server, "/run/demo/iteration/1")[2]
    assert b'<tr class="plus"' in ask(server, "/run/demo/iteration/2")[2]
    assert ask(server, "/run/demo/video/1.mp4")[2] == bytes(range(200))
    status, headers, body = ask(server, "/run/demo/video/1.mp4", Range="bytes=10-19")
    assert (status, headers["Content-Range"], body) == (206, "bytes 10-19/200", bytes(range(10, 20)))
    assert ask(server, "/run/demo/video/1.mp4", Range="bytes=190-")[2] == bytes(range(190, 200))
    assert ask(server, "/run/demo/video/1.mp4", Range="bytes=900-1000,5-6")[0] == 200
    assert b"plotly.js v" in ask(server, "/plotly.min.js")[2][:100]
    status, headers, body = ask(server, "/run/demo/", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 1000


@pytest.mark.parametrize(
    "path",
    [
        "/run/other/", "/run/dem/", "/run/demo", "/run/%2e%2e/", "/run/%00/", "/run/../../etc/passwd",
        "/run/..%2f..%2fetc/", "/run/demo/../../runs.sqlite", "/run/demo/settings.json", "/run/demo/iteration/9",
        "/run/demo/iteration/-1", "/run/demo/iteration/%F0%9F%98%80", "/run/demo/iteration/99999999999999999999",
        "/run/demo/video/2.mp4", "/run/demo/video/..%2f..%2fruns.sqlite", "/runs.sqlite", "//etc/passwd",
        "/../../../../etc/passwd",
    ],
)  # fmt: skip
def test_nothing_but_runs_and_their_parts_is_there(
    server: Watch, tmp_path: Path, make_run: MakeRun, path: str
) -> None:
    make_run(tmp_path, "demo", iterations=1)
    status, headers, _ = ask(server, path)
    assert status == 404
    assert headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_link_out_of_the_run_is_not_followed(server: Watch, tmp_path: Path, make_run: MakeRun) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a key")
    run = make_run(tmp_path, "demo", iterations=1)
    film = run.folder / "iterations" / "001" / "episode.mp4"
    film.parent.mkdir(parents=True)
    film.symlink_to(secret)
    assert ask(server, "/run/demo/video/1.mp4")[0] == 404


def test_the_state_counts_the_runs_own_videos_and_follows_no_link(
    server: Watch, tmp_path: Path, make_run: MakeRun
) -> None:
    run = make_run(tmp_path, "demo", iterations=1)
    shutil.rmtree(run.folder / "iterations")
    before = ask(server, "/run/demo/state")[2]
    other = tmp_path / "other" / "001"
    other.mkdir(parents=True)
    (other / "episode.mp4").write_bytes(b"a video")
    (run.folder / "iterations").symlink_to(other.parent)
    assert ask(server, "/run/demo/state")[2] == before
    (run.folder / "iterations").unlink()
    other.parent.rename(run.folder / "iterations")
    assert ask(server, "/run/demo/state")[2] != before


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT"])
def test_no_method_but_reading_is_known_and_words_of_a_page(server: Watch, method: str) -> None:
    assert ask(server, "/", method)[0] == 501
    assert ask(server, "/", "POST")[0] == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "127.0.0.1", "", "localhost.x:{port}"]
)
def test_a_host_of_dns_rebinding_is_refused(server: Watch, host: str) -> None:
    status, _, body = ask(server, "/", Host=host.format(port=server.server_port))
    assert status == 421
    assert b"Runs" not in body
    assert ask(server, "/", Host=f"localhost:{server.server_port}")[0] == 200


def test_a_damaged_store_is_reported_as_text(server: Watch, tmp_path: Path) -> None:
    (tmp_path / "runs.sqlite").write_bytes(b"not a database at all" * 100)
    status, _, body = ask(server, "/")
    assert status == 500
    assert b"is damaged" in body


def test_a_port_that_is_taken_is_one_line(server: Watch, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=rf"cannot serve on port {server.server_port}: .*give another --port"):
        Watch(tmp_path, server.server_port)


def test_a_page_follows_its_run_and_keeps_what_is_open(
    server: Watch, tmp_path: Path, look: Look, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A run in another process, watched in Chromium while it goes on."""
    asked = f"reach-v3 --optimizer cma --policy {policy(tmp_path)} --iterations 25 --episodes 2 --held-out 5"
    command = f"optimize {asked} --workers 1 --no-video --out {tmp_path / 'live'}".split()
    errors = tmp_path / "errors"
    with open(errors, "w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "trace_robot", *command], stdout=subprocess.DEVNULL, stderr=file
        )
    try:
        seen = look(server.url)
        seen.page.get_by_role("link", name="live").click()
        seen.page.wait_for_selector("#iteration-0")
        seen.page.locator("#iteration-0 > summary").click()
        seen.page.locator("#iteration-0 .code").first.wait_for()
        seen.page.evaluate("window.mark = 'the page was not loaded again'")
        first = seen.page.locator("[id^=iteration-]").count()
        for _ in range(2400):
            if seen.page.locator(".pill").text_content() == "finished":
                break
            seen.page.wait_for_timeout(100)
        assert process.wait(120) == 0, errors.read_text()
        seen.page.wait_for_selector(".pill.finished")
        assert seen.page.evaluate("window.mark") == "the page was not loaded again"
        result = json.loads((tmp_path / "live" / "result.json").read_text())
        assert seen.page.locator("[id^=iteration-]").count() == result["iterations"] + 1 >= first
        assert seen.page.locator("#iteration-0 .code").first.is_visible()
        assert f"{result['held_out_success']:.2f}" in seen.page.locator("#result .way").inner_text()
        # A plot is drawn where it is in sight, after the page has changed, on a busy machine some time after.
        seen.page.locator("[data-figure=success]").scroll_into_view_if_needed()
        points = "document.querySelector('[data-figure=success]').data?.[2]?.y.length"
        # Asked from here: a function that waits in the page is evaluated there, which its policy forbids.
        for _ in range(3000):
            if seen.page.evaluate(points) == result["iterations"] + 1:
                break
            seen.page.wait_for_timeout(100)
        assert seen.page.evaluate(points) == result["iterations"] + 1
        assert (seen.errors, seen.left_the_machine) == ([], [])
    finally:
        process.kill()
        process.wait()


def policy(folder: Path) -> Path:
    path = folder / "reach.py"
    path.write_text(
        '"""Reach, slowly."""\n\nfrom trace_robot import Bounds, bundle, node\n\nCONTROL = "raw"\n\n'
        'gain = node(0.2, name="gain", trainable=True, constraint=Bounds(0, 20))\n\n\n'
        "@bundle(trainable=True)\ndef act(observation, memory):\n"
        '    error = observation["goal_position"] - observation["hand_position"]\n'
        "    return [*(gain.data * error), 0.0]\n"
    )
    return path


def test_the_command_serves_until_ctrl_c_and_the_page_says_that_it_ended(
    tmp_path: Path, make_run: MakeRun, look: Look
) -> None:
    make_run(tmp_path, "demo", iterations=1)
    command = [sys.executable, "-u", "-m", "trace_robot", "watch", str(tmp_path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        assert address is not None
        seen = look(f"{address[0]}run/demo/")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
    finally:
        process.kill()
        process.communicate()
    seen.page.get_by_text("The server does not answer").wait_for()


def test_strangers_texts_run_nowhere_in_the_served_page(
    server: Watch, tmp_path: Path, make_run: MakeRun, look: Look, hostile: str
) -> None:
    name = "a <b>'\"&#? 100%"
    make_run(tmp_path, name, iterations=2, text=hostile, task="<script>document.title='RUN'</script>")
    seen = look(server.url)
    seen.page.get_by_role("link", name=name).click()
    seen.page.locator("#iteration-1 > summary").click()
    seen.page.locator("#iteration-1 .code").first.wait_for()
    seen.page.wait_for_timeout(1500)  # once round the loop that follows
    assert seen.page.title() == f"<script>document.title='RUN'</script> · {name}"
    assert (seen.dialogs, seen.errors, seen.left_the_machine) == ([], [], [])
    assert seen.page.locator("main script, main iframe, main img[onerror]").count() == 0


def names_shown(seen: Any) -> list[str]:
    return list(seen.page.locator("table.runs tbody tr:visible td a").all_text_contents())


def test_runs_are_sorted_and_filtered_and_a_failed_one_looks_unlike_a_finished_one(
    server: Watch, tmp_path: Path, make_run: MakeRun, look: Look
) -> None:
    make_run(tmp_path, "a-long-run", iterations=4)
    make_run(tmp_path, "b-broken", iterations=1, status="failed", task="other-task")
    make_run(tmp_path, "c-walk", iterations=2, optimizer="cma", spec=replace(SPEC, success=""))
    (tmp_path / "a-long-run" / "tags.txt").write_text("for-the-paper\n")
    seen = look(server.url)
    assert names_shown(seen) == ["c-walk", "b-broken", "a-long-run"]  # the latest first
    seen.page.get_by_role("button", name="run", exact=True).click()
    assert names_shown(seen) == ["a-long-run", "b-broken", "c-walk"]
    seen.page.get_by_role("button", name="tried").click()
    assert names_shown(seen) == ["a-long-run", "c-walk", "b-broken"]
    seen.page.get_by_role("button", name="tried").click()
    assert names_shown(seen) == ["b-broken", "c-walk", "a-long-run"]
    for typed, left in (
        ("FAILED", ["b-broken"]),
        ("point cma", ["c-walk"]),
        ("paper", ["a-long-run"]),
        ("x y", []),
    ):
        seen.page.fill("#filter", typed)
        assert names_shown(seen) == left
        assert seen.page.locator("#shown").inner_text() == f"{len(left)} of 3 runs"
    make_run(tmp_path, "d-cma", optimizer="cma")
    seen.page.fill("#filter", "cma")
    seen.page.locator(
        "tr[data-run=d-cma][data-state=finished]"
    ).wait_for()  # it came while the page was open, and the filter stays
    assert names_shown(seen) == ["c-walk", "d-cma"]
    seen.page.fill("#filter", "")
    failed, finished = (seen.page.locator(f".pill.{state}").first for state in ("failed", "finished"))
    colors = [each.evaluate("each => getComputedStyle(each).color") for each in (failed, finished)]
    assert colors[0] != colors[1]
    assert "the model is not there" in (failed.get_attribute("title") or "")
    assert "return" in seen.page.locator("tr[data-run=c-walk]").inner_text()
    assert "the model is not there" in seen.page.locator("tr[data-run=b-broken]").inner_text()
    assert (seen.errors, seen.left_the_machine) == ([], [])


def test_runs_sorted_by_a_score_have_rates_before_returns_and_what_is_not_known_last(
    server: Watch, tmp_path: Path, make_run: MakeRun, look: Look
) -> None:
    make_run(tmp_path, "walk", iterations=2, spec=replace(SPEC, success=""))  # its returns are below zero
    make_run(tmp_path, "reach", iterations=1)
    make_run(tmp_path, "broken", iterations=1, status="failed")
    seen = look(server.url)
    for _ in range(2):  # the largest first, then the smallest
        seen.page.get_by_role("button", name="held out").click()
        assert names_shown(seen) == ["reach", "walk", "broken"]
    head = seen.page.locator("th", has=seen.page.get_by_role("button", name="held out"))
    assert head.get_attribute("aria-sort") == "ascending"


@pytest.mark.parametrize("width", [390, 820])
def test_state_and_result_of_a_run_are_in_sight_on_a_phone_and_a_tablet(
    server: Watch, tmp_path: Path, make_run: MakeRun, look: Look, width: int
) -> None:
    make_run(tmp_path, "W" * 60, task="dm_control/manipulator-bring_ball-v0")
    make_run(tmp_path, "walk", spec=replace(SPEC, success=""))
    seen = look(server.url, width=width)
    assert seen.page.evaluate("document.documentElement.scrollWidth") == width
    for part in ("[data-label='held out']", ".pill", "td.name a", "input[name=run]"):
        boxes = [each.bounding_box() for each in seen.page.locator(f"table.runs tbody {part}").all()]
        assert len(boxes) >= 2
        assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes), part


def test_the_table_of_runs_fits_the_width_of_a_laptop(
    server: Watch, tmp_path: Path, make_run: MakeRun, look: Look
) -> None:
    """The longest names of the built-in tasks, and scores of both kinds."""
    task = "dm_control/manipulator-bring_ball-v0"
    spec = replace(SPEC, return_threshold=4800.0)
    make_run(tmp_path, "dm_control_manipulator-bring_ball-v0-20261127-175342", task=task, spec=spec)
    make_run(tmp_path, "reach")
    seen = look(server.url)
    widths = "[document.querySelector('.scroll').scrollWidth, document.querySelector('.scroll').clientWidth]"
    inside, room = seen.page.evaluate(widths)
    assert inside <= room
    assert "optimizer" in seen.page.locator("table.runs thead").inner_text()


def test_chosen_runs_are_drawn_in_one_plot(
    server: Watch, tmp_path: Path, make_run: MakeRun, look: Look
) -> None:
    make_run(tmp_path, "one", iterations=3)
    make_run(tmp_path, "two-b", iterations=6)
    seen = look(server.url)
    assert not seen.page.locator("#overlay").is_visible()
    assert not any(url.endswith("plotly.min.js") for url in seen.requests)
    for name in ("one", "two-b"):
        seen.page.check(f"input[value={name}]")
    box = seen.page.locator("[data-figure=success]")
    box.scroll_into_view_if_needed()
    read = "document.querySelector('[data-figure=success]').data?.map(each => [each.name, each.x.length])"
    for _ in range(600):
        if (drawn := seen.page.evaluate(read)) and len(drawn) == 2:
            break
        seen.page.wait_for_timeout(100)
    assert sorted(drawn) == [["one", 4], ["two-b", 7]]
    colors = seen.page.evaluate(
        "document.querySelector('[data-figure=success]').data.map(each => each.line.color)"
    )
    assert len(set(colors)) == 2
    best = seen.page.evaluate("document.querySelector('[data-figure=success]').data.map(each => each.y)")
    assert all(list(each) == sorted(each) for each in best)
    seen.page.locator("#overlay").get_by_label("simulator steps").check()
    for _ in range(600):
        if (
            seen.page.evaluate("document.querySelector('[data-figure=success] .xtitle').textContent")
            == "simulator steps"
        ):
            break
        seen.page.wait_for_timeout(100)
    for name in ("one", "two-b"):
        seen.page.uncheck(f"input[value={name}]")
    seen.page.locator("#overlay").wait_for(state="hidden")
    assert (seen.errors, seen.left_the_machine) == ([], [])


def test_curves_of_many_runs_leave_room_for_the_plot_and_every_run_has_a_key(
    server: Watch, tmp_path: Path, make_run: MakeRun, look: Look
) -> None:
    names = [f"run-{number:02d}-{'long-' * 8}" for number in range(14)]
    for name in [*names, "<img src=x onerror=alert(1)>"]:
        make_run(tmp_path, name, iterations=1)
    seen = look(server.url)
    for box in seen.page.locator("input[name=run]").all():
        box.check()
    link = seen.page.get_by_role("link", name="curves of 15 chosen")
    assert link.bounding_box()["y"] < 100  # in sight although the list was scrolled through
    link.click()
    seen.page.locator("[data-figure=success]").scroll_into_view_if_needed()
    seen.page.locator("[data-figure=success] .scatterlayer .trace").first.wait_for(state="attached")
    inside = "document.querySelector('[data-figure=success] .nsewdrag').getBoundingClientRect().height"
    assert seen.page.evaluate(inside) > 120
    assert seen.page.locator("[data-figure=success] .legend").count() == 0
    keys = seen.page.locator("#keys li")
    assert sorted(keys.all_inner_texts()) == sorted([*names, "<img src=x onerror=alert(1)>"])
    looks = keys.locator("path").evaluate_all(
        "all => all.map(each => each.getAttribute('stroke') + each.getAttribute('stroke-dasharray'))"
    )
    assert len(set(looks)) == 15
    seen.page.get_by_role("button", name="choose none").click()
    seen.page.locator("#overlay").wait_for(state="hidden")
    assert (seen.dialogs, seen.errors, seen.left_the_machine) == ([], [], [])


AT_ONCE = """
import sys, threading
from pathlib import Path
from trace_robot.report.server import Site
site, statuses = Site(Path(sys.argv[1])), []
together = threading.Barrier(8)
def ask(number):
    together.wait()
    statuses.append(site.answer(f"/run/demo/iteration/{number % 4}").status)
threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert statuses == [200] * 8, statuses
"""


def test_the_first_requests_of_a_server_are_answered_although_they_come_at_once(
    tmp_path: Path, make_run: MakeRun
) -> None:
    make_run(tmp_path, "demo")
    for _ in range(3):
        subprocess.run([sys.executable, "-c", AT_ONCE, str(tmp_path)], check=True)


def test_a_row_that_could_not_be_read_says_so_and_is_read_when_it_is_opened_again(
    server: Watch, tmp_path: Path, make_run: MakeRun, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path, "demo")
    seen = look(f"{server.url}run/demo/")

    def broken(*_: Any) -> str:
        raise ImportError("<b>no</b> lexer")

    row, summary = seen.page.locator("#iteration-2"), seen.page.locator("#iteration-2 > summary")
    with monkeypatch.context() as patched:
        patched.setattr("trace_robot.report.server.iteration_html", broken)
        summary.click()
        row.get_by_text("This cannot be shown now").wait_for()
    assert "ImportError: <b>no</b> lexer" in row.inner_text()
    summary.click()
    summary.click()
    row.locator(".code").first.wait_for()
    assert row.get_by_text("This cannot be shown now").count() == 0


# What a person types for a running run.


@pytest.fixture
def listening(tmp_path: Path, make_run: MakeRun) -> Iterator[RunInfo]:
    """A run whose process lives, by its lock, and which reads what is typed."""
    run = make_run(tmp_path, "demo", iterations=2, status="stopped")
    lock = open_locked(run.folder, LOCK)
    assert lock is not None
    words.offer(run.folder)
    yield run
    os.close(lock)


def send(
    server: Watch, body: bytes | None = None, path: str = "/run/demo/words", **changes: str | None
) -> Any:
    own = f"http://127.0.0.1:{server.server_port}"
    sent = {"Origin": own, "X-Token": server.token, "Content-Type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in changes.items()}  # type: ignore[misc]
    body = json.dumps({"words": "come from above"}).encode() if body is None else body
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    try:
        headers = {name: value for name, value in sent.items() if value is not None}
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_words_for_a_running_run_are_taken_from_its_own_page_alone(server: Watch, listening: RunInfo) -> None:
    port = server.server_port
    refused = {
        403: (
            {"Origin": "http://evil.example"},
            {"Origin": f"http://127.0.0.1:{port + 1}"},
            {"Origin": "null"},
            {"Origin": None},
            {"Sec_Fetch_Site": "cross-site"},
            {"X_Token": "guess"},
            {"X_Token": None},
            {"X_Token": "\xfc"},
        ),
        404: ({"path": "/"}, {"path": "/run/demo/"}, {"path": "/run/other/words"}, {"path": "/run/../words"}),
        415: ({"Content_Type": "text/plain"}, {"Content_Type": None}),
        421: ({"Host": "evil.example"},),
        413: ({"body": b"x" * 9_000},),
        400: (
            {"body": b"{"},
            {"body": b'{"words": 3}'},
            {"body": b'"words"'},
            {"body": b'{"words": " \\n"}'},
        ),
    }
    for status, every in refused.items():
        for each in every:
            assert send(server, **each)[0] == status, each
    assert words.typed(listening.folder) == []
    text = json.dumps({"words": "it pushes\n too <b>hard</b>\x1b[31m " + "x" * 500}).encode()
    status, answer = send(server, text)
    assert status == 200
    (line,) = words.typed(listening.folder)
    assert line.startswith("it pushes too <b>hard</b> [31m xxx")
    assert len(line) == words.LONGEST
    assert answer == f"Sent: {line}"


def test_a_run_that_reads_no_words_or_has_ended_has_no_form_and_takes_none(
    server: Watch, listening: RunInfo, tmp_path: Path, make_run: MakeRun
) -> None:
    assert b'id="words-form"' in ask(server, "/run/demo/")[2]
    make_run(tmp_path, "ended", iterations=1)
    words.offer(tmp_path / "ended")
    assert b'id="words-form"' not in ask(server, "/run/ended/")[2]
    assert send(server, path="/run/ended/words") == (
        409,
        "this run takes no words; begin one with --ask-page",
    )
    (tmp_path / "secret").write_text("mine\n")
    (listening.folder / words.FILE).unlink()
    (listening.folder / words.FILE).symlink_to(tmp_path / "secret")
    assert b"mine" not in ask(server, "/run/demo/")[2]
    assert send(server)[0] == 409
    assert (tmp_path / "secret").read_text() == "mine\n"


def test_a_run_takes_a_bounded_number_of_words(server: Watch, listening: RunInfo) -> None:
    (listening.folder / words.FILE).write_text("slower\n" * 10_000)
    assert send(server) == (400, "this run has 64,000 bytes of sentences already, and takes no more")


def test_what_a_person_types_on_the_page_is_shown_escaped_and_kept_while_the_page_follows(
    server: Watch, listening: RunInfo, look: Look
) -> None:
    seen = look(f"{server.url}run/demo/")
    box = seen.page.get_by_label("A sentence on what the robot does")
    box.fill("<img src=x onerror=alert(1)> too fast")
    seen.page.get_by_role("button", name="Send").click()
    seen.page.get_by_text("Sent: <img src=x onerror=alert(1)> too fast").wait_for()
    assert box.input_value() == ""
    box.fill("half a sen")
    seen.page.locator(".words li").first.wait_for()  # the page has followed
    assert seen.page.locator(".words li").text_content() == "<img src=x onerror=alert(1)> too fast"
    assert box.input_value() == "half a sen"
    assert words.typed(listening.folder) == ["<img src=x onerror=alert(1)> too fast"]
    assert (seen.dialogs, seen.errors, seen.left_the_machine) == ([], [], [])
