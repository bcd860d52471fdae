"""Every example of every page runs, every command can be typed, every link leads somewhere."""

from __future__ import annotations

import importlib
import inspect
import linecache
import re
import shlex
import shutil
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.interpreters import create
from trace_robot.cli.main import create_parser, main
from trace_robot.env.registry import describe
from trace_robot.errors import TraceRobotError
from trace_robot.policy import Policy
from trace_robot.rollout import Job, RolloutEngine

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDE = sorted(DOCS.glob("*.md"))
EVERY = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
OTHER_PROGRAMS = {
    "ray": {"start"},
    "pip": {"install", "wheel"},
    ".": {".venv/bin/activate"},
    "python3.10": {"-m"},
    "~/robosuite/bin/pip": {"install"},
}  # whose arguments are not ours to check
# What commands of the guide need nothing but runs for; the others take a model, minutes or a robot.
LOOKING = ("runs", "show", "compare", "diff", "prompt", "graph", "report", "rename", "tag", "rm", "policies")
# What makes the other commands of the guide short enough; the line itself is run as it is shown.
LITTLE = "--steps 300 --held-out 1 --episodes 1 --no-video --workers 0"
SHORT = {
    "optimize": LITTLE,
    "evaluate": "--episodes 1 --workers 0",
    "zoo": "--episodes 1 --tasks reach-v3 --workers 0",
    "stress": "--episodes 1 --tasks button-press-topdown-v3 --workers 0",
    "init": "",
    "check-env": "",
    "envs": "",
    "sandbox": "",
    "deploy": "",
    "export": "",
}
# Of these: a model, other machines, an interpreter, packages or a robot that a page takes for granted; other tests run
# them. Or a file of answers that is repeated as a whole.
ELSEWHERE = (
    "--model",
    "--base-url",
    "--proposer",
    "--optimizer optoprime",
    "--calls",
    "--prices",
    "--record",
    "--replay",
    "--backend ray",
    "--python",
    "my_package",
    "dm_control",
    "wandb",
    "mlflow",
    "--protocol paper",
    "stress demo",
    "stress zoo --seed",
    "--corpus",
)
# 150 for all others: a map is looked up, not read, and what safety promises stands in one place.
LONGEST = {"architecture.md": 200, "safety.md": 180}
ARM = """
import gymnasium, numpy as np

class Arm(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-10, 10, (6,))
    action_space = gymnasium.spaces.Box(-1, 1, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(6, np.float32), {}

    def step(self, action):
        return np.zeros(6, np.float32), 0.0, False, False, {}
"""

# What the page on other interpreters uses of robosuite, which is not to be had beside our packages.
ROBOSUITE = """
import numpy as np

class make:
    def __init__(self, *names, **keywords):
        self.placement_initializer = self
        self.seen = {"robot0_eef_pos": np.zeros(3), "cube_pos": np.zeros(3)}

    def reset(self):
        return self.seen

    def step(self, action):
        assert action.shape == (7,)
        return self.seen, 0.0, False, {}
"""


def page_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language, also where they are indented, as in a list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", path.read_text(encoding="utf-8"), re.M | re.S)
    return [textwrap.dedent(text) for _, text in found]


def unfenced(path: Path) -> str:
    return re.sub(r"^( *)```.*?^\1```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)


def commands(path: Path) -> Iterator[str]:
    lines = [line for block in blocks(path, "sh") for line in block.splitlines()]
    lines += re.findall(r"^    ((?:trace-robot|python) .*)$", unfenced(path), re.M)
    for line in lines:
        for part in re.sub(r"(^|\s)[#>].*", "", line).split(";"):
            if part.strip():
                yield re.sub(r"^\s*[A-Z_]+=\S+ (?=trace-robot)", "", part).strip()


def typed() -> list[Any]:
    pairs = dict.fromkeys((path, command) for path in GUIDE for command in commands(path))
    return [pytest.param(path, line, id=f"{path.stem}: {line}") for path, line in pairs]


@pytest.mark.parametrize(("path", "command"), typed())
def test_every_command_can_be_typed(
    path: Path, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "limits.json" in command:  # which the page shows
        (tmp_path / "limits.json").write_text(blocks(path, "json")[0])
        monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(command)
    if program == "trace-robot":
        create_parser().parse_args(arguments)
    elif program == "make":
        assert set(arguments) <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    elif program == "python":
        assert (ROOT / arguments[0]).is_file()
        text = (ROOT / arguments[0]).read_text() + (ROOT / "rollouts" / "_options.py").read_text()
        assert all(word in text for word in arguments if word.startswith("--"))
    elif program == "export":
        name = arguments[0].partition("=")[0]
        assert any(name in file.read_text() for file in (ROOT / "trace_robot").rglob("*.py"))
    else:
        assert arguments[0] in OTHER_PROGRAMS[program]
        extras = re.findall(r"trace-robot\[(\w+)\]", command)
        project = (ROOT / "pyproject.toml").read_text()
        assert all(re.search(rf"^{extra} = \[", project, re.M) for extra in extras)


def looking() -> list[str]:
    """Return the commands of the guide that look at runs and at what there is, or keep them in order."""
    every = dict.fromkeys(command for path in GUIDE for command in commands(path))
    return [line for line in every if line.startswith("trace-robot ") and shlex.split(line)[1] in LOOKING]


@pytest.mark.parametrize("line", looking())
def test_every_command_that_looks_at_runs_can_be_run(
    line: str,
    tmp_path: Path,
    make_run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if line.endswith(".svg") and shutil.which("dot") is None:
        pytest.skip("graphviz is missing")
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "other", "pick", "tuned"):
        make_run(Path("rollouts") / "runs", name, iterations=4)
    arguments = shlex.split(line)[1:] + ["--yes"] * line.startswith("trace-robot rm ")
    assert main(arguments) == 0
    assert capsys.readouterr().out


def doing() -> list[str]:
    """Return the commands of README and guide that roll out, check, deploy or export, but what is tested elsewhere."""
    every = dict.fromkeys(command for path in [ROOT / "README.md", *GUIDE] for command in commands(path))
    known = [line for line in every if line.startswith("trace-robot ") and shlex.split(line)[1] in SHORT]
    return [line for line in known if not any(words in line for words in ELSEWHERE)]


@pytest.mark.parametrize("line", doing())
def test_every_command_that_does_something_runs(
    line: str,
    tmp_path: Path,
    make_run: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for module in ("gymnasium_robotics", "tensorboard"):
        if module in line:
            pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "TRACE_ROBOT_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    prepare(line, tmp_path, make_run)
    program, verb, *words = shlex.split(line)
    assert program == "trace-robot"
    words = [str(ROOT / word) if word.startswith("tests/") else word for word in words]
    assert (
        main([verb, *words, *shlex.split(SHORT[verb] if "--dry-run" not in words else "--episodes 1")]) == 0
    )
    assert capsys.readouterr().out


def prepare(line: str, folder: Path, make_run: Callable[..., Any]) -> None:
    """Put there what a command of a page takes for granted: its policy, its plug-in, its limits, a run."""
    if "envs/fetch.py" in line and "check-env" in line:
        assert main(["init", "--env", "Pendulum-v1", "--write", "envs/fetch.py"]) == 0
    if "slider" in line:
        assert main(["init", "."]) == 0
    if re.search(r"\barm\b", line):
        workspace(folder, "", make_run)
        plug_in(blocks(DOCS / "environments.md", "python")[0], folder)
    (folder / "policies").mkdir(exist_ok=True)
    if "--policy reach " in line or "--policy staged" in line:
        for text in blocks(DOCS / "policies.md", "python"):
            if file := re.match(r"# (policies/\w+\.py), for (\S+)\n", text):
                (folder / file[1]).write_text(text)
    if best := re.search(r"(rollouts/runs/\w+)/best\.py", line):
        (folder / best[1]).mkdir(parents=True)
        shutil.copy(ROOT / "policies" / "zoo" / "pick_place_v3.py", folder / best[1] / "best.py")
    if "limits.json" in line:
        (folder / "limits.json").write_text(blocks(DOCS / "drive.md", "json")[0])
    if re.search(r"(deploy|export) demo", line):
        make_run(folder / "rollouts" / "runs", "demo", iterations=2, task="reach-v3")


def test_a_command_that_cannot_be_typed_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("- in a list:\n\n    ```sh\n    trace-robot optimise it   # no such thing\n    ```\n")
    (command,) = commands(page)
    with pytest.raises((SystemExit, TraceRobotError)):
        test_every_command_can_be_typed(page, command, tmp_path, monkeypatch)


def workspace(folder: Path, text: str, make_run: Callable[..., Any]) -> None:
    """Put there what a page with this Python takes for granted: a run called demo, an arm to be plugged in."""
    runs = folder / "rollouts" / "runs"
    runs.mkdir(parents=True)
    if "demo" in text:
        make_run(runs, "demo")
    parts = folder / "envs" / "arm_parts"
    parts.mkdir(parents=True)
    (parts / "simulation.py").write_text(ARM)
    (folder / "policies").mkdir()
    for part, name in re.findall(r"(?s)(# envs/arm_parts/(\w+\.py)\n.*?)(?=\n# envs|\Z)", text):
        (parts / name).write_text(part)
    if "~/robosuite" in text:
        create(folder / "robosuite", ["numpy"])
        (parts / "robosuite.py").write_text(ROBOSUITE)


PAGES_WITH_PYTHON = [path for path in GUIDE if blocks(path, "python")]


@pytest.mark.parametrize("path", PAGES_WITH_PYTHON, ids=lambda path: path.stem)
def test_the_examples_of_a_page_run_one_after_the_other(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_run: Callable[..., Any]
) -> None:
    workspace(tmp_path, "".join(blocks(path, "python")), make_run)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACE_ROBOT_WORKSPACE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    names: dict[str, Any] = {"__name__": f"docs_{path.stem}"}
    for number, text in enumerate(blocks(path, "python")):
        if file := re.match(r"# (policies/\w+\.py), for (\S+)\n", text):
            (tmp_path / file[1]).write_text(text)
            roll_out(text, file[2])
        elif text.startswith("# envs/arm_parts/"):
            continue  # another file, which a plug-in of the page uses
        elif "ENVIRONMENTS = [" in text:
            plug_in(text, tmp_path)
        else:
            where = f"<{page_name(path)} {number}>"
            linecache.cache[where] = (len(text), None, text.splitlines(True), where)
            exec(compile(text, where, "exec"), names)


def roll_out(text: str, task: str) -> None:
    """A policy on a page solves what it says it is for."""
    policy = Policy.from_text(text)
    with RolloutEngine(0) as engine:
        (episode,) = engine.run([Job(task, 0, {"control": policy.control or "pose"}, controller=text)])
    assert episode.fault is None
    assert episode.success


def plug_in(text: str, folder: Path) -> None:
    """A plug-in on a page is found by the name it gives, and describes what it says."""
    (folder / "envs" / "from_the_page.py").write_text(text)
    name = re.search(r"Environment\(\s*\"(.+?)\"", text)
    assert name is not None
    spec = describe(name[1])
    assert sum(part.size for part in spec.observation) == spec.observation_size


def anchors(path: Path) -> set[str]:
    """Return the places in a page: its headings, as mkdocs and code hosts name them."""
    heads = re.findall(r"^#+ (.+)$", unfenced(path), re.M)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", head).strip().lower()) for head in heads}


def broken(path: Path) -> list[str]:
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", unfenced(path)):
        name, _, place = link.partition("#")
        target = path.parent / name if name else path
        if re.match(r"[a-z]+:", link):
            continue
        if not target.is_file() or (place and place not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("path", EVERY, ids=page_name)
def test_every_relative_link_leads_to_a_file_and_a_place_in_it(path: Path) -> None:
    assert broken(path) == []


def test_a_link_to_nothing_and_an_anchor_that_is_not_there_are_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One thing\n[a](#one-thing) [b](#other) [c](none.md) [d](page.md#one-thing) [e](https://x.y)\n"
    )
    assert broken(page) == ["#other", "none.md"]


def test_every_page_is_in_the_navigation_and_can_be_reached_from_the_start() -> None:
    listed = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    assert listed == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    linked = set(re.findall(r"\]\(([\w-]+\.md)", (DOCS / "index.md").read_text()))
    assert linked == {path.name for path in GUIDE} - {"index.md"}


@pytest.mark.parametrize("path", EVERY, ids=page_name)
def test_a_page_is_short(path: Path) -> None:
    typed = re.sub(r"(?s)<!-- results: .*?<!-- end of results -->", "", path.read_text(encoding="utf-8"))
    assert len(typed.splitlines()) <= LONGEST.get(path.name, 150)


@pytest.mark.parametrize(
    "module",
    [
        "trace",
        "policy",
        "env",
        "rollout",
        "optimizers",
        "search",
        "llm",
        "run.optimize",
        "sandbox",
    ],
)
def test_the_reference_has_everything_public(module: str) -> None:
    pages = "\n".join(path.read_text() for path in (DOCS / "reference").glob("*.md"))
    listed = set(re.findall(r"^::: (\S+)$", pages, re.M))
    home = importlib.import_module(f"trace_robot.{module}")
    public = [getattr(home, name) for name in home.__all__]
    named = {
        f"{each.__module__}.{each.__qualname__}"
        for each in public
        if inspect.isclass(each) or inspect.isfunction(each)
    }
    assert named
    assert named <= listed


def test_what_the_reference_names_exists() -> None:
    for path in (DOCS / "reference").glob("*.md"):
        for name in re.findall(r"^::: (\S+)$", path.read_text(), re.M):
            module, _, last = name.rpartition(".")
            assert hasattr(importlib.import_module(module), last), name
