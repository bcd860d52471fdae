"""Run the check of an environment in another process, and read its findings with their remedies."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trace_robot.child_process import python_command
from trace_robot.env.inspection import MessageProcess
from trace_robot.errors import EnvironmentFault, TraceRobotError

SILENCE = 30.0  # seconds
STAGES = {
    "load": "loading its plug-in",
    "make": "being made",
    "reset": "reset()",
    "step": "step()",
    "episodes": "whole episodes",
    "identify": "random steps, to see what its numbers are",
    "seeds": "repeating episodes",
    "hands": "its hands being looked for",
    "snapshot": "being saved and restored",
    "cost": "being timed",
    "picture": "being drawn",
    "close": "close()",
    "another process": "another process",
}

# What to do about a problem, by the check that found it.
STEP = "step(action) must return (observation, reward, terminated, truncated, info) for every action in its space"
RESET = "reset(seed=..., options=...) must return (observation, info) and begin an episode"
REMEDIES = {
    "load": "mend the plug-in file",
    "make": "see that make, or gymnasium.make, gives the environment when it is called with these arguments",
    "reset": RESET,
    "step": STEP,
    "values": "give finite numbers: clip what diverges, or end the episode before it does",
    "seeds": "draw every random number from self.np_random, which super().reset(seed=seed) sets, and reset all state",
    "success": "say in its plug-in: success='an entry of info', a function of the step, or return_threshold=...",
    "hands": "mend hands of the plug-in, or leave it out",
    "spec": "mend this field of the plug-in",
    "picture": "offer render_mode='rgb_array', or keep MuJoCo's model, data and the model file's path (fullpath)",
}
FIELDS = {"terms": "name numbers that info has, or leave terms out: all of them are shown then"}
NAMES = "type a name that trace-robot envs lists, or MODULE:ID of a package that registers it"
PACKAGE = "install it here, or in another interpreter: --python PATH (docs/other-interpreter.md)"
DIED = re.compile(r"\bdied in \w+\(\)|^its process ended in .* with signal ")
ALONE = "the simulator's process died, no field of a plug-in is wrong: step it alone in its interpreter until it does"
RAISES = "mend the line that raises, or end the episode there with terminated or truncated"
JUDGED = re.compile(r"^(success|failure|reward) of the plug-in ")
FUNCTION = "mend {} of the plug-in: it gets a step e with e.observation, e.reward, e.terminated, e.info, e.raw, e.env"
RAISED = re.compile(r"\b[A-Z]\w*(Error|Exception|Exit|Warning)?: .*, line \d+\)$")
# Of what fails before there is an environment, by what the error says; the first that fits.
MAKING = (
    (r"cannot be loaded: .*pip install", ""),  # the text has the remedy
    (r"cannot be loaded: ", "mend the plug-in file"),  # whatever name its error asks for
    (r"did you mean ", NAMES),
    (r": --python PATH |docs/other-interpreter\.md", ""),  # the text has the remedy
    (r"needs a package that is missing|cannot be imported: No module", PACKAGE),
    (r"^no environment |cannot be imported", NAMES),
    (
        r"cannot be loaded|cannot be read|exists twice|must be a list of Environment|lacks |^names\(\) of",
        "mend the plug-in file",
    ),
    (r"refuses its arguments", "see --env-arg, or arguments of the plug-in"),
    (r"first step: (reset must|\w+: \S*reset\(\))", RESET),
    (r"first step: step must", STEP),
    (r"first step: ", f"{RAISES}: {STEP}"),
)


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found of one environment."""

    name: str
    file: str
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> int:
        return sum(finding.verdict == "problem" for finding in self.findings)


def examine(name: str, options: Mapping[str, Any] | None = None, *, silence: float = SILENCE) -> Examined:
    """Check an environment in a child process.

    Args:
        name: of the environment, a plug-in file or a gymnasium id.
        options: of its plug-in.
        silence: seconds without a message after which the child counts as hung.
    """
    findings: list[Finding] = []
    file, stage = "", "load"
    with _Child(name, options or {}) as child:
        while stage != "done":
            message = child.message(stage, silence)
            if isinstance(message, Finding):
                findings.append(message)
                break
            file, stage = message.get("file", file), message.get("stage", stage)
            if "finding" in message:
                findings.append(Finding(**message["finding"]))
    if any(finding.check == "seeds" and finding.verdict == "good" for finding in findings):
        findings.append(_across(name, options or {}, silence))
    return Examined(name, file, tuple(findings))


def measure(name: str, options: Mapping[str, Any], *, silence: float = SILENCE) -> dict[str, Any]:
    """Identify in a child process what the numbers of a gymnasium id are.

    Args:
        name: the id, with "module:" before it where a module registers it.
        options: of the environment.
        silence: as of ``examine``.

    Returns:
        What ``plugin_text`` writes; the environment's names are in it as they are.

    Raises:
        EnvironmentFault: the environment is not known, cannot be made, hangs or dies.
    """
    stage = "load"
    with _Child(name, options, "--draft") as child:
        while True:
            message = child.message(stage, silence)
            if not isinstance(message, Finding) and "finding" in message:
                message = Finding(**message["finding"])
            if isinstance(message, Finding):
                raise EnvironmentFault(f"{name}: {message.text}")
            stage = message.get("stage", stage)
            if "draft" in message:
                found: dict[str, Any] = message["draft"]
                return found


def _across(name: str, options: Mapping[str, Any], silence: float) -> Finding:
    """Compare one episode in two further processes, whose hashes and histories differ."""
    digests = []
    for salt in ("1", "2"):
        with _Child(name, options, "--digest", PYTHONHASHSEED=salt) as child:
            message = child.message("another process", silence)
            if isinstance(message, Finding):
                return message
            digests.append(message["digest"])
    if digests[0] != digests[1]:
        return problem("seeds", "the same seed and actions gave different episodes in two processes")
    return Finding("seeds", "good", "the same seed and actions give the same episode in another process")


class _Child(MessageProcess):
    """The checking process."""

    def __init__(self, name: str, options: Mapping[str, Any], *flags: str, **variables: str) -> None:
        arguments = (name, json.dumps(dict(options)), *flags)
        super().__init__(python_command("trace_robot.env_checker.child", *arguments), **variables)

    def message(self, stage: str, timeout: float) -> dict[str, Any] | Finding:
        """Return the next message, or as a finding why there is none.

        Args:
            stage: what the child is at, for the finding.
            timeout: seconds after which the child counts as hung.
        """
        where = STAGES.get(stage, stage)
        try:
            return self.next(timeout)
        except TimeoutError:
            return problem(stage, f"it hangs: {where} gave no answer within {timeout:g} s")
        except EOFError:
            return problem(stage, f"its process ended in {where} with {self.ending()}")

    def __enter__(self) -> _Child:
        return self


Verdict = Literal["good", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. field: of the plug-in, where one is meant.

    Remedy: what to do, of a problem.
    """

    check: str
    verdict: Verdict
    text: str
    field: str = ""
    remedy: str = ""


def problem(check: str, text: str, field: str = "") -> Finding:
    """Return a finding of a fault, with the remedy of its check.

    Args:
        check: the check that failed.
        text: what is wrong.
        field: of the plug-in, where one is meant.
    """
    return Finding(check, "problem", text, field, remedy_of(check, text, field))


def error_text(error: Exception) -> str:
    """Return an error in one line, with the line of the user's code that raised it."""
    text = " ".join(str(error).split())
    if not isinstance(error, TraceRobotError):
        return f"{type(error).__name__}: {text}{_place(error)}"
    cause = error.__cause__  # what the user's code raised, of which the text says no line
    theirs = cause is not None and not isinstance(cause, TraceRobotError) and "first step" in text
    return f"{text}{_place(cause)}" if theirs and cause is not None else text


def _place(error: BaseException) -> str:
    """Return the innermost line that is not ours, as text."""
    own = str(Path(__file__).resolve().parents[1])
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(own)]
    return f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""


def field_of(message: object) -> str:
    """Return the field of the plug-in that a message is about, if it names one."""
    words = str(message).replace(":", " ").replace(",", " ").split()
    known = (
        "observation",
        "action",
        "positions",
        "position",
        "horizon",
        "instruction",
        "task",
        "make",
        "pose",
        "hands",
    )
    found = next((word for word in words if word in known), "")
    return {"position": "positions", "instruction": "task"}.get(found, found)


def judged_field(text: str) -> str:
    """Return the field whose function a fault is about, "" without one."""
    match = JUDGED.match(text)
    return match.group(1) if match else ""


def remedy_of(check: str, text: str, field: str = "") -> str:
    """Return what to do about a problem, "" where its text says all.

    Args:
        check: that found it.
        text: of the problem.
        field: of the plug-in, where one is meant.
    """
    if DIED.search(text):
        return ALONE
    if name := judged_field(text):
        return FUNCTION.format(name)
    if field in FIELDS:
        return FIELDS[field]
    if check == "make":
        found = next((remedy for pattern, remedy in MAKING if re.search(pattern, text)), None)
        if found is None and field and field != "make" and "; " in text:
            return ""  # the text has the remedy, as errors of declarations do
        return found if found is not None else REMEDIES["spec" if field and field != "make" else "make"]
    if check in ("reset", "step") and RAISED.search(text):
        return f"{RAISES}: {REMEDIES[check]}"
    return REMEDIES.get(check, "")
