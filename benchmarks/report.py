"""Measure the report of a run with 1,000 candidates: how long it takes to write and to open, and how large it is.

    python benchmarks/report.py [--candidates 1000]

Two shapes: every candidate an iteration of a language model, with prompts of 10 kB; and a search that writes every
fiftieth down. Opening is measured in the system's Chromium, from the start of loading to the first paint and to the
first curve, the smallest of several times.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from trace_robot.report.write import write_report
from trace_robot.store.history import History, RunInfo

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
from helpers.synthetic import make_run  # noqa: E402

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
TIMES = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=1000)
    count = parser.parse_args().candidates
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        make_run(runs, "model", iterations=count - 1, text=words(10_000))
        make_run(runs, "search", iterations=count // 50, candidates=50, optimizer="search")
        print(f"{'run':8} {'form':8} {'write':>7} {'size':>8} {'first paint':>12} {'first curve':>12}")
        for name in ("model", "search"):
            with History(runs) as history:
                run = history.run(name)
                for single in (False, True):
                    measure(history, run, single)


def measure(history: History, run: RunInfo, single: bool) -> None:
    start = time.perf_counter()
    written = write_report(history, run, single=single)
    seconds = time.perf_counter() - start
    paint, curve = opened(written.path.as_uri())
    form = "one file" if single else "folder"
    print(f"{run.name:8} {form:8} {seconds:6.2f}s {written.size / 1e6:6.1f}MB {paint:11.2f}s {curve:11.2f}s")


def opened(url: str) -> tuple[float, float]:
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    if program is None:
        sys.exit("no chromium here: make system-packages")
    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        for _ in range(TIMES):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(url, wait_until="commit")
            page.wait_for_selector(".main .scatterlayer .points path", state="attached")
            found.append(page.evaluate(
                "[performance.getEntriesByName('first-contentful-paint')[0].startTime, performance.now()]"
            ))  # fmt: skip
            page.close()
        browser.close()
    return min(paint for paint, _ in found) / 1000, min(curve for _, curve in found) / 1000


def words(length: int) -> str:
    """Return a text of that length, made of words from this project's pages, each time in another order."""
    every = " ".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))).split()
    return " ".join(random.Random(0).choices(every, k=length // 4))[:length]


if __name__ == "__main__":
    main()
