"""What the built-in search makes of six robots that no benchmark has, from nothing and without hints.

    python benchmarks/robots/run.py                              all six, 150 s each
    python benchmarks/robots/run.py --seconds 60 touch-arm       one, for a minute
    python benchmarks/robots/run.py --file before.jsonl          results of another state of the search

The folder is a workspace: in it, `trace-robot evaluate touch-arm --policy touch_arm` scores the controller that was
written by hand, which solves every episode. A result is appended to the file at once; what the file has for the same
seconds, workers and seed is not run again. "held out" is the success of 50 conditions that were not trained on,
"seconds" all of the search, which may end before its time, and "CPU" the processor seconds of all its processes, the
held-out episodes included: on a machine that is busy with other things, compare results by these.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "robots.jsonl"
NAMES = ("touch-arm", "cube-arm", "bar-gantry", "tray-hands", "ball-plate", "puck-arm")
SETTINGS = ("seconds", "workers", "seed")

Result = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--seconds", type=float, default=150.0, help="of search for each")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", type=Path, default=RESULTS, help="of results, read and appended to")
    options = parser.parse_args()
    names = options.names or NAMES
    if strangers := [name for name in names if name not in NAMES]:
        parser.error(f"no robot {strangers[0]!r}; known: {', '.join(NAMES)}")
    settings = {name: getattr(options, name) for name in SETTINGS}
    print(HEAD)
    failed = False
    for name in names:
        result = stored(options.file, name, settings)
        if result is None:
            result = search(name, settings)
            if result is None:
                failed = True
                continue
            append(options.file, result)
        print(row(result), flush=True)
    return int(failed)


HEAD = (
    f"{'robot':12}{'held out':>10}{'return':>10}{'training':>10}{'steps':>12}{'seconds':>9}{'CPU':>6}   ended"
)


def row(result: Result) -> str:
    """Return one line of the table."""
    rates = f"{result['held_out']:10.2f}{result['return']:10.1f}{result['training']:10.2f}"
    costs = f"{result['steps']:12,}{result['took']:9.0f}{result['cpu']:6.0f}"
    return f"{result['robot']:12}{rates}{costs}   {result['ended']}"


def stored(file: Path, name: str, settings: Result) -> Result | None:
    """Return the result of a robot with the same settings, or nothing if the file has none."""
    if not file.exists():
        return None
    results = [json.loads(line) for line in file.read_text().splitlines()]
    wanted = {"robot": name, **settings}
    return next((result for result in results if wanted.items() <= result.items()), None)


def append(file: Path, result: Result) -> None:
    """Add a result to the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as lines:
        lines.write(json.dumps(result) + "\n")


def search(name: str, settings: Result) -> Result | None:
    """Run the built-in search in a separate process; nothing if it failed, with its error printed."""
    flags = [text for key in SETTINGS for text in (f"--{key}", str(settings[key]))]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "trace_robot", "optimize", name, "--optimizer", "search"]
        command += [*flags, "--held-out", "50", "--no-video", "--json", "--quiet", "--out", f"{folder}/run"]
        environment = {**os.environ, "TRACE_ROBOT_WORKSPACE": str(HERE)}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True)
    if done.returncode:
        print(f"{name:12}failed: {done.stderr.strip()}", flush=True)
        return None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done.stdout)
    return {
        "robot": name,
        **settings,
        "held_out": found["held_out_success"],
        "return": found["held_out_return"],
        "training": found["training_success"],
        "steps": found["environment_steps"],
        "took": found["seconds"],
        "cpu": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "ended": found["ended"],
        "versions": {package: found["versions"][package] for package in ("trace-robot", "mujoco", "numpy")},
    }


if __name__ == "__main__":
    sys.exit(main())
