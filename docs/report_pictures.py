"""Draw the pictures of docs/report.md: ``python docs/report_pictures.py rollouts/runs/demo docs/images``."""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from trace_robot.report.write import write_report
from trace_robot.store.history import History

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
# name: width, height, dark, the part to begin with
PICTURES = {
    "report-1280": (1280, 1560, False, "head"),
    "report-820": (820, 1180, False, "episodes"),
    "report-390": (390, 844, False, "head"),
    "report-dark": (1280, 1000, True, "iterations"),
    "report-820-dark": (820, 1180, True, "learning"),
    "report-390-dark": (390, 844, True, "iterations"),
}
COLOURS = 256
METHOD = Image.Quantize.MAXCOVERAGE  # the default, median cut, drops the color of a small mark


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run's folder")
    parser.add_argument("out", type=Path, help="where the PNGs go")
    options = parser.parse_args()
    program = shutil.which("chromium") or sys.exit("no chromium here: make system-packages")
    with tempfile.TemporaryDirectory() as folder, History(options.run.resolve().parent) as history:
        url = write_report(
            history, history.run(options.run.resolve().name), Path(folder) / "report"
        ).path.as_uri()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
            for name, (width, height, dark, part) in PICTURES.items():
                page = browser.new_page(
                    viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light",
                    device_scale_factor=2 if width < 500 else 1,
                )  # fmt: skip
                page.goto(url)
                save(page, part, options.out / f"{name}.png")
            browser.close()


def save(page: Page, part: str, path: Path) -> None:
    page.evaluate("[...document.querySelectorAll('#iterations .list > details')].at(-1).open = true")
    page.evaluate("document.querySelectorAll('.films video').forEach(video => { video.currentTime = 1 })")
    for _ in range(2):  # what is drawn on the way may move the part
        page.evaluate(f"document.getElementById('{part}').scrollIntoView()")
        page.wait_for_timeout(2500)
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").quantize(COLOURS, METHOD, kmeans=2, dither=Image.Dither.NONE).save(
            path, optimize=True
        )


if __name__ == "__main__":
    main()
