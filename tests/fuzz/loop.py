"""The fuzz loop: inputs from hypothesis until a deadline, each distinct defect once, shrunk and saved.

FUZZ_SECONDS of a target (default 6), FUZZ_SEED to begin with the same inputs, FUZZ_INPUT=FILE for one saved input.
Without FUZZ_SECONDS every run begins with the same inputs, so that a change is tested and not chance.
"""

from __future__ import annotations

import ast
import faulthandler
import os
import re
import secrets
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import trace_robot
from fuzz.guard import Canary, Touched, cpu_clock, ignored, no_bytecode, was_interrupted, watch
from trace_robot.errors import TraceRobotError

ROOT = Path(__file__).parents[2]
SAVED = ROOT / ".hypothesis" / "fuzz"
LIBRARY = str(Path(trace_robot.__file__).parent)
SECONDS = 6.0  # nine targets take a minute
SEED = 1  # of every run without FUZZ_SECONDS
PER_10_KB = 0.05  # CPU seconds; what every reader must hold
TRIES = 3  # the least CPU time of these counts
ROUND = 400  # inputs of one hypothesis run
SHRINKING = 15.0  # seconds for making one failing input small
STUCK = 180.0  # seconds in C code after which the process ends with its stack on standard error; the input is saved

Case = Any  # texts, bytes, numbers and None in tuples and lists: what ast.literal_eval reads
Prepare = Callable[[Case, Path], Callable[[], Any]]


@dataclass(frozen=True)
class Target:
    """What is fuzzed.

    Attributes:
        name: of the file of a failing input.
        inputs: of cases.
        prepare: gets a case and an empty folder and returns the call to watch; what it does itself is not watched.
        constant: CPU seconds of a call on any input, beside PER_10_KB.
        expected: exceptions besides the library's own that are documented.
        least_bytes: that a case counts for at least, where a call reads more than the case, such as a whole store.
    """

    name: str
    inputs: st.SearchStrategy[Case] = field(repr=False)
    prepare: Prepare
    constant: float = 0.1
    expected: tuple[type[BaseException], ...] = ()
    least_bytes: int = 0

    def limit(self, case: Case) -> float:
        """Return the CPU seconds that a call may take."""
        return self.constant + PER_10_KB * max(self.least_bytes, size(case)) / 10_000


@dataclass
class Defect:
    """A distinct defect with its shortest input. text: the exception and the library's last lines."""

    signature: str
    case: Case
    text: str
    count: int = 1


class WrongError(Exception):
    """A call did not raise, and did what it must not; its text is the same for all inputs of a kind."""


class DefectFoundError(Exception):
    """Tells hypothesis that an input fails."""


class _OverError(BaseException):  # not an Exception, which hypothesis would take for a failure
    """Ends a round at once."""


@dataclass
class Fuzzer:
    """Runs a target's cases in a folder, and keeps its defects by signature."""

    target: Target
    folder: Path
    defects: dict[str, Defect] = field(default_factory=dict)
    examples: int = 0
    expected: int = 0

    def __post_init__(self) -> None:
        self.canary = Canary(self.folder / "canary")
        self.work = self.folder / "work"
        SAVED.mkdir(parents=True, exist_ok=True)
        self.current = SAVED / f"{self.target.name}-current.txt"

    def run(self, case: Case) -> str | None:
        """Run one case and return the signature of its defect, None for none."""
        self.examples += 1
        found = None
        for _ in range(TRIES):
            # What a destructor raises comes when the exception that held the object is gone, so after the call.
            with ignored() as texts:
                found = self._call(case)
            if found is None and texts and not was_interrupted():
                name = re.sub(" at 0x[0-9a-f]+", "", texts[0])
                found = f"ignored {name}", "an exception in a destructor or a callback"
            if found is None or _kind(found[0]) != "slow":
                break
        return None if found is None else self._keep(found[0], case, found[1])

    def _call(self, case: Case) -> tuple[str, str] | None:
        """Run one case once and return signature and text of its defect."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        call = self.target.prepare(case, self.work)
        self.canary.check()  # outside of the ``try``: it would be the test that did it
        self.current.write_text(ascii(case), encoding="ascii")
        faulthandler.dump_traceback_later(STUCK, exit=True)
        limit, begin = self.target.limit(case), cpu_clock()
        try:
            with no_bytecode(), watch(self.work, self.canary, limit):
                call()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            place = _place(error.__traceback__)
            if was_interrupted():  # whatever the call made of it: a query raises an error of SQLite
                return f"slow in {place}", f"more than {limit:.2f} s of CPU time, or a wait\n{_lines(error)}"
            if not isinstance(error, (TraceRobotError, *self.target.expected)):
                own = isinstance(error, Touched | WrongError)
                what = f"{type(error).__name__}: {error}" if own else type(error).__name__
                return f"{what.replace(str(self.folder), '')} in {place}", _lines(error)
            self.expected += 1
        finally:
            faulthandler.cancel_dump_traceback_later()
        spent = cpu_clock() - begin
        return (
            ("slow in C code", f"{spent:.2f} s of CPU time, limit {limit:.2f} s") if spent > limit else None
        )

    def _keep(self, signature: str, case: Case, text: str) -> str:
        known = self.defects.setdefault(signature, Defect(signature, case, text, count=0))
        known.count += 1
        if size(case) < size(known.case):
            known.case, known.text = case, text
        return signature

    def fuzz(self, seconds: float, first_seed: int) -> None:
        """Run cases until a deadline; a defect that is known does not count again."""
        end = time.monotonic() + seconds
        number = first_seed
        while time.monotonic() < end:
            self._round(number, end)
            number += 1

    def _round(self, number: int, end: float) -> None:
        before = set(self.defects)
        failing: set[str] = set()
        pinned: list[str] = []
        enough = [end]

        def check(case: Case) -> None:
            if time.monotonic() > enough[0]:
                raise _OverError
            text = ascii(case)
            if text not in failing:
                signature = self.run(case)
                if signature is not None and signature not in before:
                    if not failing:
                        pinned.append(_kind(signature))
                        enough[0] = time.monotonic() + SHRINKING  # also past the deadline: it is worth it
                    if _kind(signature) in pinned:
                        failing.add(text)
            # Remembered rather than tried again: a slow input may be quick the next time, which hypothesis refuses.
            if text in failing:
                raise DefectFoundError

        check.__name__ = check.__qualname__ = (
            f"fuzz_{self.target.name}"  # names the entry in hypothesis's database
        )
        run = settings(
            max_examples=ROUND,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            print_blob=False,
            phases=(Phase.reuse, Phase.generate, Phase.shrink),
        )(seed(number)(given(self.target.inputs)(check)))
        with suppress(DefectFoundError, _OverError):  # the defects are kept by ``run``
            run()


def _kind(signature: str) -> str:
    """Return what a smaller input must share: where a slow call is interrupted is chance."""
    return "slow" if signature.startswith("slow") else signature


def size(case: Case) -> int:
    """Return the bytes of the texts and byte strings in a case."""
    if isinstance(case, str):
        return len(case.encode("utf-8", "surrogatepass"))
    if isinstance(case, bytes):
        return len(case)
    return sum(map(size, case)) if isinstance(case, tuple | list) else 8


def _frames(trace: TracebackType | None) -> list[traceback.FrameSummary]:
    return list(traceback.extract_tb(trace))


def _place(trace: TracebackType | None) -> str:
    """Return the innermost function of the library in a traceback."""
    for frame in reversed(_frames(trace)):
        if frame.filename.startswith(LIBRARY):
            return f"{Path(frame.filename).relative_to(LIBRARY)}:{frame.name}"
    return "the test"


def _lines(error: BaseException) -> str:
    """Return the last frames of a traceback and the exception in one line each."""
    frames = [
        f"  {f.filename.replace(str(ROOT), '.')}:{f.lineno} {f.name}" for f in _frames(error.__traceback__)
    ]
    last = " ".join(traceback.format_exception_only(error)[-1].split())
    return "\n".join([*frames[-6:], f"  {last[:300]}"])


def execute(target: Target, folder: Path) -> None:
    """Fuzz a target as the environment variables say, and fail with every distinct defect.

    Args:
        target: what is fuzzed.
        folder: an empty one.

    Fails the test where there are defects; the message names a file with the shortest input of each.
    """
    fuzzer = Fuzzer(target, folder)
    if path := os.environ.get("FUZZ_INPUT"):
        fuzzer.run(ast.literal_eval(Path(path).read_text(encoding="ascii")))
        begun = ""
    else:
        drawn = secrets.randbelow(10**9) if "FUZZ_SECONDS" in os.environ else SEED
        first_seed = int(os.environ.get("FUZZ_SEED") or drawn)
        fuzzer.fuzz(float(os.environ.get("FUZZ_SECONDS") or SECONDS), first_seed)
        begun = f"{fuzzer.examples} inputs, {fuzzer.expected} of them refused, FUZZ_SEED={first_seed}"
        sys.stdout.write(f"{target.name}: {begun}\n")  # shown by pytest -s, and where it fails
    if not fuzzer.defects:
        return
    test = os.environ.get("PYTEST_CURRENT_TEST", "tests/fuzz").split(" ")[0]
    shown = []
    for number, defect in enumerate(fuzzer.defects.values()):
        file = SAVED / f"{target.name}-{number}.txt"
        file.write_text(ascii(defect.case), encoding="ascii")
        shown.append(
            f"{defect.signature} ({defect.count} times)\n{defect.text}\n  input: {ascii(defect.case)[:400]}\n"
            f"  again: FUZZ_INPUT={file} pytest {test}"
        )
    pytest.fail(f"{len(shown)} defects of {target.name}; {begun}\n\n" + "\n\n".join(shown), pytrace=False)
