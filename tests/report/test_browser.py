"""The report in Chromium: from disk, by keyboard, dark, with hostile texts (XSS)."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import imageio
import numpy as np
import pytest
from numpy.typing import ArrayLike

from helpers.synthetic import SPEC
from trace_robot.report.escape import visible
from trace_robot.report.write import INLINE, write_report
from trace_robot.stats import three_digits
from trace_robot.store.history import History, RunInfo

MakeRun = Callable[..., RunInfo]
Look = Callable[..., Any]  # conftest's look, which returns its Seen
POINTS = ".main .scatterlayer .points path"


def film(run: RunInfo, iteration: int) -> Path:
    """Put a video of two seconds where the run's renderer would."""
    path = run.folder / "iterations" / f"{iteration:03d}" / "episode.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures: list[ArrayLike] = [np.full((120, 160, 3), shade, np.uint8) for shade in np.linspace(0, 255, 40)]
    imageio.mimwrite(path, pictures, fps=20, macro_block_size=None)
    return path


def report(run: RunInfo, out: Path | None = None, *, single: bool = False) -> str:
    with History(run.folder.parent) as history:
        return write_report(history, history.run(run.name), out, single=single).path.resolve().as_uri()


def until(seen: Any, condition: str) -> None:
    """Wait for a JavaScript expression to become true.

    Playwright's wait_for_function needs eval, which the page's CSP forbids.
    """
    for _ in range(6000):
        if seen.page.evaluate(condition):
            return
        seen.page.wait_for_timeout(50)
    raise AssertionError(f"not within five minutes: {condition}")


def scroll_through(seen: Any) -> None:
    """Bring everything into view once, as a reader does."""
    height = seen.page.evaluate("document.documentElement.scrollHeight")
    for top in range(0, height + 1, 400):
        seen.page.evaluate(f"scrollTo(0, {top})")
        seen.page.wait_for_timeout(30)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, make_run: MakeRun) -> RunInfo:
    folder = tmp_path_factory.mktemp("runs")
    made = make_run(folder, "demo", iterations=6, candidates=3)
    film(made, 0)
    film(made, 6)
    return made


@pytest.mark.parametrize("single", [False, True], ids=["folder", "single file"])
def test_the_curves_are_drawn_from_disk_and_nothing_else_is_loaded(
    run: RunInfo, look: Look, single: bool
) -> None:
    seen = look(report(run, single=single))
    seen.page.wait_for_selector(POINTS)
    scroll_through(seen)
    until(seen, "document.querySelectorAll('.js-plotly-plot').length === 8")
    assert seen.page.locator(POINTS).count() == 7 + 3 * 7  # an iteration each, and every candidate
    assert seen.page.locator(".main .fills path").count() == 1  # the band
    seen.page.wait_for_selector("[data-path=space] canvas")
    assert (seen.errors, seen.left_the_machine) == ([], [])
    files = {url.rpartition("/")[2] for url in seen.requests if url.startswith("file:")}
    assert files == ({"report.html"} if single else {"index.html", "plotly.min.js", "000.mp4", "006.mp4"})


def test_another_axis_moves_the_points_of_every_curve(run: RunInfo, look: Look) -> None:
    seen = look(report(run))
    seen.page.wait_for_selector(POINTS)
    assert seen.page.locator(".main .xtitle").text_content() == "iteration"
    seen.page.get_by_label("simulator steps").check()
    until(seen, "document.querySelector('.main .xtitle').textContent === 'simulator steps'")
    x = seen.page.evaluate("document.querySelector('[data-figure=success]').data[2].x")
    with History(run.folder.parent) as history:
        assert x == [each.environment_steps for each in history.iterations(run)]


@pytest.mark.parametrize("single", [False, True], ids=["folder", "single file"])
def test_the_videos_play(run: RunInfo, look: Look, single: bool) -> None:
    seen = look(report(run, single=single))
    videos = seen.page.locator(".films video")
    assert videos.count() == 2
    videos.nth(1).evaluate("video => video.play()")
    until(seen, "document.querySelectorAll('.films video')[1].currentTime > 0.3")
    assert videos.nth(1).evaluate("video => [video.videoWidth, video.videoHeight, video.error]") == [
        160,
        120,
        None,
    ]


def test_a_change_of_the_controller_is_shown_beside_the_models_reasoning(run: RunInfo, look: Look) -> None:
    seen = look(report(run))
    row = seen.page.locator("#iteration-3")
    assert not row.locator(".code").first.is_visible()
    row.locator("summary").first.click()
    assert row.locator("tr.minus .line").first.inner_text().strip() == "return [0.1, 0.3, 0.0, 0.0]"
    assert row.locator("tr.plus .line").first.inner_text().strip() == "return [0.3, 0.9, 0.0, 0.0]"
    assert row.locator("tr.plus mark").first.inner_text() == "0.3"
    assert row.locator("tr.plus .k").first.inner_text() == "return"
    assert "It stood still." in row.locator(".reasoning").inner_text()
    assert "Success in 3 of 5" in row.inner_text() or "Success in 2 of 5" in row.inner_text()
    row.get_by_text("prompt and reply").click()
    assert "You improve controllers." in row.locator("pre").first.inner_text()


def test_a_point_of_a_curve_leads_to_its_iteration(run: RunInfo, look: Look) -> None:
    seen = look(report(run))
    seen.page.wait_for_selector(POINTS)
    seen.page.evaluate(
        "document.querySelector('[data-figure=success]').emit('plotly_click', {points: [{customdata: 4}]})"
    )
    seen.page.wait_for_selector("#iteration-4[open]")
    assert seen.page.url.endswith("#iteration-4")


def test_everything_is_reached_and_opened_by_keyboard(run: RunInfo, look: Look) -> None:
    seen = look(report(run))
    seen.page.keyboard.press("Tab")
    assert seen.page.evaluate("document.activeElement.textContent") == "Skip to the result"
    reached = []
    for _ in range(60):
        seen.page.keyboard.press("Tab")
        reached.append(
            seen.page.evaluate("[document.activeElement.tagName, document.activeElement.parentElement.id]")
        )
    assert [tag for tag, _ in reached[:7]] == ["A"] * 7
    assert ["SUMMARY", "iteration-0"] in reached
    seen.page.locator("#iteration-1 > summary").focus()
    assert seen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    seen.page.keyboard.press("Enter")
    assert seen.page.locator("#iteration-1").get_attribute("open") is not None
    seen.page.locator("input[name=axis]").first.focus()
    seen.page.keyboard.press("ArrowRight")
    assert seen.page.locator("input[name=axis]:checked").get_attribute("value") == "steps"


def test_the_page_has_landmarks_headings_and_a_word_for_every_picture(run: RunInfo, look: Look) -> None:
    seen = look(report(run))
    for role in ("banner", "navigation", "main", "contentinfo"):
        assert seen.page.get_by_role(role).count() == 1, role
    levels = seen.page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    unnamed = "[role=img]:not([aria-label]), img:not([alt]), video:not([aria-label]), [role=region]:not([aria-label])"
    assert seen.page.locator(unnamed).count() == 0
    ids = seen.page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("width", [1280, 820, 390])
def test_no_width_scrolls_sideways(run: RunInfo, look: Look, width: int) -> None:
    seen = look(report(run), width=width)
    for summary in seen.page.locator("main details > summary").all():
        if summary.is_visible():
            summary.click()
    scroll_through(seen)
    assert seen.page.evaluate("document.documentElement.scrollWidth") == width


def test_light_and_dark_follow_the_reader_also_in_the_plots(run: RunInfo, look: Look) -> None:
    def colors(seen: Any) -> tuple[float, float]:
        seen.page.wait_for_selector(".main .xtitle")
        paper = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        ink = seen.page.evaluate("getComputedStyle(document.querySelector('.main .xtitle')).fill")
        return tuple(sum(map(int, re.findall(r"\d+", each)[:3])) / 765 for each in (paper, ink))  # type: ignore[return-value]

    light, dark = look(report(run)), look(report(run), dark=True)
    assert colors(light)[0] > 0.9 > 0.3 > colors(light)[1]
    assert colors(dark)[0] < 0.2 < 0.7 < colors(dark)[1]
    ink = light.page.evaluate("getComputedStyle(document.querySelector('.main .xtitle')).fill")
    light.page.emulate_media(color_scheme="dark")
    until(light, "getComputedStyle(document.querySelector('.main .xtitle')).fill !== " + json.dumps(ink))
    assert colors(light)[1] > 0.7


def test_a_thousand_iterations_are_folded_and_opened_one_by_one(
    tmp_path: Path, make_run: MakeRun, look: Look
) -> None:
    run = make_run(tmp_path, iterations=INLINE + 20)
    seen = look(report(run, single=True))
    rows = seen.page.locator("details[data-body]")
    assert rows.count() == INLINE + 21
    assert seen.page.locator(".code").count() == 0
    last = seen.page.locator(f"#iteration-{INLINE + 20}")
    seen.page.evaluate(f"location.hash = 'iteration-{INLINE + 20}'")
    last.locator("tr.plus").first.wait_for()
    assert last.is_visible()
    assert seen.page.locator(".body").count() == 1
    folded = seen.page.locator("details:has(> summary.many)").last
    inside = folded.locator(".list > details").first
    assert inside.is_visible()
    folded.locator("> summary").click()
    assert not inside.is_visible()
    assert (seen.errors, seen.left_the_machine) == ([], [])


@pytest.mark.parametrize("single", [False, True], ids=["folder", "single file"])
@pytest.mark.parametrize("many", [False, True], ids=["in the page", "opened later"])
def test_hostile_texts_are_shown_and_run_nowhere(
    tmp_path: Path,
    make_run: MakeRun,
    look: Look,
    hostile: str,
    single: bool,
    many: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trace_robot.report.write.INLINE", 5)
    task = f"point-mass{hostile}".replace("\ud800", "")
    run = make_run(tmp_path, iterations=6 if many else 3, candidates=2, text=hostile, task=task)
    (run.folder / "notes.txt").write_text(hostile, encoding="utf-8", errors="backslashreplace")
    seen = look(report(run, single=single))
    for _ in range(3):  # what is folded lies three deep
        for summary in seen.page.locator("main details:not([open]) > summary").all()[:30]:
            if summary.is_visible():
                summary.click()
        seen.page.wait_for_timeout(300)
    scroll_through(seen)
    seen.page.wait_for_timeout(300)
    assert " ".join(seen.page.title().split()) == " ".join(f"{visible(task)} · run".split())
    assert (seen.dialogs, seen.errors, seen.left_the_machine) == ([], [], [])
    injected = "script, iframe, img[onerror], svg[onload], a[href^='javascript']"
    assert seen.page.locator("main").locator(injected).count() == 0
    if shutil.which("dot"):
        until(seen, "document.querySelector('.graph img').naturalWidth > 50")
    shown = visible(hostile)
    places = {
        "task": "h1",
        "note": "#iteration-1 .body .text >> nth=0",
        "reasoning": "#iteration-1 .reasoning",
        "code": "#iteration-1 .code tr .c >> nth=0",
        "notes": "#settings pre >> nth=1",
    }
    for place, selector in places.items():
        text = seen.page.locator(selector).evaluate("element => element.textContent")
        assert shown.replace("\\ud800", "")[:300] in text.replace("\\ud800", ""), place
    texts = seen.page.locator(".body pre").evaluate_all("all => all.map(each => each.textContent)")
    assert sum(shown in text for text in texts) >= 3  # of system, prompt and reply


def test_endless_lines_of_everything_are_cut_and_do_not_widen_the_page(
    tmp_path: Path, make_run: MakeRun, look: Look
) -> None:
    run = make_run(tmp_path, iterations=2, text="W" * 300_000)
    seen = look(report(run), width=390)
    seen.page.locator("#iteration-1 > summary").click()
    assert seen.page.evaluate("document.documentElement.scrollWidth") == 390
    assert "more characters are not shown" in seen.page.locator("#iteration-1").inner_text()
    with History(tmp_path) as history:
        assert write_report(history, run).size < 8e6


def test_the_policy_alone_stops_a_script_that_got_into_the_page(
    run: RunInfo, tmp_path: Path, look: Look
) -> None:
    report(run, tmp_path / "out")
    page = tmp_path / "out" / "index.html"
    broken = page.read_text().replace(
        "<main",
        "<script>document.title='RUN'</script>"
        "<img src='https://example.invalid/x.png' onerror=\"document.title='RUN'\"><main",
    )
    page.write_text(broken)
    seen = look(page.as_uri())
    seen.page.wait_for_selector(POINTS)
    assert seen.page.title() == "point-mass · demo"


def test_the_data_of_the_page_is_json_that_no_text_can_end(
    tmp_path: Path, make_run: MakeRun, look: Look, hostile: str
) -> None:
    seen = look(report(make_run(tmp_path, iterations=2, text=hostile)))
    data = json.loads(seen.page.locator("#data").evaluate("element => element.textContent"))
    assert set(data) == {"figures", "paths", "axes", "bodies", "live"}


LOOKS = (
    "[...document.querySelectorAll('.js-plotly-plot')].map(plot => [plot, '.modebar', '.legend', '.xtitle'].map(part =>"
    " part === plot ? plot.dataset.figure ?? plot.dataset.path : plot.querySelector(part)?.getBoundingClientRect()))"
)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_toolbar_of_a_plot_never_covers_its_legend(run: RunInfo, look: Look, width: int) -> None:
    seen = look(report(run), width=width)
    scroll_through(seen)
    until(seen, "document.querySelectorAll('.js-plotly-plot').length === 8")
    with_legend = 0
    for name, bar, legend, title in seen.page.evaluate(LOOKS):
        if legend is None:
            continue
        with_legend += 1
        apart = (
            bar["bottom"] <= legend["top"] or bar["right"] <= legend["left"] or bar["left"] >= legend["right"]
        )
        assert apart, f"{name}: {bar} over {legend}"
        assert title is None or title["bottom"] <= legend["top"] + 1, f"{name}: {legend} over {title}"
    assert with_legend >= 3


def test_every_part_of_the_navigation_is_in_sight_on_a_phone(run: RunInfo, look: Look) -> None:
    seen = look(report(run), width=390)
    links = seen.page.locator(".bar a")
    boxes = [links.nth(index).bounding_box() for index in range(links.count())]
    assert len(boxes) >= 6
    assert all(box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)


def test_paths_in_space_are_drawn_as_a_projection_where_webgl_is_missing(run: RunInfo, look: Look) -> None:
    without = (
        "const get = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext ="
        " function (kind, ...rest) { return /webgl/.test(kind) ? null : get.call(this, kind, ...rest); };"
    )
    seen = look(report(run), script=without)
    seen.page.locator("[data-path=space]").scroll_into_view_if_needed()
    seen.page.wait_for_selector("[data-path=space] .scatterlayer .js-line")
    assert seen.page.locator("[data-path=space] canvas").count() == 0
    assert "this browser has no WebGL" in seen.page.locator("#episodes").inner_text()
    names = seen.page.locator("[data-path=space] .legendtext").all_text_contents()
    assert names == ["hand", "goal"]
    hand = seen.page.evaluate(
        "(plot => plot.data.find(each => each.name === 'hand'))(document.querySelector('[data-path=space]'))"
    )
    flat = seen.page.evaluate("document.querySelector('[data-path=above]').data?.[0].x.length ?? 0")
    assert len(hand["x"]) == len(hand["y"]) > 5
    assert flat in (0, len(hand["x"]))
    assert max(hand["y"]) - min(hand["y"]) > 0.05
    assert seen.errors == []
    with_it = look(report(run))
    with_it.page.locator("[data-path=space]").scroll_into_view_if_needed()
    with_it.page.wait_for_selector("[data-path=space] canvas")
    assert "has no WebGL" not in with_it.page.locator("#episodes").inner_text()


def test_rows_show_the_return_where_it_is_what_counts(tmp_path: Path, make_run: MakeRun, look: Look) -> None:
    made = make_run(tmp_path, iterations=9, episodes=2, spec=replace(SPEC, success=""))
    for number in (0, 9):
        film(made, number)
    seen = look(report(made))
    with History(tmp_path) as history:
        first = history.iterations(history.run(made.name))[0]
    rate = seen.page.locator("#iteration-0 .rate")
    assert rate.inner_text() == three_digits(first.reward)
    assert rate.get_attribute("title") == "mean return in training"
    assert seen.page.locator("#iteration-0 .cells").get_attribute("aria-label") == "2 episodes"
    assert seen.page.locator("#iteration-0 .cells .time").count() == 0
    assert "First the mean return in training" in seen.page.locator("#iterations").inner_text()
    assert f"; return {three_digits(first.reward)} in training" in seen.page.locator(".films").inner_text()


FAINT = """
() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
  const over = (top, below) => below.map((each, i) => top[i] * top[3] + each * (1 - top[3]));
  const linear = (each) => (each <= 10 ? each / 3294.6 : ((each / 255 + 0.055) / 1.055) ** 2.4);
  const light = (color) => { const [r, g, b] = color.map(linear); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  let seen = 0;
  for (let node; (node = texts.nextNode()); ) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility() || element.closest("script, style, noscript, svg")) continue;
    let below = [255, 255, 255], opacity = 1;
    const up = [];
    for (let at = element; at; at = at.parentElement) up.unshift(getComputedStyle(at));
    for (const style of up) { below = over(parse(style.backgroundColor), below); opacity *= style.opacity; }
    const ink = parse(getComputedStyle(element).color);
    ink[3] *= opacity;
    const [dark, bright] = [light(over(ink, below)), light(below)].sort((a, b) => a - b);
    const ratio = (bright + 0.05) / (dark + 0.05);
    seen += 1;
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${element.tagName}.${element.className} ${node.data.trim()}`);
  }
  return [seen, found];
}
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_is_dark_or_bright_enough_for_weak_eyes(run: RunInfo, look: Look, dark: bool) -> None:
    """Against what it stands on by at least 4.5 to 1 (WCAG 2.1, 1.4.3)."""
    seen = look(report(run), dark=dark)
    seen.page.evaluate("document.querySelectorAll('main details').forEach((each) => { each.open = true; })")
    seen.page.locator("#iteration-6 .code").first.wait_for()
    texts, found = seen.page.evaluate(FAINT)
    assert texts > 200
    assert found == []
    seen.page.add_style_tag(content=".code td.no { opacity: .5 }")
    assert len(seen.page.evaluate(FAINT)[1]) > 20


WORDS_IN_LINES = """
(selector) => [...document.querySelectorAll(selector)].flatMap((element) => {
  const text = document.createTreeWalker(element, NodeFilter.SHOW_TEXT), broken = [];
  for (let node; (node = text.nextNode()); )
    for (const { 0: word, index } of node.data.matchAll(/[^\\s]+/g)) {
      const range = document.createRange();
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      if (new Set([...range.getClientRects()].map((line) => Math.round(line.top))).size > 1) broken.push(word);
    }
  return broken;
})
"""


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_no_option_of_the_command_and_no_part_of_a_settings_name_is_broken(
    run: RunInfo, look: Look, width: int
) -> None:
    seen = look(report(run), width=width)
    assert seen.page.evaluate(WORDS_IN_LINES, ".typed span") == []
    assert seen.page.evaluate(WORDS_IN_LINES, "#settings th") == []
    copied = seen.page.evaluate("document.querySelector('.typed').innerText")
    assert copied.split() == seen.page.evaluate("document.querySelector('.typed').textContent").split()
    seen.page.evaluate("document.querySelector('.typed').style.width = '3rem'")
    assert seen.page.evaluate(WORDS_IN_LINES, ".typed span") != []  # a word longer than the page is broken


def test_iterations_are_counted_in_whole_numbers_also_with_many_candidates(run: RunInfo, look: Look) -> None:
    seen = look(report(run))
    seen.page.wait_for_selector(POINTS)
    marks = seen.page.evaluate(
        "[...document.querySelectorAll('.main .xtick text')].map((each) => each.textContent)"
    )
    assert marks == [str(number) for number in range(7)]
