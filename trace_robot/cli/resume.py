"""``trace-robot resume``."""

from __future__ import annotations

import argparse

from trace_robot.cli.find import find, name_of, runs_folder
from trace_robot.cli.optimize import watch
from trace_robot.cli.screen import Screen, console, write_json
from trace_robot.cli.text import safe
from trace_robot.run.optimize import resume
from trace_robot.settings import Result


def run(options: argparse.Namespace) -> int:
    history, info = find(options.run, runs_folder(options))
    history.close()
    out = console(quiet=options.quiet, json=options.json)
    if info.status == "finished":
        out.print(
            f"{info.name} is finished: {safe(info.ended)}; see: trace-robot show {name_of(info.folder)}",
            markup=False,
        )
        if options.json:
            write_json(info.result)
        return 0
    screen = Screen(out, why=info.why, seconds=info.settings.get("seconds"))

    def go_on() -> Result:
        return resume(info.folder, base_url=options.base_url, observe=screen.show)

    return watch(go_on, screen, options, info.folder)
