"""Names are found in the right place, files load once, mistakes are one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trace_robot import workspace
from trace_robot.env import registry
from trace_robot.env.traced import load_env
from trace_robot.errors import UnknownNameError, WorkspaceError

PLUGIN = """
from trace_robot.spec import TaskSpec, Field
import gymnasium, numpy as np

def names(): return ["{name}"]

def describe(name):
    return TaskSpec(name, "{words}", (Field("angle", 0, 1),), (Field("torque", 0, 1),), {size}, (-1.0,), (1.0,), 9)

class Env(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-9, 9, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    def reset(self, *, seed=None, options=None): return np.zeros(1), {{}}
    def step(self, action): return np.zeros(1), 0.0, False, False, {{}}

def make(name): return Env()
"""


def plugin(name: str = "mine", words: str = "Do it.", size: int = 1) -> str:
    return PLUGIN.format(name=name, words=words, size=size)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own empty workspace, which is the working directory."""
    (tmp_path / "envs").mkdir()
    (tmp_path / "policies" / "zoo").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACE_ROBOT_WORKSPACE", raising=False)
    return tmp_path


def test_a_plug_in_of_the_working_directory_is_found_beside_the_built_in_ones(own: Path) -> None:
    (own / "envs" / "mine.py").write_text(plugin())
    assert {"mine", "pick-place-v3"} <= set(registry.environments())
    assert load_env("mine").task_spec.instruction == "Do it."


def test_a_plug_in_of_the_working_directory_comes_before_a_built_in_one_of_the_same_name(own: Path) -> None:
    (own / "envs" / "mine.py").write_text(plugin("reach-v3"))
    assert registry.describe("reach-v3").instruction == "Do it."


def test_the_named_directory_takes_the_place_of_the_working_directory(
    own: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own / "envs" / "mine.py").write_text(plugin())
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert "mine" not in registry.environments()
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(own))
    assert "mine" in registry.environments()


def test_a_file_that_is_loaded_twice_gives_the_same_module(own: Path) -> None:
    path = own / "envs" / "mine.py"
    path.write_text(plugin())
    (own / "link").symlink_to(own / "envs")
    assert workspace.load(path) is workspace.load(own / "link" / "mine.py")
    assert registry.plugin("mine") is registry.plugin("mine")
    assert registry.plugin("mine").file == str(path)


def test_a_plug_in_can_import_a_module_that_lies_in_a_folder_beside_it(own: Path) -> None:
    (own / "envs" / "mine_parts").mkdir()
    (own / "envs" / "mine_parts" / "words.py").write_text("WORDS = 'From beside.'")
    text = "from .mine_parts.words import WORDS\n" + plugin(words="{WORDS}").replace('"{WORDS}"', "WORDS")
    (own / "envs" / "mine.py").write_text(text)
    assert registry.describe("mine").instruction == "From beside."


def test_loading_a_plug_in_leaves_the_import_path_alone(own: Path) -> None:
    before = list(sys.path)
    (own / "envs" / "mine.py").write_text(plugin())
    registry.environments()
    assert sys.path == before


def test_other_peoples_files_in_a_folder_called_envs_are_not_executed(own: Path) -> None:
    (own / "envs" / "training.py").write_text("raise SystemExit('this ran')")
    assert "reach-v3" in registry.environments()


def test_a_misspelled_environment_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(
        UnknownNameError, match=r"^no environment 'pick-plce-v3'; did you mean 'pick-place-v3' or "
    ):
        load_env("pick-plce-v3")


def test_an_environment_like_no_other_is_an_error_with_some_names() -> None:
    with pytest.raises(
        UnknownNameError,
        match=r"^no environment 'qqq' among \d+; the first: Acrobot-v1, (\S+-v\d+, ){4}\S+-v\d+$",
    ):
        load_env("qqq")


def test_a_misspelled_option_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match=r"^no option of reach-v3 'contrl'; did you mean 'control'\?$"):
        load_env("reach-v3", contrl="raw")


def test_policies_are_found_by_name_also_in_subfolders(own: Path) -> None:
    (own / "policies" / "zoo" / "best.py").write_text("")
    assert workspace.find("policies", "zoo/best") == own / "policies" / "zoo" / "best.py"
    assert "zoo/best" in workspace.policies()
    with pytest.raises(UnknownNameError, match=r"^no policy 'zoo/bst'; did you mean 'zoo/best'\?$"):
        workspace.find("policies", "zoo/bst")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            plugin() + "\nimport nothing_of_this_name",
            r"mine\.py cannot be loaded: ModuleNotFoundError: .*; mend",
        ),
        (plugin() + "\n1 / 0\n", r"cannot be loaded: ZeroDivisionError: division by zero \(line 18\); mend"),
        ("def names(:", r"mine\.py cannot be read as Python: "),
        (
            "def names(): return ['a']",
            r"mine\.py lacks describe and make; a plug-in has names, describe, make",
        ),
        (plugin().replace('["mine"]', '"mine"'), r"names\(\) of .*mine\.py must return a sequence of names"),
    ],
)
def test_a_broken_plug_in_is_named_with_what_is_wrong(own: Path, text: str, message: str) -> None:
    (own / "envs" / "mine.py").write_text(text)
    with pytest.raises(WorkspaceError, match=message):
        load_env("mine")


def test_a_name_that_two_plug_ins_of_one_workspace_claim_is_an_error_that_names_both(own: Path) -> None:
    (own / "envs" / "one.py").write_text(plugin())
    (own / "envs" / "two.py").write_text(plugin())
    with pytest.raises(WorkspaceError, match=r"'mine' exists twice: in .*one\.py and .*two\.py; rename one"):
        registry.describe("mine")
    assert "mine" not in registry.environments()
    assert "reach-v3" in registry.environments()


def test_a_plug_in_that_says_other_sizes_than_it_has_is_an_error_that_names_the_file(own: Path) -> None:
    (own / "envs" / "mine.py").write_text(plugin(size=2))
    with pytest.raises(
        WorkspaceError, match=r"mine\.py: mine: the observation space must be a Box of shape \(2,\)"
    ):
        load_env("mine")


def test_the_copy_in_an_installed_wheel_is_found_where_there_is_no_checkout(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = own / "site-packages" / "trace_robot"
    (site / "_workspace" / "envs").mkdir(parents=True)
    (site / "_workspace" / "envs" / "mine.py").write_text(plugin())
    monkeypatch.setattr(workspace, "__file__", str(site / "workspace.py"))
    assert registry.environments() == ("mine",)
