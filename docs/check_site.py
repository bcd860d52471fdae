"""Checks a built site: ``python docs/check_site.py site``; ``make docs`` does.

Every link of every page must lead to a file, and to a place in it where it names one. Nothing that a browser loads by
itself (scripts, styles, fonts, pictures) may come from another address, so that the site can be read without a network.
Links that a reader may follow to other sites are not followed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
LOADING_RELATIONS = {"stylesheet", "preload", "icon", "shortcut", "modulepreload", "preconnect", "manifest"}
IN_STYLES = re.compile(r"""(?:@import\s+|url\(\s*)["']?([^"')\s]+)""")


class Page(HTMLParser):
    """What a page names: places in it, links, and what is loaded with it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places: set[str] = {"", "top"}
        self.links: list[str] = []
        self.loads: list[str] = []
        self._style = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.places.update(given[name] for name in ("id", "name") if name in given)
        if tag == "link":
            loading = LOADING_RELATIONS & set(given.get("rel", "").lower().split())
            (self.loads if loading else self.links).append(given.get("href", ""))
        elif tag in LOADED:
            self.loads.append(given.get(LOADED[tag], ""))
        elif tag == "a" and "href" in given:
            self.links.append(given["href"])
        self.loads += IN_STYLES.findall(given.get("style", ""))
        self._style = tag == "style"

    def handle_data(self, data: str) -> None:
        if self._style:
            self.loads += IN_STYLES.findall(data)


def problems(site: Path) -> Iterator[str]:
    """Yield a line for everything that is wrong."""
    site = site.resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site).as_posix()
        yield from (f"{name}: loads {why}" for url in page.loads if (why := _load(path, url, site)))
        yield from (f"{name}: links to {why}" for url in page.links if (why := _link(path, url, site, pages)))
    for path in sorted(site.rglob("*.css")):
        name = path.relative_to(site).as_posix()
        urls = IN_STYLES.findall(path.read_text(encoding="utf-8"))
        yield from (f"{name}: loads {why}" for url in urls if (why := _load(path, url, site)))


def _load(path: Path, url: str, site: Path) -> str:
    """Say what is wrong with something that is loaded, "" if nothing is."""
    parts = urlsplit(url)
    if not url or parts.scheme == "data":
        return ""
    if parts.scheme or parts.netloc:
        return f"{url}, from another address"
    target = _target(path, parts.path, site)
    return "" if target.is_file() else f"{url}, which is not there"


def _link(path: Path, url: str, site: Path, pages: dict[Path, Page]) -> str:
    parts = urlsplit(url)
    if not url or parts.scheme or parts.netloc:
        return ""
    target = _target(path, parts.path, site)
    if not target.is_file():
        return f"{url}, which is not there"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
        return f"{url}, and there is no such place in {target.name}"
    return ""


def _target(path: Path, url: str, site: Path) -> Path:
    if not url:
        return path
    base = site / unquote(url).lstrip("/") if url.startswith("/") else path.parent / unquote(url)
    return base / "index.html" if base.is_dir() else base.resolve()


def main() -> int:
    site = Path(sys.argv[1] if len(sys.argv) > 1 else "site")
    if not (site / "index.html").is_file():
        print(f"{site} has no index.html; build it first: make docs")
        return 1
    found = list(problems(site))
    print("\n".join([*found, f"{site}: {len(found) or 'no'} problems"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
