"""A hook of mkdocs: links to source files work in the repository; the site, which has no sources, shows their names."""

from __future__ import annotations

import re
from typing import Any

SOURCE = re.compile(
    r"\[([^\]\n]+)\]\(\.\./((?:trace_robot|tests|envs|benchmarks|rollouts|policies)[\w./-]*|[A-Z]+\.md)\)"
)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page's text with each link to a source file replaced by the text of the link."""
    return SOURCE.sub(r"\1", markdown)
