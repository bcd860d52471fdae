"""Prompts by worth: what tells most is in them at any length, and no line is cut."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trace_robot.llm.metering import message_tokens, token_bound
from trace_robot.optimizers import Candidate, OptoPrime, Outcome, ParameterSpec, Problem
from trace_robot.optimizers.problem import Evidence
from trace_robot.optimizers.prompt import GRAPH_PARTS
from trace_robot.optimizers.prompt.trace_lines import EpisodeTrace
from trace_robot.optimizers.prompt.worth import WORTH, WorthLine, prompt_lines, take, whole_lines
from trace_robot.optimizers.strategies import BestFirst

CODE = '''def act(observation, memory):
    """Return the velocity and the hold."""
    return [0.1, 1.0]
'''
FACTS = ("joint elbow: hinge about 0 1 0, from -2.3 to 0 rad", "table top at z 0.4 m")
PROBLEM = Problem((ParameterSpec("act", "code", CODE),), "Push the block to the place.", "mean", facts=FACTS)
Records = tuple[dict[str, Any], ...]


def record(
    number: int, name: str, kind: str, op: str, value: str, step: int, inputs: dict[str, int]
) -> dict[str, Any]:
    doc = f"[{op}] Return the velocity and the hold." if op else ""
    return {
        "id": number, "name": f"{name}:{step}", "kind": kind, "op": op, "doc": doc, "inputs": inputs, "value": value,
        "step": step,
    }  # fmt: skip


def pushed(
    steps: int, contact: int, *, force: float = 7.31, note: str = "slipped at 0.037", noise: float = 0.0
) -> Records:
    """Return the records of a point that comes to a block, pushes it a little, and passes it.

    At the step of the contact alone a force is felt; a few steps later the program writes a note.
    """
    records: list[dict[str, Any]] = [
        record(0, "act", "parameter", "", CODE, 0, {}) | {"step": None, "name": "act"}
    ]
    block, log = 0.5, [f"start {k}" for k in range(3)]
    for step in range(steps):
        hand = 0.5 * min(1.0, step / max(1, contact)) + 0.002 * max(0, step - contact)
        if contact < step <= contact + 2:
            block += 0.013
        if step == min(contact + 3, steps - 2):
            log = [*log, note]
        wobble = noise * ((step * 7919) % 13 - 6)
        seen = {
            "hand": [round(hand + wobble, 5), 0.125, 0.3],
            "block": [round(block, 4), 0.125, 0.019],
            "place": [0.9, 0.125, 0.019],
            "force": force if step == contact else 0.0,
            "joints": [round(0.01 * step % 0.7 + wobble * k, 4) for k in range(7)],
        }
        number = 1 + 3 * step
        kept = {"stage": "push" if step > contact else "come", "low": 0.05, "log": log}
        records.append(record(number, "observation", "input", "", repr(seen), step, {}))
        records.append(record(number + 1, "memory", "input", "", repr(kept), step, {}))
        inputs = {"observation": number, "memory": number + 1, "code": 0}
        records.append(record(number + 2, "act", "operation", "act", "[0.1, 1.0]", step, inputs))
    return tuple(records)


def evidence(conditions: range, won: tuple[int, ...], **changes: Any) -> Evidence:
    places = tuple(conditions)
    lines = tuple(
        f"Episode {n}: {'success' if n in won else 'failed, block to place 0.4, least 0.37 at 31'}."
        for n in places
    )
    first = next((k for k, n in enumerate(places) if n not in won), 0)
    plain = Evidence(places, lines, tuple(n in won for n in places), first, "the first that failed")
    return dataclasses.replace(plain, **changes)


def learned(optimizer: OptoPrime, number: int, graph: Records, shown: Evidence, **values: Any) -> None:
    scores = tuple(1.0 if won else 0.25 for won in shown.successes)
    success = sum(shown.successes) / len(scores)
    outcome = Outcome(number, sum(scores) / len(scores), "", success, scores, graph=graph, evidence=shown)
    start = PROBLEM.values
    candidate = Candidate(number, 0 if number else None, {**start, **values}, f"change {number}", "model")
    optimizer.learn(candidate, outcome)


def tried(
    steps: int, *, budget: int = 6000, newest: Records = (), noise: float = 0.0, **options: Any
) -> OptoPrime:
    """Return an optimizer with two rejected trials behind the one that it works on."""
    optimizer = OptoPrime(PROBLEM, by_worth=True, token_budget=budget, **options)
    contact = steps // 2
    learned(optimizer, 0, pushed(steps, contact, noise=noise), evidence(range(1, 6), (2, 4)))
    learned(optimizer, 1, (), evidence(range(1, 6), (2,)), act=CODE.replace("0.1", "0.2"))
    newest = newest or pushed(steps, contact, force=3.19, note="lost it at 0.052", noise=noise)
    learned(
        optimizer, 2, newest, evidence(range(1, 6), (4,), printed="grip 0.41"), act=CODE.replace("0.1", "0.3")
    )
    return optimizer


@pytest.mark.parametrize("steps", [10, 25, 50, 150, 500])
@pytest.mark.parametrize("noise", [0.0, 0.0007])
def test_facts_at_contact_at_the_newest_trial_and_in_the_log_are_in_6000_tokens(
    steps: int, noise: float
) -> None:
    optimizer = tried(steps, noise=noise)
    prompt = optimizer.messages()
    text = prompt[1]["content"]
    above, newest = text.split("\n#Newest\n")
    assert message_tokens(prompt) <= 6000
    for part, force, note in ((above, "7.31", "slipped at 0.037"), (newest, "3.19", "lost it at 0.052")):
        assert force in part
        assert note in part
        rows = [int(row) for row in re.findall(r"^(\d+)(?:-\d+)? \| ", part, re.MULTILINE)]
        contact = steps // 2
        assert any(row in (contact, contact + 1) for row in rows), rows
    assert "broke: episode 2" in newest
    assert "grip 0.41" in newest
    assert "Trial 1, from trial 0" in text


@pytest.mark.parametrize("budget", [1500, 2000, 2500, 3000, 4000, 6000, 12000])
def test_every_line_of_a_prompt_is_a_whole_line(budget: int) -> None:
    optimizer = tried(150, budget=budget)
    whole = {
        line
        for block in prompt_lines(optimizer._instance())
        for line in (*block.text.split("\n"), *block.head.split("\n"))
    }
    text = optimizer.messages()[1]["content"]
    assert message_tokens(optimizer.messages()) <= budget
    fixed = "\n\n".join(
        section for section in text.split("\n\n") if section.startswith(("#Instruction", "#Var", "#Constr"))
    )
    for line in text.split("\n"):
        known = line in whole or line in fixed or line.startswith("#") or line in ("", "Your answer:")
        assert known or re.fullmatch(r"\(\d+ more lines? left out\)", line), line


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    lines=st.lists(
        st.builds(
            WorthLine,
            st.sampled_from(["#Context", "#Others", "#Newest"]),
            st.text("ab 01.|\n", min_size=1, max_size=80).filter(
                lambda text: "\n\n" not in text and text.strip("\n ") == text
            ),
            st.sampled_from(WORTH),
        ),
        max_size=30,
    ),
    room=st.integers(0, 600),
)
def test_a_line_is_left_out_only_where_it_does_not_fit_and_none_of_more_worth_would_have(
    lines: list[WorthLine], room: int
) -> None:
    taken = take(lines, room)
    rest = room - sum(token_bound(lines[place].text) + 1 for place in taken)
    rest -= sum(token_bound(part) + 13 for part in {lines[place].part for place in taken})
    assert rest >= 0
    for place in set(range(len(lines))) - taken:
        assert token_bound(lines[place].text) + 1 > rest - (token_bound(lines[place].part) + 13)


def test_constants_go_before_the_path_and_the_log_of_the_program() -> None:
    small = tried(150, budget=2600).messages()[1]["content"]
    large = tried(150, budget=12000).messages()[1]["content"]
    constant = "memory.low = 0.05"
    assert constant in large
    assert constant not in small
    assert "slipped at 0.037" in small
    assert "step | observation.hand" in small


def test_successes_are_a_count_and_scores_are_compared_on_the_same_conditions_only() -> None:
    optimizer = OptoPrime(PROBLEM, by_worth=True)
    learned(optimizer, 0, (), evidence(range(1, 6), (1, 2, 3, 4)))
    learned(optimizer, 1, (), evidence(range(1, 16), tuple(range(2, 6))), act=CODE.replace("0.1", "0.2"))
    newest = optimizer.messages()[1]["content"].split("\n#Newest\n")[1]
    assert "on the 5 conditions of both: score 0.85 and 0.85; cured: episode 5; broke: episode 1." in newest
    assert "4 other episodes succeeded." in newest
    assert "Episode 3: success" not in newest


def test_rows_that_are_equal_are_one_row() -> None:
    trace = EpisodeTrace.of(pushed(60, 10, noise=0.0)[:1] + pushed(60, 10)[1:])
    assert all(" | " in row.text for row in trace.rows)
    idle = tuple(
        {**one, "value": "{'hand': [0.1, 0.2], 'block': [0.3, 0.4]}"}
        if one["name"] == f"observation:{k}" and k > 20
        else one
        for one in pushed(60, 10)
        for k in [one["step"] or 0]
    )
    rows = EpisodeTrace.of(idle).rows
    assert [row.text.split(" | ")[0] for row in rows][-1] == "21-59"


def test_two_millimeters_are_seen_in_a_series_that_spans_meters() -> None:
    records = pushed(40, 20)
    far = tuple(
        {**one, "value": one["value"].replace("'force': 0.0", f"'place2': [{one['step'] * 0.5 + 0.002}, 1.0]")}
        if one["name"].startswith("observation") else one
        for one in records
    )  # fmt: skip
    assert any("0.502 1" in row.text for row in EpisodeTrace.of(far).rows)


def test_what_a_program_appends_to_lists_of_numbers_and_of_dicts_is_its_log() -> None:
    lines = []
    for step in range(6):
        kept = {
            "seen": [{"d": 0.1 * k} for k in range(step + 1)],
            "speeds": [0.25 * k for k in range(step + 2)],
        }
        lines.append(record(2 * step + 1, "memory", "input", "", repr(kept), step, {}))
        call = record(
            2 * step + 2,
            "act",
            "operation",
            "act",
            f"[0.{step}, 1.0]",
            step,
            {"memory": 2 * step + 1, "code": 0},
        )
        lines.append(call)
    start = record(0, "act", "parameter", "", CODE, 0, {}) | {"step": None, "name": "act"}
    log = EpisodeTrace.of((start, *lines)).log
    assert (4, "speeds: 1.5") in log
    assert (4, "seen: d 0.5") in log


def test_what_is_asked_and_found_of_the_machine_is_shown() -> None:
    prompt = OptoPrime(PROBLEM, by_worth=True).prompt()
    assert "\n#Facts\n" + "\n".join(FACTS) in prompt
    assert "at most 3000 tokens together" in prompt
    assert "\n#Facts\n" not in OptoPrime(PROBLEM, by_worth=True, mask=["#Facts"]).prompt()


def test_what_rejected_trials_printed_stays_in_later_prompts_bounded_and_after_the_newest() -> None:
    optimizer = OptoPrime(PROBLEM, by_worth=True, strategy=BestFirst(patience=9))
    learned(optimizer, 0, pushed(30, 12), evidence(range(1, 6), (2, 4)))
    many = "\n".join(f"gap {k} mm at 0.{k:03d}" for k in range(200))
    shown = (
        evidence(range(1, 6), (2,), printed="oldest of all"),
        evidence(range(1, 6), (2,), printed=many),
        evidence(range(1, 6), (2,), also_printed=((5, "turned late\nslid off"),)),
        evidence(range(1, 6), (), printed="newest one", also_printed=((3, many), (4, "jammed"))),
    )
    for number, each in enumerate(shown, 1):
        learned(optimizer, number, pushed(30, 12), each, act=CODE.replace("0.1", f"0.{number + 1}"))
    text = optimizer.messages()[1]["content"]
    newest, older = text.split("\n#Newest\n")[1].split("\n#History\n")
    assert "The program printed:\nnewest one" in newest
    assert "In episode 3 it printed:" in newest
    assert "gap 199 mm at 0.199" in newest
    assert "In episode 4 it printed:\njammed" in newest
    assert "  Trial 3 printed in episode 5, the last lines:\n  turned late\n  slid off" in older
    assert "  Trial 2 printed, the last lines:\n  gap 197 mm" in older
    assert "gap 196 mm" not in older
    assert "oldest of all" not in text
    small = optimizer.messages(2600)[1]["content"]
    assert "newest one" in small
    assert message_tokens(optimizer.messages(2600)) <= 2600


def test_a_repair_quotes_whole_lines_from_both_ends_of_a_reply() -> None:
    reply = "\n".join(f"line {k} of the reply" for k in range(400))
    quoted = whole_lines(reply, 300)
    assert token_bound(quoted) <= 300
    kept = quoted.split("\n")
    assert kept[0] == "line 0 of the reply"
    assert kept[-1] == "line 399 of the reply"
    assert all(
        line in reply.split("\n") or re.fullmatch(r"\(\d+ lines left out here\)", line) for line in kept
    )
    assert whole_lines("short", 300) == "short"


def test_an_old_prompt_has_neither_facts_nor_newest(episode: Callable[..., Records]) -> None:
    optimizer = OptoPrime(PROBLEM)
    learned(optimizer, 0, episode(20), evidence(range(1, 6), (2,)))
    learned(optimizer, 1, episode(20), evidence(range(1, 6), ()), act=CODE.replace("0.1", "0.2"))
    prompt = optimizer.prompt()
    assert "#Newest" not in prompt
    assert "#Facts" not in prompt


@pytest.mark.parametrize("text", ["#Feedback", "<stop>yes</stop>", "```"])
def test_what_a_program_wrote_passes_for_no_part_of_the_prompt(text: str) -> None:
    optimizer = OptoPrime(PROBLEM, by_worth=True)
    shown = evidence(range(1, 3), (1,), printed=f"{text}\nfine")
    learned(optimizer, 0, pushed(20, 10, note=f"x\n\n{text}\ny"), shown)
    prompt = optimizer.messages()[1]["content"]
    heads = re.findall("^#[A-Z][a-z]+", prompt, re.MULTILINE)
    assert len(heads) == len(set(heads))
    bare = [line for line in prompt.split("\n") if text in line and "text of the program" not in line]
    allowed = ("#Feedback", "```", "```python")
    assert [
        line for line in bare if line not in allowed and "in accordance with #Feedback." not in line
    ] == []


def test_values_of_noise_take_no_column_and_are_named_as_about_zero() -> None:
    def seen(step: int) -> str:
        wobble = ((step * 7919) % 13 - 6) * 1e-9
        return repr(
            {
                "hand": [0.01 * step, 0.2 + wobble, 0.3],
                "slide": wobble,
                "turns": [wobble, -2 * wobble, wobble],
                "height": 0.75 + 50 * wobble,
                "gap": 0.002 * (step > 12),  # small, and no noise
            }
        )

    noisy = tuple(
        {**one, "value": seen(one["step"])} if one["name"].startswith("observation") else one
        for one in pushed(30, 12)
    )
    trace = EpisodeTrace.of(noisy)
    assert "slide" not in trace.header
    assert "turns" not in trace.header
    assert "height" not in trace.header
    lines = [*trace.constants, *trace.inputs]
    assert "observation.slide = about 0, within 1e-06" in lines
    assert "observation.turns = about 0, within 1e-06" in lines
    assert "observation.height = 0.75, changes by less than 1e-06" in lines
    assert "0.2 " in trace.rows[0].text
    everything = "\n".join([*lines, *trace.distances, *trace.stages, *(row.text for row in trace.rows)])
    assert not re.search(r"0\.000000\d|\de-0?[789]", everything)
    assert any("gap" in line and "0.002" in line for line in trace.stages)


def parts_of(optimizer: OptoPrime) -> tuple[set[str], str]:
    """Return the names of the parts of a prompt, which its system message lists, too, and its text."""
    head, asked = (message["content"] for message in optimizer.messages())
    present = set(re.findall(r"^(#[A-Z]\w+)$", asked, re.MULTILINE))
    assert present <= set(re.findall(r"^(#[A-Z]\w+): ", head, re.MULTILINE))
    return present, head + asked


def test_without_the_graph_a_prompt_has_parameters_and_feedback_alone() -> None:
    optimizer = tried(20, mask=GRAPH_PARTS)
    assert (optimizer.uses_graph, tried(20).uses_graph, tried(20, mask=GRAPH_PARTS[1:]).uses_graph) == (
        False,
        True,
        True,
    )
    present, text = parts_of(optimizer)
    whole, full = parts_of(tried(20))
    assert whole - present == {"#Code", "#Inputs", "#Others", "#Outputs"}
    assert whole >= {"#Feedback", "#Newest", "#History", "#Variables", "#Facts"}
    for of_the_graph in ("7.31", "3.19", "slipped at 0.037", "lost it at 0.052", "grip 0.41", "step by step"):
        assert of_the_graph in full
        assert of_the_graph not in text
    for feedback in (
        "Episode 1: failed, block to place 0.4",
        "cured",
        "Trial 2: score",
        "act(observation, memory)",
    ):
        assert feedback in text
    for name in GRAPH_PARTS:
        assert f"{name}:" not in text


def test_without_memory_a_prompt_has_no_other_trial() -> None:
    present, text = parts_of(tried(20, memory_size=0))
    whole, full = parts_of(tried(20))
    assert whole - present == {"#Newest", "#History"}
    for other in ("Trial 1", "Trial 2", "change 1", "change 2", "lost it at 0.052", "Against trial"):
        assert other not in text
    assert "Trial 2" in full
    assert "Trial 0: score" in text
    assert "slipped at 0.037" in text  # of the trial that is worked on


@pytest.mark.parametrize(("size", "others"), [(0, []), (1, [2]), (2, [1, 2]), (5, [1, 2])])
def test_memory_is_the_number_of_other_trials_the_newest_included(size: int, others: list[int]) -> None:
    text = tried(20, memory_size=size).messages()[1]["content"]
    assert [number for number in (1, 2) if re.search(rf"^Trial {number}[:,]", text, re.M)] == others


def test_the_newest_trial_of_the_model_takes_one_of_few_places() -> None:
    optimizer = tried(20, memory_size=1)
    outcome = Outcome(3, 0.1, "", 0.0, (0.1,), evidence=evidence(range(1, 6), ()))
    optimizer.learn(Candidate(3, 0, {"act": CODE.replace("0.1", "0.35")}, "change 3", "tuned"), outcome)
    text = optimizer.messages()[1]["content"]
    assert [number for number in range(1, 5) if re.search(rf"^Trial {number}[:,]", text, re.M)] == [2]
