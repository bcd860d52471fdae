"""Every optimizer goes on from what any search has found."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import trace_robot
from trace_robot.llm import ScriptedModel
from trace_robot.policy import Policy, load_policy

LITTLE: dict[str, Any] = {"episodes": 2, "held_out": 2, "workers": 0, "video": False, "seed": 5}
# Of each kind: the environment, and settings in which the search finds something that leaves room for more.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "staged": ("point-mass", {"steps": 4000}),
    "law": ("CartPole-v1", {"steps": 400, "options": {"return_threshold": 499.0}}),
    "gait": ("Swimmer-v5", {"steps": 1600, "options": {"horizon": 40}}),
}


@pytest.fixture(scope="module")
def found() -> dict[str, Path]:
    """The best.py of a short search of each kind, once one was made."""
    return {}


def search(kind: str, found: dict[str, Path], tmp_path: Path) -> Path:
    if kind not in found:
        task, settings = KINDS[kind]
        trace_robot.optimize(task, optimizer="search", out=tmp_path / kind, **LITTLE, **settings)
        found[kind] = tmp_path / kind / "best.py"
    return found[kind]


def weakened(path: Path, tmp_path: Path) -> Path:
    """Write the controller with other numbers, so that there is something to find."""
    policy = load_policy(path).with_constants()
    numbers = [place for place in policy.places if place.kind == "number"]
    off = {place.name: place.value + 0.1 for place in numbers if place.near and "STAGES" not in place.name}
    text = policy.render(off or {numbers[0].name: numbers[0].value / 2})
    (tmp_path / "weak.py").write_text(text)
    return tmp_path / "weak.py"


def answers(policy: Policy) -> ScriptedModel:
    """A model that moves one number, or where there is none writes act again with another gain."""
    places = {place.name: place for place in policy.places}
    number = next((name for name, place in places.items() if place.kind == "number"), None)
    if number is not None:
        texts = [f'<variable name="{number}">{places[number].value * f:.4f}</variable>' for f in (1.5, 2.0)]
    else:
        texts = [
            f'<variable name="act">\n{places["act"].value.replace("GAIN", f"{f} * GAIN")}\n</variable>'
            for f in (1.5, 2.0)
        ]
    return ScriptedModel(
        [f"<reasoning>more of it</reasoning>\n{text}" for text in texts] + ["<stop>yes</stop>"]
    )


@pytest.mark.usefixtures("point_mass")
@pytest.mark.parametrize("optimizer", ["cma", "search", "opro", "optoprime"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_optimizer_goes_on_from_what_a_search_found(
    kind: str, optimizer: str, found: dict[str, Path], tmp_path: Path
) -> None:
    start = weakened(search(kind, found, tmp_path), tmp_path)
    task, settings = KINDS[kind]
    more: dict[str, Any] = {"iterations": 2} if optimizer != "search" else {}
    if optimizer in ("opro", "optoprime"):
        more["model"] = answers(load_policy(start))
    out = tmp_path / "on"
    result = trace_robot.optimize(
        task, policy=start, optimizer=optimizer, out=out, **{**LITTLE, **settings, **more}
    )
    assert result.candidates > 1, result.ended
    text = (out / "best.py").read_text()
    assert Policy.from_text(text).require_act().places
    if kind == "staged" and optimizer in ("cma", "search"):
        assert "Found by search for point-mass: " in (ast.get_docstring(ast.parse(text)) or "")
        assert re.search(r"^GAIN: Annotated\[float, Bounds\(1.0, 40.0\)\] = ", text, re.MULTILINE)


@pytest.mark.usefixtures("point_mass")
def test_the_search_of_staged_programs_begins_where_a_policy_has_no_act_to_write(tmp_path: Path) -> None:
    (tmp_path / "numbers.py").write_text(
        "from trace_robot import node\n\ngain = node(1.0, trainable=True)\n\n\n"
        "def act(observation):\n    return [gain.data] * 4\n"
    )
    result = trace_robot.optimize(
        "point-mass",
        policy=tmp_path / "numbers.py",
        optimizer="search",
        out=tmp_path / "on",
        steps=4000,
        **LITTLE,
    )
    text = (tmp_path / "on" / "best.py").read_text()
    assert result.best_iteration > 0
    assert result.held_out_success > 0
    assert "gain = node" not in text
    assert "@bundle(trainable=True)\ndef act(observation, memory):" in text
