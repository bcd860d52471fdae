"""``deploy`` a controller: as a file that needs no library, or as C, with its contract."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trace_robot.cli.arguments import (
    add_control,
    add_environment_options,
    add_output,
    add_python,
    add_runs_folder,
)
from trace_robot.cli.console import console, counted, escape, write_error, write_json
from trace_robot.cli.drive import add_envelope
from trace_robot.cli.parser import Commands, add_command
from trace_robot.cli.runs import find_run_or_policy, runs_folder, select_iteration
from trace_robot.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trace_robot.policy import Policy
    from trace_robot.store.history import History, RunInfo

ZOO = "zoo/"
MOST_STRESS = 10_000_000  # characters of a stress.json
DESCRIPTION = """\
Write a controller as code that needs nothing of trace-robot, with contract.json: what its numbers mean, how it was
found, how good it was. The controller is parsed and translated, never executed; what cannot be translated is refused
with its line. docs/deploy.md has the subset, and what a driver of a robot must do.
"""
EXAMPLES = (
    ("trace-robot deploy zoo/pick_place_v3 --to c --out robot", "of the zoo, as C"),
    ("trace-robot deploy best.py --env reach-v3 --to python --out robot", "a policy, as one Python file"),
    ("trace-robot deploy demo --to c --out robot", "the best controller of a run"),
)


def add_deploy(commands: Commands) -> None:
    """Add ``deploy``."""
    command = add_command(
        commands,
        "deploy",
        "write a controller as Python or C that needs nothing",
        DESCRIPTION,
        examples=EXAMPLES,
    )
    command.set_defaults(execute=execute_deploy, hold=None, worlds=None)
    command.add_argument(
        "controller",
        metavar="RUN|POLICY",
        help="a run: its name, its beginning, or its folder; or a policy: a .py file, or a name (see policies)",
    )
    command.add_argument("--to", choices=("python", "c"), required=True, help="one Python file, or C99")
    command.add_argument("--out", required=True, type=Path, metavar="DIR", help="the folder to write into")
    command.add_argument(
        "--overwrite",
        action="store_true",
        help="write into --out though it has files that deploy did not write, or another controller",
    )
    command.add_argument(
        "--env",
        dest="task",
        metavar="TASK",
        help="the environment of a policy (default: for zoo/NAME its task; a run has its own)",
    )
    command.add_argument(
        "--name", default="controller", help="of the files and of C's functions (default controller)"
    )
    add_environment_options(command)
    add_python(command)
    add_control(command)
    add_envelope(command)
    add_runs_folder(command)
    add_output(command)


def execute_deploy(options: argparse.Namespace) -> int:
    """Write the files, and print what a driver must know first."""
    from trace_robot.deploy import deploy
    from trace_robot.deploy.peers import without_rate

    policy, env, rest, control, origin, weak = _found(options)
    deployed = deploy(
        policy,
        env,
        to=options.to,
        out=options.out,
        control=control,
        options=rest,
        name=options.name,
        origin=origin,
        overwrite=options.overwrite,
    )
    agreed = deployed.contract
    if weak:
        write_error(f"note: {policy.name} is written all the same: {weak}")
    if options.json:
        write_json({"files": [str(path) for path in deployed.files], "contract": agreed})
        return 0
    out = console()
    for path in deployed.files:
        out.print(f"written: {escape(str(path))}")
    if options.quiet:
        return 0
    for title, rows in (("reads", agreed["fields"]), ("returns", agreed["action"])):
        parts = (f"{row['name']} ({row['size']}{', ' * bool(row['unit'])}{row['unit']})" for row in rows)
        out.print(escape(f"{title}: {', '.join(parts) or 'nothing'}"))
    rate = f"{agreed['rate_hz']:g} steps a second" if agreed["rate_hz"] else "no fixed rate"
    memory = f"{len(agreed['memory'])} numbers of memory"
    out.print(f"{rate}, {memory}, at most {agreed['worst_case']['operations']} operations a step")
    if not agreed["rate_hz"]:
        out.print(escape(f"no rate, which drive needs: {without_rate(agreed)}"))
    if "envelope" in agreed:
        limits, driver = agreed["envelope"]["limits"], agreed["envelope"]["held_by_driver"]
        left = f"; {' and '.join(driver)} must be held by the driver" if driver else ""
        out.print(
            escape(f"envelope: {', '.join(name for name in limits if name not in driver)} in the code{left}")
        )
    if agreed["control"]["mode"] == "pose":
        places = _places(agreed["control"]["tracking"])
        out.print(escape(places or f"returns {agreed['control']['returns']}"))
    return 0


def _weakness(info: RunInfo) -> str:
    """Return what is bad in a run's scores, "" where they are good or unknown."""
    score, start = info.held_out or info.training, info.start
    if score is None:
        return ""
    of = counted(score.episodes, "held-out episode" if info.held_out else "training episode")
    if score.measure != "return":
        return f"it succeeded in none of {of}" if score.success == 0 else ""
    if score.returns is None or start is None or start.returns is None:
        return ""
    if score.returns.mean > start.returns.mean:
        return ""
    mean, before = (f"{each.returns.mean:.4g}" for each in (score, start) if each.returns)
    return f"its mean return of {mean} in {of} is no better than that of the start in training, {before}"


def _places(tracking: Mapping[str, Any]) -> str:
    """Return what a robot must bring where places are given, "" elsewhere."""
    if "most_steps" not in tracking:
        return ""
    hand = " and ".join(tracking.get("hands", ["the hand"]))
    seconds = tracking["step_seconds"]
    step = f" of {seconds:g} s" if seconds else ""
    return (
        f"it asks for a place of {hand}, not for an action of the motors: the robot must bring what goes there"
        f" ({tracking['by']} in the simulation), and ask again once there or after {tracking['most_steps']} steps"
        f"{step}; see control in contract.json, and docs/deploy.md; for actions of the motors optimize with"
        " --control raw, which may reach less"
    )


def _found(
    options: argparse.Namespace,
) -> tuple[Policy, str, Mapping[str, Any], str | None, dict[str, Any], str]:
    """Return policy, environment, options, control mode, origin and a warning."""
    from trace_robot.cli.arguments import environment_options
    from trace_robot.policy import load_policy

    name = options.controller
    if not (name.startswith(ZOO) or options.task):  # with --env it is a policy
        found = find_run_or_policy(name, runs_folder(options))
        if not isinstance(found, str):
            return _of_run(options, *found)
    policy = load_policy(name)
    env = options.task
    if env is None and name.startswith(ZOO):
        env = name.removeprefix(ZOO).replace("_", "-")
    if env is None:
        raise UsageError(f"deploy {name} needs --env TASK: the environment whose fields it reads")
    origin: dict[str, Any] = {"policy": policy.name}
    if name.startswith(ZOO):
        origin["found"] = _docstring(policy.text)
    return policy, env, environment_options(options), options.control, origin, ""


def _of_run(
    options: argparse.Namespace, history: History, info: RunInfo
) -> tuple[Policy, str, Mapping[str, Any], str | None, dict[str, Any], str]:
    from trace_robot.cli.arguments import environment_options
    from trace_robot.env.equipment import OPTIONS
    from trace_robot.policy import Policy
    from trace_robot.run.person import stored_header

    with history:
        header = stored_header(history, info)  # refuses what a stranger's run may not name
        iteration = select_iteration(info, history.iterations(info), None)
    if set(environment_options(options)) - {"envelope"} or options.task or options.control:
        raise UsageError(
            "the environment is the run's; --env, --control, --task, --python and --env-arg need a policy"
        )
    scores = {"start": info.start, "training": info.training, "held_out": info.held_out}
    run: dict[str, Any] = {
        "name": info.name,
        "iteration": iteration.number,
        "optimizer": info.optimizer,
        "feedback": info.feedback,
        "seed": info.seed,
        "ended": info.ended,
        "versions": dict(info.versions),
        **{
            name: None if score is None else {"success": score.success, "episodes": score.episodes}
            for name, score in scores.items()
        },
        "stress": _stress(info.folder.parent, info.name, iteration.digest),
    }
    policy = Policy.from_text(iteration.controller, f"{info.name}, iteration {iteration.number}")
    # With the envelope that it was searched in, unless another one is given.
    rest = {k: v for k, v in header.settings.options.items() if k not in OPTIONS or k == "envelope"}
    rest |= environment_options(options)
    origin = {"policy": policy.name, "run": run}
    return policy, header.settings.task, rest, header.spec.control, origin, _weakness(info)


def _stress(folder: Path, name: str, controller: str) -> Any:
    """Return what a run's stress.json says of this controller, or None."""
    from trace_robot import safe_files

    try:
        data = safe_files.load_json(safe_files.read_bytes(folder, f"{name}/stress.json", most=MOST_STRESS))
    except (OSError, ValueError):
        return None
    if not isinstance(data, dict) or data.get("controller_sha256") != controller:
        return None
    rows = data.get("rows")
    shown = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    kept = ("name", "success", "interval", "episodes")
    return {
        "battery": data.get("battery"),
        "mean_success": data.get("mean_success"),
        "worst": data.get("worst"),
        "rows": [{key: row[key] for key in kept if key in row} for row in shown],
    }


def _docstring(text: str) -> str:
    import ast

    return " ".join((ast.get_docstring(ast.parse(text)) or "").split())
