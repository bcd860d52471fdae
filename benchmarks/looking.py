"""How long it takes to look at runs: start-up, and what the tables cost beyond it.

    python benchmarks/looking.py

Two runs are made up (tests/helpers/synthetic.py), of 1,000 iterations with a candidate each and of 20 with 50 each, ten
episodes a candidate, beside 50 small ones. Each command is run in a separate process, in turn with the others; printed
are the median and the slowest in seconds of wall-clock time, and the median of processor time, which a busy machine
changes little.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))
from helpers.synthetic import make_run  # noqa: E402

COMMANDS = (
    "--help",
    "runs",
    "show deep",
    "show wide",
    "show deep --all",
    "diff deep 0 999",
    "prompt deep 7",
    "show deep --json",
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=7)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory(prefix="looking-") as temporary:
        folder = Path(temporary)
        for number in range(50):
            make_run(folder, f"small{number:02d}", iterations=3)
        make_run(folder, "deep", iterations=999, episodes=10)
        make_run(folder, "wide", iterations=19, candidates=50, episodes=10, optimizer="search")
        print(f"store of {(folder / 'runs.sqlite').stat().st_size / 1e6:.1f} MB")
        taken: dict[str, list[float]] = {command: [] for command in COMMANDS}
        worked: dict[str, list[float]] = {command: [] for command in COMMANDS}
        for _ in range(times):
            for command in COMMANDS:
                where = [] if command.startswith("-") else ["--runs", str(folder)]
                started, before = time.perf_counter(), _worked()
                subprocess.run(
                    [str(Path(sys.executable).with_name("trace-robot")), *command.split(), *where],
                    check=True, stdout=subprocess.DEVNULL,
                )  # fmt: skip
                taken[command].append(time.perf_counter() - started)
                worked[command].append(_worked() - before)
    print(
        f"{'command':18} {'median':>7} {'slowest':>8} {'beyond start-up':>16} {'processor':>10} {'beyond':>7}"
    )
    for command, seconds in taken.items():
        median, work = statistics.median(seconds), statistics.median(worked[command])
        beyond = median - statistics.median(taken["--help"])
        more = work - statistics.median(worked["--help"])
        print(f"{command:18} {median:7.3f} {max(seconds):8.3f} {beyond:16.3f} {work:10.3f} {more:7.3f}")
    return 0


def _worked() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
