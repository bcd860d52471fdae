"""Where words go, and where JSON goes."""

from __future__ import annotations

import os
import sys
from typing import Any

from rich.console import Console

PIPED_WIDTH = 200


class _Console(Console):
    """Goes on silently when the reader of a pipe, such as head, has left."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def console(*, quiet: bool = False, json: bool = False) -> Console:
    """Return where words go: standard error if standard output is for JSON; NO_COLOR is heeded by rich."""
    piped = not (sys.stderr if json else sys.stdout).isatty()
    return _Console(
        stderr=json, quiet=quiet, highlight=False, soft_wrap=True, width=PIPED_WIDTH if piped else None
    )


def write_json(data: Any) -> None:
    import json

    sys.stdout.write(json.dumps(data, indent=2) + "\n")
