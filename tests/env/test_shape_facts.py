"""What facts say of fixed shapes, many parts, hinges, limits and grippers is so in other episodes too."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
import pytest

from trace_robot.env.contact_facts import ContactFacts
from trace_robot.env.facts import decision_rule, facts_of
from trace_robot.env.registry import describe, make
from trace_robot.env.shape_facts import EpisodeStart, Shapes
from trace_robot.env.simulation import physics_of
from trace_robot.policy.policy import load_policy
from trace_robot.rollout.task import Task
from trace_robot.spec import Array

POSE = {"control": "pose"}
NUMBER = r"(-?[\d.]+)"
Loaded = tuple[Any, Any]


def loaded(xml: str, change: Callable[[Any], None] | None = None) -> Loaded:
    model = mujoco.MjModel.from_xml_string(xml)
    if change is not None:
        change(model)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def started(name: str, seed: int) -> tuple[Loaded, dict[str, Array]]:
    """Return the physics and the observation of a real environment's episode."""
    env = make(name, **POSE)
    seen, _ = env.reset(seed=seed)
    found = physics_of(env.unwrapped.simulation)
    assert found is not None
    named = {key: np.array(value) for key, value in env.unwrapped.task_spec.named(seen).items()}
    return found, named


def facts(name: str) -> list[str]:
    return list(facts_of(name, POSE, describe(name, **POSE)).body)


def spans(text: str) -> list[list[tuple[float, float]]]:
    """Return all spans of a text along x, y and z."""
    found = [re.search(rf"{axis} ((?:{NUMBER} to {NUMBER}(?: and )?)+)", text) for axis in "xyz"]
    return [
        [(float(low), float(high)) for low, high in re.findall(rf"{NUMBER} to {NUMBER}", each[1])]
        for each in found
        if each
    ]


SCENE = """<mujoco><worldbody>
<geom name="ground" type="plane" size="5 5 1" pos="0 0 -.9"/>
<body name="bench"><geom type="box" size=".7 .4 .1" pos="0 0 -.1"/></body>
<body name="fence"><geom type="box" size=".01 .2 .05" pos=".6 0 .05"/>
<geom type="box" size=".01 .2 .05" pos="-.6 0 .05"/>
</body>
<body name="screen"><body><geom type="box" size=".1 .005 .1" pos="0 .1 .1"/></body></body>
<body name="plank" pos=".1 .1 .05"><geom type="box" size=".1 .02 .01" euler="0 0 30"/></body>
<body name="post" pos="0 .2 0"><geom type="cylinder" size=".02 .05" pos="0 0 .05"/></body>
<body name="target" mocap="true" pos="0 .1 .1"><geom type="box" size=".1 .1 .1"/></body>
</worldbody></mujoco>"""
SEEN = {"hand": np.array([0, 0, 0.2]), "goal": np.array([0, 0.2, 0.1])}


def moved_post(model: Any) -> None:
    model.body("post").pos[:2] += [0.05, 0.03]


def test_fixed_shapes_are_ranked_by_what_can_be_in_the_way() -> None:
    model, data = loaded(SCENE)
    _, elsewhere = loaded(SCENE, moved_post)
    other = EpisodeStart.of(elsewhere, {**SEEN, "goal": np.array([0.05, 0.23, 0.1])})
    contact = ContactFacts(model, data, SEEN, ["hand"], other)
    assert contact.lines() == [
        "fixed bench: box x -0.7 to 0.7, y -0.4 to 0.4, z -0.2 to 0 m",
        "fixed post: cylinder along z, x -0.02 to 0.02, y -0.02 to 0.02, z -0.1 to 0 m"
        " (from where goal is at the start of an episode)",
        "fixed screen: box x -0.1 to 0.1, y 0.095 to 0.105, z 0 to 0.2 m",
        "fixed plank: box of 0.2 x 0.04 x 0.02 m, turned by 30 degrees about z, within x 0.003 to 0.197, y 0.033 to"
        " 0.167, z 0.04 to 0.06 m",
    ]
    assert contact.further() == [  # remote walls and the floor far below; the mocap body is not fixed
        "fixed fence: 2 boxes x -0.61 to -0.59 and 0.59 to 0.61, y -0.2 to 0.2, z 0 to 0.1 m",
        "fixed ground: plane at z -0.9 m",
    ]


def test_a_fixed_shape_that_moves_with_nothing_observed_is_of_one_episode() -> None:
    model, data = loaded(SCENE)
    _, elsewhere = loaded(SCENE, moved_post)
    lines = ContactFacts(model, data, SEEN, ["hand"], EpisodeStart.of(elsewhere, SEEN)).lines()
    (post,) = [line for line in lines if line.startswith("fixed post")]
    assert post.endswith("y 0.18 to 0.22, z 0 to 0.1 m (in one episode; elsewhere in others)")
    (bare,) = [line for line in ContactFacts(model, data).lines() if line.startswith("fixed post")]
    assert bare.endswith("z 0 to 0.1 m")  # without another episode nothing is known of that


COMB = """<mujoco><worldbody><body name="comb" pos="0 0 1"><freejoint/>
<geom type="box" size=".1 .1 .1"/><geom type="sphere" size=".05"/><geom type="ellipsoid" size=".09 .05 .05"/>
<geom type="capsule" size=".02 .07" pos=".05 0 0"/><geom type="box" size=".1 .1 .1"/>
{teeth}</body></worldbody></mujoco>"""


def test_a_bodys_many_shapes_fill_further_lines_and_those_inside_another_are_left_out() -> None:
    teeth = "".join(
        f'<geom type="sphere" size="{0.01 + 0.001 * k}" pos="{side * (0.2 + k / 10)} 0 0"/>'
        for k in range(8)
        for side in (1, -1)
    )
    contact = ContactFacts(*loaded(COMB.format(teeth=teeth)), {"comb": np.array([0, 0, 1.0])})
    (line,) = contact.lines()
    (further,) = contact.further()
    assert line.startswith(
        "body comb: box of 0.2 x 0.2 x 0.2 m, sphere, radius 0.01 m at 0.2 0 0 and at -0.2 0 0, "
    )
    assert not re.search("ellipsoid|capsule|0.05", line + further)
    assert line.count("sphere") == 5
    assert further.startswith("body comb, further parts: sphere, radius 0.015 m at 0.7 0 0 and at -0.7 0 0, ")
    assert further.count("sphere") == 3


@pytest.mark.parametrize("kind", ["sphere", "capsule", "cylinder", "box", "ellipsoid"])
def test_signed_distances_agree_with_mujocos_own(kind: str) -> None:
    turned = f'<geom type="{kind}" size=".1 .2 .3" pos=".3 -.2 .1" euler="20 40 60"/>'
    model, data = loaded(
        f'<mujoco><worldbody>{turned}<body name="tip" mocap="true"><geom type="sphere" size=".001"/></body>'
        "</worldbody></mujoco>"
    )
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (40, 3))
    ours = Shapes(model, data).distances(0, points)
    for point, distance in zip(points, ours, strict=True):
        data.mocap_pos[0] = point
        mujoco.mj_kinematics(model, data)
        theirs = mujoco.mj_geomDistance(model, data, 0, 1, 5.0, None) + 0.001
        assert (theirs < 0) == (distance < 0) or abs(theirs) < 0.005
        # How deep a point is inside is not compared; for an ellipsoid it is a lower bound.
        slack = 0.3 * theirs if kind == "ellipsoid" else 0.005
        assert theirs < 0 or theirs - slack <= distance <= theirs + 0.005


@pytest.mark.parametrize(("name", "body"), [("button-press-wall-v3", "buttonbox"), ("assembly-v3", "peg")])
def test_a_housing_is_where_the_facts_place_it_in_another_episode(name: str, body: str) -> None:
    (line,) = [line for line in facts(name) if line.startswith(f"fixed {body}:")]
    (model, data), seen = started(name, 3)
    assert "from where goal_position is" in line
    geoms = [
        g
        for g in range(model.ngeom)
        if model.body(model.geom_bodyid[g]).name == body and model.geom_conaffinity[g]
    ]
    boxes = [
        np.array([x, y, z])
        for text in line.split(":", 1)[1].split(";")
        for x in spans(text)[0]
        for y in spans(text)[1]
        for z in spans(text)[2]
    ]
    assert len(boxes) == len(geoms)
    for geom in geoms:
        extent = Shapes(model, data).extent(geom) - seen["goal_position"][:, None]
        assert min(float(np.abs(box - extent).max()) for box in boxes) < 0.002


def test_the_wall_before_a_button_is_named_before_the_walls_of_the_table() -> None:
    text = "\n".join(facts("button-press-wall-v3"))
    assert "fixed wall: box x 0 to 0.2, y 0.59 to 0.61, z 0 to 0.15 m" in text
    assert text.index("fixed wall") < text.index("fixed RetainingWall")
    assert text.index("fixed floor") > text.index("a full action")
    assert text.count("(full sides)") == 1


def test_a_knobs_axis_passes_where_the_facts_say_in_another_episode() -> None:
    (line,) = [line for line in facts("dial-turn-v3") if line.startswith("joint knob_Joint_1")]
    assert line.endswith("from -3.14 to 3.14 rad, at 0 at the start; not driven")
    place = re.search(rf"its axis through {NUMBER} {NUMBER} {NUMBER} from dial_position", line)
    assert place is not None
    (model, data), seen = started("dial-turn-v3", 5)
    anchor = data.xanchor[model.joint("knob_Joint_1").id]
    offset = np.array([float(number) for number in place.groups()])
    assert np.abs(seen["dial_position"] + offset - anchor)[:2].max() < 0.002


def test_a_drawer_says_where_its_slide_is_and_names_its_crossbar_first() -> None:
    lines = facts("drawer-open-v3")
    (body,) = [line for line in lines if line.startswith("body drawer_link:")]
    assert body.startswith(
        "body drawer_link: capsule along x, radius 0.009, half length 0.05 m at 0 0.01 0, "
    )
    assert any("from -0.16 to 0 m, at 0 at the start; not driven" in line for line in lines)


def test_how_a_gripper_closes_is_measured() -> None:
    (line,) = [line for line in facts("pick-place-v3") if line.startswith("closing on nothing")]
    steps, first, last = re.findall(rf"took (\d+) steps, gripper_opening {NUMBER} to {NUMBER}", line)[0]
    env = make("pick-place-v3", control="raw")
    env.reset(seed=7)
    part = next(part for part in env.unwrapped.task_spec.observation if part.name == "gripper_opening")
    seen = [float(env.step(np.array([0, 0, 0, 1], np.float32))[0][part.start]) for _ in range(60)]
    assert seen[int(steps) - 1] == pytest.approx(float(last), abs=0.01 * (float(first) - float(last)))
    assert seen[-1] == pytest.approx(float(last), abs=0.01)
    assert abs(seen[int(steps) // 3] - float(last)) > 0.1


def test_fingers_that_are_closed_at_the_start_are_measured_as_they_open() -> None:
    lines = facts("FetchPickAndPlace-v4")
    assert any(
        re.match("opening from the start .* finger_positions 0 0 to 0.05 0.05$", line) for line in lines
    )
    assert any(line.startswith("the fingers hang on robot0:gripper_link: mesh within x ") for line in lines)
    assert not any("closing" in line or "opening" in line for line in facts("FetchPush-v4"))  # blocked


def test_a_limit_of_decisions_is_the_limit_that_the_rules_give() -> None:
    options = {**POSE, "relative": True, "decisions": 10}
    spec = describe("reach-v3", **options)
    env = make("reach-v3", **options)
    tracking = env.unwrapped.tracking
    rule = decision_rule(tracking, spec)
    assert rule.endswith("An episode has at most 10 decisions, so at most 200 simulator steps.")
    env.reset(seed=0)
    assert [env.step(np.zeros(4, np.float32))[3] for _ in range(10)] == [False] * 9 + [True]
    both = decision_rule(tracking, replace(spec, horizon=60))
    assert both.endswith("at most 500 simulator steps and at most 60 decisions, so 25 to 60 decisions.")
    alone = decision_rule(tracking, replace(spec, horizon=125))
    assert alone.endswith("An episode has 500 simulator steps, so 25 to 125 decisions.")


def test_the_rule_of_an_unknown_tracking_gives_a_limit_of_decisions_too() -> None:
    policy = load_policy("do_nothing")
    limited = Task.load("reach-v3", policy, options={**POSE, "decisions": 10}, apart=False)
    rules = limited._with(None, None).rules
    assert "An episode has 500 simulator steps. It ends after 10 decisions at the latest." in "\n".join(rules)
    free = Task.load("reach-v3", policy, options=POSE, apart=False)._with(None, None).rules
    assert not any("at the latest" in rule for rule in free)
