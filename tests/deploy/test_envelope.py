"""An envelope in deployed code: the same numbers in rollouts, in Python and in C."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import deploy as bench
from trace_robot.cli.main import main
from trace_robot.deploy import plan
from trace_robot.env.envelope import Envelope, EpisodeEnvelope
from trace_robot.env.registry import make
from trace_robot.policy import Policy, load_policy

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
ROOT = Path(__file__).resolve().parents[2]
TIGHT = {
    "box": {"hand_position": [[-0.1, 0.5, 0.05], [0.1, 0.75, 0.25]]},
    "speed": 0.5, "acceleration": 10, "jerk": 300, "rate": {"gripper": 20}, "watchdog": 0.05,
}  # fmt: skip
POSE = load_policy("pick_place").text


@needs_compiler
@pytest.mark.parametrize("name", ["zoo/push_v3", "pose"])
def test_rollouts_python_and_c_keep_the_same_limits_bit_for_bit(name: str, tmp_path: Path) -> None:
    policy = Policy.from_text(POSE) if name == "pose" else load_policy(name)
    task = "pick-place-v3" if name == "pose" else "push-v3"
    planned = plan(policy, task, options={"envelope": TIGHT})
    free = plan(policy, task)
    (tmp_path / "free").mkdir()
    module, unlimited = bench.load(planned, tmp_path), bench.load(free, tmp_path / "free")
    envelope = Envelope.from_data(TIGHT)
    limits = envelope.limits(planned.sent, planned.sent.low, planned.sent.high, 1 / 80)
    keeper = EpisodeEnvelope(envelope, limits, 1 / 80)
    program = bench.build(planned, tmp_path)
    random, episodes, given = np.random.default_rng(5), [], []
    env = make(task, control="raw")
    for seed in (1, 2):
        seen, _ = env.reset(seed=seed)
        controller, wanted = module.Controller(), unlimited.Controller()
        keeper.start(planned.sent.named(seen))
        rows = []
        for number in range(150):
            seen = seen + (random.normal(0, 0.02, seen.shape) if number % 7 == 0 and seed == 2 else 0.0)
            rows.append(seen.copy())
            named = {k: np.ravel(v).tolist() for k, v in planned.sent.named(seen).items()}
            sent = controller.act({k: named[k] for k in module.FIELDS})
            asked = np.asarray(wanted.act({k: named[k] for k in unlimited.FIELDS}), np.float32).astype(float)
            given.append(sent)
            assert sent == keeper.limit(asked.tolist(), named), number
            seen, *_ = env.step(np.asarray(sent))
        assert {k: getattr(controller, f"envelope_{k}") for k in ("box", "acceleration", "jerk", "rate")} == {
            k: keeper.counts[k] for k in ("box", "acceleration", "jerk", "rate")
        }
        assert keeper.counts["acceleration"] > 3
        episodes.append(np.array(rows))
    env.close()
    answers = bench.run([str(program), "binary"], bench.records(planned, episodes).tobytes())
    by_c = np.frombuffer(answers, float).reshape(-1, 5)
    assert not by_c[:, 0].any()
    assert np.array_equal(by_c[:, 1:], np.array(given))


def test_a_pose_controller_sees_the_same_limits_in_a_rollout(tmp_path: Path) -> None:
    """The environment tracks and limits, while the deployed controller does both itself."""
    options = {"envelope": TIGHT}
    planned = plan(Policy.from_text(POSE), "pick-place-v3", options=options)
    act, module = bench.original(planned.text), bench.load(planned, tmp_path)
    pose = make("pick-place-v3", control="pose", **options)
    raw = make("pick-place-v3", control="raw")
    (seen, _), (flat, _), memory = pose.reset(seed=3), raw.reset(seed=3), dict[str, Any]()
    controller, steps = module.Controller(), 0
    for _ in range(6):
        seen, _, _, _, info = pose.step(np.asarray(bench.flattened(act(planned.spec.named(seen), memory))))
        while steps < info["steps"]:
            named = planned.sent.named(flat)
            flat, *_ = raw.step(
                np.asarray(controller.act({k: np.ravel(named[k]).tolist() for k in module.FIELDS}))
            )
            steps += 1
        assert flat.tobytes() == seen.tobytes()
    assert controller.envelope_acceleration > 5
    assert steps > 60
    pose.close()
    raw.close()


def test_deploy_takes_an_envelope_and_its_contract_names_it(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "limits.toml"
    file.write_text("speed = 0.3\nwatchdog = 0.05\n[box]\nhand_position = [[-0.5, 0.3, 0], [0.5, 1, 0.5]]\n")
    line = [
        "deploy",
        "zoo/reach_v3",
        "--to",
        "python",
        "--out",
        str(tmp_path / "out"),
        "--envelope",
        str(file),
    ]
    assert main(line) == 0
    assert (
        "envelope: box, speed, lead in the code; watchdog must be held by the driver"
        in capsys.readouterr().out
    )
    contract = json.loads((tmp_path / "out" / "contract.json").read_text())
    assert contract["envelope"]["limits"]["speed"] == 0.3
    assert "MOST_MISSED = 4" in (tmp_path / "out" / "controller.py").read_text()
    file.write_text("speed = 0\n")
    with pytest.raises(SystemExit):
        main(line)
    assert "speed of an envelope must be above 0, got 0" in capsys.readouterr().err
