"""The checker of the built site finds what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.check_site import problems

GOOD = """
<html><head><link rel="stylesheet" href="style.css"><link rel="canonical" href="https://elsewhere.example/"></head>
<body><h1 id="one">One</h1><a href="#one">here</a> <a href="two.html#three">there</a> <a href="folder/">in</a>
<a href="https://elsewhere.example/">a reader may go there</a><img src="data:image/png;base64,AA=="></body></html>
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "index.html").write_text('<a href="../index.html#one">back</a>')
    (tmp_path / "index.html").write_text(GOOD)
    (tmp_path / "two.html").write_text('<p id="three">Three</p>')
    (tmp_path / "style.css").write_text("body { background: url(ground.png) }")
    (tmp_path / "ground.png").write_bytes(b"")
    return tmp_path


def test_a_site_that_hangs_together_has_no_problem(site: Path) -> None:
    assert list(problems(site)) == []


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ('<a href="gone.html">x</a>', "new.html: links to gone.html, which is not there"),
        ('<a href="two.html#four">x</a>', "new.html: links to two.html#four, and there is no such place in two.html"),
        ('<a href="#four">x</a>', "new.html: links to #four, and there is no such place in new.html"),
        ('<img src="gone.png">', "new.html: loads gone.png, which is not there"),
        ('<script src="https://cdn.example"></script>', "new.html: loads https://cdn.example, from another address"),
        ('<link rel="stylesheet" href="//fonts.example/f">', "new.html: loads //fonts.example/f, from another address"),
        ("<style>@import 'http://f.example/f';</style>", "new.html: loads http://f.example/f, from another address"),
    ],
)  # fmt: skip
def test_what_is_broken_or_comes_from_elsewhere_is_reported(site: Path, html: str, problem: str) -> None:
    (site / "new.html").write_text(html)
    assert list(problems(site)) == [problem]


def test_a_style_sheet_may_not_load_from_elsewhere_either(site: Path) -> None:
    (site / "style.css").write_text('@import "https://fonts.example/f"; body { background: url("gone.png") }')
    assert list(problems(site)) == [
        "style.css: loads https://fonts.example/f, from another address",
        "style.css: loads gone.png, which is not there",
    ]
