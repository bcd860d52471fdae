"""What a check found, as plain data that crosses processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["good", "note", "problem"]
REMEDIES = {
    "load": "mend the plug-in file",
    "make": "see that make, or gymnasium.make, gives the environment when it is called with these arguments",
    "reset": "reset(seed=..., options=...) must return (observation, info) and begin an episode",
    "step": "step(action) must return (observation, reward, terminated, truncated, info) for every action in its space",
    "values": "give finite numbers: clip what diverges, or end the episode before it does",
    "seeds": "draw every random number from self.np_random, which super().reset(seed=seed) sets, and reset all state",
    "success": "say in its plug-in: success='an entry of info', a function of the step, or return_threshold=...",
    "spec": "mend this field of the plug-in",
    "picture": "offer render_mode='rgb_array', or keep MuJoCo's model, data and the model file's path (fullpath)",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. field: of the plug-in, where one is meant; remedy: what to do, of a problem."""

    check: str
    verdict: Verdict
    text: str
    field: str = ""
    remedy: str = ""


def problem(check: str, text: str, field: str = "") -> Finding:
    return Finding(check, "problem", text, field, REMEDIES.get(check, ""))
