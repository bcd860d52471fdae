"""What can be typed: the commands, their options and the help that teaches them."""

from __future__ import annotations

import argparse
from importlib.metadata import version

from trace_robot.cli import optimize
from trace_robot.cli.options import bench, lists, report, rollout, runs

EPILOG = """\
examples:
  trace-robot optimize pick-place-v3                 from a controller that does nothing, no key needed
  trace-robot optimize reach-v3 --policy my.py --out runs/reach
  trace-robot evaluate pick-place-v3 --policy runs/reach/best.py --episodes 50
  trace-robot replay pick-place                      a recorded run of OptoPrime, with real rollouts
  trace-robot render pick-place-v3 --policy runs/reach/best.py --out pick.mp4
  trace-robot runs; trace-robot show RUN; trace-robot diff RUN 0 3; trace-robot resume RUN
  trace-robot report demo --single-file              a run as one page to look at or to send
  trace-robot watch --open                           the runs of rollouts/runs in the browser, as they go on
  trace-robot bench --tasks mt10 --seconds 60          many tasks, one table; the same command again goes on
  trace-robot init my-robot; trace-robot check-env slider     a workspace of your own; is its environment sound?
  OPENAI_BASE_URL=http://127.0.0.1:8000/v1 trace-robot optimize push-v3 --model my-model

exit codes: 0 done, 1 an error that is explained in one line, 2 a wrong command line, 3 success below --require,
            130 stopped by Ctrl-C
"""

# In the order in which --help lists them; the options of a command are in the module of its room.
ADD = (
    optimize.add_optimize,
    rollout.evaluate,
    optimize.add_replay,
    optimize.add_resume,
    runs.list_runs,
    runs.show,
    runs.diff,
    runs.prompt,
    runs.graph,
    runs.compare,
    rollout.render,
    report.report,
    report.watch,
    report.export,
    bench.bench,
    lists.lists,
    lists.init,
    lists.check_env,
    lists.sandbox,
)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="trace-robot",
        description="Optimize robot controllers that are ordinary Python: roll out, explain, rewrite.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"trace-robot {version('trace-robot')}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in ADD:
        add(commands)
    return top
