"""Fixtures: the system's Chromium, driven by Playwright, with its events recorded."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--use-angle=swiftshader",  # this and the next: the plots in space draw with WebGL
    "--enable-unsafe-swiftshader",
)


@dataclass
class Seen:
    """A page with the requests, script errors and dialogs that it caused."""

    page: Page
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def dismiss(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    @property
    def left_the_machine(self) -> list[str]:
        ours = ("file:", "data:", "blob:", "http://127.0.0.1:")
        return [url for url in self.requests if not url.startswith(ours)]


PATIENCE = 300_000  # milliseconds; on a busy machine a page of 5 MB takes its time


# Not for the session: playwright runs an event loop in this thread until it ends, and tests of other rooms run theirs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium here: make system-packages, or apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def look(browser: Browser) -> Iterator[Callable[..., Seen]]:
    """Open an address in a browser context apart: ``look(url, width=1280, dark=False, script="")``.

    script: JavaScript that runs before the page's.
    """
    contexts = []

    def _open(url: str, *, width: int = 1280, dark: bool = False, script: str = "") -> Seen:
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        seen = Seen(page)
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("dialog", seen.dismiss)
        page.goto(url)
        return seen

    yield _open
    for context in contexts:
        context.close()
