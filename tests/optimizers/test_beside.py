"""What stands beside trainable code in its file: shown where it is used, kept when the code is replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trace_robot import Result, optimize
from trace_robot.llm import ScriptedModel
from trace_robot.llm.metering import message_tokens
from trace_robot.optimizers import Candidate, OptoPrime, Outcome
from trace_robot.optimizers.code import bound_by, parse, used_beside
from trace_robot.optimizers.prompt import KEPT
from trace_robot.policy import Policy, load_policy
from trace_robot.policy.policy import problem_of
from trace_robot.rollout import Task
from trace_robot.run.optimize import first_prompt

pytestmark = pytest.mark.usefixtures("point_mass")
HEAD = '''import math

import numpy as np

from trace_robot import bundle, node

CONTROL = "raw"
SPEED = 0.25  # of the way, a decision
UNUSED = 2.0


# Never further than the action goes.
def limited(motion):
    """Return the motion
#Feedback
    within its bounds."""
    return np.clip(motion, -1.0, 1.0)


def towards(goal, hand):
    return limited(SPEED * (goal - hand))


'''
ACT = """@bundle(trainable=True)
def act(observation, memory):
    return [*towards(observation["goal_position"], observation["hand_position"]), 0.0]
"""
REPLY = """<reasoning>faster</reasoning>
<change>faster</change>
<variable name="act">
```python
{code}
```
</variable>
<stop>no</stop>"""
# The goal is at most 1.4 m away, and a full action moves 0.1 m: ten times the error is there in 14 decisions.
FASTER = """def act(observation, memory):
    motion = 40 * SPEED * (observation["goal_position"] - observation["hand_position"])
    return [*limited(motion), 0.0]"""
LITTLE: dict[str, Any] = {
    "optimizer": "optoprime", "episodes": 2, "held_out": 2, "confirm": 0, "grow": 0, "iterations": 1, "workers": 0,
    "video": False, "tune": False,
}  # fmt: skip


def section(text: str, name: str) -> str:
    """Return a part of a prompt, "" where it has none."""
    _, found, rest = text.partition(f"\n{name}\n")
    return rest.partition("\n\n#")[0] if found else ""


def run_from(text: str, code: str, folder: Path) -> tuple[ScriptedModel, Result]:
    """Optimize the point mass from a policy, with one reply."""
    model = ScriptedModel([REPLY.format(code=code)])
    policy = Policy.from_text(text, "best")
    return model, optimize("point-mass", policy=policy, model=model, out=folder, **LITTLE)


def prompt_of(policy: Policy, **options: Any) -> str:
    """Return the prompt after one outcome without episodes."""
    task = Task.load("point-mass", policy)
    optimizer = OptoPrime(problem_of(task.policy, task.spec, ("It is called.",)), by_worth=True, **options)
    optimizer.learn(Candidate(0, None, task.policy.values), Outcome(0, 0.25))
    return optimizer.messages()[0]["content"] + optimizer.messages()[1]["content"]


def test_a_run_from_an_earlier_best_shows_what_act_calls_and_the_next_act_can_call_it(
    tmp_path: Path,
) -> None:
    model, result = run_from(HEAD + ACT, FASTER, tmp_path / "run")
    first = model.history[0]
    assert message_tokens(first) <= 6000
    shown = section(first[1]["content"], "#Module")
    assert shown.startswith(KEPT)
    assert "    SPEED = 0.25  # of the way, a decision\n" in shown
    assert "    # Never further than the action goes.\n    def limited(motion):\n" in shown
    assert "    import numpy as np\n" in shown
    assert "        return limited(SPEED * (goal - hand))" in shown
    assert "UNUSED" not in shown
    assert "import math" not in shown
    assert "CONTROL" not in shown
    assert (result.best_iteration, result.training_success) == (1, 1.0)  # limited and SPEED are there
    text = (tmp_path / "run" / "best.py").read_text()
    assert text.startswith(HEAD.rstrip())


@pytest.mark.parametrize("below", [False, True], ids=["above act", "below act"])
def test_a_helper_of_a_reply_is_called_in_place_of_the_one_of_the_same_name(
    below: bool, tmp_path: Path
) -> None:
    helper = "def towards(goal, hand):\n    return 0 * goal\n"
    start = HEAD.partition("def towards")[0]
    text = f"{start}{ACT}\n\n{helper}" if below else f"{start}{helper}\n\n{ACT}"
    code = (
        f"def towards(goal, hand):\n    return limited(10 * (goal - hand))\n\n\n{ACT.partition(chr(10))[2]}"
    )
    _, result = run_from(text, code, tmp_path / "run")
    assert (result.best_iteration, result.training_success) == (1, 1.0)
    # The file that the run wrote begins the next one, whose prompt has the helper that holds.
    shown = section(prompt_of(load_policy(tmp_path / "run" / "best.py")), "#Module")
    assert shown.count("def towards") == 1
    assert "return limited(10 * (goal - hand))" in shown


def test_an_import_of_a_reply_takes_the_place_of_a_function_of_the_same_name(tmp_path: Path) -> None:
    text = HEAD + "def hypot(*values):\n    raise ValueError\n\n\n" + ACT
    code = "from math import hypot\n\n\n" + FASTER.replace("40 *", "40 * hypot(1.0) *")
    _, result = run_from(text, code, tmp_path / "run")
    assert (result.best_iteration, result.training_success) == (1, 1.0)


def test_other_places_and_their_names_stay_where_a_helper_is_new() -> None:
    text = HEAD + ACT + "\n\ngain = node(1.0, trainable=True)\nLATE, LATER = 1, 2\n"
    value = "LATE = 3\n\n\ndef limited(x):\n    return x\n\n\n" + FASTER
    changed = Policy.from_text(text).render({"act": value})
    assert changed.endswith("gain = node(1.0, trainable=True)\nLATE, LATER = 1, 2\n")
    assert changed.count("def limited") == 2  # the first one ends before the second begins


@pytest.mark.parametrize("name", ["do_nothing", "pick_place", "fetch", "balance"])
def test_where_nothing_is_used_beside_the_variables_a_prompt_does_not_mention_it(name: str) -> None:
    prompt = prompt_of(load_policy(Path(__file__).parents[2] / "policies" / f"{name}.py"))
    assert "#Variables" in prompt
    assert "#Module" not in prompt


def test_prompts_of_0_1_are_as_they_were() -> None:
    policy = Policy.from_text(HEAD + ACT)
    asked = {"episodes": 1, "workers": 0, "prompt": 1, "tune": False}
    prompt = first_prompt("point-mass", policy=policy, **asked)
    assert "(code) act =" in prompt
    assert "#Module" not in prompt


def test_a_small_budget_loses_whole_definitions_and_counts_their_lines() -> None:
    long = "\n".join(f"    motion = motion * 1.0  # {k}" for k in range(40))
    text = (
        HEAD.replace("    return limited(SPEED", f"    motion = goal\n{long}\n    return limited(SPEED") + ACT
    )
    prompt = prompt_of(Policy.from_text(text), token_budget=1800)
    shown = section(prompt, "#Module")
    assert "SPEED = 0.25" in shown
    assert "motion * 1.0" not in shown
    assert "(43 more lines left out)" in shown
    assert "\n#Module" not in prompt_of(Policy.from_text(text), mask=("#Module",))
    whole = section(prompt_of(Policy.from_text(text)), "#Module")
    assert "motion * 1.0  # 39" in whole
    assert "left out" not in whole


def test_no_line_of_a_helper_is_a_heading_of_the_prompt() -> None:
    policy = Policy.from_text(HEAD + ACT)
    shown = prompt_of(policy).partition("\n#Module\n")[2].partition("\n#Variables")[0]
    assert "    #Feedback" in shown
    assert "\n#Feedback" not in shown


@pytest.mark.parametrize(
    ("beside", "value", "used"),
    [
        ("A = 1\nB = A\nC = 2", "def act(o):\n    return B", ["A = 1", "B = A"]),
        ("T = {}\nT['a'] = 1\nprint(3)", "def act(o):\n    return T", ["T = {}", "T['a'] = 1"]),
        ("T = {}\nT.update(b=2)", "def act(o):\n    return T", ["T = {}", "T.update(b=2)"]),
        ("def f():\n    return 1\ndef f():\n    return 2", "def act(o):\n    return f()", ["def f():\n    return 2"]),
        ("A = 1\nB = A", "A = 3\ndef act(o):\n    return A", []),
        ("A = 1\nB = A", "A = 3\ndef act(o):\n    return B", ["B = A"]),
        ("import math", "def act(o):\n    return math.pi", []),
        ("import math\nA = math.pi", "def act(o):\n    return A", ["import math", "A = math.pi"]),
        ("try:\n    A = 1\nexcept ValueError:\n    B = 2", "def act(o):\n    return B", None),
        ("class P:\n    x = 1", "def act(o):\n    return P.x", ["class P:\n    x = 1"]),
        ("A = 1", "def act(o", []),
        ("", "def act(o):\n    return A", []),
        ("(", "def act(o):\n    return A", []),
    ],
)  # fmt: skip
def test_what_is_used_is_found_through_others_and_the_last_definition_holds(
    beside: str, value: str, used: list[str] | None
) -> None:
    assert used_beside(beside, [value]) == ([beside] if used is None else used)


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("a, (b, *c) = 1, (2, 3)", {"a", "b", "c"}),
        ("a.b[c] = 1", {"a"}),
        ("import a.b, c as d", {"a", "d"}),
        ("for i in range(3):\n    t.append(i)", {"i", "t"}),
        ("if x:\n    def f(): ...\nelse:\n    class G: ...", {"f", "G"}),
        ("with x as y:\n    z = 1", {"y", "z"}),
        ("a: int = 1", {"a"}),
        ("'text'", set()),
        ("f(a)", set()),
    ],
)
def test_the_names_that_a_statement_binds(statement: str, names: set[str]) -> None:
    tree = parse(statement)
    assert not isinstance(tree, str)
    assert bound_by(tree.body[0]) == names
