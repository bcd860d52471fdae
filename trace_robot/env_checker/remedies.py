"""Remedies: what to do about a problem that the check of an environment has found."""

from __future__ import annotations

import re

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
RAISES = "mend the line that raises, or end the episode there with terminated or truncated"
JUDGED = re.compile(r"^(success|failure|reward) of the plug-in ")
FUNCTION = "mend {} of the plug-in: it gets a step e with e.observation, e.reward, e.terminated, e.info, e.raw, e.env"
RAISED = re.compile(r"\b[A-Z]\w*(Error|Exception|Exit|Warning)?: .*, line \d+\)$")
# Of what fails before there is an environment, by what the error says; the first that fits.
MAKING = (
    (r"did you mean ", NAMES),
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
    if name := judged_field(text):
        return FUNCTION.format(name)
    if field in FIELDS:
        return FIELDS[field]
    if check == "make":
        found = next((remedy for pattern, remedy in MAKING if re.search(pattern, text)), "")
        return found or REMEDIES["spec" if field and field != "make" else "make"]
    if check in ("reset", "step") and RAISED.search(text):
        return f"{RAISES}: {REMEDIES[check]}"
    return REMEDIES.get(check, "")
