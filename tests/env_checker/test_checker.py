"""The checker: environments that ship pass, each kind of broken one has a finding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers import arms
from trace_robot.cli import main
from trace_robot.env.registry import CatalogEntry, catalogue, controls
from trace_robot.env_checker import Finding, examine
from trace_robot.env_checker.checker import _Child
from trace_robot.env_checker.child import examination
from trace_robot.spec import Field, may_be_planar_point

ROOT = Path(__file__).parents[2]
SHIPPED = [
    entry.name for entry in catalogue() if Path(entry.file).name in ("classic.py", "gymnasium_robotics.py")
]
ENVIRONMENT = """
import os, time
import gymnasium
import numpy as np
from gymnasium import spaces
from trace_robot import Environment, part

class Point(gymnasium.Env):
    metadata = {{"render_modes": []}}
    observation_space = spaces.Box(-9, 9, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.steps = self.np_random.random(2), 0
        return self.at, {{}}
    def step(self, action):
        self.steps += 1
        {broken}
        self.at = 0.9 * self.at + 0.1 * action[0]
        return self.at, -1.0, False, False, {{"success": False}}
{more}
ENVIRONMENTS = [Environment("point", "Stay.", make=Point, {entry})]
"""


def broken(own: Path, *, step: str = "pass", more: str = "", entry: str = "") -> Path:
    (own / "envs").mkdir(exist_ok=True)
    path = own / "envs" / "mine.py"
    path.write_text(ENVIRONMENT.format(broken=step, more=more, entry=entry))
    return path


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACE_ROBOT_WORKSPACE", raising=False)
    return tmp_path


def test_what_ships_beside_meta_world_is_what_the_guide_names() -> None:
    assert {"CartPole-v1", "Reacher-v5", "Pusher-v5", "FetchReach-v4", "FetchSlideDense-v4"} <= set(SHIPPED)
    assert len(SHIPPED) == 16


@pytest.mark.parametrize("name", SHIPPED)
def test_an_environment_that_ships_has_no_problem_in_any_control_mode(name: str) -> None:
    # The dense variants are the same simulation, of which the reward alone differs.
    for control in ["raw"] if "Dense" in name else controls(name):
        messages = list(examination(name, {"control": control}))
        found = [Finding(**message["finding"]) for message in messages if "finding" in message]
        assert {each.check for each in found} >= {"spec", "success", "seeds", "state", "cost", "picture"}
        assert [each.text for each in found if each.verdict == "problem"] == []
        (state,) = [each for each in found if each.check == "state"]
        assert state.verdict == "good", state.text


def test_seeds_are_compared_across_processes() -> None:
    examined = examine("Pendulum-v1")
    assert examined.problems == 0
    assert examined.file == str(ROOT / "envs" / "classic.py")
    assert "the same seed and actions give the same episode in another process" in [
        f.text for f in examined.findings
    ]


@pytest.mark.parametrize(
    ("what", "check", "message", "remedy"),
    [
        ({"step": "raise ValueError('no such joint')"}, "make", "fails in its first step: ValueError: no such",
         "mend the line that raises"),
        ({"entry": "success=lambda e: e.observation['observation_00'] > 1"}, "success",
         "success of the plug-in raises KeyError: 'observation_00' ({name}, line {line}); did you mean 'observation_0",
         "mend success of the plug-in: it gets a step e"),
        ({"entry": "success='success', failure=lambda e: e.env.nothing"}, "success",
         "failure of the plug-in raises AttributeError: 'Point' object has no attribute 'nothing'", "mend failure of"),
        ({"entry": "success='success', reward=lambda e: 1 / 0"}, "step",
         "reward of the plug-in raises ZeroDivisionError: division by zero ({name}, line {line})", "mend reward of"),
        ({"entry": "terms=('distance',)"}, "success", "the number 'distance' of terms", "or leave terms out"),
        (
            {"step": "assert self.steps < 4, 'worn out'"},
            "step",
            "AssertionError: worn out ({file}, line {line})",
            "step(action) must return",
        ),
        ({"step": "self.at = self.at * np.nan if self.steps > 3 else self.at"}, "values",
         "the observation is not finite at observation_0, observation_1", "give finite numbers"),
        ({"step": "return self.at, float('nan') if self.steps > 3 else 0, False, False, {}", "entry": "success='won'"},
         "values", "the reward is not finite: nan", "give finite numbers"),
        ({"step": "self.at = self.at + np.random.random()"}, "seeds",
         "the same seed and actions gave different observations in two objects", "from self.np_random"),
        ({"step": "return self.at, 0.0, False, {}", "entry": "success='won'"}, "step",
         "step must return (observation, reward, terminated, truncated, info), got 4 values", "step(action)"),
        ({"step": "return self.at, None, False, False, {}", "entry": "success='won'"}, "step",
         "step must give a number as the reward and a dict as info, got None and dict", "step(action)"),
        ({"step": "return self.at, 0.0, False, False, {}"}, "success", "nothing says what success is", "success="),
        ({"entry": "observation=[part('a', 1)]"}, "make",
         "{file}: point: observation: the parts name 1 = 1 numbers, and the space has 2; name the others"
         " too, or skip(n)", ""),
        ({"entry": "positions=('a',)"}, "spec", "positions: no part of the observation 'a'", "this field"),
        ({"more": "Point.action_space = spaces.Text(3)"}, "make", "action: the space is Text, and a controller", ""),
        ({"more": "Point.action_space = spaces.Box(-np.inf, np.inf, (1,))"}, "make",
         "action: 'action' has no bounds in its space; give them: part('action', 1, low=..., high=...)", ""),
        ({"more": "Point.observation_space = None"}, "make", "the environment has no observation_space; set it", ""),
        ({"more": "Point.reset = lambda self, seed=None, options=None: np.zeros(2)", "entry": "success='won'"}, "reset",
         "reset must return (observation, info), got ndarray", "reset(seed=..., options=...)"),
        ({"step": "os._exit(3) if self.steps > 3 else None"}, "step",
         "its process ended in step() with exit code 3", "step(action)"),
        ({"step": "time.sleep(900) if self.steps > 3 else None"}, "step",
         "it hangs: step() gave no answer within 0.5 s", "step(action)"),
        ({"more": "import nothing_of_this_name"}, "make",
         "{file} cannot be loaded: ModuleNotFoundError: No module named 'nothing_of_this_name' (line {line})", ""),
    ],
)  # fmt: skip
def test_a_broken_environment_learns_what_is_wrong_and_how_to_mend_it(
    own: Path, what: dict[str, str], check: str, message: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = broken(own, **what)
    if (
        "hangs" in message
    ):  # a short deadline where it hangs, and a long one for what a busy machine makes slow
        waiting = _Child.message
        monkeypatch.setattr(
            _Child, "message", lambda self, stage, _: waiting(self, stage, 0.5 if stage == "step" else 240.0)
        )
    examined = examine("point" if "import" not in what.get("more", "") else str(path), silence=240.0)
    problems = [finding for finding in examined.findings if finding.verdict == "problem"]
    marks = [
        n
        for n, text in enumerate(path.read_text().splitlines(), 1)
        if any(mark in text for mark in ("worn", "nothing_of", "lambda e:"))
    ]
    wanted = message.format(file=path, name=Path(path).name, line=marks[0] if marks else 0)
    assert any(each.check == check and wanted in each.text and remedy in each.remedy for each in problems), (
        "\n".join(each.text for each in problems)
    )


def test_a_file_is_checked_with_all_its_environments_and_the_exit_code_says_whether_all_is_well(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = broken(own)
    path.write_text(
        path.read_text() + "ENVIRONMENTS.append(Environment('other', 'Go.', make=Point, positions=('b',)))\n"
    )
    assert main(["check-env", str(path), "--json"]) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert (first["name"], first["problems"], second["name"], second["problems"]) == ("point", 0, "other", 1)
    (wrong,) = [finding for finding in second["findings"] if finding["verdict"] == "problem"]
    assert wrong["field"] == "positions"
    assert main(["check-env", "point"]) == 0
    assert "good     seeds" in capsys.readouterr().out


def test_a_missing_package_is_reported_with_the_command_that_installs_it(own: Path) -> None:
    (own / "envs").mkdir()
    (own / "envs" / "mine.py").write_text(
        "from trace_robot import Environment\n"
        "ENVIRONMENTS = [Environment('nothing_of_this_name:Arm-v0', 'Reach.')]\n"
    )
    (found,) = examine("Arm-v0").findings
    assert found.text.endswith(
        "Arm-v0 needs a package that is missing (No module named 'nothing_of_this_name'):"
        " pip install nothing_of_this_name, or run it in another interpreter: --python PATH"
        " (docs/other-interpreter.md)"
    )
    assert not found.remedy  # which would say it twice


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (
            "class Point:\n    reset = step = close = None",
            "Point is no gymnasium.Env and has no unwrapped, observation_space, action_space: write class"
            " Point(gymnasium.Env); a class without gymnasium, and spaces as pairs of bounds, need python=..."
            " (docs/other-interpreter.md)",
        ),
        (
            "Point.action_space = ([-1.0], [1.0])",
            "action_space of Point must be a space such as gymnasium.spaces.Box, got ([-1.0], [1.0]); a class without"
            " gymnasium, and spaces as pairs of bounds, need python=... (docs/other-interpreter.md)",
        ),
    ],
)
def test_a_class_without_gymnasium_is_one_line_with_what_is_missing(own: Path, more: str, text: str) -> None:
    path = broken(own, more=more)
    (found,) = examine("point").findings
    assert found.text == f"{path}: point: {text}"
    assert not found.remedy


def test_wrong_sizes_and_misspelt_fields_are_one_line_with_the_remedy_once(own: Path) -> None:
    broken(own, entry='observation=[part("at", 3)]')
    (found,) = examine("point").findings
    assert found.text.endswith("the parts name 3 = 3 numbers, and the space has 2; make them smaller")
    assert not found.remedy
    broken(own, entry='observations=[part("at", 2)]')
    (found,) = examine("point").findings
    assert "no field of Environment 'observations'; did you mean 'observation'" in found.text
    assert "TypeError" not in found.text
    assert found.remedy == "mend the plug-in file"


def test_a_difference_is_no_position_and_gets_no_height(own: Path) -> None:
    for name, advice in (
        ("target_from_tip", "is a difference: leave it out of positions, feedback laws use it as an error"),
        ("tip", "give its height: part('tip', 2, 'm', height=0.0)"),
    ):
        broken(own, entry=f'observation=[part("{name}", 2, "m")], positions=("{name}",)')
        (found,) = examine("point").findings
        assert found.text.endswith(advice)


@pytest.mark.parametrize(
    ("name", "meaning", "planar"),
    [
        ("tip", "x and y", True),
        ("target_from_tip", "", False),
        ("tip_to_target", "", False),
        ("tip", "x and z", False),
        ("tip", "along the rail and up", False),
    ],
)
def test_only_a_point_of_a_horizontal_plane_is_proposed_as_a_planar_position(
    name: str, meaning: str, planar: bool
) -> None:
    assert may_be_planar_point(Field(name, 0, 2, "m", meaning)) is planar


def test_an_environment_of_a_function_has_the_name_of_the_file_that_is_written(own: Path) -> None:
    broken(own, more="def make():\n    return Point()\n").rename(own / "point_module.py")
    line = ["init", "--env", "point_module.py:make", "--write", "envs/mover.py", "--task", "Stay."]
    assert main(line) == 0
    text = (own / "envs" / "mover.py").read_text()
    assert 'make="../point_module.py:make"' in text
    assert "make" not in [entry.name for entry in catalogue()]
    assert "mover" in [entry.name for entry in catalogue()]


def test_the_list_shows_declared_environments_without_making_them(own: Path) -> None:
    broken(own, more="Point.__init__ = lambda self: 1 / 0")
    (entry,) = [entry for entry in catalogue() if entry.name == "point"]
    assert entry == CatalogEntry("point", "Stay.", "", str(own / "envs" / "mine.py"))


def test_a_hand_of_an_arm_in_joint_space_has_a_line_with_what_moves_it(own: Path) -> None:
    (own / "envs").mkdir()
    entry = 'Environment("arm", "Reach.", make=lambda **_: JointArm(model_of(*four_joints("velocity", fingers=TWO)),'
    entry += ' hold=False), observation=[part("tip_position", 3), part("goal", 3), part("angles", 6)],'
    entry += ' hands=[Hand("tip_position")], success="success")'
    text = (
        Path(arms.__file__).read_text()
        + "\nfrom trace_robot import Environment, Hand, part\nENVIRONMENTS = [{}]\n"
    )
    (own / "envs" / "arm.py").write_text(text.replace("[{}]", f"[{entry}]"))
    lines = [
        m["finding"]["text"] for m in examination("arm", {}) if m.get("finding", {}).get("check") == "hands"
    ]
    assert lines == [
        "hand 'hand': inverse kinematics over 4 joints by velocity actuators, gripper 'action_4, action_5', opens +1"
    ]


MASS = """
import gymnasium, numpy as np
from gymnasium import spaces
from trace_robot import Environment, part

class Mass(gymnasium.Env):
    metadata = {"render_modes": []}
    observation_space = spaces.Box(-np.inf, np.inf, (6,), np.float64)
    action_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.goal = self.np_random.uniform(-1, 1, (2, 3))
        self.speed = np.zeros(3)
        return np.append(self.at, self.goal), {}
    def step(self, action):
        self.speed = self.speed + 0.01 * action
        self.at = self.at + self.speed
        return np.append(self.at, self.goal), -1.0, False, False, {"success": False}

ENVIRONMENTS = [
    Environment(
        "mass", "Push it.", make=lambda: Mass(), horizon=50, positions=("tip_position", "goal_position"),
        observation=[part("tip_position", 3, "m"), part("goal_position", 3, "m")],
    )
]
"""


def test_why_a_position_is_no_hand_is_a_line_of_the_check(own: Path) -> None:
    (own / "envs").mkdir()
    (own / "envs" / "mass.py").write_text(MASS)
    (found,) = [f for f in examine("mass").findings if f.verdict == "note" and "hand" in f.text]
    assert found.text.startswith(
        "no search uses positions (tip_position, goal_position): tip_position is no hand that the search can move:"
        " 'hand' is still moving 16 steps after a push of one step"
    )
    assert found.text.endswith("; feedback laws remain")
    assert found.remedy == ""  # no hand can be declared: one line, and it does not ask for one


SERVER = """
import gymnasium, numpy as np
from gymnasium import spaces
from trace_robot import Environment, part

CONNECTED = []

class Client:  # as of PyBullet: a copy ends the connection of both when it is dropped
    def __init__(self):
        self.number, self.at = len(CONNECTED), 0.0
        CONNECTED.append(True)
    def push(self, by):
        if not CONNECTED[self.number]:
            raise RuntimeError("Not connected to physics server.")
        self.at += 0.05 * float(by)
    def __del__(self):
        CONNECTED[self.number] = False

class Cart(gymnasium.Env):
    metadata = {"render_modes": []}
    observation_space = spaces.Box(-9, 9, (2,), np.float64)
    action_space = spaces.Box(-1, 1, (1,), np.float32)
    def __init__(self):
        self.client = Client()
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.client.at, self.goal = 0.0, self.np_random.uniform(-0.5, 0.5)
        return self.step(np.zeros(1))[0], {}
    def step(self, action):
        self.client.push(action[0])
        seen = np.array([self.client.at, self.goal])
        return seen, -1.0, False, False, {"success": bool(abs(seen[0] - seen[1]) < 0.02)}

ENVIRONMENTS = [Environment("cart", "Stop at the goal.", make=Cart, horizon=20)]
"""


def test_a_client_that_cannot_be_copied_disturbs_no_later_check(own: Path) -> None:
    (own / "envs").mkdir()
    (own / "envs" / "cart.py").write_text(SERVER)
    examined = examine("cart")
    assert [each.text for each in examined.findings if each.verdict == "problem"] == []
    (state,) = [each for each in examined.findings if each.check == "state"]
    assert (state.verdict, "Not connected to physics server" in state.text) == ("good", True)
    assert {"cost", "picture", "seeds"} <= {each.check for each in examined.findings}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("gymnasium:Pushr-v5", "did you mean 'gymnasium:Pusher-v5'"),
        ("gymnasum:Pusher-v5", "did you mean 'Pusher-v5'"),
        ("gymnasum:Blackjack-v1", "did you mean 'gymnasium:Blackjack-v1'"),
        ("mine:point", "did you mean 'point'"),
        ("envs/mine.py:point", "did you mean 'point'"),
        ("poimt", "did you mean 'point'"),
    ],
)
def test_a_name_that_is_not_known_is_answered_with_what_may_be_meant(
    own: Path, name: str, meant: str
) -> None:
    broken(own)
    (finding,) = [Finding(**m["finding"]) for m in examination(name, {"task": "Go."}) if "finding" in m]
    assert meant in finding.text
    assert (
        finding.remedy
        == "type a name that trace-robot envs lists, or MODULE:ID of a package that registers it"
    )


ARM = """
import gymnasium, numpy as np
from gymnasium import spaces
from trace_robot import Environment, Hand, part

class Arm(gymnasium.Env):
    metadata = {"render_modes": []}
    observation_space = spaces.Box(-9, 9, (7,), np.float64)
    action_space = spaces.Box(-1, 1, (4,), np.float32)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.goal, self.width = np.zeros(3), self.np_random.uniform(-0.3, 0.3, 3), 0.02
        return self.seen(), {}
    def step(self, action):
        self.at = self.at + 0.03 * action[:3]
        self.width = float(np.clip(self.width + 0.01 * action[3], 0.0, 0.04))  # opens at +1
        near = np.linalg.norm(self.at - self.goal)
        return self.seen(), -near, False, False, {"success": bool(near < 0.05)}
    def seen(self):
        return np.concatenate([self.at, self.goal, [self.width]])

class Nested(Arm):
    observation_space = spaces.Dict({
        "robot": spaces.Dict({"hand": spaces.Box(-9, 9, (3,)), "width": spaces.Box(-1, 1, (1,))}),
        "task": spaces.Dict({"goal": spaces.Box(-9, 9, (3,))}),
    })
    def seen(self):
        return {"robot": {"hand": self.at, "width": np.array([self.width])}, "task": {"goal": self.goal}}

POINTS = [part("hand_position", 3, "m"), part("goal_position", 3, "m"), part("width", 1, "m")]
NUMBERS = [part("motion", 3), part("gripper")]
FIELDS = {"horizon": 40, **(ENTRY)}
ENVIRONMENTS = [Environment("arm", "Reach.", make=lambda: KIND(), **FIELDS)]
"""


def advised(own: Path, entry: str, kind: str = "Arm", file: str = "arm") -> list[tuple[str, str, str, str]]:
    (own / "envs").mkdir(exist_ok=True)
    (own / "envs" / f"{file}.py").write_text(ARM.replace("ENTRY", entry).replace("KIND", kind))
    found = [Finding(**message["finding"]) for message in examination("arm", {}) if "finding" in message]
    assert not [each.text for each in found if each.verdict == "problem"]
    return [(each.verdict, each.check, each.text, each.remedy) for each in found]


def test_numbers_without_names_are_pointed_out_with_the_field_that_names_them(own: Path) -> None:
    found = advised(own, "{}")
    texts = [text for verdict, check, text, _ in found if (verdict, check) == ("note", "names")]
    assert texts == [
        "7 numbers of the observation have no name but observation_0, ...: neither a model nor a reader can tell what"
        " they are",
        "4 numbers of the action have no name but action_0, ...: neither a model nor a reader can tell what they are",
    ]


def test_parts_that_may_be_points_are_named_where_positions_names_none(own: Path) -> None:
    found = advised(own, "{'observation': POINTS, 'action': NUMBERS}")
    (remedy,) = [remedy for verdict, check, _, remedy in found if (verdict, check) == ("note", "positions")]
    assert remedy.endswith("the hand first: positions=('hand_position', 'goal_position')")


def test_positions_that_no_search_uses_are_pointed_out(own: Path) -> None:
    entry = "{'observation': POINTS, 'action': NUMBERS, 'positions': ('goal_position',)}"
    texts = [text for _, check, text, _ in advised(own, entry) if check == "positions"]
    assert any(text.startswith("no search uses positions (goal_position): ") for text in texts)


@pytest.mark.parametrize(
    "declared", ["", ", 'hands': [Hand('hand_position', motion='motion', gripper='gripper')]"]
)
def test_a_gripper_that_opens_the_other_way_is_found_and_mended_by_the_line_that_is_shown(
    own: Path, declared: str
) -> None:
    entry = "'observation': POINTS, 'action': NUMBERS, 'positions': ('hand_position', 'goal_position')"
    found = advised(own, f"{{{entry}{declared}}}")
    (remedy,) = [each[3] for each in found if "is taken to open at -1" in each[2]]
    hand = remedy.removeprefix("say so: hands=")
    assert hand == "[Hand('hand_position', motion='motion', gripper='gripper', opens=+1)]"
    (own / "envs" / "arm.py").unlink()
    mended = advised(own, f"{{{entry}, 'hands': {hand}}}", file="mended")
    texts = [text for _, check, text, _ in mended if check == "hands"]
    assert "the gripper of 'hand' opens at +1 of gripper, measured by width" in texts


def test_a_dict_within_a_dict_is_one_list_of_parts(own: Path) -> None:
    entry = "{'observation': {'robot': [part('hand_position', 3, 'm'), part('width')], 'task': part('goal', 3, 'm')}}"
    (text,) = [text for _, check, text, _ in advised(own, entry, "Nested") if check == "spec"]
    assert text.startswith("observation: hand_position (3), width, goal (3); action")
