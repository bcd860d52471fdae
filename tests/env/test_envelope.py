"""The envelope: what it refuses, what it never lets pass, and how rollouts keep it.

ENVELOPE_EPISODES=100000 plays as many episodes of random and adversarial actions.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trace_robot.cli import main
from trace_robot.env.envelope import Envelope, EpisodeEnvelope, meters
from trace_robot.env.envelope_law import greatest
from trace_robot.env.registry import describe, make
from trace_robot.errors import EnvironmentFault, TraceRobotError, ValueMismatchError
from trace_robot.rollout.evaluate import evaluate
from trace_robot.spec import TaskSpec

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = json.loads((ROOT / "envs" / "metaworld_envelope.json").read_text(encoding="utf-8"))
DT = 1 / 80
EPISODES = int(os.environ.get("ENVELOPE_EPISODES", "500"))
BOX = {"hand_position": [[-0.3, 0.4, 0.0], [0.3, 0.9, 0.4]]}


@pytest.fixture(scope="module")
def spec() -> TaskSpec:
    return describe("pick-place-v3", control="raw")


def episode(spec: TaskSpec, data: dict[str, Any]) -> EpisodeEnvelope:
    envelope = Envelope.from_data(data)
    return EpisodeEnvelope(envelope, envelope.limits(spec, spec.low, spec.high, DT), DT, spec.name)


LIMITS = st.fixed_dictionaries(
    {"speed": st.floats(0.01, 2.0)},
    optional={
        "box": st.just(BOX),
        "acceleration": st.floats(0.1, 100.0),
        "jerk": st.floats(1.0, 10_000.0),
        "rate": st.fixed_dictionaries({"gripper": st.floats(0.1, 200.0)}),
        "bounds": st.fixed_dictionaries({"gripper": st.just([-0.5, 0.25])}),
        "lead": st.floats(0.001, 0.5),
    },
)
HOSTILE = st.sampled_from(
    [0.0, -0.0, 1.0, -1.0, 1e-300, 1e300, -1e300, 5e-324, math.nan, math.inf, -math.inf]
)


def test_no_action_is_outside_of_its_limits_whatever_a_controller_asks_for(spec: TaskSpec) -> None:
    """Speed, bounds and box always; acceleration and jerk wherever the box does not cut a motion at once."""
    seen = [0]

    @given(
        LIMITS, st.integers(0, 2**32 - 1), st.lists(HOSTILE, max_size=3), st.sampled_from([1.0, 30.0, 1e6])
    )
    @settings(max_examples=EPISODES, deadline=None, database=None)
    def hold(data: dict[str, Any], seed: int, hostile: list[float], size: float) -> None:
        random = np.random.default_rng(seed)
        keeper = episode(spec, data)
        # Runs of one action, which reach top speeds and walls, jumps between extremes, noise, and a hand that lags.
        asked = np.repeat(random.choice([-size, 0.0, size], (10, 4)), 12, axis=0)
        asked += random.normal(0.0, random.choice([0.0, 0.3]), asked.shape)
        hand, lag = np.array([0.0, 0.6, 0.2]), float(random.choice([1.0, 0.3]))
        command = hand.copy()
        keeper.start({"hand_position": hand})
        last, before, boxes, was_cut = np.zeros(4), np.zeros(3), 0, False
        for number, row in enumerate(asked.tolist() + [[value, 0.0, 0.0, value] for value in hostile]):
            sent = np.array(keeper.limit(row, {"hand_position": hand.tolist()}))
            seen[0] += 1
            assert np.isfinite(sent).all()
            if keeper.why:
                assert not np.isfinite(row).all()
                assert not sent.any()
                break
            cut, boxes = keeper.counts["box"] > boxes, keeper.counts["box"]
            motion = sent[:3] * 0.01 / DT  # m/s
            top = min(data["speed"], 0.8)
            assert np.abs(motion).max() <= top * (1 + 1e-12)
            if "rate" in data:
                assert abs(sent[3] - last[3]) <= data["rate"]["gripper"] * DT + 1e-12
            if "bounds" in data:
                assert -0.5 <= sent[3] <= 0.25
            change = (sent - last)[:3] * 0.01 / DT**2
            jerk = (change - before) / DT
            if "acceleration" in data and not (cut and "jerk" in data) and lag == 1.0:
                assert np.abs(change).max() <= data["acceleration"] * (1 + 1e-9) + 1e-9, (number, row)
            if "jerk" in data and not (
                cut or was_cut
            ):  # a motion that was cut begins as one without acceleration
                assert np.abs(jerk).max() <= data["jerk"] * (1 + 1e-9) + 1e-6, (number, row)
            before, last, was_cut = change, sent, cut
            command = np.clip(command, hand - data.get("lead", 0.05), hand + data.get("lead", 0.05))
            command = command + sent[:3] * 0.01
            if "box" in data:
                assert (command >= np.array(BOX["hand_position"][0]) - 1e-12).all()
                assert (command <= np.array(BOX["hand_position"][1]) + 1e-12).all()
            hand = hand + lag * (command - hand)

    hold()
    assert seen[0] >= 120 * EPISODES  # the rows of `asked`: no episode is cut short by finite actions


@given(st.floats(0.0, 1e6), st.floats(1e-6, 1e3))
@settings(max_examples=300, deadline=None, database=None)
def test_a_motion_that_begins_with_the_greatest_change_stops_within_the_gap(gap: float, step: float) -> None:
    first = greatest(gap, step)
    terms = min(int(first / step) + 1, 10_000_000)
    total = terms * first - step * terms * (terms - 1) / 2  # the sum of first, first - step, ...
    assert total == pytest.approx(gap, rel=1e-6, abs=1e-9)


BAD: dict[str, Any] = {
    "an envelope must be an object of limits, got [1]": [1],
    "no limit of an envelope 'sped'": {"sped": 1},
    "an envelope must have a limit, one of box": {},
    "speed of an envelope must be above 0, got 0": {"speed": 0},
    "jerk of an envelope must be above 0, got nan": {"jerk": math.nan},
    "box of 'hand_position' has no volume": {"box": {"hand_position": [[0, 0, 0], [1, 0, 1]]}},
    "a corner of the box of 'hand_position' must be 3 numbers": {
        "box": {"hand_position": [[0, 0], [1, 1, 1]]}
    },
    "no position of pick-place-v3 'hand'": {"box": {"hand": [[0, 0, 0], [1, 1, 1]]}},
    "no part of the action of pick-place-v3 'griper'": {"rate": {"griper": 1}},
    "rate of 'motion' is that of a hand's motion; give acceleration": {"speed": 1, "rate": {"motion": 1}},
    "bounds of 'gripper' must meet -1 to 1, got [2.0, 3.0]": {"bounds": {"gripper": [2, 3]}},
    "action number 0 do not let a hand stand still": {"speed": 1, "bounds": {"motion": [0.5, 1]}},
}


@pytest.mark.parametrize("message", BAD)
def test_an_envelope_that_cannot_be_is_one_sentence(message: str, spec: TaskSpec) -> None:
    with pytest.raises(TraceRobotError) as caught:
        episode(spec, BAD[message])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_limits_in_meters_are_refused_where_actions_are_no_meters() -> None:
    with pytest.raises(
        ValueMismatchError, match=r"speed of an envelope needs an action that moves a hand in meters"
    ):
        make("Pusher-v5", control="raw", envelope={"speed": 1.0})


def test_a_start_outside_of_the_box_ends_the_evaluation_with_one_sentence() -> None:
    box = {"box": {"hand_position": [[-0.3, 0.7, 0.0], [0.3, 0.9, 0.4]]}}
    with pytest.raises(
        EnvironmentFault, match=r"hand_position of reach-v3 begins at \[.*\], outside of its box"
    ):
        evaluate("reach-v3", "zoo/reach_v3", episodes=1, workers=0, options={"envelope": box})


def test_units_of_length_are_read() -> None:
    assert [meters(unit) for unit in ("m", "cm", "5 cm", "mm", "rad", "", "cm/s")] == [
        1,
        0.01,
        0.05,
        0.001,
    ] + [None] * 3


def test_an_envelope_that_never_acts_changes_no_bit_and_one_that_acts_is_logged() -> None:
    wide = {"speed": 5.0, "box": {"hand_position": [[-9, -9, -9], [9, 9, 9]]}}
    free, wide_, tight = (
        evaluate("push-v3", "zoo/push_v3", episodes=1, workers=0, options=options).episodes[0]
        for options in ({}, {"envelope": wide}, {"envelope": {"speed": 0.05}})
    )
    assert np.array_equal(free.rewards, wide_.rewards)
    assert "envelope_speed" not in free.infos
    assert (wide_.infos["envelope_speed"], wide_.infos["envelope_box"]) == (0.0, 0.0)
    assert tight.infos["envelope_speed"] > 10
    assert tight.steps > free.steps


def test_the_robot_stops_on_a_force_on_lost_observations_and_outside_of_another_box(spec: TaskSpec) -> None:
    row, seen = [1.0, 0.0, 0.0, 1.0], {"hand_position": [0.0, 0.6, 0.2], "puck_position": [0.0, 0.6, 0.02]}
    keeper = episode(
        spec, {"force": 50, "watchdog": 0.05, "box": {"puck_position": [[-0.2, 0.4, -0.1], [0.2, 0.9, 0.4]]}}
    )
    keeper.start(seen)
    assert [keeper.limit(row, seen, new=new)[0] for new in (True, False, False, False, False)] == [1.0] * 5
    assert keeper.limit(row, seen, new=False) == [0.0] * 4
    assert keeper.limit(row, seen) == [0.0] * 4  # until the next episode
    assert keeper.counts["stopped_watchdog"] == 1
    keeper.start(seen)
    assert keeper.limit(row, seen)[0] == 1.0
    keeper.touched(60.0)
    assert keeper.limit(row, seen)[0] == 0.0
    assert keeper.why == "a contact force of 60 N is beyond 50 N"
    keeper.start(seen)
    assert keeper.limit(row, {**seen, "puck_position": [0.5, 0.6, 0.02]})[0] == 0.0
    assert keeper.why == "puck_position is outside its box"


def test_an_episode_in_an_envelope_goes_on_from_a_snapshot_bit_for_bit() -> None:
    env = make("reach-v3", control="raw", envelope=DEFAULT)
    env.reset(seed=3)
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 4)).astype(np.float32)
    for action in actions[:10]:
        env.step(action)
    saved = env.unwrapped.snapshot()
    first = [env.step(action)[0] for action in actions[10:]]
    env.unwrapped.restore(saved)
    assert all(np.array_equal(a, env.step(b)[0]) for a, b in zip(first, actions[10:], strict=True))
    env.close()


@pytest.mark.parametrize(("speed", "shown"), [(0.001, True), (5.0, False)])
def test_an_envelope_that_makes_a_task_impossible_is_named_as_the_reason(
    speed: float, shown: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "limits.json").write_text(json.dumps({"speed": speed}))
    arguments = [
        "evaluate",
        "reach-v3",
        "--policy",
        "zoo/reach_v3",
        "--episodes",
        "1",
        "--workers",
        "0",
        "--envelope",
    ]
    assert main([*arguments, str(tmp_path / "limits.json")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert ("no episode succeeded within it, so that it may make the task impossible" in printed) is shown
