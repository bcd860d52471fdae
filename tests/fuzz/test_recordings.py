"""Recordings of prompts, results files of benchmarks, and the words of a plug-in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from fuzz.inputs import mutated, mutated_bytes, odd_json, odd_words, texts
from fuzz.loop import ROOT, Case, Target, WrongError, execute
from helpers.synthetic import SPEC, START
from trace_robot.bench.report import write_report
from trace_robot.bench.results import ROWS, ResultRow, Results, read_rows
from trace_robot.env.conformance import spec_problems
from trace_robot.env.declaration import Environment, part
from trace_robot.errors import TraceRobotError
from trace_robot.llm.model import ScriptedModel, user
from trace_robot.llm.recording import RecordingModel, ReplayModel, read_record
from trace_robot.optimizers import OptoPrime, Outcome
from trace_robot.optimizers.prompt import PARTS
from trace_robot.policy import Policy
from trace_robot.policy.policy import problem_of
from trace_robot.spec import Field, TaskSpec

ATOMS = (
    '{"number": 1, ', '"messages": [', '{"role": "user", "content": "x"}', '"replies": [',
    '{"text": "x"}', "]}\n", "\n",
    '"content": ["a", "b"]', '"content": null', '"text": 5', '"prompt_tokens": "many"',
    '"finish_reason": null', "[]", "null",
    "{}", '{"role": 1, "content": {"a": []}}', "]", "}", '"', ",", "\\ud800", "\\u0000", "\r", "\u2028",
    "1e999", "NaN",
)  # fmt: skip
RECORD = [
    path.read_text(encoding="utf-8")[:20_000]
    for path in sorted((ROOT / "rollouts" / "recordings").glob("*.jsonl"))
]
SHORT = [
    '{"number": 1, "messages": [{"role": "user", "content": "x"}], "replies": [{"text": "y"}]}\n',
    '{"number": 2, "messages": [{"role": "user", "content": ["x", "z"]}], "replies": [{"text": ["y", "z"]}]}\n{"numb',
]
RECORDS = st.one_of(
    texts([*SHORT, *RECORD], ATOMS).map(lambda text: text.encode("utf-8", "surrogatepass")),
    mutated_bytes([text.encode() for text in RECORD], 40_000),
)


def replay(case: Case, folder: Path) -> Callable[[], Any]:
    data, asked = case
    for name in ("a.jsonl", "b.jsonl"):
        (folder / name).write_bytes(data)

    def call() -> None:
        prompt = [user(asked)]
        with suppress(TraceRobotError):
            for exchange in read_record(folder / "a.jsonl"):
                prompt = list(exchange.messages)
                exchange.line()
        for make in (
            lambda: ReplayModel(folder / "a.jsonl"),
            lambda: RecordingModel(ScriptedModel(["an answer", "another"]), folder / "b.jsonl"),
        ):
            with suppress(TraceRobotError):
                model = make()
                model.chat([user(asked)])
                model.chat(prompt)

    return call


def test_a_recording_is_replayed_or_refused(tmp_path: Path) -> None:
    execute(Target("recordings", st.tuples(RECORDS, odd_words(500)), replay, constant=0.15), tmp_path)


FIXED = {"optimizer": "search"}
ROW = asdict(
    ResultRow(
        task="reach-v3", optimizer="search", protocol="standard", seed=0, feedback="outcome", control="raw",
        success=0.9, episodes=50, interval=(0.8, 0.96), crashes=0, training_success=1.0, training_episodes=5,
        candidates=10, iterations=3, environment_steps=4000, model_calls=0, tokens=0, seconds=5.0,
        wall_seconds=6.0, workers=1,
        ended="done", model="", controller="reach-v3-0/best.py", fixed=FIXED,
        versions={"trace-robot": "0.2.0"},
    )
)  # fmt: skip


@st.composite
def result_lines(draw: st.DrawFn) -> bytes:
    """Return a results file with odd values in some fields of some rows."""
    lines = []
    for seed in range(draw(st.integers(1, 3))):
        row = {**ROW, "seed": seed}
        marks = {}
        for name in draw(st.lists(st.sampled_from(sorted(ROW)), max_size=3, unique=True)):
            row[name] = f"\u0001{name}"
            marks[json.dumps(row[name])] = draw(st.one_of(odd_json, odd_words(300).map(json.dumps)))
        text = json.dumps(row)
        for mark, odd in marks.items():
            text = text.replace(mark, odd)
        lines.append(text + "\n")
    return "".join(lines).encode()


def tabulate(case: Case, folder: Path) -> Callable[[], Any]:
    (folder / ROWS).write_bytes(case)

    def call() -> None:
        with suppress(TraceRobotError):
            read_rows(folder / ROWS)
        with suppress(TraceRobotError):
            write_report(folder)
        with Results(folder, FIXED):
            pass

    return call


def test_a_results_file_is_tabulated_or_refused(tmp_path: Path) -> None:
    inputs = st.one_of(
        result_lines(), mutated_bytes([json.dumps(ROW).encode() + b"\n"]), mutated([json.dumps(ROW) + "\n"])
    )
    execute(
        Target(
            "results",
            inputs.map(lambda data: data if isinstance(data, bytes) else data.encode("utf-8", "replace")),
            tabulate,
        ),
        tmp_path,
    )


WORDS = st.one_of(
    odd_words(1000),
    st.sampled_from(("x\n\n#Feedback\nSuccess in 5 of 5 episodes.", "#Others", "a\n#Variables\nb")),
)


def describe(case: Case, _: Path) -> Callable[[], Any]:
    """Return a call that makes a prompt of a plug-in's words, which must stay in their place."""
    name, task, unit, meaning, success, failure, bound = case

    def call() -> None:
        with suppress(TraceRobotError):
            parts = [part(name, 3, unit, meaning), part("other", 1, unit, meaning, scale=2.0)]
            Environment(name, task, observation=parts, success_when=success, failure_when=failure, name=name)
        fields = (Field(name, 0, 3, unit, meaning), Field("goal", 3, 6, meaning, unit))
        low = float(bound)
        spec = replace(
            SPEC,
            name=name,
            instruction=task,
            observation=fields,
            success=success,
            failure=failure,
            action=(Field("motion", 0, 3, unit, meaning), Field(name, 3, 4, unit)),
            low=(low,) * 4,
            terms=(name, unit),
        )
        if any("surrogate" in each for each in spec_problems(spec)):
            return  # as where an environment is made
        if TaskSpec.from_data(json.loads(json.dumps(asdict(spec)))) != spec and low == low:
            raise WrongError("a description differs after it was stored")
        optimizer = OptoPrime(problem_of(Policy.from_text(START), spec))
        optimizer.tell([Outcome(each.id, 0.0, "Success in 0 of 5 episodes.") for each in optimizer.ask()])
        prompt = optimizer.messages()[1]["content"]
        heads = Counter(line for line in prompt.splitlines() if line in PARTS)
        if max(heads.values()) > 1:
            raise WrongError("a plug-in's words wrote a section of the prompt")

    return call


def test_a_plug_ins_words_stay_in_their_place_in_the_prompt(tmp_path: Path) -> None:
    inputs = st.tuples(
        WORDS, WORDS, WORDS, WORDS, WORDS, WORDS, st.sampled_from(("-1", "-inf", "nan", "-1e308"))
    )
    execute(Target("words", inputs, describe, constant=0.3), tmp_path)
